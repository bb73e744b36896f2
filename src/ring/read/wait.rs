//! Waiting: a subscription lies down in a seat of the ring's rooms (`wait.rs`) and is woken there.

use super::cursor::Cursor;
use super::subscription::Subscription;
use crate::foreign::GuardedWaker;
use crate::ring::config::SubscribeError;
use crate::ring::wait::{ANY_KEY, WaitTarget};
use std::task::Waker;

/// Where the owner of these cursors waits.
fn wait_target(cursors: &[Cursor]) -> WaitTarget {
    let shard = |cursor: &Cursor| cursor.lane.shard();
    match (cursors.first(), cursors.last()) {
        (Some(first), Some(last)) if shard(first) == shard(last) => WaitTarget::Shard(shard(first)),
        _ => WaitTarget::AllShards,
    }
}

impl<T> Subscription<T> {
    /// Asks for `waker` to be woken, once, when something may have come: after a
    /// [`Ring::wake`](crate::ring::Ring::wake) with this key, or any if it is [`ANY_KEY`], and a
    /// tag that the subscription's filter lets through; with `None`, after any. Poll again before
    /// sleeping, and [`rise`](Self::rise) after. While it [is behind](Self::is_behind), what it
    /// waits for may be any frame.
    ///
    /// The waker may do what it likes when it is woken or dropped: publish, drop subscriptions,
    /// panic. Its panics go no further. It runs on the publisher's thread, and while it runs, that
    /// publisher waits for it.
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`] when too many wait already.
    ///
    /// # Panics
    /// If cloning `waker` does; nothing has changed then.
    pub fn register_waker(
        &mut self,
        key: Option<u64>,
        waker: &Waker,
    ) -> Result<(), SubscribeError> {
        // The clone comes before anything changes, and the old one is dropped when all has: foreign
        // code finds all in order.
        let replaced = self.waker.take_if(|own| !own.will_wake(waker));
        let own = self.waker.get_or_insert_with(|| GuardedWaker::new(waker));
        let place = wait_target(&self.cursors);
        let filter = self.filter.as_ref().filter(|_| key.is_some());
        let key = key.unwrap_or(ANY_KEY);
        let waiters = self.core.waiters();
        self.waiter = waiters.register(self.waiter.take(), place, key, filter, own.as_waker());
        drop(replaced);
        match self.waiter {
            Some(_) => Ok(()),
            None => Err(SubscribeError::TooMany),
        }
    }

    /// Whether something was claimed in its lanes that it has not passed: a frame to read, or a
    /// publish that is unfinished and may hold back what comes after it. Looks at what publishers
    /// write for each frame: to be asked before sleeping, not while keeping up.
    pub fn is_behind(&self) -> bool {
        let behind = |cursor: &Cursor| !cursor.is_past(self.core.lane(cursor.lane).tail());
        self.cursors.iter().any(behind)
    }

    /// Takes the wish to be woken back; whether it had been woken.
    pub fn deregister_waker(&mut self) -> bool {
        let waiters = self.core.waiters();
        self.waiter
            .as_ref()
            .is_some_and(|waiter| waiters.deregister(waiter))
    }
}
