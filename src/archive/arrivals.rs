//! When frames arrived: marks, at most one a minute.
//!
//! A mark is a position and a time: every frame up to the position had arrived by that time. Events
//! have times of their own, which their sources set; the marks are by this machine's clock. A clock
//! that is set back does not make frames older than they are: the times of marks never fall.

use super::error::{Doing, Stored};
use crate::event::Timestamp;
use rusqlite::{Connection, params};

/// How far marks are apart at least, in microseconds.
const APART: i64 = 60_000_000;

/// What the writer knows of arrivals.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The time of the last mark; `None` before it was read.
    marked: Option<i64>,
    /// When the last frame arrived that this process appended.
    last: Option<i64>,
}

impl Arrivals {
    /// Notes that frames arrive now, after the position `last`. Called in the transaction that
    /// appends them. The frames before them get a mark if the last one is a minute old.
    pub(super) fn note(&mut self, db: &Connection, last: u64) -> rusqlite::Result<()> {
        let marked = match self.marked {
            Some(marked) => marked,
            None => latest(db)?,
        };
        let now = Timestamp::now().as_micros().max(marked);
        // What an earlier process appended arrived before now: no more is known.
        let arrived = self.last.unwrap_or(now);
        self.marked = Some(marked);
        if self.last.is_none() || arrived.saturating_sub(marked) >= APART {
            mark(db, last, arrived)?;
            self.marked = Some(arrived);
        }
        self.last = Some(now);
        Ok(())
    }

    /// Marks the last position, so that its frames can come of age without further ones.
    pub(super) fn mark_end(&mut self, db: &Connection, last: u64) -> rusqlite::Result<()> {
        let now = Timestamp::now().as_micros().max(latest(db)?);
        mark(db, last, self.last.unwrap_or(now))
    }
}

/// Returns the latest time of a mark.
fn latest(db: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce((SELECT time FROM arrivals ORDER BY position DESC LIMIT 1), 0)";
    db.query_row(sql, [], |row| row.get(0))
}

/// Stores a mark, unless the position has an earlier one.
fn mark(db: &Connection, position: u64, time: i64) -> rusqlite::Result<()> {
    if position == 0 {
        return Ok(());
    }
    db.prepare_cached("INSERT OR IGNORE INTO arrivals VALUES(?, ?)")?
        .execute(params![position.cast_signed(), time])?;
    Ok(())
}

/// Removes the marks up to this position.
pub(super) fn forget_arrivals(db: &Connection, last: u64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM arrivals WHERE position <= ?")?
        .execute([last.cast_signed()])?;
    Ok(())
}

/// Returns the last position up to which every frame is known to have arrived before this time; 0
/// if there is none.
pub(super) fn arrived_before(db: &Connection, time: Timestamp) -> Stored<u64> {
    let position: i64 = db
        .prepare_cached(
            "SELECT coalesce((SELECT position FROM arrivals WHERE time < ?
             ORDER BY position DESC LIMIT 1), 0)",
        )
        .and_then(|mut select| select.query_row([time.as_micros()], |row| row.get(0)))
        .doing("reading when frames arrived")?;
    Ok(position.cast_unsigned())
}
