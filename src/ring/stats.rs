//! The figures of a ring, read off the words that it works with: publishing counts nothing for
//! them. Each figure is of one moment, but not all of the same one.

use super::config::{Select, Start};
use super::core::Core;
use super::lane::{LANES, Lane};
use super::read::Subscription;
use crate::sync::Arc;

/// The figures of a [`Ring`](super::Ring), from [`Ring::stats`](super::Ring::stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RingStats {
    /// How many sequence numbers were given since the ring was made: one for each frame published,
    /// and one for each frame that a panic kept from being published.
    pub published: u64,
    /// The sequence number of the last frame; one below that of the first frame if there is none
    /// yet.
    pub last_sequence: u64,
    /// The sequence number of the oldest frame that is held, in any lane; terminal frames are held
    /// longer than others. `None` if no frame is held, or while no more subscriptions can be had.
    pub oldest_sequence: Option<u64>,
    /// The figures of each shard.
    pub shards: Vec<ShardStats>,
    /// How many subscriptions are parked now: registered to be woken, and not woken yet.
    pub parked: u64,
    /// How many times a publisher woke one so far.
    pub woken: u64,
}

/// The figures of the lanes of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ShardStats {
    /// The lane of ordinary frames.
    pub frames: LaneStats,
    /// The lane of terminal frames.
    pub terminals: LaneStats,
}

/// The figures of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LaneStats {
    /// How many indices were claimed: for frames, void ones, and those that were abandoned.
    pub tail: u64,
    /// How many of the last indices it holds for sure: see
    /// [`Geometry::window`](super::Geometry::window).
    pub window: u64,
    /// How many times publishers went round all of its slots.
    pub wraps: u64,
    /// How many indices were void: publishers passed over them, since a reader or another publisher
    /// held their slot.
    pub voids: u64,
}

impl LaneStats {
    fn of<T>(lane: &Lane<T>) -> Self {
        let tail = lane.tail();
        LaneStats {
            tail,
            window: lane.geometry().window() as u64,
            wraps: tail / lane.geometry().slots() as u64,
            voids: lane.voids(),
        }
    }

    /// Returns how much of the lane is in use, from 0 to 1. At 1, each new frame replaces one.
    pub fn fill(&self) -> f64 {
        self.tail.min(self.window) as f64 / self.window.max(1) as f64
    }
}

impl RingStats {
    pub(super) fn of<T>(core: &Arc<Core<T>>) -> Self {
        // The oldest frame is where a new subscription would start.
        let reader = Subscription::open(core, Select::All, None, Start::Oldest).ok();
        let last_sequence = core.next_sequence() - 1;
        let shards = core.lanes().chunks(LANES).map(|lanes| ShardStats {
            frames: LaneStats::of(&lanes[0]),
            terminals: LaneStats::of(&lanes[1]),
        });
        let (parked, woken) = core.waiters().counts();
        RingStats {
            published: last_sequence + 1 - core.first(),
            last_sequence,
            oldest_sequence: reader
                .map(|reader| reader.position() + 1)
                .filter(|&oldest| oldest <= last_sequence),
            shards: shards.collect(),
            parked,
            woken,
        }
    }
}
