//! The merge of the lanes that a subscription reads into one strictly increasing order.
//!
//! A publisher claims its index before it takes its number. So whoever loads the next number as G
//! and *then* the tails knows that every frame numbered below G has an index below those tails.
//! The merge offers frame n when
//! - n is one above the last one: nothing can lie between; or
//! - n < G, it is the lowest head, and every lane without a head was scanned up to its tail.
//!
//! A lane with a claimed, unfinished index below its tail may still bring a lower number: the merge
//! stops there and says so by giving nothing more. It never spins.

use super::cursor::Candidate;
use super::subscription::{Delivery, Subscription};
use std::ops::ControlFlow;

impl<T> Subscription<T> {
    /// Gives, under pins, what is numbered below `until` and can be given. `Continue(true)`:
    /// nothing below `until` is left.
    #[inline(always)]
    pub(super) fn merge(
        &mut self,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        // Most often the lane that gave the last frame has the next ones too.
        self.run(self.current, until, visit)?;
        for lane in 0..self.cursors.len() {
            self.refresh(lane);
        }
        loop {
            let at = self.heads.find(self.last + 1);
            let number = self.heads.of(at);
            if number <= self.last {
                // Before the start.
                self.cursors[at].discard();
                self.refresh(at);
                continue;
            }
            if number != self.last + 1 {
                if number >= until {
                    return ControlFlow::Continue(self.prove(until));
                }
                match self.prove_or_refresh(number, until) {
                    Proof::Holds => {}
                    Proof::Changed => continue,
                    Proof::Lacking => return ControlFlow::Continue(false),
                }
                if let Some(gap) = self.gap(number) {
                    self.last = gap.last;
                    visit(Delivery::Gap(gap))?;
                    if gap.last + 1 < number {
                        continue;
                    }
                }
            } else if number >= until {
                return ControlFlow::Continue(self.prove(until));
            }
            self.last = number;
            self.current = at;
            let lane = &self.core.lane(self.cursors[at].lane);
            let flow = self.cursors[at].take(lane, |frame| visit(Delivery::Frame(number, frame)));
            if let Some(ControlFlow::Break(())) = flow {
                return ControlFlow::Break(());
            }
            if self.refresh(at) == Candidate::Ready(number + 1) {
                self.run(at, until, visit)?;
                self.refresh(at);
            }
        }
    }

    /// Gives frames of one lane where they are, as long as they are the next ones.
    #[inline(always)]
    fn run(
        &mut self,
        at: usize,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let cursor = &mut self.cursors[at];
        let (lane, filter) = (&self.core.lane(cursor.lane), self.filter.as_ref());
        cursor.run(lane, filter, &mut self.last, until, |number, frame| {
            visit(Delivery::Frame(number, frame))
        })
    }

    /// Looks at a lane's head again; whether it offers one.
    #[inline(always)]
    pub(super) fn refresh(&mut self, at: usize) -> Candidate {
        let cursor = &mut self.cursors[at];
        let head = cursor.head(&self.core.lane(cursor.lane), self.filter.as_ref());
        self.heads.set(
            at,
            match head {
                Candidate::Ready(number) => number,
                Candidate::Pending | Candidate::Beyond => u64::MAX,
            },
        );
        head
    }

    /// Learns the tails for all numbers below `below`, which was loaded before.
    pub(super) fn load_tails(&mut self, below: u64) {
        self.tails_cover = below;
        for (tail, cursor) in self.tails.iter_mut().zip(&self.cursors) {
            *tail = self.core.lane(cursor.lane).tail();
        }
    }

    /// Whether nothing below `number`, the lowest head, can come any more.
    fn prove_or_refresh(&mut self, number: u64, until: u64) -> Proof {
        if number >= self.tails_cover && until == u64::MAX {
            let Some(below) = self.core.published_below() else {
                return Proof::Lacking;
            };
            self.load_tails(below);
        }
        for at in 0..self.cursors.len() {
            if self.heads.of(at) == u64::MAX && !self.cursors[at].is_past(self.tails[at]) {
                return match self.refresh(at) {
                    Candidate::Ready(_) => Proof::Changed,
                    // Passed over or void up to the tail meanwhile.
                    _ if self.cursors[at].is_past(self.tails[at]) => continue,
                    _ => Proof::Lacking,
                };
            }
        }
        Proof::Holds
    }

    /// Whether nothing below `until` is left in any lane.
    fn prove(&mut self, until: u64) -> bool {
        if until == u64::MAX {
            return true;
        }
        (0..self.cursors.len())
            .all(|at| self.heads.of(at) != u64::MAX || self.cursors[at].is_past(self.tails[at]))
    }
}

enum Proof {
    Holds,
    /// A lower head may have come up.
    Changed,
    Lacking,
}
