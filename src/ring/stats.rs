//! What a ring is doing, read off what it has anyway: nothing is counted for this on the way of a
//! frame. The figures are of one moment each, not all of the same one.

use super::config::{Select, Start};
use super::core::Core;
use super::lane::{LANES, Lane};
use super::read::Subscription;
use crate::sync::Arc;

/// What a [`Ring`](super::Ring) is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RingStats {
    /// How many frames were published since the ring was made.
    pub published: u64,
    /// The number of the last frame; the number before the first one if there is none.
    pub last_sequence: u64,
    /// The number of the oldest frame that is held, in any lane; `None` if none is. Terminal frames
    /// are held longer than others. Not found either while as many subscriptions as possible are
    /// alive.
    pub oldest_sequence: Option<u64>,
    /// The shards.
    pub shards: Vec<ShardStats>,
    /// How many subscriptions sleep now.
    pub parked: u64,
    /// How often a publisher woke one so far.
    pub woken: u64,
}

/// The lanes of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ShardStats {
    /// The lane of ordinary frames.
    pub frames: LaneStats,
    /// The lane of terminal frames.
    pub terminals: LaneStats,
}

/// One lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LaneStats {
    /// How many indices were claimed: frames published here, and void indices.
    pub tail: u64,
    /// How many of the last indices it holds for sure.
    pub window: u64,
    /// How often it went round.
    pub wraps: u64,
    /// How many indices were void: passed over because a reader or a writer held their place.
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

    /// How much of the lane is in use, 0 to 1: at 1, each new frame replaces one.
    pub fn fill(&self) -> f64 {
        self.tail.min(self.window) as f64 / self.window.max(1) as f64
    }
}

impl RingStats {
    pub(super) fn of<T>(core: &Arc<Core<T>>) -> Self {
        // Found as a subscription finds it.
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
