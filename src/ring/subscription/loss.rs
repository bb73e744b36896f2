//! What a subscription lost, and when it tells it.
//!
//! Each number is one frame, and each frame is in one lane. A subscription to everything
//! therefore counts what it lost by numbers, exactly: a number that is missing below a proven one
//! belonged to a lapped lane. A narrower one counts the indices that its lanes lost, which is an
//! upper bound: they may have been other runs' frames, or void. It tells them before the next
//! frame, and as long as a lapped lane has given no frame again, that each further gap may have
//! one of them.

use super::{Delivery, Gap, Subscription};
use std::ops::ControlFlow;

/// What was known to be lost when a poll began.
#[derive(Clone, Copy)]
pub(super) struct Owed {
    pub(super) lost: bool,
    pub(super) laps: u64,
}

impl<T> Subscription<T> {
    /// Whether a loss may have to be told although no frame follows it.
    pub(super) fn owes(&self) -> bool {
        match self.everything {
            true => self.is_suspect(),
            false => self.may_have_lost(),
        }
    }

    /// Whether a lane lost indices and has given no frame since.
    fn is_lapped(&self) -> bool {
        self.cursors.iter().any(|cursor| cursor.lapped)
    }

    /// Whether indices were lost that may be frames numbered above the last one given.
    pub(super) fn may_have_lost(&self) -> bool {
        self.is_lapped() || self.lost > 0 && self.is_suspect()
    }

    /// Whether a lost frame may yet get a number above the last one given, or has one.
    fn is_suspect(&self) -> bool {
        let last = self.last;
        self.cursors.iter().any(|cursor| cursor.is_suspect(last))
    }

    /// What was lost between the last frame and `number`, which is proven to be the next.
    pub(super) fn gap(&mut self, number: u64) -> Option<Gap> {
        let lapped = self.is_lapped();
        if !self.may_have_lost() {
            // What was not told of by now was void, and no frame.
            self.lost = 0;
        }
        let between = number - self.last - 1;
        let lost = match self.everything {
            true => between,
            // All may have been told before a frame of another lane, and still lie behind it.
            false => self.lost.max(u64::from(lapped)).min(between),
        };
        self.lost -= self.lost.min(lost);
        (lost > 0).then(|| Gap {
            first: self.last + 1,
            last: number - 1,
            lost,
            expired: self.last + 1 < self.expired_below,
            // A suspect cursor's loss may still be numbered: this gap may be that one.
            terminals_lost: self.cursors.iter().any(|cursor| {
                (cursor.lapped || cursor.is_suspect(self.last))
                    && self.core.lanes[cursor.lane].number() == super::super::TERMINALS
            }),
        })
    }

    /// All below `until` was given. What was lost behind the last frame, and noticed before
    /// `until` was loaded, is told now; what was noticed since may bear higher numbers.
    #[inline(always)]
    pub(super) fn tell_rest(
        &mut self,
        until: u64,
        owed: Owed,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if until <= self.last + 1 || !self.everything && !owed.lost {
            return ControlFlow::Continue(());
        }
        let gap = self.gap(until);
        if self.laps == owed.laps {
            self.cursors
                .iter_mut()
                .for_each(|cursor| cursor.lapped = false);
        }
        match gap {
            Some(gap) => {
                self.last = gap.last;
                visit(Delivery::Gap(gap))
            }
            None => ControlFlow::Continue(()),
        }
    }
}
