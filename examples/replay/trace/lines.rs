//! Reads a file line by line with a bound on what one line may take.

use std::io::{self, BufRead, Read};

use super::TraceProblem;

/// The longest line that is read, in bytes: 16 MiB.
pub const MAX_LINE: usize = 16 << 20;

/// One line of a file, without its line break.
pub enum Line<'a> {
    /// A line that is not blank.
    Text(&'a [u8]),
    /// A line of more than [`MAX_LINE`] bytes. It was skipped.
    TooLong,
}

/// The lines of a file that are not blank. Memory use is bounded by [`MAX_LINE`].
pub struct Lines<R> {
    input: R,
    number: u64,
    buffer: Vec<u8>,
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

    /// The next line with its number, counted from 1; `None` at the end of the file.
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

    /// The next line as a JSON value, or what is wrong with it; `None` at the end of the file.
    /// A refusal of the operating system is the last thing that comes.
    ///
    /// `payload` takes the JSON out of a line; lines where it finds none are skipped.
    pub fn next_json(
        &mut self,
        payload: fn(&[u8]) -> Option<&[u8]>,
    ) -> Option<(u64, Result<serde_json::Value, TraceProblem>)> {
        loop {
            if self.failed {
                return None;
            }
            let following = self.number + 1;
            let (number, line) = match self.next() {
                Ok(line) => line?,
                Err(error) => {
                    self.failed = true;
                    return Some((following, Err(TraceProblem::Unreadable(error))));
                }
            };
            let Line::Text(text) = line else {
                return Some((number, Err(TraceProblem::LineTooLong)));
            };
            if let Some(json) = payload(text) {
                let value = serde_json::from_slice(json);
                // Only the end of the file can have cut a value off.
                let value = value.map_err(|error| match self.input.fill_buf() {
                    Ok([]) => TraceProblem::of_json(&error),
                    _ => TraceProblem::NotJson(what_is_wrong(&error)),
                });
                return Some((number, value));
            }
        }
    }
}

/// The payload of a format whose lines are JSON and nothing else.
pub const fn whole(line: &[u8]) -> Option<&[u8]> {
    Some(line)
}

impl TraceProblem {
    /// Tells a value that the end of the file cut off from one that is wrong.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        if error.is_eof() {
            Self::Truncated
        } else {
            Self::NotJson(what_is_wrong(error))
        }
    }
}

/// The error's own words, without its line, which counts from the start of the value.
fn what_is_wrong(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    format!("{words} at column {}", error.column())
}
