//! Finds the JSON values in a text that was found: one, several in a row, or one that was cut off
//! where the next began.
//!
//! A text that is a single value takes one pass. Only what follows an error is looked at again:
//! [`mend`] is tried once, then a later place is sought where a whole record begins. A value that
//! stands inside a cut record is no record of its own; what follows it tells them apart, since a
//! record is followed by the end or by another.

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

/// Returns the values of `text` in their order, after what was mended in them. At most one problem
/// is among them that cost a record.
pub fn values(text: &[u8], place: Place) -> Vec<Found> {
    let mut values = Values::new(text, 0);
    let Err(error) = values.read() else {
        return values.found;
    };
    let rest = &text[values.at..];
    let Some((mended, mends)) = mend(rest) else {
        values.read_on(error, place);
        return values.found;
    };
    let mends = mends.into_iter().map(|(feeds, what)| Found {
        feeds: values.feeds + feeds,
        item: Err(Problem::Mended { what, times: 1 }),
    });
    let mends: Vec<_> = mends.collect();
    let mut again = Values::new(mended.as_bytes(), values.feeds);
    let whole = match again.read() {
        Ok(()) => true,
        Err(error) => again.read_on(error, place),
    };
    let mut found = values.found;
    // Where all is lost, that is told, and not what was mended in it as well.
    let kept = whole || again.found.iter().any(|found| found.item.is_ok());
    found.extend(mends.into_iter().filter(|_| kept));
    found.append(&mut again.found);
    found
}

/// A text under way.
struct Values<'a> {
    text: &'a [u8],
    /// How many bytes of it were read, and the number of line feeds before that.
    at: usize,
    feeds: u64,
    found: Vec<Found>,
}

impl<'a> Values<'a> {
    const fn new(text: &'a [u8], feeds: u64) -> Self {
        Self {
            text,
            at: 0,
            feeds,
            found: Vec::new(),
        }
    }

    /// Reads values to the end, or to where none is.
    fn read(&mut self) -> Result<(), serde_json::Error> {
        loop {
            let rest = trimmed(&self.text[self.at..]);
            self.go_to(self.text.len() - rest.len());
            let mut stream = stream(rest);
            let Some(value) = stream.next() else {
                return Ok(());
            };
            self.found.push(Found {
                feeds: self.feeds,
                item: Ok(value?),
            });
            self.go_to(self.at + stream.byte_offset());
        }
    }

    /// Names what is wrong here, and goes on with the next whole record; `false`, since something
    /// is lost.
    fn read_on(&mut self, mut error: serde_json::Error, place: Place) -> bool {
        let mut told = false;
        loop {
            let next = next_record(self.text, self.at + 1, place);
            let problem = match next {
                Some(_) => Problem::CutRecord,
                None if place.at_end => Problem::at_the_end(&error),
                None => Problem::not_json(&error),
            };
            if !std::mem::replace(&mut told, true) {
                let line = (error.line() as u64).saturating_sub(1);
                self.found.push(Found {
                    feeds: self.feeds + line,
                    item: Err(problem),
                });
            }
            let Some(next) = next else { return false };
            self.go_to(next);
            match self.read() {
                Ok(()) => return false,
                Err(later) => error = later,
            }
        }
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
