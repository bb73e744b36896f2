//! A cursor: how far one subscription has come in one lane, and what it sees next there.
//!
//! Indices are taken in ascending order, but two publishers of one lane can get index and number
//! the other way round. A frame therefore bears a fence: every frame of its lane with a smaller
//! number has an index below it. The cursor scans up to the fence of the lowest number that it saw
//! before it offers that one; scanned frames wait here as (number, index), at most as many as
//! there were publishers at once, or a batch beside one that was published in between. Most often
//! a frame's fence is right behind it, and it stays where it is until it is taken. Frames that
//! bear the numbers right after the last one given need no fence: nothing can lie between, and
//! [`Cursor::run`] lends them one after another.
//!
//! In a lane that counts (`lane/count.rs`) indices and numbers are never the other way round, and a
//! frame bears neither number nor fence: the cursor knows how many voids are below its index. It
//! counts those that it passes, and asks the lane when it starts in the middle or was lapped.
//!
//! Invariants:
//! - **C1** `pinned` is empty, or a checked pin covers it: it was set, then a SeqCst fence ran,
//!   then the lane's horizon was found low enough (`Lane::oldest() <= pinned.start`).
//! - **C2** what waits has an index below `next`, and while something is pinned, at or above
//!   `pinned.start`, and was seen to be ready.
//! - **C3** `offered` was seen to be ready, under this pin or an earlier one. Only another lap
//!   changes that, and a cursor that it passed by is moved on before a pin of it holds.

use crate::ring::lane::{Lane, LaneId, Peek, PinRow};
use crate::ring::slot::{Order, TagFilter};
use std::ops::{ControlFlow, Range};

/// How many voids are below a cursor that has to ask.
const UNKNOWN: u64 = u64::MAX;

/// What a cursor has to offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Candidate {
    /// The frame with this number is the lane's next.
    Ready(u64),
    /// The next index is not finished, or not claimed.
    Pending,
    /// More can be said under a pin further on.
    Beyond,
}

#[derive(Clone, Copy, Debug)]
struct HeldBack {
    sequence: u64,
    index: u64,
    bound: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The lane's place in the ring.
    pub(crate) lane: LaneId,
    /// Which of the subscription's rows of pins is that of the lane's shard.
    pub(crate) row: usize,
    /// The lowest index that was not scanned.
    next: u64,
    /// In a lane that counts: the void indices below `next`, or [`UNKNOWN`], and then `next` is a
    /// chunk's start.
    voids: u64,
    /// Scanned and not taken, by descending number.
    waiting: Vec<HeldBack>,
    pinned: Range<u64>,
    /// An index whose frame was offered where it is; or none.
    offered: u64,
    /// Whether indices were lost since a frame was last taken here.
    pub(crate) lapped: bool,
    /// Lost indices whose owners may not have taken their numbers yet.
    unsequenced: Vec<u64>,
    /// The other lost frames are numbered below this, or below all that the lane still holds.
    lost_below: u64,
}

/// How far a run came, kept apart while it goes on: the cursor and the last number learn it in the
/// end, also when a visitor panics.
struct Run<'a> {
    next: u64,
    ahead: u64,
    cursor: &'a mut Cursor,
    last: &'a mut u64,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.next > self.cursor.next {
            self.cursor.next = self.next;
            self.cursor.lapped = false;
            *self.last = self.next.wrapping_add(self.ahead) - 1;
        }
    }
}

impl Cursor {
    /// A cursor over the lane whose place in the ring is `at`, that starts at index `next`, a
    /// chunk's start.
    pub(crate) fn new<T>(lane: &Lane<T>, id: LaneId, next: u64) -> Self {
        Cursor {
            lane: id,
            row: 0,
            next,
            voids: if lane.is_index_numbered() && next > 0 {
                UNKNOWN
            } else {
                0
            },
            waiting: Vec::new(),
            pinned: 0..0,
            offered: u64::MAX,
            lapped: false,
            unsequenced: Vec::new(),
            lost_below: 0,
        }
    }

    /// A cursor at the same place that has nothing pinned.
    pub(crate) fn unpinned(&self) -> Self {
        Cursor {
            waiting: self.waiting.clone(),
            unsequenced: self.unsequenced.clone(),
            pinned: 0..0,
            ..*self
        }
    }

    /// The lowest index that was not scanned.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether a frame that this cursor lost may bear a number above `last`, or get one.
    pub(crate) fn is_suspect(&self, last: u64) -> bool {
        !self.unsequenced.is_empty() || last + 1 < self.lost_below
    }

    /// Finds out what numbers the frames may bear that were lost below `oldest`, the start of a
    /// chunk.
    fn find_suspects<T>(&mut self, lane: &Lane<T>, oldest: u64) {
        if lane.is_index_numbered() {
            return;
        }
        self.unsequenced = lane.unfinished(oldest);
        // After that: who is finished has noted its number.
        self.lost_below = self.lost_below.max(lane.stragglers_below(oldest));
    }

    /// Finds out how many of the frames below `oldest`, where this cursor starts, may be numbered
    /// above `last`, and below which number they are. `held` is the lowest that the lane still
    /// holds, if that was seen; else `next_number` is loaded.
    pub(crate) fn expire<T>(
        &mut self,
        lane: &Lane<T>,
        oldest: u64,
        held: Option<u64>,
        last: u64,
        next_sequence: impl FnOnce() -> u64,
    ) -> (u64, u64) {
        self.find_suspects(lane, oldest);
        // After that: who is finished had taken its number.
        let below = held.unwrap_or_else(next_sequence).max(self.lost_below);
        let numbered = oldest.min(below.saturating_sub(last + 1));
        self.lapped |= numbered > 0;
        (numbered + self.unsequenced.len() as u64, below)
    }

    /// Forgets owners of lost indices that are finished: their numbers are below `next_number`,
    /// which is loaded now.
    #[inline]
    pub(crate) fn settle_suspects<T>(
        &mut self,
        lane: &Lane<T>,
        next_sequence: impl FnOnce() -> u64,
    ) {
        if !self.unsequenced.is_empty() {
            let before = self.unsequenced.len();
            self.unsequenced.retain(|&index| lane.is_unfinished(index));
            if self.unsequenced.len() < before {
                self.lost_below = next_sequence();
            }
        }
    }

    fn lowest(&self) -> u64 {
        self.waiting
            .iter()
            .map(|seen| seen.index)
            .fold(self.next, u64::min)
    }

    /// Passes over what needs no pin; whether there is something to pin for. If not, the next
    /// frame's line is fetched if `eager`: then it comes together with its stamp's line, for who
    /// looks again at once.
    #[inline]
    pub(crate) fn approach<T>(
        &mut self,
        lane: &Lane<T>,
        filter: Option<&TagFilter>,
        eager: bool,
    ) -> bool {
        if self.voids == UNKNOWN {
            return true;
        }
        // Bounded by one lap: further indices were published meanwhile, or have lapped this cursor.
        let end = self.next + lane.geometry().span();
        while self.next < end {
            if !self.pass_over(lane, filter, end) {
                match lane.peek(self.next) {
                    Peek::Void => self.pass_void(),
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
        !self.waiting.is_empty()
    }

    fn pass_void(&mut self) {
        self.next += 1;
        self.voids += 1;
    }

    /// The number of the frame at `next`, which is ready.
    ///
    /// # Safety
    /// A checked pin covers `next`, and it was seen to be ready.
    #[inline(always)]
    unsafe fn numbered<T>(&self, lane: &Lane<T>) -> Order {
        match lane.is_index_numbered() {
            true => Order {
                sequence: lane.sequence_at(self.next, self.voids),
                bound: 0,
            },
            // SAFETY: by the caller.
            false => unsafe { lane.slots().order(self.next) },
        }
    }

    /// Passes over the next indices below `end` whose tags say that they are not wanted; whether
    /// there were any.
    #[inline(always)]
    fn pass_over<T>(&mut self, lane: &Lane<T>, filter: Option<&TagFilter>, end: u64) -> bool {
        let before = self.next;
        if let Some(filter) = filter {
            self.next = lane.skip_unwanted(before, end, filter);
        }
        self.next > before
    }

    /// Stores a pin from the lowest wanted index on. The caller runs a SeqCst fence, then
    /// [`check`](Self::check).
    pub(crate) fn pin<T>(&mut self, lane: &Lane<T>, row: &PinRow) {
        let lowest = self.lowest();
        let bound = self.waiting.iter().map(|seen| seen.bound).fold(0, u64::max);
        let count = (bound.saturating_sub(lowest))
            .max(lane.geometry().batch())
            .next_power_of_two();
        row.set(lane.class(), lowest, count.trailing_zeros());
        self.pinned = lowest..lowest + count;
    }

    /// Whether the pin holds. If not, the cursor was lapped: the pin is cleared, the cursor moves
    /// to the lowest index that is held and says how many indices it lost.
    pub(crate) fn check<T>(&mut self, lane: &Lane<T>, row: &PinRow) -> Result<(), u64> {
        let oldest = lane.oldest();
        if oldest <= self.pinned.start {
            if self.voids == UNKNOWN {
                self.voids = lane.voids_below_chunk(self.next).unwrap_or(UNKNOWN);
            }
            if self.voids < UNKNOWN {
                return Ok(());
            }
        }
        self.unpin(lane, row);
        let waited = self.waiting.len();
        self.waiting.retain(|seen| seen.index >= oldest);
        let lost = (waited - self.waiting.len()) as u64 + oldest.saturating_sub(self.next);
        if self.next < oldest {
            self.next = oldest;
            self.voids = if lane.is_index_numbered() { UNKNOWN } else { 0 };
        }
        self.lapped |= lost > 0;
        self.find_suspects(lane, oldest);
        Err(lost)
    }

    /// Ends the pin, if there is one.
    pub(crate) fn unpin<T>(&mut self, lane: &Lane<T>, row: &PinRow) {
        if !self.pinned.is_empty() {
            self.pinned = 0..0;
            row.clear(lane.class());
        }
    }

    /// Takes over the lines that were read under the pin.
    pub(crate) fn acquire_lines<T>(&self, lane: &Lane<T>) {
        lane.acquire_lines(self.pinned.start..self.next.min(self.pinned.end));
    }

    /// Whether the lane has nothing for this cursor below `tail`.
    pub(crate) fn is_past(&self, tail: u64) -> bool {
        self.next >= tail && self.waiting.is_empty()
    }

    /// Finds the lane's next frame by number, as far as the pin reaches.
    #[inline(always)]
    pub(crate) fn head<T>(&mut self, lane: &Lane<T>, filter: Option<&TagFilter>) -> Candidate {
        // Most often nothing waits, and the next frame is ready and offered where it is.
        if filter.is_none()
            && self.waiting.is_empty()
            && self.pinned.contains(&self.next)
            && lane.peek(self.next) == Peek::Ready
        {
            // SAFETY: C1: a checked pin covers `next`, and `peek` said that it is ready.
            if let Ok(sequence) = self.offer(unsafe { self.numbered(lane) }) {
                return Candidate::Ready(sequence);
            }
        }
        self.search(lane, filter)
    }

    /// Offers the frame at `next`, which is ready, where it is, if nothing can come before it.
    #[inline(always)]
    fn offer(&mut self, numbered: Order) -> Result<u64, Order> {
        if self.waiting.is_empty() && numbered.bound <= self.next + 1 {
            self.offered = self.next;
            return Ok(numbered.sequence);
        }
        Err(numbered)
    }

    /// The same, whatever waits and whatever comes next.
    #[inline(never)]
    fn search<T>(&mut self, lane: &Lane<T>, filter: Option<&TagFilter>) -> Candidate {
        if self.pinned.is_empty() {
            return Candidate::Beyond;
        }
        loop {
            if let Some(first) = self.waiting.last()
                && first.bound <= self.next
            {
                return Candidate::Ready(first.sequence);
            }
            if !self.pinned.contains(&self.next) {
                return Candidate::Beyond;
            }
            if self.pass_over(lane, filter, self.pinned.end) {
                continue;
            }
            match lane.peek(self.next) {
                Peek::Ready => {
                    // SAFETY: C1: a checked pin covers `next`, and `peek` said that it is ready.
                    let numbered = match self.offer(unsafe { self.numbered(lane) }) {
                        Ok(sequence) => return Candidate::Ready(sequence),
                        Err(numbered) => numbered,
                    };
                    let seen = HeldBack {
                        sequence: numbered.sequence,
                        index: self.next,
                        bound: numbered.bound,
                    };
                    let place = self
                        .waiting
                        .partition_point(|it| it.sequence > seen.sequence);
                    self.waiting.insert(place, seen);
                    self.next += 1;
                }
                Peek::Void => self.pass_void(),
                Peek::Abandoned => self.next += 1,
                Peek::Pending => return Candidate::Pending,
                // Not under a checked pin; and if it were, the next pin would find out.
                Peek::Lapped => return Candidate::Beyond,
            }
        }
    }

    /// Lends frames to `f` where they are, as far as they bear the numbers after `last` without a
    /// hole and `until` is not reached: nothing can lie between such frames, whatever their fences
    /// say. Nothing if a scanned frame waits.
    #[inline(always)]
    pub(crate) fn run<T>(
        &mut self,
        lane: &Lane<T>,
        filter: Option<&TagFilter>,
        last: &mut u64,
        until: u64,
        mut f: impl FnMut(u64, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !self.waiting.is_empty() || !self.pinned.contains(&self.next) {
            return ControlFlow::Continue(());
        }
        let (counts, next) = (lane.is_index_numbered(), *last + 1);
        if counts && lane.sequence_at(self.next, self.voids) != next {
            return ControlFlow::Continue(());
        }
        // The number that goes with an index.
        let ahead = next.wrapping_sub(self.next);
        let most = until.saturating_sub(next);
        let indices = self.next..self.pinned.end.min(self.next.saturating_add(most));
        let mut run = Run {
            next: self.next,
            ahead,
            cursor: self,
            last,
        };
        let mut flow = ControlFlow::Continue(());
        let mut give = |index: u64, frame: &T| {
            run.next = index + 1;
            flow = f(index.wrapping_add(ahead), frame);
            flow
        };
        if counts && filter.is_none() {
            // SAFETY: C1: a checked pin covers `indices`.
            unsafe { lane.slots().lend(indices, give) };
        } else {
            let visit = |index: u64, frame: &T| {
                // SAFETY: C1: a checked pin covers `index`, and it is ready.
                let is_next = counts
                    || unsafe { lane.slots().order(index) }.sequence == index.wrapping_add(ahead);
                let is_wanted = |filter: &TagFilter| {
                    lane.slots()
                        .tag(index)
                        .is_some_and(|tag| filter.matches(tag))
                };
                match is_next && filter.is_none_or(is_wanted) {
                    true => give(index, frame),
                    false => ControlFlow::Break(()),
                }
            };
            // SAFETY: as above.
            unsafe { lane.slots().lend(indices, visit) };
        }
        drop(run);
        flow
    }

    /// Takes the frame that `head` offered and lends it to `f`; `None` if none was offered.
    #[inline]
    pub(crate) fn take<T, R>(&mut self, lane: &Lane<T>, f: impl FnOnce(&T) -> R) -> Option<R> {
        let waiting = self.waiting.last();
        let index = waiting.map_or(self.next, |seen| seen.index);
        if !self.pinned.contains(&index) || waiting.is_none() && self.offered != index {
            return None;
        }
        self.discard();
        self.lapped = false;
        // SAFETY: C1, and C2 or C3: a checked pin covers `index`, and it was seen to be ready.
        Some(unsafe { lane.slots().read(index, f) })
    }

    /// Drops the frame that `head` offered without a look at it.
    pub(crate) fn discard(&mut self) {
        if self.waiting.pop().is_none() {
            self.next += 1;
        }
    }
}
