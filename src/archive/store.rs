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

use super::connection::{Reader, connect, is_momentary, never_still};
use super::counters::refuse_counters;
use super::error::{Doing, Stored};
use super::folder::{FolderLock, Home, log, refuse_loss};
use super::options::{ArchiveOptions, Durability};
use super::origin;
use super::process::{Local, Opened};
use super::reserve::Reserve;
use super::schema::{FILE, PAGE, migrate};
use super::turns::lock;
use super::writer::Writer;
use crate::event::{ArchiveId, BusEpoch};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// How many KiB of pages the writer caches, so that the indexes are not read again and again.
const WRITER_CACHE: u32 = 32 << 10;

/// The file of a folder's archive, and connections that read it.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// The file that is read.
    home: Home,
    idle: Local<Idle>,
}

/// The connections of a store that are open and not in use.
#[derive(Debug)]
struct Idle {
    connections: Mutex<Vec<Reader>>,
    _opened: Opened,
}

/// How many connections are kept open at most.
const MOST_IDLE: usize = 4;

/// How often a reader tries that may not write to the folder, while a writer opens or closes it.
const TRIES: u32 = 100;

/// How long it waits in between.
const PAUSE: Duration = Duration::from_millis(10);

impl Store {
    fn new(folder: &Path, doing: &str) -> Stored<Self> {
        let idle = Idle {
            connections: Mutex::default(),
            _opened: Opened::begin()?,
        };
        Ok(Store {
            folder: folder.to_owned(),
            home: Home::of([folder.join(FILE)]).doing(doing)?,
            idle: Local::new(idle),
        })
    }

    /// Opens a folder for writing; creates it if it is missing.
    pub(super) fn open(folder: &Path, options: &ArchiveOptions) -> Stored<(Self, Writer)> {
        let (store, writer) = Self::open_unchecked(folder, options)?;
        refuse_counters(
            &writer.db,
            &format!("opening the archive {}", folder.display()),
        )?;
        Ok((store, writer))
    }

    /// Does the same, whatever the counters say.
    pub(super) fn open_unchecked(
        folder: &Path,
        options: &ArchiveOptions,
    ) -> Stored<(Self, Writer)> {
        let doing = format!("opening the archive {}", folder.display());
        let opened = Opened::begin()?;
        create_folder(folder).doing(&doing)?;
        let mut lock = FolderLock::take(folder, &doing)?;
        refuse_loss(folder, &doing)?;
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
        db.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -{WRITER_CACHE};
             PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;"
        ))
        .doing(&doing)?;
        let earlier = lock.text().trim().parse().unwrap_or(0);
        let shown = origin::begin(&mut db, folder, options.journal_epoch, earlier, &doing)?;
        lock.name_holder();
        if options.durability == Durability::SystemCache {
            db.execute_batch("PRAGMA synchronous = NORMAL")
                .doing(&doing)?;
        }
        let home = Home::of([folder.join(FILE), log(folder)]).doing(&doing)?;
        let store = Store::new(folder, &doing)?;
        let reserve = Reserve::of(folder);
        let mut writer = Writer::new(db, home, shown, lock, reserve, opened);
        writer.prepare().doing(&doing)?;
        Ok((store, writer))
    }

    /// Opens a folder for reading only, also while another process writes.
    pub(super) fn open_for_reading(folder: &Path) -> Stored<Self> {
        let doing = format!("opening the archive {}", folder.display());
        refuse_loss(folder, &doing)?;
        let store = Store::new(folder, &doing)?;
        store.read(|_| Ok(()))?;
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

    /// Calls `read` with a connection of its own; again, if what it read may not be whole.
    pub(super) fn read<T>(&self, read: impl Fn(&Connection) -> Stored<T>) -> Stored<T> {
        let connections = &self.idle.get()?.connections;
        let mut tries = TRIES;
        loop {
            self.home.check()?;
            let idle = lock(connections).pop();
            let reader = match idle {
                Some(reader) if reader.is_current(&self.folder) => Ok(reader),
                _ => Reader::open(&self.folder),
            };
            let result = match reader {
                Ok(reader) => {
                    let result = read(&reader.db);
                    let is_whole = reader.was_still(&self.folder);
                    let mut idle = lock(connections);
                    if result.is_ok() && is_whole && idle.len() < MOST_IDLE {
                        idle.push(reader);
                    }
                    is_whole.then_some(result)
                }
                Err(error) => Some(Err(error)),
            };
            tries -= 1;
            match result {
                Some(result) if tries == 0 || !is_momentary(&result) => return result,
                None if tries == 0 => return Err(never_still(&self.folder)),
                _ => thread::sleep(PAUSE),
            }
        }
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
