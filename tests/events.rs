//! What events, envelopes and filters are by themselves, and what of them a bus keeps.

mod common;

use common::start;
use framebus::*;

/// An event with a text, a reference and content.
fn whole() -> SharedEvent {
    let envelope = EventEnvelope::new("r", "a", EventKind::ToolCompleted);
    let mut event = AgentEvent::with_content(envelope, "text/plain", *b"all of it");
    if let EventPayload::Content(content) = &mut event.payload {
        content.summary = Some("some of it".into());
        content.references = [(EntityKind::ToolCall, "t1").into()].into();
    }
    event.into()
}

#[test]
fn a_filter_selects_kinds_of_parties() {
    let of = |kind| EventFilter {
        source_kinds: vec![kind],
        ..EventFilter::default()
    };
    let envelope = EventEnvelope::new("r", "a", EventKind::ToolStarted)
        .with_source((EndpointKind::Runtime, "here"));
    assert!(
        of(EndpointKind::Runtime)
            .compile()
            .unwrap()
            .matches_envelope(&envelope)
    );
    assert!(
        !of(EndpointKind::Tool)
            .compile()
            .unwrap()
            .matches_envelope(&envelope)
    );
}

#[test]
fn a_compiled_filter_returns_its_criteria_with_later_settings() {
    let mut filter = EventFilter::run("r").compile().unwrap();
    filter.queue.overflow = SubscriberOverflowPolicy::DropProgress;
    filter.payload_access = PayloadAccessMode::EnvelopeOnly;
    let criteria = EventFilter::from(filter.clone());
    assert_eq!(criteria.run_ids, [RunId::new("r")]);
    assert_eq!(criteria.queue, filter.queue);
    assert_eq!(criteria.payload_access, filter.payload_access);
}

#[test]
fn events_are_equal_if_their_visible_parts_are() {
    let whole = whole();
    assert_eq!(whole, whole.clone().restrict(whole.access()));
    let modes = [
        PayloadAccessMode::EnvelopeOnly,
        PayloadAccessMode::RedactedSummary,
        PayloadAccessMode::PayloadRefs,
        PayloadAccessMode::FullPayloadIfPolicyAllows,
    ];
    for (at, one) in modes.into_iter().enumerate() {
        for (other_at, other) in modes.into_iter().enumerate() {
            let same = whole.clone().restrict(one) == whole.clone().restrict(other);
            assert_eq!(same, at == other_at, "{one:?} {other:?}");
        }
    }
    let mut other = whole.to_event();
    other.envelope.run_id = "another".into();
    assert_ne!(whole, SharedEvent::from(other));
    // Each part alone makes a difference.
    let content = |change: fn(&mut PayloadContent)| {
        let mut event = whole.to_event();
        if let EventPayload::Content(content) = &mut event.payload {
            change(content);
        }
        SharedEvent::from(event)
    };
    assert_eq!(whole, content(|_| {}));
    assert_ne!(whole, content(|it| it.summary = None));
    assert_ne!(whole, content(|it| it.references = [].into()));
    assert_ne!(whole, content(|it| it.bytes = (*b"less").into()));
}

#[test]
fn an_unpublished_event_shows_its_summary() {
    let envelope = EventEnvelope::new("r", "a", EventKind::ToolCompleted);
    let bare = AgentEvent::envelope_only(envelope.clone());
    assert_eq!(bare.redacted_summary(), None);
    let summarised = AgentEvent::with_redacted_summary(envelope, "42 rows");
    assert_eq!(summarised.redacted_summary(), Some("42 rows"));
}

#[cfg(feature = "serde")]
#[test]
fn an_envelope_without_a_version_is_of_this_one() {
    let envelope = EventEnvelope::new("r", "a", EventKind::RunStarted);
    let mut json = serde_json::to_value(&envelope).unwrap();
    let version = json.as_object_mut().unwrap().remove("schema_version");
    assert_eq!(version, Some(SCHEMA_VERSION.into()));
    // A version that is not this crate's is kept.
    let mut of_none: EventEnvelope = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(of_none, envelope);
    json["schema_version"] = 7.into();
    of_none.schema_version = 7;
    let of_seven: EventEnvelope = serde_json::from_value(json).unwrap();
    assert_eq!(of_seven, of_none);
}

#[test]
fn an_archived_frame_keeps_its_archive_position() {
    let bus = InMemoryAgentEventBus::default();
    let mut frame = start("r");
    frame.archive_cursor = Some(InMemoryEventArchive::new("x").append(frame.clone()));
    bus.publish(frame.clone()).unwrap();
    let given = bus.subscribe_all(None).unwrap().next().unwrap();
    assert_eq!(given.archive_cursor, frame.archive_cursor);
}

#[test]
fn emit_publishes_an_event_and_a_weak_handle_upgrades_while_the_bus_is_open() {
    let bus = InMemoryAgentEventBus::default();
    let weak = bus.downgrade();
    weak.upgrade()
        .unwrap()
        .emit("r", "a", EventKind::RunStarted)
        .unwrap();
    let frame = bus.subscribe_all(None).unwrap().next().unwrap();
    let envelope = &frame.event.envelope;
    assert_eq!(
        (envelope.run_id.as_str(), envelope.event_kind),
        ("r", EventKind::RunStarted)
    );
    drop(bus);
    assert!(weak.upgrade().is_none());
}
