//! A cursor: how far one subscription has come in one lane, and what it sees next there.
//!
//! Indices are scanned in ascending order, but two publishers of one lane can get index and
//! sequence number the other way round. A frame therefore has an order bound: every frame of its
//! lane with a smaller number has an index below it. The cursor scans up to the bound of the
//! lowest number that it has seen before it offers that frame. Frames that it scanned meanwhile are
//! held back, at most as many as there were publishers at once, or a batch beside one frame that
//! was published in between. Most often a frame's bound is the next index, and it is offered where
//! it is. Frames that have the numbers right after the last one delivered need no bound: nothing
//! can lie between, and [`Cursor::run`] lends them one after another.
//!
//! In an index-numbered lane, indices and numbers have the same order, and a frame has neither a
//! stored number nor a bound: the cursor knows how many voids are below its index. It counts those
//! that it passes, and asks the lane when it starts in the middle or was lapped.
//!
//! Invariants:
//! - **C0** Each call passes the lane that the cursor was made for, and the row of pins that its
//!   subscription has in the lane's shard. [`Merge`](super::merge::Merge) keeps it.
//! - **C1** `pinned` is empty, or a checked pin covers it: it was set, then a SeqCst fence ran,
//!   then the lane's oldest index was found at or below `pinned.start`.
//! - **C2** What is held back has an index below `next`, and while something is pinned, at or above
//!   `pinned.start`, and was seen to be ready.
//! - **C3** `offered` was seen to be ready, under this pin or an earlier one. Only another lap
//!   changes that, and a cursor that was lapped is moved on before a pin of it holds.

use super::pinned::{Pinned, Ready};
use super::suspects::Suspects;
use crate::ring::lane::{Lane, LaneId, Peek, PinRow};
use crate::ring::slot::{Order, TagFilter};
use std::ops::{ControlFlow, Range};

/// The number of voids below a cursor that has to ask for it.
const UNKNOWN: u64 = u64::MAX;

/// What a cursor offers to the merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Candidate {
    /// The frame with this sequence number is the lane's next.
    Ready(u64),
    /// The next index is not finished, or not claimed.
    Pending,
    /// More can be said under a pin further on.
    BeyondPin,
}

/// A frame that was scanned, and has to wait for a lower number.
#[derive(Clone, Copy, Debug)]
struct HeldBack {
    order: Order,
    index: u64,
}

/// A subscription's position in one lane.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Which lane. Never changes.
    lane: LaneId,
    /// Which of the subscription's rows of pins is that of the lane's shard. Never changes.
    row: usize,
    /// The lowest index that was not scanned.
    next: u64,
    /// In an index-numbered lane: how many indices below `next` are void, or [`UNKNOWN`].
    voids: u64,
    /// Scanned and not delivered, by descending sequence number.
    held_back: Vec<HeldBack>,
    /// The indices of the checked pin; empty between rounds.
    pinned: Range<u64>,
    /// The index whose frame was offered where it is; `u64::MAX` for none.
    offered: u64,
    suspects: Suspects,
}

/// A run in progress. Its end is kept apart, and stored when it ends, also by a panic of the
/// visitor.
struct Run<'a> {
    /// One above the last index that was lent.
    next: u64,
    /// What to add to an index to get its sequence number.
    offset: u64,
    cursor: &'a mut Cursor,
    last: &'a mut u64,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.next > self.cursor.next {
            self.cursor.next = self.next;
            self.cursor.suspects.forget_lap();
            *self.last = self.next.wrapping_add(self.offset) - 1;
        }
    }
}

impl Cursor {
    /// A cursor over the lane `id`, at index `next`: a chunk's start, or in a lane that frees,
    /// where all below is decided.
    pub(super) fn new<T>(lane: &Lane<T>, id: LaneId, row: usize, next: u64) -> Self {
        let knows_voids = !lane.is_index_numbered() || next == 0;
        Cursor {
            lane: id,
            row,
            next,
            voids: if knows_voids { 0 } else { UNKNOWN },
            held_back: Vec::new(),
            pinned: 0..0,
            offered: u64::MAX,
            suspects: Suspects::default(),
        }
    }

    /// A cursor at the same position, with nothing pinned.
    pub(super) fn unpinned(&self) -> Self {
        Cursor {
            held_back: self.held_back.clone(),
            suspects: self.suspects.clone(),
            pinned: 0..0,
            ..*self
        }
    }

    #[inline(always)]
    pub(super) fn lane(&self) -> LaneId {
        self.lane
    }

    #[inline(always)]
    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// The lowest index that was not scanned.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn suspects(&mut self) -> &mut Suspects {
        &mut self.suspects
    }

    /// Whether a frame that this cursor lost may be numbered above `last`.
    #[inline(always)]
    pub(super) fn may_have_lost_above(&self, last: u64) -> bool {
        self.suspects.may_be_above(last)
    }

    /// Whether the lane has nothing for this cursor below `tail`.
    #[inline(always)]
    pub(super) fn is_past(&self, tail: u64) -> bool {
        self.next >= tail && self.held_back.is_empty()
    }

    /// Whether this cursor of an index-numbered lane has passed the lane's tail, and every index
    /// below has a number below `sequence`. A publish that happens before the call claimed an index
    /// below that tail: the one whose number its frame has.
    #[inline(always)]
    pub(super) fn next_is_at_most<T>(&self, lane: &Lane<T>, sequence: u64) -> bool {
        self.voids != UNKNOWN
            && self.next >= lane.tail()
            && lane.sequence_at(self.next, self.voids) <= sequence
    }

    /// Passes over what needs no pin, in at most as many steps as a lap has indices. Returns
    /// whether there is something to pin for. If not, and if `eager`, begins to fetch the line of
    /// the next frame: for a reader that looks again at once, it comes together with the stamp's.
    #[inline]
    pub(super) fn skip_ahead<T>(
        &mut self,
        lane: &Lane<T>,
        filter: Option<&TagFilter>,
        eager: bool,
    ) -> bool {
        if self.voids == UNKNOWN {
            return true;
        }
        // Indices beyond a lap were published meanwhile, or have lapped this cursor.
        let end = self.next + lane.geometry().span();
        while self.next < end {
            if !self.skip_unwanted(lane, filter, end) {
                match lane.peek(self.next) {
                    Peek::Void => self.skip_void(),
                    Peek::Abandoned => self.next += 1,
                    Peek::Pending => {
                        if eager {
                            lane.prefetch_frame(self.next);
                        }
                        break;
                    }
                    Peek::Ready => {
                        lane.prefetch_frame(self.next);
                        return true;
                    }
                    Peek::Lapped => return true,
                }
            }
        }
        !self.held_back.is_empty()
    }

    fn skip_void(&mut self) {
        self.next += 1;
        self.voids += 1;
    }

    /// Passes over the next indices below `end` whose tags say that they are unwanted. Returns
    /// whether there were any.
    #[inline(always)]
    fn skip_unwanted<T>(&mut self, lane: &Lane<T>, filter: Option<&TagFilter>, end: u64) -> bool {
        let before = self.next;
        if let Some(filter) = filter {
            self.next = lane.skip_unwanted(before, end, filter);
        }
        self.next > before
    }

    /// The lowest index that this cursor may still touch: where it stands in a lane that frees.
    #[inline(always)]
    pub(super) fn lowest(&self) -> u64 {
        let held_back = self.held_back.iter().map(|held| held.index);
        held_back.fold(self.next, u64::min)
    }

    /// Sets a pin from the lowest wanted index on, unless one is set. The caller runs a SeqCst
    /// fence, then calls [`check`](Self::check).
    pub(super) fn pin<T>(&mut self, lane: &Lane<T>, row: &PinRow) {
        if !self.pinned.is_empty() {
            return;
        }
        let lowest = self.lowest();
        let held_back = self.held_back.iter();
        let bound = held_back.map(|held| held.order.bound).fold(0, u64::max);
        let count = (bound.saturating_sub(lowest))
            .max(lane.geometry().batch())
            .next_power_of_two();
        row.set(lane.class(), lowest, count.trailing_zeros());
        self.pinned = lowest..lowest + count;
    }

    /// Checks the pin after the fence. If it does not hold, the cursor was lapped: ends the pin,
    /// moves to the lowest index that is held, and returns how many indices were lost.
    pub(super) fn check<T>(&mut self, lane: &Lane<T>, row: &PinRow) -> Result<(), u64> {
        let oldest = lane.oldest();
        if oldest <= self.pinned.start {
            if self.voids == UNKNOWN {
                self.voids = lane.voids_below_start(self.next).unwrap_or(UNKNOWN);
            }
            if self.voids < UNKNOWN {
                return Ok(());
            }
        }
        let held = self.held_back.len();
        self.held_back.retain(|held| held.index >= oldest);
        let lost = (held - self.held_back.len()) as u64 + oldest.saturating_sub(self.next);
        if self.next < oldest {
            self.next = oldest;
            self.voids = if lane.is_index_numbered() { UNKNOWN } else { 0 };
        }
        self.unpin(lane, row);
        if lost > 0 {
            self.suspects.note_lapped();
        }
        self.suspects.find(lane, oldest);
        Err(lost)
    }

    /// Ends the pin, if there is one.
    pub(super) fn unpin<T>(&mut self, lane: &Lane<T>, row: &PinRow) {
        if !self.pinned.is_empty() {
            self.pinned = 0..0;
            if lane.frees() {
                row.stand(lane.class(), self.lowest());
            } else {
                row.clear(lane.class());
            }
        }
    }

    /// The right to read what the pin covers.
    #[inline(always)]
    fn pinned<'a, T>(&self, lane: &'a Lane<T>) -> Pinned<'a, T> {
        // SAFETY: C0, C1: the indices are those of a checked pin of this lane, or none. The pin
        // ends only in `unpin`, and no `Pinned` is kept beyond a call.
        unsafe { Pinned::new(lane, self.pinned.clone()) }
    }

    /// Takes the cache lines that were read under the pin.
    pub(super) fn acquire_lines<T>(&self, lane: &Lane<T>) {
        lane.acquire_lines(self.pinned.start..self.next.min(self.pinned.end));
    }

    /// Finds the lane's next frame by sequence number, as far as the pin covers.
    #[inline(always)]
    pub(super) fn candidate<T>(&mut self, lane: &Lane<T>, filter: Option<&TagFilter>) -> Candidate {
        let Some(filter) = filter else {
            // Most often nothing is held back, and the next frame is ready and offered where it is.
            if self.held_back.is_empty()
                && let Some(covered) = self.pinned(lane).at(self.next)
                && let Ok(ready) = covered.peek()
                && let Ok(sequence) = self.offer(self.order_of_next(lane, &ready))
            {
                return Candidate::Ready(sequence);
            }
            return self.search_all(lane);
        };
        self.search_wanted(lane, filter)
    }

    /// The order of the frame at `next`, which is ready.
    #[inline(always)]
    fn order_of_next<T>(&self, lane: &Lane<T>, ready: &Ready<'_, T>) -> Order {
        ready.order().unwrap_or_else(|| Order {
            sequence: lane.sequence_at(self.next, self.voids),
            bound: 0,
        })
    }

    /// Offers the frame at `next` where it is, if nothing can come before it.
    #[inline(always)]
    fn offer(&mut self, order: Order) -> Result<u64, Order> {
        if self.held_back.is_empty() && order.bound <= self.next + 1 {
            self.offered = self.next;
            return Ok(order.sequence);
        }
        Err(order)
    }

    // A search of its own for readers without a filter, which need not prepare for one.
    #[inline(never)]
    fn search_all<T>(&mut self, lane: &Lane<T>) -> Candidate {
        self.search(lane, None)
    }

    #[inline(never)]
    fn search_wanted<T>(&mut self, lane: &Lane<T>, filter: &TagFilter) -> Candidate {
        self.search(lane, Some(filter))
    }

    /// The same as [`candidate`](Self::candidate), whatever is held back and whatever comes next.
    #[inline(always)]
    fn search<T>(&mut self, lane: &Lane<T>, filter: Option<&TagFilter>) -> Candidate {
        if self.pinned.is_empty() {
            return Candidate::BeyondPin;
        }
        loop {
            if let Some(first) = self.held_back.last()
                && first.order.bound <= self.next
            {
                return Candidate::Ready(first.order.sequence);
            }
            let Some(covered) = self.pinned(lane).at(self.next) else {
                return Candidate::BeyondPin;
            };
            if self.skip_unwanted(lane, filter, self.pinned.end) {
                continue;
            }
            match covered.peek() {
                // Finished since it was skipped to, and unwanted.
                Ok(_) if !self.next_is_wanted(lane, filter) => self.next += 1,
                Ok(ready) => match self.offer(self.order_of_next(lane, &ready)) {
                    Ok(sequence) => return Candidate::Ready(sequence),
                    Err(order) => self.hold_back(order),
                },
                Err(Peek::Void) => self.skip_void(),
                Err(Peek::Abandoned) => self.next += 1,
                Err(Peek::Pending) => return Candidate::Pending,
                // Not under a checked pin. If it were, the next pin would find out.
                Err(Peek::Lapped | Peek::Ready) => return Candidate::BeyondPin,
            }
        }
    }

    /// Whether the frame at `next`, which was ready just now, is wanted. In a lane that frees, an
    /// unwanted one may be gone at any time.
    #[inline(always)]
    fn next_is_wanted<T>(&self, lane: &Lane<T>, filter: Option<&TagFilter>) -> bool {
        let is_wanted = |filter: &TagFilter| {
            let tag = lane.slots().tag(self.next);
            tag.is_some_and(|tag| filter.matches(tag))
        };
        filter.is_none_or(is_wanted)
    }

    /// Holds the frame at `next` back.
    fn hold_back(&mut self, order: Order) {
        let position = self
            .held_back
            .partition_point(|held| held.order.sequence > order.sequence);
        let index = self.next;
        self.held_back.insert(position, HeldBack { order, index });
        self.next += 1;
    }

    /// Lends frames to `visit` where they are, as long as they have the sequence numbers after
    /// `last` without a hole and `until` is not reached: nothing can lie between such frames,
    /// whatever their bounds. Lends nothing if a frame is held back.
    #[inline(always)]
    pub(super) fn run<T>(
        &mut self,
        lane: &Lane<T>,
        filter: Option<&TagFilter>,
        last: &mut u64,
        until: u64,
        mut visit: impl FnMut(u64, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let pinned = self.pinned(lane);
        let Some(first) = pinned.at(self.next).filter(|_| self.held_back.is_empty()) else {
            return ControlFlow::Continue(());
        };
        let (by_index, next) = (lane.is_index_numbered(), *last + 1);
        if by_index && lane.sequence_at(self.next, self.voids) != next {
            return ControlFlow::Continue(());
        }
        let offset = next.wrapping_sub(self.next);
        let most = until.saturating_sub(next);
        let end = self.next.saturating_add(most);
        let mut run = Run {
            next: self.next,
            offset,
            cursor: self,
            last,
        };
        let mut give = |index: u64, frame: &T| {
            run.next = index + 1;
            visit(index.wrapping_add(offset), frame)
        };
        if by_index {
            return match filter {
                None => pinned.lend(&first, end, give),
                Some(filter) => {
                    pinned.lend_wanted(&first, end, filter, |index, _, frame| give(index, frame))
                }
            };
        }
        let mut flow = ControlFlow::Continue(());
        let give_next = |index: u64, order: Option<Order>, frame: &T| {
            let is_next = order.is_some_and(|it| it.sequence == index.wrapping_add(offset));
            if is_next {
                flow = give(index, frame);
                flow
            } else {
                ControlFlow::Break(())
            }
        };
        // A break ends the loan; `flow` says whether it was the visitor's.
        let _ = match filter {
            None => pinned.lend_ordered(&first, end, give_next),
            Some(filter) => pinned.lend_wanted(&first, end, filter, give_next),
        };
        flow
    }

    /// Takes the frame that [`candidate`](Self::candidate) offered and lends it to `f`; `None` if
    /// none was offered.
    #[inline]
    pub(super) fn take<T, R>(&mut self, lane: &Lane<T>, f: impl FnOnce(&T) -> R) -> Option<R> {
        let held = self.held_back.last();
        let index = held.map_or(self.next, |held| held.index);
        let covered = self.pinned(lane).at(index)?;
        if held.is_none() && self.offered != index {
            return None;
        }
        self.discard();
        self.suspects.forget_lap();
        // SAFETY: C2 or C3.
        let ready = unsafe { covered.seen_ready() };
        Some(ready.read(f))
    }

    /// The same for a frame that was offered where it is, if nothing is held back. Goes on to offer
    /// the lane's next frame where that is, and returns its sequence number, if it is ready and
    /// nothing can come before it; else [`candidate`](Self::candidate) has to look.
    #[inline(always)]
    pub(super) fn take_in_place<T, R>(
        &mut self,
        lane: &Lane<T>,
        f: impl FnOnce(&T) -> R,
    ) -> Option<(R, Option<u64>)> {
        let index = self.next;
        if self.offered != index || !self.held_back.is_empty() {
            return None;
        }
        let pinned = self.pinned(lane);
        let covered = pinned.at(index)?;
        self.next += 1;
        self.suspects.forget_lap();
        // SAFETY: C3.
        let taken = unsafe { covered.seen_ready() }.read(f);
        let next = pinned.at(self.next).and_then(|next| next.peek().ok());
        let sequence = next.and_then(|ready| self.offer(self.order_of_next(lane, &ready)).ok());
        Some((taken, sequence))
    }

    /// Drops the frame that [`candidate`](Self::candidate) offered without a look at it.
    pub(super) fn discard(&mut self) {
        if self.held_back.pop().is_none() {
            self.next += 1;
        }
    }
}
