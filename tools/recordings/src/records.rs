//! The records of a file, one JSON value each, whatever frames them: lines, server-sent events, or
//! the file itself.
//!
//! Server-sent events are read as their specification says, by `sse-core`. Two things differ, for
//! files are not connections. An event that the file's end leaves open is used if its data is
//! whole. A line of JSON, which is no field of an event, is told.

use crate::Problem;
use crate::error::Mend;
use crate::limits::{MAX_DOCUMENT, MAX_LINE};
use crate::lines::{BYTE_ORDER_MARK, Lines, feeds, pieces};
use crate::values::{Place, values};
use serde_json::Value;
use sse_core::{PayloadTooLargeError, SseDecoder, SseEvent};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroUsize;

/// The marker after the last chunk of a stream. It is not JSON; as a record it is this string.
pub const DONE: &str = "[DONE]";

/// How many lines tell what frames a file's records.
const TELLING_LINES: usize = 64;

/// What frames the records of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A line is a record.
    Lines,
    /// The data of a server-sent event is a record.
    Events,
    /// The file is a record.
    File,
}

/// Returns `input` as UTF-8 without its byte order mark: a mark of UTF-16 tells that encoding.
pub fn decoded(input: impl Read) -> impl BufRead {
    let decoder = encoding_rs_io::DecodeReaderBytesBuilder::new()
        .utf8_passthru(true)
        .strip_bom(true)
        .build(input);
    BufReader::new(decoder)
}

impl Framing {
    /// Tells by its first lines whether lines or server-sent events frame `input`.
    pub fn of(input: impl BufRead) -> io::Result<Self> {
        let mut lines = Lines::new(input);
        let (mut fields, mut values) = (0, 0);
        while fields + values < TELLING_LINES
            && let Some(line) = lines.next()?
        {
            match pieces(line.text.unwrap_or_default()).next() {
                Some((_, [b'{' | b'[', ..])) => values += 1,
                Some((_, piece)) if is_field(piece) => fields += 1,
                _ => {}
            }
        }
        Ok(if fields > values {
            Self::Events
        } else {
            Self::Lines
        })
    }
}

/// Tells whether a line is a field of a server-sent event, or a comment.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    matches!(name, b"" | b"data" | b"event" | b"id" | b"retry")
}

/// The records of a file.
pub struct Records<R> {
    lines: Lines<R>,
    framing: Framing,
    events: Events,
    read: Queue,
    over: bool,
}

impl<R: BufRead> Records<R> {
    /// Reads `input`, which is [`decoded`]. `is_record` tells a record from a value inside one.
    pub fn new(input: R, framing: Framing, is_record: fn(&Value) -> bool) -> Self {
        Self {
            lines: Lines::new(input),
            framing,
            events: Events::new(),
            read: Queue {
                is_record,
                items: VecDeque::new(),
            },
            over: false,
        }
    }

    /// Returns the next record with its line, counted from 1, or what is wrong with it; `None` at
    /// the end of the file, and after the operating system refused to read on.
    pub fn next(&mut self) -> Option<(u64, Result<Value, Problem>)> {
        while self.read.items.is_empty() && !self.over {
            let line = self.lines.number() + 1;
            let read = match self.framing {
                Framing::File => self.file(),
                Framing::Lines | Framing::Events => self.line(),
            };
            if let Err(error) = read {
                self.over = true;
                self.read.problem(line, Problem::Unreadable(error));
            }
        }
        self.read.items.pop_front()
    }

    fn line(&mut self) -> io::Result<()> {
        let Some(line) = self.lines.next()? else {
            self.over = true;
            return Ok(());
        };
        let text = line.text.unwrap_or_default();
        if line.text.is_none() {
            self.read.problem(line.number, Problem::LineTooLong);
        }
        if self.framing == Framing::Events {
            self.events
                .line(text, line.number, line.last, &mut self.read);
        } else {
            self.read.text(text, line.number, line.last);
        }
        let nothing_else = pieces(text).next().is_none();
        let cut = line.last && (nothing_else || !line.fed && text.ends_with(b"\0"));
        self.read.nuls(text, line.number, cut);
        Ok(())
    }

    fn file(&mut self) -> io::Result<()> {
        self.over = true;
        let Some(text) = self.lines.rest(MAX_DOCUMENT)? else {
            self.read.problem(1, Problem::DocumentTooLong);
            return Ok(());
        };
        self.read.text(&text, 1, true);
        self.read.nuls(&text, 1, text.ends_with(b"\0"));
        Ok(())
    }
}

/// What was read and not given yet, with its line.
struct Queue {
    is_record: fn(&Value) -> bool,
    items: VecDeque<(u64, Result<Value, Problem>)>,
}

impl Queue {
    fn problem(&mut self, line: u64, problem: Problem) {
        self.items.push_back((line, Err(problem)));
    }

    /// Takes the records in `text`, which begins at that line. Of several losses in it the first
    /// is told.
    fn text(&mut self, text: &[u8], line: u64, at_end: bool) {
        let pieces: Vec<_> = pieces(text).collect();
        let mut lost = false;
        for (index, &(begin, piece)) in pieces.iter().enumerate() {
            if piece == DONE.as_bytes() {
                self.items.push_back((line, Ok(DONE.into())));
                continue;
            }
            let place = Place {
                at_end: at_end && index + 1 == pieces.len(),
                is_record: self.is_record,
            };
            let line = line + feeds(&text[..begin]);
            for found in values(piece, place) {
                let loss = found.item.as_ref().is_err_and(Problem::is_loss);
                if !loss || !lost {
                    self.items.push_back((line + found.feeds, found.item));
                }
                lost |= loss;
            }
        }
    }

    /// Tells of NULs in `text`, which begins at that line: `cut` if it is them that the file ends
    /// in.
    fn nuls(&mut self, text: &[u8], line: u64, cut: bool) {
        let Some(at) = text.iter().position(|byte| *byte == 0) else {
            return;
        };
        let line = line + feeds(&text[..at]);
        let mut told = self
            .items
            .iter()
            .filter_map(|(_, item)| item.as_ref().err());
        if cut {
            if !matches!(self.items.back(), Some((_, Err(Problem::Truncated)))) {
                self.problem(line, Problem::Truncated);
            }
        } else if !told.any(Problem::is_loss) {
            let what = Mend::Nuls;
            self.problem(line, Problem::Mended { what, times: 1 });
        }
    }
}

/// The server-sent events under way.
struct Events {
    decoder: SseDecoder,
    /// The line where the event's data begins.
    line: Option<u64>,
}

impl Events {
    fn new() -> Self {
        let limit = NonZeroUsize::new(MAX_LINE).unwrap_or(NonZeroUsize::MIN);
        Self {
            decoder: SseDecoder::with_limit(limit),
            line: None,
        }
    }

    /// Takes a line without its line feed. The decoder is given what stands between NULs as lines
    /// of their own, since a crash that leaves them cuts a line off.
    fn line(&mut self, text: &[u8], number: u64, last: bool, read: &mut Queue) {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // The blank line that ends an event is given as it is.
        let parts = text.split(|byte| *byte == 0);
        for part in parts.filter(|part| !part.is_empty() || text.is_empty()) {
            for line in part.split(|byte| *byte == b'\r') {
                self.field(line, number, read);
            }
        }
        if last {
            // What the end of the file leaves open.
            self.feed(b"\n", number, true, read);
        }
    }

    fn field(&mut self, mut line: &[u8], number: u64, read: &mut Queue) {
        while let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK) {
            line = rest;
        }
        if line.starts_with(b"{") {
            let problem = "is no field of a server-sent event, such as `data:`";
            read.problem(number, Problem::Malformed(problem.to_owned()));
        } else if line.starts_with(b"data") {
            self.line.get_or_insert(number);
        }
        self.feed(line, number, false, read);
        self.feed(b"\n", number, false, read);
        if line.is_empty() {
            self.line = None;
        }
    }

    fn feed(&mut self, mut bytes: &[u8], number: u64, at_end: bool, read: &mut Queue) {
        while let Some(event) = self.decoder.next(&mut bytes) {
            let line = self.line.unwrap_or(number);
            match event {
                Ok(SseEvent::Message(message)) => {
                    read.text(message.data.as_bytes(), line, at_end);
                }
                Ok(SseEvent::Retry(_)) => {}
                Err(PayloadTooLargeError) => read.problem(line, Problem::LineTooLong),
            }
        }
    }
}
