//! Streams that have lost something, and every way to read them.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use crate::common::{options, size};
use framebus::*;
use std::future::Future;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use EventKind::{ModelStreamDelta as Delta, RunCompleted as End, RunStarted as Start};
use EventOverflowReason as Reason;
use SubscriberOverflowPolicy as Policy;

/// What a stream gives, in order. A notice comes before the frame that it is attached to.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Gap(EventOverflowNotice),
    Frame(EventCursor),
}

/// Returns the journal cursor of the frame with this sequence number, in these tests.
pub fn journal(sequence: u64) -> Option<JournalCursor> {
    Some(JournalCursor::from(format!("j{sequence}").as_str()))
}

pub fn publish(bus: &InMemoryAgentEventBus, run: &str, kind: EventKind) {
    let cursor = journal(bus.last_sequence() + 1).unwrap();
    let envelope = EventEnvelope::new(run, "agent", kind).with_journal_cursor(cursor);
    let event = AgentEvent::envelope_only(envelope);
    bus.publish(EventFrame::new(event)).unwrap();
}

pub type Subscribe = fn(&InMemoryAgentEventBus, SubscriptionOptions) -> AgentEventStream;

/// A stream that has lost something before it is read.
pub struct Case {
    pub name: &'static str,
    /// The capacity of its queue, the reserve of terminal frames, its policy.
    pub queue: (usize, usize, Policy),
    /// The capacity of the rings.
    pub ring: usize,
    pub subscribe: Subscribe,
    /// What is published after it has subscribed: kinds, each with how many times.
    pub published: &'static [(EventKind, u64)],
    pub expected: Expected,
}

pub enum Expected {
    /// Lost by the queue: the sequence numbers that are given, and the notices: the sequence number
    /// of the frame that each is attached to, its gap and its reason.
    ByQueue(&'static [u64], &'static [(u64, Range<u64>, Reason)]),
    /// Lost by the rings: the first lost sequence number, whether the count is exact, whether no
    /// terminal frame is lost, the reason.
    ByRings(u64, bool, bool, Reason),
}

pub const WIDE: (usize, usize, Policy) = (4_096, 1, Policy::DropProgress);

pub fn all(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_all_with_options(None, options).unwrap()
}

pub fn run(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_run_with_options("r".into(), None, options)
        .unwrap()
}

pub fn agent(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_agent_with_options("agent".into(), None, options)
        .unwrap()
}

pub fn filtered(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    let filter = EventFilter {
        kinds: vec![Delta, Start, End],
        queue: options.queue,
        ..EventFilter::run("r")
    };
    bus.subscribe_filtered(filter.compile().unwrap(), None)
        .unwrap()
}

/// Resumed from a cursor. The rings had lost frames after it before.
pub fn expired(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    (0..5).for_each(|_| publish(bus, "r", Delta));
    let cursor = bus.subscribe_all(None).unwrap().last().unwrap().cursor;
    (0..200).for_each(|_| publish(bus, "r", Delta));
    bus.subscribe_all_with_options(Some(cursor), options)
        .unwrap()
}

pub const CASES: &[Case] = &[
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
        name: "arriving frames dropped, no frame after them",
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
        name: "a normal frame dropped because there is no room",
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
        name: "expired after its cursor",
        queue: WIDE,
        ring: 16,
        subscribe: expired,
        published: &[(Delta, 1)],
        expected: Expected::ByRings(6, true, true, Reason::LiveBufferExpired),
    },
];

impl Case {
    pub fn open(&self) -> (InMemoryAgentEventBus, AgentEventStream) {
        let builder = InMemoryAgentEventBus::builder().shards(size(1));
        let bus = builder.ring_capacity(size(self.ring)).build().unwrap();
        let (capacity, reserve, policy) = self.queue;
        let stream = (self.subscribe)(&bus, options(capacity, reserve, policy));
        for &(kind, times) in self.published {
            (0..times).for_each(|_| publish(&bus, "r", kind));
        }
        (bus, stream)
    }

    pub fn is_lost_by_queue(&self) -> bool {
        matches!(self.expected, Expected::ByQueue(..))
    }

    /// Returns all that the stream gives, read through its queue.
    pub fn expected(&self, bus: &InMemoryAgentEventBus, stream: &AgentEventStream) -> Vec<Item> {
        let cursor = |sequence, journal_cursor| EventCursor {
            scope: stream.cursor().unwrap().scope.clone(),
            event_seq: sequence,
            bus_epoch: bus.epoch(),
            journal_cursor,
        };
        let frame = |sequence| Item::Frame(cursor(sequence, journal(sequence)));
        match &self.expected {
            Expected::ByQueue(sequences, notices) => {
                let mut items = Vec::new();
                for &sequence in *sequences {
                    let attached = notices.iter().filter(|it| it.0 == sequence);
                    items.extend(attached.map(|(_, lost, reason)| {
                        let last = lost.end - 1;
                        Item::Gap(EventOverflowNotice {
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
                    items.push(frame(sequence));
                }
                items
            }
            &Expected::ByRings(first, exact, terminal_preserved, reason) => {
                let held = bus.stats().oldest_sequence.unwrap();
                let notice = EventOverflowNotice {
                    policy: self.queue.2,
                    dropped_count: held - first,
                    exact,
                    // Of the frames that the rings lost, only the sequence numbers are known.
                    gap_start: Some(cursor(first, None)),
                    gap_end: cursor(held - 1, None),
                    repair_from: None,
                    terminal_preserved,
                    reason,
                };
                let frames = (held..=bus.last_sequence()).map(frame);
                std::iter::once(Item::Gap(notice)).chain(frames).collect()
            }
        }
    }
}

pub fn take(items: &mut Vec<Item>, frame: EventFrame) {
    items.extend(frame.overflow.map(|notice| Item::Gap(*notice)));
    items.push(Item::Frame(frame.cursor));
}

pub fn by_next(stream: &mut AgentEventStream) -> Vec<Item> {
    let mut items = Vec::new();
    stream.by_ref().for_each(|frame| take(&mut items, frame));
    items.extend(stream.take_pending_overflow().map(Item::Gap));
    items
}

pub fn by_batches(stream: &mut AgentEventStream) -> Vec<Item> {
    let scope = stream.cursor().unwrap().scope.clone();
    let mut items = Vec::new();
    let mut batch = || {
        stream.read_batch(|item| {
            items.push(match item {
                BatchItem::Frame(frame) => Item::Frame(frame.envelope().cursor(scope.clone())),
                BatchItem::Gap(notice) => Item::Gap(notice),
            });
            ControlFlow::Continue(())
        })
    };
    while batch() > 0 {}
    items
}

/// Reads the first frame by `next`, and the others by `go_on`.
pub fn first_then(
    stream: &mut AgentEventStream,
    go_on: impl FnOnce(&mut AgentEventStream) -> Vec<Item>,
) -> Vec<Item> {
    let mut items = Vec::new();
    take(&mut items, stream.next().unwrap());
    items.extend(go_on(stream));
    items
}

/// A way to read a stream to its end, and whether frames pass through its queue.
pub type Way = (&'static str, bool, fn(&mut AgentEventStream) -> Vec<Item>);

pub const WAYS: &[Way] = &[
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
        // A future that is pending may only have yielded.
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
