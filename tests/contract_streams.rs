//! The contract of publishing, subscribing and resuming, through the names that it fixes and
//! `dyn AgentEventBus`.

mod common;

use common::{delta, end, frame, kinds, options, seqs, size, start};
use framebus::*;
use std::sync::Arc;

/// A small bus behind the trait, as a host has it.
fn bus() -> Arc<dyn AgentEventBus> {
    Arc::new(InMemoryAgentEventBus::default())
}

fn one_shard(ring: usize) -> InMemoryAgentEventBus {
    InMemoryAgentEventBus::builder()
        .shards(size(1))
        .ring_capacity(size(ring))
        .build()
        .unwrap()
}

// Subscribing and resuming.

#[test]
fn scopes_select() {
    let bus = bus();
    for run in ["a", "b", "a", "c", "a"] {
        bus.publish(frame(run, &format!("agent-{run}"), EventKind::ToolStarted))
            .unwrap();
    }
    bus.publish(end("b")).unwrap();
    let mut run = bus.subscribe_run(RunId::new("a"), None).unwrap();
    let mut agent = bus.subscribe_agent(AgentId::new("agent-b"), None).unwrap();
    let filter = EventFilter::terminal_run_events().compile().unwrap();
    let mut ends = bus.subscribe_filtered(filter.clone(), None).unwrap();
    let frames: Vec<_> = run.by_ref().collect();
    assert!(
        frames
            .iter()
            .all(|f| f.cursor.scope == EventStreamScope::Run(RunId::new("a")))
    );
    assert_eq!(
        frames
            .iter()
            .map(|f| f.cursor.event_seq)
            .collect::<Vec<_>>(),
        [1, 3, 5]
    );
    assert_eq!(seqs(&mut agent), [2]);
    let last = ends.next().unwrap();
    assert_eq!(
        (last.cursor.event_seq, last.cursor.scope),
        (6, filter.cursor_scope())
    );
}

#[test]
fn a_cursor_resumes_strictly_after_itself() {
    let bus = bus();
    (0..10).for_each(|_| bus.publish(delta("r")).unwrap());
    let mut first = bus.subscribe_run(RunId::new("r"), None).unwrap();
    let cursor = first.nth(3).unwrap().cursor;
    assert_eq!(first.cursor(), Some(&cursor));
    drop(first);
    let mut resumed = bus.subscribe_run(RunId::new("r"), Some(cursor)).unwrap();
    assert_eq!(seqs(&mut resumed), [5, 6, 7, 8, 9, 10]);
}

#[test]
fn an_expired_cursor_is_reported_on_the_first_frame() {
    let bus = one_shard(64);
    bus.publish(start("r")).unwrap();
    let cursor = bus.subscribe_all(None).unwrap().next().unwrap().cursor;
    (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
    let options = options(1_000, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus
        .subscribe_all_with_options(Some(cursor), options)
        .unwrap();
    let first = stream.next().unwrap();
    let notice = first.overflow.unwrap();
    assert_eq!(notice.reason, EventOverflowReason::LiveBufferExpired);
    assert_eq!(notice.gap_start.unwrap().event_seq, 2);
    assert_eq!(notice.gap_end.event_seq, first.cursor.event_seq - 1);
    assert_eq!(notice.dropped_count + 1 + stream.count() as u64, 1_000);
}

#[test]
fn a_lagged_stream_reports_its_loss_and_keeps_its_terminals() {
    let bus = one_shard(64);
    let options = options(1_000, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    bus.publish(end("first")).unwrap();
    (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    assert_eq!(frames[0].event.envelope.run_id.as_str(), "first");
    let notice = frames[1].overflow.as_ref().unwrap();
    assert_eq!(notice.reason, EventOverflowReason::SubscriberLagged);
    assert!(notice.terminal_preserved);
    assert_eq!(notice.dropped_count + frames.len() as u64, 1_001);
}

#[test]
fn latest_starts_after_everything_published() {
    let bus = bus();
    bus.publish(delta("r")).unwrap();
    let options = SubscriptionOptions {
        start: StreamStart::Latest,
        ..Default::default()
    };
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    bus.publish(delta("r")).unwrap();
    assert_eq!(seqs(&mut stream), [2]);
}

#[test]
fn wrong_cursors_are_typed_errors() {
    let bus = bus();
    bus.publish(start("r")).unwrap();
    let all = bus.subscribe_all(None).unwrap().next().unwrap().cursor;
    let kind = |result: Result<AgentEventStream, AgentError>| result.unwrap_err().kind();
    let mismatch = bus
        .subscribe_run(RunId::new("r"), Some(all.clone()))
        .unwrap_err();
    assert!(
        mismatch.to_string().contains("cursor scope mismatch"),
        "{mismatch}"
    );
    let run = EventCursor {
        scope: EventStreamScope::Run(RunId::new("other")),
        ..all.clone()
    };
    assert_eq!(
        kind(bus.subscribe_run(RunId::new("r"), Some(run))),
        AgentErrorKind::CursorScopeMismatch
    );
    let agent_filter = EventFilter::agent("x").compile().unwrap();
    let run_filter = EventFilter::run("x").compile().unwrap();
    let other = EventCursor {
        scope: agent_filter.cursor_scope(),
        ..all.clone()
    };
    assert_eq!(
        kind(bus.subscribe_filtered(run_filter, Some(other))),
        AgentErrorKind::CursorScopeMismatch
    );
    let ahead = EventCursor {
        event_seq: 2,
        ..all.clone()
    };
    assert_eq!(
        kind(bus.subscribe_all(Some(ahead))),
        AgentErrorKind::CursorAhead
    );
    let other_bus = InMemoryAgentEventBus::default();
    other_bus.publish(start("r")).unwrap();
    assert_eq!(
        kind(other_bus.subscribe_all(Some(all))),
        AgentErrorKind::CursorForeignEpoch
    );
}

#[test]
fn a_reopened_bus_goes_on_and_knows_its_cursors() {
    let bus = InMemoryAgentEventBus::default();
    bus.publish(start("r")).unwrap();
    let cursor = bus.subscribe_all(None).unwrap().next().unwrap().cursor;
    let reopened = InMemoryAgentEventBus::builder()
        .reopen(bus.epoch(), 1)
        .build()
        .unwrap();
    let mut stream = reopened.subscribe_all(Some(cursor)).unwrap();
    reopened.publish(end("r")).unwrap();
    assert_eq!(seqs(&mut stream), [2]);
}

#[test]
fn backpressure_is_refused() {
    let bus = bus();
    let options = options(4, 1, SubscriberOverflowPolicy::BackpressureCaller);
    let error = bus.subscribe_all_with_options(None, options).unwrap_err();
    assert!(
        error.to_string().contains("InvalidOverflowPolicy"),
        "{error}"
    );
    let filter = EventFilter {
        queue: options.queue,
        ..EventFilter::default()
    }
    .compile()
    .unwrap();
    let error = bus.subscribe_filtered(filter, None).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::InvalidOverflowPolicy);
}

// Publishing.

#[test]
fn publishing_sets_the_sequence_and_shares_the_event() {
    let bus = bus();
    let mut frame = delta("r");
    frame.cursor.event_seq = 99;
    let envelope: *const EventEnvelope = &raw const frame.event.envelope;
    bus.publish(frame).unwrap();
    let got = |_| bus.subscribe_all(None).unwrap().next().unwrap();
    let (one, other) = (got(()), got(()));
    assert_eq!((one.event.envelope.event_seq, one.cursor.event_seq), (1, 1));
    assert_eq!(
        &raw const one.event.envelope, envelope,
        "the event itself, not a copy"
    );
    assert_eq!(&raw const other.event.envelope, envelope);
}

#[test]
fn a_shared_frame_keeps_its_sequence_when_published_again() {
    let bus = bus();
    bus.publish(start("r")).unwrap();
    let first = bus.subscribe_all(None).unwrap().next().unwrap();
    bus.publish(first.clone()).unwrap();
    assert_eq!(first.event.envelope.event_seq, 1);
    let mut stream = bus.subscribe_all(Some(first.cursor)).unwrap();
    assert_eq!(stream.next().unwrap().event.envelope.event_seq, 2);
}

#[test]
fn publish_all_gives_consecutive_sequences() {
    let bus = InMemoryAgentEventBus::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let bus = &bus;
            scope.spawn(move || {
                for batch in 0..200 {
                    let tag = format!("{thread}/{batch}");
                    bus.publish_all((0..7).map(|n| {
                        let run = format!("run-{thread}-{}", n % 3);
                        let kind = if n == 3 {
                            EventKind::ToolCompleted
                        } else {
                            EventKind::ToolStarted
                        };
                        EventFrame::new(AgentEvent::envelope_only(
                            EventEnvelope::new(run, "a", kind).with_tag(tag.as_str()),
                        ))
                    }))
                    .unwrap();
                }
            });
        }
    });
    let options = options(10_000, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let frames: Vec<_> = bus
        .subscribe_all_with_options(None, options)
        .unwrap()
        .collect();
    assert_eq!(frames.len(), 4 * 200 * 7);
    for batch in frames.chunks(7) {
        assert!(
            batch
                .iter()
                .all(|f| f.event.envelope.tags() == batch[0].event.envelope.tags())
        );
    }
    assert!(frames.is_sorted_by_key(|frame| frame.cursor.event_seq));
}

#[test]
fn a_batch_beyond_a_ring_is_an_error_and_nothing_is_published() {
    let bus = one_shard(64);
    let error = bus
        .publish_all((0..10_000).map(|_| delta("r")))
        .unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::BatchTooLarge);
    assert_eq!(bus.last_sequence(), 0);
    bus.publish(end("r")).unwrap();
    assert_eq!(seqs(&mut bus.subscribe_all(None).unwrap()), [1]);
}

// Payloads.

#[test]
fn each_subscription_has_its_own_payload_access() {
    let bus = bus();
    let envelope = EventEnvelope::new("r", "a", EventKind::ToolCompleted);
    bus.publish(EventFrame::new(AgentEvent::with_redacted_summary(
        envelope, "42 rows",
    )))
    .unwrap();
    let summary = |mode| {
        let options = SubscriptionOptions {
            payload_access: mode,
            ..Default::default()
        };
        let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
        let frame = stream.next().unwrap();
        let summary = frame.event.redacted_summary().map(str::to_owned);
        let texts = [
            frame.to_string(),
            format!("{frame:?}"),
            #[cfg(feature = "serde")]
            serde_json::to_string(&frame).unwrap(),
        ];
        for text in texts {
            assert_eq!(text.contains("42 rows"), summary.is_some(), "{text}");
        }
        summary
    };
    assert_eq!(summary(PayloadAccessMode::EnvelopeOnly), None);
    assert_eq!(
        summary(PayloadAccessMode::RedactedSummary).as_deref(),
        Some("42 rows")
    );

    // A filter brings its own.
    for payload_access in [
        PayloadAccessMode::EnvelopeOnly,
        PayloadAccessMode::RedactedSummary,
    ] {
        let filter = EventFilter {
            payload_access,
            ..EventFilter::default()
        };
        let mut stream = bus
            .subscribe_filtered(filter.compile().unwrap(), None)
            .unwrap();
        let frame = stream.next().unwrap();
        assert_eq!(
            frame.event.redacted_summary().map(str::to_owned),
            summary(payload_access)
        );
    }
}

#[test]
fn an_archive_replays_after_its_cursor() {
    let archive = InMemoryEventArchive::new("x");
    let bus = bus();
    let mut stream = bus.subscribe_all(None).unwrap();
    for run in ["a", "b", "a"] {
        bus.publish(delta(run)).unwrap();
    }
    stream
        .by_ref()
        .for_each(|frame| drop(archive.append(frame)));
    let archive: &dyn EventArchive = &archive;
    let cursor = |position| ArchiveCursor {
        archive_id: "x".into(),
        position,
    };
    let filter = EventFilter::run("a").compile().unwrap();
    let mut replay = archive
        .replay_filtered_from_cursor(filter.clone(), cursor(1))
        .unwrap();
    let mut kept = Vec::new();
    replay.clone().read_batch(|item| {
        if let BatchItem::Frame(frame) = item {
            kept.push(frame.to_frame());
        }
        std::ops::ControlFlow::Continue(())
    });
    let frame = replay.next().unwrap();
    assert_eq!(kept.first(), Some(&frame), "in a batch, too");
    assert_eq!(
        (frame.archive_cursor, frame.cursor.event_seq),
        (Some(cursor(3)), 3)
    );
    assert_eq!(
        frame.event.envelope.delivery_semantics,
        EventDeliverySemantics::DerivedReplay
    );
    assert_eq!(
        (replay.next(), replay.end()),
        (None, Some(StreamEnd::ListEnded))
    );
    let mut at_the_end = archive
        .replay_filtered_from_cursor(filter.clone(), cursor(3))
        .unwrap();
    assert_eq!(at_the_end.next(), None);
    let foreign = ArchiveCursor {
        archive_id: "y".into(),
        position: 0,
    };
    for wrong in [cursor(4), foreign] {
        let error = archive
            .replay_filtered_from_cursor(filter.clone(), wrong)
            .unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveCursor);
    }
}

#[test]
fn a_stream_of_a_list_is_that_list() {
    let mut stream = AgentEventStream::new([start("r"), end("r")]);
    assert_eq!(stream.stats().queued, 2);
    assert_eq!(
        kinds(&mut stream),
        [EventKind::RunStarted, EventKind::RunCompleted]
    );
    assert_eq!(stream.end(), Some(StreamEnd::ListEnded));
}
