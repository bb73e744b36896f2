//! A subscription: cursors over lanes, merged into one strictly increasing order.

use super::candidates::Candidates;
use super::cursor::Cursor;
use super::gap::PendingGap;
use crate::foreign::GuardedWaker;
use crate::ring::config::{Select, Start, SubscribeError};
use crate::ring::core::Core;
use crate::ring::hw::{Contention, ENOUGH_AHEAD, Pacing, processors};
use crate::ring::lane::{LaneClass, LaneId, OwnPins};
use crate::ring::slot::TagFilter;
use crate::ring::wait::Waiter;
use crate::sync::{Arc, Ordering, fence};
use std::ops::ControlFlow;

/// How often a pin is tried again after a lap before the poll gives up for this time.
const PIN_TRIES: usize = 4;

/// Who reads so many lanes at most fetches what may come next.
const FEW: usize = 2;

/// What a subscription gives, in order.
#[derive(Debug)]
pub enum Delivery<'a, T> {
    /// A frame, with its number.
    Frame(u64, &'a T),
    /// Frames that are gone. Comes before the next frame that this subscription gets.
    Gap(Gap),
}

/// Frames that the ring overwrote before the subscription read them.
///
/// For a subscription to everything, all between `first` and `last`. For a narrower one some of
/// them: each frame that it lost lies in a gap that it is told, and the gaps count no less than it
/// lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The number after the subscription's position: all below it was given or told.
    pub first: u64,
    /// The number before the next one that will be given.
    pub last: u64,
    /// How many frames were lost: exact for a subscription to everything, else an upper bound.
    pub lost: u64,
    /// Whether they were gone when the subscription was made, and not lost by it.
    pub expired: bool,
    /// Whether terminal frames may be among them: never false if one is.
    pub terminals_lost: bool,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// All that was published when the poll began was given.
    CaughtUp,
    /// A publish that began earlier is unfinished; what comes after it must wait for it.
    Unfinished,
    /// The visitor asked to stop, or the batch is full: there may be more.
    More,
}

/// What a poll gives.
struct Plan {
    /// What is numbered below this.
    until: u64,
    /// What may have to be told in the end.
    owed: Option<PendingGap>,
    rounds: u64,
}

impl Plan {
    /// What is there, as far as one pin reaches.
    const ONE_ROUND: Plan = Plan {
        until: u64::MAX,
        owed: None,
        rounds: 1,
    };
}

/// A reader of a [`Ring`](super::Ring): an independent position in each lane that it reads.
///
/// Polling is wait-free: its steps are bounded by the size of the ring, and it waits for nobody.
pub struct Subscription<T> {
    pub(super) core: Arc<Core<T>>,
    pub(super) cursors: Vec<Cursor>,
    /// Its pins in the shards that it reads.
    pub(super) rows: Vec<OwnPins>,
    /// What each lane offers.
    pub(super) heads: Candidates,
    /// The tails, loaded after `known_below` was.
    pub(super) tails: Vec<u64>,
    /// Frames numbered below this have an index below `tails`.
    pub(super) tails_cover: u64,
    pub(super) filter: Option<TagFilter>,
    /// Reads every lane, unfiltered: numbers are dense.
    pub(super) everything: bool,
    /// Whose cursor gave a frame last.
    pub(super) current: usize,
    /// All numbers up to this one were given, told as lost, or passed over.
    pub(super) last: u64,
    /// Indices lost and not told yet.
    pub(super) lost: u64,
    /// How often a lane was found lapped.
    pub(super) times_lapped: u64,
    /// What was missing below this number was gone when the subscription was made.
    pub(super) expired_below: u64,
    /// Where it waits, once it has.
    pub(super) waiter: Option<Waiter>,
    /// What is woken there.
    pub(super) waker: Option<GuardedWaker>,
    pub(super) flood: Contention,
    pub(super) away: Pacing,
    /// How many frames should be ahead of it in a flood.
    pub(super) far: u64,
}

/// Gives cursors a row of pins in each shard that they read: all or none.
fn with_pins<T>(
    core: &Core<T>,
    cursors: impl Iterator<Item = Cursor>,
) -> Result<(Vec<Cursor>, Vec<OwnPins>), SubscribeError> {
    let mut rows = Vec::new();
    let (mut with_pins, mut shard) = (Vec::new(), None);
    for mut cursor in cursors {
        if shard.replace(cursor.lane.shard()) != Some(cursor.lane.shard()) {
            let row = core.take_pins(cursor.lane.shard());
            rows.push(row.ok_or(SubscribeError::TooMany)?);
        }
        cursor.row = rows.len() - 1;
        with_pins.push(cursor);
    }
    Ok((with_pins, rows))
}

impl<T> Subscription<T> {
    /// A new subscription: see [`Ring::subscribe`](super::super::Ring::subscribe).
    pub(crate) fn open(
        core: &Arc<Core<T>>,
        select: Select,
        filter: Option<TagFilter>,
        start: Start,
    ) -> Result<Self, SubscribeError> {
        let last = core.next_sequence() - 1;
        let after = match start {
            Start::Oldest => None,
            Start::Latest => Some(last),
            Start::After(after) if after > last => {
                return Err(SubscribeError::Ahead { after, last });
            }
            Start::After(after) => Some(after),
        };
        let selected = |id: &LaneId| match select {
            Select::All => true,
            Select::Terminals => id.class() == LaneClass::Terminals,
            Select::Shard(shard) => id.shard() == shard & (core.shards() - 1),
        };
        let cursors = core.lane_ids().filter(selected).map(|id| {
            let lane = core.lane(id);
            Cursor::new(lane, id, lane.oldest())
        });
        let mut subscription = Subscription::new(core.clone(), with_pins(core, cursors)?, filter);
        subscription.start(after);
        Ok(subscription)
    }

    fn new(
        core: Arc<Core<T>>,
        (cursors, rows): (Vec<Cursor>, Vec<OwnPins>),
        filter: Option<TagFilter>,
    ) -> Self {
        let lanes = cursors.len();
        let windows = core.lanes().iter().map(|lane| lane.geometry().window());
        let far = ENOUGH_AHEAD.min(windows.min().unwrap_or(0) as u64 / 8);
        Subscription {
            everything: lanes == core.lanes().len() && filter.is_none(),
            flood: Contention::new(filter.is_none()),
            core,
            cursors,
            rows,
            heads: Candidates::new(lanes),
            tails: vec![0; lanes],
            tails_cover: 0,
            filter,
            current: 0,
            last: 0,
            lost: 0,
            times_lapped: 0,
            expired_below: 0,
            waiter: None,
            waker: None,
            away: Pacing::default(),
            far,
        }
    }

    /// Every frame numbered up to this one was given, told as lost, or is none of this
    /// subscription's. It moves with what a poll has looked at, also where that gave nothing; a
    /// batch moves it to its last delivery.
    pub fn position(&self) -> u64 {
        self.last
    }

    /// Whether it reads every lane, unfiltered.
    pub fn reads_everything(&self) -> bool {
        self.everything
    }

    /// How often a lane was found lapped.
    pub fn times_lapped(&self) -> u64 {
        self.times_lapped
    }

    /// Gives all that was published when the call began, pin by pin, until `visit` breaks.
    ///
    /// A publish that was unfinished when the call began may hold back what came after it; then the
    /// result is [`Polled::Unfinished`] and a later poll goes on there.
    #[inline]
    pub fn poll(&mut self, mut visit: impl FnMut(Delivery<'_, T>) -> ControlFlow<()>) -> Polled {
        match self.plan() {
            Ok(plan) => self.give(plan, &mut visit),
            Err(polled) => polled,
        }
    }

    /// What a poll that begins now gives; or how it ends, if that is nothing.
    fn plan(&mut self) -> Result<Plan, Polled> {
        let owed = PendingGap {
            lost: self.has_unreported_gap(),
            times_lapped: self.times_lapped,
        };
        // Claims of all below happen before.
        let Some(until) = self.core.published_below() else {
            return Err(Polled::Unfinished);
        };
        if until <= self.last + 1 {
            return Err(Polled::CaughtUp);
        }
        // Before the cursors move: what they pass is compared with these tails.
        self.load_tails(until);
        if !self.approach() && !owed.lost {
            let passed = |(cursor, &tail): (&Cursor, &u64)| cursor.is_past(tail);
            // An index below a tail that is claimed and not finished may hold back frames above it.
            return Err(match self.cursors.iter().zip(&self.tails).all(passed) {
                true => self.caught_up(until),
                false => Polled::Unfinished,
            });
        }
        Ok(Plan {
            until,
            owed: Some(owed),
            // Each round uses up a pin of some lane; what goes beyond a ring's worth was published
            // since.
            rounds: self.most_rounds(),
        })
    }

    /// Ends a poll that left nothing numbered below `until` in its lanes. The subscription stands
    /// there then, though the last frame that it gave may lie far below; unless a loss that it has
    /// not told may lie in between.
    pub(super) fn caught_up(&mut self, until: u64) -> Polled {
        // A reader of everything stands there already, or behind numbers without a frame, which it
        // tells before the next one.
        if !self.everything && !self.has_unreported_gap() {
            self.last = until - 1;
        }
        Polled::CaughtUp
    }

    /// Carries a plan out, round by round. Inlined into the caller with the visitor, whose counters
    /// then stay in registers.
    #[inline(always)]
    fn give(
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
                    return match plan.owed {
                        Some(owed) if self.report_rest(plan.until, owed, visit).is_break() => {
                            Polled::More
                        }
                        Some(_) => self.caught_up(plan.until),
                        None => Polled::CaughtUp,
                    };
                }
                ControlFlow::Continue(false) => {}
            }
            if round == plan.rounds {
                break;
            }
            self.approach();
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

    /// Gives what is there, under one pin and without a look at what publishers write: the cheapest
    /// way to keep up. At most a batch of each lane, or more if that holds nothing for this reader;
    /// returns how many deliveries it made. 0 says that nothing is to be had now.
    ///
    /// A subscription that keeps up with publishers who flood the ring may stay here for some
    /// microseconds after a batch, so that it does not hinder them (see `subscription/away.rs`). If
    /// its shard has more readers than there are processors, it yields meanwhile, and other threads
    /// may run for longer.
    ///
    /// The frames are borrowed from the ring. A visitor that sleeps holds its batch's slots, which
    /// publishers then pass over; it delays nobody, and the frames stay valid.
    #[inline]
    pub fn batch(&mut self, mut visit: impl FnMut(Delivery<'_, T>) -> ControlFlow<()>) -> usize {
        let mut plan = if self.approach() {
            Plan::ONE_ROUND
        } else if self.has_unreported_gap()
            && let Ok(plan) = self.plan()
        {
            plan
        } else {
            return 0;
        };
        let mut count = 0;
        let polled = loop {
            let further = plan.owed.is_some();
            let polled = self.give(plan, &mut |delivery| {
                count += 1;
                visit(delivery)
            });
            // One pin may reach only indices that carry no frame for this reader: those of frames
            // in another lane, or void ones. So it goes on, and a batch that gives nothing says
            // that there is nothing.
            if count > 0 || further || polled != Polled::Unfinished {
                break polled;
            }
            match self.plan() {
                Ok(more) => plan = more,
                Err(polled) => break polled,
            }
        };
        if polled != Polled::More {
            let mut away = self.away;
            let crowded = || self.is_crowded();
            let numbered = || self.core.published_below().unwrap_or(self.last);
            let flooded = self.flood.is_on();
            away.after(self.last + 1, self.far, flooded, crowded, numbered);
            self.away = away;
        }
        count
    }

    /// Whether the first shard that it reads has more readers than there are processors.
    pub(super) fn is_crowded(&self) -> bool {
        let first = self.cursors.first();
        first.is_some_and(|first| self.core.readers(first.lane.shard()) > processors())
    }

    pub(super) fn most_rounds(&self) -> u64 {
        let pins = |cursor: &Cursor| {
            let geometry = self.core.lane(cursor.lane).geometry();
            geometry.span() / geometry.batch() + 8
        };
        self.cursors.iter().map(pins).sum()
    }

    /// A number that changes when a cursor moves or a frame is given.
    fn progress(&self) -> u64 {
        self.cursors
            .iter()
            .map(Cursor::next)
            .fold(self.last, u64::wrapping_add)
    }

    /// Moves every cursor to what it needs a pin for; whether there is such a thing.
    #[inline]
    fn approach(&mut self) -> bool {
        let mut wanted = false;
        // What is fetched for nothing is taken from a publisher, and costs this reader a line a
        // lane.
        let eager = self.filter.is_none() && self.cursors.len() <= FEW;
        for cursor in &mut self.cursors {
            let lane = &self.core.lane(cursor.lane);
            wanted |= cursor.approach(lane, self.filter.as_ref(), eager);
            // What was finished was numbered.
            cursor.settle_suspects(lane, || self.core.published_at_most());
        }
        wanted
    }

    /// Pins every lane, gives what can be given, unpins. `Continue(true)`: nothing below
    /// `until` is left.
    #[inline(always)]
    fn round(
        &mut self,
        until: u64,
        visit: &mut impl FnMut(Delivery<'_, T>) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        let before = self.flood.needs_activity().then(|| self.core.activity());
        let last = self.last;
        self.pin();
        let round = Round(self);
        let this = &mut *round.0;
        let flow = this.merge(until, visit);
        let came = before.is_some_and(|before| this.core.activity() > before);
        if this.flood.after(this.last - last, came) {
            this.acquire_lines();
        }
        flow
    }

    /// Takes over the lines that were read in this round (see `subscription/flood.rs`).
    #[inline(never)]
    fn acquire_lines(&self) {
        for cursor in &self.cursors {
            cursor.acquire_lines(&self.core.lane(cursor.lane));
        }
    }

    pub(super) fn pin(&mut self) {
        for cursor in &mut self.cursors {
            let (lane, row) = (&self.core.lane(cursor.lane), &self.rows[cursor.row]);
            cursor.pin(lane, row);
        }
        for attempt in 1..=PIN_TRIES {
            // SeqCst: PAIR: the fence in `Lane::extend`, between horizon and pins.
            fence(Ordering::SeqCst);
            let mut lapped = false;
            for cursor in &mut self.cursors {
                let (lane, row) = (&self.core.lane(cursor.lane), &self.rows[cursor.row]);
                if let Err(lost) = cursor.check(lane, row) {
                    self.lost += lost;
                    self.times_lapped += 1;
                    lapped = true;
                    if attempt < PIN_TRIES {
                        cursor.pin(lane, row);
                    }
                }
            }
            if !lapped {
                break;
            }
        }
    }
}

/// Ends the pins of a round, also when the visitor panics.
struct Round<'a, T>(&'a mut Subscription<T>);

impl<T> Drop for Round<'_, T> {
    fn drop(&mut self) {
        let Subscription {
            core,
            cursors,
            rows,
            ..
        } = &mut *self.0;
        for cursor in cursors {
            let (lane, row) = (&core.lane(cursor.lane), &rows[cursor.row]);
            cursor.unpin(lane, row);
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.core.waiters().leave(waiter);
        }
    }
}

impl<T> std::fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("lanes", &self.cursors.len())
            .field("filter", &self.filter)
            .field("position", &self.last)
            .finish_non_exhaustive()
    }
}

impl<T> Subscription<T> {
    /// An independent subscription at the same place.
    ///
    /// # Errors
    /// [`SubscribeError`](SubscribeError) if no more subscriptions can be had.
    pub fn try_clone(&self) -> Result<Self, SubscribeError> {
        let (cursors, rows) = with_pins(&self.core, self.cursors.iter().map(Cursor::unpinned))?;
        Ok(Subscription {
            core: self.core.clone(),
            cursors,
            rows,
            heads: self.heads.clone(),
            tails: self.tails.clone(),
            waiter: None,
            waker: None,
            ..*self
        })
    }
}
