//! The tail: which indices are claimed, and where a lane ends.

use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// One above the highest claimed index. Claims beyond the lane's end are refused, and do not count.
pub(super) struct Tail(CachePadded<AtomicU64>);

impl Tail {
    pub(super) fn new() -> Self {
        Tail(CachePadded::new(AtomicU64::new(0)))
    }

    /// Claims the next `count` indices and returns the first.
    ///
    /// `order` is Relaxed where the claim itself orders nothing: a claim that has to be ordered
    /// before a sequence number is sequenced before that number's release (E8, E9). It is
    /// [`NUMBERED`] where the index is a number for a frame of another lane.
    #[inline(always)]
    pub(super) fn claim(&self, count: u64, order: Ordering) -> u64 {
        self.0.fetch_add(count, order)
    }

    /// Claims the indices from `first`, which was the tail, to `end`. If `first` is not the tail
    /// any more, nothing is claimed, and the tail is returned.
    #[inline(always)]
    pub(super) fn claim_from(&self, first: u64, end: u64) -> Result<(), u64> {
        // Relaxed on failure: as in `load`.
        self.0
            .compare_exchange(first, end, NUMBERED, Ordering::Relaxed)
            .map(drop)
    }

    /// The tail, at most `end`.
    ///
    /// Relaxed: a caller relies only on claims that happen before what it acquired earlier, a stamp
    /// or a sequence number; coherence makes this load see those.
    #[inline(always)]
    pub(super) fn load(&self, end: u64) -> u64 {
        self.0.load(Ordering::Relaxed).min(end)
    }

    /// The tail, at most `end`. The caller sees what was claimed in other lanes for smaller
    /// sequence numbers.
    #[inline(always)]
    pub(super) fn acquire(&self, end: u64) -> u64 {
        // E9: acquire.
        self.0.load(Ordering::Acquire).min(end)
    }

    /// Takes back claims beyond `end`, which were all refused: else the word would wrap some day.
    #[cold]
    pub(super) fn pull_back(&self, end: u64) {
        let beyond = |tail| (tail > end).then_some(end);
        // Relaxed: for all other threads the tail is `end` before and after it.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, beyond);
    }
}

/// The order of a claim that is a sequence number for frames of another lane.
// E9: release. A reader that acquires this step of the tail, or a later one, sees what the caller
// claimed before. E9: acquire. The caller sees what was claimed for smaller numbers.
pub(super) const NUMBERED: Ordering = Ordering::AcqRel;

/// The first index that is never granted.
pub(super) struct End(AtomicU64);

impl End {
    pub(super) fn new(end: u64) -> Self {
        End(AtomicU64::new(end))
    }

    #[inline(always)]
    pub(super) fn load(&self) -> u64 {
        // Relaxed: a thread that sees an end late takes what is refused for unfinished until then.
        self.0.load(Ordering::Relaxed)
    }

    /// Lowers the end to `index`, if it is above: sequence numbers end before the indices do.
    #[cold]
    pub(super) fn lower(&self, index: u64) {
        let lower = |end| (index < end).then_some(index);
        // Relaxed: see `load`. An error says that the end is already as low.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
    }
}
