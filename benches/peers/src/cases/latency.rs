//! How old a frame is when it is read: paced, in bursts, and by subscribers that poll, block or
//! are awaited.
//!
//! The publisher spins until a frame is due, stamps it and publishes it. The stamp is taken right
//! before the publish, so that what is measured is the way from thread to thread; how often the
//! publisher was late already, because something held it up, is a figure of its own. In the same
//! run, right before, two threads hand a cache line back and forth: the measure of the machine at
//! that moment. The clock is part of what is measured, and a figure too.
//!
//! `bus` is missing among those that block: at this pace its publisher and its reader came to a
//! state in which both spin and nothing moves.

use crate::case::{Case, Contender, Figure, Scale};
use crate::payload::Payload;
use crate::peer::{Await, Contract, Ends, Peer, Publish, Read, Size, Wait};
use crate::peers::{
    self, AsyncBroadcast, Carried, Crossbeam, Crossfire, CrossfireAsync, EventBus, Flume, Kanal,
    Multiqueue, Tokio, Visit,
};
use crate::record::median;
use crossbeam_utils::CachePadded;
use framebus::EventFrame;
use hdrhistogram::Histogram;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// The median age.
pub const P50: &str = "p50 ns";
/// One way of a cache line between two threads.
pub const LINE: &str = "line transfer ns";

/// The time from one frame to the next, on average.
const PACE: Duration = Duration::from_micros(10);

/// When frames are published.
#[derive(Clone, Copy)]
struct Pace {
    /// How many at once.
    burst: u32,
    /// From one burst to the next.
    every: Duration,
    frames: u64,
}

/// Paced frames read in each way, and bursts read by polling.
pub fn cases() -> Vec<Case> {
    let paced = |frames| Pace {
        burst: 1,
        every: PACE,
        frames,
    };
    let mut words = polling::<u64>("latency/polling/u64", paced(40_000));
    words
        .contenders
        .push(Contender::new(Word::NAME, move |scale| {
            measure::<u64, Word>(scale, paced(40_000), poll)
        }));
    let mut cases = vec![
        words,
        polling::<EventFrame>("latency/polling/event", paced(40_000)),
        Case {
            name: "latency/blocking/event".into(),
            about: "age at reading, 100,000 frames/s, a subscriber that sleeps until there is one",
            contenders: vec![
                blocking::<EventBus>(paced(30_000)),
                blocking::<Tokio>(paced(30_000)),
                blocking::<AsyncBroadcast>(paced(30_000)),
                blocking::<Multiqueue>(paced(30_000)),
                blocking::<Crossbeam>(paced(30_000)),
                blocking::<Crossfire>(paced(30_000)),
                blocking::<Flume>(paced(30_000)),
                blocking::<Kanal>(paced(30_000)),
            ],
        },
        Case {
            name: "latency/async/event".into(),
            about: "age at reading, 100,000 frames/s, a subscriber awaited on tokio's runtime",
            contenders: vec![
                awaiting::<EventBus>(paced(30_000)),
                awaiting::<Tokio>(paced(30_000)),
                awaiting::<AsyncBroadcast>(paced(30_000)),
                awaiting::<CrossfireAsync>(paced(30_000)),
                awaiting::<Flume>(paced(30_000)),
                awaiting::<Kanal>(paced(30_000)),
            ],
        },
    ];
    for burst in [1, 10, 100] {
        let pace = Pace {
            burst,
            every: Duration::from_micros(100),
            frames: 2_000 * u64::from(burst),
        };
        let mut case = polling::<u64>(&format!("burst/{burst}/u64"), pace);
        case.about = "age at reading, a burst each 100 µs, a subscriber that polls";
        cases.push(case);
    }
    cases
}

fn polling<T: Carried>(name: &str, pace: Pace) -> Case {
    struct All {
        pace: Pace,
        contenders: Vec<Contender>,
    }
    impl<T: Payload> Visit<T> for All {
        fn visit<P: Peer<T>>(&mut self) {
            let pace = self.pace;
            self.contenders.push(Contender::peer::<T, P>(move |scale| {
                measure::<T, P>(scale, pace, poll)
            }));
        }
    }
    let mut all = All {
        pace,
        contenders: Vec::new(),
    };
    peers::each::<T>(&mut all);
    Case {
        name: name.into(),
        about: "age at reading, 100,000 frames/s, a subscriber that polls",
        contenders: all.contenders,
    }
}

/// No bus at all: a stamp that one thread stores and the other sees, in one cache line. No way
/// between two threads takes less, with the clock.
struct Word;

/// The contender that is no bus.
pub const WORD: &str = "a word, stored and seen";

/// The last stamp, and how many there were.
type Line = Arc<CachePadded<[AtomicU64; 2]>>;

impl Peer<u64> for Word {
    const NAME: &'static str = WORD;
    const CONTRACT: Contract = Contract::Overwrites;
    type Publisher = Line;
    type Subscriber = Seen;

    fn open(size: Size) -> Ends<Line, Seen> {
        let line = Line::default();
        let subscribers = (0..size.subscribers).map(|_| Seen(line.clone(), 0));
        let subscribers = subscribers.collect();
        (vec![line; size.publishers], subscribers)
    }
}

impl Publish<u64> for Line {
    #[inline]
    fn publish(&mut self, item: u64) {
        let [stamp, count] = &***self;
        stamp.store(item, Ordering::Relaxed);
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

/// The line, and how many stamps were seen.
struct Seen(Line, u64);

impl Read for Seen {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let [stamp, count] = &**self.0;
        let count = count.load(Ordering::Acquire);
        let new = count - self.1;
        self.1 = count;
        // Those that were missed are as old as the last one.
        (0..new).for_each(|_| visit(stamp.load(Ordering::Relaxed)));
        new as usize
    }
}

fn poll(end: &mut impl Read, ages: &mut Ages) {
    while ages.wanted() {
        let mut spins = 0;
        while end.read(|stamp| ages.read(stamp)) == 0 {
            spin(&mut spins);
        }
    }
}

/// Waits a moment. Where other programs want the processor it goes to them before the scheduler
/// takes it; where none does, nothing of this is reached before there is a frame.
fn spin(spins: &mut u32) {
    *spins += 1;
    match *spins % 10_000 {
        0 => thread::yield_now(),
        _ => spin_loop(),
    }
}

fn blocking<P: Peer<EventFrame, Subscriber: Wait>>(pace: Pace) -> Contender {
    Contender::peer::<EventFrame, P>(move |scale| {
        measure::<EventFrame, P>(scale, pace, |end, ages| {
            while ages.wanted() {
                ages.read(end.wait());
            }
        })
    })
}

fn awaiting<P: Peer<EventFrame, Subscriber: Await>>(pace: Pace) -> Contender {
    Contender::peer::<EventFrame, P>(move |scale| {
        measure::<EventFrame, P>(scale, pace, |end, ages| {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(async {
                while ages.wanted() {
                    ages.read(end.next().await);
                }
            });
        })
    })
}

/// The ages of the frames that were read.
struct Ages {
    begin: Instant,
    wanted: u64,
    ages: Histogram<u64>,
}

impl Ages {
    fn wanted(&self) -> bool {
        self.ages.len() < self.wanted
    }

    fn read(&mut self, stamp: u64) {
        let now = self.begin.elapsed().as_nanos() as u64;
        self.ages.record(now.saturating_sub(stamp)).unwrap();
    }
}

fn measure<T: Payload, P: Peer<T>>(
    scale: Scale,
    pace: Pace,
    subscribe: impl FnOnce(&mut P::Subscriber, &mut Ages) + Send,
) -> Vec<Figure> {
    let frames = scale.of(pace.frames);
    let line = line_transfer(scale);
    let (mut publishers, mut subscribers) = P::open(Size::new(1, 1));
    let (publisher, subscriber) = (&mut publishers[0], &mut subscribers[0]);
    let mut ages = Ages {
        begin: Instant::now(),
        wanted: frames,
        ages: Histogram::new(3).unwrap(),
    };
    let begin = ages.begin;
    let ready = Barrier::new(2);
    let mut late = 0;
    thread::scope(|scope| {
        let (ready, ages) = (&ready, &mut ages);
        scope.spawn(move || {
            ready.wait();
            subscribe(subscriber, ages);
        });
        ready.wait();
        let mut make = T::maker(0);
        let mut due = begin.elapsed() + pace.every;
        for frame in 0..frames {
            if frame % u64::from(pace.burst) == 0 {
                due += pace.every;
                late += u64::from(begin.elapsed() > due);
                while begin.elapsed() < due {
                    spin_loop();
                }
            }
            let now = begin.elapsed();
            publisher.publish(make(now.as_nanos() as u64));
        }
    });
    let nanos = |quantile| ages.ages.value_at_quantile(quantile) as f64;
    vec![
        (P50, nanos(0.5)),
        ("p99 ns", nanos(0.99)),
        ("p99.9 ns", nanos(0.999)),
        ("max ns", ages.ages.max() as f64),
        (
            "late %",
            late as f64 * 100.0 * f64::from(pace.burst) / frames as f64,
        ),
        (LINE, line),
        ("a look at the clock ns", clock()),
    ]
}

/// What one look at the clock takes: an age holds about one.
fn clock() -> f64 {
    const LOOKS: u32 = 10_000;
    let begin = Instant::now();
    for _ in 1..LOOKS {
        black_box(begin.elapsed());
    }
    begin.elapsed().as_nanos() as f64 / f64::from(LOOKS)
}

/// One way of a cache line between two threads: half of there and back, the median of stretches.
fn line_transfer(scale: Scale) -> f64 {
    const STRETCH: u64 = 500;
    let ball = CachePadded::new(AtomicU64::new(0));
    let stretches = scale.of(40);
    let last = 2 * stretches * STRETCH;
    let wait_for = |value| {
        let mut spins = 0;
        while ball.load(Ordering::Acquire) != value {
            spin(&mut spins);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for odd in (1..last).step_by(2) {
                wait_for(odd);
                ball.store(odd + 1, Ordering::Release);
            }
        });
        let mut even = 0;
        let mut stretch = || {
            let begin = Instant::now();
            for _ in 0..STRETCH {
                ball.store(even + 1, Ordering::Release);
                even += 2;
                wait_for(even);
            }
            begin.elapsed().as_nanos() as f64 / (2 * STRETCH) as f64
        };
        let times: Vec<_> = (0..stretches).map(|_| stretch()).collect();
        median(&times)
    })
}
