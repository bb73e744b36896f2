//! The clear run: the newest indices of a lane among which none is void.
//!
//! Most often nothing is void. Then a claimer need not look at its gate: chunks are opened in
//! order, so an index below the end of the clear run, and not below its start, is granted. All
//! indices of a run have the same number of voids below them, which an index-numbered lane needs
//! to know.
//!
//! An opener that found nothing void extends the run if its chunk is the next one, else it begins
//! a new run there. All three words only rise, and their values for a chunk are the same for all
//! threads that may write them, so a late write changes nothing. They are written in the order
//! start, voids, end, and read in the order end, voids, start. A claimer that acquires an end sees
//! a start that is at least as new. A claimer that acquires a number of voids that is newer than
//! its index sees a start above its index, and looks at its gate.

use crate::sync::{AtomicU64, Ordering, raise};

/// The clear run. Openers write it, claimers read it. All words only rise.
#[derive(Default)]
pub(super) struct ClearRun {
    /// The first index of the run.
    start: AtomicU64,
    /// One above its last index.
    end: AtomicU64,
    /// How many indices below the run are void.
    voids: AtomicU64,
}

impl ClearRun {
    /// The number of voids below `index`, if the run says that it is granted.
    #[inline(always)]
    pub(super) fn voids_below(&self, index: u64) -> Option<u64> {
        self.voids_below_all(index, index + 1)
    }

    /// The number of voids below the indices from `first` to `end`, if the run says that all of
    /// them are granted.
    #[inline(always)]
    pub(super) fn voids_below_all(&self, first: u64, end: u64) -> Option<u64> {
        // E6: acquire. With the end comes what its opener acquired for the slots below it.
        if end > self.end.load(Ordering::Acquire) {
            return None;
        }
        // E7: acquire. With the voids comes a start at least as new.
        let voids = self.voids.load(Ordering::Acquire);
        // Relaxed: E6 and E7 carry it.
        (first >= self.start.load(Ordering::Relaxed)).then_some(voids)
    }

    /// Notes that the chunks from `start` to `end` are open, that none of their slots is void, and
    /// that `voids` indices below them are.
    #[inline(always)]
    pub(super) fn extend(&self, start: u64, end: u64, voids: u64) {
        // Relaxed: only compared. An opener that sees an older end begins a run where it need not.
        if self.end.load(Ordering::Relaxed) != start {
            // Relaxed: E6 and E7 carry it.
            raise(&self.start, start, Ordering::Relaxed);
            // E7: release.
            raise(&self.voids, voids, Ordering::Release);
        }
        // E6: release.
        raise(&self.end, end, Ordering::Release);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_extended_or_begun_again() {
        let run = ClearRun::default();
        assert_eq!(run.voids_below(0), None);
        run.extend(0, 4, 0);
        run.extend(4, 8, 0);
        assert_eq!((run.voids_below(0), run.voids_below(7)), (Some(0), Some(0)));
        assert_eq!(
            (run.voids_below_all(6, 8), run.voids_below_all(6, 9)),
            (Some(0), None)
        );
        // A chunk with voids lies between.
        run.extend(12, 16, 3);
        assert_eq!((run.voids_below(7), run.voids_below(11)), (None, None));
        assert_eq!(run.voids_below_all(12, 16), Some(3));
        // A late opener of an earlier run changes nothing.
        run.extend(8, 12, 0);
        assert_eq!((run.voids_below(11), run.voids_below(12)), (None, Some(3)));
    }
}
