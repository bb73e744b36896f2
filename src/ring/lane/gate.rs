//! Gates: which indices of a chunk are granted to their claimers, and which are void.
//!
//! Each chunk of slots has a gate, one word:
//!
//! | bits | |
//! | --- | --- |
//! | 0 to `chunk - 1` | one for each slot of the chunk: its index in this generation is void |
//! | `chunk` to 63 | the generation: how often the chunk was opened, once a lap |
//!
//! A chunk is opened for its next lap by one compare-exchange of its gate, so each index has one
//! verdict, whoever opened the chunk and whatever other openers saw. An index whose gate is open
//! in its generation is **granted** if its bit is clear, else **void**.
//!
//! # An owner that a later lap passes by
//! A claimer may be suspended between its claim and its look at the gate, and find the gate a lap
//! further on. `granted` then says what the verdict was. Before a decision makes a slot void whose
//! bit was clear, its opener raises the slot's `granted` to the generation in which the bit was
//! clear. `granted` only rises. Its new value is a function of the gate word alone, so an opener
//! that is late or loses the race writes a value that is already there. It never names an index
//! that was not granted, and no newer index of the slot can be granted while that one is
//! unfinished. So the claimer's index was granted if and only if `granted` is its generation.

use crate::ring::slot::{Array, Geometry, words};
use crate::sync::{AtomicU64, Ordering, raise};
use std::ops::Range;

/// A gate's word, as it was loaded.
#[derive(Clone, Copy)]
pub(super) struct Gate<'a> {
    word: u64,
    geometry: &'a Geometry,
}

impl Gate<'_> {
    /// How often the chunk was opened.
    #[inline(always)]
    pub(super) fn generation(self) -> u64 {
        self.word >> self.geometry.chunk()
    }

    /// Whether the slot of `index`, which is in this chunk, is void in this generation.
    #[inline(always)]
    pub(super) fn is_void(self, index: u64) -> bool {
        self.word & self.geometry.chunk_bit(index) != 0
    }

    /// The bits of the void ones among `indices`, at least one, all in this chunk.
    #[inline(always)]
    pub(super) fn voids(self, indices: Range<u64>) -> u64 {
        let count = indices.end - indices.start;
        self.word & (((1 << count) - 1) * self.geometry.chunk_bit(indices.start))
    }
}

/// The gates of a lane.
pub(super) struct Gates {
    geometry: Geometry,
    /// One for each chunk of slots.
    words: Array<AtomicU64>,
    /// For each slot: the generation in which it was last granted, if it was made void since; else
    /// an older such generation.
    granted: Array<AtomicU64>,
}

impl Gates {
    /// Gates that were never opened.
    pub(super) fn new(geometry: &Geometry) -> Self {
        Gates {
            geometry: *geometry,
            words: words(geometry.chunks()),
            granted: words(geometry.slots()),
        }
    }

    /// The gate of `index`'s chunk. The caller sees what its opener saw: the last owners of the
    /// chunk's slots finished, and the reads under earlier pins over.
    #[inline(always)]
    pub(super) fn load(&self, index: u64) -> Gate<'_> {
        let word = &self.words[self.geometry.chunk_of(index)];
        Gate {
            // E2: acquire.
            word: word.load(Ordering::Acquire),
            geometry: &self.geometry,
        }
    }

    /// A gate without void slots.
    #[inline(always)]
    pub(super) fn clear(&self, generation: u64) -> Gate<'_> {
        Gate {
            word: generation << self.geometry.chunk(),
            geometry: &self.geometry,
        }
    }

    /// Whether the chunk of `index` was opened for its lap.
    #[inline(always)]
    pub(super) fn is_open_for(&self, index: u64) -> bool {
        self.load(index).generation() >= self.geometry.generation(index)
    }

    /// Whether `index` is granted, by its chunk's gate, which is open for its lap or a later one.
    #[inline(always)]
    pub(super) fn is_granted(&self, index: u64, gate: Gate<'_>) -> bool {
        if gate.generation() == self.geometry.generation(index) {
            !gate.is_void(index)
        } else {
            self.was_granted(index)
        }
    }

    /// Whether `index` was granted, if a later lap passed it by.
    fn was_granted(&self, index: u64) -> bool {
        // Relaxed: E2 carries it. The decision that passed the index by came after the store.
        let granted = &self.granted[self.geometry.slot(index)];
        granted.load(Ordering::Relaxed) == self.geometry.generation(index)
    }

    /// The generation in which the slot of `index`, which is in the gate's chunk, was last granted.
    /// It is current if the next exchange of `gate` succeeds.
    #[inline(always)]
    pub(super) fn last_granted(&self, index: u64, gate: Gate<'_>) -> u64 {
        if gate.generation() > 0 && !gate.is_void(index) {
            return gate.generation();
        }
        // Relaxed: E2 carries it. The decision that made the slot void was acquired with the gate.
        self.granted[self.geometry.slot(index)].load(Ordering::Relaxed)
    }

    /// Notes that the slot of `index` was last granted in this generation, before a decision that
    /// makes it void.
    pub(super) fn note_granted(&self, index: u64, generation: u64) {
        // Relaxed: E2 carries it, from the exchange in `open`.
        let granted = &self.granted[self.geometry.slot(index)];
        raise(granted, generation, Ordering::Relaxed);
    }

    /// Opens the chunk at `start` for its lap, with these void slots, unless another thread opened
    /// it first: then returns `None`. `gate` is what the decision rests on.
    #[inline(always)]
    pub(super) fn open(&self, start: u64, gate: Gate<'_>, void: u64) -> Option<Gate<'_>> {
        let next = Gate {
            word: self.clear(self.geometry.generation(start)).word | void,
            ..self.clear(0)
        };
        let word = &self.words[self.geometry.chunk_of(start)];
        // E2: release. Later words of the gate are read-modify-writes and carry it on. Relaxed on
        // failure: the caller loads the gate again.
        word.compare_exchange(gate.word, next.word, Ordering::Release, Ordering::Relaxed)
            .is_ok()
            .then_some(next)
    }

    /// The granted indices below `oldest`, a chunk's start, whose owners may be unfinished, beside
    /// finished ones. Takes a step for each chunk, and one for each slot that was not opened again
    /// since `oldest`.
    pub(super) fn candidates_below(&self, oldest: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let (geometry, span) = (&self.geometry, self.geometry.span());
        for first in (0..span).step_by(geometry.chunk() as usize) {
            let gate = self.load(first);
            // Slots that stay with an owner of an earlier lap.
            for slot in (first..geometry.chunk_end(first)).filter(|&slot| gate.is_void(slot)) {
                // Relaxed: E2 carries it.
                let granted = self.granted[geometry.slot(slot)].load(Ordering::Relaxed);
                found.extend(granted.checked_sub(1).map(|lap| lap * span + slot));
            }
            // Indices that were granted, or that were claimed and whose gate nobody looked at yet.
            let mut start = first + gate.generation().saturating_sub(1) * span;
            while start < oldest {
                found.extend(start..geometry.chunk_end(start));
                start += span;
            }
        }
        found.retain(|&index| index < oldest);
        found
    }
}

/// How many indices of a lane were made void.
#[derive(Default)]
pub(super) struct Voids {
    /// 0 as long as no slot was made void: readers look at gates only if it is not.
    any: AtomicU64,
    /// A figure for statistics.
    count: AtomicU64,
}

impl Voids {
    /// Whether no slot was ever made void. A reader that learns late that one was looks at the
    /// gates late, and only waits longer. A thread that acquired a gate sees all that was noted
    /// before that gate's decision and those of the chunks before it.
    #[inline(always)]
    pub(super) fn are_none(&self) -> bool {
        // Relaxed: E2 carries it where it matters.
        self.any.load(Ordering::Relaxed) == 0
    }

    /// Notes that there are voids, before the decision that makes them.
    #[inline(always)]
    pub(super) fn expect(&self) {
        // Relaxed: see `are_none`.
        self.any.store(1, Ordering::Relaxed);
    }

    /// Counts the voids of a decision.
    #[inline(always)]
    pub(super) fn add(&self, count: u32) {
        // Relaxed: a figure.
        self.count.fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        // Relaxed: a figure.
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_gate_has_one_verdict_for_each_index() {
        let geometry = Geometry::exact(8, 4, 0, 1);
        let gates = Gates::new(&geometry);
        let first = gates.load(5);
        assert_eq!(first.generation(), 0);
        assert!(!gates.is_open_for(5));
        assert!(gates.open(4, first, 0b0110).is_some());
        // An opener that saw less loses.
        assert!(gates.open(4, first, 0).is_none());
        let gate = gates.load(5);
        assert!(gates.is_open_for(7) && !gates.is_open_for(12) && !gates.is_open_for(0));
        let granted = [4, 5, 6, 7].map(|index| gates.is_granted(index, gate));
        assert_eq!(granted, [true, false, false, true]);
        assert_eq!(gate.voids(5..6).count_ones(), 1);
        assert_eq!(gate.voids(4..8).count_ones(), 2);
        assert_eq!(gate.voids(7..8), 0);
    }

    #[test]
    fn an_owner_that_was_passed_by_finds_its_verdict() {
        let geometry = Geometry::exact(2, 1, 0, 1);
        let gates = Gates::new(&geometry);
        gates.open(0, gates.load(0), 0).unwrap();
        assert_eq!(gates.last_granted(2, gates.load(2)), 1);
        // Index 0 is unfinished: 2 is void, and so is 4.
        for start in [2, 4] {
            let gate = gates.load(start);
            gates.note_granted(start, gates.last_granted(start, gate));
            gates.open(start, gate, geometry.chunk_bit(start)).unwrap();
        }
        let gate = gates.load(0);
        let granted = [0, 2, 4].map(|index| gates.is_granted(index, gate));
        assert_eq!(granted, [true, false, false]);
        assert_eq!(gates.last_granted(0, gate), 1);
        assert_eq!(gates.candidates_below(6), [0, 4, 1, 3, 5]);
    }
}
