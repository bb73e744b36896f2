//! Each field of each notice, cursor and statistic, on each way of reading a stream: what a field
//! says is compared as a whole, so that one that is dropped, kept too long or off by one is found.

mod common;

use common::size;
use framebus::*;
use std::future::Future;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use EventKind::{ModelStreamDelta as Delta, RunCompleted as End, RunStarted as Start};
use EventOverflowReason as Reason;
use SubscriberOverflowPolicy as Policy;

/// What a stream gives, in order: a notice, and the frame that it rides on or stands before.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Told(EventOverflowNotice),
    Frame(EventCursor),
}

/// The frames of a bus bear their numbers as their places in the host's journal.
fn journal(number: u64) -> Option<JournalCursor> {
    Some(JournalCursor::from(format!("j{number}").as_str()))
}

fn publish(bus: &InMemoryAgentEventBus, run: &str, kind: EventKind) {
    let place = journal(bus.last_sequence() + 1).unwrap();
    let envelope = EventEnvelope::new(run, "agent", kind).with_journal_cursor(place);
    let event = AgentEvent::envelope_only(envelope);
    bus.publish(EventFrame::new(event)).unwrap();
}

type Subscribe = fn(&InMemoryAgentEventBus, SubscriptionOptions) -> AgentEventStream;

/// A stream that has lost something by the time that it is read.
struct Case {
    name: &'static str,
    /// The capacity of its queue, the reserve of terminal frames, its policy.
    queue: (usize, usize, Policy),
    /// The capacity of the rings.
    ring: usize,
    subscribe: Subscribe,
    /// What is published then: kinds, each so many times.
    published: &'static [(EventKind, u64)],
    expected: Expected,
}

enum Expected {
    /// Lost by the queue: the numbers that are given, the notices and the number that each rides
    /// on.
    ByQueue(&'static [u64], &'static [(u64, Range<u64>, Reason)]),
    /// Lost by the rings: from which number on, whether the count is exact, no terminal frame is
    /// among them.
    ByRings(u64, bool, bool, Reason),
}

const WIDE: (usize, usize, Policy) = (4_096, 1, Policy::DropProgress);

fn all(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_all_with_options(None, options).unwrap()
}

fn run(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_run_with_options("r".into(), None, options)
        .unwrap()
}

fn agent(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_agent_with_options("agent".into(), None, options)
        .unwrap()
}

fn filtered(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    let filter = EventFilter {
        kinds: vec![Delta, Start, End],
        queue: options.queue,
        ..EventFilter::run("r")
    };
    bus.subscribe_filtered(filter.compile().unwrap(), None)
        .unwrap()
}

/// Resumed from a cursor, behind which the rings lost frames before.
fn expired(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    (0..5).for_each(|_| publish(bus, "r", Delta));
    let cursor = bus.subscribe_all(None).unwrap().last().unwrap().cursor;
    (0..200).for_each(|_| publish(bus, "r", Delta));
    bus.subscribe_all_with_options(Some(cursor), options)
        .unwrap()
}

const CASES: &[Case] = &[
    Case {
        name: "arriving frames dropped",
        queue: (4, 1, Policy::DropNonTerminal),
        ring: 1_024,
        subscribe: all,
        published: &[(Delta, 8), (End, 1)],
        expected: Expected::ByQueue(
            &[1, 2, 3, 9],
            &[(9, 4..9, Reason::PolicyDroppedNonTerminal)],
        ),
    },
    Case {
        name: "arriving frames dropped, nothing behind them",
        queue: (4, 1, Policy::DropNonTerminal),
        ring: 1_024,
        subscribe: run,
        published: &[(Delta, 8)],
        expected: Expected::ByQueue(&[1, 2, 3], &[(3, 4..9, Reason::PolicyDroppedNonTerminal)]),
    },
    Case {
        name: "the oldest dropped for terminal frames",
        queue: (4, 1, Policy::DropNonTerminal),
        ring: 1_024,
        subscribe: agent,
        published: &[(Start, 3), (End, 3)],
        expected: Expected::ByQueue(
            &[3, 4, 5, 6],
            &[(3, 1..3, Reason::PolicyDroppedNonTerminal)],
        ),
    },
    Case {
        name: "progress dropped for a normal frame",
        queue: (3, 1, Policy::DropProgress),
        ring: 1_024,
        subscribe: filtered,
        published: &[(Delta, 3), (Start, 1)],
        expected: Expected::ByQueue(
            &[2, 4],
            &[
                (2, 1..2, Reason::PolicyDroppedProgress),
                (4, 3..4, Reason::PolicyDroppedProgress),
            ],
        ),
    },
    Case {
        name: "a normal frame dropped for want of room",
        queue: (3, 1, Policy::DropProgress),
        ring: 1_024,
        subscribe: all,
        published: &[(Start, 4)],
        expected: Expected::ByQueue(&[1, 2], &[(2, 3..5, Reason::SubscriberQueueFull)]),
    },
    Case {
        name: "summaries",
        queue: (8, 1, Policy::SummarizeAndContinue),
        ring: 1_024,
        subscribe: run,
        published: &[(Delta, 4), (Start, 1), (Delta, 2), (End, 1)],
        expected: Expected::ByQueue(
            &[4, 5, 7, 8],
            &[
                (4, 1..5, Reason::PolicyDroppedProgress),
                (7, 6..8, Reason::PolicyDroppedProgress),
            ],
        ),
    },
    Case {
        name: "failed",
        queue: (3, 1, Policy::FailSubscriber),
        ring: 1_024,
        subscribe: all,
        published: &[(Delta, 3)],
        expected: Expected::ByQueue(&[1, 2], &[(2, 3..4, Reason::SubscriberQueueFull)]),
    },
    Case {
        name: "lapped, of all",
        queue: WIDE,
        ring: 16,
        subscribe: all,
        published: &[(Delta, 200)],
        expected: Expected::ByRings(1, true, true, Reason::SubscriberLagged),
    },
    Case {
        name: "lapped, of a run",
        queue: WIDE,
        ring: 16,
        subscribe: run,
        published: &[(Start, 200)],
        expected: Expected::ByRings(1, false, true, Reason::SubscriberLagged),
    },
    Case {
        name: "lapped, of an agent",
        queue: WIDE,
        ring: 16,
        subscribe: agent,
        published: &[(Start, 200)],
        expected: Expected::ByRings(1, false, true, Reason::SubscriberLagged),
    },
    Case {
        name: "lapped by terminal frames, of a filter",
        queue: WIDE,
        ring: 16,
        subscribe: filtered,
        published: &[(End, 200)],
        expected: Expected::ByRings(1, false, false, Reason::SubscriberLagged),
    },
    Case {
        name: "lapped by terminal frames, of all",
        queue: WIDE,
        ring: 16,
        subscribe: all,
        published: &[(End, 200)],
        expected: Expected::ByRings(1, true, false, Reason::SubscriberLagged),
    },
    Case {
        name: "expired behind its cursor",
        queue: WIDE,
        ring: 16,
        subscribe: expired,
        published: &[(Delta, 1)],
        expected: Expected::ByRings(6, true, true, Reason::LiveBufferExpired),
    },
];

impl Case {
    fn open(&self) -> (InMemoryAgentEventBus, AgentEventStream) {
        let builder = InMemoryAgentEventBus::builder().shards(size(1));
        let bus = builder.ring_capacity(size(self.ring)).build().unwrap();
        let (capacity, reserve, policy) = self.queue;
        let stream = (self.subscribe)(&bus, common::options(capacity, reserve, policy));
        for &(kind, times) in self.published {
            (0..times).for_each(|_| publish(&bus, "r", kind));
        }
        (bus, stream)
    }

    fn is_of_the_queue(&self) -> bool {
        matches!(self.expected, Expected::ByQueue(..))
    }

    /// All that the stream gives.
    fn expected(&self, bus: &InMemoryAgentEventBus, stream: &AgentEventStream) -> Vec<Item> {
        let cursor = |number, journal_cursor| EventCursor {
            scope: stream.cursor().unwrap().scope.clone(),
            event_seq: number,
            bus_epoch: bus.epoch(),
            journal_cursor,
        };
        let frame = |number| Item::Frame(cursor(number, journal(number)));
        match &self.expected {
            Expected::ByQueue(numbers, notices) => {
                let mut items = Vec::new();
                for &number in *numbers {
                    let told = notices.iter().filter(|it| it.0 == number);
                    items.extend(told.map(|(_, lost, reason)| {
                        let last = lost.end - 1;
                        Item::Told(EventOverflowNotice {
                            policy: self.queue.2,
                            dropped_count: lost.end - lost.start,
                            exact: true,
                            gap_start: Some(cursor(lost.start, journal(lost.start))),
                            gap_end: cursor(last, journal(last)),
                            repair_from: journal(lost.start),
                            terminal_preserved: true,
                            reason: *reason,
                        })
                    }));
                    items.push(frame(number));
                }
                items
            }
            &Expected::ByRings(first, exact, terminal_preserved, reason) => {
                let held = bus.stats().oldest_sequence.unwrap();
                let notice = EventOverflowNotice {
                    policy: self.queue.2,
                    dropped_count: held - first,
                    exact,
                    // The rings know of what they lost its numbers only.
                    gap_start: Some(cursor(first, None)),
                    gap_end: cursor(held - 1, None),
                    repair_from: None,
                    terminal_preserved,
                    reason,
                };
                let frames = (held..=bus.last_sequence()).map(frame);
                std::iter::once(Item::Told(notice)).chain(frames).collect()
            }
        }
    }
}

fn take(items: &mut Vec<Item>, frame: EventFrame) {
    items.extend(frame.overflow.map(|notice| Item::Told(*notice)));
    items.push(Item::Frame(frame.cursor));
}

fn by_next(stream: &mut AgentEventStream) -> Vec<Item> {
    let mut items = Vec::new();
    stream.by_ref().for_each(|frame| take(&mut items, frame));
    items.extend(stream.take_pending_overflow().map(Item::Told));
    items
}

fn by_batches(stream: &mut AgentEventStream) -> Vec<Item> {
    let scope = stream.cursor().unwrap().scope.clone();
    let mut items = Vec::new();
    let mut batch = || {
        stream.read_batch(|item| {
            items.push(match item {
                BatchItem::Frame(frame) => Item::Frame(frame.envelope().cursor(scope.clone())),
                BatchItem::Gap(notice) => Item::Told(notice),
            });
            ControlFlow::Continue(())
        })
    };
    while batch() > 0 {}
    items
}

/// The first frame by `next`, the rest as one goes on.
fn first_then(
    stream: &mut AgentEventStream,
    go_on: impl FnOnce(&mut AgentEventStream) -> Vec<Item>,
) -> Vec<Item> {
    let mut items = Vec::new();
    take(&mut items, stream.next().unwrap());
    items.extend(go_on(stream));
    items
}

/// A way to read a stream to its end, and whether frames pass through its queue.
type Way = (&'static str, bool, fn(&mut AgentEventStream) -> Vec<Item>);

const WAYS: &[Way] = &[
    ("next", true, by_next),
    ("batches", false, by_batches),
    ("next, then batches", true, |stream| {
        first_then(stream, by_batches)
    }),
    ("a clone", true, |stream| {
        *stream = stream.clone();
        by_next(stream)
    }),
    ("batches of a clone", false, |stream| {
        *stream = stream.clone();
        by_batches(stream)
    }),
    ("a clone of one that gave a frame", true, |stream| {
        first_then(stream, |stream| {
            *stream = stream.clone();
            by_next(stream)
        })
    }),
    ("one that a clone has read", true, |stream| {
        by_next(&mut stream.clone());
        by_next(stream)
    }),
    ("waits that time out", true, |stream| {
        let mut items = Vec::new();
        while let Ok(frame) = stream.recv_timeout(Duration::ZERO) {
            take(&mut items, frame);
        }
        items
    }),
    ("waits that are dropped", true, |stream| {
        let mut items = Vec::new();
        let context = &mut Context::from_waker(Waker::noop());
        // One that pends may only have given way.
        let mut pending = 0;
        while pending < 2 {
            match pin!(stream.recv_async()).poll(context) {
                Poll::Ready(Ok(frame)) => {
                    take(&mut items, frame);
                    pending = 0;
                }
                Poll::Ready(Err(_)) => break,
                Poll::Pending => pending += 1,
            }
        }
        items
    }),
];

/// Each figure of a stream that was read to its end.
fn check_stats(stream: &AgentEventStream, items: &[Item], summaries: u64, last: u64, place: &str) {
    let stats = stream.stats();
    let frames = items.iter().filter(|item| matches!(item, Item::Frame(_)));
    let notices: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Told(notice) => Some(notice),
            Item::Frame(_) => None,
        })
        .collect();
    let lost = |reason| {
        let of = notices.iter().filter(|notice| notice.reason == reason);
        of.map(|notice| notice.dropped_count).sum::<u64>()
    };
    assert_eq!(
        stats.delivered,
        frames.count() as u64 - summaries,
        "{place}"
    );
    assert_eq!(stats.notices, notices.len() as u64, "{place}");
    for reason in Reason::ALL {
        assert_eq!(
            stats.dropped.of(reason),
            lost(reason),
            "{place}: {reason:?}"
        );
    }
    assert_eq!(
        stats.dropped.total(),
        Reason::ALL.map(lost).iter().sum::<u64>()
    );
    assert_eq!(
        (stats.queued, stats.position, stats.lag),
        (0, last, 0),
        "{place}"
    );
    let cursor = stream.cursor().unwrap();
    assert_eq!(cursor.event_seq, last, "{place}");
    let given = items.iter().rev().find_map(|item| match item {
        Item::Frame(cursor) => Some(cursor),
        Item::Told(_) => None,
    });
    let given = given.unwrap();
    assert_eq!(
        (&cursor.scope, cursor.bus_epoch),
        (&given.scope, given.bus_epoch),
        "{place}"
    );
    assert_eq!(cursor.journal_cursor, given.journal_cursor, "{place}");
}

#[test]
fn each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading() {
    for case in CASES {
        for (way, queues, read) in WAYS {
            let place = format!("{}, {way}", case.name);
            let (bus, mut stream) = case.open();
            let mut expected = case.expected(&bus, &stream);
            let (mut summaries, mut last) = (0, bus.last_sequence());
            if case.is_of_the_queue() && !queues {
                // Without a queue, nothing is lost to it.
                let scope = stream.cursor().unwrap().scope.clone();
                let everything = (1..=last).map(|number| {
                    Item::Frame(EventCursor {
                        scope: scope.clone(),
                        event_seq: number,
                        bus_epoch: bus.epoch(),
                        journal_cursor: journal(number),
                    })
                });
                expected = everything.collect();
            } else if case.queue.2 == Policy::SummarizeAndContinue {
                summaries = 2;
            } else if case.queue.2 == Policy::FailSubscriber {
                // It stands where it is to be resumed.
                last = 2;
            }
            let items = read(&mut stream);
            assert_eq!(items, expected, "{place}");
            if last == 2 {
                assert_eq!(stream.stats().delivered, 2, "{place}");
                check_failure(&mut stream, &items, &place);
                continue;
            }
            check_stats(&stream, &items, summaries, last, &place);
            let terminals: u64 = case
                .published
                .iter()
                .filter(|it| it.0 == End)
                .map(|it| it.1)
                .sum();
            let stats = stream.stats();
            match case.is_of_the_queue() {
                true => assert_eq!((stats.terminals, stats.laps), (terminals, 0), "{place}"),
                false => {
                    let given = if terminals > 0 { stats.delivered } else { 0 };
                    assert_eq!(stats.terminals, given, "{place}");
                    let expired = case.name.starts_with("expired");
                    assert_eq!(stats.laps > 0, !expired, "{place}");
                }
            }
            assert_eq!(stream.pending_overflow(), None, "{place}");
            assert_eq!(stream.end(), None, "{place}");
            drop(bus);
            assert_eq!(stream.end(), Some(StreamEnd::BusClosed), "{place}");
        }
    }
}

/// The end of the failed one: where to resume, and what was lost by then.
fn check_failure(stream: &mut AgentEventStream, items: &[Item], place: &str) {
    let [.., Item::Told(told), Item::Frame(given)] = items else {
        panic!("{place}: {items:?}")
    };
    let failed = StreamEnd::Failed {
        resume_from: given.clone(),
        notice: Box::new(told.clone()),
    };
    assert_eq!(stream.end(), Some(failed), "{place}");
    assert_eq!(stream.cursor(), Some(given), "{place}");
}

/// While frames are queued, each step moves all figures by one frame.
#[test]
fn position_cursor_and_figures_move_with_each_frame() {
    for case in CASES {
        let (bus, mut stream) = case.open();
        let expected = case.expected(&bus, &stream);
        let frames = expected
            .iter()
            .filter(|item| matches!(item, Item::Frame(_)));
        let mut left = frames.count() as u64;
        let mut before = stream.stats();
        assert_eq!((before.delivered, before.notices, before.queued), (0, 0, 0));
        while let Some(frame) = stream.next() {
            left -= 1;
            let stats = stream.stats();
            let summary = frame.event.redacted_summary().is_some();
            assert_eq!(
                stats.delivered,
                before.delivered + u64::from(!summary),
                "{}",
                case.name
            );
            let notices = before.notices + u64::from(frame.overflow.is_some());
            assert_eq!(stats.notices, notices, "{}", case.name);
            let terminal = u64::from(frame.event.envelope.event_kind == End);
            assert_eq!(
                stats.terminals,
                before.terminals + terminal,
                "{}",
                case.name
            );
            assert_eq!(stats.queued, left, "{}", case.name);
            if left > 0 {
                assert_eq!(stream.cursor(), Some(&frame.cursor), "{}", case.name);
                assert_eq!(stats.position, frame.cursor.event_seq, "{}", case.name);
                assert_eq!(
                    stats.lag,
                    bus.last_sequence() - stats.position,
                    "{}",
                    case.name
                );
            } else {
                // Behind the last one lies what was lost, and what was looked at.
                let cursor = stream.cursor().unwrap();
                assert_eq!(cursor.scope, frame.cursor.scope, "{}", case.name);
                assert_eq!(cursor.bus_epoch, bus.epoch(), "{}", case.name);
                assert_eq!(
                    cursor.journal_cursor, frame.cursor.journal_cursor,
                    "{}",
                    case.name
                );
            }
            before = stats;
        }
        assert_eq!(left, 0, "{}", case.name);
    }
}

/// An archive that has some of a bus's frames: all numbers but those of a hole.
#[derive(Debug)]
struct Holed {
    frames: InMemoryEventArchive,
    hole: Range<u64>,
}

impl EventArchive for Holed {
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        self.frames.replay_filtered_from_cursor(filter, cursor)
    }
}

impl RepairArchive for Holed {
    fn before_sequence(&self, _: BusEpoch, sequence: u64) -> Result<ArchiveCursor, AgentError> {
        let start = self.frames.start();
        let filter = EventFilter::default().compile()?;
        let frames = self
            .frames
            .replay_filtered_from_cursor(filter, start.clone())?;
        let below = |frame: &EventFrame| frame.cursor.event_seq < sequence;
        Ok(ArchiveCursor {
            position: frames.take_while(below).count() as u64,
            ..start
        })
    }

    fn next_hole(
        &self,
        _: BusEpoch,
        numbers: Range<u64>,
    ) -> Result<Option<Range<u64>>, AgentError> {
        let hole = self.hole.start.max(numbers.start)..self.hole.end.min(numbers.end);
        Ok((!hole.is_empty()).then_some(hole))
    }

    fn is_settled(&self, _: BusEpoch, _: u64, _: Option<&Arc<Waker>>) -> bool {
        true
    }
}

/// A gap that an archive has all of, none of, or all but its first, middle or last frames of.
#[test]
fn each_field_of_a_repaired_gap_is_right() {
    for (name, subscribe) in [("all", all as Subscribe), ("run", run)] {
        for way in [by_next, by_batches] {
            for kind in 0..5 {
                let builder = InMemoryAgentEventBus::builder().shards(size(1));
                let bus = builder.ring_capacity(size(16)).build().unwrap();
                let (capacity, reserve, policy) = WIDE;
                let stream = subscribe(&bus, common::options(capacity, reserve, policy));
                let mut witness = all(&bus, common::options(capacity, reserve, policy));
                let frames = InMemoryEventArchive::new("x");
                let mut seen = Vec::new();
                for _ in 0..200 {
                    publish(&bus, "r", Delta);
                    seen.extend(witness.next());
                }
                let held = bus.stats().oldest_sequence.unwrap();
                let hole = [1..1, 1..held, 1..4, 7..11, held - 3..held][kind].clone();
                let kept = |frame: &&EventFrame| !hole.contains(&frame.cursor.event_seq);
                seen.iter().filter(kept).for_each(|frame| {
                    frames.append(frame.clone());
                });
                let hole_of = hole.clone();
                let archive = Holed { frames, hole };
                let mut stream = stream.repaired_by(Arc::new(archive)).unwrap();
                let items = way(&mut stream);
                let place = format!("{name} {kind}");
                let numbers: Vec<_> = items
                    .iter()
                    .filter_map(|item| match item {
                        Item::Frame(cursor) => Some(cursor.event_seq),
                        Item::Told(_) => None,
                    })
                    .collect();
                let expected: Vec<_> = (1..=200)
                    .filter(|number| !hole_of.contains(number))
                    .collect();
                assert_eq!(numbers, expected, "{place}");
                let lost = hole_of.end - hole_of.start;
                let told: Vec<_> = items
                    .iter()
                    .filter_map(|item| match item {
                        Item::Told(notice) => Some(notice),
                        Item::Frame(_) => None,
                    })
                    .collect();
                let count: u64 = told.iter().map(|notice| notice.dropped_count).sum();
                assert_eq!(count, lost, "{place}: {told:?}");
                let first = told.first().unwrap();
                let start = first.gap_start.as_ref().unwrap();
                let end = told.iter().map(|notice| notice.gap_end.event_seq).max();
                match lost {
                    // What was repaired is told behind it, as a gap in which nothing is lost.
                    0 => {
                        assert_eq!(start.event_seq, 1, "{place}");
                        assert_eq!(first.repair_from, journal(1), "{place}");
                    }
                    _ => assert!(start.event_seq <= hole_of.start, "{place}: {told:?}"),
                }
                assert_eq!(end, Some(held - 1), "{place}: {told:?}");
                for notice in &told {
                    assert_eq!(notice.policy, policy, "{place}");
                    assert!(notice.terminal_preserved, "{place}");
                    assert_eq!(notice.reason, Reason::SubscriberLagged, "{place}");
                    assert_eq!(notice.gap_end.bus_epoch, bus.epoch(), "{place}");
                    let scope = &stream.cursor().unwrap().scope;
                    assert_eq!(
                        (&notice.gap_end.scope, &start.scope),
                        (scope, scope),
                        "{place}"
                    );
                }
                let stats = stream.stats();
                assert_eq!(stats.delivered, 200 - lost, "{place}");
                assert_eq!(stats.dropped.of(Reason::SubscriberLagged), lost, "{place}");
                assert_eq!(
                    (stats.dropped.total(), stats.terminals),
                    (lost, 0),
                    "{place}"
                );
                assert_eq!(stats.notices, told.len() as u64, "{place}");
                assert_eq!(
                    (stats.position, stats.lag, stats.queued),
                    (200, 0, 0),
                    "{place}"
                );
            }
        }
    }
}

/// The figures of a bus, after each frame.
#[test]
fn each_figure_of_a_bus_counts_each_frame() {
    for (shards, after) in [(1, 0), (2, 0), (1, 1_000), (4, 1_000)] {
        let builder = InMemoryAgentEventBus::builder().shards(size(shards));
        let builder = builder.ring_capacity(size(16)).terminal_capacity(size(50));
        let bus = builder
            .reopen(BusEpoch::from_bits(7), after)
            .build()
            .unwrap();
        let windows = bus.stats().shards[0];
        assert!(windows.frames.window >= 16 && windows.terminals.window >= 50);
        let (mut frames, mut terminals) = (0, 0);
        for n in 1..=300_u64 {
            let kind = if n % 7 == 0 { End } else { Delta };
            publish(&bus, "r", kind);
            frames += u64::from(kind == Delta);
            terminals += u64::from(kind == End);
            let stats = bus.stats();
            assert_eq!((stats.published, stats.last_sequence), (n, after + n));
            assert_eq!(stats.shards.len(), shards);
            let busy = stats.shards.iter().filter(|it| it.frames.tail > 0);
            let own = busy.clone().next().unwrap();
            assert_eq!(busy.count(), 1, "a run is in one shard");
            // In a ring of one shard, terminal frames take their numbers from the other lane.
            let numbered = if shards == 1 {
                frames + terminals
            } else {
                frames
            };
            assert_eq!((own.frames.tail, own.terminals.tail), (numbered, terminals));
            assert_eq!((own.frames.voids, own.terminals.voids), (0, 0));
            let fill = |tail: u64, window: u64| tail.min(window) as f64 / window as f64;
            assert_eq!(own.frames.fill(), fill(numbered, own.frames.window));
            assert_eq!(own.terminals.fill(), fill(terminals, own.terminals.window));
            let oldest = bus.subscribe_all(None).unwrap().next().unwrap().cursor;
            assert_eq!(stats.oldest_sequence, Some(oldest.event_seq));
        }
        assert_eq!((bus.stats().parked, bus.stats().woken), (0, 0));
    }
}
