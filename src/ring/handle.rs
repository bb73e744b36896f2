//! The handle of a ring.

use super::config::{PublishError, RingConfig, Route, Select, Start, SubscribeError};
use super::core::Core;
use super::read::Subscription;
use super::slot::TagFilter;
use super::stats::RingStats;
use crate::sync::Arc;

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
    #[doc(hidden)]
    pub fn with_counter(config: &RingConfig) -> Self {
        Ring {
            core: Arc::new(Core::new(config, true)),
        }
    }

    /// The voids below a chunk of the lane that counts, as a reader that was lapped asks for them:
    /// for a model of that question alone.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn voids_below_chunk(&self, start: u64) -> Option<u64> {
        self.core
            .lane(super::lane::LaneId::FIRST)
            .voids_below_chunk(start)
    }

    /// What the handles share.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn core_for_tests(&self) -> &Core<T> {
        &self.core
    }

    /// How many shards there are: a power of two.
    pub fn shards(&self) -> usize {
        self.core.shards()
    }

    /// The number that the next frame will bear.
    pub fn next_sequence(&self) -> u64 {
        self.core.next_sequence()
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

    /// Wakes the subscriptions that [wait](Subscription::register_waker) for a frame with this route and
    /// one of these keys (a frame that has a single one names it twice); to be called after such a
    /// frame was published, or failed to be. With nobody waiting this is a fence and a load. No
    /// lock, in any case.
    #[inline]
    pub fn wake(&self, route: Route, keys: [u64; 2]) {
        self.core
            .waiters()
            .wake(self.core.shard_of(route), keys, route.tag);
    }

    /// Says that [`wake`](Self::wake) will be called with these, after a publish: what it will look
    /// at is fetched meanwhile. A load if nobody waits.
    #[inline]
    pub fn prefetch_wake(&self, route: Route, keys: [u64; 2]) {
        self.core
            .waiters()
            .prefetch(self.core.shard_of(route), keys);
    }

    /// Wakes every subscription that waits.
    pub fn wake_all(&self) {
        self.core.waiters().wake_all();
    }

    /// What the ring holds and who waits, now. Takes O(shards) steps and slows no publisher.
    pub fn stats(&self) -> RingStats {
        RingStats::of(&self.core)
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
        Subscription::open(&self.core, select, filter, start)
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
