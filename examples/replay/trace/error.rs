//! What can be wrong with a recording: each error names the file and line and says what to do.

use std::fmt;
use std::path::PathBuf;

use super::Source;
use super::lines::MAX_LINE;

/// Something in a file that could not be used.
#[derive(Debug)]
pub struct TraceError {
    /// The file or folder.
    pub path: PathBuf,
    /// The line, counted from 1, where one is at fault.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: TraceProblem,
}

impl TraceError {
    pub(super) const fn new(path: PathBuf, line: Option<u64>, problem: TraceProblem) -> Self {
        Self {
            path,
            line,
            problem,
        }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}; {}", self.problem, self.problem.advice())
    }
}

impl std::error::Error for TraceError {}

/// The kinds of fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceProblem {
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
    #[error("holds a document of more than {} MiB", super::detect::MAX_DOCUMENT >> 20)]
    DocumentTooLong,
    /// JSON that lacks what the format requires.
    #[error("{0}")]
    Malformed(String),
    /// A run that another file has already given.
    #[error("repeats the run {0}")]
    DuplicateRun(String),
}

impl TraceProblem {
    /// What to do about it.
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
            Self::Malformed(_) => "repair or remove it; the rest is kept",
            Self::DuplicateRun(_) => "give each recording once; the first is kept",
        }
    }
}

fn known_formats() -> String {
    Source::ALL.map(Source::as_str).join(", ")
}
