//! The merge of the lanes that a subscription reads into one strictly increasing order.
//!
//! The merge delivers frame n if
//! - n is one above the last one: nothing can lie between; or
//! - n < G, it is the lowest candidate, and every lane without a candidate was scanned up to its
//!   tail, where G and the tails are those of `tails.rs`.
//!
//! Only lanes in which something was there before the round are pinned and looked at in it. The
//! others offer nothing, like a lane that could not be pinned.
//!
//! A lane with a claimed, unfinished index below its tail may still bring a lower number. The merge
//! stops there, and says so by delivering no more. It never spins.

use super::candidates::Candidates;
use super::cursor::Candidate;
use super::delivery::{Delivery, Gap};
use super::lanes::Lanes;
use super::losses::Losses;
use super::tails::Tails;
use crate::ring::config::SubscribeError;
use std::ops::ControlFlow;

/// The lanes of a subscription, merged, and how far they were delivered.
pub(super) struct Merge<T> {
    lanes: Lanes<T>,
    /// What each lane offers.
    candidates: Candidates,
    tails: Tails,
    losses: Losses,
    /// Whether all lanes are read, unfiltered: sequence numbers have no holes. Never changes.
    everything: bool,
    /// The lane that had the last frame.
    current: usize,
    /// All up to this sequence number was delivered, reported as lost, or passed over.
    last: u64,
    /// How many deliveries were made.
    deliveries: u64,
}

/// How many frames of one lane are taken singly before the next ones are lent together.
const ROW: u32 = 4;

/// What was known to be lost when a poll began.
#[derive(Clone, Copy)]
pub(super) struct PendingGap {
    /// Whether a loss has to be reported although no frame follows it.
    has_loss: bool,
    times_lapped: u64,
}

/// Whether nothing below a candidate can come any more.
enum Proof {
    Holds,
    /// A lower candidate may have come up.
    Changed,
    Lacking,
}

impl<T> Merge<T> {
    pub(super) fn new(lanes: Lanes<T>) -> Self {
        Merge {
            everything: lanes.are_everything(),
            candidates: Candidates::new(lanes.len()),
            tails: Tails::new(lanes.len()),
            losses: Losses::default(),
            current: 0,
            last: 0,
            deliveries: 0,
            lanes,
        }
    }

    pub(super) fn try_clone(&self) -> Result<Self, SubscribeError> {
        Ok(Merge {
            lanes: self.lanes.try_clone()?,
            candidates: self.candidates.clone(),
            tails: self.tails.clone(),
            losses: self.losses.clone(),
            ..*self
        })
    }

    #[inline(always)]
    pub(super) fn lanes(&self) -> &Lanes<T> {
        &self.lanes
    }

    #[inline(always)]
    pub(super) fn lanes_mut(&mut self) -> &mut Lanes<T> {
        &mut self.lanes
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    pub(super) fn losses_mut(&mut self) -> &mut Losses {
        &mut self.losses
    }

    pub(super) fn candidates_mut(&mut self) -> &mut Candidates {
        &mut self.candidates
    }

    pub(super) fn reads_everything(&self) -> bool {
        self.everything
    }

    /// The position: all up to this sequence number was delivered, reported as lost, or passed
    /// over.
    #[inline(always)]
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// How many deliveries were made so far.
    #[inline(always)]
    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Whether the next sequence number, as far as that can be told by a load or two, is the one
    /// after the position of a reader of everything. Then nothing is left to deliver or to report:
    /// every publish that has returned got a number up to the position.
    #[inline(always)]
    pub(super) fn is_caught_up(&self) -> bool {
        self.everything && self.lanes.next_is_at_most(self.last + 1)
    }

    /// Moves the position.
    pub(super) fn set_last(&mut self, last: u64) {
        self.last = last;
    }

    /// Loads the tails, for all numbers below `below`, which was loaded before.
    #[inline]
    pub(super) fn load_tails(&mut self, below: u64) {
        self.tails.load(below, &self.lanes);
    }

    /// Whether all cursors have passed their lanes up to the tails.
    #[inline]
    pub(super) fn has_passed_tails(&self) -> bool {
        self.tails.are_passed_by_all(&self.lanes)
    }

    /// Pins the lanes that need it, delivers what is numbered below `until` and can be delivered,
    /// and unpins, also if the visitor panics. `Continue(true)`: nothing below `until` is left.
    #[inline(always)]
    pub(super) fn round(
        &mut self,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
        read: impl FnOnce(&Lanes<T>, u64),
    ) -> ControlFlow<(), bool> {
        let last = self.last;
        self.lanes.pin(&mut self.losses);
        let round = Round(self);
        let this = &mut *round.0;
        let flow = this.merge(until, visit);
        read(&this.lanes, this.last - last);
        flow
    }

    /// Delivers, under pins, what is numbered below `until` and can be delivered.
    #[inline(always)]
    fn merge(
        &mut self,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        let mut knows_all = false;
        loop {
            // Most often the lane that had the last frame has the next ones too.
            self.run(self.current, until, visit)?;
            if knows_all {
                self.refresh(self.current);
            } else {
                knows_all = true;
                for i in 0..self.lanes.active().len() {
                    self.refresh(self.lanes.active()[i]);
                }
            }
            while !self.walk(until, visit)? {
                let at = self.candidates.find(self.last + 1, self.lanes.active());
                let sequence = self.candidates.of(at);
                if sequence <= self.last {
                    // Before the start.
                    self.lanes.split(at).0.discard();
                    self.refresh(at);
                    continue;
                }
                if sequence >= until {
                    return ControlFlow::Continue(self.has_none_below(until));
                }
                if sequence != self.last + 1 {
                    match self.prove(sequence) {
                        Proof::Holds => {}
                        Proof::Changed => continue,
                        Proof::Lacking => return ControlFlow::Continue(false),
                    }
                    if let Some(gap) = self.gap(sequence) {
                        self.deliver_gap(gap, visit)?;
                        if gap.last + 1 < sequence {
                            continue;
                        }
                    }
                }
                self.last = sequence;
                self.current = at;
                self.deliveries += 1;
                let (cursor, lane, _) = self.lanes.split(at);
                let flow = cursor.take(lane, |frame| visit(Delivery::Frame(sequence, frame)));
                if let Some(ControlFlow::Break(())) = flow {
                    return ControlFlow::Break(());
                }
                self.refresh(at);
            }
        }
    }

    /// Delivers the next frames, one after another, as long as it is noted which lane offers each:
    /// nothing can lie between. `Continue(true)`: they come from one lane now, whose frames are
    /// [lent](Self::run) together.
    #[inline(always)]
    fn walk(
        &mut self,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        while self.last + 1 < until
            && self.lanes.filter().is_none()
            && let Some(at) = self.candidates.noted(self.last + 1)
        {
            self.current = at;
            let mut row = 0;
            let offered = loop {
                let (cursor, lane, _) = self.lanes.split(at);
                let last = &mut self.last;
                let taken = cursor.take_in_place(lane, |frame| {
                    *last += 1;
                    visit(Delivery::Frame(*last, frame))
                });
                let Some((flow, offered)) = taken else {
                    self.refresh(at);
                    return ControlFlow::Continue(false);
                };
                self.deliveries += 1;
                flow?;
                row += 1;
                // Most often another lane has the next one, or this one has many.
                if offered != Some(self.last + 1) || self.last + 1 >= until || row == ROW {
                    break offered;
                }
            };
            match offered {
                Some(sequence) => self.candidates.set(at, sequence),
                None => {
                    self.refresh(at);
                }
            }
            if row == ROW {
                return ControlFlow::Continue(true);
            }
        }
        ControlFlow::Continue(false)
    }

    /// Delivers frames of one lane where they are, as long as they are the next ones.
    #[inline(always)]
    fn run(
        &mut self,
        at: usize,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (cursor, lane, filter) = self.lanes.split(at);
        let before = self.last;
        let flow = cursor.run(lane, filter, &mut self.last, until, |sequence, frame| {
            visit(Delivery::Frame(sequence, frame))
        });
        self.deliveries += self.last - before;
        flow
    }

    /// Delivers a gap, after which the position is its end.
    fn deliver_gap(
        &mut self,
        gap: Gap,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.last = gap.last;
        self.deliveries += 1;
        visit(Delivery::Gap(gap))
    }

    /// Looks at a lane's candidate again.
    #[inline(always)]
    pub(super) fn refresh(&mut self, at: usize) -> Candidate {
        let (cursor, lane, filter) = self.lanes.split(at);
        let candidate = cursor.candidate(lane, filter);
        self.candidates.set(
            at,
            match candidate {
                Candidate::Ready(sequence) => sequence,
                Candidate::Pending | Candidate::BeyondPin => u64::MAX,
            },
        );
        candidate
    }

    /// Whether nothing below `sequence`, the lowest candidate, can come any more.
    fn prove(&mut self, sequence: u64) -> Proof {
        if !self.covers(sequence) {
            return Proof::Lacking;
        }
        for at in 0..self.lanes.len() {
            if self.is_unscanned(at) {
                return match self.refresh(at) {
                    Candidate::Ready(_) => Proof::Changed,
                    // Passed over or void up to the tail meanwhile.
                    _ if !self.is_unscanned(at) => continue,
                    _ => Proof::Lacking,
                };
            }
        }
        Proof::Holds
    }

    /// Loads the tails, unless those that were loaded last cover this number. False if publishers
    /// went round a lane meanwhile.
    fn covers(&mut self, sequence: u64) -> bool {
        if !self.tails.cover(sequence)
            && let Some(below) = self.lanes.core().published_below()
        {
            self.load_tails(below);
        }
        self.tails.cover(sequence)
    }

    /// Whether a lane has no candidate and was not scanned up to its tail.
    #[inline(always)]
    fn is_unscanned(&self, at: usize) -> bool {
        self.candidates.of(at) == u64::MAX && !self.tails.are_passed_by(at, &self.lanes)
    }

    /// Whether nothing below `until` is left in any lane.
    fn has_none_below(&mut self, until: u64) -> bool {
        until == u64::MAX
            || until <= self.last + 1
            || self.covers(until - 1) && (0..self.lanes.len()).all(|at| !self.is_unscanned(at))
    }

    /// Whether a loss may have to be reported although no frame follows it.
    pub(super) fn has_unreported_gap(&mut self) -> bool {
        self.starts_before_the_ring() || self.lanes.may_have_lost_above(self.last)
    }

    /// What is known to be lost now.
    pub(super) fn pending_gap(&mut self) -> PendingGap {
        PendingGap {
            has_loss: self.has_unreported_gap(),
            times_lapped: self.losses.times_lapped(),
        }
    }

    /// Whether the subscription starts before the ring's first frame, and has not reported yet that
    /// the frames before that are not here.
    fn starts_before_the_ring(&self) -> bool {
        self.last + 1 < self.lanes.core().first()
    }

    /// The gap between the position and `sequence`, which is proven to be the next. What lies
    /// before the ring's first frame is a gap of its own: then there may be more, after its end.
    fn gap(&mut self, sequence: u64) -> Option<Gap> {
        if !self.has_unreported_gap() {
            self.losses.forget_unreported();
            if !self.everything {
                return None;
            }
        }
        let (last, before_the_ring) = (self.last, self.starts_before_the_ring());
        let next = if before_the_ring {
            sequence.min(self.lanes.core().first())
        } else {
            sequence
        };
        let terminals_lost = || before_the_ring || self.lanes.may_have_lost_terminal_above(last);
        self.losses
            .report(last, next, self.everything, terminals_lost)
    }

    /// Reports what was lost after the last frame and was noticed before `until` was loaded; all
    /// below `until` was delivered. What was noticed since may have higher numbers.
    #[inline(always)]
    pub(super) fn report_rest(
        &mut self,
        until: u64,
        pending: PendingGap,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if until <= self.last + 1 || !self.everything && !pending.has_loss {
            return ControlFlow::Continue(());
        }
        if self.starts_before_the_ring()
            && let Some(gap) = self.gap(until)
        {
            self.deliver_gap(gap, visit)?;
        }
        let gap = self.gap(until);
        if self.losses.times_lapped() == pending.times_lapped {
            self.lanes.forget_laps();
        }
        match gap {
            Some(gap) => self.deliver_gap(gap, visit),
            None => ControlFlow::Continue(()),
        }
    }
}

impl PendingGap {
    #[inline(always)]
    pub(super) fn has_loss(&self) -> bool {
        self.has_loss
    }
}

/// Ends the pins of a round, also if the visitor panics. Between rounds no lane offers anything.
struct Round<'a, T>(&'a mut Merge<T>);

impl<T> Drop for Round<'_, T> {
    fn drop(&mut self) {
        let Merge {
            lanes, candidates, ..
        } = &mut *self.0;
        lanes.active().iter().for_each(|&at| candidates.forget(at));
        lanes.unpin();
    }
}
