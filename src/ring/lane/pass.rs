//! Passing: how a lane that frees drops a frame as soon as every subscription that was to see it
//! has passed it.
//!
//! Each subscription has a **position** in each lane that it reads (`pins.rs`). Whoever raises one,
//! joins, leaves, or publishes where nobody waits, **passes**: it finds the lowest position, and
//! frees what lies below and is not freed yet. Nobody waits for anybody, and nothing is held longer
//! than it is without freeing: what is overwritten is dropped by who overwrites it.
//!
//! ```text
//! pass                                             against
//!   (position := next, or none     E20: release)
//!   wanted := 0
//!   fence(SeqCst)                  E21             other passers: the later of two sees both
//!                                                  positions
//!   all := the lowest position     E20: acquire    readers: their reads happen before
//!   from := max(freed, oldest); to := the first unfinished index from there on, at most `all`
//!   own pin := from..to            E4: release     openers, as a reader's pin is
//!   freeing := max(freeing, to)    E22: release
//!   fence(SeqCst)                  E5, E23         openers; subscriptions that join
//!   from := max(from, oldest)                      what may be overwritten is left to openers
//!   end := min(to, the lowest position)            subscriptions that joined meanwhile, and
//!                                  E20: acquire    may have read since
//!   freed := max(freed, end)                       other passers: each index is one passer's
//!   take and drop what the exchange gave
//!   own pin := none                E4: release     the next owner of the slots
//!   if nobody who goes on by itself stands at `to`:
//!     wanted := 1, and once more from the first fence on; the second time, done
//!
//! join                                             publish
//!   position := max(oldest, freeing) E20: release    stamp := done
//!   fence(SeqCst)                    E23             fence(SeqCst)              E24
//!   position := max(that, freeing)   E20: release    if wanted, pass
//!   look for the start; pass
//! ```
//!
//! # Once
//! The exchange of `freed` hands each index to one passer. An opener that wants the slot of an
//! index that is being freed sees the pin, and the slot is void; or it raised the horizon before
//! the passer's fence, and the passer leaves the index to it (E5). Where an opener sees that the
//! pin has ended, the stamp that says so happens before its own look at stamps (E4).
//!
//! # Never before it was passed, never while it is borrowed
//! Take a passer that announces `to` and frees up to `end`, and a subscription's position.
//! - Its second look saw the position at `end` or above; or below, and only frames in between that
//!   the subscription does not want, and never touches. Positions only rise, and the reads below
//!   happen before (E20).
//! - It did not see the position, of a subscription that joined: then that one's fence comes after
//!   the passer's second one, and it sees the announcement and starts there (E23).
//! - A clone starts where its original stands. The passer announced more than that only if it had
//!   found the original further on; the original moved after the clone had its position, so the
//!   second look sees the clone. That is why a passer announces what it *found* passed.
//!
//! # At once
//! Of all that passed an index or left, the one with the last fence (E21) sees all of them above
//! it. It frees the index, or another has it, or some subscription is at or below it and passes
//! later; or an index below it is unfinished. If nobody who goes on by itself stands there, nobody
//! would come back: the passer sets `wanted` and looks again. Either that second look finds the
//! index finished, or its publisher finds `wanted` (E24) and passes. Whoever clears `wanted` runs a
//! fence and looks, and so takes the duty over.
//!
//! A subscription with a filter does not pass what it does not want: it sleeps. Passers look
//! through it, at stamps only, up to the first frame that it wants. There it goes on by itself,
//! since it was woken; at an unfinished index it does not.
//!
//! # Foreign code
//! A frame's drop runs on the passer's thread and may do anything but wait for this ring. Before
//! it, the frame is out of its slot, and the pin has moved on. Its panic is contained.

use super::freeing::{Freeing, LEFT_TO_OTHER, NOT_WANTED, WANTED};
use super::pins::{PinRow, PinTable, Scan};
use super::{Lane, Peek};
use crate::foreign::contained;
use crate::ring::slot::TagFilter;
use crate::sync::{Ordering, fence, raise};

/// How far the subscriptions of a lane have come.
struct Passed {
    /// All have passed what lies below.
    all: u64,
    /// The lowest index at which one stands that goes on by itself.
    awake: u64,
}

impl<T> Lane<T> {
    /// Whether this lane frees what was read.
    #[inline(always)]
    pub(crate) fn frees(&self) -> bool {
        self.freeing.is_some()
    }

    /// Where a subscription may start that is made now: where it stands from now on, in a lane that
    /// frees. The caller then finds its start, and passes.
    pub(crate) fn join(&self, row: &PinRow) -> u64 {
        let Some(freeing) = &self.freeing else {
            return self.oldest();
        };
        // E22: acquire. The frames below have got their numbers.
        let announced = || freeing.bounds.announced.load(Ordering::Acquire);
        let start = self.oldest().max(announced());
        row.stand(self.class, start);
        // E23: SeqCst fence, between the position and what passers announced.
        fence(Ordering::SeqCst);
        let now = announced();
        if now <= start {
            return start;
        }
        row.stand(self.class, now);
        now
    }

    /// A sequence number above those of all frames below `index`, where a subscription has joined,
    /// if that is known. `next` is the next number, loaded after that. `None` in a lane that keeps.
    pub(crate) fn numbers_below_start(&self, index: u64, next: u64) -> Option<u64> {
        let freeing = self.freeing.as_ref()?;
        if self.is_index_numbered() {
            let voids = self.voids_below_start(index)?;
            return Some(self.sequence_at(index, voids));
        }
        // Relaxed: the value that `join` has acquired, or a later one.
        let announced = freeing.bounds.announced.load(Ordering::Relaxed);
        (announced >= index).then_some(next)
    }

    /// Frees what all subscriptions have passed. Called by the owner of a row that has raised its
    /// position, has joined, or has left.
    pub(crate) fn pass(&self, own: &PinRow, pins: PinTable<'_>) {
        let Some(freeing) = &self.freeing else { return };
        // Relaxed: the fence of the scan comes after it, and the look at positions after that.
        if freeing.wanted.load(Ordering::Relaxed) != NOT_WANTED {
            freeing.wanted.store(NOT_WANTED, Ordering::Relaxed);
        }
        // E21: SeqCst fence, in `scan`, between the caller's position and those of others.
        let scan = pins.scan(|| ());
        if self.pass_once(freeing, own, &scan) {
            return;
        }
        // Relaxed: E24 orders it.
        freeing.wanted.store(WANTED, Ordering::Relaxed);
        // E24: SeqCst fence, between `wanted` and the stamp.
        scan.again();
        self.pass_once(freeing, own, &scan);
    }

    /// Frees what all have passed. Returns false if an unfinished index ends it that nobody stands
    /// at who goes on by itself.
    fn pass_once(&self, freeing: &Freeing, own: &PinRow, scan: &Scan<'_>) -> bool {
        // Relaxed: a value that is too low makes this passer look at more than it gets.
        let freed = freeing.bounds.freed.load(Ordering::Relaxed);
        let from = freed.max(self.oldest());
        let found = self.passed(scan, from, from + self.geometry.span());
        let mut to = from;
        // E1: acquire, in `peek`: what is dropped was written.
        while to < found.all && self.peek(to) != Peek::Pending {
            to += 1;
        }
        if to > from {
            self.free(freeing, from, to, own, scan);
        }
        // What the look at the positions saw counts: asked again, the index may be finished.
        found.awake <= to
    }

    /// Frees what all have passed of the indices from `from` to `to`, where all had passed them at
    /// the first look.
    fn free(&self, freeing: &Freeing, from: u64, to: u64, own: &PinRow, scan: &Scan<'_>) {
        own.pin_freeing(self.class, from, to - from);
        // E22: release. Who starts here finds the numbers of what is below.
        raise(&freeing.bounds.announced, to, Ordering::Release);
        // E5: SeqCst fence, between the pin and the horizon. E23: SeqCst fence, between the
        // announcement and those who join.
        scan.again();
        let oldest = self.oldest();
        let end = self.passed(scan, from, to).all;
        // Relaxed: it is the exchange that hands out each index once, and the pin that tells the
        // next owner.
        let before = raise(&freeing.bounds.freed, end, Ordering::Relaxed);
        for index in from.max(oldest).max(before)..end {
            // SAFETY: S4. Handed out by the exchange. The pin covers it, and was checked after a
            // fence. All that may read it have passed it (see the top), and `peek` acquired its
            // stamp.
            if let Some(frame) = unsafe { self.slots.free(index) } {
                // Foreign code finds all slots free but those that are still to be freed.
                if index + 1 < end {
                    own.pin_freeing(self.class, index + 1, end - index - 1);
                } else {
                    own.clear_freeing(self.class);
                }
                contained(|| drop(frame));
            }
        }
        own.clear_freeing(self.class);
    }

    /// How far the subscriptions have come, at most `most`, and not below `from`.
    fn passed(&self, scan: &Scan<'_>, from: u64, most: u64) -> Passed {
        let mut passed = Passed {
            all: most,
            awake: u64::MAX,
        };
        for position in scan.positions(self.class) {
            let at = position.lowest.max(from);
            let (at, goes_on) = match position.filter {
                Some(filter) => self.look_through(at, passed.all, &filter),
                None => (at, true),
            };
            passed.all = passed.all.min(at);
            if goes_on {
                passed.awake = passed.awake.min(at);
                if at == from {
                    break;
                }
            }
        }
        passed
    }

    /// The first index from `at` on, at most `end`, that a subscription with this filter has to
    /// read or wait for; and whether it has to read it, and so was woken.
    fn look_through(&self, mut at: u64, end: u64, filter: &TagFilter) -> (u64, bool) {
        while at < end {
            let skipped = self.slots.skip_unwanted(at, end, filter);
            if skipped > at {
                at = skipped;
                continue;
            }
            match self.peek(at) {
                // Between the two looks, an unfinished index may have got an unwanted frame.
                Peek::Ready => match self.slots.tag(at) {
                    Some(tag) if filter.matches(tag) => return (at, true),
                    _ => at += 1,
                },
                Peek::Pending => return (at, false),
                Peek::Void | Peek::Abandoned | Peek::Lapped => at += 1,
            }
        }
        (at, false)
    }

    /// Frees what nobody is to see, for a publisher whose frame is stamped, or that gave up: if
    /// that is wanted. The caller has run a SeqCst fence (E24) since. `row` is the publishers' row.
    pub(crate) fn help(&self, row: &PinRow, pins: PinTable<'_>) {
        let Some(freeing) = &self.freeing else { return };
        // Relaxed: E24 orders it.
        if freeing.wanted.load(Ordering::Relaxed) == NOT_WANTED {
            return;
        }
        loop {
            if !freeing.take_row() {
                // Relaxed, both stores of it: E26 orders it.
                freeing.wanted.store(LEFT_TO_OTHER, Ordering::Relaxed);
                // E26: SeqCst fence, between `wanted` and the row.
                fence(Ordering::SeqCst);
                if !freeing.take_row() {
                    return;
                }
            }
            self.pass(row, pins);
            // E25: release. The next one that takes the row comes after this one's use of it.
            freeing.bounds.helping.store(false, Ordering::Release);
            // E26: SeqCst fence, between the row and `wanted`.
            fence(Ordering::SeqCst);
            // Each further turn: another publisher left its frame to this one.
            if freeing.wanted.load(Ordering::Relaxed) != LEFT_TO_OTHER {
                return;
            }
        }
    }
}
