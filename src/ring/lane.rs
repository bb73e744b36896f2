//! A lane: one ring of slots under a tail, and who may write which slot.
//!
//! A publisher **claims** an index by one fetch-add on the tail and then learns from the chunk's
//! **gate** whether the index is granted or void. A granted index is the claimer's alone: it writes
//! with plain stores and one release store of the stamp. A void index carries no frame, ever; its
//! claimer claims another. Nobody waits: what would have to be waited for is made void. As long as
//! nothing is void, one look at how far chunks are open says it (`lane/clear.rs`).
//!
//! # Gates
//! A gate is a word for each chunk of places: how often the chunk was opened, once a lap, and a bit
//! for each of its places that is void in the last one. Whoever claims an index of a chunk that is
//! not open yet for its lap opens it, and before it all chunks behind it that are not: **chunks are
//! opened in order**. An opener finds out which slots are free and swaps the whole decision in by
//! one compare-exchange. Several openers may differ in what they saw; one of their decisions holds
//! for all, since it is one word. A slot is free for the new lap if its **last granted index** is
//! finished (its stamp says so) and no pin covers it. The last granted index is
//! - the place's index in the gate's lap, if its bit there is clear;
//! - else in the lap that `granted` says: before a decision makes a place void whose bit was clear,
//!   the opener raises `granted` to the lap before. It never lowers it, and with a value that only
//!   depends on the gate's word, so late and losing openers do no harm: `granted` never names an
//!   index that was not granted, and nothing newer can be granted while that one is unfinished.
//!
//! So a writer that sleeps on its slot costs that slot alone, and makes it void lap after lap until
//! it is done. A claimer that was suspended *between* its claim and its look at the gate may find
//! the gate laps ahead; `granted` names its index exactly if it had been granted, and then the slot
//! is its own to finish; else the index was void. How a chunk is opened beside readers that hold
//! places is in `lane/open.rs`; how indices number the frames of a ring that has no other lane for
//! them, in `lane/count.rs`.
//!
//! # Orderings
//! The next owner's writes happen after the last owner's and after the reads under earlier pins:
//! last owner's stamp (release) or pin (release) -> opener's acquire load of it -> [limit
//! (release) -> acquire ->] gate (release) -> claimer's acquire load of the gate. Later gate words
//! and limits are read-modify-writes and so carry the earlier releases on.

mod claim;
#[forbid(unsafe_code)]
mod clear;
#[forbid(unsafe_code)]
mod count;
#[forbid(unsafe_code)]
mod lapped;
#[forbid(unsafe_code)]
mod open;

pub(crate) use self::claim::{Block, Claim};
use self::clear::Clear;
use self::count::Count;
use self::lapped::Straddlers;
use super::MAX_SEQUENCE;
use super::array::{Array, words};
use super::geometry::Geometry;
use super::pins::PinTable;
use super::slots::{Numbered, Slots};
use super::tag::TagFilter;
use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::ops::Range;

/// See the module.
pub(crate) struct Lane<T> {
    geometry: Geometry,
    /// Which word of a row of pins is this lane's.
    number: usize,
    tail: CachePadded<AtomicU64>,
    bounds: CachePadded<Bounds>,
    clear: CachePadded<Clear>,
    /// From here on, two laps before indices or numbers end, batches look before they claim.
    near_end: u64,
    gates: Array<AtomicU64>,
    /// How often a place that is void had been opened when it was last granted; else an older such
    /// number.
    granted: Array<AtomicU64>,
    straddlers: Straddlers,
    /// For a lane whose indices are numbers.
    count: Option<Count>,
    slots: Slots<T>,
}

/// What changes rarely, and what readers look at.
struct Bounds {
    horizon: AtomicU64,
    limit: AtomicU64,
    /// Not 0 once a place was made void: only then need readers look at gates.
    voids: AtomicU64,
    /// How many indices were made void.
    voided: AtomicU64,
    /// No index from here on is ever granted. Only falls, once numbers end before the indices do.
    end: AtomicU64,
}

/// What is to be seen at an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peek {
    /// Its frame is there; it may be read under a pin.
    Ready,
    /// Not claimed, or claimed and not finished.
    Pending,
    /// It carries no frame, ever.
    Void,
    /// It was granted, and left without a frame.
    Left,
    /// Its slot went on to a later lap.
    Lapped,
}

/// Why no index could be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClaimError {
    /// Every place is held by a reader or a writer that does not move.
    Stuck,
    /// The lane's indices are used up.
    Exhausted,
}

impl<T> Lane<T> {
    /// A lane with this place among the lanes of its shard. With `counts_from`, its indices number
    /// the frames of the ring, from there on.
    pub(crate) fn new(geometry: Geometry, number: usize, counts_from: Option<u64>) -> Self {
        let places = geometry.places();
        let numbers = counts_from.map_or(u64::MAX, |first| MAX_SEQUENCE + 1 - first);
        Lane {
            near_end: geometry
                .end()
                .min(numbers)
                .saturating_sub(2 * geometry.span()),
            geometry,
            number,
            tail: CachePadded::new(AtomicU64::new(0)),
            bounds: CachePadded::new(Bounds {
                // The first lap overwrites nothing.
                horizon: AtomicU64::new(geometry.span()),
                limit: AtomicU64::new(geometry.span()),
                voids: AtomicU64::new(0),
                voided: AtomicU64::new(0),
                end: AtomicU64::new(geometry.end()),
            }),
            clear: CachePadded::new(Clear::default()),
            gates: words(geometry.gates()),
            granted: words(places),
            straddlers: Straddlers::new(&geometry),
            count: counts_from.map(|first| Count::new(first, &geometry)),
            slots: Slots::new(geometry),
        }
    }

    /// Which word of a row of pins is this lane's.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// One above the highest claimed index; claims beyond the end are refused, and no part of the
    /// lane.
    ///
    /// Relaxed: callers rely on claims that happen before what they acquired earlier (a stamp or
    /// the global sequence), and coherence makes the load see those.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Relaxed).min(self.end())
    }

    /// No index from here on is ever granted.
    #[inline(always)]
    pub(crate) fn end(&self) -> u64 {
        // Relaxed: who sees an end that has fallen late takes what is refused for unfinished until
        // then.
        self.bounds.end.load(Ordering::Relaxed)
    }

    /// Whether the end of indices or numbers may be near. Does not look at the tail, which others
    /// write to.
    #[inline(always)]
    pub(crate) fn is_near_end(&self) -> bool {
        // Relaxed: a hint. Nobody claims a lap beyond what is opened, and that lies below the
        // horizon.
        self.bounds.horizon.load(Ordering::Relaxed) >= self.near_end
    }

    /// Whether so many more indices may be there. If not, they never will be.
    #[cold]
    pub(crate) fn has_room_for(&self, count: u64) -> bool {
        count <= self.end() - self.tail()
    }

    /// How many indices were made void so far.
    pub(crate) fn voided(&self) -> u64 {
        // Relaxed: a figure.
        self.bounds.voided.load(Ordering::Relaxed)
    }

    /// The lowest index that may not be overwritten yet without a look at the pins, as far as the
    /// caller can see.
    #[inline(always)]
    pub(crate) fn oldest(&self) -> u64 {
        // Relaxed: after a pin, the fence orders this load (see pins.rs); elsewhere it is a hint.
        self.bounds.horizon.load(Ordering::Relaxed) - self.geometry.span()
    }

    // Publishing.

    /// Claims an index that is granted, and says how many voids are below it if the lane counts: at
    /// most as many tries as the lane has places.
    #[inline(always)]
    pub(crate) fn claim<'a>(
        &'a self,
        pins: impl FnOnce() -> PinTable<'a>,
    ) -> Result<(Claim<'a, T>, u64), ClaimError> {
        // Relaxed: where the claim has to be ordered before a number, it is sequenced before that
        // number's release, and nothing else is read off the tail.
        self.claim_as(pins, Ordering::Relaxed)
    }

    /// The same by a step of the tail with this order.
    #[inline(always)]
    fn claim_as<'a>(
        &'a self,
        pins: impl FnOnce() -> PinTable<'a>,
        order: Ordering,
    ) -> Result<(Claim<'a, T>, u64), ClaimError> {
        let index = self.tail.fetch_add(1, order);
        match self.clear.voids_below(index) {
            Some(voids) => Ok((self.own(index), voids)),
            None => self.claim_with_care(index, pins(), order),
        }
    }

    /// Claims until an index is granted, beginning with one that is claimed.
    #[cold]
    #[inline(never)]
    fn claim_with_care(
        &self,
        mut index: u64,
        pins: PinTable<'_>,
        order: Ordering,
    ) -> Result<(Claim<'_, T>, u64), ClaimError> {
        let mut more = self.geometry.span();
        loop {
            if self.admit(index, pins)? {
                let claim = self.own(index);
                let voids = self.voids_below_own(index);
                let number = self.number_at(index, voids);
                if number >= MAX_SEQUENCE {
                    // What is claimed behind the last one is refused before it takes a place.
                    self.end_at(index + 1);
                }
                return match number > MAX_SEQUENCE {
                    true => Err(ClaimError::Exhausted),
                    false => Ok((claim, voids)),
                };
            }
            if more == 0 {
                return Err(ClaimError::Stuck);
            }
            more -= 1;
            index = self.tail.fetch_add(1, order);
        }
    }

    /// Claims `count` indices, ascending: one fetch-add for all of them unless some are void, and
    /// one look at each gate.
    pub(crate) fn claim_block<'a>(
        &'a self,
        count: u64,
        pins: PinTable<'a>,
    ) -> Result<Block<'a, T>, ClaimError> {
        // Relaxed: as in `claim`.
        let first = self.tail.fetch_add(count, Ordering::Relaxed);
        // With every gate open and no place void the whole range is the caller's. Else each index
        // is looked at again, on its own: what was granted still is.
        let mut block = self.no_claims();
        if self.admit_all(first, count, pins) {
            block.range = first..first + count;
            block.end = Some(first + count);
            return Ok(block);
        }
        let mut claims = Vec::with_capacity(count as usize);
        for index in first..first + count {
            if self.admit(index, pins)? {
                claims.push(self.own(index));
            }
        }
        while claims.len() < count as usize {
            claims.push(self.claim(|| pins)?.0);
        }
        block.others = claims.into_iter();
        Ok(block)
    }

    /// Whether all of these claimed indices are granted. If so, they are the caller's.
    fn admit_all(&self, first: u64, count: u64, pins: PinTable<'_>) -> bool {
        let end = first.saturating_add(count);
        if end > self.end() {
            return false;
        }
        let mut from = first;
        while from < end {
            let to = self.geometry.chunk_end(from).min(end);
            let gate = self.opened(from, pins);
            if self.gate_laps(gate) != self.geometry.laps(from) || self.voids(gate, from..to) != 0 {
                return false;
            }
            from = to;
        }
        true
    }

    /// Whether a claimed index is granted: then it is the caller's.
    fn admit(&self, index: u64, pins: PinTable<'_>) -> Result<bool, ClaimError> {
        // No chunk is opened there: nobody comes past this.
        if index >= self.end() {
            self.pull_tail_back();
            return Err(ClaimError::Exhausted);
        }
        let (gate, laps) = (self.opened(index, pins), self.geometry.laps(index));
        Ok(match self.gate_laps(gate) == laps {
            true => self.is_open(gate, index),
            // The gate went on before the claimer looked. Relaxed: the decision that passed this
            // index by was acquired with the gate, and its opener raised `granted` before.
            false => self.granted[self.geometry.place(index)].load(Ordering::Relaxed) == laps,
        })
    }

    /// Takes claims beyond the end back, all of which are refused: else the tail would wrap some
    /// day.
    #[cold]
    fn pull_tail_back(&self) {
        let beyond = |tail| (tail > self.end()).then_some(self.end());
        // Relaxed: to all others the tail is at the end before and after it.
        let _ = self
            .tail
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, beyond);
    }

    /// The word of the gate of an index, opened for its lap at least.
    #[inline(always)]
    fn opened(&self, index: u64, pins: PinTable<'_>) -> u64 {
        let gate = self.gate_word(index);
        match self.gate_laps(gate) < self.geometry.laps(index) {
            true => self.open(index, pins),
            false => gate,
        }
    }

    #[inline(always)]
    fn gate_word(&self, index: u64) -> u64 {
        // Acquire: PAIR: the exchange in `decide`.
        self.gates[self.geometry.gate(index)].load(Ordering::Acquire)
    }

    /// How often the gate was opened.
    #[inline(always)]
    fn gate_laps(&self, gate: u64) -> u64 {
        gate >> self.geometry.chunk()
    }

    #[inline(always)]
    fn gate_bit(&self, index: u64) -> u64 {
        1 << (index & (self.geometry.chunk() - 1))
    }

    #[inline(always)]
    fn is_open(&self, gate: u64, index: u64) -> bool {
        gate & self.gate_bit(index) == 0
    }

    /// The bits of those of a chunk's indices, one at least, that are void.
    #[inline(always)]
    fn voids(&self, gate: u64, indices: Range<u64>) -> u64 {
        let count = indices.end - indices.start;
        gate & (((1 << count) - 1) * self.gate_bit(indices.start))
    }

    // Reading.

    /// What is to be seen at `index`, in a bounded number of steps. Needs no pin.
    #[inline(always)]
    pub(crate) fn peek(&self, index: u64) -> Peek {
        let (stamp, laps) = (self.slots.stamp(index), self.geometry.laps(index));
        if stamp.is_done(laps) {
            return Peek::Ready;
        }
        match stamp.laps().cmp(&laps) {
            std::cmp::Ordering::Greater => Peek::Lapped,
            std::cmp::Ordering::Equal => Peek::Left,
            // Relaxed: see `decide`.
            _ if self.bounds.voids.load(Ordering::Relaxed) == 0 => Peek::Pending,
            _ => self.peek_gate(index),
        }
    }

    #[cold]
    fn peek_gate(&self, index: u64) -> Peek {
        let gate = self.gate_word(index);
        match self.gate_laps(gate).cmp(&self.geometry.laps(index)) {
            std::cmp::Ordering::Greater => Peek::Lapped,
            std::cmp::Ordering::Equal if !self.is_open(gate, index) => Peek::Void,
            _ => Peek::Pending,
        }
    }

    /// Begins to fetch the frame of an index, to be read when it is pinned: behind the pin stands a
    /// fence.
    #[inline(always)]
    pub(crate) fn fetch_frame(&self, index: u64) {
        self.slots.fetch_frame(index);
    }

    /// Takes over the lines of these indices from the publisher who wrote them (see
    /// `subscription/flood.rs`).
    pub(crate) fn take_over(&self, indices: Range<u64>) {
        self.slots.take_over(indices, !self.counts());
    }

    /// The first index from `index` on, or `end`, whose stamp doesn't say that it is unwanted.
    #[inline(always)]
    pub(crate) fn pass_unwanted(&self, mut index: u64, end: u64, filter: &TagFilter) -> u64 {
        while index < end {
            let laps = self.geometry.laps(index);
            if index.is_multiple_of(8) {
                let place = self.geometry.place(index);
                let last = self.geometry.places().min(place + (end - index) as usize);
                index += filter.passes_over(self.slots.stamps(place..last), laps) as u64;
                if index >= end || self.geometry.laps(index) != laps {
                    continue;
                }
            }
            match self.slots.stamp(index).tag(laps) {
                Some(tag) if !filter.matches(tag) => index += 1,
                _ => break,
            }
        }
        index
    }

    /// The place in the order of `index`'s frame, in a lane that does not count.
    ///
    /// # Safety
    /// The caller holds a checked pin on `index` and `peek` said that it is ready.
    #[inline(always)]
    pub(crate) unsafe fn numbered(&self, index: u64) -> Numbered {
        // SAFETY: S3 by the caller; `Claim::fill` numbers every frame of such a lane.
        unsafe { self.slots.numbered(index) }
    }

    /// The tag of `index`'s frame, if it is there.
    #[inline(always)]
    pub(crate) fn tag(&self, index: u64) -> Option<u32> {
        self.slots.stamp(index).tag(self.geometry.laps(index))
    }

    /// Lends `index`'s frame to `f`.
    ///
    /// # Safety
    /// The caller holds a checked pin on `index` until `f` returns, and `peek` said that it is
    /// ready.
    #[inline(always)]
    pub(crate) unsafe fn read<R>(&self, index: u64, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: S3 by the caller.
        unsafe { self.slots.read(index, f) }
    }

    /// Lends the frames of `indices` to `f`, up to one that is not ready, that `f` is done with, or
    /// that is in the last place.
    ///
    /// # Safety
    /// The caller holds a checked pin on `indices` until this returns.
    #[inline(always)]
    pub(crate) unsafe fn lend(
        &self,
        indices: Range<u64>,
        f: impl FnMut(u64, &T) -> std::ops::ControlFlow<()>,
    ) {
        // SAFETY: S3 by the caller.
        unsafe { self.slots.lend(indices, f) }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::super::pins::Pins;
    use super::*;

    #[test]
    fn what_is_refused_does_not_move_the_tail_for_good() {
        for counts_from in [None, Some(1), Some(MAX_SEQUENCE - 5)] {
            let geometry = Geometry::for_window(16).ending_at(8);
            let lane = Lane::<u64>::new(geometry, 0, counts_from);
            let pins = Pins::new(1, 1);
            let pins = PinTable {
                pins: &pins,
                shard: 0,
            };
            let claimed = (0..100).filter(|_| match lane.claim(|| pins) {
                Ok((claim, _)) => claim.fill(0, None, 7).is_none(),
                Err(error) => {
                    assert_eq!(error, ClaimError::Exhausted);
                    false
                }
            });
            let most = if counts_from > Some(1) { 6 } else { 8 };
            assert_eq!(claimed.count(), most);
            assert!(lane.claim_block(3, pins).is_err());
            assert_eq!(lane.tail.load(Ordering::Relaxed), most as u64);
        }
    }
}
