//! What is stored, row by row: closed blocks, and the pieces of the tail.
//!
//! An append writes its frames as a *piece*: a small block in one row of the table `tail`, which no
//! index knows. When the tail is full, its pieces are joined into blocks, which are packed and
//! indexed. A piece has the columns of a block, and is read like one.
//!
//! Invariants:
//! - **T1 after**: the positions of pieces come after those of all closed blocks.
//! - **T2 dense**: blocks and pieces together have all positions from the first one that is held to
//!   the last one that was given. One transaction moves frames from pieces into a block.
//! - **T3 derived**: `state` and `epochs` cover what was closed or removed. The last position, and
//!   the last sequence number of an epoch, are the later one of theirs and of the last piece's.
//! - **T4 small**: the tail holds at most what fills a block, so it is searched without an index.
//!
//! A function here reads all that it needs in one statement: between two of them, pieces may become
//! a block.

use super::error::{Doing, Stored, damaged};
use super::pack::unpack;
use super::reader::{BlockHeader, BlockReader};
use crate::event::{BusEpoch, KindSet, Timestamp};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use std::sync::LazyLock;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The row of a block or a piece: all of it but its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRow {
    /// The position of its first frame.
    pub(super) first: u64,
    pub(super) header: BlockHeader,
    /// How many bytes are stored of it.
    pub(super) size: u64,
    /// Of the stored bytes and of the other columns.
    checksum: u64,
    /// Whether it is a piece of the tail.
    pub(super) is_piece: bool,
}

/// The columns of blocks and of pieces.
const COLUMNS: &str = "first, count, epoch, first_seq, first_time, min_time, max_time, kinds_lo, \
                       kinds_hi, size, checksum";

/// Returns a query of rows: what `clauses` select of the blocks, then of the tail, in the order of
/// `order`, `most` rows at most.
fn query(clauses: [&str; 2], order: &str, most: &str) -> String {
    let [blocks, tail] = clauses;
    format!(
        "SELECT * FROM
           (SELECT * FROM (SELECT {COLUMNS}, 0 FROM blocks WHERE {blocks} ORDER BY {order} LIMIT {most})
            UNION ALL
            SELECT * FROM (SELECT {COLUMNS}, 1 FROM tail WHERE {tail} ORDER BY {order} LIMIT {most}))
         ORDER BY {order} LIMIT {most}"
    )
}

impl BlockRow {
    /// Returns the position of its last frame.
    pub(super) fn last(&self) -> u64 {
        self.first + u64::from(self.header.count) - 1
    }

    /// The row of a block with these stored bytes, at this position.
    pub(super) fn new(first: u64, header: BlockHeader, stored: [&[u8]; 2]) -> Self {
        BlockRow {
            first,
            header,
            size: stored.iter().map(|part| part.len() as u64).sum(),
            checksum: checksum(first, &header, stored),
            is_piece: false,
        }
    }

    /// Stores the row and its bytes as a piece, or as a block without entries in the indexes. The
    /// bytes are those that it was made of.
    pub(super) fn put(
        &self,
        db: &Connection,
        is_piece: bool,
        stored: [&[u8]; 2],
    ) -> rusqlite::Result<()> {
        let (at, header) = (self.first.cast_signed(), &self.header);
        let bits = header.kinds.bits();
        let columns = params![
            at,
            header.count,
            header.epoch.bits().cast_signed(),
            header.first_seq.cast_signed(),
            header.first_time.as_micros(),
            header.min_time.as_micros(),
            header.max_time.as_micros(),
            bits as i64,
            (bits >> 64) as i64,
            self.size.cast_signed(),
            self.checksum.cast_signed(),
        ];
        if is_piece {
            // The bytes' place in the row is filled below, so that SQLite copies none of them.
            db.prepare_cached(
                "INSERT INTO tail VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, zeroblob(?10))",
            )?
            .execute(columns)?;
        } else {
            db.prepare_cached("INSERT INTO blocks VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
                .execute(columns)?;
            db.prepare_cached("INSERT INTO data VALUES(?, zeroblob(?))")?
                .execute(params![at, self.size.cast_signed()])?;
        }
        let table = if is_piece { "tail" } else { "data" };
        let mut blob = db.blob_open(rusqlite::MAIN_DB, table, "bytes", at, false)?;
        let mut offset = 0;
        for part in stored {
            blob.write_all_at(part, offset)?;
            offset += part.len();
        }
        blob.close()
    }

    /// Reads a row of a [`query`].
    ///
    /// # Errors
    /// For a row that no writer stores.
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
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
            is_piece: row.get(11)?,
        };
        let small = |number: u64| (1..=i64::MAX as u64 >> 1).contains(&number);
        if small(block.first) && small(block.header.first_seq) && block.header.count > 0 {
            return Ok(block);
        }
        let first = block.first.cast_signed();
        Err(rusqlite::Error::IntegralValueOutOfRange(0, first))
    }

    /// Returns a reader of its frames. Call it in the transaction that the row was read in.
    ///
    /// # Errors
    /// [`ArchiveDamaged`](crate::AgentErrorKind::ArchiveDamaged) if the bytes are not those that
    /// were written.
    pub(super) fn reader(&self, db: &Connection) -> Stored<BlockReader> {
        let table = if self.is_piece {
            "SELECT bytes FROM tail WHERE first = ?"
        } else {
            "SELECT bytes FROM data WHERE first = ?"
        };
        let mut select = db.prepare_cached(table).doing("reading a block")?;
        let mut rows = select
            .query([self.first.cast_signed()])
            .doing("reading a block")?;
        let row = rows.next().doing("reading a block")?;
        let stored = row.and_then(|row| row.get_ref(0).ok()?.as_blob().ok());
        let whole = stored
            .filter(|stored| checksum(self.first, &self.header, [stored, &[]]) == self.checksum);
        let Some(stored) = whole else {
            return Err(damaged(format!(
                "the frames at positions {} to {} are not as they were written; restore the \
                 folder from a backup, or start after them",
                self.first,
                self.last()
            )));
        };
        BlockReader::new(unpack(stored)?, self.header)
    }
}

/// Returns the checksum of a block's stored bytes, which are in two parts, and of its other
/// columns.
fn checksum(first: u64, header: &BlockHeader, stored: [&[u8]; 2]) -> u64 {
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
    let mut hash = Xxh3::with_seed(xxh3_64(words.map(u64::to_le_bytes).as_flattened()));
    stored.iter().for_each(|part| hash.update(part));
    hash.digest()
}

/// Returns the first row of a query.
fn first_of(
    db: &Connection,
    sql: &str,
    values: impl Params,
    doing: &str,
) -> Stored<Option<BlockRow>> {
    db.prepare_cached(sql)
        .and_then(|mut select| select.query_row(values, BlockRow::of).optional())
        .doing(doing)
}

/// Returns at most `most` rows of blocks and pieces that begin at `from` or later, lowest first.
pub(super) fn rows_from(db: &Connection, from: u64, most: usize) -> Stored<Vec<BlockRow>> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| query(["first >= ?1", "first >= ?1"], "first", "?2"));
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    db.prepare_cached(&SQL)
        .and_then(|mut select| {
            select
                .query_map(params![from.cast_signed(), most], BlockRow::of)?
                .collect()
        })
        .doing("listing blocks")
}

/// Returns the first row with a frame after this position. Where blocks overlap, since the count of
/// one is wrong, the later one is right.
pub(super) fn row_after(db: &Connection, position: u64) -> Stored<Option<BlockRow>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        query(
            [
                "first >= coalesce((SELECT max(first) FROM blocks WHERE first <= ?1 + 1), 0)
                 AND first + count - 1 > ?1",
                "first + count - 1 > ?1",
            ],
            "first",
            "1",
        )
    });
    first_of(db, &SQL, [position.cast_signed()], "finding a block")
}

/// Returns where the first row begins that begins after this position.
pub(super) fn first_after(db: &Connection, position: u64) -> Stored<Option<u64>> {
    let sql = "SELECT coalesce((SELECT min(first) FROM blocks WHERE first > ?1),
                   (SELECT min(first) FROM tail WHERE first > ?1))";
    let first: Option<i64> = db
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row([position.cast_signed()], |row| row.get(0)))
        .doing("finding a block")?;
    Ok(first.map(i64::cast_unsigned))
}

/// Returns the first row from `from` on with a frame of any of these kinds.
pub(super) fn row_of_kinds(db: &Connection, kinds: KindSet, from: u64) -> Stored<Option<BlockRow>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let clause = "first >= ?1 AND ((kinds_lo & ?2) | (kinds_hi & ?3)) != 0";
        query([clause, clause], "first", "1")
    });
    let (low, high) = (kinds.bits() as i64, (kinds.bits() >> 64) as i64);
    let values = params![from.cast_signed(), low, high];
    first_of(db, &SQL, values, "finding a block")
}

/// Returns the first row with a frame of this time or a later one.
pub(super) fn row_of_time(db: &Connection, time: Timestamp) -> Stored<Option<BlockRow>> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| query(["max_time >= ?1", "max_time >= ?1"], "first", "1"));
    first_of(db, &SQL, [time.as_micros()], "finding a time")
}

/// Returns the first row of a bus that has this sequence number or higher ones.
pub(super) fn row_of_sequence(
    db: &Connection,
    epoch: BusEpoch,
    sequence: u64,
) -> Stored<Option<BlockRow>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        query(
            [
                "epoch = ?1 AND first_seq >= coalesce(
                     (SELECT max(first_seq) FROM blocks WHERE epoch = ?1 AND first_seq <= ?2), 0)
                 AND first_seq + count > ?2",
                "epoch = ?1 AND first_seq + count > ?2",
            ],
            "first_seq",
            "1",
        )
    });
    let sequence = sequence.min(i64::MAX as u64).cast_signed();
    let values = params![epoch.bits().cast_signed(), sequence];
    first_of(db, &SQL, values, "finding a sequence number")
}

/// Returns the pieces of the tail that begin at `from` or later, lowest first.
pub(super) fn pieces_from(db: &Connection, from: u64) -> Stored<Vec<BlockRow>> {
    static SQL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {COLUMNS}, 1 FROM tail WHERE first >= ? ORDER BY first"));
    db.prepare_cached(&SQL)
        .and_then(|mut select| {
            select
                .query_map([from.cast_signed()], BlockRow::of)?
                .collect()
        })
        .doing("reading the tail")
}

/// Returns the position of the first piece from `from` on.
pub(super) fn piece_from(db: &Connection, from: u64) -> Stored<Option<u64>> {
    let sql = "SELECT min(first) FROM tail WHERE first >= ?";
    let first: Option<i64> = db
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row([from.cast_signed()], |row| row.get(0)))
        .doing("reading the tail")?;
    Ok(first.map(i64::cast_unsigned))
}

/// Returns how many bytes the frames up to this position take.
pub(super) fn bytes_held(db: &Connection, last: u64) -> Stored<u64> {
    let sql = "SELECT coalesce((SELECT sum(size) FROM blocks WHERE first <= ?1), 0)
                   + coalesce((SELECT sum(size) FROM tail WHERE first <= ?1), 0)";
    let sum: i64 = db
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row([last.cast_signed()], |row| row.get(0)))
        .doing("adding up the archive")?;
    Ok(sum.cast_unsigned())
}

/// Returns the positions that are held: before the first one, and the last one ever given.
pub(super) fn extent(db: &Connection) -> Stored<(u64, u64)> {
    let sql = "SELECT coalesce((SELECT min(first) FROM blocks), (SELECT min(first) FROM tail)),
                   max(last_position, coalesce(
                       (SELECT first + count - 1 FROM tail ORDER BY first DESC LIMIT 1), 0))
               FROM state";
    let (first, last): (Option<i64>, i64) = db
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .doing("reading the archive's extent")?;
    let last = last.cast_unsigned();
    let before = first.map_or(last, |first| first.cast_unsigned().saturating_sub(1));
    Ok((before, last))
}

/// Returns the sequence number of the last frame that was archived of an epoch, also if it was
/// removed since; 0 if there is none.
pub(super) fn last_sequence(db: &Connection, epoch: BusEpoch) -> Stored<u64> {
    let sql = "SELECT max(coalesce((SELECT last_seq FROM epochs WHERE epoch = ?1), 0),
                   coalesce((SELECT max(first_seq + count - 1) FROM tail WHERE epoch = ?1), 0))";
    let last: i64 = db
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row([epoch.bits().cast_signed()], |row| row.get(0)))
        .doing("reading the last sequence number")?;
    Ok(last.cast_unsigned())
}
