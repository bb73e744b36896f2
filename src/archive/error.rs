//! Errors of SQLite and of the disk, as the bus's errors.

use crate::event::{AgentError, AgentErrorKind};
use rusqlite::{Error, ErrorCode};
use std::io;
use std::time::Duration;

/// A result of the store.
pub(super) type Stored<T> = Result<T, AgentError>;

/// A result whose error becomes the bus's.
pub(super) trait Doing<T> {
    /// Returns the result; an error's message begins with what was being done, and ends with what
    /// to do about it.
    fn doing(self, doing: &str) -> Stored<T>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, doing: &str) -> Stored<T> {
        self.map_err(|error| {
            let code = match error {
                // A value that no writer stores.
                Error::IntegralValueOutOfRange(..)
                | Error::InvalidColumnType(..)
                | Error::FromSqlConversionFailure(..) => Some(ErrorCode::DatabaseCorrupt),
                _ => error.sqlite_error_code(),
            };
            let (kind, help) = advice(code);
            AgentError::new(kind, format!("{doing}: {error}; {help}"))
        })
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &str) -> Stored<T> {
        self.map_err(|error| {
            let code = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    ErrorCode::ReadOnly
                }
                _ => ErrorCode::SystemIoFailure,
            };
            let (kind, help) = advice(Some(code));
            AgentError::new(kind, format!("{doing}: {error}; {help}"))
        })
    }
}

/// Returns an error's kind, and what to do about it.
fn advice(code: Option<ErrorCode>) -> (AgentErrorKind, &'static str) {
    match code {
        Some(ErrorCode::DiskFull) => (
            AgentErrorKind::ArchiveFull,
            "free some space on it; nothing of this step was stored, and what was stored before is \
             whole",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            AgentErrorKind::ArchiveReadOnly,
            "make the folder writable, or open the archive for reading",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            AgentErrorKind::ArchiveInUse,
            "another process holds it; close it there",
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            AgentErrorKind::ArchiveDamaged,
            "restore the folder from a backup, or export what can still be read",
        ),
        _ => (
            AgentErrorKind::ArchiveUnavailable,
            "check that the folder is there and can be read and written",
        ),
    }
}

/// The error for files that do not hold what was written to them.
pub(super) fn damaged(message: impl Into<std::borrow::Cow<'static, str>>) -> AgentError {
    AgentError::new(AgentErrorKind::ArchiveDamaged, message)
}

/// How long a moment's lock of another program is waited for.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// Returns whether another connection was in the way.
pub(super) fn is_busy(error: &Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
