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
//! A block's bytes are in another table than its columns, so that a search reads no frames. Runs
//! and agents get ids in the order in which they come: those that are active together are
//! neighbours in the indexes, so that a step writes few pages. With hashes as ids, each of a step's
//! runs would be on a page of its own.

use super::block::{Block, BlockHeader};
use super::error::{Doing, Stored, damaged};
use super::folder::{FolderLock, Home, log, refuse_loss};

use super::handle::{ArchiveOptions, Durability};
use super::origin::{self, Shown};
use super::process::{Local, Opened};
use super::reader::{BUSY_TIMEOUT, Reader, connect, is_momentary, never_still};
use super::schema::{FILE, PAGE, migrate};
use crate::event::{
    AgentError, AgentErrorKind, ArchiveId, BusEpoch, EventOverflowNotice, KindSet, Timestamp,
};
use crate::ring::MAX_SEQUENCE;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How many KiB of pages the writer caches, so that the indexes are not read again and again.
const WRITER_CACHE: u32 = 32 << 10;

/// A block's row: all of the block but its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockRow {
    /// The position of its first frame.
    pub(super) first: u64,
    pub(super) header: BlockHeader,
    /// How many bytes it has.
    pub(super) size: u64,
    /// Of its bytes and of the other columns.
    checksum: u64,
}

impl BlockRow {
    /// Returns the position of its last frame.
    pub(super) fn last(&self) -> u64 {
        self.first + u64::from(self.header.count) - 1
    }

    /// The columns of the row, as [`of`](Self::of) reads them.
    pub(super) const COLUMNS: &'static str = "first, count, epoch, first_seq, first_time, \
        min_time, max_time, kinds_lo, kinds_hi, size, checksum";

    /// Reads a row of [`COLUMNS`](Self::COLUMNS).
    ///
    /// # Errors
    /// For a row that no writer stores.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let unsigned = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let time = |at: usize| row.get(at).map(Timestamp::from_micros);
        let bits = u128::from(unsigned(7)?) | u128::from(unsigned(8)?) << 64;
        let block = BlockRow {
            first: unsigned(0)?,
            header: BlockHeader {
                epoch: BusEpoch::from_bits(unsigned(2)?),
                first_seq: unsigned(3)?,
                count: row.get(1)?,
                first_time: time(4)?,
                min_time: time(5)?,
                max_time: time(6)?,
                kinds: KindSet::from_bits(bits),
            },
            size: unsigned(9)?,
            checksum: unsigned(10)?,
        };
        let small = |number: u64| (1..MAX_SEQUENCE).contains(&number);
        if small(block.first) && small(block.header.first_seq) && block.header.count > 0 {
            return Ok(block);
        }
        let first = block.first.cast_signed();
        Err(rusqlite::Error::IntegralValueOutOfRange(0, first))
    }

    /// Returns the block's bytes.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`] if they are not those that were written.
    pub(super) fn bytes(&self, db: &Connection) -> Stored<Vec<u8>> {
        let mut select = db
            .prepare_cached("SELECT bytes FROM data WHERE first = ?")
            .doing("reading a block")?;
        let bytes: Option<Vec<u8>> = select
            .query_row([self.first.cast_signed()], |row| row.get(0))
            .optional()
            .doing("reading a block")?;
        match bytes {
            Some(bytes) if checksum(self.first, &self.header, &bytes) == self.checksum => Ok(bytes),
            _ => Err(damaged(format!(
                "the frames at positions {} to {} are not as they were written; restore the \
                 folder from a backup, or start after them",
                self.first,
                self.last()
            ))),
        }
    }
}

/// Returns the checksum of a block's bytes and of its other columns.
fn checksum(first: u64, header: &BlockHeader, bytes: &[u8]) -> u64 {
    let words = [
        first,
        header.epoch.bits(),
        header.first_seq,
        u64::from(header.count),
        header.first_time.as_micros().cast_unsigned(),
        header.min_time.as_micros().cast_unsigned(),
        header.max_time.as_micros().cast_unsigned(),
        header.kinds.bits() as u64,
        (header.kinds.bits() >> 64) as u64,
    ];
    xxh3_64_with_seed(bytes, xxh3_64(words.map(u64::to_le_bytes).as_flattened()))
}

/// A gap of an archiver that is not stored yet.
#[derive(Debug)]
pub(super) struct LostRange {
    pub(super) epoch: BusEpoch,
    pub(super) sequences: Range<u64>,
    /// How many frames were lost; at least 1.
    pub(super) lost: u64,
    /// Whether no terminal frame is among them.
    pub(super) terminal_preserved: bool,
}

impl LostRange {
    /// Returns the gap that a notice reports.
    pub(super) fn of(notice: &EventOverflowNotice) -> Self {
        let end = notice.gap_end.event_seq;
        let first = notice.gap_start.as_ref().map_or(end, |it| it.event_seq);
        LostRange {
            epoch: notice.gap_end.bus_epoch,
            sequences: first..end + 1,
            lost: notice.dropped_count,
            terminal_preserved: notice.terminal_preserved,
        }
    }
}

/// The archive's writer. Fields are dropped in order: the database is closed before the lock is
/// released.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) db: Connection,
    /// The files that it writes.
    home: Home,
    shown: Shown,
    _lock: FolderLock,
    _opened: Opened,
}

impl Writer {
    /// Stores blocks and gaps in one transaction, as durable as the archive's options say. Returns
    /// the frames' positions.
    pub(super) fn append(&mut self, blocks: &[Block], gaps: &[LostRange]) -> Stored<Range<u64>> {
        let doing = "appending to the archive";
        self.home.check()?;
        let transaction = self.db.transaction().doing(doing)?;
        let last: i64 = transaction
            .query_row("SELECT last_position FROM state", [], |row| row.get(0))
            .doing(doing)?;
        let begin = last.cast_unsigned() + 1;
        let mut next = begin;
        for block in blocks {
            check_order(&transaction, block)?;
            let bytes = block.to_bytes()?;
            put_block(&transaction, next, block, &bytes).doing(doing)?;
            next += u64::from(block.header.count);
        }
        for gap in gaps {
            transaction
                .prepare_cached("INSERT INTO gaps VALUES(NULL, ?, ?, ?, ?, ?, ?, ?)")
                .and_then(|mut insert| {
                    insert.execute(params![
                        next.cast_signed(),
                        gap.epoch.bits().cast_signed(),
                        gap.sequences.start.cast_signed(),
                        (gap.sequences.end - 1).cast_signed(),
                        gap.lost.cast_signed(),
                        gap.terminal_preserved,
                        Timestamp::now().as_micros(),
                    ])
                })
                .doing(doing)?;
        }
        transaction
            .prepare_cached("UPDATE state SET last_position = ?")
            .and_then(|mut update| update.execute([(next - 1).cast_signed()]))
            .doing(doing)?;
        transaction.commit().doing(doing)?;
        // What is acknowledged is in files that are found again.
        self.home.check()?;
        Ok(begin..next)
    }

    /// Notes, before the journal shows them, that frames up to this sequence number are shown
    /// without being stored: no later process may give their sequence numbers to other frames.
    /// Returns false if that can't be noted.
    pub(super) fn note_shown(&mut self, sequence: u64) -> bool {
        let is_noted = self.shown.note(sequence).is_ok();
        // On a full disk this fails, and another program's lock is not waited for once more. If it
        // was noted in the file alone, the next opening takes it from there.
        let is_stored = self.db.busy_timeout(Duration::ZERO).is_ok()
            && self
                .db
                .prepare_cached("UPDATE state SET shown = max(shown, ?)")
                .and_then(|mut update| update.execute([sequence.cast_signed()]))
                .is_ok();
        let waits = self.db.busy_timeout(BUSY_TIMEOUT).is_ok();
        waits && (is_noted || is_stored)
    }

    /// Returns the highest sequence number that was shown without being stored; 0 if there is none.
    pub(super) fn shown(&self) -> u64 {
        self.shown.sequence()
    }
}

/// Checks invariant S4 for a block.
fn check_order(transaction: &Transaction<'_>, block: &Block) -> Stored<()> {
    let BlockHeader {
        epoch, first_seq, ..
    } = block.header;
    let last = last_sequence(transaction, epoch)?;
    if first_seq > last {
        return Ok(());
    }
    Err(AgentError::new(
        AgentErrorKind::ArchiveOrder,
        format!(
            "frame {first_seq} of bus {epoch} cannot follow frame {last}, which the archive has; \
             append each frame once, in order, and publish it first"
        ),
    ))
}

/// Returns the sequence number of the last frame that was archived of an epoch, also if it was
/// removed since; 0 if there is none.
pub(super) fn last_sequence(db: &Connection, epoch: BusEpoch) -> Stored<u64> {
    let last: Option<i64> = db
        .prepare_cached("SELECT last_seq FROM epochs WHERE epoch = ?")
        .and_then(|mut select| {
            select
                .query_row([epoch.bits().cast_signed()], |row| row.get(0))
                .optional()
        })
        .doing("reading the last sequence number")?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

/// Stores a block at this position: its row, its bytes, and its entries in the indexes.
pub(super) fn put_block(
    db: &Connection,
    first: u64,
    block: &Block,
    bytes: &[u8],
) -> rusqlite::Result<()> {
    let header = &block.header;
    let at = first.cast_signed();
    db.prepare_cached("INSERT INTO blocks VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            at,
            header.count,
            header.epoch.bits().cast_signed(),
            header.first_seq.cast_signed(),
            header.first_time.as_micros(),
            header.min_time.as_micros(),
            header.max_time.as_micros(),
            header.kinds.bits() as i64,
            (header.kinds.bits() >> 64) as i64,
            bytes.len() as i64,
            checksum(first, header, bytes).cast_signed(),
        ])?;
    db.prepare_cached("INSERT INTO data VALUES(?, ?)")?
        .execute(params![at, bytes])?;
    let mut known = db.prepare_cached(
        "INSERT INTO runs VALUES(NULL, ?1, ?2, ?3, ?4, ?5) ON CONFLICT(name) DO UPDATE SET
         first_time = min(first_time, ?2), last_time = max(last_time, ?3),
         ended = CASE WHEN ?4 >= last_position THEN coalesce(?5, ended) ELSE ended END,
         last_position = max(last_position, ?4) RETURNING id",
    )?;
    let mut runs = db.prepare_cached("INSERT INTO block_runs VALUES(?, ?, ?)")?;
    let last = at + i64::from(header.count) - 1;
    for run in &block.runs {
        let values = params![
            run.id.as_str(),
            run.first_time.as_micros(),
            run.last_time.as_micros(),
            last,
            run.ended.map(|kind| kind.as_str()),
        ];
        let id: i64 = known.query_row(values, |row| row.get(0))?;
        runs.execute(params![id, at, run.frames])?;
    }
    let mut known = db.prepare_cached("INSERT OR IGNORE INTO agents VALUES(NULL, ?)")?;
    let mut agents =
        db.prepare_cached("INSERT INTO block_agents SELECT id, ?2 FROM agents WHERE name = ?1")?;
    for agent in &block.agents {
        known.execute([agent.as_str()])?;
        agents.execute(params![agent.as_str(), at])?;
    }
    db.prepare_cached(
        "INSERT INTO epochs VALUES(?1, ?2) ON CONFLICT DO UPDATE SET last_seq = max(last_seq, ?2)",
    )?
    .execute(params![
        header.epoch.bits().cast_signed(),
        header.last_seq().cast_signed()
    ])?;
    Ok(())
}

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
        let doing = format!("opening the archive {}", folder.display());
        let opened = Opened::begin()?;
        fs::create_dir_all(folder).doing(&doing)?;
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
             PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;"
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
        let writer = Writer {
            db,
            home,
            shown,
            _lock: lock,
            _opened: opened,
        };
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

/// Locks, also after a panic: what the lock guards is whole, since a transaction that did not
/// finish is rolled back.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Returns the positions that are held: before the first one, and the last one ever given.
pub(super) fn extent(db: &Connection) -> Stored<(u64, u64)> {
    let (first, last): (Option<i64>, i64) = db
        .prepare_cached("SELECT (SELECT min(first) FROM blocks), last_position FROM state")
        .and_then(|mut select| select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .doing("reading the archive's extent")?;
    let last = last.cast_unsigned();
    let before = first.map_or(last, |first| first.cast_unsigned().saturating_sub(1));
    Ok((before, last))
}
