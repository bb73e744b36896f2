//! The store: SQLite in a folder of its own, in write-ahead mode.
//!
//! Invariants:
//! - **S1 one writer**: who writes holds the folder's lock, which the system takes back when the
//!   process ends, however it ends. Readers, also of other processes, take none and wait for
//!   nobody.
//! - **S2 all or nothing**: each step is one transaction. A killed process, a lost machine or a
//!   full disk leaves the last one that was finished.
//! - **S3 positions** rise by one from frame to frame and are never given twice, also when all
//!   frames were removed: the last one is written down beside them.
//! - **S4 order**: in an epoch, numbers rise with positions. What would break it is refused.
//! - Only a prefix of the positions is ever removed.
//!
//! A block's bytes stand apart from what it is found by, so that a search reads no frames. Runs and
//! agents are numbered as they come: those at work together are neighbours in the indexes, so that
//! a step writes few pages. By a hash, each of its runs would be on a page of its own.

use super::block::{Block, BlockHead};
use super::error::{Doing, Stored, damaged};
use super::folder::FolderLock;
use super::process::{Local, Opened};
use super::schema::{FILE, VERSION, migrate, version};
use crate::event::{
    AgentError, AgentErrorKind, ArchiveId, BusEpoch, EventOverflowNotice, KindSet, Timestamp,
};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of a page of the file.
const PAGE: u64 = 8_192;

/// KiB of pages that the writer keeps, so that what it finds blocks by is not read again and again.
const WRITER_CACHE: u32 = 32 << 10;

/// What is known of a block without its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The position of its first frame.
    pub(super) first: u64,
    pub(super) head: BlockHead,
    pub(super) size: u64,
    checksum: u64,
}

impl Place {
    /// Returns the position of its last frame.
    pub(super) fn last(&self) -> u64 {
        self.first + u64::from(self.head.count) - 1
    }

    pub(super) const COLUMNS: &'static str = "first, count, epoch, first_seq, first_time, \
        min_time, max_time, kinds_lo, kinds_hi, size, checksum";

    /// From a row of [`COLUMNS`](Self::COLUMNS). A row that no writer makes is an error.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let unsigned = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let time = |at: usize| row.get(at).map(Timestamp::from_micros);
        let bits = u128::from(unsigned(7)?) | u128::from(unsigned(8)?) << 64;
        let place = Place {
            first: unsigned(0)?,
            head: BlockHead {
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
        let small = |number: u64| (1..=i64::MAX as u64 >> 1).contains(&number);
        match small(place.first) && small(place.head.first_seq) && place.head.count > 0 {
            true => Ok(place),
            false => Err(rusqlite::Error::IntegralValueOutOfRange(
                0,
                place.first.cast_signed(),
            )),
        }
    }

    /// Returns its bytes, which are those that were written.
    pub(super) fn bytes(&self, db: &Connection) -> Stored<Vec<u8>> {
        let mut select = db
            .prepare_cached("SELECT bytes FROM data WHERE first = ?")
            .doing("reading a block")?;
        let bytes: Option<Vec<u8>> = select
            .query_row([self.first.cast_signed()], |row| row.get(0))
            .optional()
            .doing("reading a block")?;
        match bytes {
            Some(bytes) if checksum(self.first, &self.head, &bytes) == self.checksum => Ok(bytes),
            _ => Err(damaged(format!(
                "the frames at positions {} to {} are not as they were written; restore the \
                 folder from a backup, or start behind them",
                self.first,
                self.last()
            ))),
        }
    }
}

/// Of a block's bytes, and of all that is known of it beside them.
fn checksum(first: u64, head: &BlockHead, bytes: &[u8]) -> u64 {
    let words = [
        first,
        head.epoch.bits(),
        head.first_seq,
        u64::from(head.count),
        head.first_time.as_micros().cast_unsigned(),
        head.min_time.as_micros().cast_unsigned(),
        head.max_time.as_micros().cast_unsigned(),
        head.kinds.bits() as u64,
        (head.kinds.bits() >> 64) as u64,
    ];
    xxh3_64_with_seed(bytes, xxh3_64(words.map(u64::to_le_bytes).as_flattened()))
}

/// Frames that a follower lost, on their way to the store.
#[derive(Debug)]
pub(super) struct LostRange {
    pub(super) epoch: BusEpoch,
    pub(super) numbers: Range<u64>,
    pub(super) lost: u64,
    pub(super) terminal_preserved: bool,
}

impl LostRange {
    pub(super) fn of(notice: &EventOverflowNotice) -> Self {
        let end = notice.gap_end.event_seq;
        let first = notice.gap_start.as_ref().map_or(end, |it| it.event_seq);
        LostRange {
            epoch: notice.gap_end.bus_epoch,
            numbers: first..end + 1,
            lost: notice.dropped_count,
            terminal_preserved: notice.terminal_preserved,
        }
    }
}

/// The one that writes. The database is closed before the lock is given back.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) lock: FolderLock,
    _opened: Opened,
}

impl Writer {
    /// Stores blocks and gaps, durably as the mode says: all of it, or nothing. Gives the
    /// positions.
    pub(super) fn append(&mut self, blocks: &[Block], gaps: &[LostRange]) -> Stored<Range<u64>> {
        let doing = "appending to the archive";
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
            next += u64::from(block.head.count);
        }
        for gap in gaps {
            transaction
                .prepare_cached("INSERT INTO gaps VALUES(NULL, ?, ?, ?, ?, ?, ?, ?)")
                .and_then(|mut insert| {
                    insert.execute(params![
                        next.cast_signed(),
                        gap.epoch.bits().cast_signed(),
                        gap.numbers.start.cast_signed(),
                        (gap.numbers.end - 1).cast_signed(),
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
        Ok(begin..next)
    }
}

fn check_order(transaction: &Transaction<'_>, block: &Block) -> Stored<()> {
    let BlockHead {
        epoch, first_seq, ..
    } = block.head;
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

/// Returns the number of an epoch's last archived frame, 0 for none. Frames that were removed
/// count.
pub(super) fn last_sequence(db: &Connection, epoch: BusEpoch) -> Stored<u64> {
    let last: Option<i64> = db
        .prepare_cached("SELECT last_seq FROM epochs WHERE epoch = ?")
        .and_then(|mut select| {
            select
                .query_row([epoch.bits().cast_signed()], |row| row.get(0))
                .optional()
        })
        .doing("reading the last number")?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

/// Writes a block and all that it is found by.
pub(super) fn put_block(
    db: &Connection,
    first: u64,
    block: &Block,
    bytes: &[u8],
) -> rusqlite::Result<()> {
    let head = &block.head;
    let at = first.cast_signed();
    db.prepare_cached("INSERT INTO blocks VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            at,
            head.count,
            head.epoch.bits().cast_signed(),
            head.first_seq.cast_signed(),
            head.first_time.as_micros(),
            head.min_time.as_micros(),
            head.max_time.as_micros(),
            head.kinds.bits() as i64,
            (head.kinds.bits() >> 64) as i64,
            bytes.len() as i64,
            checksum(first, head, bytes).cast_signed(),
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
    let last = at + i64::from(head.count) - 1;
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
        head.epoch.bits().cast_signed(),
        head.last_seq().cast_signed()
    ])?;
    Ok(())
}

/// The file of a folder's archive, and connections that read it.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Nothing can be written in the folder, and nobody else does: the file is all there is.
    immutable: bool,
    idle: Local<Idle>,
}

/// Connections that no reader has just now.
#[derive(Debug)]
struct Idle {
    connections: Mutex<Vec<Connection>>,
    _opened: Opened,
}

/// Connections that are kept open for the next reader.
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

    /// Opens a folder for writing, making it if it is not there.
    pub(super) fn open(folder: &Path, every_group: bool) -> Stored<(Self, Writer)> {
        let doing = format!("opening the archive {}", folder.display());
        let opened = Opened::begin()?;
        fs::create_dir_all(folder).doing(&doing)?;
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
        let synchronous = if every_group { "FULL" } else { "NORMAL" };
        db.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -{WRITER_CACHE};
             PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;"
        ))
        .doing(&doing)?;
        let store = Store::new(folder)?;
        let mut writer = Writer {
            db,
            lock,
            _opened: opened,
        };
        if writer.lock.shown() == 0 {
            writer.lock.note_shown(0).doing(&doing)?;
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
            // A folder where nothing can be written has no room for readers' marks, and needs none
            // if no log waits to be taken in.
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

    /// Reads with a connection of its own.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Stored<T>) -> Stored<T> {
        let connections = &self.idle.get()?.connections;
        let idle = lock(connections).pop();
        let db = match idle {
            Some(db) => db,
            None => {
                let path = self.folder.join(FILE);
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
                let db = match self.immutable {
                    false => connect(&path, flags),
                    true => connect(
                        Path::new(&immutable_uri(&path)),
                        flags | OpenFlags::SQLITE_OPEN_URI,
                    ),
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

/// Returns whether a file could not be opened or made.
fn is_denied(error: &AgentError) -> bool {
    matches!(
        error.kind(),
        AgentErrorKind::ArchiveUnavailable | AgentErrorKind::ArchiveReadOnly
    )
}

/// SQLite takes a file of less than a page for a new one. It is one if it is empty, or if the log
/// of its making is there to be undone.
fn refuse_stump(folder: &Path, doing: &str) -> Stored<()> {
    let length = fs::metadata(folder.join(FILE)).map_or(0, |file| file.len());
    if (1..PAGE).contains(&length) && !folder.join(format!("{FILE}-journal")).exists() {
        return Err(damaged(format!(
            "{doing}: {FILE} was cut off after {length} bytes; restore the folder from a backup"
        )));
    }
    Ok(())
}

/// Returns what a poisoned lock guards is whole: a transaction that did not finish is rolled back.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn immutable_uri(path: &Path) -> String {
    let path = path.to_string_lossy();
    let escaped = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}

/// Who the archive is: its id, and the epoch of the bus that it is the journal of.
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
