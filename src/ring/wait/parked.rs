//! How many waiters are parked: a publisher loads one word to learn that it has nobody to wake.

use super::interest::WaitTarget;
use crate::ring::registry::MAX_ROWS;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crossbeam_utils::CachePadded;

/// The unit in which a shard's word counts waiters for all shards.
const FOR_ALL: u64 = 1 << 32;

// Neither count carries into the other.
const _: () = assert!((MAX_ROWS as u64) < FOR_ALL);

/// The counts of parked waiters.
///
/// All accesses are relaxed: E12 orders a waiter's count before its second look, and a publisher's
/// frame before its load of the count.
pub(super) struct ParkedCounts {
    /// For each shard: in bits 0 to 31, how many of its waiters are parked; in bits 32 to 63, how
    /// many waiters for all shards are registered, parked or not. Changed by waiters, and by the
    /// publishers that wake them.
    shards: Box<[CachePadded<AtomicU64>]>,
    /// How many waiters for all shards are parked. Changed like `shards`.
    for_all: CachePadded<AtomicUsize>,
}

/// The word of a shard, as it was loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ShardCount(u64);

impl ShardCount {
    /// Whether no waiter is parked in the shard, and none for all shards is registered.
    #[inline(always)]
    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// How many waiters are parked in the shard.
    #[inline(always)]
    pub(super) fn parked(self) -> u64 {
        self.0 & (FOR_ALL - 1)
    }
}

impl ParkedCounts {
    pub(super) fn new(shards: usize) -> Self {
        ParkedCounts {
            shards: (0..shards).map(|_| CachePadded::default()).collect(),
            for_all: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// The count of a shard.
    #[inline(always)]
    pub(super) fn of(&self, shard: usize) -> ShardCount {
        ShardCount(self.shards[shard].load(Ordering::Relaxed))
    }

    /// The counts of all shards, in order.
    pub(super) fn each(&self) -> impl Iterator<Item = ShardCount> {
        let load = |word: &CachePadded<AtomicU64>| ShardCount(word.load(Ordering::Relaxed));
        self.shards.iter().map(load)
    }

    /// How many waiters for all shards are parked.
    pub(super) fn for_all(&self) -> u64 {
        self.for_all.load(Ordering::Relaxed) as u64
    }

    /// Shows every shard that one more waiter for all shards is registered.
    pub(super) fn add_for_all(&self) {
        for word in &self.shards {
            word.fetch_add(FOR_ALL, Ordering::Relaxed);
        }
    }

    /// Takes [`add_for_all`](Self::add_for_all) back.
    pub(super) fn remove_for_all(&self) {
        for word in &self.shards {
            word.fetch_sub(FOR_ALL, Ordering::Relaxed);
        }
    }

    /// Counts a waiter that parks.
    pub(super) fn park(&self, target: WaitTarget) {
        self.change(target, 1);
    }

    /// Counts a parked waiter out.
    pub(super) fn unpark(&self, target: WaitTarget) {
        self.change(target, -1);
    }

    fn change(&self, target: WaitTarget, by: i64) {
        match target {
            WaitTarget::AllShards => self.for_all.fetch_add(by as usize, Ordering::Relaxed) as u64,
            // A waiter is counted out only after it was counted in: nothing carries into FOR_ALL.
            WaitTarget::Shard(shard) => self.shards[shard].fetch_add(by as u64, Ordering::Relaxed),
        };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_two_counts_of_a_shard_are_apart() {
        let counts = ParkedCounts::new(2);
        assert!(counts.each().all(ShardCount::is_zero));
        counts.park(WaitTarget::Shard(1));
        counts.add_for_all();
        assert!(!counts.of(0).is_zero());
        assert_eq!([0, 1].map(|shard| counts.of(shard).parked()), [0, 1]);
        counts.unpark(WaitTarget::Shard(1));
        assert!(!counts.of(1).is_zero());
        counts.park(WaitTarget::AllShards);
        assert_eq!((counts.for_all(), counts.of(1).parked()), (1, 0));
        counts.unpark(WaitTarget::AllShards);
        counts.remove_for_all();
        assert!(counts.each().all(ShardCount::is_zero));
        assert_eq!(counts.for_all(), 0);
    }
}
