//! The vocabulary: events, envelopes, cursors, filters, notices. No threads here.
#![forbid(unsafe_code)]

mod cursor;
mod envelope;
mod error;
mod filter;
mod frame;
mod gap;
mod hex;
mod id;
mod kind;
mod overflow;
mod payload;
mod shared;
mod timestamp;
mod wanted;

pub use cursor::{ArchiveCursor, EventCursor, EventStreamScope};
pub use envelope::{
    Correlation, EndpointKind, EndpointRef, EntityKind, EntityRef, EnvelopeDetails,
    EventDeliverySemantics, EventEnvelope, PrivacyClass, SCHEMA_VERSION,
};
pub use error::{AgentError, AgentErrorKind};
pub use filter::{CompiledEventFilter, EventFilter, MAX_FILTER_LIST};
pub use frame::EventFrame;
pub use gap::{EventOverflowNotice, Gap, Position};
pub use hex::{BusEpoch, FilterFingerprint};
pub use id::{
    AgentId, ArchiveId, EntityId, EventFilterId, EventId, EventTag, JournalCursor, MessageId,
    RunId, SessionId, SpanId, TraceId, TurnId,
};
pub use kind::{EventFamily, EventKind, KindClass, KindSet};
pub use overflow::{
    EventOverflowReason, StreamStart, SubscriberOverflowPolicy, SubscriberQueueConfig,
    SubscriptionOptions,
};
pub use payload::{EventPayload, PayloadAccessMode, PayloadContent};
pub use shared::{AgentEvent, EnvelopeView, EventView, SharedEvent};
pub use timestamp::Timestamp;

pub(crate) use shared::SealedEvent;
