//! The lock-free core: a broadcast ring with a lossless class, generic over its frames.
//!
//! A [`Ring`] is a set of shards under one global sequence. Each shard has two lanes, each a ring
//! of slots: one for ordinary frames and one for **terminal** frames, which a flood of ordinary
//! ones can therefore not overwrite. Any number of threads publish; any number of [`Subscription`]s
//! read everything, or some shards, or what a [`TagFilter`] lets through, each at its own pace, in
//! strictly increasing order of the numbers. A reader that is too slow is lapped, never waited for,
//! and is told exactly where and how much it lost.
//!
//! Publishing never waits, and allocates nothing but a batch's scratch; polling is wait-free.
//! Subscribing takes a mutex that neither of them ever takes.
//!
//! ```
//! use framebus::ring::{Delivery, Ring, RingConfig, Route, Select, Start};
//! use std::ops::ControlFlow;
//!
//! #[derive(Debug, PartialEq)]
//! struct Price { cents: u32 }
//!
//! let ring = Ring::new(&RingConfig::default());
//! let mut prices = ring.subscribe(Select::All, None, Start::Oldest)?;
//! ring.publish(Route::default(), Price { cents: 499 })?;
//! ring.publish(Route::default().terminal(), Price { cents: 0 })?;
//!
//! let mut seen = Vec::new();
//! prices.poll(|delivery| {
//!     match delivery {
//!         Delivery::Frame(number, price) => seen.push((number, price.cents)),
//!         Delivery::Gap(gap) => panic!("lost {}", gap.lost),
//!     }
//!     ControlFlow::Continue(())
//! });
//! assert_eq!(seen, [(1, 499), (2, 0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to read on
//! `lane.rs` has the algorithm by which slots are claimed and overwritten, `pins.rs` the protocol
//! between readers and those who overwrite, `subscription/merge.rs` the order of the merge,
//! `publish.rs` the few lines that every frame goes through.
//!
//! # Progress
//! *Publish* is lock-free, and bounded: a claim that finds its slot held claims another, at most as
//! often as the lane has places, then fails with [`PublishError::Stuck`]. A batch in a ring of one
//! shard is lock-free: it tries again when another publisher claimed first. *Poll* is wait-free.
//! *Subscribing*, and asking for the next number, may look again while publishers go round a whole
//! lane.

#[allow(unsafe_code, reason = "allocates")]
mod array;
mod batch;
mod core;
#[allow(unsafe_code, reason = "reads slots under pins")]
mod cursor;
mod geometry;
#[cfg(all(test, not(any(loom, shuttle))))]
mod gone;
#[allow(unsafe_code, reason = "grants slots")]
mod lane;
#[cfg(all(test, not(any(loom, shuttle))))]
mod overtaken;
mod pins;
mod publish;
#[allow(unsafe_code, reason = "frees what no walker can stand at")]
mod registry;
#[allow(unsafe_code, reason = "looks at two words at a time")]
mod scan;
#[allow(unsafe_code, reason = "holds frames inline")]
mod slots;
mod stamp;
mod stats;
mod subscription;
mod tag;
mod wait;

use self::core::Core;
use crate::sync::Arc;

pub use geometry::{Geometry, MAX_WINDOW};
pub use stats::{LaneStats, RingStats, ShardStats};
pub use subscription::{Delivery, Gap, Polled, Subscription};
pub use tag::{CLASS_BITS, TAG_BITS, TagFilter};
pub use wait::ANY_KEY;

/// The highest number that a frame can bear: 2^62.
pub const MAX_SEQUENCE: u64 = 1 << 62;

/// The most shards of a ring.
pub const MAX_SHARDS: usize = 1 << 12;

pub(crate) const FRAMES: usize = 0;
pub(crate) const TERMINALS: usize = 1;

/// The sizes of a [`Ring`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// How many shards: rounded up to a power of two, 1 to [`MAX_SHARDS`].
    pub shards: usize,
    /// Each shard's lane of ordinary frames.
    pub frames: Geometry,
    /// Each shard's lane of terminal frames; it holds at least as many as `frames` does.
    pub terminals: Geometry,
    /// The first frame gets the number after this one, at most [`MAX_SEQUENCE`].
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
    /// What a [`TagFilter`] sees of it: the lowest [`TAG_BITS`] bits.
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
    /// After this number. What has expired in between is told as a [`Gap`].
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

/// See the module. Clones are handles to the same ring.
pub struct Ring<T> {
    core: Arc<Core<T>>,
}

impl<T> Ring<T> {
    /// A new ring. Its memory is asked for at once and costs nothing until it is used.
    pub fn new(config: &RingConfig) -> Self {
        Ring {
            core: Arc::new(Core::new(config, false)),
        }
    }

    /// A ring whose numbers come from a counter also if it has one shard: for models of rings of
    /// several, where every lane counts.
    #[cfg(feature = "testing")]
    pub fn with_counter(config: &RingConfig) -> Self {
        Ring {
            core: Arc::new(Core::new(config, true)),
        }
    }

    /// The voids below a chunk of the lane that counts, as a reader that was lapped asks for them:
    /// for a model of that question alone.
    #[cfg(loom)]
    pub fn voids_below_chunk(&self, start: u64) -> Option<u64> {
        self.core.lanes[FRAMES].voids_below_chunk(start)
    }

    /// How many shards there are: a power of two.
    pub fn shards(&self) -> usize {
        self.core.shards()
    }

    /// The number that the next frame will bear.
    pub fn next_sequence(&self) -> u64 {
        self.core.next_number()
    }

    /// Publishes a frame; returns its number.
    ///
    /// Its steps are bounded but for one destructor: once the new frame is readable, it drops the
    /// frame that it replaces, if any, and never more than that one. A batch drops at most as many
    /// as it publishes, once all of its own are readable. Frames that are costly to drop are best
    /// shared with a holder that may be delayed: the last holder drops them.
    ///
    /// # Errors
    /// [`PublishError::Stuck`], [`PublishError::Exhausted`]. The frame is dropped.
    #[inline]
    pub fn publish(&self, route: Route, frame: T) -> Result<u64, PublishError> {
        self.core.publish(route, |_| frame)
    }

    /// Publishes the frame that `make` makes from its number.
    ///
    /// The frame that it replaces is dropped here. If that panics, nobody is told: it is another
    /// publisher's frame.
    ///
    /// `make` runs while readers of the lane wait for this frame: it should do no more than store
    /// the number. If it panics, the number stays unused, and readers of everything are told of it.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish); `make` was not called then.
    #[inline]
    pub fn publish_with(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
    ) -> Result<u64, PublishError> {
        self.core.publish(route, make)
    }

    /// Publishes a frame for each of `routes` under consecutive numbers, so that no other
    /// publisher's frame falls between them: all, or none. One claim for each lane and one step of
    /// the sequence in all. `make` is as for [`publish_with`](Self::publish_with), called once for
    /// each route, in their order. The routes are gone through twice, the second time like `make`
    /// while readers wait. If one of them panics, what is not readable yet is dropped, and readers
    /// of everything are told of it. Returns the range of numbers.
    ///
    /// ```
    /// use framebus::ring::{Ring, RingConfig, Route};
    /// let ring = Ring::new(&RingConfig::default());
    /// let mut words = ["a", "batch", "of", "words"].into_iter();
    /// let routes = std::iter::repeat_n(Route::default(), words.len());
    /// let numbers = ring.publish_all_with(routes, |_| words.next().unwrap())?;
    /// assert_eq!(numbers, 1..5);
    /// # Ok::<(), framebus::ring::PublishError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`publish`](Self::publish), and [`PublishError::BatchTooLarge`]; `make` was not
    /// called then. A batch that was refused as [`PublishError::Stuck`] is taken once its readers
    /// have gone on; but if they held more than the lane's slack and less than all of it, only
    /// after single frames have gone round.
    #[inline]
    pub fn publish_all_with(
        &self,
        routes: impl IntoIterator<Item = Route, IntoIter: Clone>,
        make: impl FnMut(u64) -> T,
    ) -> Result<std::ops::Range<u64>, PublishError> {
        self.core.publish_all(routes.into_iter(), make)
    }

    /// Wakes the subscriptions that [wait](Subscription::lie_down) for a frame with this route and
    /// one of these keys (a frame that has a single one names it twice); to be called after such a
    /// frame was published, or failed to be. With nobody waiting this is a fence and a load. No
    /// lock, in any case.
    #[inline]
    pub fn wake(&self, route: Route, keys: [u64; 2]) {
        self.core.wake(route, keys);
    }

    /// Says that [`wake`](Self::wake) will be called with these, after a publish: what it will look
    /// at is fetched meanwhile. A load if nobody waits.
    #[inline]
    pub fn before_wake(&self, route: Route, keys: [u64; 2]) {
        self.core.before_wake(route, keys);
    }

    /// Wakes every subscription that waits.
    pub fn wake_all(&self) {
        self.core.waiters.wake_all();
    }

    /// What the ring holds and who waits, now. Takes O(shards) steps and slows no publisher.
    pub fn stats(&self) -> RingStats {
        RingStats::of(self)
    }

    /// A new subscription. Takes O(frames held in the selected lanes) steps for
    /// [`Start::Latest`] and [`Start::After`].
    ///
    /// # Errors
    /// [`SubscribeError::Ahead`], [`SubscribeError::TooMany`].
    pub fn subscribe(
        &self,
        select: Select,
        filter: Option<TagFilter>,
        start: Start,
    ) -> Result<Subscription<T>, SubscribeError> {
        let last = self.next_sequence() - 1;
        let after = match start {
            Start::Oldest => None,
            Start::Latest => Some(last),
            Start::After(after) if after > last => {
                return Err(SubscribeError::Ahead { after, last });
            }
            Start::After(after) => Some(after),
        };
        let lanes = 0..self.core.lanes.len();
        let cursors = match select {
            Select::All => self.core.cursors(lanes),
            Select::Terminals => self
                .core
                .cursors(lanes.skip(TERMINALS).step_by(pins::LANES)),
            Select::Shard(shard) => {
                let first = (shard & (self.shards() - 1)) * pins::LANES;
                self.core.cursors(first..first + pins::LANES)
            }
        }?;
        let mut subscription = Subscription::new(self.core.clone(), cursors, filter);
        subscription.start(after);
        Ok(subscription)
    }
}

impl<T> Clone for Ring<T> {
    fn clone(&self) -> Self {
        Ring {
            core: self.core.clone(),
        }
    }
}

impl<T> std::fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("shards", &self.shards())
            .field("next_sequence", &self.next_sequence())
            .finish_non_exhaustive()
    }
}
