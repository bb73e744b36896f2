//! The contract, through the names that it fixes and `dyn AgentEventBus`.

mod common;

use common::{delta, end, frame, kinds, options, seqs, size, start};
use framebus::*;
use std::sync::Arc;

/// A small bus behind the trait: what a host sees.
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

// The ways in which the replaced bus was wrong, by letter.

#[test]
fn a_streams_are_live() {
    let bus = bus();
    let mut stream = bus.subscribe_all(None).unwrap();
    assert_eq!(stream.next(), None);
    bus.publish(start("r")).unwrap();
    assert_eq!(seqs(&mut stream), [1]);
    bus.publish(end("r")).unwrap();
    assert_eq!(seqs(&mut stream), [2]);
}

#[test]
fn b_all_terminal_frames_come_whatever_the_queue_holds() {
    let bus = bus();
    let options = options(4, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..6).for_each(|_| bus.publish(end("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    let numbers = frames.iter().map(|frame| frame.cursor.event_seq);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(frames.iter().all(|frame| frame.overflow.is_none()));
    assert_eq!(stream.stats().dropped.total(), 0);
}

#[test]
fn c_a_notice_waits_for_a_frame_and_can_be_read_meanwhile() {
    let bus = bus();
    let options = options(1, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    assert_eq!(stream.next(), None);
    assert_eq!(stream.pending_overflow().unwrap().dropped_count, 3);
    bus.publish(end("r")).unwrap();
    let last = stream.next().unwrap();
    assert_eq!(
        (last.cursor.event_seq, last.overflow.unwrap().dropped_count),
        (4, 3)
    );
    assert_eq!(stream.pending_overflow(), None);
}

#[test]
fn d_notices_are_merged() {
    let bus = bus();
    let options = options(2, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    // One fits; three are dropped; then two terminal frames push out what fitted.
    (0..4).for_each(|_| bus.publish(delta("r")).unwrap());
    (0..2).for_each(|_| bus.publish(end("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    let told: u64 = frames
        .iter()
        .filter_map(|f| f.overflow.as_ref())
        .map(|n| n.dropped_count)
        .sum();
    assert_eq!((frames.len() as u64, told), (2, 4));
}

#[test]
fn e_a_summary_stands_for_a_run_and_a_run_of_one_is_itself() {
    let bus = bus();
    let options = options(8, 1, SubscriberOverflowPolicy::SummarizeAndContinue);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    bus.publish(delta("r")).unwrap();
    let lone = stream.next().unwrap();
    assert_eq!(
        (lone.event.redacted_summary(), &lone.overflow),
        (None, &None)
    );
    (0..4).for_each(|_| bus.publish(delta("r")).unwrap());
    bus.publish(start("r")).unwrap();
    let summary = stream.next().unwrap();
    assert_eq!(
        summary.event.redacted_summary(),
        Some("4 dropped progress frames")
    );
    let notice = summary.overflow.unwrap();
    assert_eq!((notice.dropped_count, notice.gap_end.event_seq), (4, 5));
    assert_eq!(notice.gap_start.unwrap().event_seq, 2);
    assert_eq!(stream.next().unwrap().cursor.event_seq, 6);
}

#[test]
fn f_an_eviction_is_told_at_the_gap() {
    let bus = bus();
    let options = options(3, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    bus.publish(start("r")).unwrap();
    bus.publish(delta("r")).unwrap();
    (0..2).for_each(|_| bus.publish(end("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    let told = |frame: &EventFrame| {
        frame
            .overflow
            .as_ref()
            .map_or(0, |notice| notice.dropped_count)
    };
    let got: Vec<_> = frames
        .iter()
        .map(|frame| (frame.cursor.event_seq, told(frame)))
        .collect();
    assert_eq!(got, [(2, 1), (3, 0), (4, 0)]);
}

#[test]
fn g_a_failed_stream_says_so_and_where_to_resume() {
    let bus = bus();
    let options = options(2, 1, SubscriberOverflowPolicy::FailSubscriber);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    bus.publish(end("r")).unwrap();
    let frame = stream.next().unwrap();
    assert!(
        !frame.overflow.unwrap().terminal_preserved,
        "the end of the run is behind the failure"
    );
    assert_eq!(stream.next(), None);
    let Some(StreamEnd::Failed {
        resume_from,
        notice,
    }) = stream.end()
    else {
        panic!("not failed")
    };
    assert!(!notice.terminal_preserved);
    assert_eq!(resume_from.event_seq, 1);
    let mut resumed = bus.subscribe_all(Some(resume_from)).unwrap();
    assert_eq!(seqs(&mut resumed), [2, 3, 4]);
}

#[test]
fn a_failed_stream_gives_nothing_more_in_batches_either() {
    let bus = bus();
    let options = options(2, 1, SubscriberOverflowPolicy::FailSubscriber);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    assert!(stream.next().is_some());
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    let given = stream.read_batch(|_| std::ops::ControlFlow::Continue(()));
    assert_eq!(given, 0);
    assert!(matches!(stream.end(), Some(StreamEnd::Failed { .. })));
}

#[test]
fn h_numbers_rise_whatever_threads_publish() {
    let bus = InMemoryAgentEventBus::builder()
        .ring_capacity(size(200_000))
        .build()
        .unwrap();
    let each = 20_000;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let bus = &bus;
            scope.spawn(move || {
                for _ in 0..each {
                    bus.publish(delta(&format!("run-{thread}"))).unwrap();
                }
            });
        }
    });
    let options = options(200_000, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    assert_eq!(seqs(&mut stream), (1..=8 * each).collect::<Vec<_>>());
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
fn a_cursor_resumes_strictly_behind_itself() {
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
fn an_expired_cursor_is_told_on_the_first_frame() {
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
fn a_lagged_stream_is_told_and_keeps_its_terminals() {
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
fn latest_starts_behind_what_was_published() {
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
fn publishing_numbers_a_frame_and_shares_its_event() {
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
fn a_frame_that_is_held_elsewhere_keeps_its_number() {
    let bus = bus();
    bus.publish(start("r")).unwrap();
    let first = bus.subscribe_all(None).unwrap().next().unwrap();
    bus.publish(first.clone()).unwrap();
    assert_eq!(first.event.envelope.event_seq, 1);
    let mut stream = bus.subscribe_all(Some(first.cursor)).unwrap();
    assert_eq!(stream.next().unwrap().event.envelope.event_seq, 2);
}

#[test]
fn publish_all_leaves_no_break_in_its_numbers() {
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

#[test]
fn a_backlog_of_50_000_is_selected_by_the_table() {
    let bus = bus();
    for n in 0..50_000 {
        bus.publish(if n % 10_000 == 9_999 {
            end("r")
        } else {
            delta("r")
        })
        .unwrap();
    }
    let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
    // 63 of the 64 places are for any frame; from the second terminal frame on, the oldest
    // delta makes room.
    let expected: Vec<_> = (5..=63).chain((1..=5).map(|n| n * 10_000)).collect();
    assert_eq!(
        frames
            .iter()
            .map(|f| f.cursor.event_seq)
            .collect::<Vec<_>>(),
        expected
    );
    let told: u64 = frames
        .iter()
        .filter_map(|f| f.overflow.as_ref())
        .map(|n| n.dropped_count)
        .sum();
    assert_eq!(told + frames.len() as u64, 50_000);
}

// Payloads.

#[test]
fn payload_access_is_the_subscription_s() {
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
fn an_archive_replays_behind_its_cursor() {
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
