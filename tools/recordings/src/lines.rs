//! Reads a file line by line with a bound on what one line may take.

use crate::limits::MAX_LINE;
use std::io::{self, BufRead, Read};

/// One line of a file.
pub struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// The line without its line feed; `None` for one of more than [`MAX_LINE`] bytes, which was
    /// skipped.
    pub text: Option<&'a [u8]>,
    /// A line feed ends it.
    pub fed: bool,
    /// The file ends after it.
    pub last: bool,
}

/// The lines of a file. [`MAX_LINE`] bounds the memory that it takes.
pub struct Lines<R> {
    input: R,
    /// The number of the line that was read last, counted from 1.
    number: u64,
    /// That line.
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub const fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            buffer: Vec::new(),
        }
    }

    /// Returns the number of the line that was read last, counted from 1; 0 before the first.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns all that follows; `None` if that is more than `most` bytes.
    pub fn rest(&mut self, most: u64) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        let length = self.input.by_ref().take(most + 1).read_to_end(&mut text)?;
        Ok((length as u64 <= most).then_some(text))
    }

    /// Returns the next line; `None` at the end of the file.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let mut bounded = self.input.by_ref().take(MAX_LINE as u64 + 1);
        if bounded.read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let fed = self.buffer.last() == Some(&b'\n');
        let too_long = !fed && self.buffer.len() > MAX_LINE;
        if too_long {
            self.input.skip_until(b'\n')?;
        }
        let last = self.input.fill_buf()?.is_empty();
        let text = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        Ok(Some(Line {
            number: self.number,
            text: (!too_long).then_some(text),
            fed,
            last,
        }))
    }
}

/// Returns what stands between the NULs of `text` and where it begins, without the white space and
/// byte order marks around it; nothing that is empty.
///
/// A crash of the machine can leave a run of NULs where bytes were written last. No recording holds
/// a NUL otherwise: in JSON it is escaped.
pub fn pieces(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut after = 0;
    text.split(|byte| *byte == 0).filter_map(move |part| {
        after += part.len() + 1;
        let piece = trimmed(part);
        let begin = after - 1 - piece.len();
        let piece = piece.trim_ascii_end();
        (!piece.is_empty()).then_some((begin, piece))
    })
}

/// Returns `text` without the white space and the byte order marks before it. A mark stands inside
/// a file where files with marks were joined.
pub fn trimmed(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii_start();
    while let Some(rest) = text.strip_prefix(BYTE_ORDER_MARK) {
        text = rest.trim_ascii_start();
    }
    text
}

/// The byte order mark in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Returns the number of line feeds in `text`.
pub fn feeds(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}
