//! A subscription: cursors over lanes, merged into one strictly increasing order.

mod asleep;
mod away;
mod flood;
mod heads;
mod loss;
mod merge;
mod start;

use self::away::Away;
use self::flood::Flood;
use self::heads::Heads;
use self::loss::Owed;
use super::core::Core;
use super::cursor::Cursor;
use super::pins::OwnPins;
use super::tag::TagFilter;
use super::wait::Seat;
use crate::foreign::GuardedWaker;
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
    owed: Option<Owed>,
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
    core: Arc<Core<T>>,
    cursors: Vec<Cursor>,
    /// Its pins in the shards that it reads.
    rows: Vec<OwnPins>,
    /// What each lane offers.
    heads: Heads,
    /// The tails, loaded after `known_below` was.
    tails: Vec<u64>,
    /// Frames numbered below this have an index below `tails`.
    known_below: u64,
    filter: Option<TagFilter>,
    /// Reads every lane, unfiltered: numbers are dense.
    everything: bool,
    /// Whose cursor gave a frame last.
    current: usize,
    /// All numbers up to this one were given, told as lost, or passed over.
    last: u64,
    /// Indices lost and not told yet.
    lost: u64,
    /// How often a lane was found lapped.
    laps: u64,
    /// What was missing below this number was gone when the subscription was made.
    expired_below: u64,
    /// Where it waits, once it has.
    seat: Option<Seat>,
    /// What is woken there.
    waker: Option<GuardedWaker>,
    flood: Flood,
    away: Away,
    /// How many frames should be ahead of it in a flood.
    far: u64,
}

impl<T> Subscription<T> {
    pub(crate) fn new(
        core: Arc<Core<T>>,
        (cursors, rows): (Vec<Cursor>, Vec<OwnPins>),
        filter: Option<TagFilter>,
    ) -> Self {
        let lanes = cursors.len();
        let windows = core.lanes.iter().map(|lane| lane.geometry().window());
        let far = away::FAR.min(windows.min().unwrap_or(0) as u64 / 8);
        Subscription {
            everything: lanes == core.lanes.len() && filter.is_none(),
            flood: Flood::new(filter.is_none()),
            core,
            cursors,
            rows,
            heads: Heads::new(lanes),
            tails: vec![0; lanes],
            known_below: 0,
            filter,
            current: 0,
            last: 0,
            lost: 0,
            laps: 0,
            expired_below: 0,
            seat: None,
            waker: None,
            away: Away::default(),
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
    pub fn laps(&self) -> u64 {
        self.laps
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
        let owed = Owed {
            lost: self.owes(),
            laps: self.laps,
        };
        // Claims of all below happen before.
        let Some(until) = self.core.numbered() else {
            return Err(Polled::Unfinished);
        };
        if until <= self.last + 1 {
            return Err(Polled::CaughtUp);
        }
        // Before the cursors move: what they pass is compared with these tails.
        self.know(until);
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
    fn caught_up(&mut self, until: u64) -> Polled {
        // A reader of everything stands there already, or behind numbers without a frame, which it
        // tells before the next one.
        if !self.everything && !self.owes() {
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
                        Some(owed) if self.tell_rest(plan.until, owed, visit).is_break() => {
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
        } else if self.owes()
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
            let numbered = || self.core.numbered().unwrap_or(self.last);
            let flooded = self.flood.is_on();
            away.after(self.last + 1, self.far, flooded, crowded, numbered);
            self.away = away;
        }
        count
    }

    /// Whether the first shard that it reads has more readers than there are processors.
    pub(super) fn is_crowded(&self) -> bool {
        let first = self.cursors.first();
        first.is_some_and(|first| self.core.is_crowded(first))
    }

    fn most_rounds(&self) -> u64 {
        let pins = |cursor: &Cursor| {
            let geometry = self.core.lanes[cursor.lane].geometry();
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
            let lane = &self.core.lanes[cursor.lane];
            wanted |= cursor.approach(lane, self.filter.as_ref(), eager);
            // What was finished was numbered.
            cursor.settle(lane, || self.core.numbered_at_most());
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
        let before = self.flood.asks().then(|| self.core.claimed());
        let last = self.last;
        self.pin();
        let round = Round(self);
        let this = &mut *round.0;
        let flow = this.merge(until, visit);
        let came = before.is_some_and(|before| this.core.claimed() > before);
        if this.flood.after(this.last - last, came) {
            this.take_over();
        }
        flow
    }

    /// Takes over the lines that were read in this round (see `subscription/flood.rs`).
    #[inline(never)]
    fn take_over(&self) {
        for cursor in &self.cursors {
            cursor.take_over(&self.core.lanes[cursor.lane]);
        }
    }

    fn pin(&mut self) {
        for cursor in &mut self.cursors {
            let (lane, row) = (&self.core.lanes[cursor.lane], &self.rows[cursor.row]);
            cursor.pin(lane, row);
        }
        for attempt in 1..=PIN_TRIES {
            // SeqCst: PAIR: the fence in `Lane::extend`, between horizon and pins.
            fence(Ordering::SeqCst);
            let mut lapped = false;
            for cursor in &mut self.cursors {
                let (lane, row) = (&self.core.lanes[cursor.lane], &self.rows[cursor.row]);
                if let Err(lost) = cursor.check(lane, row) {
                    self.lost += lost;
                    self.laps += 1;
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
            let (lane, row) = (&core.lanes[cursor.lane], &rows[cursor.row]);
            cursor.unpin(lane, row);
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.core.waiters.leave(seat);
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
    /// [`SubscribeError`](super::SubscribeError) if no more subscriptions can be had.
    pub fn try_clone(&self) -> Result<Self, super::SubscribeError> {
        let (cursors, rows) = self.core.clone_cursors(&self.cursors)?;
        Ok(Subscription {
            core: self.core.clone(),
            cursors,
            rows,
            heads: self.heads.clone(),
            tails: self.tails.clone(),
            seat: None,
            waker: None,
            ..*self
        })
    }
}
