//! The runs that an archive has frames of.

use super::error::Doing;
use super::handle::Archive;
use crate::event::{AgentError, EventKind, RunId, Timestamp};
use rusqlite::params;

/// What an archive knows of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchivedRun {
    /// The run.
    pub run_id: RunId,
    /// How many of its frames are held.
    pub frames: u64,
    /// The earliest time of its frames, also of those that were removed.
    pub first_time: Timestamp,
    /// The latest time of its frames.
    pub last_time: Timestamp,
    /// The last position of the block that holds its last frame. Runs are listed in this order.
    pub last_position: u64,
    /// The terminal kind that it ended with, if it has ended.
    pub ended: Option<EventKind>,
}

impl Archive {
    /// Returns at most `most` runs whose last frames are in blocks that end after a position, in
    /// the order of [`last_position`](ArchivedRun::last_position). To list all, begin at 0, and go
    /// on with the last one's `last_position`. Runs with the same `last_position` are returned
    /// together, even if they are more than `most`. Takes O(runs) steps.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn runs(&self, after: u64, most: usize) -> Result<Vec<ArchivedRun>, AgentError> {
        let sql = "SELECT name, first_time, last_time, last_position, ended,
                       (SELECT sum(frames) FROM block_runs WHERE run = runs.id)
                   FROM runs WHERE last_position > ?1 AND last_position <= coalesce(
                       (SELECT last_position FROM runs WHERE last_position > ?1
                        ORDER BY last_position LIMIT 1 OFFSET ?2), 9223372036854775807)
                   ORDER BY last_position, name";
        let offset = i64::try_from(most.saturating_sub(1)).unwrap_or(i64::MAX);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.shared.store.read(|db| {
            let mut select = db.prepare_cached(sql).doing("listing runs")?;
            let rows = select.query_map(params![after, offset], |row| {
                let ended: Option<String> = row.get(4)?;
                Ok(ArchivedRun {
                    run_id: RunId::new(row.get::<_, String>(0)?),
                    first_time: Timestamp::from_micros(row.get(1)?),
                    last_time: Timestamp::from_micros(row.get(2)?),
                    last_position: row.get::<_, i64>(3)?.cast_unsigned(),
                    ended: ended.and_then(|name| name.parse().ok()),
                    frames: row.get::<_, Option<i64>>(5)?.unwrap_or(0).cast_unsigned(),
                })
            });
            rows.and_then(Iterator::collect).doing("listing runs")
        })
    }
}
