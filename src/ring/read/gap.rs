//! What a subscription lost, and when it tells it.
//!
//! Each number is one frame, and each frame is in one lane. A subscription to everything therefore
//! counts what it lost by numbers, exactly: a number that is missing below a proven one belonged to
//! a lapped lane. A narrower one counts the indices that its lanes lost, which is an upper bound:
//! they may have been other runs' frames, or void. It tells them before the next frame. Where they
//! lie it can't see, so each further gap is told as one that may have one of them, until none can:
//! the lapped lane gave a frame again, and what may be numbered above that one (`lane/lapped.rs`)
//! was passed.

use super::cursor::Cursor;
use super::subscription::{Delivery, Gap, Subscription};
use crate::ring::lane::LaneClass;
use std::ops::ControlFlow;

/// What was known to be lost when a poll began.
#[derive(Clone, Copy)]
pub(super) struct PendingGap {
    pub(super) lost: bool,
    pub(super) times_lapped: u64,
}

impl<T> Subscription<T> {
    /// Whether a loss may have to be told although no frame follows it.
    pub(super) fn has_unreported_gap(&self) -> bool {
        self.starts_before_the_ring()
            || self.cursors.iter().any(|cursor| self.may_have_lost(cursor))
    }

    /// Whether it has not told yet that the frames before the ring's first one are not here.
    fn starts_before_the_ring(&self) -> bool {
        self.last + 1 < self.core.first()
    }

    /// Whether a cursor lost indices that may be frames numbered above the last one given.
    fn may_have_lost(&self, cursor: &Cursor) -> bool {
        cursor.lapped || cursor.is_suspect(self.last)
    }

    /// What was lost between the position and `number`, which is proven to be the next. What lies
    /// before the ring's first frame is a gap of its own: then there may be more, from the gap's
    /// end on.
    pub(super) fn gap(&mut self, number: u64) -> Option<Gap> {
        let has_unreported_gap = self.has_unreported_gap();
        let number = match self.starts_before_the_ring() {
            true => number.min(self.core.first()),
            false => number,
        };
        if !has_unreported_gap {
            // What was not told of by now was void, and no frame.
            self.lost = 0;
        }
        let between = number - self.last - 1;
        let lost = match self.everything {
            true => between,
            // All may have been told before a lower frame, and still lie behind it.
            false => self.lost.max(u64::from(has_unreported_gap)).min(between),
        };
        self.lost -= self.lost.min(lost);
        (lost > 0).then(|| Gap {
            first: self.last + 1,
            last: number - 1,
            lost,
            expired: self.last + 1 < self.expired_below,
            terminals_lost: self.starts_before_the_ring()
                || self.cursors.iter().any(|cursor| {
                    self.may_have_lost(cursor) && cursor.lane.class() == LaneClass::Terminals
                }),
        })
    }

    /// All below `until` was given. What was lost behind the last frame, and noticed before
    /// `until` was loaded, is told now; what was noticed since may bear higher numbers.
    #[inline(always)]
    pub(super) fn report_rest(
        &mut self,
        until: u64,
        owed: PendingGap,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if until <= self.last + 1 || !self.everything && !owed.lost {
            return ControlFlow::Continue(());
        }
        if self.starts_before_the_ring()
            && let Some(gap) = self.gap(until)
        {
            self.last = gap.last;
            visit(Delivery::Gap(gap))?;
        }
        let gap = self.gap(until);
        if self.times_lapped == owed.times_lapped {
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
