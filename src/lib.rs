//! An embedded, lock-free, high-throughput event bus for agent runtimes.
//!
//! A runtime publishes event frames: a run started, a token arrived, a tool failed, a run
//! completed. Terminal UIs, web pages, telemetry, archives and orchestrators subscribe to all of
//! them, to one run, one agent or a [filter](EventFilter), each at its own pace. No subscriber
//! delays a publisher or another subscriber. A slow subscriber's own
//! [policy](SubscriberOverflowPolicy) decides what it loses, which is always reported and never a
//! terminal frame that the bus still holds.
//!
//! ```
//! use framebus::prelude::*;
//!
//! let bus = InMemoryAgentEventBus::default();
//! // Every frame that the bus holds. Without options, a queue of 64 frames bounds a backlog.
//! let complete = SubscriptionOptions::complete();
//! let mut stream = bus.subscribe_run_with_options(RunId::new("run-1"), None, complete)?;
//!
//! let started = EventEnvelope::new("run-1", "planner", EventKind::RunStarted);
//! let failed = EventEnvelope::new("run-1", "planner", EventKind::ToolFailed);
//! bus.publish(EventFrame::new(AgentEvent::envelope_only(started)))?;
//! bus.publish(EventFrame::new(AgentEvent::with_redacted_summary(failed, "no such file")))?;
//!
//! let frames: Vec<_> = stream.by_ref().collect();
//! assert_eq!(frames[1].event.redacted_summary(), Some("no such file"));
//!
//! // Later, elsewhere: go on after the first frame.
//! let mut resumed = bus.subscribe_run(RunId::new("run-1"), Some(frames[0].cursor.clone()))?;
//! assert_eq!(resumed.next().unwrap().event.envelope.event_kind, EventKind::ToolFailed);
//! # Ok::<(), AgentError>(())
//! ```
//!
//! # What is promised
//! - **Order.** A stream gives its frames in strictly increasing order of one global sequence, each
//!   at most once, whatever threads published them. If one publish returned before another began,
//!   its frame comes first.
//! - **Publishing** never waits for a subscriber, a buffer, a lock or another publisher, and
//!   allocates nothing beyond the frame's own event.
//! - **Losses are reported** at the gap: on the first frame after it, with its bounds, its count
//!   and the reason. For a subscription to everything, frames delivered as themselves plus frames
//!   reported as lost are exactly the frames published. For a narrower one, the count of frames
//!   that the rings lost is an upper bound, and the notice's `exact` is false.
//! - **Terminal frames** have lanes of their own, and no queue drops one. One that matches is
//!   delivered, unless its lane was lapped: then a notice says `terminal_preserved: false`.
//! - **Resuming** is exact: strictly after the cursor, and expired frames are reported.
//!
//! # Modules
//! The vocabulary (events, envelopes, cursors, filters, notices) is at the crate's root, and so is
//! the bus. [`ring`] is the lock-free core, generic over its frames and usable alone.
//!
//! # Features
//! - `serde` (default): `Serialize` and `Deserialize` for every data type, and for statistics.
//! - `archive`: the module `archive`. Frames on disk: journaled, replayed, and the gaps of streams
//!   repaired from them.
//! - `sse`: the module `sse`. The bus for browsers, as a route for axum.
//! - `metrics`: the module `meter`. The bus's figures for the metrics facade.
//! - `tracing`: subscriptions, losses to the rings, repairs and failures for the tracing facade,
//!   target `framebus`; nothing for a frame.
//! - `testing`: sizes and numbers of a ring that only tests want; no part of what is stable.
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "archive")]
pub mod archive;
mod bound;
mod bus;
mod event;
mod foreign;
#[cfg(feature = "metrics")]
pub mod meter;
pub mod ring;
#[cfg(feature = "sse")]
pub mod sse;
mod sync;

// Events and what they carry.
pub use event::{
    AgentEvent, EnvelopeView, EventEnvelope, EventFrame, EventPayload, EventView,
    PayloadAccessMode, PayloadContent, SCHEMA_VERSION, SharedEvent,
};
pub use event::{
    Correlation, EndpointKind, EndpointRef, EntityKind, EntityRef, EnvelopeDetails,
    EventDeliverySemantics, EventFamily, EventKind, KindClass, KindSet, PrivacyClass, Timestamp,
};
// Ids.
pub use event::{
    AgentId, ArchiveId, EntityId, EventFilterId, EventId, EventTag, JournalCursor, MessageId,
    RunId, SessionId, SpanId, TraceId, TurnId,
};
// What is read, from where, and what is lost by whom.
pub use event::{
    ArchiveCursor, BusEpoch, CompiledEventFilter, EventCursor, EventFilter, EventStreamScope,
    FilterFingerprint, MAX_FILTER_LIST,
};
pub use event::{
    EventOverflowNotice, EventOverflowReason, Gap, Position, StreamStart, SubscriberOverflowPolicy,
    SubscriberQueueConfig, SubscriptionOptions,
};
// The bus and its streams.
pub use bus::{
    AgentEventBus, AgentEventStream, BatchItem, BusBuilder, DropCounts, FrameRef, FrameStream,
    InMemoryAgentEventBus, RecvError, StreamEnd, StreamStats, WeakEventBus,
};
// Where else frames may come from.
pub use bus::{EventArchive, FrameSource, InMemoryEventArchive, RepairArchive, TryFrames};
pub use event::{AgentError, AgentErrorKind};

/// What a program that publishes and subscribes names: `use framebus::prelude::*`.
pub mod prelude {
    pub use crate::{
        AgentError, AgentEvent, AgentEventBus, AgentEventStream, AgentId, EventEnvelope,
        EventFilter, EventFrame, EventKind, InMemoryAgentEventBus, RunId, SubscriptionOptions,
    };
}

/// The README's program is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
