//! What ends a command of the archive, in words for its user.

use framebus::AgentError;
use std::io;
use std::path::PathBuf;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Archive(#[from] AgentError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("the output: {0}")]
    Output(io::Error),
    #[error(
        "{}:{line}: {what}; the lines before it are in the archive: mend it and go on with \
         --from-line {line}, or pass over such lines with --skip-damaged",
        path.display()
    )]
    Line {
        path: PathBuf,
        line: u64,
        what: String,
    },
    #[error("{0} findings of damage")]
    Damage(u64),
    #[error("nothing to record; name recordings or folders of them")]
    Nothing,
}

/// What a command comes to.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// Tells whether the standard output was closed by its reader.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
