//! Counting: how the indices of a lane number the frames of a whole ring.
//!
//! A ring of one shard has one lane that all its frames can pass through. There a frame's number is
//! its index, but for the void ones, which have none: `number = first + index - voids below it`. So
//! the step of the tail that claims a slot is the step of the sequence as well, numbers are dense,
//! and a frame of this lane needs neither a stored number nor a fence: the order of its indices is
//! the order of its numbers. Terminal frames, in the lane beside it, claim an index here for their
//! number and leave it.
//!
//! # Voids below an index
//! Chunks are opened in order, so when a chunk is opened, the voids below it are known and the same
//! to all who try: those below the chunk behind it, and that chunk's. They are noted beside the
//! gate before the gate's word is swapped in, for the last [`LAPS`] laps of the chunk, and only
//! rise; who opens a chunk late notes what is there already, or has been passed. A note is read
//! between two looks at the gate, and holds if the gate has not come so far that it may have been
//! written over.
//!
//! The owner of an index may be so late that it does not hold any more. But then a later lap found
//! its slot unfinished, and noted the voids below the index by its place before the decision to
//! pass it by: that note stays until the owner is done.
//!
//! # Orderings
//! Who acquired a gate's word sees all decisions on chunks behind it, each opener having acquired
//! the last one. So who finds that no place was ever made void, after that, knows that there is
//! none below.

use super::super::array::{Array, words};
use super::super::geometry::Geometry;
use super::super::pins::PinTable;
use super::{Block, ClaimError, Lane, MAX_SEQUENCE};
use crate::sync::{AtomicU64, Ordering, raise};
use std::ops::Range;

/// For how many laps of a chunk the voids below it are kept.
const LAPS: u64 = 4;

/// See the module.
pub(super) struct Count {
    /// The number of index 0.
    first: u64,
    /// The voids below each chunk, for its last laps.
    voids: Array<AtomicU64>,
    /// The voids below the index of a place whose owner was passed by.
    passed_by: Array<AtomicU64>,
}

impl Count {
    pub(super) fn new(first: u64, geometry: &Geometry) -> Self {
        Count {
            first,
            voids: words(geometry.gates() * LAPS as usize),
            passed_by: words(geometry.places()),
        }
    }

    /// The note for the chunk of `index`.
    fn below_chunk(&self, geometry: &Geometry, index: u64) -> &AtomicU64 {
        let lap = geometry.laps(index) % LAPS;
        &self.voids[geometry.gate(index) * LAPS as usize + lap as usize]
    }
}

impl<T> Lane<T> {
    /// Whether this lane's indices are the ring's numbers.
    #[inline(always)]
    pub(crate) fn counts(&self) -> bool {
        self.count.is_some()
    }

    /// The number of an index with so many voids below it; of no use in a lane that does not count.
    #[inline(always)]
    pub(crate) fn number_at(&self, index: u64, voids: u64) -> u64 {
        self.count.as_ref().map_or(0, |count| count.first) + index - voids
    }

    /// Takes a number for a frame of another lane.
    pub(crate) fn take_number(&self, pins: PinTable<'_>) -> Result<u64, ClaimError> {
        // Release: what the caller claimed before is seen by who acquires this step of the tail, or
        // a later one. Acquire: so is what others did before smaller numbers.
        let (claim, voids) = self.claim_as(|| pins, Ordering::AcqRel)?;
        Ok(self.number_at(claim.index(), voids))
    }

    /// The voids below an index that is the caller's.
    pub(super) fn voids_below_own(&self, index: u64) -> u64 {
        let Some(count) = &self.count else {
            return 0;
        };
        // Relaxed: see the module.
        if self.bounds.voids.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.voids_below(index + 1).unwrap_or_else(|| {
            // Relaxed: acquired with the gate, which has moved on.
            count.passed_by[self.geometry.place(index)].load(Ordering::Relaxed)
        })
    }

    /// The number of the next index, as far as it is decided: every publish that has returned is
    /// numbered below. `None` if publishers went round the lane while this looked.
    #[inline(always)]
    pub(crate) fn counted(&self) -> Option<u64> {
        // Acquire: PAIR: `take_number`, `claim_counted`. What was claimed in other lanes for
        // smaller numbers is seen.
        let mut end = self.tail.load(Ordering::Acquire).min(self.end());
        // Who claimed beyond what is open has not returned.
        while end > 0 && !self.was_opened(end - 1) {
            end = self.geometry.chunk_start(end - 1);
        }
        self.number_of_next(end)
    }

    /// The number of the index `end`, below which all is decided: one above [`MAX_SEQUENCE`] if
    /// there is none. `None` if publishers went round the lane since.
    fn number_of_next(&self, end: u64) -> Option<u64> {
        // Relaxed: see the module.
        let voids = match end == 0 || self.bounds.voids.load(Ordering::Relaxed) == 0 {
            true => 0,
            // A batch that looked ahead may have opened the chunk behind `end` for its next lap,
            // and then the one at `end` too.
            false => self.voids_below(end).or_else(|| {
                let starts_there = end == self.geometry.chunk_start(end);
                self.voids_below_chunk(end).filter(|_| starts_there)
            })?,
        };
        // Higher ones were refused.
        Some(self.number_at(end, voids).min(MAX_SEQUENCE + 1))
    }

    /// Says that numbers end below this index, which is decided.
    #[cold]
    pub(super) fn end_at(&self, index: u64) {
        // Relaxed: see `Lane::end`. The error says that another found a lower one.
        let lower = |end| (index < end).then_some(index);
        let end = &self.bounds.end;
        let _ = end.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
    }

    /// Whether so many more numbers and indices may be there. If not, they never will be; if so, a
    /// claim finds out.
    #[cold]
    pub(crate) fn may_number(&self, count: u64) -> bool {
        let number = self.counted().unwrap_or(0);
        self.has_room_for(count) && number + count <= MAX_SEQUENCE + 1
    }

    /// The voids below `end`, of whose last index the chunk is open in its lap. `None` if it is not
    /// any more.
    fn voids_below(&self, end: u64) -> Option<u64> {
        let start = self.geometry.chunk_start(end - 1);
        let gate = self.gate_word(start);
        if self.gate_laps(gate) != self.geometry.laps(start) {
            return None;
        }
        let here = self.voids(gate, start..end).count_ones();
        Some(self.voids_below_chunk(start)? + u64::from(here))
    }

    /// The voids below a chunk that was opened. `None` if that was too long ago.
    pub(crate) fn voids_below_chunk(&self, start: u64) -> Option<u64> {
        let Some(count) = &self.count else {
            return Some(0);
        };
        // Acquire: PAIR: the release in `count_voids`. Who sees a later lap's note sees the gate
        // that its opener saw.
        let voids = count
            .below_chunk(&self.geometry, start)
            .load(Ordering::Acquire);
        // That opener was to open it for the lap `LAPS` later.
        let opened = self.gate_laps(self.gate_word(start));
        let laps = self.geometry.laps(start);
        (laps..laps + LAPS - 1).contains(&opened).then_some(voids)
    }

    /// Notes the voids below a chunk that is about to be opened, and says how many; those behind it
    /// are open. `None` if that was too long ago: another opened it. A note that comes late is no
    /// higher than what is there.
    #[inline(always)]
    pub(super) fn count_voids(&self, start: u64) -> Option<u64> {
        let Some(count) = &self.count else {
            return Some(0);
        };
        // Relaxed: acquired with the gate of the chunk behind.
        if start == 0 || self.bounds.voids.load(Ordering::Relaxed) == 0 {
            return Some(0);
        }
        let voids = self.voids_below(start)?;
        // Release: PAIR: `voids_below_chunk`.
        let note = count.below_chunk(&self.geometry, start);
        raise(note, voids, Ordering::Release);
        Some(voids)
    }

    /// Notes the number of an index that a later lap passes by; `None` if its chunk was opened for
    /// that lap.
    pub(super) fn note_number(&self, index: u64) -> Option<()> {
        let Some(count) = &self.count else {
            return Some(());
        };
        let voids = self.voids_below(index + 1)?;
        // Relaxed: the gate's release in `decide` carries it.
        let passed_by = &count.passed_by[self.geometry.place(index)];
        raise(passed_by, voids, Ordering::Relaxed);
        Some(())
    }

    /// Claims indices of which `count` are granted, with no one else's between them, and gives the
    /// number of the first: opens what will be claimed, and claims it then if nobody else did. Each
    /// further turn of the loop says that somebody else claimed meanwhile.
    pub(crate) fn claim_counted<'a>(
        &'a self,
        count: u64,
        pins: PinTable<'_>,
    ) -> Result<(u64, Block<'a, T>), ClaimError> {
        // Relaxed: the exchange finds out whether it is still the tail.
        let mut first = self.tail.load(Ordering::Relaxed);
        let mut void = Vec::new();
        loop {
            // Most often nothing is void there.
            let clear = self.clear.voids_below_all(first, first + count);
            let found = match clear {
                Some(_) => Ok(first + count),
                None => self.look_ahead(first, count, pins, &mut void),
            };
            let found = found.and_then(|end| self.check_numbers(first, count).map(|()| end));
            // What is refused takes no number; but the voids in front of it are passed, so that the
            // next try looks at places that are opened again.
            let end = found.unwrap_or_else(|_| behind_voids(first, &void));
            // AcqRel: as in `take_number`, for all numbers of the batch. Relaxed: as above.
            let (new, old) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.tail.compare_exchange(first, end, new, old) {
                Ok(_) => {
                    found?;
                    let (number, block) = self.counted_block(first..end, &void, clear);
                    if number + count > MAX_SEQUENCE {
                        self.end_at(end);
                    }
                    return Ok((number, block));
                }
                Err(now) => (first, void) = (now, Vec::new()),
            }
        }
    }

    /// Whether there are `count` numbers from that of `first` on, if that is the tail: what is
    /// refused takes none.
    #[inline]
    fn check_numbers(&self, first: u64, count: u64) -> Result<(), ClaimError> {
        if self.number_at(first, 0).saturating_add(count) <= MAX_SEQUENCE + 1 {
            return Ok(());
        }
        match self.number_of_next(first) {
            Some(number) if number + count > MAX_SEQUENCE + 1 => Err(ClaimError::Exhausted),
            // If it is not known, the tail has moved.
            _ => Ok(()),
        }
    }

    /// Opens the chunks of the next indices, `first` being the tail, and says below which one
    /// `count` are granted; which are not goes into `void`. Holds if `first` is still the tail
    /// afterwards: then none of these chunks was opened for a later lap, since nobody opens one a
    /// lap ahead of the tail's.
    fn look_ahead(
        &self,
        first: u64,
        count: u64,
        pins: PinTable<'_>,
        void: &mut Vec<u64>,
    ) -> Result<u64, ClaimError> {
        let a_lap_ahead = self.geometry.chunk_start(first) + self.geometry.span();
        let mut end = first;
        loop {
            let missing = count + void.len() as u64 - (end - first);
            if missing == 0 {
                return Ok(end);
            }
            if end >= self.end() {
                return Err(ClaimError::Exhausted);
            }
            if end >= a_lap_ahead {
                return Err(ClaimError::Stuck);
            }
            let to = self.geometry.chunk_end(end).min(end + missing);
            let gate = self.opened(end, pins);
            if self.voids(gate, end..to) != 0 {
                void.extend((end..to).filter(|&index| !self.is_open(gate, index)));
            }
            end = to;
        }
    }

    /// What a batch claimed, but for what is void of it, and the number of its first frame.
    fn counted_block(
        &self,
        claimed: Range<u64>,
        void: &[u64],
        clear: Option<u64>,
    ) -> (u64, Block<'_, T>) {
        let mut block = self.no_claims();
        let mut granted = claimed.clone().filter(|index| !void.contains(index));
        let first = granted.clone().next().unwrap_or(claimed.start);
        if void.is_empty() {
            block.range = claimed;
        } else {
            let claims: Vec<_> = granted.by_ref().map(|index| self.own(index)).collect();
            block.others = claims.into_iter();
        }
        let voids = clear.unwrap_or_else(|| self.voids_below_own(first));
        (self.number_at(first, voids), block)
    }
}

/// The first index from `first` on that is not among these voids, which ascend.
#[cold]
#[inline(never)]
fn behind_voids(first: u64, voids: &[u64]) -> u64 {
    let in_front = (first..)
        .zip(voids)
        .take_while(|(index, void)| index == *void);
    first + in_front.count() as u64
}
