//! Upkeep, while others write and read: removing old frames, joining small blocks, checking all.
//!
//! Each step is one short transaction under the writer's lock, which is free between two of them.
//! Frames are removed from the front only, and whole blocks at a time, so positions stay dense;
//! joining blocks changes neither frames nor positions.

use super::Archive;
use super::block::{BLOCK_FRAMES, Block, BlockReader, BlockWriter, Entry};
use super::error::{Doing, Stored, damaged};
use super::store::{Place, Writer, extent, lock, put_block};
use crate::event::{AgentError, AgentErrorKind, KindSet, PrivacyClass, SharedEvent, Timestamp};
use rusqlite::{Connection, Transaction, params};
use std::time::Duration;

/// Blocks of one transaction.
const STEP: usize = 128;

/// Bytes of the blocks that are joined into one, at most.
const JOINED_BYTES: u64 = 512 << 10;

/// What to keep. Each limit that is set holds; what breaks one goes, from the oldest position on,
/// by whole blocks of at most 1,024 frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Frames that happened longer ago go, once all of their block did.
    pub max_age: Option<Duration>,
    /// At least the last so many frames stay, and less than a block beyond them.
    pub max_frames: Option<u64>,
    /// The frames' bytes come to no more than this. Indexes take some 5 percent beyond.
    pub max_bytes: Option<u64>,
}

/// What [`Archive::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What [`Archive::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Blocks that were joined with others.
    pub joined: u64,
    /// Blocks that they became.
    pub into: u64,
}

impl Archive {
    /// Removes what breaks a limit. Replays that had not read it yet are told.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveReadOnly`], or what is wrong with the disk; what was removed by
    /// then stays removed.
    pub fn retain(&self, limits: &Retention) -> Result<Removed, AgentError> {
        let mut removed = Removed::default();
        let cutoff = limits.max_age.map(|age| {
            let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(Timestamp::now().as_micros().saturating_sub(micros))
        });
        loop {
            let mut writer = lock(self.shared.writer()?);
            let (mut frames, mut bytes) = held(&writer.db)?;
            let places = places(&writer.db, 0, STEP)?;
            let goes = |place: &&Place| {
                let count = u64::from(place.head.count);
                let goes = cutoff.is_some_and(|cutoff| place.head.max_time < cutoff)
                    || limits
                        .max_frames
                        .is_some_and(|most| frames.saturating_sub(count) >= most)
                    || limits.max_bytes.is_some_and(|most| bytes > most);
                frames = frames.saturating_sub(count);
                bytes = bytes.saturating_sub(place.size);
                goes
            };
            let old: Vec<_> = places.iter().take_while(goes).copied().collect();
            remove(&mut writer, &old)?;
            removed.frames += old.iter().map(|it| u64::from(it.head.count)).sum::<u64>();
            removed.bytes += old.iter().map(|it| it.size).sum::<u64>();
            if old.len() < STEP {
                return Ok(removed);
            }
        }
    }

    /// Joins small neighbouring blocks, as single publishes leave them, and gives free space back
    /// to the disk. Frames, numbers and positions stay as they are; blocks that can't be read, too.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveReadOnly`], or what is wrong with the disk; what was done by then
    /// stays done.
    pub fn compact(&self) -> Result<Compacted, AgentError> {
        let mut done = Compacted::default();
        let mut from = 0;
        loop {
            let mut writer = lock(self.shared.writer()?);
            let places = places(&writer.db, from, STEP)?;
            let Some(last) = places.last() else { break };
            let Some(group) = first_group(&places) else {
                if places.len() < STEP {
                    break;
                }
                from = last.first;
                continue;
            };
            let end = group[group.len() - 1].last();
            from = end + 1;
            if let Some(blocks) = join(&writer.db, group)? {
                replace(&mut writer, group, &blocks)?;
                done.joined += group.len() as u64;
                done.into += blocks.len() as u64;
                // What follows the last block of a full step may join these, too.
                if end == last.last() && places.len() == STEP {
                    from = group[0].first;
                }
            }
        }
        let writer = lock(self.shared.writer()?);
        for pragma in ["incremental_vacuum", "wal_checkpoint(TRUNCATE)"] {
            drain(&writer.db, &format!("PRAGMA {pragma}")).doing("giving space back")?;
        }
        Ok(done)
    }

    /// Reads everything and checks it; gives the number of frames. Takes time in proportion.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`], or what is wrong with the disk.
    pub fn check(&self) -> Result<u64, AgentError> {
        let doing = "checking the archive";
        self.shared.store.read(|db| {
            let verdict: String = db
                .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
                .doing(doing)?;
            if verdict != "ok" {
                return Err(damaged(format!("{doing}: {verdict}; restore a backup")));
            }
            let snapshot = db.unchecked_transaction().doing(doing)?;
            let (before, end) = extent(&snapshot)?;
            let (mut next, mut count) = (before + 1, 0);
            loop {
                let places = places(&snapshot, next, STEP)?;
                for place in &places {
                    if place.first != next {
                        return Err(damaged(format!("position {next} is missing")));
                    }
                    count += events(&snapshot, place)?.len() as u64;
                    next = place.last() + 1;
                }
                if places.len() < STEP {
                    break;
                }
            }
            match next == end + 1 {
                true => Ok(count),
                false => Err(damaged(format!("positions {next} to {end} are missing"))),
            }
        })
    }
}

/// Returns the frames and bytes that are held.
fn held(db: &Connection) -> Stored<(u64, u64)> {
    let sum: i64 = db
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM blocks")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .doing("adding up the archive")?;
    let (before, last) = extent(db)?;
    Ok((last - before, sum.cast_unsigned()))
}

/// Returns the blocks that begin at `from` or later, lowest first.
fn places(db: &Connection, from: u64, most: usize) -> Stored<Vec<Place>> {
    let sql = format!(
        "SELECT {} FROM blocks WHERE first >= ? ORDER BY first LIMIT ?",
        Place::COLUMNS
    );
    db.prepare_cached(&sql)
        .and_then(|mut select| {
            select
                .query_map(params![from.cast_signed(), most as i64], Place::of)?
                .collect()
        })
        .doing("listing blocks")
}

/// Returns the first neighbours that fit into one block.
fn first_group(places: &[Place]) -> Option<&[Place]> {
    let mut start = 0;
    let (mut count, mut size) = (0, 0);
    for (at, place) in places.iter().enumerate() {
        let follows = at > 0 && {
            let before = &places[at - 1];
            before.head.epoch == place.head.epoch
                && before.head.last_seq() + 1 == place.head.first_seq
                && count + place.head.count <= BLOCK_FRAMES
                && size + place.size <= JOINED_BYTES
        };
        if !follows {
            if at >= start + 2 {
                return Some(&places[start..at]);
            }
            (start, count, size) = (at, 0, 0);
        }
        count += place.head.count;
        size += place.size;
    }
    (places.len() >= start + 2).then(|| &places[start..])
}

struct Stocked {
    event: SharedEvent,
    journal_here: bool,
}

/// A block's frames as they were stored.
fn events(db: &Connection, place: &Place) -> Stored<Vec<Stocked>> {
    let mut reader = BlockReader::new(place.bytes(db)?, place.head)?;
    let mut events = Vec::with_capacity(place.head.count as usize);
    while let Some(read) = reader.next(0, KindSet::ALL, |_| true)? {
        events.push(Stocked {
            event: read.event.into(),
            journal_here: read.journal_here,
        });
    }
    Ok(events)
}

/// Returns the frames of these blocks in new ones; nothing if one of them can't be read.
fn join(db: &Connection, group: &[Place]) -> Stored<Option<Vec<Block>>> {
    // What was stored may be: secrets never were.
    let mut blocks = BlockWriter::new(PrivacyClass::Sensitive);
    for place in group {
        let events = match events(db, place) {
            Err(error) if error.kind() == AgentErrorKind::ArchiveDamaged => return Ok(None),
            events => events?,
        };
        for Stocked {
            event,
            journal_here,
        } in &events
        {
            blocks.push(&Entry {
                journal_here: *journal_here,
                ..Entry::published(event.view())
            })?;
        }
    }
    Ok(Some(blocks.finish()))
}

fn replace(writer: &mut Writer, group: &[Place], blocks: &[Block]) -> Stored<()> {
    let doing = "joining blocks";
    let transaction = writer.db.transaction().doing(doing)?;
    for place in group {
        forget(&transaction, place, None).doing(doing)?;
    }
    let mut first = group[0].first;
    for block in blocks {
        put_block(&transaction, first, block, &block.to_bytes()?).doing(doing)?;
        first += u64::from(block.head.count);
    }
    transaction.commit().doing(doing)
}

fn remove(writer: &mut Writer, old: &[Place]) -> Stored<()> {
    let Some(last) = old.last() else {
        return Ok(());
    };
    let doing = "removing old frames";
    let behind = last.last() + 1;
    let transaction = writer.db.transaction().doing(doing)?;
    for place in old {
        forget(&transaction, place, Some(behind)).doing(doing)?;
    }
    transaction
        .execute(
            "DELETE FROM gaps WHERE position < ?",
            [behind.cast_signed()],
        )
        .doing(doing)?;
    transaction.commit().doing(doing)
}

/// Deletes a block and all that it is found by; with `behind` also the runs that have no frame
/// there or later, and the agents that have none at all.
fn forget(
    transaction: &Transaction<'_>,
    place: &Place,
    behind: Option<u64>,
) -> rusqlite::Result<()> {
    let first = place.first.cast_signed();
    let delete = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql)?.execute(values)
    };
    let readable = place
        .bytes(transaction)
        .and_then(|bytes| BlockReader::new(bytes, place.head));
    match readable {
        Ok(reader) => {
            for run in reader.runs() {
                delete(
                    "DELETE FROM block_runs
                     WHERE run = (SELECT id FROM runs WHERE name = ?) AND first = ?",
                    params![run.as_str(), first],
                )?;
                if let Some(behind) = behind {
                    delete(
                        "DELETE FROM runs WHERE name = ? AND last_position < ?",
                        params![run.as_str(), behind.cast_signed()],
                    )?;
                }
            }
            for agent in reader.agents() {
                delete(
                    "DELETE FROM block_agents
                     WHERE agent = (SELECT id FROM agents WHERE name = ?) AND first = ?",
                    params![agent.as_str(), first],
                )?;
                if behind.is_some() {
                    delete(
                        "DELETE FROM agents WHERE name = ? AND NOT EXISTS
                         (SELECT 1 FROM block_agents WHERE agent = agents.id)",
                        params![agent.as_str()],
                    )?;
                }
            }
        }
        // It can't say what it is found by: a look at all entries.
        Err(_) => {
            delete("DELETE FROM block_runs WHERE first = ?", params![first])?;
            delete("DELETE FROM block_agents WHERE first = ?", params![first])?;
        }
    }
    delete("DELETE FROM data WHERE first = ?", params![first])?;
    delete("DELETE FROM blocks WHERE first = ?", params![first])?;
    Ok(())
}

/// Runs a statement to its end.
fn drain(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
