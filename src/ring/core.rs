//! What the handles and the subscriptions of a ring share: lanes, pins, waiters and the sequence.
//!
//! A frame's sequence number has one of two sources. In a ring of one shard all frames can pass
//! through one lane, and its indices are the numbers (`lane/numbering.rs`). The lanes of several
//! shards share a counter (`sequence.rs`).

use super::config::{MAX_SHARDS, RingConfig, Route};
use super::lane::{ClaimError, Lane, LaneClass, LaneId, OwnPins, PinTable, Pins};
use super::registry::Registry;
use super::sequence::{Exhausted, MAX_SEQUENCE, Sequence};
use super::slot::Geometry;
use super::wait::Waiters;
use crate::sync::Arc;

/// The shared state of a ring.
pub(crate) struct Core<T> {
    /// By [`LaneId::index`].
    lanes: Box<[Lane<T>]>,
    /// The pins of all subscriptions, one group for each shard.
    pins: Arc<Pins>,
    /// The parked readers.
    waiters: Waiters,
    /// The source of sequence numbers, unless a lane's indices are the numbers.
    sequence: Sequence,
    /// True if the first lane's indices are the sequence numbers. Never changes.
    index_numbered: bool,
    /// The sequence number of the first frame. Never changes.
    first: u64,
}

impl<T> Core<T> {
    /// A new ring. If `shared_sequence` is set, a ring of one shard also takes its numbers from
    /// the counter, like one of several shards: for models.
    pub(crate) fn new(config: &RingConfig, shared_sequence: bool) -> Self {
        let shards = config.shards.clamp(1, MAX_SHARDS).next_power_of_two();
        let first = config.after.min(MAX_SEQUENCE) + 1;
        let index_numbered = shards == 1 && !shared_sequence;
        let lane = |id: LaneId| {
            let geometry = match id.class() {
                LaneClass::Frames => config.frames,
                LaneClass::Terminals => larger(config.terminals, config.frames),
            };
            let numbered_from = (index_numbered && id == LaneId::FIRST).then_some(first);
            Lane::new(geometry, id.class(), numbered_from)
        };
        Core {
            lanes: LaneId::all(shards).map(lane).collect(),
            pins: Arc::new(Registry::new(shards, 1)),
            waiters: Waiters::new(shards, config.frames.slots() as u64),
            sequence: Sequence::starting_at(first),
            index_numbered,
            first,
        }
    }

    #[inline(always)]
    pub(crate) fn lane(&self, id: LaneId) -> &Lane<T> {
        &self.lanes[id.index()]
    }

    /// All lanes, by their position.
    #[inline(always)]
    pub(crate) fn lanes(&self) -> &[Lane<T>] {
        &self.lanes
    }

    pub(crate) fn lane_ids(&self) -> impl Iterator<Item = LaneId> + use<T> {
        LaneId::all(self.shards())
    }

    /// How many shards there are: a power of two.
    pub(crate) fn shards(&self) -> usize {
        self.lanes.len() / super::lane::LANES
    }

    /// The shard of a route.
    #[inline(always)]
    pub(crate) fn shard_of(&self, route: Route) -> usize {
        route.shard & (self.shards() - 1)
    }

    /// The lane that a route leads to.
    #[inline(always)]
    pub(crate) fn lane_of(&self, route: Route) -> LaneId {
        let class = if route.terminal {
            LaneClass::Terminals
        } else {
            LaneClass::Frames
        };
        LaneId::new(self.shard_of(route), class)
    }

    /// The pins that a publisher of this shard has to respect.
    #[inline(always)]
    pub(crate) fn pins(&self, shard: usize) -> PinTable<'_> {
        PinTable::new(&self.pins, shard)
    }

    /// Takes a row of pins for a reader of this shard; `None` if too many are taken.
    pub(crate) fn take_pins(&self, shard: usize) -> Option<OwnPins> {
        Registry::take(&self.pins, shard, 0)
    }

    /// How many readers this shard has.
    pub(crate) fn readers(&self, shard: usize) -> usize {
        self.pins.alive(shard)
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// The sequence number of the first frame.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The lane whose indices are the sequence numbers, if there is one.
    #[inline(always)]
    pub(crate) fn index_numbered(&self) -> Option<&Lane<T>> {
        self.index_numbered.then(|| self.lane(LaneId::FIRST))
    }

    /// Reserves a sequence number for a frame whose slot is claimed in a lane that is not
    /// index-numbered.
    #[inline(always)]
    pub(crate) fn reserve_sequence(&self) -> Result<u64, ClaimError> {
        match self.index_numbered() {
            Some(lane) => lane.reserve_sequence(self.pins(0)),
            None => Ok(self.sequence.reserve()?),
        }
    }

    /// Reserves `count` consecutive sequence numbers, all or none, and returns the first. The
    /// caller has already claimed the slots. Used by rings of several shards.
    #[inline]
    pub(crate) fn reserve_batch(&self, count: u64) -> Result<u64, ClaimError> {
        Ok(self.sequence.reserve_batch(count)?)
    }

    /// Returns false if `count` more frames can never get a number: a publisher asks before it
    /// claims slots.
    #[inline(always)]
    pub(crate) fn may_reserve(&self, count: u64) -> bool {
        match self.index_numbered() {
            Some(lane) => !lane.is_near_end() || lane.may_reserve(count),
            None => self.sequence.may_reserve(count),
        }
    }

    /// Returns the next sequence number, as far as it is decided: every publish that has returned
    /// got a smaller one, and the caller then sees the claims of all smaller numbers. `None` if
    /// publishers went round a whole lane meanwhile.
    #[inline(always)]
    pub(crate) fn published_below(&self) -> Option<u64> {
        match self.index_numbered() {
            Some(lane) => lane.published_below(),
            None => Some(self.sequence.published_below()),
        }
    }

    /// The same, without a bound on its steps: each further turn means that publishers went round
    /// a whole lane.
    #[inline]
    pub(crate) fn next_sequence(&self) -> u64 {
        loop {
            if let Some(next) = self.published_below() {
                return next;
            }
        }
    }

    /// An upper bound of the next sequence number, in bounded steps. It is too high by at most the
    /// number of void indices.
    pub(crate) fn published_at_most(&self) -> u64 {
        let by_index = || {
            self.index_numbered()
                .map_or(0, |lane| lane.sequence_at(lane.tail(), 0))
        };
        self.published_below().unwrap_or_else(by_index)
    }

    /// A value that grows with each publish, for a comparison with itself. Orders nothing.
    pub(crate) fn activity(&self) -> u64 {
        self.index_numbered()
            .map_or_else(|| self.sequence.activity(), Lane::tail)
    }
}

impl From<Exhausted> for ClaimError {
    fn from(_: Exhausted) -> Self {
        ClaimError::Exhausted
    }
}

/// The larger of the two. A terminal lane holds at least as many frames as the lane beside it: no
/// terminal frame is overwritten that would be held without the distinction.
fn larger(terminals: Geometry, frames: Geometry) -> Geometry {
    if terminals.window() >= frames.window() {
        terminals
    } else {
        frames
    }
}
