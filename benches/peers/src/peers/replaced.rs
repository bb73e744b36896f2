//! The bus that framebus replaces. It keeps all that it gets, and its stream is what was there when
//! the stream was made: it can take part in publishing and in the backlog only, so it is no
//! [`Peer`](crate::peer::Peer).

use agent_sdk_core as sdk;
pub use sdk::event_bus::{AgentEventBus, InMemoryAgentEventBus as Bus};

use sdk::event::{
    AgentEvent, ContentCaptureMode, EVENT_SCHEMA_VERSION, EventDeliverySemantics, EventEnvelope,
    EventFamily, EventFrame, EventKind, EventStreamScope,
};

/// As it stands in the tables.
pub const NAME: &str = "agent-sdk-core 0.1.0-alpha.4";

/// A token of one run, as the cases of one thread publish them.
pub fn token(number: usize) -> EventFrame {
    event(number, "run-0", framebus::EventKind::ModelStreamDelta)
}

/// An event of framebus in this bus's vocabulary, which has a field for each thing.
pub fn event(number: usize, run: &str, kind: framebus::EventKind) -> EventFrame {
    let (event_family, event_kind) = match kind {
        framebus::EventKind::RunStarted => (EventFamily::Run, EventKind::RunStarted),
        framebus::EventKind::RunCompleted => (EventFamily::Run, EventKind::RunCompleted),
        framebus::EventKind::ToolStarted => (EventFamily::Tool, EventKind::ToolStarted),
        _ => (EventFamily::Model, EventKind::ModelStreamDelta),
    };
    let run_id = sdk::RunId::new(run);
    let envelope = EventEnvelope {
        schema_version: EVENT_SCHEMA_VERSION,
        event_id: sdk::EventId::new(format!("event.{number}")),
        event_seq: 0,
        event_family,
        event_kind,
        payload_schema_version: 1,
        timestamp: "2026-01-01T00:00:00Z".into(),
        recorded_at: "2026-01-01T00:00:00Z".into(),
        subject_ref: sdk::EntityRef::run(run_id.clone()),
        run_id,
        session_id: None,
        agent_id: sdk::AgentId::new("agent"),
        turn_id: None,
        attempt_id: None,
        message_id: None,
        context_item_id: None,
        trace_id: sdk::TraceId::new("trace"),
        span_id: sdk::ids::SpanId::new("span"),
        parent_event_id: None,
        caused_by: None,
        related_refs: Vec::new(),
        causal_refs: Vec::new(),
        correlation: Default::default(),
        tags: Vec::new(),
        source: sdk::SourceRef::with_kind(sdk::SourceKind::Sdk, "source"),
        destination: None,
        policy_refs: Vec::new(),
        journal_cursor: None,
        state_before: None,
        state_after: None,
        delivery_semantics: EventDeliverySemantics::BestEffortLive,
        privacy: sdk::PrivacyClass::ContentRefsOnly,
        content_capture: ContentCaptureMode::Off,
        redaction_policy_id: "default".into(),
        runtime_package_fingerprint: "package".into(),
    };
    let event = AgentEvent::envelope_only(envelope);
    EventFrame {
        cursor: event.envelope.cursor(EventStreamScope::All),
        event,
        archive_cursor: None,
        overflow: None,
    }
}
