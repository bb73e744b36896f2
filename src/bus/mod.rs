//! The bus: what a runtime publishes to and subscribers read from.
//!
//! It ties the vocabulary, the ring and the policies together: `memory.rs` routes frames into the
//! ring and opens subscriptions, `builder.rs` has its settings, `scope.rs` knows where a frame goes and
//! who reads it, `stream.rs` is what a reader holds and `stream/live.rs` reads a subscription through its policy, `batch.rs` and
//! `end.rs` have what it gives, `stats.rs` what became of it, `trace.rs` says so, `park.rs` puts a
//! thread to sleep until there is something, `archive.rs` is the bus's memory of what it forgot:
//! `stream/repair.rs` fills a stream's gaps from it, `source.rs` is how a stream reads it.
#![forbid(unsafe_code)]

mod archive;
mod batch;
mod builder;
mod end;
mod memory;
mod park;
mod scope;
mod source;
mod stats;
mod stream;
mod trace;

pub use archive::{EventArchive, InMemoryEventArchive, RepairArchive};
pub use batch::{BatchItem, FrameRef};
pub use builder::BusBuilder;
pub use end::{RecvError, StreamEnd};
pub use memory::{InMemoryAgentEventBus, WeakEventBus};
pub use source::FrameSource;
pub use stats::{DropCounts, StreamStats};
pub use stream::AgentEventStream;

use crate::event::{
    AgentError, AgentId, CompiledEventFilter, EventCursor, EventFrame, RunId, SubscriptionOptions,
};

/// A bus of event frames.
///
/// # Errors
/// Subscribing fails with a cursor of another scope, of another bus or ahead of it, and with the
/// policy [`BackpressureCaller`](crate::SubscriberOverflowPolicy::BackpressureCaller).
pub trait AgentEventBus: Send + Sync {
    /// Gives the frame the next number and makes it visible to all subscriptions.
    ///
    /// # Errors
    /// If the frame can't be served: nothing of it was published then.
    fn publish(&self, frame: EventFrame) -> Result<(), AgentError>;

    /// Subscribes to everything, after `cursor` or from the oldest frame held.
    fn subscribe_all(&self, cursor: Option<EventCursor>) -> Result<AgentEventStream, AgentError> {
        self.subscribe_all_with_options(cursor, SubscriptionOptions::default())
    }

    /// Subscribes to everything.
    fn subscribe_all_with_options(
        &self,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError>;

    /// Subscribes to a run, after `cursor` or from the oldest frame held.
    fn subscribe_run(
        &self,
        run_id: RunId,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe_run_with_options(run_id, cursor, SubscriptionOptions::default())
    }

    /// Subscribes to a run.
    fn subscribe_run_with_options(
        &self,
        run_id: RunId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError>;

    /// Subscribes to an agent, after `cursor` or from the oldest frame held.
    fn subscribe_agent(
        &self,
        agent_id: AgentId,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError> {
        self.subscribe_agent_with_options(agent_id, cursor, SubscriptionOptions::default())
    }

    /// Subscribes to an agent.
    fn subscribe_agent_with_options(
        &self,
        agent_id: AgentId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError>;

    /// Subscribes to what a filter lets through, with the filter's queue and payload access, after
    /// `cursor` or from the oldest frame held.
    fn subscribe_filtered(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError>;
}
