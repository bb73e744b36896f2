//! Waiters: how a reader that found nothing parks until there may be something.
//!
//! A reader of one shard waits there, in the **bucket** of its key. A reader of several shards
//! waits in the one bucket for all shards. A publisher must not pay for waiters that are not there:
//! after its stamp it runs a fence and loads one word of its shard, which is 0 when no waiter is
//! parked there and none for all shards is registered (`parked.rs`). Else it walks the buckets of
//! its two keys, that of any key, and the one for all shards, without a lock. It wakes the waiters
//! whose [interest](super::interest) matches, each at most once for each time that it parked.
//!
//! # No lost wake-up
//! ```text
//! waiter (register)                     publisher (wake)
//!   count += 1                            stamp := done
//!   parked := true        E11: release    fence(SeqCst)         E12
//!   fence(SeqCst)         E12             load the count; walk if it is not 0
//!   look again; park if nothing           load parked           E11: acquire
//! ```
//! If the waiter's fence comes first, the publisher sees the count, the waiter in its bucket and
//! the flag. If the publisher's comes first, the waiter's second look sees the frame.
//!
//! A frame that was seen may still be held back by an unfinished one before it, of any key and tag.
//! So a waiter that is interested in its own frames only must have nothing unfinished before them:
//! after it registered it asks `Subscription::is_behind`, and if so registers for any. E12 is
//! enough for that, too: if a publisher did not see the flag, the waiter's look at the tails sees
//! its claim, and with it every claim before.
//!
//! # Buckets
//! A bucket is a list of the [registry](super::super::registry), and a waiter has one of its rows
//! for as long as it likes. A publisher does not walk a bucket whose list is empty. When a waiter
//! leaves, another may take its row while a walker stands at it. The walker may then wake the new
//! waiter for nothing; that one looks again and parks.
//!
//! # Foreign code
//! A waker runs on the publisher's thread, in the middle of its walk, and may do anything. Its
//! panics end in its guard (`foreign.rs`), and a walk goes on whatever is registered or left
//! meanwhile, also by the waker.

use super::interest::{ANY_KEY, Interest, WaitTarget};
use super::parked::{ParkedCounts, ShardCount};
use crate::ring::registry::{Registry, Row, Walk};
use crate::ring::slot::TagFilter;
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicWaker, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::task::Waker;

/// The most buckets of a shard; a lane of 16 times as many slots has them all.
const MOST_BUCKETS: usize = 4_096;

/// A registered waiter, parked or not, until it [leaves](Waiters::leave).
pub(crate) struct Waiter {
    target: WaitTarget,
    /// The key of the bucket that it is in.
    bucket_key: u64,
    row: Row<WaiterState, 1>,
    /// Its interest when it last parked: the key, and whether tags are looked at.
    interest: (u64, bool),
}

/// What publishers see of a waiter. What they look at first stands first.
#[repr(C)]
pub(crate) struct WaiterState {
    /// Whether it is to be woken. Raised by its waiter only; lowered by the waiter or by the
    /// publisher that wakes it, whichever comes first, and that one counts it out.
    parked: AtomicBool,
    interest: Interest,
    /// Stored by its waiter; taken by the publisher that wakes it.
    waker: AtomicWaker,
}

impl Default for WaiterState {
    fn default() -> Self {
        WaiterState {
            parked: AtomicBool::new(false),
            interest: Interest::default(),
            waker: AtomicWaker::new(),
        }
    }
}

impl WaiterState {
    /// Lowers the parked flag. Returns true if it was up: then the caller counts the waiter out.
    fn lower(&self) -> bool {
        // E11: acquire. Of the waiter and the publishers, exactly one finds the flag up.
        self.parked.swap(false, Ordering::AcqRel)
    }
}

/// The waiters of a ring.
pub(crate) struct Waiters {
    parked: ParkedCounts,
    /// How many buckets a shard has for keys; one more is for [`ANY_KEY`]. Never changes.
    buckets: usize,
    /// The waiters for one shard: a group for each shard, a list for each bucket.
    of_shards: Arc<Registry<WaiterState, 1>>,
    /// The waiters for all shards: one group of one list.
    for_all: Arc<Registry<WaiterState, 1>>,
    /// How many were woken so far: a figure.
    woken: CachePadded<AtomicU64>,
}

impl Waiters {
    /// No waiters, for a ring of `shards` shards whose lanes have `slots` slots.
    pub(crate) fn new(shards: usize, slots: u64) -> Self {
        let buckets = (slots as usize / 16).clamp(1, MOST_BUCKETS);
        Waiters {
            parked: ParkedCounts::new(shards),
            buckets,
            of_shards: Arc::new(Registry::new(shards, buckets + 1)),
            for_all: Arc::new(Registry::new(1, 1)),
            woken: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// How many waiters are parked now, and how many were woken so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let parked = self.parked.each().map(ShardCount::parked).sum::<u64>();
        // Relaxed: a figure.
        let woken = self.woken.load(Ordering::Relaxed);
        (parked + self.parked.for_all(), woken)
    }

    /// The bucket of a key, in any shard.
    fn bucket(&self, key: u64) -> usize {
        match key {
            ANY_KEY => self.buckets,
            key => key as usize % self.buckets,
        }
    }

    /// A new waiter in the bucket of this key; `None` if there are too many.
    fn join(&self, target: WaitTarget, key: u64) -> Option<Waiter> {
        let row = match target {
            WaitTarget::Shard(shard) => Registry::take(&self.of_shards, shard, self.bucket(key)),
            WaitTarget::AllShards => Registry::take(&self.for_all, 0, 0),
        }?;
        if target == WaitTarget::AllShards {
            self.parked.add_for_all();
        }
        Some(Waiter {
            target,
            bucket_key: key,
            row,
            interest: (key, false),
        })
    }

    /// Takes a waiter out of its bucket, parked or not.
    pub(crate) fn leave(&self, waiter: Waiter) {
        self.deregister(&waiter);
        drop(waiter.row.waker.take());
        if waiter.target == WaitTarget::AllShards {
            self.parked.remove_for_all();
        }
    }

    /// Parks a waiter: `waker` is woken once, by a publish with this key and a tag that the filter
    /// lets through, if the caller does not see its frame when it looks again right after this. If
    /// that look finds something, the caller [deregisters](Self::deregister).
    ///
    /// Uses `waiter` if that is one for this target and key, else a new one. Returns `None` if
    /// there are too many waiters.
    ///
    /// A caller passes the same filter each time, or none.
    pub(crate) fn register(
        &self,
        waiter: Option<Waiter>,
        target: WaitTarget,
        key: u64,
        filter: Option<&TagFilter>,
        waker: &Waker,
    ) -> Option<Waiter> {
        let interest = (key, filter.is_some());
        // There is one bucket for all shards.
        let bucket_key = if target == WaitTarget::AllShards {
            ANY_KEY
        } else {
            key
        };
        let mut waiter = match waiter {
            Some(waiter) if (waiter.target, waiter.bucket_key) == (target, bucket_key) => {
                if waiter.interest != interest {
                    self.deregister(&waiter);
                }
                waiter
            }
            Some(waiter) => {
                self.leave(waiter);
                self.join(target, bucket_key)?
            }
            None => self.join(target, bucket_key)?,
        };
        waiter.interest = interest;
        let state = &*waiter.row;
        state.waker.register(waker);
        // Relaxed: only this thread raises the flag. A publisher that lowers an earlier one right
        // now wakes the waker just registered, or its frame is seen by the caller's next look.
        if !state.parked.load(Ordering::Relaxed) {
            state.interest.set(key, filter);
            // Before the flag can be lowered.
            self.parked.park(target);
            // E11: release. A publisher that sees the flag finds the interest and the count. A
            // swap, like all changes of the flag: it comes after a publisher's swap that lowered an
            // earlier one, and never before.
            state.parked.swap(true, Ordering::Release);
        }
        // E12: SeqCst fence, between the count and the caller's next look.
        fence(Ordering::SeqCst);
        Some(waiter)
    }

    /// Ends the wait, woken or not. Returns true if the waiter had been woken.
    pub(crate) fn deregister(&self, waiter: &Waiter) -> bool {
        let state = &*waiter.row;
        // Relaxed: only this thread raises the flag.
        let was_parked = state.parked.load(Ordering::Relaxed) && state.lower();
        if was_parked {
            self.parked.unpark(waiter.target);
        }
        !was_parked
    }

    /// Begins to fetch what `wake` looks at, if any waiter is parked: buckets are many, and cold.
    #[inline]
    pub(crate) fn prefetch(&self, shard: usize, keys: [u64; 2]) {
        if self.parked.of(shard).parked() != 0 {
            for key in keys {
                self.of_shards.prefetch(shard, self.bucket(key));
            }
        }
    }

    /// Wakes the waiters for a frame of this shard with one of these keys and this tag. The caller
    /// has published the frame.
    #[inline]
    pub(crate) fn wake(&self, shard: usize, keys: [u64; 2], tag: u32) {
        // E12: SeqCst fence, between the stamp and the count.
        fence(Ordering::SeqCst);
        let count = self.parked.of(shard);
        if !count.is_zero() {
            self.wake_matching(shard, keys, tag, count);
        }
    }

    #[cold]
    fn wake_matching(&self, shard: usize, keys: [u64; 2], tag: u32, count: ShardCount) {
        let matches = |state: &WaiterState| state.interest.matches(keys, tag);
        // A bucket that is walked twice wakes nobody twice.
        let buckets = [keys[0], keys[1], ANY_KEY].map(|key| self.bucket(key));
        let is_taken = |&bucket: &usize| !self.of_shards.is_vacant(shard, bucket);
        if count.parked() != 0 && buckets.iter().any(is_taken) {
            let walk = self.of_shards.enter(shard, || ());
            for bucket in buckets {
                self.walk(WaitTarget::Shard(shard), &walk, bucket, matches);
            }
        }
        if self.parked.for_all() > 0 {
            let walk = self.for_all.enter(0, || ());
            self.walk(WaitTarget::AllShards, &walk, 0, matches);
        }
    }

    /// Wakes all waiters.
    pub(crate) fn wake_all(&self) {
        // E12: SeqCst fence, between what the caller did and the counts.
        fence(Ordering::SeqCst);
        for (shard, count) in self.parked.each().enumerate() {
            if count.parked() != 0 {
                let walk = self.of_shards.enter(shard, || ());
                for bucket in 0..=self.buckets {
                    self.walk(WaitTarget::Shard(shard), &walk, bucket, |_| true);
                }
            }
        }
        let walk = self.for_all.enter(0, || ());
        self.walk(WaitTarget::AllShards, &walk, 0, |_| true);
    }

    /// Wakes the parked waiters of a bucket that `matches` accepts.
    fn walk(
        &self,
        target: WaitTarget,
        walk: &Walk<'_, WaiterState, 1>,
        bucket: usize,
        matches: impl Fn(&WaiterState) -> bool,
    ) {
        for state in walk.rows(bucket) {
            // E11: acquire. E12 makes a flag visible that must be seen.
            if state.parked.load(Ordering::Acquire) && matches(state) && state.lower() {
                self.parked.unpark(target);
                // Relaxed: a figure.
                self.woken.fetch_add(1, Ordering::Relaxed);
                state.waker.wake();
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_that_left_is_counted_in_no_shard() {
        let waiters = Waiters::new(2, 64);
        let zero = || waiters.parked.each().map(ShardCount::is_zero);
        for (target, zero_in) in [
            (WaitTarget::AllShards, [false, false]),
            (WaitTarget::Shard(1), [true, false]),
        ] {
            let waiter = waiters.register(None, target, 7, None, Waker::noop());
            assert!(zero().eq(zero_in));
            assert_eq!(waiters.counts(), (1, 0));
            waiters.leave(waiter.unwrap());
            assert!(zero().all(|is_zero| is_zero));
            assert_eq!(waiters.counts(), (0, 0));
        }
    }
}
