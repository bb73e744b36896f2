//! The trait of a bus: what a runtime publishes to and subscribers read from.

use super::stream::AgentEventStream;
#[cfg(doc)]
use crate::event::AgentErrorKind;
use crate::event::{
    AgentError, AgentId, CompiledEventFilter, EventCursor, EventFrame, RunId, StreamStart,
    SubscriptionOptions,
};

/// A bus of event frames.
///
/// # What a backlog loses
/// A subscription made without options reads through a queue of 64 frames. A call that finds the
/// queue empty moves all that was published by then into it. Of a longer backlog, the queue keeps
/// every terminal frame and 63 of the others; its [policy](crate::SubscriberOverflowPolicy) drops
/// the rest, and the frame after the gap reports that. [`SubscriptionOptions::complete`] has no
/// queue: it gives every frame that the rings hold, by default 57,000.
///
/// ```
/// # use framebus::*;
/// let bus = InMemoryAgentEventBus::default();
/// let frame = || EventEnvelope::new("run-1", "planner", EventKind::ModelStreamDelta);
/// (0..1_000).try_for_each(|_| bus.publish(AgentEvent::envelope_only(frame()).into()))?;
///
/// let mut bounded = bus.subscribe_all(None)?;
/// let frames: Vec<_> = bounded.by_ref().collect();
/// assert_eq!(frames.len(), 63);
/// assert_eq!(frames[62].overflow.as_ref().unwrap().dropped_count, 937);
///
/// let complete = bus.subscribe_all_with_options(None, SubscriptionOptions::complete())?;
/// assert_eq!(complete.count(), 1_000);
/// # Ok::<(), AgentError>(())
/// ```
///
/// # Errors
/// Subscribing fails with a cursor that is of another scope, of another bus or ahead of the bus,
/// and with the policy
/// [`BackpressureCaller`](crate::SubscriberOverflowPolicy::BackpressureCaller).
pub trait AgentEventBus: Send + Sync {
    /// Gives the frame the next sequence number and makes it visible to all subscriptions.
    ///
    /// # Errors
    /// If the frame can't be published. Nothing of it was published then.
    fn publish(&self, frame: EventFrame) -> Result<(), AgentError>;

    /// Subscribes to everything through the default queue: of a backlog of more than 64 frames, all
    /// but 63 of those that are not terminal are dropped, and reported as lost (see [the
    /// trait](Self#what-a-backlog-loses)). Starts after `cursor`, or at the oldest frame held.
    fn subscribe_all(&self, cursor: Option<EventCursor>) -> Result<AgentEventStream, AgentError> {
        self.subscribe_all_with_options(cursor, SubscriptionOptions::default())
    }

    /// Subscribes to everything; what a backlog loses is up to the options' queue, whose default
    /// drops all but 63 of the frames that are not terminal. [`SubscriptionOptions::complete`]
    /// drops none.
    fn subscribe_all_with_options(
        &self,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError>;

    /// Subscribes to a run through the default queue: of a backlog of more than 64 of its frames,
    /// all but 63 of those that are not terminal are dropped, and reported as lost (see [the
    /// trait](Self#what-a-backlog-loses)). Starts after `cursor`, or at the oldest frame held.
    fn subscribe_run(
        &self,
        run_id: RunId,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe_run_with_options(run_id, cursor, SubscriptionOptions::default())
    }

    /// Subscribes to a run; what a backlog loses is up to the options' queue, whose default drops
    /// all but 63 of the run's frames that are not terminal. [`SubscriptionOptions::complete`]
    /// drops none.
    fn subscribe_run_with_options(
        &self,
        run_id: RunId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError>;

    /// Subscribes to an agent through the default queue: of a backlog of more than 64 of its
    /// frames, all but 63 of those that are not terminal are dropped, and reported as lost (see
    /// [the trait](Self#what-a-backlog-loses)). Starts after `cursor`, or at the oldest frame held.
    fn subscribe_agent(
        &self,
        agent_id: AgentId,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe_agent_with_options(agent_id, cursor, SubscriptionOptions::default())
    }

    /// Subscribes to an agent; what a backlog loses is up to the options' queue, whose default
    /// drops all but 63 of the agent's frames that are not terminal.
    /// [`SubscriptionOptions::complete`] drops none.
    fn subscribe_agent_with_options(
        &self,
        agent_id: AgentId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError>;

    /// Subscribes to what a filter lets through, with the filter's queue, whose default drops all
    /// but 63 frames of a backlog that are not terminal (see [the
    /// trait](Self#what-a-backlog-loses)), and with the filter's payload access. Starts after
    /// `cursor`, or at the oldest frame held.
    fn subscribe_filtered(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError>;

    /// Subscribes to what a filter lets through, with the options' queue and payload access in
    /// place of the filter's. The default queue drops all but 63 frames of a backlog that are not
    /// terminal; [`SubscriptionOptions::complete`] drops none.
    ///
    /// # Errors
    /// The provided method returns [`AgentErrorKind::ContractViolation`] for complete reading and
    /// for a start other than [`StreamStart::OldestHeld`].
    fn subscribe_filtered_with_options(
        &self,
        mut filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        if options.complete || options.start != StreamStart::OldestHeld {
            return Err(AgentError::contract_violation(
                "this bus reads a filter through a queue, from the oldest frame held; subscribe without \
                 `complete` and without a start",
            ));
        }
        (filter.queue, filter.payload_access) = (options.queue, options.payload_access);
        self.subscribe_filtered(filter, cursor)
    }
}
