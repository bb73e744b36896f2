//! Stragglers: frames that were overtaken, which a lapped reader may have lost late.
//!
//! A reader that was lapped goes on at `oldest`, the start of a chunk. To say where its losses lie,
//! it must know which of the frames below `oldest` may have a higher sequence number than a frame
//! that it still reads. Two kinds may. All others are numbered below every frame of their lane at
//! `oldest` or above.
//!
//! - **Unfinished** frames, whose owners may not have reserved a number yet. `Lane::unfinished`
//!   finds them: their slots are void in later laps and `granted` names them, or their chunk was
//!   not opened since.
//! - **Stragglers**: frames whose order bound lies beyond the end of their chunk. The bound is the
//!   tail after the number was reserved, so a publisher that claimed at `oldest` or above and has a
//!   smaller number claimed below the bound. The straggler's owner notes its number here before it
//!   stamps.
//!
//! The highest straggler of a chunk is kept for even and odd laps apart, so that the note of the
//! lap below `oldest` outlives the next lap. Notes only rise; a note that is read too late is too
//! high, and a bound still. A straggler that is more than a lap before the tail may be looked for
//! a lap too late, and is noted for the whole lane as well.
//!
//! A reader of a lane that frees may start anywhere in a chunk. There, each frame that was
//! overtaken is noted.

use crate::ring::slot::{Array, Geometry, Order, words};
use crate::sync::{AtomicU64, Ordering, raise};

/// The highest sequence numbers of a lane's stragglers.
pub(super) struct Stragglers {
    geometry: Geometry,
    /// A frame is a straggler if its order bound lies beyond the end of as many neighbours: a
    /// chunk, or 1 in a lane that frees. Never changes.
    unit: u64,
    /// By chunk, and by parity of the generation. Written by owners before they stamp; only rises.
    chunks: Array<AtomicU64>,
    /// Of the stragglers that are more than a lap before the tail. Only rises.
    late: AtomicU64,
}

impl Stragglers {
    pub(super) fn new(geometry: &Geometry, frees: bool) -> Self {
        Stragglers {
            geometry: *geometry,
            unit: if frees { 1 } else { geometry.chunk() },
            chunks: words(2 * geometry.chunks()),
            late: AtomicU64::new(0),
        }
    }

    /// The note of the chunk of `index`.
    fn note(&self, index: u64) -> &AtomicU64 {
        let parity = (self.geometry.generation(index) & 1) as usize;
        &self.chunks[2 * self.geometry.chunk_of(index) + parity]
    }

    /// The order of a claimed index with this sequence number and order bound, noted if it is a
    /// straggler. Called before the stamp.
    #[inline(always)]
    pub(super) fn assign_order(&self, index: u64, sequence: u64, bound: u64) -> Order {
        if bound > (index & !(self.unit - 1)) + self.unit {
            self.add(index, sequence, bound);
        }
        Order { sequence, bound }
    }

    #[cold]
    fn add(&self, index: u64, sequence: u64, bound: u64) {
        // Relaxed: E1 carries both, to a reader that sees the stamp, and with E2 to one that sees
        // a later gate.
        raise(self.note(index), sequence, Ordering::Relaxed);
        if bound > index + self.geometry.span() {
            raise(&self.late, sequence, Ordering::Relaxed);
        }
    }

    /// Returns a sequence number above those of all stragglers below `oldest` that were finished
    /// before the caller looked. Takes a step for each chunk.
    pub(super) fn below(&self, oldest: u64) -> u64 {
        // Relaxed: as in `add`.
        let late = self.late.load(Ordering::Relaxed);
        let end = self.geometry.chunk_end(oldest.max(1) - 1);
        (end.saturating_sub(self.geometry.span())..end)
            .step_by(self.geometry.chunk() as usize)
            .map(|start| self.note(start).load(Ordering::Relaxed))
            .fold(late, u64::max)
            + 1
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn only_frames_that_were_overtaken_past_their_chunk_are_noted() {
        let stragglers = Stragglers::new(&Geometry::exact(4, 2, 0, 1), false);
        stragglers.assign_order(0, 90, 2);
        assert_eq!(stragglers.below(4), 1);
        stragglers.assign_order(1, 7, 3);
        assert_eq!((stragglers.below(2), stragglers.below(4)), (8, 8));
        // The next lap of the chunk has a note of its own; the one after has this one's.
        assert_eq!((stragglers.below(6), stragglers.below(8)), (1, 1));
        stragglers.assign_order(4, 9, 7);
        assert_eq!((stragglers.below(4), stragglers.below(8)), (8, 10));
        // More than a lap before the tail: noted for the whole lane.
        stragglers.assign_order(2, 8, 7);
        assert_eq!((stragglers.below(4), stragglers.below(20)), (9, 9));
    }

    #[test]
    fn where_readers_start_anywhere_each_overtaken_frame_is_noted() {
        let stragglers = Stragglers::new(&Geometry::exact(4, 2, 0, 1), true);
        stragglers.assign_order(0, 90, 1);
        assert_eq!(stragglers.below(1), 1);
        stragglers.assign_order(0, 7, 2);
        assert_eq!((stragglers.below(1), stragglers.below(2)), (8, 8));
    }
}
