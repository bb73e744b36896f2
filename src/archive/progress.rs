//! How far archivers have come, and which readers wait for them.

use super::error::Stored;
use super::process::Local;
use super::turns::lock;
use crate::event::BusEpoch;
use crate::foreign::contained;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

/// How far the archivers of this process have come, and the wakers of the readers that wait for
/// them.
#[derive(Debug)]
pub(super) struct Progress(Local<Mutex<State>>);

/// What the progress's lock guards.
#[derive(Debug, Default)]
struct State {
    /// For each bus that is followed, the sequence number up to which every frame is archived or
    /// recorded as lost.
    settled: HashMap<BusEpoch, u64>,
    /// The readers that wait for any of them.
    waiting: Waiting,
}

/// The wakers of readers that wait. Each is held weakly: that of a reader that is gone is not
/// woken.
#[derive(Debug, Default)]
struct Waiting {
    /// By the waker's address, which no other waker gets while the weak pointer is here.
    wakers: HashMap<usize, Weak<Waker>>,
    /// How many wakers there must be before those that are gone are removed.
    full: usize,
}

impl Waiting {
    /// With fewer wakers than this, those that are gone are not looked for.
    const FEW: usize = 16;

    /// Adds a waker, once however often it is added. O(1) amortised. Holds at most twice as many
    /// wakers as were alive at once, or [`FEW`](Self::FEW).
    fn add(&mut self, waker: &Arc<Waker>) {
        if self.wakers.len() >= self.full {
            self.wakers.retain(|_, waker| waker.strong_count() > 0);
            self.full = Self::FEW.max(2 * self.wakers.len());
        }
        let address = Arc::as_ptr(waker).addr();
        self.wakers.insert(address, Arc::downgrade(waker));
    }

    /// Wakes all readers that are not gone. A waker may do anything, so no lock may be held.
    fn wake(self) {
        for waker in self.wakers.into_values() {
            if let Some(waker) = waker.upgrade() {
                contained(|| waker.wake_by_ref());
                contained(|| drop(waker));
            }
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress(Local::new(Mutex::default()))
    }
}

impl Progress {
    /// Begins to follow a bus, of which nothing is settled yet. Returns false if another archiver
    /// follows it already.
    pub(super) fn begin(&self, epoch: BusEpoch) -> Stored<bool> {
        Ok(match lock(self.0.get()?).settled.entry(epoch) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(0);
                true
            }
        })
    }

    /// Settles a followed bus up to this sequence number, and wakes the readers that wait.
    pub(super) fn reached(&self, epoch: BusEpoch, sequence: u64) {
        self.change(|state| {
            state.settled.insert(epoch, sequence);
        });
    }

    /// Ends following a bus: nothing more is archived of it. Wakes the readers that wait.
    pub(super) fn end(&self, epoch: BusEpoch) {
        self.change(|state| {
            state.settled.remove(&epoch);
        });
    }

    /// Changes the state and wakes the readers that wait, after the lock is released.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let Ok(state) = self.0.get() else { return };
        let mut state = lock(state);
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.wake();
    }

    /// Returns whether the bus is settled up to this sequence number. If not, `waker` is woken when
    /// that may have changed. In a forked child there are no archivers, so everything is settled.
    pub(super) fn is_settled(
        &self,
        epoch: BusEpoch,
        sequence: u64,
        waker: Option<&Arc<Waker>>,
    ) -> bool {
        let Ok(state) = self.0.get() else {
            return true;
        };
        let mut state = lock(state);
        let reached = state.settled.get(&epoch);
        let settled = reached.is_none_or(|&reached| reached >= sequence);
        if let Some(waker) = waker.filter(|_| !settled) {
            state.waiting.add(waker);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUS: BusEpoch = BusEpoch::from_bits(7);

    fn waker() -> Arc<Waker> {
        Arc::new(Waker::noop().clone())
    }

    fn waiting(progress: &Progress) -> usize {
        lock(progress.0.get().unwrap()).waiting.wakers.len()
    }

    #[test]
    fn wakers_of_readers_that_are_gone_are_removed() {
        let progress = Progress::default();
        assert!(progress.begin(BUS).unwrap() && !progress.begin(BUS).unwrap());
        let staying: Vec<_> = (0..100).map(|_| waker()).collect();
        for _ in 0..100 {
            for staying in &staying {
                assert!(!progress.is_settled(BUS, 1, Some(staying)));
                assert!(!progress.is_settled(BUS, 1, Some(&waker())));
            }
        }
        assert!((100..=200).contains(&waiting(&progress)));
        drop(staying);
        for _ in 0..1_000 {
            assert!(!progress.is_settled(BUS, 1, Some(&waker())));
        }
        assert!(waiting(&progress) <= Waiting::FEW);
        progress.reached(BUS, 1);
        assert!(progress.is_settled(BUS, 1, Some(&waker())));
        assert_eq!(waiting(&progress), 0);
    }
}
