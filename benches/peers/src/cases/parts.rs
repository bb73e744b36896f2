//! Parts of the work, each against a measure of its own: skipping the frames of other runs,
//! bounding at several capacities, polling when nothing is there, slow subscribers under each
//! policy.

use crate::case::{Case, Contender, Figure, ns_per_frame};
use crate::peer::{self, Contract, Peer, Read, Size};
use crate::peers::{self, Shards, Tokio, Visit, event_bus, ring};
use crate::stopwatch::Stopwatch;
use framebus::ring::{CLASS_BITS, Delivery, Route, Select, Start, TAG_BITS, TagFilter};
use framebus::*;
use std::cell::OnceCell;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Frames in a backlog.
const BACKLOG: usize = 50_000;
/// Runs, of which one is wanted.
const RUNS: usize = 1_000;
/// The run that is wanted.
const WANTED: usize = 500;
/// Times in a run.
const TIMES: u64 = 40;

/// All of these.
pub fn cases() -> Vec<Case> {
    vec![skip(), bound(), poll_empty(), slow()]
}

/// A locked instruction of this machine: a measure to scale others by.
pub const FETCH_ADD: &str = "an uncontended fetch-add";

fn skip() -> Case {
    let fetch_add = Contender::new(FETCH_ADD, |scale| {
        let counter = AtomicU64::new(0);
        let time = |_| {
            let begin = Stopwatch::start();
            for _ in 0..BACKLOG {
                black_box(&counter).fetch_add(1, Ordering::AcqRel);
            }
            begin.elapsed()
        };
        ns_per_frame((0..scale.of(TIMES)).map(time), BACKLOG)
    });
    let tags = Contender::new("framebus", |scale| {
        let ring = ring::open::<u64>(1, peer::CAPACITY);
        for word in 0..BACKLOG {
            let tag = ((word % RUNS) as u32) << CLASS_BITS;
            let route = Route {
                tag,
                ..Route::default()
            };
            ring.publish(route, word as u64).unwrap();
        }
        let filter = TagFilter {
            mask: (1 << TAG_BITS) - (1 << CLASS_BITS),
            value: (WANTED as u32) << CLASS_BITS,
            classes: u128::MAX,
        };
        let time = |_| {
            let wanted = Select::Shard(0);
            let mut reader = ring.subscribe(wanted, Some(filter), Start::Oldest).unwrap();
            let mut count = 0;
            let begin = Stopwatch::start();
            reader.poll(|delivery| {
                count += usize::from(matches!(delivery, Delivery::Frame(..)));
                ControlFlow::Continue(())
            });
            let spent = begin.elapsed();
            assert_eq!(count, BACKLOG / RUNS);
            spent
        };
        ns_per_frame((0..scale.of(TIMES)).map(time), BACKLOG)
    });
    let bus = Contender::new("framebus, the bus: subscribe_run", |scale| {
        let bus = event_bus::open(peer::CAPACITY);
        let frames = (0..BACKLOG).map(|word| delta(&format!("run-{}", word % RUNS)));
        frames.for_each(|frame| bus.publish(frame).unwrap());
        let run = RunId::new(format!("run-{WANTED}"));
        let time = |_| {
            let mut stream = bus.subscribe_run(run.clone(), None).unwrap();
            let mut count = 0;
            let begin = Stopwatch::start();
            while stream.read_batch(|item| {
                count += usize::from(matches!(item, BatchItem::Frame(_)));
                ControlFlow::Continue(())
            }) > 0
            {}
            let spent = begin.elapsed();
            assert_eq!(count, BACKLOG / RUNS);
            spent
        };
        ns_per_frame((0..scale.of(TIMES)).map(time), BACKLOG)
    });
    /// Reads all, as a channel without scopes must, and keeps what is of the run.
    fn reading_all<P: Peer<u64>>() -> Contender {
        use crate::peer::Publish;
        Contender::peer::<u64, P>(|scale| {
            let (mut publishers, mut subscribers) = P::open(Size::new(1, 1));
            let mut time = || {
                (0..BACKLOG as u64).for_each(|word| publishers[0].publish(word));
                let mut count = 0;
                let begin = Stopwatch::start();
                while subscribers[0].read(|word| {
                    count += usize::from(black_box(word) % RUNS as u64 == WANTED as u64);
                }) > 0
                {}
                let spent = begin.elapsed();
                assert_eq!(count, BACKLOG / RUNS);
                spent
            };
            time();
            ns_per_frame((0..scale.of(TIMES)).map(|_| time()), BACKLOG)
        })
    }
    Case {
        name: "skip".into(),
        about: "skip the frames of other runs; 1 of 1,000 is wanted, 50,000 are there",
        contenders: vec![
            tags,
            bus,
            reading_all::<Tokio>(),
            reading_all::<peers::DequeInRwLock>(),
            reading_all::<peers::PhotonMany>(),
            fetch_add,
        ],
    }
}

/// The name of the contender that bounds at this capacity.
pub fn at_capacity(capacity: usize) -> String {
    format!("framebus, capacity {capacity}")
}

fn bound() -> Case {
    const FRAMES: usize = 400_000;
    let bus = Rc::new(OnceCell::new());
    let contender = |capacity: usize| {
        let bus = bus.clone();
        Contender::new(at_capacity(capacity), move |scale| {
            let bus: &InMemoryAgentEventBus = bus.get_or_init(|| {
                let builder = InMemoryAgentEventBus::builder().shards(size(1));
                let bus = builder.ring_capacity(size(FRAMES)).build().unwrap();
                for _ in 0..FRAMES / 2 {
                    bus.publish(frame("run", EventKind::ModelStreamDelta))
                        .unwrap();
                    bus.publish(frame("run", EventKind::RunCompleted)).unwrap();
                }
                bus
            });
            let options = SubscriptionOptions::capacity(capacity);
            let time = |_| {
                let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
                let begin = Stopwatch::start();
                let frames = stream.by_ref().count();
                let spent = begin.elapsed();
                assert!(frames < FRAMES);
                assert_eq!(stream.stats().terminals as usize, FRAMES / 2);
                spent
            };
            ns_per_frame((0..scale.of(8)).map(time), FRAMES)
        })
    };
    Case {
        name: "bound".into(),
        about: "read 400,000 progress and terminal frames by turns, a full queue evicting progress",
        contenders: [64, 1_024, 65_536].map(contender).into(),
    }
}

fn poll_empty() -> Case {
    struct All(Vec<Contender>);
    impl Visit<u64> for All {
        fn visit<P: Peer<u64>>(&mut self) {
            if P::CONTRACT == Contract::Overwrites {
                self.0.push(poll_empty_by::<P>());
            }
        }
    }
    let mut all = All(Vec::new());
    peers::each::<u64>(&mut all);
    all.0.insert(1, poll_empty_by::<Shards<16>>());
    all.0.insert(2, poll_empty_by::<Shards<64>>());
    Case {
        name: "poll-empty".into(),
        about: "one poll of a subscriber to all when nothing is there",
        contenders: all.0,
    }
}

fn poll_empty_by<P: Peer<u64>>() -> Contender {
    Contender::peer::<u64, P>(|scale| {
        let (_publishers, mut subscribers) = P::open(Size::new(1, 1));
        const POLLS: usize = 10_000;
        let time = |_| {
            let begin = Stopwatch::start();
            for _ in 0..POLLS {
                assert_eq!(black_box(&mut subscribers[0]).read(|_| ()), 0);
            }
            begin.elapsed()
        };
        let mut figures = ns_per_frame((0..scale.of(TIMES)).map(time), POLLS);
        figures[0].0 = "ns/poll";
        figures
    })
}

fn slow() -> Case {
    let policies = [
        ("DropNonTerminal", SubscriberOverflowPolicy::DropNonTerminal),
        ("DropProgress", SubscriberOverflowPolicy::DropProgress),
        (
            "SummarizeAndContinue",
            SubscriberOverflowPolicy::SummarizeAndContinue,
        ),
        ("FailSubscriber", SubscriberOverflowPolicy::FailSubscriber),
    ];
    let policy = |(name, policy)| {
        Contender::new(format!("framebus, {name}"), move |_| {
            let bus = event_bus::open(peer::CAPACITY);
            let mut options = SubscriptionOptions::default();
            options.queue.overflow = policy;
            let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
            let slow = Slow::run(
                |frame| bus.publish(frame).unwrap(),
                || match stream.next() {
                    Some(frame) => {
                        let summary = frame.event.redacted_summary();
                        let stands_for_many = summary.is_some_and(|it| it.contains("dropped"));
                        let reported = frame.overflow.map_or(0, |reported| reported.dropped_count);
                        Taken {
                            delivered: u64::from(!stands_for_many),
                            reported,
                        }
                    }
                    None => Taken::default(),
                },
            );
            if policy != SubscriberOverflowPolicy::FailSubscriber {
                let pending = stream
                    .pending_overflow()
                    .map_or(0, |reported| reported.dropped_count);
                let accounted = slow.taken.delivered + slow.taken.reported + pending;
                assert_eq!(accounted, slow.published, "{name}");
            }
            slow.figures()
        })
    };
    let tokio = Contender::peer::<EventFrame, Tokio>(|_| {
        let sender = tokio::sync::broadcast::Sender::new(peer::CAPACITY);
        let mut receiver = sender.subscribe();
        Slow::run(
            |frame| assert!(sender.send(frame).is_ok()),
            || match receiver.try_recv() {
                Ok(_) => Taken {
                    delivered: 1,
                    reported: 0,
                },
                Err(tokio::sync::broadcast::error::TryRecvError::Lagged(reported)) => Taken {
                    delivered: 0,
                    reported,
                },
                Err(_) => Taken::default(),
            },
        )
        .figures()
    });
    let mut contenders: Vec<_> = policies.map(policy).into();
    contenders.push(tokio);
    Case {
        name: "slow".into(),
        about: "publish 1,000 events, then the subscriber takes 10; at the end it drains",
        contenders,
    }
}

/// What a subscriber took.
#[derive(Clone, Copy, Default)]
struct Taken {
    delivered: u64,
    reported: u64,
}

impl Taken {
    fn is_nothing(self) -> bool {
        self.delivered == 0 && self.reported == 0
    }
}

/// A subscriber that is a hundred times too slow.
#[derive(Default)]
struct Slow {
    published: u64,
    taken: Taken,
    publishing: Vec<Duration>,
    taking: Vec<Duration>,
}

impl Slow {
    const PUBLISHED: usize = 1_000;
    const TAKEN: usize = 10;

    fn run(mut publish: impl FnMut(EventFrame), mut take: impl FnMut() -> Taken) -> Self {
        let mut slow = Slow::default();
        // So often that the ring is lapped, however quick the look.
        for _ in 0..200 {
            // Nine of ten are progress, one of a hundred ends something.
            let kind = |n| match (n % 100, n % 10) {
                (99, _) => EventKind::RunCompleted,
                (_, 9) => EventKind::ToolStarted,
                _ => EventKind::ModelStreamDelta,
            };
            let frames: Vec<_> = (0..Slow::PUBLISHED)
                .map(|n| frame("run", kind(n)))
                .collect();
            let begin = Instant::now();
            frames.into_iter().for_each(&mut publish);
            slow.publishing.push(begin.elapsed());
            slow.published += Slow::PUBLISHED as u64;
            let begin = Instant::now();
            (0..Slow::TAKEN).for_each(|_| slow.took(take()));
            slow.taking.push(begin.elapsed());
        }
        loop {
            match take() {
                taken if taken.is_nothing() => return slow,
                taken => slow.took(taken),
            }
        }
    }

    fn took(&mut self, taken: Taken) {
        self.taken.delivered += taken.delivered;
        self.taken.reported += taken.reported;
    }

    fn figures(self) -> Vec<Figure> {
        let per = |times: Vec<Duration>, count| ns_per_frame(times.into_iter(), count)[0].1;
        let share = |count: u64| count as f64 * 100.0 / self.published as f64;
        vec![
            ("publish ns/frame", per(self.publishing, Slow::PUBLISHED)),
            ("take ns/frame", per(self.taking, Slow::TAKEN)),
            ("delivered %", share(self.taken.delivered)),
            ("reported lost %", share(self.taken.reported)),
        ]
    }
}

fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn frame(run: &str, kind: EventKind) -> EventFrame {
    EventFrame::new(AgentEvent::envelope_only(EventEnvelope::new(
        run, "agent", kind,
    )))
}

fn delta(run: &str) -> EventFrame {
    frame(run, EventKind::ModelStreamDelta)
}
