//! A subscription's waker, registered with the ring's waiters.

use crate::foreign::GuardedWaker;
use crate::ring::config::SubscribeError;
use crate::ring::slot::TagFilter;
use crate::ring::wait::{ANY_KEY, WaitTarget, Waiter, Waiters};
use std::task::Waker;

/// A waker and the waiter that wakes it. Empty until the first registration.
#[derive(Default)]
pub(super) struct Registration {
    waiter: Option<Waiter>,
    waker: Option<GuardedWaker>,
}

impl Registration {
    /// Registers `waker` for frames with this key, or any, and with a tag that the filter lets
    /// through.
    ///
    /// # Panics
    /// If cloning `waker` does; nothing has changed then.
    pub(super) fn register(
        &mut self,
        waiters: &Waiters,
        target: WaitTarget,
        key: Option<u64>,
        filter: Option<&TagFilter>,
        waker: &Waker,
    ) -> Result<(), SubscribeError> {
        // Foreign code runs before anything has changed, the clone, and after all has, the drop of
        // the replaced one.
        let replaced = self.waker.take_if(|own| !own.will_wake(waker));
        let own = self.waker.get_or_insert_with(|| GuardedWaker::new(waker));
        let filter = filter.filter(|_| key.is_some());
        let key = key.unwrap_or(ANY_KEY);
        self.waiter = waiters.register(self.waiter.take(), target, key, filter, own.as_waker());
        drop(replaced);
        if self.waiter.is_some() {
            Ok(())
        } else {
            Err(SubscribeError::TooMany)
        }
    }

    /// Takes the registration back. Returns whether the waker had been woken.
    pub(super) fn deregister(&self, waiters: &Waiters) -> bool {
        let waiter = self.waiter.as_ref();
        waiter.is_some_and(|waiter| waiters.deregister(waiter))
    }

    /// Gives the waiter up.
    pub(super) fn leave(&mut self, waiters: &Waiters) {
        if let Some(waiter) = self.waiter.take() {
            waiters.leave(waiter);
        }
    }
}
