//! What a user of the ring passes in: sizes, routes, what a subscription reads and where it starts;
//! and the errors that say why not.

use super::slot::Geometry;

/// The most shards of a ring.
pub const MAX_SHARDS: usize = 1 << 12;

/// The sizes of a [`Ring`](super::Ring).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// How many shards: 1 to [`MAX_SHARDS`], rounded up to a power of two.
    pub shards: usize,
    /// The size of each shard's lane of ordinary frames.
    pub frames: Geometry,
    /// The size of each shard's lane of terminal frames. If it is smaller than `frames`, it is as
    /// large as `frames`.
    pub terminals: Geometry,
    /// The first frame gets the sequence number after this one. At most
    /// [`MAX_SEQUENCE`](super::MAX_SEQUENCE); at that, nothing can be published.
    pub after: u64,
    /// How long a frame is held.
    pub retention: Retention,
}

/// How long a ring holds a frame that nobody overwrites.
///
/// ```
/// use framebus::ring::{Retention, Ring, RingConfig, Route, Select, Start};
/// use std::ops::ControlFlow;
/// use std::sync::Arc;
///
/// let retention = Retention::FreeWhenRead;
/// let ring = Ring::new(&RingConfig { retention, ..RingConfig::default() });
/// let mut reader = ring.subscribe(Select::All, None, Start::Latest)?;
/// let event = Arc::new("an event");
/// ring.publish(Route::default(), event.clone())?;
/// assert_eq!(Arc::strong_count(&event), 2);
/// reader.poll(|_| ControlFlow::Continue(()));
/// assert_eq!(Arc::strong_count(&event), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Until the slot is used again: a subscription that is made later can read it.
    #[default]
    Keep,
    /// Until every subscription that was to see it has passed it: has read it, lost it, does not
    /// want its tag, or is gone. The frame is dropped in the call that passed it last: at the end
    /// of a reader's poll or batch, when a subscription is made or dropped, or in a publish that
    /// nobody was to see. A subscription that is made later starts after what was freed, and is
    /// told of it in a [`Gap`](super::Gap) if it asked for it.
    ///
    /// A subscription holds back, in each of its lanes, the first frame that it has still to read
    /// and what comes after that there; but no more than the lane's window. What its filter does
    /// not let through holds nothing back. It is [woken](super::Subscription::register_waker) for
    /// each frame that it is to see, whatever the key. In such a ring a publish takes one more
    /// fence, and a reader one for each pin. Frames of a type that needs no drop are kept: nobody
    /// sees the difference, but for later subscriptions.
    FreeWhenRead,
}

impl Default for RingConfig {
    /// One shard that holds at least 57,000 frames of each class and keeps them. Sequence numbers
    /// start at 1.
    fn default() -> Self {
        let lane = Geometry::for_window(57_000);
        RingConfig {
            shards: 1,
            frames: lane,
            terminals: lane,
            after: 0,
            retention: Retention::Keep,
        }
    }
}

/// Where a frame goes, and what filters see of it.
///
/// ```
/// # use framebus::ring::Route;
/// let route = Route { shard: 3, tag: 0x12_3405, ..Route::default() };
/// assert!(!route.terminal && route.terminal().terminal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The shard, modulo the number of shards.
    pub shard: usize,
    /// Whether the frame is terminal: it goes into the lane that ordinary frames do not overwrite.
    pub terminal: bool,
    /// What a [`TagFilter`](super::TagFilter) sees of the frame: the lowest
    /// [`TAG_BITS`](super::TAG_BITS) bits.
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
    /// Both lanes of all shards.
    All,
    /// Both lanes of one shard, modulo the number of shards.
    Shard(usize),
    /// The terminal frames of all shards.
    Terminals,
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest frame that is still held.
    Oldest,
    /// After all frames published so far.
    Latest,
    /// After this sequence number. Frames after it that are no longer held are reported as a
    /// [`Gap`](super::Gap).
    After(u64),
}

/// Why a frame or a batch was not published. No frame of it is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Every slot of the lane is held, by readers in their visitors or by suspended publishers. A
    /// later try may succeed.
    #[error(
        "every slot of the lane is held by a reader or writer that does not move; use a larger ring"
    )]
    Stuck,
    /// The sequence numbers, or the indices of the lane, are used up. No later try succeeds.
    #[error("the sequence space is used up; start a new ring")]
    Exhausted,
    /// A batch has more frames for one lane than the lane's window.
    #[error(
        "the batch has {count} frames for a lane that holds {most}; split it or use a larger ring"
    )]
    BatchTooLarge {
        /// How many frames the batch has for that lane.
        count: u64,
        /// How many the lane takes at once: its [window](super::Geometry::window).
        most: u64,
    },
}

/// Why a subscription could not be made, or could not register a waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// [`Start::After`] names a sequence number that no frame has yet.
    #[error("cannot start after {after}: the last number given is {last}")]
    Ahead {
        /// The sequence number asked for.
        after: u64,
        /// The sequence number of the last frame.
        last: u64,
    },
    /// 2^30 subscriptions of one shard are alive, or that many wait.
    #[error("too many subscriptions are alive; drop some")]
    TooMany,
}
