//! The job of the bus that this one replaces: subscribe to all with default options, and collect
//! what is left of a backlog of 50,000 real events. Both buses have their default settings; the
//! other one keeps all that it gets, and its stream is what was there when it was made, so that it
//! can take part in no stream and no round trip.

use super::{Case, Contender, Scale};
use crate::case::single::ns_per_frame;
use agent_sdk_core as replaced;
use framebus::{
    AgentEvent, AgentEventBus, EventEnvelope, EventFrame, EventKind, InMemoryAgentEventBus,
};
use replaced::event_bus::AgentEventBus as _;
pub use replaced::event_bus::InMemoryAgentEventBus as Replaced;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Instant;

/// Frames in the backlog, of so many runs.
const BACKLOG: usize = 50_000;
const RUNS: usize = 50;

/// The bus that this one replaces.
pub const REPLACED: &str = "agent-sdk-core 0.1.0-alpha.4";

/// What happens in a run of 1,000 frames: mostly tokens, tools between them, and an end. All runs
/// have no more terminal frames than the queue holds: the other bus would lose the rest, and this
/// one gives them all.
fn kind(place: usize) -> EventKind {
    match place {
        0 => EventKind::RunStarted,
        999 => EventKind::RunCompleted,
        n if n % 25 == 0 => EventKind::ToolStarted,
        _ => EventKind::ModelStreamDelta,
    }
}

/// Each frame of the backlog: its run and its kind.
fn backlog() -> impl Iterator<Item = (String, EventKind)> {
    (0..BACKLOG).map(|n| (format!("run-{}", n % RUNS), kind(n / RUNS)))
}

/// What a subscriber got: the numbers of the frames.
type Got = Vec<u64>;

/// Both buses, and what each selects.
pub fn cases() -> Vec<Case> {
    let (one, other) = (
        Rc::new(OnceCell::<Got>::new()),
        Rc::new(OnceCell::<Got>::new()),
    );
    let check = |own: &Rc<OnceCell<Got>>, others: &Rc<OnceCell<Got>>| {
        let (own, others) = (own.clone(), others.clone());
        move |got: Got| {
            own.get_or_init(|| got.clone());
            if let Some(others) = others.get() {
                assert_eq!(&got, others, "both select the same frames");
            }
        }
    };
    let framebus_check = check(&one, &other);
    let framebus = Contender::new("framebus", move |scale| {
        let bus = InMemoryAgentEventBus::default();
        for (run, kind) in backlog() {
            let envelope = EventEnvelope::new(run, "agent", kind);
            let event = AgentEvent::envelope_only(envelope);
            bus.publish(EventFrame::new(event)).unwrap();
        }
        time(
            scale,
            || {
                let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
                frames.iter().map(|frame| frame.cursor.event_seq).collect()
            },
            &framebus_check,
        )
    });
    let replaced_check = check(&other, &one);
    let replaced = Contender::new(REPLACED, move |scale| {
        let bus = Replaced::default();
        for (number, (run, kind)) in backlog().enumerate() {
            bus.publish(as_replaced(number, &run, kind)).unwrap();
        }
        time(
            scale,
            || {
                let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
                frames.iter().map(|frame| frame.cursor.event_seq).collect()
            },
            &replaced_check,
        )
    });
    vec![Case {
        name: "backlog".into(),
        about: "subscribe to all with default options and collect, 50,000 real events are there",
        contenders: vec![framebus, replaced],
    }]
}

fn time(scale: Scale, subscribe: impl Fn() -> Got, check: &impl Fn(Got)) -> Vec<super::Figure> {
    let times = (0..scale.of(8)).map(|_| {
        let begin = Instant::now();
        let got = subscribe();
        let spent = begin.elapsed();
        check(got);
        spent
    });
    ns_per_frame(times, BACKLOG)
}

/// A frame as the cases of one thread publish them.
pub fn event_as_replaced(number: usize) -> replaced::event::EventFrame {
    as_replaced(number, "run-0", EventKind::ModelStreamDelta)
}

/// The same event in the other bus's vocabulary, which has a field for each thing.
fn as_replaced(number: usize, run: &str, kind: EventKind) -> replaced::event::EventFrame {
    use replaced::event::{EventEnvelope, EventFamily, EventFrame, EventKind as Kind};
    let (event_family, event_kind) = match kind {
        EventKind::RunStarted => (EventFamily::Run, Kind::RunStarted),
        EventKind::RunCompleted => (EventFamily::Run, Kind::RunCompleted),
        EventKind::ToolStarted => (EventFamily::Tool, Kind::ToolStarted),
        _ => (EventFamily::Model, Kind::ModelStreamDelta),
    };
    let run_id = replaced::RunId::new(run);
    let envelope = EventEnvelope {
        schema_version: replaced::event::EVENT_SCHEMA_VERSION,
        event_id: replaced::EventId::new(format!("event.{number}")),
        event_seq: 0,
        event_family,
        event_kind,
        payload_schema_version: 1,
        timestamp: "2026-01-01T00:00:00Z".into(),
        recorded_at: "2026-01-01T00:00:00Z".into(),
        subject_ref: replaced::EntityRef::run(run_id.clone()),
        run_id,
        session_id: None,
        agent_id: replaced::AgentId::new("agent"),
        turn_id: None,
        attempt_id: None,
        message_id: None,
        context_item_id: None,
        trace_id: replaced::TraceId::new("trace"),
        span_id: replaced::ids::SpanId::new("span"),
        parent_event_id: None,
        caused_by: None,
        related_refs: Vec::new(),
        causal_refs: Vec::new(),
        correlation: Default::default(),
        tags: Vec::new(),
        source: replaced::SourceRef::with_kind(replaced::SourceKind::Sdk, "source"),
        destination: None,
        policy_refs: Vec::new(),
        journal_cursor: None,
        state_before: None,
        state_after: None,
        delivery_semantics: replaced::event::EventDeliverySemantics::BestEffortLive,
        privacy: replaced::PrivacyClass::ContentRefsOnly,
        content_capture: replaced::event::ContentCaptureMode::Off,
        redaction_policy_id: "default".into(),
        runtime_package_fingerprint: "package".into(),
    };
    let event = replaced::event::AgentEvent::envelope_only(envelope);
    EventFrame {
        cursor: event
            .envelope
            .cursor(replaced::event::EventStreamScope::All),
        event,
        archive_cursor: None,
        overflow: None,
    }
}
