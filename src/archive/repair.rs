//! Where a bus's sequence numbers are in the archive, and which of them are missing.

use super::error::{Doing, Stored};
use super::handle::{Archive, Shared};
use super::rows::{extent, row_of_sequence};
use crate::bus::RepairArchive;
use crate::event::{AgentError, ArchiveCursor, BusEpoch};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

impl Shared {
    /// Returns the position before the first frame with this sequence number or a higher one.
    fn before_sequence(&self, epoch: BusEpoch, sequence: u64) -> Stored<ArchiveCursor> {
        let position = self.store.read(|db| {
            // What is appended meanwhile comes after the end that is found here.
            let snapshot = db
                .unchecked_transaction()
                .doing("finding a sequence number")?;
            match row_of_sequence(&snapshot, epoch, sequence)? {
                Some(row) => {
                    let skipped = sequence.saturating_sub(row.header.first_seq);
                    Ok(row.first + skipped - 1)
                }
                None => Ok(extent(&snapshot)?.1),
            }
        })?;
        Ok(self.at(position))
    }

    /// Returns the first unbroken range of these sequence numbers that no block holds.
    fn next_hole(&self, epoch: BusEpoch, sequences: Range<u64>) -> Stored<Option<Range<u64>>> {
        self.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing("finding a hole")?;
            let mut from = sequences.start;
            while from < sequences.end {
                let row = row_of_sequence(&snapshot, epoch, from)?;
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
