//! The bus in memory: frames into the ring, subscriptions out of it.

use super::AgentEventBus;
use super::scope::{self, Scope};
use super::stream::{AgentEventStream, Live};
use super::trace;
use crate::event::{
    AgentError, AgentErrorKind, AgentId, BusEpoch, CompiledEventFilter, EventCursor, EventFrame,
    EventStreamScope, RunId, SealedEvent, StreamStart, SubscriberOverflowPolicy,
    SubscriptionOptions,
};
use crate::ring::{
    Gap, Geometry, MAX_SEQUENCE, MAX_SHARDS, MAX_WINDOW, PublishError, Ring, RingConfig, RingStats,
    Start, SubscribeError,
};
use crate::sync::{Arc, AtomicBool, Ordering};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use triomphe::UniqueArc;

pub(super) type Event = triomphe::Arc<SealedEvent>;

/// What handles and streams share.
pub(super) struct Shared {
    pub(super) ring: Ring<Event>,
    pub(super) epoch: BusEpoch,
    /// The last number before the first one of these rings: that of the archive it was reopened from.
    reopened_after: u64,
    closed: AtomicBool,
}

impl Shared {
    /// Whether the last handle is gone. What was published before is visible then.
    pub(super) fn is_closed(&self) -> bool {
        // Acquire: PAIR: the store in `Handle::drop`.
        self.closed.load(Ordering::Acquire)
    }
}

/// What the clones of a bus share: dropped with the last of them.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        // Release: PAIR: `Shared::is_closed`.
        self.0.closed.store(true, Ordering::Release);
        self.0.ring.wake_all();
    }
}

/// The lock-free bus in memory. Clones share one bus; when the last one is dropped, streams end
/// after they drained.
///
/// ```
/// use framebus::*;
///
/// let bus = InMemoryAgentEventBus::default();
/// let mut stream = bus.subscribe_run(RunId::new("run-1"), None)?;
/// let envelope = EventEnvelope::new("run-1", "planner", EventKind::RunStarted);
/// bus.publish(EventFrame::new(AgentEvent::envelope_only(envelope)))?;
/// assert_eq!(stream.next().unwrap().event.envelope.event_kind, EventKind::RunStarted);
/// assert_eq!(stream.next(), None);
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Clone)]
pub struct InMemoryAgentEventBus {
    /// The standard library's, also under loom, whose own has no weak form.
    handle: std::sync::Arc<Handle>,
}

impl InMemoryAgentEventBus {
    /// Settings for a bus of another size.
    pub fn builder() -> BusBuilder {
        BusBuilder::default()
    }

    /// A handle that does not keep the bus open: for those who only read.
    pub fn downgrade(&self) -> WeakEventBus {
        WeakEventBus {
            handle: std::sync::Arc::downgrade(&self.handle),
        }
    }

    /// The bus that its numbers count in.
    pub fn epoch(&self) -> BusEpoch {
        self.shared().epoch
    }

    /// The number of the last frame; the number before the first one if there is none.
    pub fn last_sequence(&self) -> u64 {
        self.shared().ring.next_sequence() - 1
    }

    /// What the bus holds and who waits, now. Slows no publisher; takes O(shards) steps.
    pub fn stats(&self) -> RingStats {
        self.shared().ring.stats()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }

    /// Gives the frame the next number and makes it visible to all subscriptions. Waits for nobody.
    /// Allocates nothing if nobody else holds the frame's event; else the event is copied first.
    /// The frame's own notice is not passed on: it told of one subscription's loss.
    ///
    /// # Errors
    /// [`AgentErrorKind::RingStuck`] when readers asleep inside their batches hold all of a shard,
    /// [`AgentErrorKind::SequenceExhausted`]. Nothing was published then.
    pub fn publish(&self, frame: EventFrame) -> Result<(), AgentError> {
        let shared = self.shared();
        let event = frame.event.into_unique(frame.archive_cursor);
        let route = scope::route(event.envelope());
        let keys = scope::keys(event.envelope());
        shared.ring.before_wake(route, keys);
        let published = shared
            .ring
            .publish_with(route, |sequence| seal(event, sequence, shared.epoch));
        // Also when it failed: it may have held back what came after it.
        shared.ring.wake(route, keys);
        published.map(drop).map_err(publish_error)
    }

    /// Publishes frames under consecutive numbers: no other publisher's frame falls between them.
    /// All of them, or none.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish), and [`AgentErrorKind::BatchTooLarge`] for more frames of
    /// one shard than its ring holds.
    pub fn publish_all(
        &self,
        frames: impl IntoIterator<Item = EventFrame>,
    ) -> Result<(), AgentError> {
        let shared = self.shared();
        let events: Vec<_> = frames
            .into_iter()
            .map(|frame| frame.event.into_unique(frame.archive_cursor))
            .collect();
        let mut keys: Vec<_> = events
            .iter()
            .map(|event| {
                (
                    scope::keys(event.envelope()),
                    scope::route(event.envelope()),
                )
            })
            .collect();
        let routes = keys.iter().map(|(_, route)| *route);
        let mut events = events.into_iter();
        let published = shared.ring.publish_all_with(routes, |sequence| {
            // There is one for each route.
            seal(events.next().unwrap(), sequence, shared.epoch)
        });
        keys.sort_unstable_by_key(|(keys, route)| (*keys, route.tag));
        keys.dedup();
        keys.into_iter()
            .for_each(|(keys, route)| shared.ring.wake(route, keys));
        published.map(drop).map_err(publish_error)
    }

    fn subscribe(
        &self,
        scope: Scope,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        let shared = self.shared();
        if options.queue.overflow == SubscriberOverflowPolicy::BackpressureCaller {
            return Err(AgentError::new(
                AgentErrorKind::InvalidOverflowPolicy,
                "BackpressureCaller would let a subscriber hold up publishers; choose another policy",
            ));
        }
        let after = match (cursor, options.start) {
            (Some(cursor), _) => {
                check_cursor(&cursor, &scope, shared.epoch)?;
                Some(cursor.event_seq)
            }
            (None, StreamStart::Beginning) => Some(0),
            (None, _) => None,
        };
        let mut unread = None;
        let start = match after {
            Some(after) => {
                let last = shared.reopened_after;
                if after < last {
                    unread = Some(Gap {
                        first: after + 1,
                        last,
                        lost: last - after,
                        expired: true,
                        terminals_lost: true,
                    });
                }
                Start::After(after.max(last))
            }
            None if options.start == StreamStart::Latest => Start::Latest,
            None => Start::Oldest,
        };
        let subscription = shared
            .ring
            .subscribe(scope.select(), scope.tag_filter(), start)
            .map_err(subscribe_error)?;
        trace::subscribed(&scope.of_cursors(), subscription.position());
        let live = Live::new(shared.clone(), subscription, scope, options, unread);
        Ok(AgentEventStream::live(live))
    }
}

/// A handle that does not keep a bus open: streams end although it is there.
///
/// ```
/// # use framebus::InMemoryAgentEventBus;
/// let bus = InMemoryAgentEventBus::default();
/// let weak = bus.downgrade();
/// assert_eq!(weak.upgrade().unwrap().epoch(), bus.epoch());
/// drop(bus);
/// assert!(weak.upgrade().is_none());
/// ```
#[derive(Clone)]
pub struct WeakEventBus {
    handle: std::sync::Weak<Handle>,
}

impl WeakEventBus {
    /// A handle that keeps the bus open; `None` once the last of them is gone.
    pub fn upgrade(&self) -> Option<InMemoryAgentEventBus> {
        let handle = self.handle.upgrade()?;
        Some(InMemoryAgentEventBus { handle })
    }
}

impl std::fmt::Debug for WeakEventBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakEventBus").finish_non_exhaustive()
    }
}

fn seal(mut event: UniqueArc<SealedEvent>, sequence: u64, epoch: BusEpoch) -> Event {
    event.seal(sequence, epoch);
    event.shareable()
}

fn check_cursor(cursor: &EventCursor, scope: &Scope, epoch: BusEpoch) -> Result<(), AgentError> {
    let own = scope.of_cursors();
    if cursor.scope != own {
        return Err(AgentError::new(
            AgentErrorKind::CursorScopeMismatch,
            format!(
                "a cursor for {} cannot resume {own}; subscribe to its own scope",
                cursor.scope
            ),
        ));
    }
    if cursor.bus_epoch != epoch {
        return Err(AgentError::new(
            AgentErrorKind::CursorForeignEpoch,
            format!(
                "it counts in epoch {}, this bus in {epoch}; read the gap from an archive and \
                 subscribe without a cursor",
                cursor.bus_epoch
            ),
        ));
    }
    Ok(())
}

fn publish_error(error: PublishError) -> AgentError {
    let kind = match error {
        PublishError::Stuck => AgentErrorKind::RingStuck,
        PublishError::Exhausted => AgentErrorKind::SequenceExhausted,
        PublishError::BatchTooLarge { .. } => AgentErrorKind::BatchTooLarge,
    };
    AgentError::new(kind, error.to_string())
}

pub(super) fn subscribe_error(error: SubscribeError) -> AgentError {
    let kind = match error {
        SubscribeError::Ahead { .. } => AgentErrorKind::CursorAhead,
        SubscribeError::TooMany => AgentErrorKind::TooManySubscriptions,
    };
    AgentError::new(kind, error.to_string())
}

impl Default for InMemoryAgentEventBus {
    /// As many shards as the machine has processors, at most 16, that hold 57,000 frames each.
    fn default() -> Self {
        BusBuilder::default().open()
    }
}

impl std::fmt::Debug for InMemoryAgentEventBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InMemoryAgentEventBus")
            .field("epoch", &self.epoch())
            .field("shards", &self.shared().ring.shards())
            .field("last_sequence", &self.last_sequence())
            .finish_non_exhaustive()
    }
}

impl AgentEventBus for InMemoryAgentEventBus {
    fn publish(&self, frame: EventFrame) -> Result<(), AgentError> {
        InMemoryAgentEventBus::publish(self, frame)
    }

    fn subscribe_all_with_options(
        &self,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe(Scope::Plain(EventStreamScope::All), cursor, options)
    }

    fn subscribe_run_with_options(
        &self,
        run_id: RunId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe(Scope::Plain(EventStreamScope::Run(run_id)), cursor, options)
    }

    fn subscribe_agent_with_options(
        &self,
        agent_id: AgentId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe(
            Scope::Plain(EventStreamScope::Agent(agent_id)),
            cursor,
            options,
        )
    }

    fn subscribe_filtered(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError> {
        let options = SubscriptionOptions {
            queue: filter.queue,
            payload_access: filter.payload_access,
            ..SubscriptionOptions::default()
        };
        self.subscribe_filtered_with_options(filter, cursor, options)
    }

    fn subscribe_filtered_with_options(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe(Scope::Filtered(Box::new(filter)), cursor, options)
    }
}

/// Settings of an [`InMemoryAgentEventBus`].
///
/// ```
/// # use framebus::InMemoryAgentEventBus;
/// # use std::num::NonZeroUsize;
/// let size = |n| NonZeroUsize::new(n).unwrap();
/// let bus = InMemoryAgentEventBus::builder()
///     .shards(size(4))
///     .ring_capacity(size(8_192))
///     .build()?;
/// # Ok::<(), framebus::AgentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BusBuilder {
    shards: usize,
    ring_capacity: usize,
    terminal_capacity: usize,
    epoch: Option<BusEpoch>,
    after: u64,
}

impl Default for BusBuilder {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        BusBuilder {
            shards: processors.next_power_of_two().min(16),
            ring_capacity: 57_000,
            terminal_capacity: 0,
            epoch: None,
            after: 0,
        }
    }
}

impl BusBuilder {
    /// How many shards, rounded up to a power of two: at most [`MAX_SHARDS`]. More of them keep
    /// chatty runs further away from the history of others, and cost readers of everything more.
    pub fn shards(mut self, shards: NonZeroUsize) -> Self {
        self.shards = shards.get();
        self
    }

    /// How many frames a shard holds for sure: at most [`MAX_WINDOW`]. Each takes 40 bytes beside
    /// its event, once its place was used.
    pub fn ring_capacity(mut self, frames: NonZeroUsize) -> Self {
        self.ring_capacity = frames.get();
        self
    }

    /// How many terminal frames a shard holds for sure, beside the others; at least its ring
    /// capacity in any case.
    pub fn terminal_capacity(mut self, frames: NonZeroUsize) -> Self {
        self.terminal_capacity = frames.get();
        self
    }

    /// Continues a bus that was archived: its epoch, and the number of its last frame. Cursors of
    /// that bus are good for this one.
    pub fn reopen(mut self, epoch: BusEpoch, last_sequence: u64) -> Self {
        self.epoch = Some(epoch);
        self.after = last_sequence;
        self
    }

    /// How many frames the rings take at once for sure, whatever runs they are of.
    #[cfg(feature = "archive")]
    pub(crate) fn batch_limit(&self) -> usize {
        self.ring_capacity.clamp(1, 1_024)
    }

    /// The bus.
    ///
    /// # Errors
    /// [`AgentErrorKind::InvalidValue`] for a size above its bound.
    pub fn build(self) -> Result<InMemoryAgentEventBus, AgentError> {
        let check = |what: &str, value: u64, most: u64| {
            if value <= most {
                return Ok(());
            }
            let message = format!("{what} is {value}, at most {most} is possible");
            Err(AgentError::new(AgentErrorKind::InvalidValue, message))
        };
        check(
            "the number of shards",
            self.shards as u64,
            MAX_SHARDS as u64,
        )?;
        check(
            "the ring capacity",
            self.ring_capacity as u64,
            MAX_WINDOW as u64,
        )?;
        check(
            "the terminal capacity",
            self.terminal_capacity as u64,
            MAX_WINDOW as u64,
        )?;
        check("the last sequence", self.after, MAX_SEQUENCE)?;
        Ok(self.open())
    }

    fn open(self) -> InMemoryAgentEventBus {
        let config = RingConfig {
            shards: self.shards,
            frames: Geometry::for_window(self.ring_capacity),
            terminals: Geometry::for_window(self.terminal_capacity),
            after: self.after,
        };
        // Two states of this kind never agree but by chance of 2^-64; 0 stands for no bus.
        let epoch = self.epoch.unwrap_or_else(|| {
            BusEpoch::from_bits(
                RandomState::new()
                    .hash_one(std::time::SystemTime::now())
                    .max(1),
            )
        });
        let shared = Shared {
            ring: Ring::new(&config),
            epoch,
            reopened_after: self.after,
            closed: AtomicBool::new(false),
        };
        InMemoryAgentEventBus {
            handle: std::sync::Arc::new(Handle(Arc::new(shared))),
        }
    }
}
