//! The right to read slots: a checked pin.
//!
//! A [`Pinned`] stands for invariant S3 of the slots: as long as it exists, no publisher writes a
//! slot that it covers. Its constructor is unsafe, and what it offers is safe.

use crate::ring::lane::{Lane, Peek};
use crate::ring::slot::{Order, TagFilter};
use std::ops::{ControlFlow, Range};

/// Indices of a lane that a checked pin covers.
pub(super) struct Pinned<'a, T> {
    lane: &'a Lane<T>,
    indices: Range<u64>,
}

/// An index under a pin.
pub(super) struct Covered<'a, T> {
    lane: &'a Lane<T>,
    index: u64,
}

/// An index under a pin whose frame is there.
pub(super) struct Ready<'a, T> {
    lane: &'a Lane<T>,
    index: u64,
}

impl<'a, T> Pinned<'a, T> {
    /// # Safety
    /// As long as this exists, a pin of `lane` covers `indices`, and it was checked: it was set,
    /// then a SeqCst fence ran, then the lane's oldest index was found at or below
    /// `indices.start`.
    #[inline(always)]
    pub(super) unsafe fn new(lane: &'a Lane<T>, indices: Range<u64>) -> Self {
        Pinned { lane, indices }
    }

    /// The index, if it is covered.
    #[inline(always)]
    pub(super) fn at(&self, index: u64) -> Option<Covered<'a, T>> {
        if !self.indices.contains(&index) {
            return None;
        }
        Some(Covered {
            lane: self.lane,
            index,
        })
    }

    /// Lends the frames from `first` on to `visit`, at most those below `end`, up to one that is
    /// not ready, that `visit` is done with, that is in the last slot, or that is not covered.
    #[inline(always)]
    pub(super) fn lend(
        &self,
        first: &Covered<'a, T>,
        end: u64,
        visit: impl FnMut(u64, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let indices = first.index..end.min(self.indices.end);
        // SAFETY: S3: the contract of `new`; the first index is covered.
        unsafe { self.lane.slots().lend(indices, visit) }
    }

    /// The same, with the order of each frame, if it has one of its own.
    #[inline(always)]
    pub(super) fn lend_ordered(
        &self,
        first: &Covered<'a, T>,
        end: u64,
        mut visit: impl FnMut(u64, Option<Order>, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.lend(first, end, |index, frame| {
            let ready = Ready {
                lane: self.lane,
                index,
            };
            visit(index, ready.order(), frame)
        })
    }

    /// The same, up to one that the filter does not want, and one by one: what it does not want is
    /// not touched.
    #[inline(always)]
    pub(super) fn lend_wanted(
        &self,
        first: &Covered<'a, T>,
        end: u64,
        filter: &TagFilter,
        mut visit: impl FnMut(u64, Option<Order>, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let indices = first.index..end.min(self.indices.end);
        let lent = |index, frame: &T| {
            let ready = Ready {
                lane: self.lane,
                index,
            };
            visit(index, ready.order(), frame)
        };
        // SAFETY: S3: the contract of `new`; the first index is covered.
        unsafe { self.lane.slots().lend_wanted(indices, filter, lent) }
    }
}

impl<'a, T> Covered<'a, T> {
    /// What is to be seen there, and the right to read it if its frame is there.
    #[inline(always)]
    pub(super) fn peek(&self) -> Result<Ready<'a, T>, Peek> {
        match self.lane.peek(self.index) {
            // SAFETY: seen just now.
            Peek::Ready => Ok(unsafe { self.seen_ready() }),
            other => Err(other),
        }
    }

    /// The right to read it, if it was seen to be ready before.
    ///
    /// # Safety
    /// The index was seen to be ready under this pin, or under an earlier one of a cursor that was
    /// not lapped at it since.
    #[inline(always)]
    pub(super) unsafe fn seen_ready(&self) -> Ready<'a, T> {
        Ready {
            lane: self.lane,
            index: self.index,
        }
    }
}

impl<T> Ready<'_, T> {
    /// The frame's order; `None` in an index-numbered lane, where its index says it.
    #[inline(always)]
    pub(super) fn order(&self) -> Option<Order> {
        if self.lane.is_index_numbered() {
            return None;
        }
        // SAFETY: S3: covered and ready. Every frame of such a lane has an order.
        Some(unsafe { self.lane.slots().order(self.index) })
    }

    /// Lends the frame to `f`.
    #[inline(always)]
    pub(super) fn read<R>(self, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: S3: covered and ready.
        unsafe { self.lane.slots().read(self.index, f) }
    }
}
