//! Where a bus's sequence numbers are in the archive, and which of them are missing.

use super::error::{Doing, Stored};
use super::handle::{Archive, Shared};
use super::store::{BlockRow, extent};
use crate::bus::RepairArchive;
use crate::event::{AgentError, ArchiveCursor, BusEpoch};
use rusqlite::{Connection, OptionalExtension, params};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

/// Returns the first block of a bus that holds this sequence number or higher ones.
fn block_from(db: &Connection, epoch: BusEpoch, sequence: u64) -> Stored<Option<BlockRow>> {
    let sql = format!(
        "SELECT {} FROM blocks WHERE epoch = ?1 AND first_seq >= coalesce(
             (SELECT max(first_seq) FROM blocks WHERE epoch = ?1 AND first_seq <= ?2), 0)
         AND first_seq + count > ?2 ORDER BY first_seq LIMIT 1",
        BlockRow::COLUMNS
    );
    let epoch = epoch.bits().cast_signed();
    let sequence = sequence.min(i64::MAX as u64).cast_signed();
    db.prepare_cached(&sql)
        .and_then(|mut select| {
            select
                .query_row(params![epoch, sequence], BlockRow::of)
                .optional()
        })
        .doing("finding a sequence number")
}

impl Shared {
    /// Returns the position before the first frame with this sequence number or a higher one.
    fn before_sequence(&self, epoch: BusEpoch, sequence: u64) -> Stored<ArchiveCursor> {
        let position = self
            .store
            .read(|db| match block_from(db, epoch, sequence)? {
                Some(row) => {
                    let skipped = sequence.saturating_sub(row.header.first_seq);
                    Ok(row.first + skipped - 1)
                }
                None => Ok(extent(db)?.1),
            })?;
        Ok(self.at(position))
    }

    /// Returns the first unbroken range of these sequence numbers that no block holds.
    fn next_hole(&self, epoch: BusEpoch, sequences: Range<u64>) -> Stored<Option<Range<u64>>> {
        self.store.read(|db| {
            let mut from = sequences.start;
            while from < sequences.end {
                let row = block_from(db, epoch, from)?;
                let begin = row.map_or(sequences.end, |it| it.header.first_seq);
                if begin > from {
                    return Ok(Some(from..begin.min(sequences.end)));
                }
                from = row.map_or(sequences.end, |it| it.header.last_seq() + 1);
            }
            Ok(None)
        })
    }
}

impl RepairArchive for Archive {
    fn before_sequence(&self, epoch: BusEpoch, sequence: u64) -> Result<ArchiveCursor, AgentError> {
        self.shared.before_sequence(epoch, sequence)
    }

    fn next_hole(
        &self,
        epoch: BusEpoch,
        sequences: Range<u64>,
    ) -> Result<Option<Range<u64>>, AgentError> {
        self.shared.next_hole(epoch, sequences)
    }

    /// A journal's frames are settled before they are published. A bus that an
    /// [`Archiver`](super::Archiver) of this process follows is settled as far as that has come.
    fn is_settled(&self, epoch: BusEpoch, sequence: u64, waker: Option<&Arc<Waker>>) -> bool {
        self.shared.progress.is_settled(epoch, sequence, waker)
    }
}
