//! Connections to the database, and how a user reads it who may not write to the folder.
//!
//! SQLite's readers mark in shared memory what they read, so that a checkpoint leaves it alone; that
//! memory is a file beside the database, which a writer makes. A user who may not write reads
//! through it like others while it is there. Without it nobody writes, so the database is read
//! without a lock, and looked at afterwards: if it was written meanwhile, what was read is read
//! again. So such a reader is neither late nor sees a page of the wrong moment.

use super::error::{BUSY, Doing, Stored};
use super::folder::Still;
use super::schema::{FILE, VERSION, overlay, version};
use crate::event::{AgentError, AgentErrorKind};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// A connection that reads.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) db: Connection,
    /// The version of the file's schema, which it reads as [`VERSION`].
    version: usize,
    /// As what it found the file, if it takes no lock: nobody writes it then, or what was read is
    /// read again.
    pub(super) still: Option<Still>,
}

impl Reader {
    /// Opens a folder's database.
    pub(super) fn open(folder: &Path) -> Stored<Self> {
        let doing = format!("opening the archive {} to read", folder.display());
        let path = folder.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let mut db = connect(&path, flags).doing(&doing)?;
        let (mut found, mut still) = (version(&db, &doing), None);
        // A folder that can't be written to has no room for readers' marks.
        let denied = found.as_ref().err().filter(|it| is_denied(it)).cloned();
        if let Some(denied) = denied {
            still = Still::of(folder);
            if still.is_none() {
                return Err(AgentError::new(
                    AgentErrorKind::ArchiveReadOnly,
                    format!(
                        "{}; or its log waits to be applied: open it once as a user who may write",
                        denied.message()
                    ),
                ));
            }
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            db = connect(Path::new(&immutable_uri(&path)), flags).doing(&doing)?;
            found = version(&db, &doing);
        }
        let version = found?;
        if version == 0 {
            return Err(AgentError::new(
                AgentErrorKind::ArchiveVersion,
                format!("{doing}: there is none in {FILE} yet; open it for writing once"),
            ));
        }
        overlay(&db, version).doing(&doing)?;
        Ok(Reader { db, version, still })
    }

    /// Returns whether it may be used again.
    pub(super) fn is_current(&self, folder: &Path) -> bool {
        // A file of an earlier version may have been migrated since.
        let is_of_version = || version(&self.db, "") == Ok(self.version);
        self.was_still(folder) && (self.version == VERSION || is_of_version())
    }

    /// Returns whether nobody wrote what it read without a lock.
    pub(super) fn was_still(&self, folder: &Path) -> bool {
        self.still.is_none() || self.still == Still::of(folder)
    }
}

/// Returns whether a file could not be opened or created.
fn is_denied(error: &AgentError) -> bool {
    matches!(
        error.kind(),
        AgentErrorKind::ArchiveUnavailable | AgentErrorKind::ArchiveReadOnly
    )
}

/// Returns whether a reading failed as it does for a moment, while a writer opens or closes the
/// folder and the reader may not do its part.
pub(super) fn is_momentary<T>(result: &Stored<T>) -> bool {
    let error = result.as_ref().err();
    error.is_some_and(|error| error.kind() == AgentErrorKind::ArchiveReadOnly)
}

/// The error for a folder that was written each time that it was read without a lock.
pub(super) fn never_still(folder: &Path) -> AgentError {
    AgentError::new(
        AgentErrorKind::ArchiveInUse,
        format!(
            "the archive {} was written each time that it was read, and this user may take no lock \
             there; let it write to the folder",
            folder.display()
        ),
    )
}

/// Opens a connection to the file.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Returns the file's URI that opens it as one that never changes.
fn immutable_uri(path: &Path) -> String {
    let path = path.to_string_lossy();
    let escaped = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}
