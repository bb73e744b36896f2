//! What numbers the frames may bear that a reader was lapped at.
//!
//! A reader that was lapped goes on at `oldest`, the start of a chunk. To say where its losses lie
//! it must know which of the frames below `oldest` may bear a higher number than one that it still
//! reads. Two kinds may; all others are numbered below every frame of their lane at `oldest` or
//! above:
//!
//! - **Unfinished** ones, whose owners may not have taken a number yet. `unfinished` finds them:
//!   their places are void in later laps and `granted` names them, or their chunk was not opened
//!   since.
//! - **Straddlers**: frames whose fence lies beyond the end of their chunk. The fence is the tail
//!   after the number was taken, so whoever claimed at `oldest` or above and has a smaller number
//!   claimed below the fence. Their owners note their numbers here before they stamp.
//!
//! The highest straddler's number of a chunk is kept apart for even and odd laps, so that the note
//! on the lap below `oldest` outlives the next one. Notes only rise; what is read too late is too
//! high, and a bound still. A straddler more than a lap behind the tail may be looked for a lap too
//! late, and is noted for the whole lane as well.

use super::super::array::{Array, words};
use super::super::geometry::Geometry;
use super::super::slots::Numbered;
use super::Lane;
use crate::sync::{AtomicU64, Ordering, raise};

/// See the module.
pub(super) struct Straddlers {
    /// By chunk and parity of the lap.
    numbers: Array<AtomicU64>,
    /// Of those more than a lap behind.
    late: AtomicU64,
}

impl Straddlers {
    pub(super) fn new(geometry: &Geometry) -> Self {
        Straddlers {
            numbers: words(2 * geometry.gates()),
            late: AtomicU64::new(0),
        }
    }

    fn of(&self, geometry: &Geometry, index: u64) -> &AtomicU64 {
        &self.numbers[2 * geometry.gate(index) + (geometry.laps(index) & 1) as usize]
    }
}

impl<T> Lane<T> {
    /// The place in the order of a claimed index, noted if it straddles. To be called before the
    /// stamp.
    #[inline(always)]
    pub(crate) fn numbering(&self, index: u64, sequence: u64, fence: u64) -> Numbered {
        if fence > self.geometry.chunk_end(index) {
            self.note_straddler(index, sequence, fence);
        }
        Numbered { sequence, fence }
    }

    #[cold]
    fn note_straddler(&self, index: u64, sequence: u64, fence: u64) {
        // Relaxed: the stamp's release carries both. PAIR: the stamp's acquire in `is_unfinished`,
        // or in `decide` and from there the gate's.
        let note = self.straddlers.of(&self.geometry, index);
        raise(note, sequence, Ordering::Relaxed);
        if fence > index + self.geometry.span() {
            raise(&self.straddlers.late, sequence, Ordering::Relaxed);
        }
    }

    /// Frames below `oldest` that were finished before the caller looked are numbered below this,
    /// or below every frame of the lane at `oldest` or above. Takes a step for each chunk.
    pub(crate) fn straddled_below(&self, oldest: u64) -> u64 {
        // Relaxed: as in `note_straddler`.
        let late = self.straddlers.late.load(Ordering::Relaxed);
        (oldest.saturating_sub(self.geometry.span())..oldest)
            .step_by(self.geometry.chunk() as usize)
            .map(|start| self.straddlers.of(&self.geometry, start))
            .map(|note| note.load(Ordering::Relaxed))
            .fold(late, u64::max)
            + 1
    }

    /// The indices below `oldest` whose owners may be unfinished. Takes a step for each chunk, and
    /// one for each place that was not opened again since `oldest`.
    pub(crate) fn unfinished(&self, oldest: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let chunks = (0..self.geometry.span()).step_by(self.geometry.chunk() as usize);
        for first in chunks {
            let gate = self.gate_word(first);
            // Places that went to an earlier lap's owner for good.
            for place in
                (first..self.geometry.chunk_end(first)).filter(|&it| !self.is_open(gate, it))
            {
                // Relaxed: acquired with the gate.
                let granted = self.granted[place as usize].load(Ordering::Relaxed);
                found.extend(
                    granted
                        .checked_sub(1)
                        .map(|lap| lap * self.geometry.span() + place),
                );
            }
            // Granted, or claimed and not looked at by anybody yet.
            let mut start = first + self.gate_laps(gate).saturating_sub(1) * self.geometry.span();
            while start < oldest {
                found.extend(start..self.geometry.chunk_end(start));
                start += self.geometry.span();
            }
        }
        found.retain(|&index| index < oldest && self.is_unfinished(index));
        found
    }

    /// Whether the owner of a claimed index may be at work on it yet, or get it.
    pub(crate) fn is_unfinished(&self, index: u64) -> bool {
        let laps = self.geometry.laps(index);
        if self.slots.stamp(index).laps() >= laps {
            return false;
        }
        let gate = self.gate_word(index);
        match self.gate_laps(gate).cmp(&laps) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => self.is_open(gate, index),
            // Relaxed: acquired with the gate.
            std::cmp::Ordering::Greater => {
                self.granted[self.geometry.place(index)].load(Ordering::Relaxed) == laps
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::ring::core::Core;
    use crate::ring::{FRAMES, RingConfig};

    /// A publisher may be suspended behind its claim, before it looks at its gate: a reader can be
    /// lapped there meanwhile, by another one's horizon, and its frame gets a number later.
    #[test]
    fn an_index_that_was_claimed_is_unfinished_until_it_is_written() {
        let geometry = Geometry::exact(2, 1, 1, 1);
        let config = RingConfig {
            frames: geometry,
            terminals: geometry,
            ..RingConfig::default()
        };
        let core = Core::<u64>::new(&config, true);
        let (lane, pins) = (&core.lanes[FRAMES], || core.pins(FRAMES));
        let numbered = |index| Some(lane.numbering(index, index + 1, index + 1));
        for _ in 0..2 {
            let (claim, _) = lane.claim(pins).unwrap();
            let index = claim.index();
            claim.fill(0, numbered(index), index);
        }
        assert!(lane.unfinished(2).is_empty());
        let claimed = lane.tail.fetch_add(1, Ordering::Relaxed);
        assert_eq!(lane.unfinished(claimed + 1), [claimed]);
        assert_eq!(lane.admit(claimed, pins()), Ok(true));
        assert_eq!(lane.unfinished(claimed + 1), [claimed]);
        lane.own(claimed).fill(0, numbered(claimed), claimed);
        assert!(lane.unfinished(claimed + 1).is_empty());
    }
}
