//! The store: SQLite in a folder of its own, in write-ahead mode.
//!
//! Invariants:
//! - **S1 one writer**: the writer holds the folder's lock, which the system releases when the
//!   process ends, however it ends. Readers, also of other processes, take no lock and never wait.
//! - **S2 all or nothing**: each step is one transaction. A killed process, a loss of power or a
//!   full disk leaves the last one that was finished.
//! - **S3 positions** rise by one from frame to frame and are never given twice, also when all
//!   frames were removed: the last one is stored beside them.
//! - **S4 order**: in an epoch, sequence numbers rise with positions. Frames that would break that
//!   are refused.
//! - **S5 prefix**: only a prefix of the positions is ever removed.
//!
//! A block's bytes are in another table than its columns, so that a search reads no frames.

use super::error::{BUSY, Doing, Stored, damaged};
use super::folder::FolderLock;
use super::process::{Local, Opened};
use super::reserve::Reserve;
use super::schema::{FILE, PAGE, VERSION, migrate, version};
use super::writer::Writer;
use crate::event::{AgentError, AgentErrorKind, ArchiveId, BusEpoch};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many KiB of pages the writer caches, so that the indexes are not read again and again.
const WRITER_CACHE: u32 = 32 << 10;

/// The file of a folder's archive, and connections that read it.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Whether the folder can't be written to, so that SQLite may take the file as it is.
    immutable: bool,
    idle: Local<Idle>,
}

/// The connections of a store that are open and not in use.
#[derive(Debug)]
struct Idle {
    connections: Mutex<Vec<Connection>>,
    _opened: Opened,
}

/// How many connections are kept open at most.
const MOST_IDLE: usize = 4;

impl Store {
    fn new(folder: &Path) -> Stored<Self> {
        let idle = Idle {
            connections: Mutex::default(),
            _opened: Opened::begin()?,
        };
        Ok(Store {
            folder: folder.to_owned(),
            immutable: false,
            idle: Local::new(idle),
        })
    }

    /// Opens a folder for writing; creates it if it is missing. With `every_append`, each append is
    /// flushed to the disk.
    pub(super) fn open(folder: &Path, every_append: bool) -> Stored<(Self, Writer)> {
        let doing = format!("opening the archive {}", folder.display());
        let opened = Opened::begin()?;
        create_folder(folder).doing(&doing)?;
        let lock = FolderLock::take(folder, &doing)?;
        refuse_stump(folder, &doing)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut db = connect(&folder.join(FILE), flags).doing(&doing)?;
        // A transaction that begins by reading cannot wait for another program's lock when it
        // comes to write: the timeout holds for those that ask for the lock first.
        db.set_transaction_behavior(TransactionBehavior::Immediate);
        db.execute_batch(&format!(
            "PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = INCREMENTAL;"
        ))
        .doing(&doing)?;
        migrate(&mut db, &doing)?;
        let synchronous = if every_append { "FULL" } else { "NORMAL" };
        db.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -{WRITER_CACHE};
             PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;"
        ))
        .doing(&doing)?;
        let store = Store::new(folder)?;
        let mut writer = Writer::new(db, lock, Reserve::of(folder), opened);
        writer.prepare().doing(&doing)?;
        if writer.lock.published() == 0 {
            writer.lock.note_published(0).doing(&doing)?;
        }
        Ok((store, writer))
    }

    /// Opens a folder for reading only, also while another process writes.
    pub(super) fn open_for_reading(folder: &Path) -> Stored<Self> {
        let doing = format!("opening the archive {}", folder.display());
        fs::metadata(folder.join(FILE)).doing(&doing)?;
        refuse_stump(folder, &doing)?;
        let mut store = Store::new(folder)?;
        let tried = store.read(|db| version(db, &doing));
        let log = fs::metadata(folder.join(format!("{FILE}-wal")));
        let version = match tried {
            // A folder that can't be written to has no room for readers' marks, and needs none if
            // no log waits to be applied.
            Err(error) if is_denied(&error) && !log.is_ok_and(|log| log.len() > 0) => {
                store.immutable = true;
                store.read(|db| version(db, &doing))?
            }
            tried => tried?,
        };
        if version < VERSION {
            return Err(AgentError::new(
                AgentErrorKind::ArchiveVersion,
                format!("{doing}: it is of version {version}; open it for writing once"),
            ));
        }
        Ok(store)
    }

    /// Writes SQLite's log into the file, as far as readers allow it, without waiting for them or
    /// making the writer wait.
    pub(super) fn checkpoint(&self) -> Stored<()> {
        let doing = "writing the log into the file";
        let db =
            connect(&self.folder.join(FILE), OpenFlags::SQLITE_OPEN_READ_WRITE).doing(doing)?;
        db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .doing(doing)
    }

    /// Calls `read` with a connection of its own.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Stored<T>) -> Stored<T> {
        let connections = &self.idle.get()?.connections;
        let idle = lock(connections).pop();
        let db = match idle {
            Some(db) => db,
            None => {
                let path = self.folder.join(FILE);
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
                let db = if self.immutable {
                    let uri = immutable_uri(&path);
                    connect(Path::new(&uri), flags | OpenFlags::SQLITE_OPEN_URI)
                } else {
                    connect(&path, flags)
                };
                db.doing("opening the archive to read")?
            }
        };
        let result = read(&db);
        let mut idle = lock(connections);
        if result.is_ok() && idle.len() < MOST_IDLE {
            idle.push(db);
        }
        result
    }
}

/// Creates a folder and those that it is in, as durable as what will be in it: on Unix, each folder
/// that has a new entry is flushed. Elsewhere the system keeps entries in a log of its own.
fn create_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|it| !it.exists()).collect();
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    for created in missing {
        let parent = created.parent().filter(|it| !it.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    drop(missing);
    Ok(())
}

/// Returns whether a file could not be opened or created.
fn is_denied(error: &AgentError) -> bool {
    matches!(
        error.kind(),
        AgentErrorKind::ArchiveUnavailable | AgentErrorKind::ArchiveReadOnly
    )
}

/// Refuses a file that was cut off within its first page, which SQLite would take for a new one. It
/// is a new one if it is empty, or if the log of its creation is there to be rolled back.
fn refuse_stump(folder: &Path, doing: &str) -> Stored<()> {
    let length = fs::metadata(folder.join(FILE)).map_or(0, |file| file.len());
    if (1..PAGE).contains(&length) && !folder.join(format!("{FILE}-journal")).exists() {
        return Err(damaged(format!(
            "{doing}: {FILE} was cut off after {length} bytes; restore the folder from a backup"
        )));
    }
    Ok(())
}

/// Locks, also after a panic: what the lock guards is whole, since a transaction that did not
/// finish is rolled back.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a connection to the file.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
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

/// The archive's identity: its id, and the epoch of the bus that it is the journal of.
pub(super) fn identity(db: &Connection) -> Stored<(ArchiveId, BusEpoch)> {
    let (id, epoch): (String, i64) = db
        .query_row("SELECT archive_id, journal_epoch FROM state", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .doing("reading the archive's identity")?;
    Ok((
        ArchiveId::new(id),
        BusEpoch::from_bits(epoch.cast_unsigned()),
    ))
}
