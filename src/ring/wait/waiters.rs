//! Waiting: how a reader that found nothing sleeps until there may be something.
//!
//! Who reads one shard sleeps there, in the **room** of its key; who reads several sleeps in the
//! wide room. A publisher must not pay for sleepers that are not there: after its stamp it runs a
//! fence and loads one word of its shard, the **watch**, which is 0 when nobody sleeps there and
//! nobody ever slept wide. Else it walks the rooms of its two keys, that of any key and the wide
//! one, without a lock, and wakes those whose key and filter match, each at most once for each time
//! that it slept.
//!
//! # No lost wake-up
//! ```text
//! sleeper                               publisher
//!   asleep := true, watch += 1            stamp := done
//!   fence(SeqCst)                         fence(SeqCst)
//!   look again; sleep if nothing          load the watch; walk if it is not 0
//! ```
//! If the sleeper's fence comes first, the publisher sees the watch, the seat in its room and the
//! flag. If the publisher's comes first, the sleeper's second look sees the frame.
//!
//! A frame that was seen may still be held back by an unfinished one in front of it, of any key and
//! tag. Who sleeps for its own frames only therefore has nothing unfinished in front of it: it
//! asks `Subscription::is_behind` after it lay down, and else sleeps for any. That needs no more
//! than the fences: if a publisher did not see the flag, the sleeper's look at the tails sees its
//! claim, and with it every claim in front.
//!
//! # Rooms
//! A room is a list of the [registry](super::registry), a seat one of its rows: it is there as long
//! as somebody has it. A publisher that finds a room whose list is empty walks nothing. A seat that
//! was just left may be taken again while a walker stands at it, which then may wake its new holder
//! for nothing; that one looks again and sleeps.
//!
//! # Foreign code
//! A waker runs on the publisher's thread, in the middle of its walk, and may do anything: its
//! panics end in its guard (`foreign.rs`), and a walk goes on whatever is taken or given back
//! meanwhile, also by the waker.

use crate::ring::registry::{MAX_ROWS, Registry, Row, Walk};
use crate::ring::slot::TagFilter;
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, AtomicWaker, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::task::Waker;

/// A key that matches every other one.
pub const ANY_KEY: u64 = u64::MAX;

/// The most rooms of a shard; a lane of 16 times as many places has them all.
const MOST_ROOMS: usize = 4_096;

/// The watch counts sleepers from its lowest bit, and wide seats in units of this.
const WIDE: u64 = 1 << 32;

/// Where a sleeper waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitTarget {
    /// For frames of this shard.
    Shard(usize),
    /// For frames of any.
    Wide,
}

/// A place to sleep, taken until it is left.
pub(crate) struct Waiter {
    place: WaitTarget,
    /// Whose room it is in.
    key: u64,
    row: Row<WaiterState, 1>,
    /// The key that is waited for, and whether tags are looked at.
    wish: (u64, bool),
}

/// What is known of a seat and who has it. What walkers look at stands first.
#[repr(C)]
pub(crate) struct WaiterState {
    asleep: AtomicBool,
    key: AtomicU64,
    /// What tags it waits for: mask and value, and the classes' two halves.
    tags: AtomicU64,
    classes: [AtomicU64; 2],
    waker: AtomicWaker,
}

// The watch counts so many.
const _: () = assert!((MAX_ROWS as u64) < WIDE);

impl Default for WaiterState {
    fn default() -> Self {
        WaiterState {
            asleep: AtomicBool::new(false),
            key: AtomicU64::new(ANY_KEY),
            tags: AtomicU64::new(0),
            classes: [const { u64::MAX }; 2].map(AtomicU64::new),
            waker: AtomicWaker::new(),
        }
    }
}

impl WaiterState {
    /// Says what is waited for. Relaxed: before the flag goes up, by its only thread.
    fn want(&self, key: u64, filter: Option<&TagFilter>) {
        let (tags, classes) = filter.map_or((0, u128::MAX), |filter| {
            let tags = u64::from(filter.mask) << 32 | u64::from(filter.value);
            (tags, filter.classes)
        });
        self.key.store(key, Ordering::Relaxed);
        self.tags.store(tags, Ordering::Relaxed);
        self.classes[0].store(classes as u64, Ordering::Relaxed);
        self.classes[1].store((classes >> 64) as u64, Ordering::Relaxed);
    }

    /// Whether it waits for such a frame. Relaxed: the flag that was seen up carries it.
    fn wants(&self, keys: [u64; 2], tag: u32) -> bool {
        let own = self.key.load(Ordering::Relaxed);
        let tags = self.tags.load(Ordering::Relaxed);
        let [low, high] = [0, 1].map(|half| self.classes[half].load(Ordering::Relaxed));
        let filter = TagFilter {
            mask: (tags >> 32) as u32,
            value: tags as u32,
            classes: u128::from(high) << 64 | u128::from(low),
        };
        (own == ANY_KEY || keys.contains(&own)) && filter.matches(tag)
    }
}

/// Those who wait for frames.
pub(crate) struct Waiters {
    /// How many sleep in each shard; in units of [`WIDE`], how many wide seats are taken.
    watches: Box<[CachePadded<AtomicU64>]>,
    /// How many rooms a shard has for single keys; one more is for any.
    rooms: usize,
    /// The seats of each shard, in its rooms.
    narrow: Arc<Registry<WaiterState, 1>>,
    /// How many sleep wide.
    wide_asleep: CachePadded<AtomicUsize>,
    /// The wide seats: one room.
    wide: Arc<Registry<WaiterState, 1>>,
    woken: CachePadded<AtomicU64>,
}

impl Waiters {
    /// For so many shards, whose lanes have so many places.
    pub(crate) fn new(shards: usize, places: u64) -> Self {
        let rooms = (places as usize / 16).clamp(1, MOST_ROOMS);
        Waiters {
            watches: (0..shards).map(|_| CachePadded::default()).collect(),
            rooms,
            narrow: Arc::new(Registry::new(shards, rooms + 1)),
            wide_asleep: CachePadded::new(AtomicUsize::new(0)),
            wide: Arc::new(Registry::new(1, 1)),
            woken: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// How many sleep now, and how often one was woken so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        // Relaxed: figures.
        let narrow = |watch: &CachePadded<AtomicU64>| watch.load(Ordering::Relaxed) & (WIDE - 1);
        let wide = self.wide_asleep.load(Ordering::Relaxed) as u64;
        let parked = self.watches.iter().map(narrow).sum::<u64>() + wide;
        (parked, self.woken.load(Ordering::Relaxed))
    }

    /// The room of a key, in any shard.
    fn room(&self, key: u64) -> usize {
        match key {
            ANY_KEY => self.rooms,
            key => key as usize % self.rooms,
        }
    }

    /// A seat in the room of this key; `None` when there are too many.
    fn join(&self, place: WaitTarget, key: u64) -> Option<Waiter> {
        let row = match place {
            WaitTarget::Shard(shard) => Registry::take(&self.narrow, shard, self.room(key)),
            WaitTarget::Wide => Registry::take(&self.wide, 0, 0),
        }?;
        if place == WaitTarget::Wide {
            // Relaxed: ordered by the fence in `register_waker`.
            for watch in &self.watches {
                watch.fetch_add(WIDE, Ordering::Relaxed);
            }
        }
        Some(Waiter {
            place,
            key,
            row,
            wish: (key, false),
        })
    }

    /// Gives a seat up.
    pub(crate) fn leave(&self, seat: Waiter) {
        self.deregister(&seat);
        drop(seat.row.waker.take());
        if seat.place == WaitTarget::Wide {
            for watch in &self.watches {
                watch.fetch_sub(WIDE, Ordering::Relaxed);
            }
        }
    }

    /// Lies down, in the seat given if it is one for this place and key: `waker` will be woken once
    /// by a publish with this key and a tag that the filter lets through, which the caller may not
    /// see when it looks again right after this. If that look finds something, the caller rises.
    /// `None` when there are too many sleepers.
    ///
    /// The filter is there or not; it is the same one always.
    pub(crate) fn register(
        &self,
        seat: Option<Waiter>,
        place: WaitTarget,
        key: u64,
        filter: Option<&TagFilter>,
        waker: &Waker,
    ) -> Option<Waiter> {
        let wish = (key, filter.is_some());
        // There is one wide room.
        let room = if place == WaitTarget::Wide {
            ANY_KEY
        } else {
            key
        };
        let mut seat = match seat {
            Some(seat) if (seat.place, seat.key) == (place, room) => {
                if seat.wish != wish {
                    self.deregister(&seat);
                }
                seat
            }
            Some(seat) => {
                self.leave(seat);
                self.join(place, room)?
            }
            None => self.join(place, room)?,
        };
        seat.wish = wish;
        let sleeper = &*seat.row;
        sleeper.waker.register(waker);
        // Relaxed: only this thread raises the flag. A publisher that takes an older one down right
        // now wakes the waker just registered, or its frame is seen by the caller's next look.
        if !sleeper.asleep.load(Ordering::Relaxed) {
            sleeper.want(key, filter);
            // Counted before the flag can be taken down.
            self.count(place, 1);
            // Release: who sees the flag finds what is wanted and the count. PAIR: `walk`. A swap,
            // as all changes of the flag: a publisher's that read an older one can't come after it.
            sleeper.asleep.swap(true, Ordering::Release);
        }
        // SeqCst: PAIR: the fence in `wake`. See the module.
        fence(Ordering::SeqCst);
        Some(seat)
    }

    /// Gets up, woken or not; whether it had been woken.
    pub(crate) fn deregister(&self, seat: &Waiter) -> bool {
        let sleeper = &*seat.row;
        // Relaxed: only this thread raises the flag. AcqRel: one of sleeper and publishers takes it
        // down and with it the count.
        let asleep =
            sleeper.asleep.load(Ordering::Relaxed) && sleeper.asleep.swap(false, Ordering::AcqRel);
        if asleep {
            self.count(seat.place, -1);
        }
        !asleep
    }

    /// Counts a sleeper in or out. Relaxed: ordered by the fences.
    fn count(&self, place: WaitTarget, by: i64) {
        match place {
            WaitTarget::Wide => self.wide_asleep.fetch_add(by as usize, Ordering::Relaxed) as u64,
            // A sleeper is counted out only after it was counted in: nothing carries into WIDE.
            WaitTarget::Shard(shard) => self.watches[shard].fetch_add(by as u64, Ordering::Relaxed),
        };
    }

    /// Begins to fetch what `wake` will look at, if anybody sleeps: rooms are many, and cold.
    #[inline]
    pub(crate) fn prefetch(&self, shard: usize, keys: [u64; 2]) {
        // Relaxed: a hint.
        if self.watches[shard].load(Ordering::Relaxed) & (WIDE - 1) != 0 {
            for key in keys {
                self.narrow.prefetch(shard, self.room(key));
            }
        }
    }

    /// Wakes who waits for a frame of this shard with one of these keys and this tag that was
    /// published before.
    #[inline]
    pub(crate) fn wake(&self, shard: usize, keys: [u64; 2], tag: u32) {
        // SeqCst: PAIR: the fence in `register_waker`. The frame is visible before it.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fences.
        let watch = self.watches[shard].load(Ordering::Relaxed);
        if watch != 0 {
            self.wake_matching(shard, keys, tag, watch);
        }
    }

    #[cold]
    fn wake_matching(&self, shard: usize, keys: [u64; 2], tag: u32, watch: u64) {
        let matching = |sleeper: &WaiterState| sleeper.wants(keys, tag);
        // A room that is walked twice wakes nobody twice.
        let rooms = [keys[0], keys[1], ANY_KEY].map(|key| self.room(key));
        let is_taken = |&room: &usize| !self.narrow.is_vacant(shard, room);
        if watch & (WIDE - 1) != 0 && rooms.iter().any(is_taken) {
            let walk = self.narrow.enter(shard, || ());
            for room in rooms {
                self.walk(WaitTarget::Shard(shard), &walk, room, matching);
            }
        }
        // Relaxed: as for the watch.
        if self.wide_asleep.load(Ordering::Relaxed) > 0 {
            self.walk(WaitTarget::Wide, &self.wide.enter(0, || ()), 0, matching);
        }
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        // SeqCst: as in `wake`.
        fence(Ordering::SeqCst);
        for (shard, watch) in self.watches.iter().enumerate() {
            // Relaxed: as in `wake`.
            if watch.load(Ordering::Relaxed) & (WIDE - 1) != 0 {
                let walk = self.narrow.enter(shard, || ());
                for room in 0..=self.rooms {
                    self.walk(WaitTarget::Shard(shard), &walk, room, |_| true);
                }
            }
        }
        self.walk(WaitTarget::Wide, &self.wide.enter(0, || ()), 0, |_| true);
    }

    fn walk(
        &self,
        place: WaitTarget,
        walk: &Walk<'_, WaiterState, 1>,
        room: usize,
        matching: impl Fn(&WaiterState) -> bool,
    ) {
        for sleeper in walk.rows(room) {
            // Acquire: PAIR: the store in `register_waker`. The fence makes a flag seen that must be.
            // AcqRel: as in `rise`.
            if sleeper.asleep.load(Ordering::Acquire)
                && matching(sleeper)
                && sleeper.asleep.swap(false, Ordering::AcqRel)
            {
                self.count(place, -1);
                // Relaxed: a figure.
                self.woken.fetch_add(1, Ordering::Relaxed);
                sleeper.waker.wake();
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_was_left_is_watched_by_nobody() {
        let waiters = Waiters::new(2, 64);
        let watched = || {
            let watch = |watch: &CachePadded<AtomicU64>| watch.load(Ordering::Relaxed);
            waiters.watches.iter().map(watch).collect::<Vec<_>>()
        };
        for (place, taken) in [
            (WaitTarget::Wide, [WIDE, WIDE]),
            (WaitTarget::Shard(1), [0, 1]),
        ] {
            let seat = waiters.register(None, place, 7, None, Waker::noop());
            assert_eq!(watched(), taken);
            waiters.leave(seat.unwrap());
            assert_eq!(watched(), [0, 0]);
        }
    }
}
