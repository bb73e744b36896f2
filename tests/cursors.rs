//! Cursors: what each resumes, what it must not resume, and how expired frames are reported.

mod common;

use common::{delta, end, frame, options, seqs, size, start};
use framebus::*;
use std::ops::ControlFlow;

const WIDE: SubscriberOverflowPolicy = SubscriberOverflowPolicy::DropNonTerminal;

/// A scope, and how to subscribe to it.
struct Asked {
    name: &'static str,
    subscribe:
        fn(&InMemoryAgentEventBus, Option<EventCursor>) -> Result<AgentEventStream, AgentError>,
}

fn filter(filter: EventFilter) -> CompiledEventFilter {
    let queue = options(4_096, 1, WIDE).queue;
    EventFilter { queue, ..filter }.compile().unwrap()
}

/// Each kind of scope, and another of that kind.
const SCOPES: [Asked; 7] = [
    Asked {
        name: "all",
        subscribe: |bus, cursor| bus.subscribe_all_with_options(cursor, options(4_096, 1, WIDE)),
    },
    Asked {
        name: "run r",
        subscribe: |bus, cursor| {
            bus.subscribe_run_with_options("r".into(), cursor, options(4_096, 1, WIDE))
        },
    },
    Asked {
        name: "run q",
        subscribe: |bus, cursor| {
            bus.subscribe_run_with_options("q".into(), cursor, options(4_096, 1, WIDE))
        },
    },
    Asked {
        name: "agent agent",
        subscribe: |bus, cursor| {
            bus.subscribe_agent_with_options("agent".into(), cursor, options(4_096, 1, WIDE))
        },
    },
    Asked {
        name: "agent r",
        subscribe: |bus, cursor| {
            bus.subscribe_agent_with_options("r".into(), cursor, options(4_096, 1, WIDE))
        },
    },
    Asked {
        name: "filter of the ends of runs",
        subscribe: |bus, cursor| {
            bus.subscribe_filtered(filter(EventFilter::terminal_run_events()), cursor)
        },
    },
    Asked {
        name: "filter of run r",
        subscribe: |bus, cursor| bus.subscribe_filtered(filter(EventFilter::run("r")), cursor),
    },
];

/// A bus on which each of the scopes has frames.
fn bus_for_all() -> InMemoryAgentEventBus {
    let bus = InMemoryAgentEventBus::default();
    for _ in 0..3 {
        for run in ["r", "q"] {
            bus.publish(start(run)).unwrap();
            bus.publish(end(run)).unwrap();
            bus.publish(frame(run, "r", EventKind::ToolStarted))
                .unwrap();
        }
    }
    bus
}

#[test]
fn a_cursor_resumes_its_own_scope_of_its_own_bus_and_no_other() {
    let (bus, other_bus) = (bus_for_all(), bus_for_all());
    for (at, asked) in SCOPES.iter().enumerate() {
        let mut stream = (asked.subscribe)(&bus, None).unwrap();
        let all: Vec<_> = stream.by_ref().map(|frame| frame.cursor).collect();
        assert!(all.len() >= 3, "{}", asked.name);
        let kind = |bus, cursor: &EventCursor| {
            let refused = (asked.subscribe)(bus, Some(cursor.clone())).unwrap_err();
            assert!(!refused.to_string().is_empty());
            refused.kind()
        };
        for (given, cursor) in all.iter().enumerate() {
            let mut resumed = (asked.subscribe)(&bus, Some(cursor.clone())).unwrap();
            let rest: Vec<_> = resumed.by_ref().map(|frame| frame.cursor).collect();
            assert_eq!(rest, all[given + 1..], "{}", asked.name);
            assert_eq!(resumed.pending_overflow(), None, "{}", asked.name);
        }
        let cursor = &all[0];
        // A cursor of another bus, otherwise right.
        assert_eq!(
            kind(&other_bus, cursor),
            AgentErrorKind::CursorForeignEpoch,
            "{}",
            asked.name
        );
        for epoch in [
            BusEpoch::default(),
            BusEpoch::from_bits(bus.epoch().bits() ^ 1),
        ] {
            let foreign = EventCursor {
                bus_epoch: epoch,
                ..cursor.clone()
            };
            assert_eq!(
                kind(&bus, &foreign),
                AgentErrorKind::CursorForeignEpoch,
                "{}",
                asked.name
            );
        }
        // A cursor ahead of the bus, by one and by as much as possible. At the bus's end is not
        // ahead.
        let last = bus.last_sequence();
        for ahead in [last + 1, u64::MAX] {
            let ahead = EventCursor {
                event_seq: ahead,
                ..cursor.clone()
            };
            assert_eq!(
                kind(&bus, &ahead),
                AgentErrorKind::CursorAhead,
                "{}",
                asked.name
            );
        }
        let at_the_end = EventCursor {
            event_seq: last,
            ..cursor.clone()
        };
        let mut resumed = (asked.subscribe)(&bus, Some(at_the_end)).unwrap();
        assert!(seqs(&mut resumed).is_empty(), "{}", asked.name);
        // A cursor of each other scope.
        for (_, other) in SCOPES.iter().enumerate().filter(|other| other.0 != at) {
            let foreign = (other.subscribe)(&bus, None)
                .unwrap()
                .next()
                .unwrap()
                .cursor;
            let refused = (asked.subscribe)(&bus, Some(foreign)).unwrap_err();
            assert_eq!(
                refused.kind(),
                AgentErrorKind::CursorScopeMismatch,
                "{} {}",
                asked.name,
                other.name
            );
            assert!(
                refused.to_string().contains("cursor scope mismatch"),
                "{refused}"
            );
        }
    }
}

/// The parts of a notice that a resumed reader needs.
fn reported(notice: &EventOverflowNotice) -> (u64, Option<u64>, u64, EventOverflowReason) {
    let first = notice.gap_start.as_ref().map(|cursor| cursor.event_seq);
    (
        notice.dropped_count,
        first,
        notice.gap_end.event_seq,
        notice.reason,
    )
}

/// A way to read a stream: returns the sequence numbers of its frames, and its notices with the
/// sequence number of the frame that follows each, if one does.
type Read = fn(AgentEventStream) -> (Vec<u64>, Vec<EventOverflowNotice>);

fn by_next(mut stream: AgentEventStream) -> (Vec<u64>, Vec<EventOverflowNotice>) {
    let (mut numbers, mut notices) = (Vec::new(), Vec::new());
    for frame in stream.by_ref() {
        numbers.push(frame.cursor.event_seq);
        notices.extend(frame.overflow.map(|notice| *notice));
    }
    notices.extend(stream.take_pending_overflow());
    (numbers, notices)
}

fn by_batches(mut stream: AgentEventStream) -> (Vec<u64>, Vec<EventOverflowNotice>) {
    let (mut numbers, mut notices) = (Vec::new(), Vec::new());
    let mut batch = || {
        stream.read_batch(|item| {
            match item {
                BatchItem::Frame(frame) => numbers.push(frame.envelope().event_seq),
                BatchItem::Gap(notice) => notices.push(notice),
            }
            ControlFlow::Continue(())
        })
    };
    while batch() > 0 {}
    (numbers, notices)
}

fn by_a_clone(stream: AgentEventStream) -> (Vec<u64>, Vec<EventOverflowNotice>) {
    by_next(stream.clone())
}

fn by_batches_of_a_clone(stream: AgentEventStream) -> (Vec<u64>, Vec<EventOverflowNotice>) {
    by_batches(stream.clone())
}

/// One frame by `next`, the rest in batches.
fn by_both(mut stream: AgentEventStream) -> (Vec<u64>, Vec<EventOverflowNotice>) {
    let first = stream.next();
    let (mut numbers, mut notices) = by_batches(stream);
    if let Some(frame) = first {
        numbers.insert(0, frame.cursor.event_seq);
        if let Some(notice) = frame.overflow {
            notices.insert(0, *notice);
        }
    }
    (numbers, notices)
}

fn by_waiting(mut stream: AgentEventStream) -> (Vec<u64>, Vec<EventOverflowNotice>) {
    let (mut numbers, mut notices) = (Vec::new(), Vec::new());
    while let Ok(frame) = stream.recv_timeout(std::time::Duration::ZERO) {
        numbers.push(frame.cursor.event_seq);
        notices.extend(frame.overflow.map(|notice| *notice));
    }
    notices.extend(stream.take_pending_overflow());
    (numbers, notices)
}

const WAYS: [Read; 6] = [
    by_next,
    by_batches,
    by_a_clone,
    by_batches_of_a_clone,
    by_both,
    by_waiting,
];

#[test]
fn frames_before_a_reopening_are_reported_once_by_each_way_of_reading() {
    let epoch = BusEpoch::from_bits(7);
    let builder = || InMemoryAgentEventBus::builder().reopen(epoch, 1_000);
    for (way, read) in WAYS.iter().enumerate() {
        for asked in &SCOPES {
            // After the cursor: nothing, one frame, and many.
            for forgotten in [0, 1, 990] {
                let bus = builder().build().unwrap();
                let from = EventCursor {
                    scope: (asked.subscribe)(&bus, None)
                        .unwrap()
                        .cursor()
                        .unwrap()
                        .scope
                        .clone(),
                    event_seq: 1_000 - forgotten,
                    bus_epoch: epoch,
                    journal_cursor: None,
                };
                for published in [0, 1] {
                    (0..published).for_each(|_| bus.publish(end("r")).unwrap());
                    let stream = (asked.subscribe)(&bus, Some(from.clone())).unwrap();
                    assert_eq!(stream.cursor().unwrap().event_seq, from.event_seq);
                    let (numbers, notices) = read(stream);
                    let matches = matches!(asked.name, "run q" | "agent r");
                    let given = if matches { 0 } else { published };
                    let context = format!("way {way}, {}, {forgotten} forgotten", asked.name);
                    assert_eq!(numbers.len(), given, "{context}");
                    // It is not known which frames were among them.
                    assert!(
                        notices.iter().all(|notice| !notice.terminal_preserved),
                        "{context}"
                    );
                    let notices: Vec<_> = notices.iter().map(reported).collect();
                    let first = 1_000 - forgotten + 1;
                    let all = (
                        forgotten,
                        Some(first),
                        1_000,
                        EventOverflowReason::LiveBufferExpired,
                    );
                    match forgotten {
                        0 => assert_eq!(notices, [], "{context}"),
                        _ => assert_eq!(notices, [all], "{context}"),
                    }
                }
            }
        }
    }
}

#[test]
fn frames_expired_after_a_cursor_are_reported_once_by_each_way_of_reading() {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.ring_capacity(size(64)).build().unwrap();
    (0..5).for_each(|_| bus.publish(delta("r")).unwrap());
    for asked in &SCOPES[..2] {
        let mut early = (asked.subscribe)(&bus, None).unwrap();
        let cursor = early.next().unwrap().cursor;
        for (way, read) in WAYS.iter().enumerate() {
            (0..500).for_each(|_| bus.publish(delta("r")).unwrap());
            let (numbers, notices) = read((asked.subscribe)(&bus, Some(cursor.clone())).unwrap());
            let context = format!("way {way}, {}", asked.name);
            let last = bus.last_sequence();
            assert_eq!(numbers.last(), Some(&last), "{context}");
            assert!(numbers.is_sorted(), "{context}");
            let notices: Vec<_> = notices.iter().map(reported).collect();
            let (first, count) = (cursor.event_seq + 1, numbers.len() as u64);
            let gone = last - cursor.event_seq - count;
            let expired = EventOverflowReason::LiveBufferExpired;
            assert_eq!(
                notices,
                [(gone, Some(first), numbers[0] - 1, expired)],
                "{context}"
            );
        }
    }
}
