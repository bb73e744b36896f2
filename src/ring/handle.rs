//! The handle of a ring: what its user calls.

use super::config::{PublishError, RingConfig, Route, Select, Start, SubscribeError};
use super::core::Core;
use super::lane::Lane;
use super::read::Subscription;
use super::slot::TagFilter;
use super::stats::RingStats;
use crate::sync::Arc;

/// A broadcast ring: any number of threads publish frames, any number of [`Subscription`]s read
/// them, each at its own pace. A clone is another handle of the same ring.
///
/// The [module](super) has an example, and says what holds for the order, for losses and for
/// progress.
pub struct Ring<T> {
    core: Arc<Core<T>>,
}

impl<T> Ring<T> {
    /// A new ring. Memory for frames is allocated by the first frame of each lane; a page of it
    /// costs nothing until it is used. Aborts, as any allocation does, if the system refuses the
    /// memory.
    pub fn new(config: &RingConfig) -> Self {
        Ring {
            core: Arc::new(Core::new(config, false)),
        }
    }

    /// Allocates the memory for frames now, in all lanes, so that no publish does.
    pub fn allocate(&self) {
        self.core.lanes().iter().for_each(Lane::allocate);
    }

    /// A ring whose sequence numbers come from a counter even if it has one shard. For models of
    /// rings of several shards, where each further shard costs.
    #[cfg(feature = "testing")]
    pub fn with_counter(config: &RingConfig) -> Self {
        Ring {
            core: Arc::new(Core::new(config, true)),
        }
    }

    /// The number of voids below a chunk of the index-numbered lane, which a lapped reader asks
    /// for. For a model of that question alone.
    #[cfg(loom)]
    pub fn voids_below_chunk(&self, start: u64) -> Option<u64> {
        self.core
            .lane(super::lane::LaneId::FIRST)
            .voids_below_chunk(start)
    }

    /// The state that the handles share.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn core_for_tests(&self) -> &Core<T> {
        &self.core
    }

    /// Returns the number of shards, a power of two.
    pub fn shards(&self) -> usize {
        self.core.shards()
    }

    /// Returns the sequence number that the next frame gets. Every publish that has returned got a
    /// smaller one.
    ///
    /// Lock-free: it looks again only if publishers went round a whole lane meanwhile.
    pub fn next_sequence(&self) -> u64 {
        self.core.next_sequence()
    }

    /// Publishes a frame and returns its sequence number. Wakes nobody: see [`wake`](Self::wake).
    ///
    /// Never waits, and allocates nothing after the [first frame](Self::allocate) of its lane.
    /// Takes a bounded number of steps, and runs at most one destructor: when the new frame is
    /// readable, it drops the frame that was replaced, if any. A panic of that destructor goes no
    /// further. Frames that are costly to drop are best shared with a thread that may be delayed:
    /// the last holder drops them. A ring that [frees what was
    /// read](super::Retention::FreeWhenRead) also drops here what no subscription is to see.
    ///
    /// # Errors
    /// [`PublishError::Stuck`] if every slot of the lane is held, [`PublishError::Exhausted`] if
    /// the sequence numbers are used up. The frame is dropped.
    #[inline]
    pub fn publish(&self, route: Route, frame: T) -> Result<u64, PublishError> {
        self.core.publish(route, |_| frame, drop)
    }

    /// Publishes the frame that `make` returns for its sequence number, and returns the number.
    ///
    /// `make` runs while readers of the lane wait for this frame: it should do no more than store
    /// the number.
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish). `make` was not called then.
    ///
    /// # Panics
    /// If `make` does. No frame gets the number, and readers of everything are given a gap for it.
    #[inline]
    pub fn publish_with(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
    ) -> Result<u64, PublishError> {
        self.core.publish(route, make, drop)
    }

    /// Does the same, and hands the frame that was replaced, if any, to `replaced` when the new one
    /// is readable: for a publisher that drops it later, or elsewhere. Frames of a type that needs
    /// no drop are not handed over.
    ///
    /// ```
    /// use framebus::ring::{Geometry, Ring, RingConfig, Route};
    /// let frames = Geometry::for_window(2);
    /// let ring = Ring::new(&RingConfig { frames, ..RingConfig::default() });
    /// let mut replaced = Vec::new();
    /// for word in ["one", "two", "three"] {
    ///     let frame = word.to_string();
    ///     ring.publish_replacing(Route::default(), |_| frame, |old| replaced.push(old))?;
    /// }
    /// assert_eq!(replaced, ["one"]);
    /// # Ok::<(), framebus::ring::PublishError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish). Neither `make` nor `replaced` was called then.
    ///
    /// # Panics
    /// If `make` does, as for [`publish_with`](Self::publish_with). A panic of `replaced` goes no
    /// further.
    #[inline]
    pub fn publish_replacing(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
        replaced: impl FnOnce(T),
    ) -> Result<u64, PublishError> {
        self.core.publish(route, make, replaced)
    }

    /// Publishes a batch, all frames or none, and returns the range of their sequence numbers: one
    /// frame for each of `routes`, in their order, under consecutive numbers. No other publisher's
    /// frame comes between them.
    ///
    /// Costs one claim for each lane and one reservation of numbers in all. `make` is as for
    /// [`publish_with`](Self::publish_with), called once for each route. The routes are gone
    /// through twice, the second time while readers wait, like `make`. Allocates scratch for the
    /// batch. When all of its frames are readable, the frames that they replaced are dropped, at
    /// most as many.
    ///
    /// ```
    /// use framebus::ring::{Ring, RingConfig, Route};
    /// let ring = Ring::new(&RingConfig::default());
    /// let mut words = ["a", "batch", "of", "words"].into_iter();
    /// let routes = std::iter::repeat_n(Route::default(), words.len());
    /// let sequences = ring.publish_all_with(routes, |_| words.next().unwrap())?;
    /// assert_eq!(sequences, 1..5);
    /// # Ok::<(), framebus::ring::PublishError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish), and [`PublishError::BatchTooLarge`] if a lane can't
    /// take that many frames at once. `make` was not called then. A batch that was refused as
    /// [`PublishError::Stuck`] is accepted when the readers have gone on; but if they held more
    /// than the lane's slack and less than all of it, only after single frames have gone round.
    ///
    /// # Panics
    /// If `make` or the iterator does. The frames that are not readable yet are dropped, and
    /// readers of everything are given gaps for their numbers.
    #[inline]
    pub fn publish_all_with(
        &self,
        routes: impl IntoIterator<Item = Route, IntoIter: Clone>,
        make: impl FnMut(u64) -> T,
    ) -> Result<std::ops::Range<u64>, PublishError> {
        self.core.publish_all(routes.into_iter(), make)
    }

    /// Wakes the subscriptions that [wait](Subscription::register_waker) for a frame with this
    /// route and one of these keys; a frame with a single key names it twice. Call it after such a
    /// frame was published, and also after a publish failed: a reader may wait for what the failed
    /// one held back.
    ///
    /// Takes a fence and a load if nobody waits, else a walk over those that wait under these keys.
    /// Never locks. The wakers run on this thread.
    #[inline]
    pub fn wake(&self, route: Route, keys: [u64; 2]) {
        self.core
            .waiters()
            .wake(self.core.shard_of(route), keys, route.tag);
    }

    /// Begins to fetch what [`wake`](Self::wake) will look at. Call it before the publish, with the
    /// same arguments. Takes one load if nobody waits.
    #[inline]
    pub fn prefetch_wake(&self, route: Route, keys: [u64; 2]) {
        self.core
            .waiters()
            .prefetch(self.core.shard_of(route), keys);
    }

    /// Wakes all subscriptions that wait.
    pub fn wake_all(&self) {
        self.core.waiters().wake_all();
    }

    /// Returns the figures of the ring. Takes O(shards) steps and slows no publisher.
    pub fn stats(&self) -> RingStats {
        RingStats::of(&self.core)
    }

    /// Makes a new subscription: to the lanes that `select` names, to the frames whose tag the
    /// filter lets through, from `start` on.
    ///
    /// Takes O(frames held in these lanes) steps for [`Start::Latest`] and [`Start::After`], and
    /// locks a mutex that neither publishing nor polling locks.
    ///
    /// # Errors
    /// [`SubscribeError::Ahead`] if `start` is after the last frame, [`SubscribeError::TooMany`] if
    /// a shard has no room for one more.
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
