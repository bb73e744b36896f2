//! What a ring's handles share: the lanes, the pins, the sequence.
//!
//! Where a number comes from: in a ring of one shard all frames can pass through one lane, whose
//! indices are the numbers (`lane/count.rs`). Several shards have a counter between them.

use super::cursor::Cursor;
use super::geometry::Geometry;
use super::lane::{ClaimError, Lane};
use super::pins::{LANES, OwnPins, PinTable, Pins};
use super::registry::Registry;
use super::wait::{Place, Waiters};
use super::{FRAMES, MAX_SEQUENCE, RingConfig, Route, SubscribeError};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, processors};
use crossbeam_utils::CachePadded;

/// See the module. Lane `l` of shard `s` is `lanes[s * LANES + l]`.
pub(crate) struct Core<T> {
    pub(crate) lanes: Box<[Lane<T>]>,
    pins: Arc<Pins>,
    /// Those who wait for frames.
    pub(crate) waiters: Waiters,
    /// The number that the next frame will bear, unless a lane counts.
    counter: CachePadded<AtomicU64>,
    /// Whether the first lane counts.
    counting: bool,
    /// The number that the first frame bore.
    pub(crate) first: u64,
    /// Whether the counter is so near the end that it is looked at before a number is taken.
    near_end: AtomicBool,
}

/// From here on numbers are looked at before they are taken. No number of threads takes so many at
/// once as are left then.
const NEAR_THE_END: u64 = MAX_SEQUENCE - (1 << 48);

impl<T> Core<T> {
    /// With `counter`, numbers come from a counter also where a lane could count.
    pub(crate) fn new(config: &RingConfig, counter: bool) -> Self {
        let shards = config
            .shards
            .clamp(1, super::MAX_SHARDS)
            .next_power_of_two();
        let geometry = |lane| match lane {
            super::FRAMES => config.frames,
            _ => larger(config.terminals, config.frames),
        };
        let first = config.after.min(MAX_SEQUENCE) + 1;
        let counting = shards == 1 && !counter;
        let lane = |at| {
            let counts_from = (counting && at == FRAMES).then_some(first);
            Lane::new(geometry(at % LANES), at % LANES, counts_from)
        };
        Core {
            lanes: (0..shards * LANES).map(lane).collect(),
            pins: Arc::new(Registry::new(shards, 1)),
            waiters: Waiters::new(shards, config.frames.places() as u64),
            counter: CachePadded::new(AtomicU64::new(first)),
            counting,
            first,
            near_end: AtomicBool::new(first >= NEAR_THE_END),
        }
    }

    /// The lane whose indices are the numbers, if there is one.
    #[inline(always)]
    pub(crate) fn counting(&self) -> Option<&Lane<T>> {
        self.counting.then(|| &self.lanes[FRAMES])
    }

    /// Takes so many numbers for frames whose places are claimed, in lanes that do not count; the
    /// first.
    #[inline(always)]
    pub(crate) fn take_numbers(&self, count: u64) -> u64 {
        // Release: the claims happen before, for whoever acquires these numbers or later ones.
        // Acquire: so do the claims of all smaller numbers, which fences rely on.
        self.counter.fetch_add(count, Ordering::AcqRel)
    }

    /// Takes a number for a frame whose place is claimed in a lane that does not count.
    #[inline(always)]
    pub(crate) fn take_number(&self) -> Result<u64, ClaimError> {
        match self.counting() {
            Some(lane) => lane.take_number(self.pins(0)),
            None => match self.take_numbers(1) {
                number if number < NEAR_THE_END => Ok(number),
                number => self.near_end(number, 1),
            },
        }
    }

    /// Takes consecutive numbers for a batch whose places are claimed, in lanes that do not count:
    /// all or none.
    #[inline]
    pub(crate) fn take_batch_numbers(&self, count: u64) -> Result<u64, ClaimError> {
        if !self.is_near_end() {
            let first = self.take_numbers(count);
            return match first < NEAR_THE_END {
                true => Ok(first),
                false => self.near_end(first, count),
            };
        }
        let after = |first: u64| Some(first + count).filter(|&end| end <= MAX_SEQUENCE + 1);
        // AcqRel: as in `take_numbers`. Relaxed: nothing was taken.
        let (new, old) = (Ordering::AcqRel, Ordering::Relaxed);
        let taken = self.counter.fetch_update(new, old, after);
        taken.map_err(|_| ClaimError::Exhausted)
    }

    /// Notes that the end is near, and says whether there are the numbers that were taken.
    #[cold]
    fn near_end(&self, first: u64, count: u64) -> Result<u64, ClaimError> {
        // Relaxed: who sees it late takes numbers without a look at them, far from the end.
        self.near_end.store(true, Ordering::Relaxed);
        match first + count <= MAX_SEQUENCE + 1 {
            true => Ok(first),
            false => Err(ClaimError::Exhausted),
        }
    }

    #[inline(always)]
    fn is_near_end(&self) -> bool {
        // Relaxed: see `near_end`.
        self.near_end.load(Ordering::Relaxed)
    }

    /// Whether so many numbers may be left: if not, they never will be. What is refused later
    /// leaves its places, and what was there is gone; so it is asked before.
    #[inline(always)]
    pub(crate) fn may_number(&self, count: u64) -> bool {
        // Relaxed: whoever takes numbers finds out.
        let left = || MAX_SEQUENCE + 1 - self.counter.load(Ordering::Relaxed).min(MAX_SEQUENCE + 1);
        match self.counting() {
            Some(lane) => !lane.is_near_end() || lane.may_number(count),
            None => !self.is_near_end() || count <= left(),
        }
    }

    /// Frames of every publish that has returned are numbered below this, and what numbers below it
    /// were claimed for in other lanes is seen. `None` if publishers went round a whole lane while
    /// this looked.
    #[inline(always)]
    pub(crate) fn numbered(&self) -> Option<u64> {
        match self.counting() {
            Some(lane) => lane.counted(),
            // Acquire: PAIR: the step in `take_numbers`.
            // Higher numbers were refused.
            None => Some(self.counter.load(Ordering::Acquire).min(MAX_SEQUENCE + 1)),
        }
    }

    /// A number that grows with each publish. Orders nothing.
    pub(crate) fn claimed(&self) -> u64 {
        // Relaxed: it is only compared with itself.
        let counter = || self.counter.load(Ordering::Relaxed);
        self.counting().map_or_else(counter, Lane::tail)
    }

    /// What has a number is numbered below this, which may be too high by as many as there are
    /// voids.
    pub(crate) fn numbered_at_most(&self) -> u64 {
        let by_index = || {
            self.counting()
                .map_or(0, |lane| lane.number_at(lane.tail(), 0))
        };
        self.numbered().unwrap_or_else(by_index)
    }

    /// The same as [`numbered`](Self::numbered), however often it has to look: each further turn
    /// says that publishers went round a whole lane.
    #[inline]
    pub(crate) fn next_number(&self) -> u64 {
        loop {
            if let Some(number) = self.numbered() {
                return number;
            }
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.lanes.len() / LANES
    }

    /// The pins of those who read the shard of a lane with this place among the lanes.
    #[inline(always)]
    pub(crate) fn pins(&self, lane: usize) -> PinTable<'_> {
        PinTable {
            pins: &self.pins,
            shard: lane / LANES,
        }
    }

    /// The place among the lanes that a route leads to.
    #[inline(always)]
    pub(crate) fn lane_of(&self, route: Route) -> usize {
        let shard = route.shard & (self.shards() - 1);
        shard * LANES
            + if route.terminal {
                super::TERMINALS
            } else {
                super::FRAMES
            }
    }

    /// Whether a shard has more readers than there are processors.
    pub(crate) fn is_crowded(&self, cursor: &Cursor) -> bool {
        self.pins.alive(cursor.lane / LANES) > processors()
    }

    /// Begins to fetch what [`wake`](Self::wake) will look at.
    #[inline]
    pub(crate) fn before_wake(&self, route: Route, keys: [u64; 2]) {
        let shard = route.shard & (self.shards() - 1);
        self.waiters.approach(shard, keys);
    }

    /// Wakes who waits for a frame with this route and one of these keys that was published before.
    #[inline]
    pub(crate) fn wake(&self, route: Route, keys: [u64; 2]) {
        let shard = route.shard & (self.shards() - 1);
        self.waiters.wake(shard, keys, route.tag);
    }

    /// Where the owner of these cursors waits.
    pub(crate) fn place_of(&self, cursors: &[Cursor]) -> Place {
        let shard = |cursor: &Cursor| cursor.lane / LANES;
        match (cursors.first(), cursors.last()) {
            (Some(first), Some(last)) if shard(first) == shard(last) => Place::Shard(shard(first)),
            _ => Place::Wide,
        }
    }

    /// Cursors over the given lanes, lanes of one shard side by side, each at the oldest held, and
    /// their pins.
    pub(crate) fn cursors(
        &self,
        lanes: impl Iterator<Item = usize>,
    ) -> Result<(Vec<Cursor>, Vec<OwnPins>), SubscribeError> {
        let cursors = lanes.map(|at| {
            let lane = &self.lanes[at];
            Cursor::new(lane, at, lane.oldest())
        });
        self.with_pins(cursors)
    }

    /// Cursors at the same places, with pins of their own.
    pub(crate) fn clone_cursors(
        &self,
        cursors: &[Cursor],
    ) -> Result<(Vec<Cursor>, Vec<OwnPins>), SubscribeError> {
        self.with_pins(cursors.iter().map(Cursor::unpinned))
    }

    /// Gives cursors a row of pins in each shard that they read: all or none.
    fn with_pins(
        &self,
        cursors: impl Iterator<Item = Cursor>,
    ) -> Result<(Vec<Cursor>, Vec<OwnPins>), SubscribeError> {
        let mut rows = Vec::new();
        let (mut with_pins, mut shard) = (Vec::new(), None);
        for mut cursor in cursors {
            if shard.replace(cursor.lane / LANES) != Some(cursor.lane / LANES) {
                let row = Registry::take(&self.pins, cursor.lane / LANES, 0);
                rows.push(row.ok_or(SubscribeError::TooMany)?);
            }
            cursor.row = rows.len() - 1;
            with_pins.push(cursor);
        }
        Ok((with_pins, rows))
    }
}

/// A terminal lane holds at least as many frames as the lane beside it: nothing terminal is gone
/// that would still be there without the distinction.
fn larger(terminals: Geometry, frames: Geometry) -> Geometry {
    if terminals.window() >= frames.window() {
        terminals
    } else {
        frames
    }
}
