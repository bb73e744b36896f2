//! Opening a chunk of places for its next lap: the one decision which of them are void.
//!
//! A chunk may be opened without a look at the pins while it lies below `limit`. Who needs more
//! raises `horizon` to where it wants to go, runs a SeqCst fence, scans the pins, and raises
//! `limit` to the first chunk that a pinned reader may touch (see `pins.rs` for why that is safe).
//! A chunk that a pin stands in is decided then and there, its pinned places void, and the limit
//! goes past it. A reader that is stuck thus costs publishers its pinned range once a lap.
//! `horizon` only tells readers what may be overwritten: indices from `horizon - places` on are
//! safe under a pin that was checked against it.

use super::super::pins::{self, PinTable};
use super::Lane;
use crate::sync::{Ordering, fence, fetch_to_write, raise};

/// How many bytes of slots are fetched ahead at once, at most.
const MOST_FETCHED: usize = 1_024;

impl<T> Lane<T> {
    /// Opens `index`'s chunk for its lap, unless another does first; returns the gate's new word.
    #[inline(never)]
    pub(super) fn open(&self, index: u64, gate: u64, pins: &PinTable) -> u64 {
        let start = self.geometry.chunk_start(index);
        // Acquire: PAIR: `raise` in `extend`. Reads that its scan saw ended happen before.
        if self.bounds.limit.load(Ordering::Acquire) < self.geometry.chunk_end(start) {
            self.extend(start, pins);
            let now = self.gate_word(index);
            if now != gate {
                return now;
            }
        }
        self.fetch(start + self.geometry.chunk());
        let void = match self.all_finished(start, gate) {
            true => 0,
            false => self.taken(start, gate, |_| false),
        };
        self.decide(start, gate, void)
    }

    /// Whether every place of the chunk was granted in the gate's lap and is finished. A place that was void
    /// then has an older stamp. Without a branch for each place.
    #[inline(always)]
    fn all_finished(&self, start: u64, gate: u64) -> bool {
        let first = self.geometry.place(start);
        let slots = &self.slots[first..first + self.geometry.chunk() as usize];
        let lap = self.gate_lap(gate);
        // One above the index that each place was granted, or 0.
        let (last, step) = match lap.checked_sub(1) {
            Some(lap) => (lap * self.geometry.span() + first as u64 + 1, 1),
            None => (0, 0),
        };
        // The stamps' acquire loads make the next owners' writes happen after the last ones'.
        let odd = slots.iter().enumerate().fold(0, |odd, (offset, slot)| {
            odd | slot.stamp().finished() ^ (last + step * offset as u64)
        });
        odd == 0
    }

    /// Fetches the slots and tags of the chunk at `start` while the one before it is filled: all at once, and
    /// not one by one behind a locked instruction.
    fn fetch(&self, start: u64) {
        let first = self.geometry.place(start);
        let chunk = first..first + self.geometry.chunk() as usize;
        fetch_to_write(&self.slots[chunk.clone()], MOST_FETCHED);
        fetch_to_write(&self.tags[chunk], MOST_FETCHED);
    }

    /// The bits of the places of a chunk that can't be granted for the lap of `start`. Notes who has them.
    fn taken(&self, start: u64, gate: u64, pinned: impl Fn(u64) -> bool) -> u64 {
        let mut void = 0;
        let lap = self.gate_lap(gate);
        let first = self.geometry.place(start);
        let places = first..first + self.geometry.chunk() as usize;
        let places = self.slots[places.clone()].iter().zip(&self.granted[places]);
        let in_its_lap = lap.saturating_sub(1) * self.geometry.span() + first as u64 + 1;
        for (offset, (slot, granted)) in (0..).zip(places) {
            let index = start + offset;
            let was_open = lap > 0 && self.is_open(gate, index);
            let last_granted = if was_open {
                in_its_lap + offset
            } else {
                // Relaxed: the decision that made the place void was acquired with the gate. Current
                // unless the exchange in `decide` will fail.
                granted.load(Ordering::Relaxed)
            };
            // The stamp's acquire load makes the next owner's writes happen after the last one's.
            if slot.stamp().finished() != last_granted || pinned(index) {
                void |= self.gate_bit(index);
                if was_open {
                    // Relaxed: the gate's release in `decide` carries it.
                    raise(granted, last_granted, Ordering::Relaxed);
                }
            }
        }
        void
    }

    /// Makes the one decision on a chunk for the lap of `start`: these places are void. Returns the
    /// gate's word afterwards, whoever wrote it.
    fn decide(&self, start: u64, gate: u64, void: u64) -> u64 {
        if void != 0 {
            // Relaxed: a reader that sees it late looks at the gates late, and only waits longer.
            self.bounds.voids.store(1, Ordering::Relaxed);
        }
        let next = (self.geometry.lap(start) + 1) << self.geometry.chunk() | void;
        // Release: PAIR: `gate_word`. A failure acquires what the other opener decided.
        let gates = &self.gates[self.geometry.gate(start)];
        match gates.compare_exchange(gate, next, Ordering::Release, Ordering::Acquire) {
            Ok(_) => {
                if void != 0 {
                    // Relaxed: a figure.
                    let count = u64::from(void.count_ones());
                    self.bounds.voided.fetch_add(count, Ordering::Relaxed);
                }
                next
            }
            Err(now) => now,
        }
    }

    /// Raises the limit above the chunk at `start`, or decides that chunk because a pin stands in
    /// it. The loop goes up by a chunk a turn, and only through chunks that pins stand in.
    fn extend(&self, start: u64, pins: &PinTable) {
        let end = self.geometry.chunk_end(start);
        // Relaxed: a hint of how far to go. Claimed it is: the caller's own index is below.
        let newest = self.tail.load(Ordering::Relaxed) - 1;
        let target = self.geometry.chunk_end(newest.max(start)) + self.geometry.slack();
        // Relaxed: ordered by the fence. PAIR: `Lane::oldest` after a pin.
        raise(&self.bounds.horizon, target, Ordering::Relaxed);
        // SeqCst: PAIR: the fence between a reader's pin and its look at the horizon.
        fence(Ordering::SeqCst);
        let ranges = || pins::ranges(pins, self.number);
        // Acquire: below it others have looked, and this thread may pass that on.
        let mut from = self.bounds.limit.load(Ordering::Acquire);
        loop {
            let conflict = ranges().map(|range| self.next_conflict(from, range)).min();
            let free = match conflict {
                Some(index) if index < target => self.geometry.chunk_start(index),
                _ => target,
            };
            if free >= end {
                // Release: PAIR: `open`.
                raise(&self.bounds.limit, free, Ordering::Release);
                return;
            }
            let mut gate = self.gate_word(free);
            while self.gate_lap(gate) < self.geometry.lap(free) + 1 {
                let void = self.taken(free, gate, |index| {
                    ranges().any(|range| self.next_conflict(index, range) == index)
                });
                gate = self.decide(free, gate, void);
            }
            from = free + self.geometry.chunk();
        }
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
