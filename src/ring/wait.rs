//! Waiting: how a reader that found nothing sleeps until there may be something.
//!
//! A publisher must not pay for sleepers that are not there: after its stamp it runs a fence and
//! loads two counts, that of the sleepers who wait for anything and that of those whose key falls
//! into the same bucket as its own. Only if one is above zero does it walk the sleepers, without a
//! lock, and wake those that match, each once for each time that it slept.
//!
//! # No lost wake-up
//! ```text
//! sleeper                               publisher
//!   asleep := true, count += 1            stamp := done
//!   fence(SeqCst)                         fence(SeqCst)
//!   look again; sleep if nothing          load the counts; wake if there are any
//! ```
//! If the sleeper's fence comes first, the publisher sees the count and the flag. If the
//! publisher's comes first, the sleeper's second look sees the frame.

use super::table::Table;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, AtomicWaker, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::task::Waker;

const BUCKETS: usize = 16;

/// A key that matches every other one.
pub const ANY_KEY: u64 = u64::MAX;

struct Sleeper {
    key: AtomicU64,
    asleep: AtomicBool,
    waker: AtomicWaker,
}

impl Default for Sleeper {
    fn default() -> Self {
        Sleeper {
            key: AtomicU64::new(ANY_KEY),
            asleep: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }
}

/// Those who wait for frames.
pub(crate) struct Waiters {
    sleepers: Table<CachePadded<Sleeper>>,
    /// How many are asleep for any key, and for each bucket of keys.
    any: CachePadded<AtomicUsize>,
    buckets: CachePadded<[AtomicUsize; BUCKETS]>,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Waiters {
            sleepers: Table::new(),
            any: CachePadded::new(AtomicUsize::new(0)),
            buckets: CachePadded::new(std::array::from_fn(|_| AtomicUsize::new(0))),
        }
    }

    fn count(&self, key: u64) -> &AtomicUsize {
        if key == ANY_KEY {
            &self.any
        } else {
            &self.buckets[key as usize % BUCKETS]
        }
    }

    /// A place to sleep; `None` when there are too many.
    pub(crate) fn join(&self) -> Option<usize> {
        self.sleepers.take()
    }

    /// Gives the place back.
    pub(crate) fn leave(&self, seat: usize) {
        self.rise(seat);
        drop(self.sleepers.row(seat).waker.take());
        self.sleepers.give_back(seat);
    }

    /// Lies down: `waker` will be woken once by a publish with `key` that the caller may not see when
    /// it looks again right after this. If that look finds something, the caller rises.
    pub(crate) fn lie_down(&self, seat: usize, key: u64, waker: &Waker) {
        let sleeper = self.sleepers.row(seat);
        // Relaxed: only this thread changes the key, while nobody can see the flag up.
        if sleeper.key.load(Ordering::Relaxed) != key {
            self.rise(seat);
            sleeper.key.store(key, Ordering::Relaxed);
        }
        sleeper.waker.register(waker);
        // Relaxed: ordered by the fence; counted before the flag can be taken down.
        let count = self.count(sleeper.key.load(Ordering::Relaxed));
        count.fetch_add(1, Ordering::Relaxed);
        // Release: who sees the flag finds the key and the count. PAIR: `wake_matching`. If it was
        // up still, one count is enough: a publisher that takes it down right now wakes the waker
        // just registered, or its frame is seen by the caller's next look.
        if sleeper.asleep.swap(true, Ordering::Release) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        // SeqCst: PAIR: the fence in `wake`. See the module.
        fence(Ordering::SeqCst);
    }

    /// Gets up, woken or not; whether it had been woken.
    pub(crate) fn rise(&self, seat: usize) -> bool {
        let sleeper = self.sleepers.row(seat);
        // AcqRel: one of sleeper and publishers takes the flag down and with it the count.
        if sleeper.asleep.swap(false, Ordering::AcqRel) {
            self.count(sleeper.key.load(Ordering::Relaxed))
                .fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Wakes who waits for a frame with `key`; [`ANY_KEY`] for all. The caller made the frame
    /// visible and then ran a SeqCst fence, which pairs with the one in `lie_down`.
    #[inline]
    pub(crate) fn wake(&self, key: u64) {
        // Relaxed: ordered by the fences.
        let asleep = self.any.load(Ordering::Relaxed) + self.count(key).load(Ordering::Relaxed);
        if asleep > 0 || key == ANY_KEY {
            self.wake_matching(key);
        }
    }

    #[cold]
    fn wake_matching(&self, key: u64) {
        for sleeper in self.sleepers.iter() {
            // Acquire: PAIR: the swap in `lie_down`. The fence makes a flag seen that must be.
            if !sleeper.asleep.load(Ordering::Acquire) {
                continue;
            }
            let wanted = sleeper.key.load(Ordering::Relaxed);
            let matches = wanted == key || wanted == ANY_KEY || key == ANY_KEY;
            // AcqRel: as in `rise`.
            if matches && sleeper.asleep.swap(false, Ordering::AcqRel) {
                self.count(wanted).fetch_sub(1, Ordering::Relaxed);
                sleeper.waker.wake();
            }
        }
    }
}
