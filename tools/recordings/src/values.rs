//! Finds the JSON values in a text that was found: one, several in a row, or one that was cut off
//! where the next began.
//!
//! A text that is a single value takes one pass. Where something is wrong, a later place is sought
//! where a whole record begins, and what stands before it is read once more after [`mend`]. A value
//! that stands inside a cut record is no record of its own; what follows it tells them apart, since
//! a record is followed by the end or by another.

use crate::Problem;
use crate::lines::{feeds, trimmed};
use crate::mend::mend;
use serde_json::{Deserializer, StreamDeserializer, Value, de::SliceRead};

/// How many objects that do not end are tried for the beginning of a record.
const TRIED: usize = 1_024;

/// The key under which records hold records: those of a session, what a sub-agent said.
const HOLDER: &[u8] = b"\"message\":";

/// A value, or what is wrong where one should be.
pub struct Found {
    /// The number of line feeds before it.
    pub feeds: u64,
    pub item: Result<Value, Problem>,
}

/// What the reader of a text knows about it.
#[derive(Clone, Copy)]
pub struct Place {
    /// The file ends after the text, so that the end may have cut it off.
    pub at_end: bool,
    /// Tells a record from a value inside one.
    pub is_record: fn(&Value) -> bool,
}

/// Returns the values of `text` in their order, each after what was mended in it.
pub fn values(text: &[u8], place: Place) -> Vec<Found> {
    let mut found = Vec::new();
    Values::new(text, 0).read(place, true, &mut found);
    found
}

/// A text under way.
struct Values<'a> {
    text: &'a [u8],
    /// How many bytes of it were read, and the number of line feeds before that.
    at: usize,
    feeds: u64,
}

impl<'a> Values<'a> {
    const fn new(text: &'a [u8], feeds: u64) -> Self {
        Self { text, at: 0, feeds }
    }

    /// Reads to the end; `mendable` if what is wrong may be mended.
    fn read(&mut self, place: Place, mendable: bool, found: &mut Vec<Found>) {
        while let Err(error) = self.read_right(found) {
            let next = next_record(self.text, self.at + 1, place);
            let wrong = &self.text[self.at..next.unwrap_or(self.text.len())];
            // What nothing follows may hold further records, once it is mended.
            let mended = mendable && self.read_mended(wrong, next.is_some(), place, found);
            if !mended {
                let problem = match next {
                    Some(_) => Problem::CutRecord,
                    None if place.at_end => Problem::at_the_end(&error),
                    None => Problem::not_json(&error),
                };
                let line = (error.line() as u64).saturating_sub(1);
                found.push(Found {
                    feeds: self.feeds + line,
                    item: Err(problem),
                });
            }
            let Some(next) = next else { return };
            self.go_to(next);
        }
    }

    /// Reads values to the end, or to where none is.
    fn read_right(&mut self, found: &mut Vec<Found>) -> Result<(), serde_json::Error> {
        loop {
            let rest = trimmed(&self.text[self.at..]);
            self.go_to(self.text.len() - rest.len());
            let mut stream = stream(rest);
            let Some(value) = stream.next() else {
                return Ok(());
            };
            found.push(Found {
                feeds: self.feeds,
                item: Ok(value?),
            });
            self.go_to(self.at + stream.byte_offset());
        }
    }

    /// Reads a part that is wrong after mending it; `false` if that gives no value, or if it is to
    /// be `whole` and is not.
    fn read_mended(&self, wrong: &[u8], whole: bool, place: Place, found: &mut Vec<Found>) -> bool {
        let Some((mended, mends)) = mend(wrong) else {
            return false;
        };
        let mut values = Vec::new();
        Values::new(mended.as_bytes(), self.feeds).read(place, false, &mut values);
        let right = |found: &Found| found.item.is_ok();
        if !values.iter().any(right) || whole && !values.iter().all(right) {
            return false;
        }
        found.extend(mends.into_iter().map(|(feeds, what)| Found {
            feeds: self.feeds + feeds,
            item: Err(Problem::Mended { what, times: 1 }),
        }));
        found.append(&mut values);
        true
    }

    fn go_to(&mut self, at: usize) {
        self.feeds += feeds(&self.text[self.at..at]);
        self.at = at;
    }
}

/// Finds where the next whole record begins, at `from` or later.
fn next_record(text: &[u8], mut from: usize, place: Place) -> Option<usize> {
    let mut tried = 0;
    while tried < TRIED {
        let begin = from + text.get(from..)?.iter().position(|byte| *byte == b'{')?;
        from = begin + 1;
        if text[from..].trim_ascii_start().first() != Some(&b'"') {
            continue;
        }
        let mut values = stream(&text[begin..]);
        let Some(Ok(value)) = values.next() else {
            tried += 1;
            continue;
        };
        let end = begin + values.byte_offset();
        let followed = text[end..].trim_ascii_start().first();
        let inside = text[..begin].trim_ascii_end().ends_with(HOLDER);
        // Where the record around this value was cut off right after it, another record follows,
        // or the end of the file.
        let inside = inside && (followed.is_some() || place.at_end);
        let ends = matches!(followed, None | Some(b'{'));
        if ends && !inside && (place.is_record)(&value) {
            return Some(begin);
        }
        from = end;
    }
    None
}

fn stream(text: &[u8]) -> StreamDeserializer<'_, SliceRead<'_>, Value> {
    Deserializer::from_slice(text).into_iter()
}
