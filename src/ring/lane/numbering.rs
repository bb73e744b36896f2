//! Index numbering: how the indices of a lane are the sequence numbers of a whole ring.
//!
//! A ring of one shard has one lane that all its frames can pass through. There a frame's sequence
//! number follows from its index: `first + index - voids below it`, since void indices carry no
//! frame and get no number. So the step of the tail that claims a slot is the step of the sequence
//! as well, numbers have no holes, and a frame of this lane needs neither a stored number nor an
//! order bound: its indices and its numbers have the same order. Terminal frames, which go into
//! the lane beside it, claim an index here for their number and abandon it.
//!
//! # Voids below an index
//! Chunks are opened in order. So when a chunk is opened, the number of voids below it is known,
//! and is the same for all threads that try: the voids below the chunk before it, and that chunk's
//! own. It is noted before the gate's word is exchanged, for the last [`LAPS`] laps of the chunk.
//! Notes only rise; an opener that is late writes what is there already, or its exchange fails. A
//! note is read between two looks at the gate, and holds unless the gate has come so far that the
//! note may have been overwritten.
//!
//! An owner may be so late that the note of its chunk does not hold any more. But then a later lap
//! found its slot unfinished, and noted the voids below the index by its slot, before the decision
//! that passed it by. That note stays until the owner is done.

use super::gate::Gates;
use crate::ring::slot::{Array, Geometry, words};
use crate::sync::{AtomicU64, Ordering, raise};

/// For how many laps of a chunk the number of voids below it is kept.
const LAPS: u64 = 4;

/// The numbers of an index-numbered lane, and its notes of voids.
pub(super) struct IndexNumbering {
    /// The sequence number of index 0. Never changes.
    first: u64,
    geometry: Geometry,
    /// For each of the last [`LAPS`] laps of a chunk: how many indices below it are void. Written
    /// by openers before they open the chunk; only rises.
    chunks: Array<AtomicU64>,
    /// For each slot: how many indices are void below the one whose owner was passed by. Written
    /// by openers before they pass it by; only rises.
    passed_by: Array<AtomicU64>,
}

impl IndexNumbering {
    pub(super) fn new(first: u64, geometry: &Geometry) -> Self {
        IndexNumbering {
            first,
            geometry: *geometry,
            chunks: words(geometry.chunks() * LAPS as usize),
            passed_by: words(geometry.slots()),
        }
    }

    /// The sequence number of index 0.
    #[inline(always)]
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The note of the chunk of `index` for its lap.
    fn note(&self, index: u64) -> &AtomicU64 {
        let lap = self.geometry.generation(index) % LAPS;
        &self.chunks[self.geometry.chunk_of(index) * LAPS as usize + lap as usize]
    }

    /// The number of voids below `end`. The chunk of the index before `end` is open in its lap;
    /// `None` if it is not any more.
    pub(super) fn voids_below(&self, end: u64, gates: &Gates) -> Option<u64> {
        let start = self.geometry.chunk_start(end - 1);
        let gate = gates.load(start);
        if gate.generation() != self.geometry.generation(start) {
            return None;
        }
        let here = gate.voids(start..end).count_ones();
        Some(self.voids_below_chunk(start, gates)? + u64::from(here))
    }

    /// The number of voids below the chunk at `start`, which was opened; `None` if that was too
    /// long ago.
    pub(super) fn voids_below_chunk(&self, start: u64, gates: &Gates) -> Option<u64> {
        // E10: acquire. A thread that reads a later lap's note sees the gate that its opener saw.
        let voids = self.note(start).load(Ordering::Acquire);
        // That opener was about to open the chunk for the lap `LAPS` later.
        let opened = gates.load(start).generation();
        let generation = self.geometry.generation(start);
        (generation..generation + LAPS - 1)
            .contains(&opened)
            .then_some(voids)
    }

    /// Notes the voids below the chunk at `start`, which is about to be opened.
    #[inline(always)]
    pub(super) fn note_chunk(&self, start: u64, voids: u64) {
        // E10: release.
        raise(self.note(start), voids, Ordering::Release);
    }

    /// Notes the voids below `index`, whose owner a later lap is about to pass by. `None` if its
    /// chunk was opened for that lap meanwhile.
    pub(super) fn note_passed_by(&self, index: u64, gates: &Gates) -> Option<()> {
        let voids = self.voids_below(index + 1, gates)?;
        // Relaxed: E2 carries it, from the exchange that passes the owner by.
        let note = &self.passed_by[self.geometry.slot(index)];
        raise(note, voids, Ordering::Relaxed);
        Some(())
    }

    /// The number of voids below `index`, which is the caller's.
    pub(super) fn voids_below_own(&self, index: u64, gates: &Gates) -> u64 {
        self.voids_below(index + 1, gates).unwrap_or_else(|| {
            // Relaxed: E2 carries it: the gate has moved on.
            self.passed_by[self.geometry.slot(index)].load(Ordering::Relaxed)
        })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Opens the chunk at `start` with these voids.
    fn open(numbering: &IndexNumbering, gates: &Gates, start: u64, void: u64) {
        let below = match start {
            0 => 0,
            start => numbering.voids_below(start, gates).unwrap(),
        };
        numbering.note_chunk(start, below);
        gates.open(start, gates.load(start), void).unwrap();
    }

    #[test]
    fn voids_are_known_for_some_laps_and_then_no_more() {
        let geometry = Geometry::exact(4, 2, 0, 1);
        let (numbering, gates) = (IndexNumbering::new(1, &geometry), Gates::new(&geometry));
        for chunk in 0..2 * LAPS {
            open(&numbering, &gates, 2 * chunk, 0b01);
            // One void in each chunk.
            assert_eq!(
                numbering.voids_below(2 * chunk + 1, &gates),
                Some(chunk + 1)
            );
            assert_eq!(numbering.voids_below_chunk(2 * chunk, &gates), Some(chunk));
        }
        // The laps of the first chunk: 0, 4, 8 and 12; the note of the first may be overwritten.
        let known = [0, 4, 8, 12].map(|start| numbering.voids_below_chunk(start, &gates));
        assert_eq!(known, [None, Some(2), Some(4), Some(6)]);
        assert_eq!(numbering.voids_below(9, &gates), None);
    }

    #[test]
    fn an_owner_that_was_passed_by_finds_its_voids() {
        let geometry = Geometry::exact(2, 1, 0, 1);
        let (numbering, gates) = (IndexNumbering::new(1, &geometry), Gates::new(&geometry));
        open(&numbering, &gates, 0, 1);
        open(&numbering, &gates, 1, 0);
        assert_eq!(numbering.voids_below_own(1, &gates), 1);
        open(&numbering, &gates, 2, 1);
        numbering.note_passed_by(1, &gates).unwrap();
        open(&numbering, &gates, 3, 1);
        assert_eq!(numbering.note_passed_by(1, &gates), None);
        assert_eq!(numbering.voids_below_own(1, &gates), 1);
    }
}
