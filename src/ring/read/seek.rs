//! Where a subscription starts, and what had expired before.
//!
//! Numbers rise along a lane but for publishers that overlapped, so nothing less than a walk from
//! the oldest held frame finds the first one above a number for sure. What was overwritten before
//! that frame and may bear a higher number than the start is told as expired.

use super::cursor::{Candidate, Cursor};
use super::subscription::Subscription;
use crate::sync::{Ordering, fence};

impl<T> Subscription<T> {
    /// Moves to the first frame above `after`, or to the oldest that is held, and notes what
    /// had expired before. Passes over at most what the lanes hold.
    pub(in crate::ring) fn start(&mut self, after: Option<u64>) {
        self.last = after.unwrap_or(0);
        let held_from: Vec<_> = (0..self.cursors.len())
            .map(|at| self.first_held(at))
            .collect();
        for at in 0..self.cursors.len() {
            self.seek(at);
        }
        if after.is_none() {
            self.last = match held_from.iter().all(|&(expired, _)| expired == 0) {
                true => self.core.first() - 1,
                false => {
                    self.heads
                        .first()
                        .unwrap_or_else(|| self.core.next_sequence())
                        - 1
                }
            };
        }
        if let Some(lost @ 1..) = (self.core.first() - 1).checked_sub(self.last) {
            self.lost += lost;
            self.expired_below = self.core.first();
        }
        for (cursor, (expired, held)) in self.cursors.iter_mut().zip(held_from) {
            if expired > 0 {
                let lane = &self.core.lane(cursor.lane);
                let next = || self.core.next_sequence();
                let (lost, below) = cursor.expire(lane, expired, held, self.last, next);
                if lost > 0 {
                    self.lost += lost;
                    self.expired_below = self.expired_below.max(below);
                }
            }
        }
        self.heads.clear();
    }

    /// How many indices of a lane have expired, and the lowest number that it holds of any tag, if
    /// that can be seen.
    fn first_held(&mut self, at: usize) -> (u64, Option<u64>) {
        let expired = self.cursors[at].next();
        if expired == 0 {
            return (0, None);
        }
        let Cursor { lane, row, .. } = self.cursors[at];
        let mut probe = Cursor::new(self.core.lane(lane), lane, expired);
        probe.row = row;
        let own = std::mem::replace(&mut self.cursors[at], probe);
        let filter = self.filter.take();
        let (last, lost) = (std::mem::replace(&mut self.last, 0), self.lost);
        self.seek(at);
        self.cursors[at] = own;
        self.filter = filter;
        (self.last, self.lost) = (last, lost);
        (
            expired,
            Some(self.heads.of(at)).filter(|&head| head < u64::MAX),
        )
    }

    /// Moves one cursor to its first frame above `last`. Its number, if it could be seen, is left
    /// in `heads`.
    fn seek(&mut self, at: usize) {
        let core = self.core.clone();
        for _ in 0..self.most_rounds() {
            let cursor = &mut self.cursors[at];
            let (lane, row) = (&core.lane(cursor.lane), &self.rows[cursor.row]);
            if !cursor.approach(lane, self.filter.as_ref(), false) {
                self.heads.set(at, u64::MAX);
                return;
            }
            cursor.pin(lane, row);
            // SeqCst: as in `pin`.
            fence(Ordering::SeqCst);
            let lapped = cursor.check(lane, row);
            self.lost += lapped.err().unwrap_or(0);
            let before = cursor.next();
            let mut head = self.refresh(at);
            while let Candidate::Ready(number) = head
                && number <= self.last
            {
                self.cursors[at].discard();
                head = self.refresh(at);
            }
            let cursor = &mut self.cursors[at];
            cursor.unpin(lane, &self.rows[cursor.row]);
            if head != Candidate::Beyond || lapped.is_ok() && cursor.next() == before {
                return;
            }
        }
    }
}
