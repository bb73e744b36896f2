//! A subscription: lanes, merged into one strictly increasing order, polled by one reader.

use super::delivery::{Delivery, Polled};
use super::lanes::{FEW, Lanes};
use super::merge::{Merge, PendingGap};
use super::seek::seek;
use super::wait::Registration;
use crate::ring::config::{Select, Start, SubscribeError};
use crate::ring::core::Core;
use crate::ring::hw::{Contention, ENOUGH_AHEAD, Pacing};
use crate::ring::slot::TagFilter;
use crate::ring::wait::ANY_KEY;
use crate::sync::Arc;
use std::ops::ControlFlow;
use std::task::Waker;

/// What a poll delivers.
struct Plan {
    /// Frames numbered below this.
    until: u64,
    /// What may have to be reported in the end.
    pending: Option<PendingGap>,
    /// The most rounds, each under pins of its own.
    rounds: u64,
}

impl Plan {
    /// What is there, as far as one pin covers.
    const ONE_ROUND: Plan = Plan {
        until: u64::MAX,
        pending: None,
        rounds: 1,
    };
}

/// A reader of a [`Ring`](super::super::Ring), with a position of its own in each lane that it
/// reads.
///
/// Polling is wait-free: its steps are bounded by the size of the ring, and it waits for nobody.
///
/// ```
/// use framebus::ring::{Delivery, Polled, Ring, RingConfig, Route, Select, Start};
/// use std::ops::ControlFlow;
///
/// let ring = Ring::new(&RingConfig::default());
/// let mut reader = ring.subscribe(Select::All, None, Start::Latest)?;
/// for word in ["one", "two", "three"] {
///     ring.publish(Route::default(), word)?;
/// }
/// let mut words = Vec::new();
/// let polled = reader.poll(|delivery| {
///     if let Delivery::Frame(_, word) = delivery {
///         words.push(*word);
///     }
///     if words.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
/// });
/// assert_eq!((words, polled, reader.position()), (vec!["one", "two"], Polled::More, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription<T> {
    merge: Merge<T>,
    registration: Registration,
    contention: Contention,
    pacing: Pacing,
    /// How many frames ahead of it are enough for the pacing. Never changes.
    enough_ahead: u64,
}

impl<T> Subscription<T> {
    /// A new subscription, as [`Ring::subscribe`](super::super::Ring::subscribe) says.
    pub(in crate::ring) fn open(
        core: &Arc<Core<T>>,
        select: Select,
        filter: Option<TagFilter>,
        start: Start,
    ) -> Result<Self, SubscribeError> {
        let mut merge = Merge::new(Lanes::select(core, select, filter)?);
        // After the lanes: of what was freed there, each frame has a number below this.
        let last = core.next_sequence() - 1;
        let after = match start {
            Start::Oldest => None,
            Start::Latest => Some(last),
            Start::After(after) if after > last => {
                return Err(SubscribeError::Ahead { after, last });
            }
            Start::After(after) => Some(after),
        };
        let windows = core.lanes().iter().map(|lane| lane.geometry().window());
        let smallest = windows.min().unwrap_or(0) as u64;
        seek(&mut merge, after, last + 1);
        merge.lanes().pass_all();
        Ok(Subscription {
            contention: Contention::new(filter.is_none()),
            pacing: Pacing::default(),
            enough_ahead: ENOUGH_AHEAD.min(smallest / 8),
            registration: Registration::default(),
            merge,
        })
    }

    /// An independent subscription at the same position.
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`] if no more subscriptions can be had.
    pub fn try_clone(&self) -> Result<Self, SubscribeError> {
        Ok(Subscription {
            merge: self.merge.try_clone()?,
            registration: Registration::default(),
            ..*self
        })
    }

    /// The position: every frame numbered up to this one was delivered, reported as lost, or is
    /// none of this subscription's.
    ///
    /// It moves with what a poll has looked at, also where that delivered nothing; a batch moves it
    /// to its last delivery.
    pub fn position(&self) -> u64 {
        self.merge.last()
    }

    /// Whether it reads every lane, unfiltered.
    pub fn reads_everything(&self) -> bool {
        self.merge.reads_everything()
    }

    /// Whether it is known, by one load or two and whatever the number of shards, that a poll that
    /// begins now would deliver nothing: every frame whose publish has returned was delivered or
    /// reported as lost. False if a poll would have to look.
    ///
    /// Known only for a subscription that [reads everything](Self::reads_everything): its position
    /// is in that of the ring.
    #[inline]
    pub fn is_caught_up(&self) -> bool {
        self.merge.is_caught_up()
    }

    /// How often a lane was found lapped.
    pub fn times_lapped(&self) -> u64 {
        self.merge.losses().times_lapped()
    }

    /// Delivers all that was published when the call began, pin by pin, until `visit` breaks.
    ///
    /// A publish that was unfinished when the call began may hold back what comes after it; then
    /// the result is [`Polled::Unfinished`], and a later poll goes on there.
    ///
    /// If `visit` panics, the pins end, and the next poll goes on after the frame that it was lent.
    #[inline]
    pub fn poll(&mut self, mut visit: impl FnMut(Delivery<'_, T>) -> ControlFlow<()>) -> Polled {
        if self.is_caught_up() {
            return Polled::CaughtUp;
        }
        match self.plan() {
            Ok(plan) => self.deliver(plan, &mut visit),
            Err(polled) => polled,
        }
    }

    /// What a poll that begins now delivers; or how it ends, if that is nothing.
    fn plan(&mut self) -> Result<Plan, Polled> {
        let merge = &mut self.merge;
        // E8: acquire, or E9: acquire: all claims for smaller numbers happen before.
        let Some(until) = merge.lanes().core().published_below() else {
            return Err(Polled::Unfinished);
        };
        if until <= merge.last() + 1 {
            return Err(Polled::CaughtUp);
        }
        // Only this reader notices losses, so these are those that it had noticed before.
        let pending = merge.pending_gap();
        // A reader of everything needs tails only where a number is missing.
        let found = merge.reads_everything() && merge.lanes_mut().skip_ahead();
        if !found {
            // Before the cursors move: what they pass is compared with these tails.
            merge.load_tails(until);
        }
        if !found && !merge.lanes_mut().skip_ahead() && !pending.has_loss() {
            // An index below a tail that is claimed and not finished may hold back frames above it.
            return Err(if merge.has_passed_tails() {
                self.caught_up(until)
            } else {
                Polled::Unfinished
            });
        }
        Ok(Plan {
            until,
            pending: Some(pending),
            // Each round uses up a pin of some lane. What goes beyond a ring's worth was published
            // since.
            rounds: merge.lanes().most_rounds(),
        })
    }

    /// Ends a poll that left nothing numbered below `until` in its lanes. The position moves there,
    /// though the last frame may lie far below; unless an unreported loss may lie in between.
    fn caught_up(&mut self, until: u64) -> Polled {
        // A reader of everything stands there already, or before numbers without a frame, which it
        // reports before the next frame.
        if !self.merge.reads_everything() && !self.merge.has_unreported_gap() {
            self.merge.set_last(until - 1);
        }
        Polled::CaughtUp
    }

    /// Carries a plan out, round by round. Inlined into the caller with the visitor, whose counters
    /// then stay in registers.
    #[inline(always)]
    fn deliver(
        &mut self,
        plan: Plan,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> Polled {
        let mut idle = 0;
        for round in 1..=plan.rounds {
            let before = self.progress();
            match self.round(plan.until, visit) {
                ControlFlow::Break(()) => return Polled::More,
                ControlFlow::Continue(true) => {
                    let Some(pending) = plan.pending else {
                        return Polled::CaughtUp;
                    };
                    let flow = self.merge.report_rest(plan.until, pending, visit);
                    return if flow.is_break() {
                        Polled::More
                    } else {
                        self.caught_up(plan.until)
                    };
                }
                ControlFlow::Continue(false) => {}
            }
            if round == plan.rounds {
                break;
            }
            self.merge.lanes_mut().skip_ahead();
            idle = if self.progress() == before {
                idle + 1
            } else {
                0
            };
            // One such round may have had to learn how wide its pin must be.
            if idle == 2 {
                break;
            }
        }
        Polled::Unfinished
    }

    /// One round of the merge, and what the next ones learn from it.
    #[inline(always)]
    fn round(
        &mut self,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        let activity = |lanes: &Lanes<T>| lanes.core().activity();
        let contention = &mut self.contention;
        let before = contention
            .needs_activity()
            .then(|| activity(self.merge.lanes()));
        self.merge.round(until, visit, |lanes, delivered| {
            let others_publish = before.is_some_and(|before| activity(lanes) > before);
            if contention.after(delivered, others_publish) {
                lanes.acquire_lines();
            }
        })
    }

    /// A number that changes if a cursor moves or a frame is delivered.
    fn progress(&self) -> u64 {
        let cursors = self.merge.lanes().cursors().iter();
        cursors
            .map(|cursor| cursor.next())
            .fold(self.merge.last(), u64::wrapping_add)
    }

    /// Delivers what is there, under one pin. Of what publishers write for each frame it looks at
    /// the next sequence number, in a ring of several shards, and at nothing else: the cheapest way
    /// to keep up. Delivers at most a batch of each lane, or more if that has nothing for this
    /// reader, and returns how many deliveries it made. 0 says that nothing is there now.
    ///
    /// A subscription that keeps up with publishers that flood the ring may stay here for some
    /// microseconds after a batch, so that it does not hinder them (`hw/native/pacing.rs`). If its
    /// shard has more readers than there are processors, it yields meanwhile, and other threads
    /// may run for longer.
    ///
    /// The frames are borrowed from the ring. A slow visitor delays nobody: publishers skip the
    /// slots that its batch pins, and the frames stay valid.
    #[inline]
    pub fn batch(&mut self, mut visit: impl FnMut(Delivery<'_, T>) -> ControlFlow<()>) -> usize {
        if self.merge.lanes().len() > FEW && self.is_caught_up() {
            return 0;
        }
        let mut plan = if self.merge.lanes_mut().skip_ahead() {
            Plan::ONE_ROUND
        } else if self.merge.has_unreported_gap()
            && let Ok(plan) = self.plan()
        {
            plan
        } else {
            return 0;
        };
        let before = self.merge.deliveries();
        let polled = loop {
            let is_poll = plan.pending.is_some();
            let polled = self.deliver(plan, &mut visit);
            // One pin may cover only indices that carry no frame for this reader: those of frames
            // in another lane, or void ones. So it goes on, and a batch that delivers nothing says
            // that nothing is there.
            if self.merge.deliveries() > before || is_poll || polled != Polled::Unfinished {
                break polled;
            }
            match self.plan() {
                Ok(more) => plan = more,
                Err(polled) => break polled,
            }
        };
        if polled != Polled::More {
            let (merge, enough) = (&self.merge, self.enough_ahead);
            let (lanes, last) = (merge.lanes(), merge.last());
            let crowded = || lanes.are_crowded();
            let published = || lanes.core().published_below().unwrap_or(last);
            let contended = self.contention.is_on();
            self.pacing
                .after(last + 1, enough, contended, crowded, published);
        }
        (self.merge.deliveries() - before) as usize
    }

    /// Registers `waker` to be woken, once, when something may have come: after a
    /// [`Ring::wake`](super::super::Ring::wake) with this key, or with any key if it is
    /// [`ANY_KEY`](super::super::ANY_KEY), and with a tag that the subscription's filter lets
    /// through; with `None`, after any wake. Poll again before sleeping, and
    /// [deregister](Self::deregister_waker) after. While the subscription [is
    /// behind](Self::is_behind), register with `None`: what it waits for may be any frame.
    ///
    /// The waker may do anything when it is woken or dropped: publish, drop subscriptions, panic.
    /// Its panics are contained. It runs on the publisher's thread, which waits for it.
    ///
    /// # Errors
    /// [`SubscribeError::TooMany`] if too many wakers are registered already.
    ///
    /// # Panics
    /// If cloning `waker` does; nothing has changed then.
    pub fn register_waker(
        &mut self,
        key: Option<u64>,
        waker: &Waker,
    ) -> Result<(), SubscribeError> {
        let lanes = self.merge.lanes();
        let (waiters, target) = (lanes.core().waiters(), lanes.wait_target());
        // What it sleeps at is held until it has passed it: it wakes for all that it is to see.
        let key = key.map(|key| if lanes.core().frees() { ANY_KEY } else { key });
        self.registration
            .register(waiters, target, key, lanes.filter(), waker)
    }

    /// Takes the registration back. Returns whether the waker had been woken.
    pub fn deregister_waker(&mut self) -> bool {
        self.registration
            .deregister(self.merge.lanes().core().waiters())
    }

    /// Whether something was claimed in its lanes that it has not passed: a frame to read, or a
    /// publish that is unfinished and may hold back what comes after it.
    ///
    /// Looks at what publishers write for each frame: ask before sleeping, not while keeping up.
    pub fn is_behind(&self) -> bool {
        self.merge.lanes().are_behind()
    }

    /// Whether the first shard that it reads has more readers than there are processors.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn is_crowded(&self) -> bool {
        self.merge.lanes().are_crowded()
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.registration.leave(self.merge.lanes().core().waiters());
    }
}

impl<T> std::fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("lanes", &self.merge.lanes().len())
            .field("filter", &self.merge.lanes().filter())
            .field("position", &self.merge.last())
            .finish_non_exhaustive()
    }
}
