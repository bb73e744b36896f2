//! Clear stretches: the newest indices of a lane among which none is void.
//!
//! Most often nothing is void. Then a claimer need not look for its gate: chunks are opened in
//! order, so an index below the end of the clear stretch, and not below its start, is granted. All
//! of a stretch have the same number of voids below them, which a lane that counts needs to know.
//!
//! An opener that found nothing void makes the stretch longer if its chunk is the next one, else
//! begins a new one there. All three words only rise, and those of a chunk are the same for all who
//! may write them; who writes late changes nothing. They are written in the order start, voids, end
//! and read in the order end, voids, start: who acquires an end sees a start that is at least as
//! new, and who acquires a count of voids that is newer than the index sees a start above it, and
//! goes by the gate.

use super::super::MAX_SEQUENCE;
use super::Lane;
use crate::sync::{AtomicU64, Ordering, raise};

/// See the module.
#[derive(Default)]
pub(super) struct Clear {
    start: AtomicU64,
    end: AtomicU64,
    /// Below the start, and so below each index of the stretch.
    voids: AtomicU64,
}

impl Clear {
    /// The voids below an index, if it is known to be granted.
    #[inline(always)]
    pub(super) fn voids_below(&self, index: u64) -> Option<u64> {
        self.voids_below_all(index, index + 1)
    }

    /// The voids below the indices from `first` to `end`, if they are known to be granted.
    #[inline(always)]
    pub(super) fn voids_below_all(&self, first: u64, end: u64) -> Option<u64> {
        // Acquire: PAIR: `lengthen`. With the end comes what its opener acquired for the places
        // below it.
        if end > self.end.load(Ordering::Acquire) {
            return None;
        }
        // Acquire: PAIR: `lengthen`. A start at least as new.
        let voids = self.voids.load(Ordering::Acquire);
        // Relaxed: the above acquired it.
        (first >= self.start.load(Ordering::Relaxed)).then_some(voids)
    }
}

impl<T> Lane<T> {
    /// Says that the chunks from `start` to `end`, which are open, have no void place, and so many
    /// below them. Not where numbers end: there, each claimer looks.
    #[inline(always)]
    pub(super) fn lengthen(&self, start: u64, end: u64, voids: u64) {
        let clear = &self.clear;
        // Where each place has a gate of its own, that says as much.
        let one_each = self.geometry.chunk() == 1;
        if one_each || end == start || self.number_at(end - 1, voids) >= MAX_SEQUENCE {
            return;
        }
        // Relaxed: only compared. An older end begins a stretch where none had to.
        if clear.end.load(Ordering::Relaxed) != start {
            // Relaxed: carried by the next two.
            raise(&clear.start, start, Ordering::Relaxed);
            // Release: PAIR: `voids_below_all`.
            raise(&clear.voids, voids, Ordering::Release);
        }
        // Release: PAIR: `voids_below_all`.
        raise(&clear.end, end, Ordering::Release);
    }
}
