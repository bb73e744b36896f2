//! What the handles and the subscriptions of a ring share: lanes, pins, waiters and the sequence.
//!
//! A frame's sequence number has one of two sources. In a ring of one shard all frames can pass
//! through one lane, and its indices are the numbers (`lane/numbering.rs`). The lanes of several
//! shards share a counter (`sequence.rs`).

use super::config::{MAX_SHARDS, Retention, RingConfig, Route};
use super::lane::{ClaimError, LANES, Lane, LaneClass, LaneId, OwnPins, PinTable, Pins};
use super::registry::Registry;
use super::sequence::{Exhausted, MAX_SEQUENCE, Sequence};
use super::slot::Geometry;
use super::wait::Waiters;
use crate::sync::{Arc, Ordering, fence};

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
    /// True if that is so, and nothing is freed: if a frame goes there and no more is to be done.
    /// Never changes.
    direct: bool,
    /// A row of pins for each shard with which publishers free; none in a ring that keeps.
    publishers: Box<[OwnPins]>,
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
        // Nobody can tell when a value is dropped that needs no drop.
        let frees = config.retention == Retention::FreeWhenRead && std::mem::needs_drop::<T>();
        let lane = |id: LaneId| {
            let geometry = match id.class() {
                LaneClass::Frames => config.frames,
                LaneClass::Terminals => larger(config.terminals, config.frames),
            };
            let numbered_from = (index_numbered && id == LaneId::FIRST).then_some(first);
            Lane::new(geometry, id.class(), numbered_from, frees)
        };
        let pins = Arc::new(Registry::new(shards, 1));
        let of_publishers = 0..if frees { shards } else { 0 };
        Core {
            lanes: LaneId::all(shards).map(lane).collect(),
            // The first row of a registry can be had.
            publishers: of_publishers
                .filter_map(|shard| Registry::take(&pins, shard, 0))
                .collect(),
            pins,
            waiters: Waiters::new(shards, config.frames.slots() as u64),
            sequence: Sequence::starting_at(first),
            index_numbered,
            direct: index_numbered && !frees,
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
        self.lanes.len() / LANES
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
        self.pins.alive(shard) - usize::from(self.frees())
    }

    /// Whether frames are freed when they are read.
    #[inline(always)]
    pub(crate) fn frees(&self) -> bool {
        !self.publishers.is_empty()
    }

    /// Frees what nobody is to see, if the shard's publishers are asked to: after a publish there,
    /// also one that failed.
    pub(crate) fn free_unseen(&self, shard: usize) {
        // E24: SeqCst fence, between the stamp and `wanted`.
        fence(Ordering::SeqCst);
        let lanes = &self.lanes[shard * LANES..][..LANES];
        for lane in lanes {
            lane.help(&self.publishers[shard], self.pins(shard));
        }
    }

    /// The index-numbered lane, if publishing there takes no more than that.
    #[inline(always)]
    pub(crate) fn direct(&self) -> Option<&Lane<T>> {
        self.direct.then(|| self.lane(LaneId::FIRST))
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
