//! How many walkers are inside a group: what says when a block may be freed.
//!
//! Walkers count themselves in one of two counters. A block that was unlinked before a SeqCst fence
//! can have a walker at it only as long as that walker's counter has not been seen at 0 since: so
//! it is freed once each counter was, at whatever moments. There are two counters so that this
//! comes about while walkers never cease: new ones enter where the others are gone already, and so
//! the other counter falls to 0.

use crate::sync::{AtomicUsize, Ordering};
use crossbeam_utils::CachePadded;

/// The walkers that are inside a group.
#[derive(Default)]
pub(super) struct Walkers {
    /// How many count here. A walker enters one of the two and leaves the same.
    counters: [CachePadded<AtomicUsize>; 2],
    /// Which counter new walkers enter: 0 or 1. Stored under the mutex of the group.
    entrance: AtomicUsize,
}

/// A walker that is inside, until this is dropped.
pub(super) struct Inside<'a>(&'a AtomicUsize);

impl Walkers {
    /// Counts the caller, which then runs a SeqCst fence (E16) before it looks at a list.
    #[inline]
    pub(super) fn enter(&self) -> Inside<'_> {
        // Relaxed: either counter will do.
        let counter = &self.counters[self.entrance.load(Ordering::Relaxed)];
        // Relaxed: E16 orders it.
        counter.fetch_add(1, Ordering::Relaxed);
        Inside(counter)
    }

    /// Notes which counters are at 0, in addition to those in `drained`. Returns true if both were
    /// by now; else lets new walkers enter a counter that was. Called under the mutex of the group.
    pub(super) fn drain(&self, drained: &mut [bool; 2]) -> bool {
        for (drained, counter) in drained.iter_mut().zip(&self.counters) {
            // E15: acquire. What those that left had done happens before the blocks are freed.
            *drained = *drained || counter.load(Ordering::Acquire) == 0;
        }
        if *drained == [true; 2] {
            return true;
        }
        if let Some(empty) = drained.iter().position(|&drained| drained) {
            // Relaxed: a walker that still enters the other counter delays the freeing, and no
            // more.
            self.entrance.store(empty, Ordering::Relaxed);
        }
        false
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        // E15: release.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_seen_at_zero_although_there_is_always_a_walker_inside() {
        let walkers = Walkers::default();
        let mut inside = walkers.enter();
        let mut drained = [false; 2];
        assert!(!walkers.drain(&mut drained));
        assert_eq!(drained, [false, true]);
        // The next one enters the other counter before this one leaves.
        let next = walkers.enter();
        drop(std::mem::replace(&mut inside, next));
        assert!(walkers.drain(&mut drained));
        drop(inside);
    }
}
