//! What a host configures and asks for: sizes, routes, where a subscription reads and starts, and
//! the errors that say why not.

use super::slot::Geometry;

/// The most shards of a ring.
pub const MAX_SHARDS: usize = 1 << 12;

/// The sizes of a [`Ring`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// How many shards: rounded up to a power of two, 1 to [`MAX_SHARDS`].
    pub shards: usize,
    /// Each shard's lane of ordinary frames.
    pub frames: Geometry,
    /// Each shard's lane of terminal frames; it holds at least as many as `frames` does.
    pub terminals: Geometry,
    /// The first frame gets the number after this one, at most [`MAX_SEQUENCE`](super::MAX_SEQUENCE).
    pub after: u64,
}

impl Default for RingConfig {
    /// One shard that holds more than 57,000 frames of each class, numbered from 1.
    fn default() -> Self {
        let lane = Geometry::for_window(57_000);
        RingConfig {
            shards: 1,
            frames: lane,
            terminals: lane,
            after: 0,
        }
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The shard; taken modulo the number of shards.
    pub shard: usize,
    /// Whether it goes into the lane that ordinary frames don't overwrite.
    pub terminal: bool,
    /// What a [`TagFilter`](super::TagFilter) sees of it: the lowest [`TAG_BITS`](super::TAG_BITS) bits.
    pub tag: u32,
}

impl Route {
    /// The same route, for a terminal frame.
    #[must_use]
    pub fn terminal(self) -> Self {
        Route {
            terminal: true,
            ..self
        }
    }
}

/// Which lanes a subscription reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Everything.
    All,
    /// One shard, taken modulo the number of shards.
    Shard(usize),
    /// The terminal frames of all shards.
    Terminals,
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest frame that is still held.
    Oldest,
    /// After everything published so far.
    Latest,
    /// After this number. What has expired in between is told as a [`Gap`](super::Gap).
    After(u64),
}

/// Why a frame was not published. It was not lost silently: nothing of it is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Every slot of the lane is held by a reader inside a batch or by a suspended publisher.
    #[error(
        "every slot of the lane is held by a reader or writer that does not move; use a larger ring"
    )]
    Stuck,
    /// The sequence, or a lane's indices, are used up.
    #[error("the sequence space is used up; start a new ring")]
    Exhausted,
    /// A batch has more frames for one lane than the lane holds.
    #[error(
        "the batch has {count} frames for a lane that holds {most}; split it or use a larger ring"
    )]
    BatchTooLarge {
        /// The frames for that lane.
        count: u64,
        /// The most that it takes at once.
        most: u64,
    },
}

/// Why a subscription could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// [`Start::After`] names a number that was not given yet.
    #[error("cannot start after {after}: the last number given is {last}")]
    Ahead {
        /// The number asked for.
        after: u64,
        /// The last number given.
        last: u64,
    },
    /// As many subscriptions as a shard has rows for are alive.
    #[error("too many subscriptions are alive; drop some")]
    TooMany,
}
