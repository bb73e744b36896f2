//! Waiting: a subscription lies down in a seat of the ring's rooms (`wait.rs`) and is woken there.

use super::super::cursor::Cursor;
use super::super::{ANY_KEY, SubscribeError};
use super::Subscription;
use crate::foreign::GuardedWaker;
use std::task::Waker;

impl<T> Subscription<T> {
    /// Asks for `waker` to be woken, once, when something may have come: after a
    /// [`Ring::wake`](super::super::Ring::wake) with this key, or any if it is [`ANY_KEY`], and a
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
    pub fn lie_down(&mut self, key: Option<u64>, waker: &Waker) -> Result<(), SubscribeError> {
        // The clone comes before anything changes, and the old one is dropped when all has: foreign
        // code finds all in order.
        let replaced = self.waker.take_if(|own| !own.will_wake(waker));
        let own = self.waker.get_or_insert_with(|| GuardedWaker::new(waker));
        let place = self.core.place_of(&self.cursors);
        let filter = self.filter.as_ref().filter(|_| key.is_some());
        let key = key.unwrap_or(ANY_KEY);
        let waiters = &self.core.waiters;
        self.seat = waiters.lie_down(self.seat.take(), place, key, filter, own.as_waker());
        drop(replaced);
        match self.seat {
            Some(_) => Ok(()),
            None => Err(SubscribeError::TooMany),
        }
    }

    /// Whether something was claimed in its lanes that it has not passed: a frame to read, or a
    /// publish that is unfinished and may hold back what comes after it. Looks at what publishers
    /// write for each frame: to be asked before sleeping, not while keeping up.
    pub fn is_behind(&self) -> bool {
        let behind = |cursor: &Cursor| !cursor.is_past(self.core.lanes[cursor.lane].tail());
        self.cursors.iter().any(behind)
    }

    /// Takes the wish to be woken back; whether it had been woken.
    pub fn rise(&mut self) -> bool {
        let waiters = &self.core.waiters;
        self.seat.as_ref().is_some_and(|seat| waiters.rise(seat))
    }
}
