//! Where numbers of a bus are, which of them are missing, and what followers may still bring.

use super::error::{Doing, Stored};
use super::process::Local;
use super::store::{Place, extent, lock};
use super::{Archive, Shared};
use crate::bus::RepairArchive;
use crate::event::{AgentError, ArchiveCursor, BusEpoch};
use crate::foreign::contained;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

/// How far the followers of this process have come, and who waits for them.
#[derive(Debug)]
pub(super) struct Progress(Local<Mutex<Following>>);

#[derive(Debug, Default)]
struct Following {
    /// For each bus that is followed, the number up to which all is archived or told as lost.
    settled: HashMap<BusEpoch, u64>,
    waiting: Waiting,
}

/// The wakers of those who wait, each held by its owner: one that is gone is not woken.
#[derive(Debug, Default)]
struct Waiting {
    /// By the waker's address, which stays its own while its weak pointer is here.
    wakers: HashMap<usize, Weak<Waker>>,
    /// At so many, those that are gone are taken out.
    full: usize,
}

impl Waiting {
    /// The fewest wakers among which it is worth looking for those that are gone.
    const FEW: usize = 16;

    /// Adds a waker once, however often it comes. O(1) amortised; holds at most twice as many as
    /// were alive at once, and [`FEW`](Self::FEW).
    fn add(&mut self, waker: &Arc<Waker>) {
        if self.wakers.len() >= self.full {
            self.wakers.retain(|_, waker| waker.strong_count() > 0);
            self.full = Self::FEW.max(2 * self.wakers.len());
        }
        let address = Arc::as_ptr(waker).addr();
        self.wakers.insert(address, Arc::downgrade(waker));
    }

    /// Wakes all. They may do anything: no lock may be held.
    fn wake(self) {
        for waker in self.wakers.into_values() {
            if let Some(waker) = waker.upgrade() {
                contained(|| waker.wake_by_ref());
                contained(|| drop(waker));
            }
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress(Local::new(Mutex::default()))
    }
}

impl Progress {
    /// Says that a follower begins; whether it is the only one of its bus. Nothing is settled until
    /// it says what.
    pub(super) fn begin(&self, epoch: BusEpoch) -> Stored<bool> {
        Ok(match lock(self.0.get()?).settled.entry(epoch) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(0);
                true
            }
        })
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
        let Ok(following) = self.0.get() else { return };
        let mut following = lock(following);
        change(&mut following);
        let waiting = std::mem::take(&mut following.waiting);
        drop(following);
        waiting.wake();
    }

    /// In a forked child there are no followers: all is settled.
    fn is_settled(&self, epoch: BusEpoch, number: u64, waker: Option<&Arc<Waker>>) -> bool {
        let Ok(following) = self.0.get() else {
            return true;
        };
        let mut following = lock(following);
        let reached = following.settled.get(&epoch);
        let settled = reached.is_none_or(|&reached| reached >= number);
        if let Some(waker) = waker.filter(|_| !settled) {
            following.waiting.add(waker);
        }
        settled
    }
}

/// Returns the blocks of a bus that hold this number or higher ones, lowest first.
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

    /// Returns what a journal has is settled before it is published; a bus that an
    /// [`Archiver`](super::Archiver) of this process follows is settled as far as that has come.
    fn is_settled(&self, epoch: BusEpoch, number: u64, waker: Option<&Arc<Waker>>) -> bool {
        self.shared.progress.is_settled(epoch, number, waker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUS: BusEpoch = BusEpoch::from_bits(7);

    fn waker() -> Arc<Waker> {
        Arc::new(Waker::noop().clone())
    }

    fn waiting(progress: &Progress) -> usize {
        lock(progress.0.get().unwrap()).waiting.wakers.len()
    }

    #[test]
    fn those_that_wait_and_are_gone_leave_nothing() {
        let progress = Progress::default();
        assert!(progress.begin(BUS).unwrap() && !progress.begin(BUS).unwrap());
        let staying: Vec<_> = (0..100).map(|_| waker()).collect();
        for _ in 0..100 {
            for staying in &staying {
                assert!(!progress.is_settled(BUS, 1, Some(staying)));
                assert!(!progress.is_settled(BUS, 1, Some(&waker())));
            }
        }
        assert!((100..=200).contains(&waiting(&progress)));
        drop(staying);
        for _ in 0..1_000 {
            assert!(!progress.is_settled(BUS, 1, Some(&waker())));
        }
        assert!(waiting(&progress) <= Waiting::FEW);
        progress.reached(BUS, 1);
        assert!(progress.is_settled(BUS, 1, Some(&waker())));
        assert_eq!(waiting(&progress), 0);
    }
}
