//! The bus in memory: frames into the ring, subscriptions out of it.

use super::event_bus::AgentEventBus;
use super::replaced::drop_later;
use super::scope::{self, Scope};
use super::shared::{Event, Shared, publish_error, subscribe_error};
use super::stream::{AgentEventStream, Live};
use super::trace;
use crate::event::{
    AgentError, AgentErrorKind, AgentEvent, AgentId, BusEpoch, CompiledEventFilter, EventCursor,
    EventEnvelope, EventFrame, EventKind, EventStreamScope, RunId, SealedEvent, StreamStart,
    SubscriberOverflowPolicy, SubscriptionOptions,
};
use crate::ring::{Ring, RingConfig, RingStats, Start};
use crate::sync::Arc;
use triomphe::UniqueArc;

/// What the clones of a bus share. Dropping it, with the last of them, closes the bus.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The lock-free bus in memory. Clones share one bus; after the last one is dropped, streams end
/// once they are drained.
///
/// **Not across a fork.** A forked child has a copy of the rings, apart from its parent's, and none
/// of the parent's other threads. If one of those was writing a slot, the slot stays unfinished in
/// the child, whose readers never get past it; if one held a lock (to subscribe), the lock is never
/// released there. Make the child's bus in the child, or let the child execute a program.
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
    /// Counts the handles. The standard library's, also under loom, whose own has no weak form.
    handle: std::sync::Arc<Handle>,
}

impl InMemoryAgentEventBus {
    /// A bus with these rings.
    pub(super) fn open(config: &RingConfig, epoch: BusEpoch) -> Self {
        let ring = Ring::new(config);
        ring.allocate();
        let shared = Shared::new(ring, epoch);
        InMemoryAgentEventBus {
            handle: std::sync::Arc::new(Handle(Arc::new(shared))),
        }
    }

    /// Returns a handle that does not keep the bus open, for a holder that only reads.
    pub fn downgrade(&self) -> WeakEventBus {
        WeakEventBus {
            handle: std::sync::Arc::downgrade(&self.handle),
        }
    }

    /// Returns the epoch that the bus's sequence numbers count in.
    pub fn epoch(&self) -> BusEpoch {
        self.shared().epoch
    }

    /// Returns the sequence number of the last frame; if there is none, the one before the first
    /// frame's.
    pub fn last_sequence(&self) -> u64 {
        self.shared().last_sequence()
    }

    /// Returns what the bus holds and which subscriptions wait, now. Slows no publisher; takes
    /// O(shards) steps.
    pub fn stats(&self) -> RingStats {
        self.shared().ring.stats()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }

    /// Gives the frame the next sequence number and makes it visible to all subscriptions. Never
    /// waits. Allocates nothing if the frame's event is not shared; otherwise the event is copied
    /// first. The frame's own notice is not published: it is about one subscription's loss.
    ///
    /// Its steps are bounded, except for one destructor. Each publish replaces an event in the
    /// ring. The thread keeps the last eight, while they are fetched into its cache, and drops the
    /// oldest once the new frame is readable, unless a subscriber still holds it. For most events
    /// that takes tens of nanoseconds, for one of 1,000 tags about 8 microseconds: as long as
    /// dropping it takes anywhere. A thread that ends drops what it keeps.
    ///
    /// # Errors
    /// Nothing was published then.
    /// - [`AgentErrorKind::RingStuck`] when readers asleep inside their batches pin all of a shard.
    /// - [`AgentErrorKind::SequenceExhausted`].
    pub fn publish(&self, frame: EventFrame) -> Result<(), AgentError> {
        let shared = self.shared();
        let event = frame.event.into_unique(frame.archive_cursor);
        let route = scope::route(event.envelope());
        let keys = scope::keys(event.envelope());
        shared.ring.prefetch_wake(route, keys);
        let seal = |sequence| seal(event, sequence, shared.epoch);
        let published = shared.ring.publish_replacing(route, seal, drop_later);
        // A publish that failed wakes too: it may have held back frames published after it.
        shared.ring.wake(route, keys);
        published.map(drop).map_err(publish_error)
    }

    /// Publishes an event of this kind, without a payload.
    ///
    /// ```
    /// # use framebus::{AgentError, EventKind, InMemoryAgentEventBus};
    /// let bus = InMemoryAgentEventBus::default();
    /// bus.emit("run-1", "planner", EventKind::RunStarted)?;
    /// # Ok::<(), AgentError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub fn emit(
        &self,
        run_id: impl Into<RunId>,
        agent_id: impl Into<AgentId>,
        kind: EventKind,
    ) -> Result<(), AgentError> {
        let envelope = EventEnvelope::new(run_id, agent_id, kind);
        self.publish(AgentEvent::envelope_only(envelope).into())
    }

    /// Publishes frames under consecutive sequence numbers: no other publisher's frame falls
    /// between them. Publishes all of them, or none.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish), and [`AgentErrorKind::BatchTooLarge`] for more frames of
    /// one shard than its ring holds. A batch that stays refused as [`AgentErrorKind::RingStuck`]
    /// can be published frame by frame.
    pub fn publish_all(
        &self,
        frames: impl IntoIterator<Item = EventFrame>,
    ) -> Result<(), AgentError> {
        let events: Vec<_> = frames
            .into_iter()
            .map(|frame| frame.event.into_unique(frame.archive_cursor))
            .collect();
        self.publish_events(&mut events.into_iter())
    }

    /// Does the same for events that their publisher keeps if they are refused. Takes those out of
    /// `events` that were given a sequence number.
    pub(crate) fn publish_events(
        &self,
        events: &mut std::vec::IntoIter<UniqueArc<SealedEvent>>,
    ) -> Result<(), AgentError> {
        let shared = self.shared();
        if let [event] = events.as_slice() {
            let route = scope::route(event.envelope());
            let keys = scope::keys(event.envelope());
            // Called at most once, and there is one event.
            let seal = |sequence| seal(events.next().unwrap(), sequence, shared.epoch);
            let published = shared.ring.publish_replacing(route, seal, drop_later);
            shared.ring.wake(route, keys);
            return published.map(drop).map_err(publish_error);
        }
        let mut keys: Vec<_> = events
            .as_slice()
            .iter()
            .map(|event| {
                (
                    scope::keys(event.envelope()),
                    scope::route(event.envelope()),
                )
            })
            .collect();
        let routes = keys.iter().map(|(_, route)| *route);
        let published = shared.ring.publish_all_with(routes, |sequence| {
            // Called at most once for each route, and there is an event for each.
            seal(events.next().unwrap(), sequence, shared.epoch)
        });
        keys.sort_unstable_by_key(|(keys, route)| (*keys, route.tag));
        keys.dedup();
        keys.into_iter()
            .for_each(|(keys, route)| shared.ring.wake(route, keys));
        published.map(drop).map_err(publish_error)
    }

    /// Opens a stream of a scope: checks the policy and the cursor, and subscribes to the rings.
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
        let start = match (after, options.start) {
            // A cursor may be before the first sequence number of these rings: the archive that
            // they were reopened from has those frames.
            (Some(after), _) => Start::After(after),
            (None, StreamStart::Latest) => Start::Latest,
            (None, _) => Start::Oldest,
        };
        let subscription = shared
            .ring
            .subscribe(scope.select(), scope.tag_filter(), start)
            .map_err(subscribe_error)?;
        trace::subscribed(&scope.of_cursors(), subscription.position());
        let live = Live::new(shared.clone(), subscription, scope, options);
        Ok(AgentEventStream::live(live))
    }
}

/// A handle that does not keep a bus open: streams end although it still exists.
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
    /// Returns a handle that keeps the bus open; `None` once the last such handle is gone.
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

/// Gives the event its sequence number, and shares it.
fn seal(mut event: UniqueArc<SealedEvent>, sequence: u64, epoch: BusEpoch) -> Event {
    event.seal(sequence, epoch);
    event.shareable()
}

/// Checks that a cursor is of this scope and of this bus.
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
