//! The writer: frames become pieces of the tail, and a full tail becomes blocks.
//!
//! An append writes one row, so it changes one or two pages of the file; what a block costs (its
//! entries in the indexes of runs and agents, on a page each) is paid once for all appends that it
//! is made of. The append that fills the tail closes it in its own transaction: its frames and the
//! pieces are joined, packed, and put into the indexes; the pieces are deleted. So a frame that
//! comes alone is written twice, and one that comes with as many others as fill a block, once.

use super::arrivals::Arrivals;
use super::block::{BLOCK_BYTES, BLOCK_FRAMES, Block, BlockWriter};
use super::error::{BUSY, Doing, Stored, is_busy, is_unreadable};
use super::folder::{FolderLock, Home};
use super::lost::{LostRange, put_gaps};
use super::origin::Shown;
use super::pack::pack;
use super::process::Opened;
use super::reserve::{Limits, Reserve};
use super::rows::{BlockRow, extent, last_sequence, pieces_from};
use super::schema::PAGE;
use crate::event::{AgentError, AgentErrorKind, BusEpoch, PrivacyClass};
use rusqlite::{Connection, Transaction, params};
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

/// The archive's writer. Fields are dropped in order: the database is closed before the lock is
/// released.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) db: Connection,
    /// The files that it writes.
    home: Home,
    shown: Shown,
    /// What is in the tail; `None` if that has to be read again. Only a transaction that was
    /// committed leaves it here.
    tail: Option<Tail>,
    reserve: Reserve,
    limits: Limits,
    /// When frames arrived.
    pub(super) arrivals: Arrivals,
    _lock: FolderLock,
    _opened: Opened,
}

/// What the writer knows of the tail.
#[derive(Debug, Default)]
struct Tail {
    /// The position of the next frame.
    next: u64,
    /// How many frames the pieces have.
    frames: u64,
    /// How many bytes they take.
    bytes: u64,
    /// The last sequence number of each epoch that a piece is of.
    last: HashMap<BusEpoch, u64>,
}

/// An append of at least this many frames closes the tail at once. In the tail they would be
/// written twice. Compaction joins such blocks later.
const AT_ONCE: u64 = 512;

impl Writer {
    /// The writer of this database, whose lock it holds.
    pub(super) fn new(
        db: Connection,
        home: Home,
        shown: Shown,
        lock: FolderLock,
        reserve: Reserve,
        opened: Opened,
    ) -> Self {
        Writer {
            db,
            home,
            shown,
            tail: None,
            limits: reserve.limits(),
            reserve,
            arrivals: Arrivals::default(),
            _lock: lock,
            _opened: opened,
        }
    }

    /// Takes the reserve, and sets how long the log may become by the room that the disk has.
    pub(super) fn prepare(&mut self) -> rusqlite::Result<()> {
        self.reserve.take();
        self.limit_log()
    }

    /// Sets how long the log may become by the room that the disk has now.
    fn limit_log(&mut self) -> rusqlite::Result<()> {
        self.limits = self.reserve.limits();
        let pages = self.limits.log;
        self.db.execute_batch(&format!(
            "PRAGMA wal_autocheckpoint = {pages}; PRAGMA journal_size_limit = {};",
            2 * pages * PAGE
        ))
    }

    /// Does a step of retention or compaction. If the disk is full, gives up the reserve, writes
    /// the log into the file, and does the step again.
    pub(super) fn with_reserve<T>(
        &mut self,
        mut step: impl FnMut(&mut Self) -> Stored<T>,
    ) -> Stored<T> {
        match step(self) {
            Err(error) if error.kind() == AgentErrorKind::ArchiveFull && self.reserve.give() => {
                // If the log can't be written there now, there may still be room for the step.
                let _ = self.cut_log();
                step(self)
            }
            done => done,
        }
    }

    /// Returns whether the reserve was given up.
    pub(super) fn lacks_reserve(&self) -> bool {
        !self.reserve.is_there()
    }

    /// Returns how many pages of log wait at most to be written into the file.
    pub(super) fn log_limit(&self) -> u64 {
        self.limits.log
    }

    /// Stores blocks and gaps in one transaction, as durable as the archive's options say. Returns
    /// the frames' positions.
    pub(super) fn append(&mut self, blocks: &[Block], gaps: &[LostRange]) -> Stored<Range<u64>> {
        let doing = "appending to the archive";
        self.home.check()?;
        let size = blocks.iter().map(|block| block.size() as u64).sum();
        self.reserve.check(size, doing)?;
        let limit = self.limits.tail;
        let transaction = self.db.transaction().doing(doing)?;
        let mut tail = match self.tail.take() {
            Some(tail) => tail,
            None => Tail::read(&transaction)?,
        };
        let begin = tail.next;
        if !blocks.is_empty() {
            self.arrivals.note(&transaction, begin - 1).doing(doing)?;
        }
        for block in blocks {
            tail.check_order(&transaction, block)?;
            tail.add(block.header.epoch, block.header.last_seq());
            tail.next += u64::from(block.header.count);
            tail.frames += u64::from(block.header.count);
        }
        tail.bytes += size;
        let appended: u64 = blocks
            .iter()
            .map(|block| u64::from(block.header.count))
            .sum();
        let closes = tail.is_full(limit) || appended >= AT_ONCE;
        if closes {
            close(&transaction, begin, blocks, tail.next - 1)?;
            tail = Tail::after(tail.next);
        } else {
            let mut first = begin;
            for block in blocks {
                let (names, records) = block.to_bytes()?;
                let stored = [&names[..], records];
                let row = BlockRow::new(first, block.header, stored);
                row.put(&transaction, true, stored).doing(doing)?;
                first = row.last() + 1;
            }
        }
        put_gaps(&transaction, begin, blocks, gaps).doing(doing)?;
        if let Err(error) = transaction.commit() {
            self.overwrite();
            return Err(error).doing(doing);
        }
        let positions = begin..tail.next;
        self.tail = Some(tail);
        if closes {
            // The frames are stored, whether the log's bound can be set anew or not.
            let _ = self.limit_log();
        }
        // What is acknowledged is in files that are found again.
        self.home.check()?;
        Ok(positions)
    }

    /// Writes over a transaction that was refused. If it was its flush that failed, the log has all
    /// of it, and an opening after a crash would find it there; with another transaction at its
    /// place, the log's checksums do not go on to what is left of it. If this fails too, the next
    /// transaction does it.
    fn overwrite(&self) {
        // A page has to be written, so something has to change.
        let change = "BEGIN IMMEDIATE;
            INSERT INTO ancestors VALUES('', 0); DELETE FROM ancestors WHERE archive_id = '';
            COMMIT;";
        if self.db.execute_batch(change).is_err() && !self.db.is_autocommit() {
            // It fails only if there is none.
            let _ = self.db.execute_batch("ROLLBACK");
        }
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
        let waits = self.db.busy_timeout(BUSY).is_ok();
        waits && (is_noted || is_stored)
    }

    /// Returns the highest sequence number that was shown without being stored; 0 if there is none.
    pub(super) fn shown(&self) -> u64 {
        self.shown.sequence()
    }

    /// Begins a transaction; `changes_tail` says whether it changes the tail.
    pub(super) fn begin(&mut self, changes_tail: bool) -> rusqlite::Result<Transaction<'_>> {
        if changes_tail {
            self.tail = None;
        }
        self.db.transaction()
    }

    /// Cuts off SQLite's log, unless a reader or another program is in the way: then it is cut off
    /// another time.
    pub(super) fn cut_log(&self) -> rusqlite::Result<()> {
        self.db.busy_timeout(Duration::ZERO)?;
        let cut = self
            .db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.db.busy_timeout(BUSY)?;
        match cut {
            Err(error) if is_busy(&error) => Ok(()),
            cut => cut,
        }
    }

    /// Closes the tail, however little it holds. Returns how many pieces it had, and how many
    /// blocks they became.
    pub(super) fn close_tail(&mut self) -> Stored<(u64, u64)> {
        let doing = "closing the archive's tail";
        let transaction = self.db.transaction().doing(doing)?;
        let tail = match self.tail.take() {
            Some(tail) => tail,
            None => Tail::read(&transaction)?,
        };
        let mut closed = (0, 0);
        if tail.frames > 0 {
            closed = close(&transaction, tail.next, &[], tail.next - 1)?;
        }
        transaction.commit().doing(doing)?;
        self.tail = Some(Tail::after(tail.next));
        Ok(closed)
    }
}

impl Tail {
    /// A tail without pieces, whose next frame gets this position.
    fn after(next: u64) -> Self {
        Tail {
            next,
            ..Tail::default()
        }
    }

    /// Reads what is in the tail.
    fn read(db: &Connection) -> Stored<Self> {
        let mut tail = Tail::after(extent(db)?.1 + 1);
        for piece in pieces_from(db, 0)? {
            tail.add(piece.header.epoch, piece.header.last_seq());
            tail.frames += u64::from(piece.header.count);
            tail.bytes += piece.size;
        }
        Ok(tail)
    }

    /// Notes the last sequence number of a piece.
    fn add(&mut self, epoch: BusEpoch, last: u64) {
        let known = self.last.entry(epoch).or_default();
        *known = last.max(*known);
    }

    /// Returns whether there is enough for a block, which may have this many bytes.
    fn is_full(&self, bytes: u64) -> bool {
        self.frames >= u64::from(BLOCK_FRAMES) || self.bytes >= bytes
    }

    /// Checks invariant S4 for a block.
    fn check_order(&self, db: &Connection, block: &Block) -> Stored<()> {
        let (epoch, first) = (block.header.epoch, block.header.first_seq);
        let last = match self.last.get(&epoch) {
            Some(&last) => last,
            None => last_sequence(db, epoch)?,
        };
        if first > last {
            return Ok(());
        }
        Err(AgentError::new(
            AgentErrorKind::ArchiveOrder,
            format!(
                "frame {first} of bus {epoch} cannot follow frame {last}, which the archive has; \
                 append each frame once, in order, and publish it first"
            ),
        ))
    }
}

/// Closes the tail: its pieces, and these blocks after them, at position `begin`, become blocks
/// that are packed and indexed. `last` is the last position then. Returns how many pieces there
/// were, and how many blocks they and the others became.
///
/// A piece that can't be read becomes a block as it is, which no index knows.
fn close(
    transaction: &Transaction<'_>,
    begin: u64,
    blocks: &[Block],
    last: u64,
) -> Stored<(u64, u64)> {
    let doing = "closing the archive's tail";
    let pieces = pieces_from(transaction, 0)?;
    let mut closing = Closing {
        transaction,
        next: pieces.first().map_or(begin, |piece| piece.first),
        // Content that was stored may be stored again: secrets never were.
        joined: BlockWriter::new(PrivacyClass::Sensitive),
        blocks: 0,
    };
    for piece in &pieces {
        let checked = piece
            .reader(transaction)
            .and_then(|reader| reader.each(|_, _, _, _| Ok(())).map(|()| reader));
        match checked {
            Ok(reader) => closing.joined.join(&reader)?,
            Err(error) if is_unreadable(&error) => {
                closing.finish()?;
                move_piece(transaction, piece).doing(doing)?;
                closing.next = piece.last() + 1;
                closing.blocks += 1;
            }
            Err(error) => return Err(error),
        }
    }
    for block in blocks {
        if block.header.count >= BLOCK_FRAMES / 2 || block.size() >= BLOCK_BYTES / 2 {
            closing.finish()?;
            closing.put(block)?;
        } else {
            closing.joined.join_block(block)?;
        }
    }
    closing.finish()?;
    transaction
        .execute("DELETE FROM tail", [])
        .and_then(|_| {
            transaction
                .prepare_cached("UPDATE state SET last_position = ?")?
                .execute([last.cast_signed()])
        })
        .doing(doing)?;
    Ok((pieces.len() as u64, closing.blocks))
}

/// Blocks that are being made of what is closed.
struct Closing<'a> {
    transaction: &'a Transaction<'a>,
    /// The position of the first frame that is in no block yet.
    next: u64,
    /// The frames from there on.
    joined: BlockWriter,
    /// How many blocks were stored.
    blocks: u64,
}

impl Closing<'_> {
    /// Stores what was joined.
    fn finish(&mut self) -> Stored<()> {
        let blocks = self.joined.finish();
        blocks.iter().try_for_each(|block| self.put(block))
    }

    /// Stores a block.
    fn put(&mut self, block: &Block) -> Stored<()> {
        put_block(self.transaction, self.next, block)?;
        self.next += u64::from(block.header.count);
        self.blocks += 1;
        Ok(())
    }
}

/// Makes a block of a piece as it is, without entries in the indexes.
fn move_piece(transaction: &Transaction<'_>, piece: &BlockRow) -> rusqlite::Result<()> {
    let first = [piece.first.cast_signed()];
    transaction.execute(
        "INSERT INTO blocks SELECT first, count, epoch, first_seq, first_time, min_time, max_time,
             kinds_lo, kinds_hi, size, checksum FROM tail WHERE first = ?",
        first,
    )?;
    transaction.execute(
        "INSERT INTO data SELECT first, bytes FROM tail WHERE first = ?",
        first,
    )?;
    put_epoch(transaction, piece.header.epoch, piece.header.last_seq())
}

/// Notes the last sequence number of an epoch.
fn put_epoch(db: &Connection, epoch: BusEpoch, last: u64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO epochs VALUES(?1, ?2) ON CONFLICT DO UPDATE SET last_seq = max(last_seq, ?2)",
    )?
    .execute(params![epoch.bits().cast_signed(), last.cast_signed()])?;
    Ok(())
}

/// Stores a block at this position: its row, its bytes, packed, and its entries in the indexes.
/// Returns how many bytes it takes.
pub(super) fn put_block(db: &Connection, first: u64, block: &Block) -> Stored<u64> {
    let (names, records) = block.to_bytes()?;
    let packed = pack([&names, records]);
    let stored = match &packed {
        Some(packed) => [&packed[..], &[]],
        None => [&names[..], records],
    };
    let row = BlockRow::new(first, block.header, stored);
    row.put(db, false, stored)
        .and_then(|()| put_entries(db, &row, block))
        .and_then(|()| put_epoch(db, row.header.epoch, row.header.last_seq()))
        .doing("storing a block")?;
    Ok(row.size)
}

/// Stores a block's entries in the indexes of runs and agents.
///
/// Runs and agents get ids in the order in which they come: those that are active together are
/// neighbours in the indexes, so that a step writes few pages. With hashes as ids, each of a step's
/// runs would be on a page of its own.
fn put_entries(db: &Connection, row: &BlockRow, block: &Block) -> rusqlite::Result<()> {
    let (at, last) = (row.first.cast_signed(), row.last().cast_signed());
    let mut known = db.prepare_cached(
        "INSERT INTO runs VALUES(NULL, ?1, ?2, ?3, ?4, ?5) ON CONFLICT(name) DO UPDATE SET
         first_time = min(first_time, ?2), last_time = max(last_time, ?3),
         ended = CASE WHEN ?4 >= last_position THEN coalesce(?5, ended) ELSE ended END,
         last_position = max(last_position, ?4) RETURNING id",
    )?;
    let mut runs = db.prepare_cached("INSERT INTO block_runs VALUES(?, ?, ?)")?;
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
    Ok(())
}
