//! Waiting: a subscription lies down in a seat of the ring's rooms (`wait.rs`) and is woken there.

use super::super::cursor::Cursor;
use super::super::{ANY_KEY, SubscribeError};
use super::Subscription;
use std::task::Waker;

impl<T> Subscription<T> {
    /// Asks for `waker` to be woken, once, when something may have come: after a
    /// [`Ring::wake`](super::super::Ring::wake) with this key, or any if it is [`ANY_KEY`], and
    /// a tag that the subscription's filter lets through; with `None`, after any. Poll again before
    /// sleeping, and [`rise`](Self::rise) after. While it [is behind](Self::is_behind), what it waits for may be
    /// any frame.
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`] when too many wait already.
    pub fn lie_down(&mut self, key: Option<u64>, waker: &Waker) -> Result<(), SubscribeError> {
        let place = self.core.place_of(&self.cursors);
        let filter = self.filter.as_ref().filter(|_| key.is_some());
        let key = key.unwrap_or(ANY_KEY);
        let waiters = &self.core.waiters;
        self.seat = waiters.lie_down(self.seat, place, key, filter, waker);
        match self.seat {
            Some(_) => Ok(()),
            None => Err(SubscribeError::TooMany),
        }
    }

    /// Whether something was claimed in its lanes that it has not passed: a frame to read, or a publish
    /// that is unfinished and may hold back what comes after it. Looks at what publishers write for
    /// each frame: to be asked before sleeping, not while keeping up.
    pub fn is_behind(&self) -> bool {
        let behind = |cursor: &Cursor| !cursor.is_past(self.core.lanes[cursor.lane].tail());
        self.cursors.iter().any(behind)
    }

    /// Takes the wish to be woken back; whether it had been woken.
    pub fn rise(&mut self) -> bool {
        self.seat.is_some_and(|seat| self.core.waiters.rise(seat))
    }
}
