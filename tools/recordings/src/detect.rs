//! Tells the format of a recording by its shape. File and folder names play no part.
//!
//! The formats of one value a line, or a server-sent event, are told by the first object of a
//! known shape. Records before it may be damaged, or of kinds that came after this was written.
//! Where the leading records have no known shape, the file is tried as single documents before
//! the records that follow are looked at.

use crate::Problem;
use crate::formats::{claude_code, mini_swe, swe_agent, tau_bench, vercel_sse};
use crate::limits::MAX_LOOKED_AT;
use crate::lines::{Lines, pieces};
use crate::records::{Framing, Records, decoded};
use serde_json::Value;
use std::io::{self, BufRead, Read, Seek};

/// How many leading records are looked at before the file is tried as a document.
const LEADING: usize = 16;

/// What a file is.
pub enum Detected {
    /// Records of this format, framed in this way.
    Records(Format, Framing),
    /// Documents, with their lines, and what is wrong between them.
    Documents(Vec<(u64, Result<Value, Problem>)>),
}

/// A format whose runs are records, or of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    ClaudeCode,
    TauBench,
    VercelSse,
}

impl Format {
    const ALL: [Self; 3] = [Self::ClaudeCode, Self::TauBench, Self::VercelSse];

    /// Tells whether a value is a record of this format.
    pub fn is_record(self) -> fn(&Value) -> bool {
        match self {
            Self::ClaudeCode => claude_code::recognises,
            Self::TauBench => tau_bench::recognises,
            Self::VercelSse => vercel_sse::recognises,
        }
    }
}

/// Why a file has no known format.
pub struct Fault {
    /// The line at fault, if it is not the whole file.
    pub line: Option<u64>,
    pub problem: Problem,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self {
            line: None,
            problem: Problem::Unreadable(error),
        }
    }
}

/// Finds what `input` is. Leaves it at any position.
pub fn detect(input: &mut (impl Read + Seek)) -> Result<Detected, Fault> {
    let framing = Framing::of(looked_at(input)?)?;
    let leading = Look::at(input, framing, LEADING)?;
    let Some((first, whole)) = leading.first else {
        return Err(Fault {
            line: Some(1),
            problem: Problem::Empty,
        });
    };
    let mut problem = Problem::Foreign;
    let mut line = None;
    match leading.shape {
        Some(Shape::Records(format)) => return Ok(Detected::Records(format, framing)),
        // A file whose first line is a whole value has more than one line of them.
        None if whole || !begins_an_object(input)? => {}
        Some(Shape::Document) | None => match documents(input)? {
            Ok(documents) => return Ok(Detected::Documents(documents)),
            Err(found) => (line, problem) = found,
        },
    }
    let all = Look::at(input, framing, usize::MAX)?;
    match all.shape {
        Some(Shape::Records(format)) => Ok(Detected::Records(format, framing)),
        _ => Err(Fault {
            line: line.or(all.unknown).or(Some(first)),
            problem,
        }),
    }
}

/// What a record can be.
enum Shape {
    Document,
    Records(Format),
}

impl Shape {
    fn of(value: &Value) -> Option<Self> {
        let format = || Format::ALL.into_iter().find(|it| it.is_record()(value));
        if is_document(value) {
            Some(Self::Document)
        } else {
            format().map(Self::Records)
        }
    }
}

/// What was seen of a file's records.
struct Look {
    /// The line of the first, and whether it is a whole value.
    first: Option<(u64, bool)>,
    /// The line of the first object of no known shape.
    unknown: Option<u64>,
    /// The first known shape.
    shape: Option<Shape>,
}

impl Look {
    /// Looks at that many records, and no further than the first of a known shape.
    fn at(input: &mut (impl Read + Seek), framing: Framing, most: usize) -> io::Result<Self> {
        // Nothing is sought inside a damaged record: a document has records inside.
        let mut records = Records::new(looked_at(input)?, framing, |_| false);
        let mut look = Self {
            first: None,
            unknown: None,
            shape: None,
        };
        for _ in 0..most {
            let Some((line, record)) = records.next() else {
                break;
            };
            look.first.get_or_insert((line, record.is_ok()));
            let value = match record {
                Ok(value) if value.is_object() => value,
                Err(Problem::Unreadable(error)) => return Err(error),
                Ok(_) | Err(_) => continue,
            };
            look.shape = Shape::of(&value);
            if look.shape.is_some() {
                break;
            }
            look.unknown.get_or_insert(line);
        }
        Ok(look)
    }
}

/// Returns the beginning of `input`, decoded.
fn looked_at(input: &mut (impl Read + Seek)) -> io::Result<impl BufRead> {
    input.rewind()?;
    Ok(decoded(input.take(MAX_LOOKED_AT)))
}

/// Tells whether `input` begins as a document does.
fn begins_an_object(input: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut lines = Lines::new(looked_at(input)?);
    while let Some(line) = lines.next()? {
        if let Some((_, piece)) = pieces(line.text.unwrap_or_default()).next() {
            return Ok(piece.starts_with(b"{"));
        }
    }
    Ok(false)
}

type Documents = Vec<(u64, Result<Value, Problem>)>;

/// Reads all of `input` as documents, or says what is wrong with it.
fn documents(
    input: &mut (impl Read + Seek),
) -> io::Result<Result<Documents, (Option<u64>, Problem)>> {
    input.rewind()?;
    let mut records = Records::new(decoded(input), Framing::File, is_document);
    let documents: Documents = std::iter::from_fn(|| records.next()).collect();
    let is_document = |record: &Result<Value, Problem>| record.as_ref().is_ok_and(is_document);
    if documents.iter().any(|(_, record)| is_document(record)) {
        return Ok(Ok(documents));
    }
    let mut problems = documents.into_iter().map(|(line, record)| match record {
        Err(problem @ (Problem::Truncated | Problem::DocumentTooLong)) => (Some(line), problem),
        Err(problem @ Problem::NotJson(_)) => (Some(line), problem),
        _ => (None, Problem::Foreign),
    });
    Ok(Err(problems.next().unwrap_or((None, Problem::Foreign))))
}

/// Tells whether a value is a recording of its own.
fn is_document(value: &Value) -> bool {
    mini_swe::recognises(value) || swe_agent::recognises(value)
}
