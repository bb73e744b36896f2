//! Upkeep, while other threads write and read: removing old frames, joining small blocks, checking
//! everything.
//!
//! Each step is one short transaction under the writer's lock, which is released between steps.
//! Frames are removed from the front only, and whole blocks at a time, so positions stay dense.
//! Joining blocks changes neither frames nor positions.

use super::block::{BLOCK_FRAMES, Block, BlockWriter};
use super::error::{Doing, Stored, damaged, is_unreadable};
use super::handle::Archive;
use super::rows::{BlockRow, extent, rows_from};
use super::store::lock;
use super::writer::{Writer, put_block, remove_piece};
use crate::event::{AgentError, PrivacyClass, Timestamp};
use rusqlite::{Connection, Transaction, params};
use std::time::Duration;

/// How many blocks one transaction changes at most.
const STEP: usize = 128;

/// How many bytes the blocks have at most that are joined into one, as they are stored.
const JOINED_BYTES: u64 = 1 << 20;

/// Which frames to keep. Each limit that is set is enforced: frames beyond it are removed, from the
/// oldest position on, by whole blocks of at most 4,096 frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// A block is removed once all of its frames happened longer ago than this.
    pub max_age: Option<Duration>,
    /// How many of the last frames are kept, at least; less than a block more may be.
    pub max_frames: Option<u64>,
    /// How many bytes the frames may take. Indexes take some 5 percent more.
    pub max_bytes: Option<u64>,
}

/// What [`Archive::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// How many frames.
    pub frames: u64,
    /// How many bytes they took.
    pub bytes: u64,
}

/// What [`Archive::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// How many blocks were joined with others, and how many appends that were in no block yet.
    pub joined: u64,
    /// How many blocks they became.
    pub into: u64,
}

impl Archive {
    /// Removes frames beyond the limits. Replays that had not read them report them as lost.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveReadOnly`], or an error of the disk. What was removed by then stays
    /// removed.
    pub fn retain(&self, limits: &Retention) -> Result<Removed, AgentError> {
        let mut removed = Removed::default();
        let cutoff = limits.max_age.map(|age| {
            let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(Timestamp::now().as_micros().saturating_sub(micros))
        });
        loop {
            let mut writer = lock(self.shared.writer()?);
            let (mut frames, mut bytes) = held(&writer.db)?;
            let rows = rows_from(&writer.db, 0, STEP)?;
            let is_beyond = |row: &&BlockRow| {
                let count = u64::from(row.header.count);
                let is_beyond = cutoff.is_some_and(|cutoff| row.header.max_time < cutoff)
                    || limits
                        .max_frames
                        .is_some_and(|most| frames.saturating_sub(count) >= most)
                    || limits.max_bytes.is_some_and(|most| bytes > most);
                frames = frames.saturating_sub(count);
                bytes = bytes.saturating_sub(row.size);
                is_beyond
            };
            let old: Vec<_> = rows.iter().take_while(is_beyond).copied().collect();
            remove(&mut writer, &old)?;
            removed.frames += old.iter().map(|it| u64::from(it.header.count)).sum::<u64>();
            removed.bytes += old.iter().map(|it| it.size).sum::<u64>();
            if old.len() < STEP {
                return Ok(removed);
            }
        }
    }

    /// Joins small neighbouring blocks, as single publishes leave them, and returns free space to
    /// the disk. Frames, sequence numbers and positions stay as they are, and so do blocks that
    /// can't be read.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveReadOnly`], or an error of the disk. What was done by then stays
    /// done.
    pub fn compact(&self) -> Result<Compacted, AgentError> {
        let mut done = Compacted::default();
        (done.joined, done.into) = lock(self.shared.writer()?).close_tail()?;
        let mut from = 0;
        loop {
            let mut writer = lock(self.shared.writer()?);
            let mut rows = rows_from(&writer.db, from, STEP)?;
            rows.retain(|row| !row.is_piece);
            let Some(last) = rows.last() else { break };
            let Some(group) = first_group(&rows) else {
                if rows.len() < STEP {
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
                // The block after the last one of a full step may be joined with these, too.
                if end == last.last() && rows.len() == STEP {
                    from = group[0].first;
                }
            }
        }
        let writer = lock(self.shared.writer()?);
        for pragma in ["incremental_vacuum", "wal_checkpoint(TRUNCATE)"] {
            drain(&writer.db, &format!("PRAGMA {pragma}")).doing("returning free space")?;
        }
        Ok(done)
    }

    /// Reads and checks every frame. Returns how many there are. Takes O(bytes) time.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`], or an error of the disk.
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
                let rows = rows_from(&snapshot, next, STEP)?;
                for row in &rows {
                    if row.first != next {
                        return Err(damaged(format!("position {next} is missing")));
                    }
                    row.reader(&snapshot)?.each(|_, _, _, _| {
                        count += 1;
                        Ok(())
                    })?;
                    next = row.last() + 1;
                }
                if rows.len() < STEP {
                    break;
                }
            }
            if next == end + 1 {
                Ok(count)
            } else {
                Err(damaged(format!("positions {next} to {end} are missing")))
            }
        })
    }
}

/// Returns how many frames are held, and how many bytes they take.
fn held(db: &Connection) -> Stored<(u64, u64)> {
    let sum: i64 = db
        .prepare_cached("SELECT coalesce((SELECT sum(size) FROM blocks), 0) + coalesce((SELECT sum(size) FROM tail), 0)")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .doing("adding up the archive")?;
    let (before, last) = extent(db)?;
    Ok((last - before, sum.cast_unsigned()))
}

/// Returns the first two or more neighbours that fit into one block.
fn first_group(rows: &[BlockRow]) -> Option<&[BlockRow]> {
    let mut start = 0;
    let (mut count, mut size) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let follows = at > 0 && {
            let before = &rows[at - 1];
            before.header.epoch == row.header.epoch
                && before.header.last_seq() + 1 == row.header.first_seq
                && count + row.header.count <= BLOCK_FRAMES
                && size + row.size <= JOINED_BYTES
        };
        if !follows {
            if at >= start + 2 {
                return Some(&rows[start..at]);
            }
            (start, count, size) = (at, 0, 0);
        }
        count += row.header.count;
        size += row.size;
    }
    (rows.len() >= start + 2).then(|| &rows[start..])
}

/// Returns the frames of these blocks in new ones; `None` if one of them can't be read.
fn join(db: &Connection, group: &[BlockRow]) -> Stored<Option<Vec<Block>>> {
    // Content that was stored may be stored again: secrets never were.
    let mut blocks = BlockWriter::new(PrivacyClass::Sensitive);
    for row in group {
        match row.reader(db).and_then(|reader| blocks.join(&reader)) {
            Err(error) if is_unreadable(&error) => return Ok(None),
            joined => joined?,
        }
    }
    Ok(Some(blocks.finish()))
}

/// Stores blocks in place of others, at the same positions.
fn replace(writer: &mut Writer, group: &[BlockRow], blocks: &[Block]) -> Stored<()> {
    let doing = "joining blocks";
    let transaction = writer.db.transaction().doing(doing)?;
    for row in group {
        forget(&transaction, row, None).doing(doing)?;
    }
    let mut first = group[0].first;
    for block in blocks {
        put_block(&transaction, first, block)?;
        first += u64::from(block.header.count);
    }
    transaction.commit().doing(doing)
}

/// Removes blocks, which are the oldest ones.
fn remove(writer: &mut Writer, old: &[BlockRow]) -> Stored<()> {
    let Some(last) = old.last() else {
        return Ok(());
    };
    let doing = "removing old frames";
    let held_from = last.last() + 1;
    let (pieces, blocks): (Vec<_>, Vec<_>) = old.iter().partition(|row| row.is_piece);
    let transaction = writer.begin(!pieces.is_empty()).doing(doing)?;
    for row in blocks {
        forget(&transaction, row, Some(held_from)).doing(doing)?;
    }
    for row in pieces {
        remove_piece(&transaction, row).doing(doing)?;
    }
    transaction
        .execute(
            "DELETE FROM gaps WHERE position < ?",
            [held_from.cast_signed()],
        )
        .doing(doing)?;
    transaction.commit().doing(doing)
}

/// Deletes a block and its entries in the indexes. With `held_from`, also deletes the block's runs
/// that have no frame at that position or later, and its agents that have no frame at all.
fn forget(
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

/// Runs a statement to its end.
fn drain(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
