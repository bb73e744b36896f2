//! What can be wrong with a recording. Each error names the file and the line, and says what to do.

use crate::Source;
use crate::limits::{MAX_DEPTH, MAX_DOCUMENT, MAX_LINE};
use std::fmt;
use std::path::PathBuf;

/// Something in a file that could not be used.
#[derive(Debug)]
pub struct RecordingError {
    /// The file or folder.
    pub path: PathBuf,
    /// The line at fault, counted from 1; `None` if the whole file is at fault.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

impl RecordingError {
    pub(crate) const fn new(path: PathBuf, line: Option<u64>, problem: Problem) -> Self {
        Self {
            path,
            line,
            problem,
        }
    }
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}; {}", self.problem, self.problem.advice())
    }
}

impl std::error::Error for RecordingError {}

/// The kinds of fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The operating system refused.
    #[error("can't be read: {0}")]
    Unreadable(std::io::Error),
    /// Neither a folder nor a regular file.
    #[error("is neither a folder nor a regular file")]
    NotAFile,
    /// No line but blank ones.
    #[error("is empty")]
    Empty,
    /// None of the known formats.
    #[error("is in none of the known formats ({})", known_formats())]
    Foreign,
    /// The file ends inside a JSON value.
    #[error("ends in the middle of a JSON value")]
    Truncated,
    /// Text that is not JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// A line beyond the limit.
    #[error("is longer than {} MiB", MAX_LINE >> 20)]
    LineTooLong,
    /// A document beyond the limit.
    #[error("holds a document of more than {} MiB", MAX_DOCUMENT >> 20)]
    DocumentTooLong,
    /// JSON that lacks what the format requires.
    #[error("{0}")]
    Malformed(String),
    /// A record that was cut off where the next one begins.
    #[error("holds a record that was cut off where another begins")]
    CutRecord,
    /// Something was read otherwise than it stands there, and nothing is left out. A file has one
    /// of these for each kind, at the first place.
    #[error("{what}{}", also(*times))]
    Mended {
        /// What it is.
        what: Mend,
        /// In how many places of the file.
        times: u64,
    },
    /// A run that another file has already given.
    #[error("repeats the run {0}")]
    DuplicateRun(String),
}

/// What was mended in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Mend {
    /// A text that was cut between the two UTF-16 units of a character.
    #[error("holds half of a character, read as U+FFFD")]
    HalfCharacter,
    /// Bytes that are not UTF-8.
    #[error("holds bytes that are not UTF-8, read as U+FFFD")]
    NotUtf8,
    /// A control character in a string that is not escaped.
    #[error("holds a control character that is not escaped")]
    ControlCharacter,
    /// `NaN`, `Infinity`, or a number that is too large.
    #[error("holds a number that is not JSON or too large, read as null")]
    NotANumber,
    /// A value that is nested too deep.
    #[error("holds a value nested deeper than {MAX_DEPTH} levels, read as null")]
    Deep,
    /// NULs, as a crash of the machine leaves them.
    #[error("holds NULs, which are passed over")]
    Nuls,
    /// A record that was read before, in this file or another, as of a resumed session.
    #[error("repeats a record that was read before; it counts once")]
    Repeated,
}

fn also(times: u64) -> String {
    match times {
        0 | 1 => String::new(),
        times => format!(" (and {} more times in this file)", times - 1),
    }
}

impl Problem {
    /// Tells whether something is left out for it.
    pub const fn is_loss(&self) -> bool {
        !matches!(self, Self::Mended { .. })
    }

    /// Says what to do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "check that it exists and that you may read it",
            Self::NotAFile => "give a recording or a folder of recordings",
            Self::Empty => "record the run again, or remove the file",
            Self::Foreign => "convert it to one of them, or leave it out",
            Self::Truncated => "copy the whole file again",
            Self::NotJson(_) => "repair or remove the line; the others are kept",
            Self::LineTooLong => "split or remove the line; the others are kept",
            Self::DocumentTooLong => "leave it out",
            Self::CutRecord => "record it again if you need it; the others are kept",
            Self::Mended { .. } => "the rest is kept as it is",
            Self::Malformed(_) => "repair or remove it; the rest is kept",
            Self::DuplicateRun(_) => "give each recording once; the first is kept",
        }
    }

    /// The problem of a value that the file's end may have cut off.
    pub(crate) fn at_the_end(error: &serde_json::Error) -> Self {
        if error.is_eof() {
            Self::Truncated
        } else {
            Self::not_json(error)
        }
    }

    /// The problem of a value that something follows. The parser counts lines from the start of
    /// the value, so its own line is left out.
    pub(crate) fn not_json(error: &serde_json::Error) -> Self {
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        Self::NotJson(format!("{words} at column {}", error.column()))
    }
}

fn known_formats() -> String {
    Source::ALL.map(Source::as_str).join(", ")
}
