//! The JSON of frames, cursors and filters, pinned by files in `tests/golden`.
//!
//! `BLESS=1 cargo test --test golden` writes the files anew; look at the difference before it goes
//! in.
#![cfg(feature = "serde")]

use framebus::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::Path;

/// The value writes the file, and the file reads as the value.
fn pinned<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let written = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, golden, "{name}");
    assert_eq!(
        serde_json::from_str::<T>(&golden).unwrap(),
        *value,
        "{name}"
    );
}

fn envelope(kind: EventKind) -> EventEnvelope {
    let mut envelope = EventEnvelope::new("run-1", "planner", kind)
        .with_timestamp("2026-02-12T15:36:09.516Z".parse().unwrap());
    envelope.event_seq = 42;
    envelope.bus_epoch = BusEpoch::from_bits(0x0123_4567_89ab_cdef);
    envelope
}

fn full_envelope() -> EventEnvelope {
    envelope(EventKind::ToolFailed)
        .with_journal_cursor("journal/7")
        .with_delivery_semantics(EventDeliverySemantics::JournalBacked)
        .with_privacy(PrivacyClass::Content)
        .with_event_id("event-1")
        .with_session("session-1")
        .with_turn("turn-1")
        .with_message("message-1")
        .with_trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
        .unwrap()
        .with_parent_event("event-0")
        .with_subject((EntityKind::ToolCall, "call-1"))
        .with_related((EntityKind::Artifact, "file-1"))
        .with_tag("search")
        .with_tag("retry")
        .with_correlation(("ticket", "T-1"))
        .with_source((EndpointKind::Tool, "grep"))
        .with_destination((EndpointKind::User, "ui"))
}

fn notice(frame: &EventFrame) -> EventOverflowNotice {
    EventOverflowNotice {
        policy: SubscriberOverflowPolicy::DropProgress,
        dropped_count: 3,
        exact: true,
        gap_start: Some(EventCursor {
            event_seq: 39,
            ..frame.cursor.clone()
        }),
        gap_end: EventCursor {
            event_seq: 41,
            ..frame.cursor.clone()
        },
        repair_from: Some("journal/4".into()),
        terminal_preserved: true,
        reason: EventOverflowReason::PolicyDroppedProgress,
    }
}

#[test]
fn frames() {
    let plain = EventFrame::new(AgentEvent::envelope_only(envelope(EventKind::RunStarted)));
    pinned("frame_minimal.json", &plain);
    let full = AgentEvent::with_redacted_summary(full_envelope(), "the tool timed out");
    pinned("frame_full.json", &EventFrame::new(full));
    let content = |bytes: &[u8]| {
        AgentEvent::with_content(envelope(EventKind::ModelStreamDelta), "text/plain", bytes)
    };
    pinned(
        "frame_text.json",
        &EventFrame::new(content("Grüße".as_bytes())),
    );
    let mut binary = content(&[0xff, 0x00, 0x10]);
    if let EventPayload::Content(content) = &mut binary.payload {
        content.summary = Some("three bytes".into());
        content.references = [(EntityKind::Artifact, "file-1").into()].into();
    }
    pinned("frame_binary.json", &EventFrame::new(binary));
    let with_notice = EventFrame {
        overflow: Some(Box::new(notice(&plain))),
        archive_cursor: Some(ArchiveCursor {
            archive_id: "archive-1".into(),
            position: 7,
        }),
        ..plain
    };
    pinned("frame_with_notice.json", &with_notice);
}

#[test]
fn cursors() {
    let filter = EventFilter::terminal_run_events().compile().unwrap();
    let scopes = [
        EventStreamScope::All,
        EventStreamScope::Run("run-1".into()),
        EventStreamScope::Agent("planner".into()),
        filter.cursor_scope(),
    ];
    let cursors: Vec<_> = scopes.map(|scope| full_envelope().cursor(scope)).into();
    pinned("cursors.json", &cursors);
}

#[test]
fn filters_and_options() {
    let filter = EventFilter {
        kinds: vec![EventKind::ToolFailed, EventKind::ToolDenied],
        source_kinds: vec![EndpointKind::Tool],
        tags: vec!["search".into()],
        payload_access: PayloadAccessMode::RedactedSummary,
        ..EventFilter::run("run-1")
    };
    pinned("filter.json", &filter);
    let compiled = filter.clone().compile().unwrap();
    let json = serde_json::to_string(&compiled).unwrap();
    let again: CompiledEventFilter = serde_json::from_str(&json).unwrap();
    assert_eq!(again.fingerprint(), compiled.fingerprint());
    let never = r#"{"kinds":["ToolStarted"],"terminal_only":true}"#;
    assert!(serde_json::from_str::<CompiledEventFilter>(never).is_err());
    pinned("options.json", &SubscriptionOptions::default());
}

#[test]
fn statistics() {
    let mut counts = [0; EventOverflowReason::ALL.len()];
    counts[EventOverflowReason::SubscriberLagged as usize] = 30;
    counts[EventOverflowReason::PolicyDroppedProgress as usize] = 7;
    let mut stream = StreamStats::default();
    (stream.position, stream.lag, stream.queued) = (120, 9, 4);
    (stream.delivered, stream.terminals) = (83, 2);
    (stream.dropped, stream.laps, stream.notices) = (counts.into(), 1, 3);
    pinned("stream_stats.json", &stream);
    let builder = InMemoryAgentEventBus::builder().shards(std::num::NonZeroUsize::MIN);
    let mut bus = builder.build().unwrap().stats();
    (bus.published, bus.last_sequence, bus.oldest_sequence) = (100, 120, Some(21));
    (bus.parked, bus.woken) = (5, 6);
    let lanes = &mut bus.shards[0];
    for (lane, first) in [(&mut lanes.frames, 1), (&mut lanes.terminals, 11)] {
        (lane.tail, lane.window, lane.wraps, lane.voids) = (first, first + 1, first + 2, first + 3);
    }
    pinned("bus_stats.json", &bus);
}

#[test]
fn absent_reasons_count_zero_and_unknown_reasons_are_errors() {
    let counts: DropCounts = serde_json::from_str(r#"{"subscriber_lagged":3}"#).unwrap();
    assert_eq!(counts.of(EventOverflowReason::SubscriberLagged), 3);
    assert_eq!(counts.total(), 3);
    for wrong in [
        r#"{"bad_luck":3}"#,
        r#"{"subscriber_lagged":-3}"#,
        "3",
        "[]",
    ] {
        assert!(
            serde_json::from_str::<DropCounts>(wrong).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn hidden_payloads_are_not_written() {
    let event = AgentEvent::with_content(envelope(EventKind::ToolCompleted), "text/plain", *b"42");
    let event = SharedEvent::from(event).restrict(PayloadAccessMode::PayloadRefs);
    let json = serde_json::to_value(EventFrame::new(event)).unwrap();
    assert_eq!(
        json["event"]["payload"],
        serde_json::json!({ "type": "envelope_only" })
    );
}

#[test]
fn wrong_json_is_a_clear_error() {
    let good = serde_json::to_value(EventFrame::new(AgentEvent::with_redacted_summary(
        full_envelope(),
        "text",
    )))
    .unwrap();
    let mut complaints = Vec::new();
    for (path, value) in [
        ("/event/envelope/event_kind", "RunImagined"),
        ("/event/envelope/event_family", "Model"),
        ("/event/envelope/timestamp", "yesterday"),
        ("/event/envelope/bus_epoch", "12"),
        ("/event/envelope/trace_id", "0"),
        ("/cursor/scope/kind", "everything"),
        ("/cursor/event_seq", "1"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value.into();
        let error = serde_json::from_value::<EventFrame>(bad).expect_err(path);
        complaints.push(error.to_string());
    }
    assert!(complaints[0].contains("RunImagined"), "{complaints:?}");
    assert!(complaints[1].contains("family"), "{complaints:?}");
    assert!(
        complaints[3].contains("16 hexadecimal digits"),
        "{complaints:?}"
    );
    assert!(complaints[4].contains("trace id"), "{complaints:?}");
    let zero =
        serde_json::json!({ "capacity": 0, "terminal_reserve": 1, "overflow": "drop_progress" });
    assert!(
        serde_json::from_value::<SubscriberQueueConfig>(zero).is_err(),
        "no queue holds nothing"
    );
    let unknown = serde_json::json!({ "run_idz": ["r"] });
    assert!(
        serde_json::from_value::<EventFilter>(unknown).is_err(),
        "a misspelt field is no filter"
    );
}
