//! The runs that an archive has frames of.

use super::block::RunPart;
use super::error::{Doing, Stored};
use super::handle::Archive;
use super::reader::At;
use super::record::Record;
use super::rows::pieces_from;
use crate::event::{AgentError, AgentErrorKind, EventKind, RunId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashMap;

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
        let doing = "listing runs";
        let sql = "SELECT name, first_time, last_time, last_position, ended,
                       (SELECT sum(frames) FROM block_runs WHERE run = runs.id)
                   FROM runs WHERE last_position > ? ORDER BY last_position, name";
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.shared.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing(doing)?;
            let mut tail = tail_runs(&snapshot)?;
            let mut select = snapshot.prepare_cached(sql).doing(doing)?;
            let mut rows = select.query([after]).doing(doing)?;
            let mut runs: Vec<ArchivedRun> = Vec::new();
            while let Some(row) = rows.next().doing(doing)? {
                let run = ArchivedRun::of(row).doing(doing)?;
                let last = runs.last().map(|last| last.last_position);
                if runs.len() >= most && last != Some(run.last_position) {
                    return Ok(runs);
                }
                if !tail.contains_key(&run.run_id) {
                    runs.push(run);
                }
            }
            // The runs of the tail come after all others.
            for run in tail.values_mut() {
                run.add_closed(&snapshot).doing(doing)?;
            }
            let mut tail: Vec<_> = tail.into_values().collect();
            tail.retain(|run| run.last_position.cast_signed() > after);
            tail.sort_by(|a, b| (a.last_position, &a.run_id).cmp(&(b.last_position, &b.run_id)));
            for run in tail {
                let last = runs.last().map(|last| last.last_position);
                if runs.len() >= most && last != Some(run.last_position) {
                    break;
                }
                runs.push(run);
            }
            Ok(runs)
        })
    }
}

impl ArchivedRun {
    /// Reads a run that has frames in blocks.
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let ended: Option<String> = row.get(4)?;
        Ok(ArchivedRun {
            run_id: RunId::new(row.get::<_, String>(0)?),
            first_time: Timestamp::from_micros(row.get(1)?),
            last_time: Timestamp::from_micros(row.get(2)?),
            last_position: row.get::<_, i64>(3)?.cast_unsigned(),
            ended: ended.and_then(|name| name.parse().ok()),
            frames: row.get::<_, Option<i64>>(5)?.unwrap_or(0).cast_unsigned(),
        })
    }

    /// Adds what blocks have of a run of the tail.
    fn add_closed(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT name, first_time, last_time, last_position, ended,
                       (SELECT sum(frames) FROM block_runs WHERE run = runs.id)
                   FROM runs WHERE name = ?";
        let closed = db
            .prepare_cached(sql)?
            .query_row([self.run_id.as_str()], Self::of)
            .optional()?;
        if let Some(closed) = closed {
            self.frames += closed.frames;
            self.first_time = self.first_time.min(closed.first_time);
            self.last_time = self.last_time.max(closed.last_time);
            self.ended = self.ended.or(closed.ended);
        }
        Ok(())
    }
}

/// Returns the runs that the tail has frames of, with these alone. Pieces that can't be read are
/// passed over, as blocks are whose entries are there.
fn tail_runs(db: &Connection) -> Stored<HashMap<RunId, ArchivedRun>> {
    let mut runs: HashMap<RunId, (RunPart, u64)> = HashMap::new();
    for piece in pieces_from(db, 0)? {
        let count = |at: At, run: &RunId, _: &_, record: Record<'_>| {
            let new = || (RunPart::new(run, at.time), 0);
            let (part, last) = runs.entry(run.clone()).or_insert_with(new);
            part.count(at.time, record.kind);
            *last = piece.last();
            Ok(())
        };
        match piece.reader(db).and_then(|reader| reader.each(count)) {
            Err(error) if error.kind() == AgentErrorKind::ArchiveDamaged => {}
            read => read?,
        }
    }
    let run = |(part, last_position): (RunPart, u64)| ArchivedRun {
        run_id: part.id,
        frames: part.frames.into(),
        first_time: part.first_time,
        last_time: part.last_time,
        last_position,
        ended: part.ended,
    };
    Ok(runs.into_iter().map(|(id, it)| (id, run(it))).collect())
}
