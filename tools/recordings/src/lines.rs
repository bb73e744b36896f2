//! Reads a file line by line with a bound on what one line may take.

use crate::Problem;
use crate::limits::MAX_LINE;
use std::io::{self, BufRead, Read};

/// One line of a file, without its line break.
pub enum Line<'a> {
    /// A line that is not blank.
    Text(&'a [u8]),
    /// A line of more than [`MAX_LINE`] bytes. It was skipped.
    TooLong,
}

/// The lines of a file that are not blank. [`MAX_LINE`] bounds the memory that it takes.
pub struct Lines<R> {
    input: R,
    /// The number of the line that was read last, counted from 1.
    number: u64,
    /// That line.
    buffer: Vec<u8>,
    /// The operating system refused to read on.
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    pub const fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            buffer: Vec::new(),
            failed: false,
        }
    }

    /// Returns the next line with its number, counted from 1; `None` at the end of the file.
    pub fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        loop {
            self.buffer.clear();
            let mut bounded = self.input.by_ref().take(MAX_LINE as u64 + 1);
            if bounded.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let ended = self.buffer.ends_with(b"\n");
            if !ended && self.buffer.len() > MAX_LINE {
                self.input.skip_until(b'\n')?;
                return Ok(Some((self.number, Line::TooLong)));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some((self.number, Line::Text(self.buffer.trim_ascii()))));
            }
        }
    }

    /// Returns the next line as a JSON value, or what is wrong with it; `None` at the end of the
    /// file, and after the operating system refused to read on.
    ///
    /// `payload` takes the JSON out of a line. Lines where it finds none are skipped.
    pub fn next_json(
        &mut self,
        payload: fn(&[u8]) -> Option<&[u8]>,
    ) -> Option<(u64, Result<serde_json::Value, Problem>)> {
        loop {
            if self.failed {
                return None;
            }
            let following = self.number + 1;
            let (number, line) = match self.next() {
                Ok(line) => line?,
                Err(error) => {
                    self.failed = true;
                    return Some((following, Err(Problem::Unreadable(error))));
                }
            };
            let Line::Text(text) = line else {
                return Some((number, Err(Problem::LineTooLong)));
            };
            if let Some(json) = payload(text) {
                let value = serde_json::from_slice(json);
                // Only the end of the file can have cut a value off.
                let value = value.map_err(|error| match self.input.fill_buf() {
                    Ok([]) => Problem::at_the_end(&error),
                    _ => Problem::not_json(&error),
                });
                return Some((number, value));
            }
        }
    }
}

/// Takes the JSON out of a line of a format whose lines are nothing else.
pub const fn whole(line: &[u8]) -> Option<&[u8]> {
    Some(line)
}
