//! Retention, while other threads write and read: removing old frames.
//!
//! What is to go is decided at once, in one snapshot: the position up to which frames are removed.
//! Blocks are removed from the front, and the last one is cut if it has later frames, in steps of
//! some milliseconds under the writer's lock, which is handed over between them to whoever waits
//! for it. A step costs what it removes. So no append waits for more than a step, positions stay
//! dense, and a crash leaves the later ones.

use super::arrivals::{arrived_before, forget_arrivals};
use super::block::BlockWriter;
use super::error::{Doing, Stored};
use super::handle::{Archive, Shared};
use super::rows::{BlockRow, bytes_held, extent, rows_from};
use super::turns::lock;
use super::writer::{Writer, put_block};
use crate::event::{AgentError, AgentErrorKind, PrivacyClass, Timestamp};
use rusqlite::{Transaction, params};
use std::time::{Duration, Instant};

/// How long a step goes on to begin with another block.
pub(super) const STEP: Duration = Duration::from_millis(5);

/// How many rows are read at once.
const PAGE: usize = 512;

/// Which frames to keep. Frames beyond a limit that is set are removed, from the oldest position
/// on: then each limit holds, unless what is [kept](Self::keep_frames) in any case exceeds it.
///
/// ```
/// use framebus::archive::*;
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let archive = Archive::open(folder.path(), ArchiveOptions::default())?;
/// // A month, at most 10 GB, and the last 100,000 frames in any case.
/// let limits = Retention {
///     max_age: Some(Duration::from_secs(30 * 86_400)),
///     max_bytes: Some(10_000_000_000),
///     keep_frames: 100_000,
///     ..Retention::default()
/// };
/// let removed = archive.retain(&limits)?;
/// println!("{} frames removed; the rest is held by {:?}", removed.frames, removed.held_by);
/// # Ok::<(), framebus::AgentError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How old the frames may be at most, as `age_of` counts.
    pub max_age: Option<Duration>,
    /// From when on the age of a frame counts.
    pub age_of: AgeOf,
    /// How many frames are kept at most.
    pub max_frames: Option<u64>,
    /// How many bytes the frames may take at most, as they are stored. Indexes take some 5 percent
    /// more.
    pub max_bytes: Option<u64>,
    /// How many of the last frames are kept in any case.
    pub keep_frames: u64,
    /// The first position that is kept in any case, with all that come after it.
    pub keep_from: Option<u64>,
}

/// From when on the age of a frame counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgeOf {
    /// From its arrival in the archive, by this machine's clock, to a minute. Of frames that an
    /// earlier process appended last, no more is known than that they arrived before this process
    /// opened the archive; of those of an archive that was migrated, that they arrived before that.
    #[default]
    Arrival,
    /// From the time of its event. Frames go by whole blocks, of at most 4,096 frames, once all of
    /// the block's are older. An event whose time is after its arrival counts from that: no time of
    /// the future keeps a frame, or those after it, for ever.
    Event,
}

/// What [`Archive::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// How many frames.
    pub frames: u64,
    /// How many bytes they took.
    pub bytes: u64,
    /// What held further frames that are beyond a limit, or whose age is in doubt. `None` if every
    /// limit holds.
    pub held_by: Option<HeldBy>,
}

/// What keeps frames that retention would remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldBy {
    /// [`Retention::keep_frames`] or [`Retention::keep_from`].
    Floor,
    /// The journal has stored them, and not published them yet.
    Journal,
    /// The first frames that are left have times of the future, of their events or of their
    /// arrival, and count from a later time than they should.
    FutureTimes,
}

/// What a retention comes to.
#[derive(Debug)]
struct Plan {
    /// The position up to which frames are to go.
    up_to: u64,
    held_by: Option<HeldBy>,
}

impl Archive {
    /// Removes frames beyond the limits, beside writers and readers, which do not wait for it.
    /// Replays that had not read them report them as lost. Takes time in proportion to what it
    /// removes and, with [`max_bytes`](Retention::max_bytes), to the number of blocks.
    ///
    /// Frames that are appended meanwhile are not counted. The file keeps its size, and further
    /// frames fill it; [`compact`](Self::compact) gives space back to the disk. On a full disk,
    /// where the [reserve](crate::archive#the-files) is needed, this does so too.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveReadOnly`], or an error of the disk. What was removed by then stays
    /// removed.
    pub fn retain(&self, limits: &Retention) -> Result<Removed, AgentError> {
        let shared = &self.shared;
        let now = Timestamp::now();
        let end = self.mark_end(limits)?;
        let mut removed = Removed::default();
        loop {
            let plan = shared.plan(limits, now, end)?;
            removed.held_by = plan.held_by;
            let begun = removed.frames;
            while self.remove_step(plan.up_to, &mut removed)? {}
            // Blocks that were joined meanwhile may reach beyond the plan: it is made anew.
            if removed.frames == begun {
                break;
            }
        }
        // On a disk that was full, frames can come again only if it has room for the log.
        if self.shared.writer()?.lock().lacks_reserve() {
            self.give_back()?;
        }
        Ok(removed)
    }

    /// Marks when the last frames arrived, if that matters. Returns the last position.
    fn mark_end(&self, limits: &Retention) -> Stored<u64> {
        let doing = "removing old frames";
        let mut writer = self.shared.writer()?.lock();
        if limits.max_age.is_none() {
            return Ok(extent(&writer.db)?.1);
        }
        let writer = &mut *writer;
        let transaction = writer.db.transaction().doing(doing)?;
        let end = extent(&transaction)?.1;
        writer.arrivals.mark_end(&transaction, end).doing(doing)?;
        transaction.commit().doing(doing)?;
        Ok(end)
    }

    /// Removes frames from the front up to this position, for the time of a step. Returns whether
    /// there may be more.
    fn remove_step(&self, up_to: u64, removed: &mut Removed) -> Stored<bool> {
        let mut writer = self.shared.writer()?.lock();
        let until = Instant::now() + STEP;
        writer.with_reserve(|writer| remove_some(writer, up_to, until, removed))
    }
}

/// Removes frames from the front up to this position, until then. Returns whether there may be
/// more.
fn remove_some(
    writer: &mut Writer,
    up_to: u64,
    until: Instant,
    removed: &mut Removed,
) -> Stored<bool> {
    let doing = "removing old frames";
    let rows = rows_from(&writer.db, 0, PAGE)?;
    let goes = |row: &&BlockRow| row.first <= up_to;
    if rows.first().filter(goes).is_some_and(|row| row.is_piece) {
        // The tail is made of blocks first: only those are removed.
        writer.close_tail()?;
        return Ok(true);
    }
    let transaction = writer.begin(false).doing(doing)?;
    let mut gone = Removed::default();
    let mut last = 0;
    for row in rows.iter().take_while(goes).filter(|row| !row.is_piece) {
        if last > 0 && Instant::now() >= until {
            break;
        }
        if row.last() <= up_to {
            forget(&transaction, row, Some(row.last() + 1)).doing(doing)?;
            last = row.last();
            gone.frames += u64::from(row.header.count);
            gone.bytes += row.size;
        } else if let Some(bytes) = cut(&transaction, row, up_to)? {
            last = up_to;
            gone.frames += up_to + 1 - row.first;
            gone.bytes += row.size.saturating_sub(bytes);
        }
    }
    if last > 0 {
        let gaps = "DELETE FROM gaps WHERE position <= ?";
        transaction
            .execute(gaps, [last.cast_signed()])
            .and_then(|_| forget_arrivals(&transaction, last))
            .doing(doing)?;
    }
    transaction.commit().doing(doing)?;
    removed.frames += gone.frames;
    removed.bytes += gone.bytes;
    Ok(last > 0)
}

/// Cuts the frames up to this position off a block, which has later ones. Returns how many bytes
/// the others take then; `None` if the block can't be read: it stays until all of it is to go.
fn cut(transaction: &Transaction<'_>, row: &BlockRow, up_to: u64) -> Stored<Option<u64>> {
    let doing = "removing old frames";
    let first = up_to + 1;
    // Content that was stored may be stored again: secrets never were.
    let mut left = BlockWriter::new(PrivacyClass::Sensitive);
    let sequence = row.header.first_seq + (first - row.first);
    let read = row.reader(transaction).and_then(|reader| {
        left.join_from(&reader, sequence)?;
        Ok(reader)
    });
    let reader = match read {
        Err(error) if error.kind() == AgentErrorKind::ArchiveDamaged => return Ok(None),
        read => read?,
    };
    forget(transaction, row, None).doing(doing)?;
    let (mut at, mut bytes) = (first, 0);
    for block in left.finish() {
        bytes += put_block(transaction, at, &block)?;
        at += u64::from(block.header.count);
    }
    let delete = |table: &str, of: &str, name: &str| {
        let sql = format!(
            "DELETE FROM {table}s WHERE name = ? AND NOT EXISTS
             (SELECT 1 FROM block_{table}s WHERE {of} = {table}s.id)"
        );
        transaction.prepare_cached(&sql)?.execute([name])
    };
    for run in reader.runs() {
        delete("run", "run", run.as_str()).doing(doing)?;
    }
    for agent in reader.agents() {
        delete("agent", "agent", agent.as_str()).doing(doing)?;
    }
    Ok(Some(bytes))
}

impl Shared {
    /// Returns what these limits come to for the frames up to the position `end`.
    fn plan(&self, limits: &Retention, now: Timestamp, end: u64) -> Stored<Plan> {
        self.store.read(|db| {
            let doing = "planning what to remove";
            let snapshot = db.unchecked_transaction().doing(doing)?;
            let (before, _) = extent(&snapshot)?;
            let mut frames = end.saturating_sub(before);
            let mut bytes = match limits.max_bytes {
                Some(_) => bytes_held(&snapshot, end)?,
                None => 0,
            };
            let cutoff = limits.max_age.map(|age| {
                let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
                Timestamp::from_micros(now.as_micros().saturating_sub(micros))
            });
            let arrived = match cutoff {
                Some(cutoff) => arrived_before(&snapshot, cutoff)?,
                None => 0,
            };
            let floor = end.saturating_sub(limits.keep_frames) + 1;
            let floor = floor.min(limits.keep_from.unwrap_or(u64::MAX));
            let soon = Timestamp::from_micros(now.as_micros().saturating_add(60_000_000));
            // Read after the snapshot was: the journal tells before it stores.
            let unpublished = *lock(&self.unpublished_from);
            let mut plan = Plan {
                up_to: before,
                held_by: None,
            };
            loop {
                let rows = rows_from(&snapshot, plan.up_to + 1, PAGE)?;
                for row in &rows {
                    let count = u64::from(row.header.count);
                    let before = |position: u64| position.saturating_sub(row.first).min(count);
                    let old = match cutoff {
                        Some(cutoff)
                            if limits.age_of == AgeOf::Event && row.header.max_time < cutoff =>
                        {
                            count
                        }
                        _ => before(arrived + 1),
                    };
                    let too_many = limits
                        .max_frames
                        .map_or(0, |most| frames.saturating_sub(most));
                    let too_large = limits.max_bytes.map_or(0, |most| {
                        let bytes = u128::from(bytes.saturating_sub(most));
                        let part =
                            (bytes * u128::from(count)).div_ceil(u128::from(row.size.max(1)));
                        u64::try_from(part).unwrap_or(u64::MAX)
                    });
                    let beyond = old.max(too_many).max(too_large).min(before(end + 1));
                    let mut goes = beyond;
                    for (from, holds) in [(floor, HeldBy::Floor), (unpublished, HeldBy::Journal)] {
                        if goes > before(from) {
                            goes = before(from);
                            plan.held_by = Some(holds);
                        }
                    }
                    if goes > 0 {
                        plan.up_to = row.first + goes - 1;
                    }
                    if goes < count {
                        let of_event = limits.age_of == AgeOf::Event && row.header.max_time > soon;
                        if beyond == 0
                            && cutoff.is_some()
                            && row.first <= end
                            && (of_event || arrived_before(&snapshot, soon)? < row.first)
                        {
                            plan.held_by = Some(HeldBy::FutureTimes);
                        }
                        return Ok(plan);
                    }
                    frames = frames.saturating_sub(count);
                    bytes = bytes.saturating_sub(row.size);
                }
                if rows.len() < PAGE {
                    return Ok(plan);
                }
            }
        })
    }
}

/// Deletes a block and its entries in the indexes. With `held_from`, also deletes the block's runs
/// that have no frame at that position or later, and its agents that have no frame at all.
pub(super) fn forget(
    transaction: &Transaction<'_>,
    row: &BlockRow,
    held_from: Option<u64>,
) -> rusqlite::Result<()> {
    let first = row.first.cast_signed();
    let delete = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql)?.execute(values)
    };
    match row.reader(transaction) {
        Ok(reader) => {
            for run in reader.runs() {
                delete(
                    "DELETE FROM block_runs
                     WHERE run = (SELECT id FROM runs WHERE name = ?) AND first = ?",
                    params![run.as_str(), first],
                )?;
                if let Some(held_from) = held_from {
                    delete(
                        "DELETE FROM runs WHERE name = ? AND last_position < ?",
                        params![run.as_str(), held_from.cast_signed()],
                    )?;
                }
            }
            for agent in reader.agents() {
                delete(
                    "DELETE FROM block_agents
                     WHERE agent = (SELECT id FROM agents WHERE name = ?) AND first = ?",
                    params![agent.as_str(), first],
                )?;
                if held_from.is_some() {
                    delete(
                        "DELETE FROM agents WHERE name = ? AND NOT EXISTS
                         (SELECT 1 FROM block_agents WHERE agent = agents.id)",
                        params![agent.as_str()],
                    )?;
                }
            }
        }
        // The block does not name its runs and agents: all entries are searched.
        Err(_) => {
            delete("DELETE FROM block_runs WHERE first = ?", params![first])?;
            delete("DELETE FROM block_agents WHERE first = ?", params![first])?;
        }
    }
    delete("DELETE FROM data WHERE first = ?", params![first])?;
    delete("DELETE FROM blocks WHERE first = ?", params![first])?;
    Ok(())
}
