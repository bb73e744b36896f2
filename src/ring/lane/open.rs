//! Opening a chunk of places for its next lap: the one decision which of them are void.
//!
//! Chunks are opened in order: who opens one opens those behind it first that are not. There are
//! few: each has claimers, who claimed and did not look yet.
//!
//! A chunk may be opened without a look at the pins while it lies below `limit`. Who needs more
//! raises `horizon` to where it wants to go, runs a SeqCst fence, scans the pins, and raises
//! `limit` to the first chunk that a pinned reader may touch (see `pins.rs` for why that is safe).
//! If that is the chunk to be opened, its pinned places are made void instead. A reader that is
//! stuck thus costs publishers its pinned range once a lap. `horizon` only tells readers what may
//! be overwritten: indices from `horizon - places` on are safe under a pin that was checked against
//! it.
//!
//! Who opens a chunk opens the next few as well if that takes no look at the pins and nothing in
//! them is void: then it is not to be done for each of them by who comes there.

use super::super::pins::PinTable;
use super::Lane;
use crate::sync::{Ordering, raise};
use std::ops::Range;

/// How many chunks are opened ahead at most, and no more than a lane's slack.
const AHEAD: u64 = 8;

impl<T> Lane<T> {
    /// Opens `index`'s chunk for its lap, unless another does first; returns the gate's new word.
    #[inline(never)]
    pub(super) fn open(&self, index: u64, pins: PinTable<'_>) -> u64 {
        let chunk = self.geometry.chunk();
        let last = self.geometry.chunk_start(index);
        let mut start = last;
        while start > 0 && !self.was_opened(start - chunk) {
            start -= chunk;
        }
        while start < last {
            self.open_next(start, pins);
            start += chunk;
        }
        let gate = self.open_next(last, pins);
        self.open_ahead(last + chunk);
        gate
    }

    /// Whether the chunk of an index was opened for its lap.
    #[inline(always)]
    pub(super) fn was_opened(&self, index: u64) -> bool {
        self.gate_laps(self.gate_word(index)) >= self.geometry.laps(index)
    }

    /// Opens the chunk at `start`, unless another does first; returns its gate's word. Those behind
    /// it are open, and acquired.
    fn open_next(&self, start: u64, pins: PinTable<'_>) -> u64 {
        // For this lap or the last one: nothing older, since a chunk in between was acquired.
        let gate = self.gate_word(start);
        if self.gate_laps(gate) >= self.geometry.laps(start) {
            return gate;
        }
        // Acquire: PAIR: `raise` in `extend`. Reads that its scan saw ended happen before.
        let pinned =
            match self.bounds.limit.load(Ordering::Acquire) < self.geometry.chunk_end(start) {
                true => self.extend(start, pins),
                false => 0,
            };
        let void = match pinned == 0
            && self
                .slots
                .all_finished(self.places(start), self.gate_laps(gate))
        {
            true => Some(0),
            false => self.taken(start, gate, pinned),
        };
        if let Some(void) = void
            && let Some(below) = self.count_voids(start)
            && self.decide(start, gate, void)
        {
            if void == 0 {
                self.lengthen(start, self.geometry.chunk_end(start), below);
            }
            return self.geometry.clear_gate(self.geometry.laps(start)) | void;
        }
        // Another opened it.
        self.gate_word(start)
    }

    /// Opens the chunks from `start` on, those behind it being open, if that is simple: no look at
    /// the pins, nothing void, and not beyond the last place or the lane's end.
    #[inline(always)]
    fn open_ahead(&self, start: u64) {
        let (chunk, laps) = (self.geometry.chunk(), self.geometry.laps(start));
        let first = self.geometry.place(start);
        let ahead = (AHEAD * chunk).min(self.geometry.slack());
        let last = self.geometry.places().min(first + ahead as usize);
        // While the chunk behind is filled: all lines at once, and not one by one behind a locked
        // instruction.
        self.slots.fetch(first..last, !self.counts());
        // Acquire: as in `open_next`.
        let limit = self.bounds.limit.load(Ordering::Acquire);
        let end = limit.min(start + (last - first) as u64);
        let end = end.min(self.geometry.end());
        if end <= start
            || !self
                .slots
                .all_finished(first..first + (end - start) as usize, laps - 1)
        {
            return;
        }
        // If a place was void the last time, the gate has another word.
        let gate = self.geometry.clear_gate(laps - 1);
        let (mut opened, mut voids) = (start, 0);
        while opened < end {
            match self.count_voids(opened) {
                Some(below) if self.decide(opened, gate, 0) => voids = below,
                _ => break,
            }
            opened += chunk;
        }
        self.lengthen(start, opened, voids);
    }

    /// The places of a chunk.
    #[inline(always)]
    fn places(&self, start: u64) -> Range<usize> {
        let first = self.geometry.place(start);
        first..first + self.geometry.chunk() as usize
    }

    /// The bits of the places of a chunk that can't be granted for the lap of `start`. Notes who
    /// has them. `None` if the gate moved on meanwhile.
    #[cold]
    fn taken(&self, start: u64, gate: u64, pinned: u64) -> Option<u64> {
        let mut void = pinned;
        let laps = self.gate_laps(gate);
        for index in start..self.geometry.chunk_end(start) {
            let place = self.geometry.place(index);
            let granted = &self.granted[place];
            let was_open = laps > 0 && self.is_open(gate, index);
            let last_granted = if was_open {
                laps
            } else {
                // Relaxed: the decision that made the place void was acquired with the gate.
                // Current unless the exchange in `decide` will fail.
                granted.load(Ordering::Relaxed)
            };
            // The stamp's acquire load makes the next owner's writes happen after the last one's.
            if self.slots.stamp(index).laps() != last_granted {
                void |= self.gate_bit(index);
            }
            if was_open && !self.is_open(void, index) {
                self.note_number(index - self.geometry.span())?;
                // Relaxed: the gate's release in `decide` carries it.
                raise(granted, last_granted, Ordering::Relaxed);
            }
        }
        Some(void)
    }

    /// Makes the one decision on a chunk for the lap of `start`, unless another did: these places
    /// are void. Whether it was made here.
    #[inline(always)]
    fn decide(&self, start: u64, gate: u64, void: u64) -> bool {
        if void != 0 {
            // Relaxed: a reader that sees it late looks at the gates late, and only waits longer.
            // Who acquires this gate or a later one sees it.
            self.bounds.voids.store(1, Ordering::Relaxed);
        }
        let next = self.geometry.clear_gate(self.geometry.laps(start)) | void;
        // Release: PAIR: `gate_word`. Relaxed: who goes on from here looks at the gate again.
        let gates = &self.gates[self.geometry.gate(start)];
        let decided = gates.compare_exchange(gate, next, Ordering::Release, Ordering::Relaxed);
        if decided.is_ok() && void != 0 {
            // Relaxed: a figure.
            let count = u64::from(void.count_ones());
            self.bounds.voided.fetch_add(count, Ordering::Relaxed);
        }
        decided.is_ok()
    }

    /// Raises the limit above the chunk at `start`, up to the next one that a pin stands in; if
    /// that is this one, returns the bits of its places that are pinned.
    #[cold]
    fn extend(&self, start: u64, pins: PinTable<'_>) -> u64 {
        // Relaxed: a hint of how far to go. Claimed it is, but by a batch that opens what it will
        // claim.
        let newest = self.tail().max(start + 1) - 1;
        let target = self.geometry.chunk_end(newest) + self.geometry.slack();
        // SeqCst: PAIR: the fence between a reader's pin and its look at the horizon is that of
        // `scan`.
        let scan = pins.scan(|| {
            // Relaxed: ordered by the fence. PAIR: `Lane::oldest` after a pin.
            raise(&self.bounds.horizon, target, Ordering::Relaxed);
        });
        let ranges = || scan.ranges(self.number);
        let conflict = ranges().map(|range| self.next_conflict(start, range)).min();
        let free = match conflict {
            Some(index) if index < target => self.geometry.chunk_start(index),
            _ => target,
        };
        if free > start {
            // Release: PAIR: `open_next`. Chunks behind this one were opened.
            raise(&self.bounds.limit, free, Ordering::Release);
            return 0;
        }
        let is_pinned =
            |&index: &u64| ranges().any(|range| self.next_conflict(index, range) == index);
        let pinned = (start..self.geometry.chunk_end(start)).filter(is_pinned);
        pinned.fold(0, |bits, index| bits | self.gate_bit(index))
    }

    /// The lowest index, not below `from`, that would overwrite what the pinned range may touch.
    fn next_conflict(&self, from: u64, (lowest, count): (u64, u64)) -> u64 {
        let places = self.geometry.span();
        let from = from.max(lowest + places);
        let offset = (from - lowest) & (places - 1);
        if offset < count {
            from
        } else {
            from + places - offset
        }
    }
}
