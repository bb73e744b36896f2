//! What a ring's handles share: the lanes, the pins, the next number.

use super::cursor::Cursor;
use super::geometry::Geometry;
use super::lane::Lane;
use super::pins::{LANES, PinRow, PinTable};
use super::wait::{Place, Waiters};
use super::{RingConfig, Route, SubscribeError};
use crate::sync::AtomicU64;
use crossbeam_utils::CachePadded;

/// See the module. Lane `l` of shard `s` is `lanes[s * LANES + l]`.
pub(crate) struct Core<T> {
    pub(crate) lanes: Box<[Lane<T>]>,
    pub(crate) pins: Box<[PinTable]>,
    /// Those who wait for frames.
    pub(crate) waiters: Waiters,
    /// The number that the next frame will bear.
    pub(crate) next: CachePadded<AtomicU64>,
    /// The number that the first frame bore.
    pub(crate) first: u64,
}

impl<T> Core<T> {
    pub(crate) fn new(config: &RingConfig) -> Self {
        let shards = config
            .shards
            .clamp(1, super::MAX_SHARDS)
            .next_power_of_two();
        let geometry = |lane| match lane {
            super::FRAMES => config.frames,
            _ => larger(config.terminals, config.frames),
        };
        let first = config.after.min(super::MAX_SEQUENCE) + 1;
        Core {
            lanes: (0..shards * LANES)
                .map(|at| Lane::new(geometry(at % LANES), at % LANES))
                .collect(),
            pins: (0..shards).map(|_| PinTable::new()).collect(),
            waiters: Waiters::new(shards, config.frames.places() as u64),
            next: CachePadded::new(AtomicU64::new(first)),
            first,
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.pins.len()
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

    /// The row of pins of a cursor's subscription in the cursor's shard.
    #[inline(always)]
    pub(crate) fn row(&self, cursor: &Cursor) -> &PinRow {
        self.pins[cursor.lane / LANES].row(cursor.row)
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

    /// Cursors over the given lanes, lanes of one shard side by side, each at the oldest held.
    pub(crate) fn cursors(
        &self,
        lanes: impl Iterator<Item = usize>,
    ) -> Result<Vec<Cursor>, SubscribeError> {
        self.with_rows(
            lanes.map(|lane| (lane, self.lanes[lane].oldest())),
            |(lane, next), row| (lane, Cursor::new(lane, row, next)),
        )
    }

    /// Cursors at the same places.
    pub(crate) fn clone_cursors(&self, cursors: &[Cursor]) -> Result<Vec<Cursor>, SubscribeError> {
        self.with_rows(
            cursors.iter().map(|cursor| (cursor.lane, cursor)),
            |(lane, cursor), row| (lane, cursor.with_row(row)),
        )
    }

    /// Makes cursors with a row in each shard that they read, all or none.
    fn with_rows<C>(
        &self,
        lanes: impl Iterator<Item = (usize, C)>,
        make: impl Fn((usize, C), usize) -> (usize, Cursor),
    ) -> Result<Vec<Cursor>, SubscribeError> {
        let mut cursors: Vec<Cursor> = Vec::new();
        for (lane, from) in lanes {
            let row = match cursors.last() {
                Some(last) if last.lane / LANES == lane / LANES => last.row,
                _ => match self.pins[lane / LANES].take() {
                    Some(row) => row,
                    None => {
                        self.give_back(&cursors);
                        return Err(SubscribeError::TooMany);
                    }
                },
            };
            cursors.push(make((lane, from), row).1);
        }
        Ok(cursors)
    }

    /// Gives the rows of cursors that go away back; nothing is pinned there any more.
    pub(crate) fn give_back(&self, cursors: &[Cursor]) {
        for shard in cursors.chunk_by(|a, b| a.lane / LANES == b.lane / LANES) {
            self.pins[shard[0].lane / LANES].give_back(shard[0].row);
        }
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
