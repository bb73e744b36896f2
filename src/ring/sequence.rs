//! The counter of a ring of several shards: the sequence number of each frame.
//!
//! A ring of one shard does not use it: there a lane's indices are the sequence numbers
//! (`lane/numbering.rs`).

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// The highest sequence number that a frame can have: 2^62.
pub const MAX_SEQUENCE: u64 = 1 << 62;

/// From this number on, a reservation looks before it adds. The distance to [`MAX_SEQUENCE`] is
/// more than all threads can reserve at once.
const NEAR_END: u64 = MAX_SEQUENCE - (1 << 48);

/// All sequence numbers are used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exhausted;

/// The next sequence number, shared by the lanes of all shards.
pub(crate) struct Sequence {
    /// The number that the next frame gets. May rise above `MAX_SEQUENCE + 1` by what was refused.
    next: CachePadded<AtomicU64>,
    /// Set once `next` has passed [`NEAR_END`], never cleared.
    near_end: AtomicBool,
}

impl Sequence {
    /// A sequence whose first number is `first`.
    pub(crate) fn starting_at(first: u64) -> Self {
        Sequence {
            next: CachePadded::new(AtomicU64::new(first)),
            near_end: AtomicBool::new(first >= NEAR_END),
        }
    }

    /// Adds `count` and returns the number before, which may be too high.
    #[inline(always)]
    fn add(&self, count: u64) -> u64 {
        // E8: release. A reader that acquires these numbers, or later ones, sees the claims that
        // they are for. E8: acquire. The caller sees the claims for all smaller numbers; the order
        // bound of its frame relies on that.
        self.next.fetch_add(count, Ordering::AcqRel)
    }

    /// Reserves the next number. The caller has already claimed the slot.
    #[inline(always)]
    pub(crate) fn reserve(&self) -> Result<u64, Exhausted> {
        match self.add(1) {
            number if number < NEAR_END => Ok(number),
            number => self.reserved_near_end(number, 1),
        }
    }

    /// Reserves `count` consecutive numbers, all or none, and returns the first. The caller has
    /// already claimed the slots.
    #[inline]
    pub(crate) fn reserve_batch(&self, count: u64) -> Result<u64, Exhausted> {
        if !self.is_near_end() {
            let first = self.add(count);
            return if first < NEAR_END {
                Ok(first)
            } else {
                self.reserved_near_end(first, count)
            };
        }
        let after = |first: u64| Some(first + count).filter(|&end| end <= MAX_SEQUENCE + 1);
        // E8: release, E8: acquire, as in `add`. Relaxed on failure: nothing was reserved.
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let reserved = self.next.fetch_update(success, failure, after);
        reserved.map_err(|_| Exhausted)
    }

    /// Notes that the end is near, and refuses numbers above [`MAX_SEQUENCE`].
    #[cold]
    fn reserved_near_end(&self, first: u64, count: u64) -> Result<u64, Exhausted> {
        // Relaxed: a thread that sees it late adds without a look, far from the end.
        self.near_end.store(true, Ordering::Relaxed);
        if first + count <= MAX_SEQUENCE + 1 {
            Ok(first)
        } else {
            Err(Exhausted)
        }
    }

    #[inline(always)]
    fn is_near_end(&self) -> bool {
        // Relaxed: see `reserved_near_end`.
        self.near_end.load(Ordering::Relaxed)
    }

    /// Returns false if `count` more numbers can never be reserved. True is no promise: the
    /// reservation finds out. A publisher asks before it claims slots, since a claim that is
    /// refused its number has already overwritten older frames.
    #[inline(always)]
    pub(crate) fn may_reserve(&self, count: u64) -> bool {
        // Relaxed: a hint.
        let next = || self.next.load(Ordering::Relaxed).min(MAX_SEQUENCE + 1);
        !self.is_near_end() || count <= MAX_SEQUENCE + 1 - next()
    }

    /// Returns the next number: every publish that has returned got a smaller one. The caller then
    /// sees the claims of all smaller numbers.
    #[inline(always)]
    pub(crate) fn published_below(&self) -> u64 {
        // E8: acquire. Numbers above the last one were refused.
        self.next.load(Ordering::Acquire).min(MAX_SEQUENCE + 1)
    }

    /// A value that grows with each publish, for a comparison with itself. Orders nothing.
    pub(crate) fn activity(&self) -> u64 {
        // Relaxed: only compared with itself.
        self.next.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_consecutive_and_end_at_the_last_one() {
        let sequence = Sequence::starting_at(MAX_SEQUENCE - 3);
        assert_eq!(sequence.reserve_batch(2), Ok(MAX_SEQUENCE - 3));
        assert_eq!(sequence.published_below(), MAX_SEQUENCE - 1);
        // All or none.
        assert!(!sequence.may_reserve(3) && sequence.may_reserve(2));
        assert_eq!(sequence.reserve_batch(3), Err(Exhausted));
        assert_eq!(sequence.reserve(), Ok(MAX_SEQUENCE - 1));
        assert_eq!(sequence.reserve(), Ok(MAX_SEQUENCE));
        for _ in 0..3 {
            assert_eq!(sequence.reserve(), Err(Exhausted));
            assert_eq!(sequence.reserve_batch(1), Err(Exhausted));
            assert_eq!(sequence.published_below(), MAX_SEQUENCE + 1);
        }
        assert!(!sequence.may_reserve(1));
    }

    #[test]
    fn a_batch_that_crosses_into_the_end_is_checked_like_one_within_it() {
        let sequence = Sequence::starting_at(NEAR_END - 1);
        assert_eq!(sequence.reserve_batch(2), Ok(NEAR_END - 1));
        assert_eq!(sequence.reserve(), Ok(NEAR_END + 1));
        assert!(sequence.is_near_end());
    }
}
