//! Where numbers of a bus are, which of them are missing, and what followers may still bring.

use super::error::{Doing, Stored};
use super::store::{Place, extent, lock};
use super::{Archive, Shared};
use crate::bus::RepairArchive;
use crate::event::{AgentError, ArchiveCursor, BusEpoch};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Mutex;
use std::task::Waker;

/// How far the followers of this process have come, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Following>);

#[derive(Debug, Default)]
struct Following {
    /// For each bus that is followed, the number up to which all is archived or told as lost.
    settled: HashMap<BusEpoch, u64>,
    wakers: Vec<Waker>,
}

impl Progress {
    /// Says that a follower begins behind this number; whether it is the only one of its bus.
    pub(super) fn begin(&self, epoch: BusEpoch, number: u64) -> bool {
        match lock(&self.0).settled.entry(epoch) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(number);
                true
            }
        }
    }

    /// Says how far a follower has come.
    pub(super) fn reached(&self, epoch: BusEpoch, number: u64) {
        self.change(|following| {
            following.settled.insert(epoch, number);
        });
    }

    /// Says that nothing more comes from the follower of this bus.
    pub(super) fn left(&self, epoch: BusEpoch) {
        self.change(|following| {
            following.settled.remove(&epoch);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Following)) {
        let mut following = lock(&self.0);
        change(&mut following);
        let wakers = std::mem::take(&mut following.wakers);
        drop(following);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn is_settled(&self, epoch: BusEpoch, number: u64, waker: Option<&Waker>) -> bool {
        let mut following = lock(&self.0);
        let reached = following.settled.get(&epoch);
        let settled = reached.is_none_or(|&reached| reached >= number);
        if let Some(waker) = waker.filter(|_| !settled) {
            // One entry for each that waits, however often it asks.
            following.wakers.retain(|known| !known.will_wake(waker));
            following.wakers.push(waker.clone());
        }
        settled
    }
}

/// The blocks of a bus that hold this number or higher ones, lowest first.
fn block_from(db: &Connection, epoch: BusEpoch, number: u64) -> Stored<Option<Place>> {
    let sql = format!(
        "SELECT {} FROM blocks WHERE epoch = ?1 AND first_seq >= coalesce(
             (SELECT max(first_seq) FROM blocks WHERE epoch = ?1 AND first_seq <= ?2), 0)
         AND first_seq + count > ?2 ORDER BY first_seq LIMIT 1",
        Place::COLUMNS
    );
    let epoch = epoch.bits().cast_signed();
    let number = number.min(i64::MAX as u64).cast_signed();
    db.prepare_cached(&sql)
        .and_then(|mut select| {
            select
                .query_row(params![epoch, number], Place::of)
                .optional()
        })
        .doing("finding a number")
}

impl Shared {
    fn before_sequence(&self, epoch: BusEpoch, sequence: u64) -> Stored<ArchiveCursor> {
        let position = self
            .store
            .read(|db| match block_from(db, epoch, sequence)? {
                Some(place) => {
                    let skipped = sequence.saturating_sub(place.head.first_seq);
                    Ok(place.first + skipped - 1)
                }
                None => Ok(extent(db)?.1),
            })?;
        Ok(self.at(position))
    }

    fn next_hole(&self, epoch: BusEpoch, numbers: Range<u64>) -> Stored<Option<Range<u64>>> {
        self.store.read(|db| {
            let mut from = numbers.start;
            while from < numbers.end {
                let place = block_from(db, epoch, from)?;
                let begin = place.map_or(numbers.end, |it| it.head.first_seq);
                if begin > from {
                    return Ok(Some(from..begin.min(numbers.end)));
                }
                from = place.map_or(numbers.end, |it| it.head.last_seq() + 1);
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
        numbers: Range<u64>,
    ) -> Result<Option<Range<u64>>, AgentError> {
        self.shared.next_hole(epoch, numbers)
    }

    /// What a journal has is settled before it is published; a bus that an
    /// [`Archiver`](super::Archiver) of this process follows is settled as far as that has come.
    fn is_settled(&self, epoch: BusEpoch, number: u64, waker: Option<&Waker>) -> bool {
        self.shared.progress.is_settled(epoch, number, waker)
    }
}
