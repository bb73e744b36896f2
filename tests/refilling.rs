//! How a stream refills its queue from the rings: when, up to where, what a slow reader loses by
//! it, and where its cursor is meanwhile.

mod common;

use common::{all, bus, delta, end, frame, lost, options, seqs, size, start};
use framebus::SubscriberOverflowPolicy as Policy;
use framebus::*;
use std::ops::ControlFlow;

const POLICIES: [Policy; 4] = [
    Policy::DropNonTerminal,
    Policy::DropProgress,
    Policy::SummarizeAndContinue,
    Policy::FailSubscriber,
];

// A backlog loses one stretch, with one notice.

#[test]
fn a_slow_reader_loses_one_stretch_per_refill() {
    let bus = bus(1, 4_096);
    let mut stream = bus.subscribe_all(None).unwrap();
    let (mut frames, mut notices) = (0, Vec::new());
    // Ten frames come for each that it reads.
    for _ in 0..1_000 {
        (0..10).for_each(|_| bus.publish(delta("r")).unwrap());
        let frame = stream.next().unwrap();
        frames += 1;
        notices.extend(frame.overflow);
    }
    // The first refill finds ten frames, each later one ten times as many as the last one kept, up
    // to 63.
    assert!(notices.len() <= 1_000 / 63 + 2, "{}", notices.len());
    let reported: u64 = notices.iter().map(|notice| notice.dropped_count).sum();
    let stats = stream.stats();
    let rest: Vec<_> = stream.collect();
    let reported = reported + rest.iter().map(lost).sum::<u64>();
    assert_eq!(frames + rest.len() as u64 + reported, 10_000, "{stats:?}");
}

#[test]
fn frames_published_while_others_are_queued_wait_in_the_rings() {
    let bus = bus(1, 4_096);
    let mut stream = all(&bus, options(4, 1, Policy::DropNonTerminal));
    (0..3).for_each(|_| bus.publish(start("r")).unwrap());
    assert_eq!(stream.next().unwrap().cursor.event_seq, 1);
    (0..6).for_each(|_| bus.publish(start("r")).unwrap());
    // 2 and 3 are queued; 4 to 9 are a refill of their own, of which three are kept.
    let rest: Vec<_> = stream
        .map(|frame| (frame.cursor.event_seq, lost(&frame)))
        .collect();
    assert_eq!(rest, [(2, 0), (3, 0), (4, 0), (5, 0), (6, 3)]);
}

// Terminal frames.

#[test]
fn two_hundred_ends_of_runs_come_through_the_default_queue() {
    for shards in [1, 4] {
        let bus = bus(shards, 4_096);
        let ends = EventFilter::terminal_run_events().compile().unwrap();
        let mut stream = bus.subscribe_filtered(ends, None).unwrap();
        for run in 0..200 {
            bus.publish(delta(&format!("r{run}"))).unwrap();
            bus.publish(end(&format!("r{run}"))).unwrap();
        }
        let numbers: Vec<_> = (1..=200).map(|run| 2 * run).collect();
        assert_eq!(seqs(&mut stream), numbers);
        assert_eq!(stream.stats().dropped.total(), 0);
    }
}

#[test]
fn a_queue_never_loses_a_terminal_frame_under_any_policy() {
    for policy in POLICIES {
        for capacity in 1..5 {
            let bus = bus(2, 4_096);
            let mut stream = all(&bus, options(capacity, 1, policy));
            let ends = (0..100).filter(|n| n % 3 == 0).count();
            for n in 0..100 {
                bus.publish(if n % 3 == 0 { end("r") } else { delta("r") })
                    .unwrap();
            }
            let frames: Vec<_> = stream.by_ref().collect();
            let is_end = |it: &&EventFrame| it.event.envelope.event_kind.is_terminal();
            let reported = frames.iter().filter_map(|it| it.overflow.as_ref());
            let failed = matches!(stream.end(), Some(StreamEnd::Failed { .. }));
            if failed {
                assert_eq!(policy, Policy::FailSubscriber);
                continue;
            }
            assert_eq!(
                frames.iter().filter(is_end).count(),
                ends,
                "{policy:?} {capacity}"
            );
            assert!(reported.into_iter().all(|notice| notice.terminal_preserved));
        }
    }
}

#[test]
fn the_deferred_frame_comes_in_every_way_of_reading() {
    let parked = || {
        let bus = bus(1, 4_096);
        let mut stream = all(&bus, options(2, 1, Policy::DropNonTerminal));
        (0..5).for_each(|_| bus.publish(end("r")).unwrap());
        assert_eq!(stream.next().unwrap().cursor.event_seq, 1);
        assert_eq!(stream.next().unwrap().cursor.event_seq, 2);
        // 3 is neither queued nor ahead of the subscription any more.
        (bus, stream)
    };
    let (_bus, mut stream) = parked();
    assert_eq!(seqs(&mut stream.clone()), [3, 4, 5]);
    let mut batched = Vec::new();
    while stream.read_batch(|item| {
        if let BatchItem::Frame(frame) = item {
            batched.push(frame.envelope().event_seq);
        }
        ControlFlow::Continue(())
    }) > 0
    {}
    assert_eq!(batched, [3, 4, 5]);
    let (bus, mut stream) = parked();
    drop(bus);
    assert_eq!(stream.end(), None, "three frames are to come");
    let rest: Vec<_> = std::iter::from_fn(|| stream.recv().ok()).collect();
    assert_eq!(rest.len(), 3);
    assert_eq!(stream.end(), Some(StreamEnd::BusClosed));
}

#[test]
fn a_loss_after_the_last_queued_frame_is_reported_before_the_deferred_frame() {
    let bus = bus(1, 4_096);
    let mut stream = all(&bus, options(1, 1, Policy::DropNonTerminal));
    for kind in [
        EventKind::RunCompleted,
        EventKind::ToolStarted,
        EventKind::RunCompleted,
    ] {
        bus.publish(frame("r", "a", kind)).unwrap();
    }
    let got: Vec<_> = stream
        .by_ref()
        .map(|it| (it.cursor.event_seq, lost(&it)))
        .collect();
    assert_eq!(got, [(1, 1), (3, 0)]);
}

// Whether a count is exact.

#[test]
fn a_notice_says_whether_its_count_is_exact() {
    let bus = bus(1, 64);
    let complete = SubscriptionOptions::complete();
    let filter = EventFilter::agent("agent").compile().unwrap();
    let streams = [
        (true, bus.subscribe_all_with_options(None, complete)),
        (
            false,
            bus.subscribe_run_with_options("r".into(), None, complete),
        ),
        (
            false,
            bus.subscribe_agent_with_options("agent".into(), None, complete),
        ),
        (
            false,
            bus.subscribe_filtered_with_options(filter, None, complete),
        ),
    ];
    (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
    for (exact, stream) in streams {
        let mut stream = stream.unwrap();
        let mut batched = stream.clone();
        let notice = stream.next().unwrap().overflow.unwrap();
        assert_eq!(notice.exact, exact, "{notice}");
        assert_eq!(notice.to_string().contains("up to"), !exact);
        let mut reported = None;
        batched.read_batch(|item| {
            if let BatchItem::Gap(notice) = item {
                reported = Some(notice.exact);
            }
            ControlFlow::Continue(())
        });
        assert_eq!(reported, Some(exact));
    }
    // Frames that a queue drops are counted one by one, whatever the scope.
    let mut run = bus.subscribe_run("r".into(), None).unwrap();
    (0..1_000).for_each(|_| bus.publish(end("other")).unwrap());
    let frames: Vec<_> = run.by_ref().collect();
    let notice = frames.last().and_then(|it| it.overflow.as_ref());
    assert!(
        notice.is_none_or(
            |it| it.reason != EventOverflowReason::PolicyDroppedNonTerminal || it.exact
        )
    );
}

#[test]
fn drops_are_exact_and_a_ring_loss_of_a_narrow_scope_is_not() {
    let bus = bus(1, 256);
    let mut run = bus
        .subscribe_run_with_options("r".into(), None, options(4, 1, Policy::DropNonTerminal))
        .unwrap();
    (0..10).for_each(|_| bus.publish(delta("r")).unwrap());
    let dropped = run.by_ref().last().unwrap().overflow.unwrap();
    assert!(dropped.exact && dropped.dropped_count == 7, "{dropped}");
    (0..10_000).for_each(|_| bus.publish(delta("r")).unwrap());
    let frames: Vec<_> = run.by_ref().collect();
    assert!(
        !frames[0].overflow.as_ref().unwrap().exact,
        "lost to the rings"
    );
    assert!(
        frames.last().unwrap().overflow.as_ref().unwrap().exact,
        "dropped by the queue"
    );
}

#[cfg(feature = "serde")]
#[test]
fn json_shows_whether_a_count_is_exact() {
    let bus = bus(1, 64);
    let mut stream = all(&bus, options(2, 1, Policy::DropNonTerminal));
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    let frame = stream.next().unwrap();
    let mut json = serde_json::to_value(&frame).unwrap();
    assert_eq!(json["overflow"]["exact"], true);
    json["overflow"].as_object_mut().unwrap().remove("exact");
    let old: EventFrame = serde_json::from_value(json).unwrap();
    assert!(!old.overflow.unwrap().exact, "older text does not say it");
}

// The cursor.

#[test]
fn a_quiet_runs_reader_that_polls_and_resumes_gets_no_notice() {
    type Look = fn(&mut AgentEventStream);
    let next: Look = |stream| assert_eq!(stream.next(), None);
    let batch: Look = |stream| assert_eq!(stream.read_batch(|_| ControlFlow::Continue(())), 0);
    let scopes = [
        EventFilter::run("quiet"),
        EventFilter::agent("quiet"),
        EventFilter::terminal_run_events(),
        EventFilter {
            run_ids: vec!["quiet".into(), "still".into()],
            ..EventFilter::default()
        },
    ];
    for filter in scopes {
        for (look, shards) in [(next, 1), (next, 4), (batch, 1), (batch, 4)] {
            let bus = bus(shards, 256);
            let filter = filter.clone().compile().unwrap();
            let mut stream = bus.subscribe_filtered(filter.clone(), None).unwrap();
            bus.publish(frame("quiet", "quiet", EventKind::RunCompleted))
                .unwrap();
            assert!(stream.next().is_some());
            for n in 0..20_000 {
                bus.publish(start(&format!("busy-{}", n % 5))).unwrap();
                if n % 100 == 0 {
                    look(&mut stream);
                }
            }
            look(&mut stream);
            assert_eq!(stream.stats().dropped.total(), 0);
            assert_eq!(stream.stats().lag, 0);
            let cursor = stream.cursor().cloned().unwrap();
            assert_eq!(cursor.event_seq, bus.last_sequence());
            drop(stream);
            let mut again = bus.subscribe_filtered(filter, Some(cursor)).unwrap();
            bus.publish(frame("quiet", "quiet", EventKind::RunCompleted))
                .unwrap();
            assert_eq!(again.next().unwrap().overflow, None);
            assert_eq!(again.next(), None);
        }
    }
}

#[test]
fn a_cursor_passes_nothing_that_is_queued_or_unreported() {
    let bus = bus(1, 4_096);
    let mut stream = all(&bus, options(4, 1, Policy::DropNonTerminal));
    (0..3).for_each(|_| bus.publish(start("r")).unwrap());
    for number in 1..=3 {
        assert_eq!(stream.next().unwrap().cursor.event_seq, number);
        assert_eq!(stream.cursor().unwrap().event_seq, number);
    }
    // Terminal frames beyond the queue's end are not passed either.
    (0..5).for_each(|_| bus.publish(end("r")).unwrap());
    for number in 4..=8 {
        assert_eq!(stream.next().unwrap().cursor.event_seq, number);
        assert_eq!(stream.cursor().unwrap().event_seq, number);
    }
    // A notice that waits for a frame holds the cursor before its gap.
    let mut stream = all(&bus, options(1, 1, Policy::DropNonTerminal).latest());
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    assert_eq!(stream.next(), None);
    assert_eq!(stream.cursor().unwrap().event_seq, 8);
    assert_eq!(stream.take_pending_overflow().unwrap().dropped_count, 3);
    assert_eq!(stream.next(), None);
    assert_eq!(stream.cursor().unwrap().event_seq, 11);
}

#[test]
fn a_cursor_of_a_failed_stream_stays_where_it_failed() {
    let bus = bus(1, 4_096);
    let mut stream = all(&bus, options(2, 1, Policy::FailSubscriber));
    (0..5).for_each(|_| bus.publish(delta("r")).unwrap());
    assert!(stream.next().is_some());
    assert_eq!(stream.next(), None);
    assert_eq!(stream.cursor().unwrap().event_seq, 1);
}

// Where it starts.

#[test]
fn a_reader_from_the_beginning_gets_a_notice_if_it_has_expired() {
    let bus = bus(1, 64);
    (0..10).for_each(|_| bus.publish(delta("r")).unwrap());
    let beginning = SubscriptionOptions::complete().beginning();
    assert!(all(&bus, beginning).all(|frame| frame.overflow.is_none()));
    (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
    let first = all(&bus, beginning).next().unwrap();
    let notice = first.overflow.unwrap();
    assert_eq!(notice.reason, EventOverflowReason::LiveBufferExpired);
    assert_eq!(notice.gap_start.unwrap().event_seq, 1);
    assert_eq!(notice.gap_end.event_seq, first.cursor.event_seq - 1);
    let oldest = all(&bus, SubscriptionOptions::complete()).next().unwrap();
    assert_eq!((oldest.overflow, oldest.cursor), (None, first.cursor));
}

#[test]
fn a_filtered_subscription_can_start_at_the_latest_frame_or_the_first() {
    let bus = bus(2, 4_096);
    (0..3).for_each(|_| bus.publish(end("r")).unwrap());
    let filter = EventFilter::terminal_run_events().compile().unwrap();
    let of = |options| {
        bus.subscribe_filtered_with_options(filter.clone(), None, options)
            .unwrap()
    };
    let mut latest = of(SubscriptionOptions::default().latest());
    let mut beginning = of(SubscriptionOptions::default().beginning());
    bus.publish(end("r")).unwrap();
    assert_eq!(seqs(&mut latest), [4]);
    assert_eq!(seqs(&mut beginning), [1, 2, 3, 4]);
}

#[test]
fn options_set_what_their_names_say() {
    let options = SubscriptionOptions::capacity(0)
        .terminal_reserve(0)
        .policy(Policy::DropProgress)
        .payload(PayloadAccessMode::EnvelopeOnly)
        .latest();
    let queue = SubscriberQueueConfig {
        capacity: size(1),
        terminal_reserve: size(1),
        overflow: Policy::DropProgress,
    };
    let plain = SubscriptionOptions {
        queue,
        payload_access: PayloadAccessMode::EnvelopeOnly,
        start: StreamStart::Latest,
        complete: false,
    };
    assert_eq!(options, plain);
    assert_eq!(SubscriptionOptions::capacity(5).queue.capacity.get(), 5);
    assert!(SubscriptionOptions::complete().complete);
}
