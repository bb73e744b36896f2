//! Upkeep, while other threads write and read: joining small blocks, giving space back.
//!
//! Blocks are read and joined without the writer's lock, and put in place of the old ones in a
//! short transaction under it. The lock is handed over between steps to whoever waits for it.
//! Joining blocks changes neither frames nor positions.

use super::block::{BLOCK_FRAMES, Block, BlockWriter};
use super::error::{Doing, Stored, is_unreadable};
use super::handle::Archive;
use super::retain::{STEP as STEP_TIME, forget};
use super::rows::{BlockRow, rows_from};
use super::writer::{Writer, put_block};
use crate::event::{AgentError, AgentErrorKind, PrivacyClass};
use rusqlite::Connection;
use std::time::Instant;

/// How many blocks are looked at at once, and joined at most.
const STEP: usize = 128;

/// How many bytes the blocks have at most that are joined into one, as they are stored.
const JOINED_BYTES: u64 = 1 << 20;

/// Blocks that are to become others.
struct Look {
    /// Neighbours that fit into one block.
    group: Vec<BlockRow>,
    /// What they become; empty if one of them can't be read.
    blocks: Vec<Block>,
    /// Whether more rows after the last one of the group were not looked at.
    is_cut: bool,
    /// The position to go on with.
    next: u64,
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
    /// Joins small neighbouring blocks, as single publishes leave them, and returns free space to
    /// the disk, beside writers and readers, which do not wait for it. Frames, sequence numbers and
    /// positions stay as they are, and so do blocks that can't be read. Space that a reader still
    /// looks at is given back later.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveReadOnly`], or an error of the disk. What was done by then stays
    /// done.
    pub fn compact(&self) -> Result<Compacted, AgentError> {
        let mut done = Compacted::default();
        match self.join_all(&mut done) {
            Err(error) if error.kind() == AgentErrorKind::ArchiveFull => {
                // What is free in the file may be enough for the rest.
                self.give_back()?;
                self.join_all(&mut done)?;
            }
            joined => joined?,
        }
        self.give_back()?;
        Ok(done)
    }

    /// Closes the tail, and joins all small neighbouring blocks.
    fn join_all(&self, done: &mut Compacted) -> Stored<()> {
        let mut writer = self.shared.writer()?.lock();
        let (joined, into) = writer.with_reserve(Writer::close_tail)?;
        drop(writer);
        done.joined += joined;
        done.into += into;
        let mut from = 0;
        while let Some(look) = self.look_for_group(from)? {
            from = look.next;
            if look.blocks.is_empty() || !self.replace(&look.group, &look.blocks)? {
                continue;
            }
            done.joined += look.group.len() as u64;
            done.into += look.blocks.len() as u64;
            // The block after the last one that was looked at may be joined with these, too.
            if look.is_cut {
                from = look.group[0].first;
            }
        }
        Ok(())
    }

    /// Looks for blocks from this position on that can be joined, and joins them; `None` at the
    /// end. Takes no lock: readers do not wait, and [`replace`](Self::replace) looks again.
    fn look_for_group(&self, from: u64) -> Stored<Option<Look>> {
        self.shared.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing("joining blocks")?;
            let mut rows = rows_from(&snapshot, from, STEP)?;
            let is_full = rows.len() == STEP;
            rows.retain(|row| !row.is_piece);
            let Some(last) = rows.last() else {
                return Ok(None);
            };
            let Some(group) = first_group(&rows) else {
                let look = Look {
                    group: Vec::new(),
                    blocks: Vec::new(),
                    is_cut: false,
                    next: last.first,
                };
                return Ok(is_full.then_some(look));
            };
            let end = group[group.len() - 1].last();
            Ok(Some(Look {
                blocks: join(&snapshot, group)?.unwrap_or_default(),
                is_cut: is_full && end == last.last(),
                next: end + 1,
                group: group.to_vec(),
            }))
        })
    }

    /// Stores blocks in place of others, at the same positions, if those are as they were. Returns
    /// whether they are.
    fn replace(&self, group: &[BlockRow], blocks: &[Block]) -> Stored<bool> {
        let doing = "joining blocks";
        self.shared.writer()?.lock().with_reserve(|writer| {
            let mut first = group[0].first;
            let transaction = writer.begin(false).doing(doing)?;
            if rows_from(&transaction, first, group.len())? != group {
                return Ok(false);
            }
            for row in group {
                forget(&transaction, row, None).doing(doing)?;
            }
            for block in blocks {
                put_block(&transaction, first, block)?;
                first += u64::from(block.header.count);
            }
            transaction.commit().doing(doing)?;
            Ok(true)
        })
    }

    /// Returns free space to the disk, as far as no reader needs it, and takes the reserve again if
    /// it was given up.
    pub(super) fn give_back(&self) -> Stored<()> {
        let doing = "returning free space";
        let step = |writer: &mut Writer| {
            let until = Instant::now() + STEP_TIME;
            // A page that is given back may move another one, which is written to the log.
            let most = writer.log_limit() / 2;
            let transaction = writer.begin(false).doing(doing)?;
            let more = vacuum(&transaction, most, until).doing(doing)?;
            transaction.commit().doing(doing)?;
            Ok(more)
        };
        while self.shared.writer()?.lock().with_reserve(step)? {}
        // The log is written into the file beside the writer, which is not waited for. Then little
        // is left, and if nobody reads, the log can be cut off at once.
        self.shared.store.checkpoint()?;
        let mut writer = self.shared.writer()?.lock();
        writer.with_reserve(|writer| writer.cut_log().doing(doing))?;
        writer.prepare().doing(doing)
    }
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

/// Returns at most `most` free pages to the file system, and stops at `until`. Returns whether
/// free pages are left.
fn vacuum(db: &Connection, most: u64, until: Instant) -> rusqlite::Result<bool> {
    let mut statement = db.prepare_cached("PRAGMA incremental_vacuum")?;
    // Each row is a page.
    let mut rows = statement.query([])?;
    let mut pages = 0;
    while rows.next()?.is_some() {
        pages += 1;
        if pages >= most || Instant::now() >= until {
            return Ok(true);
        }
    }
    Ok(false)
}
