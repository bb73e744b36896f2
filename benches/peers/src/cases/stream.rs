//! Streams between threads: some publishers to some subscribers, nothing lost.
//!
//! Publishers are held back by how far the subscribers have read, all peers in the same way, so
//! that no peer overwrites or refuses: at most [`Stream::in_flight`] payloads are on their way.
//! Each thread that has nothing to do spins a little, then yields. Every subscriber's count and sum
//! are checked.

use super::single::BATCH;
use crate::case::{Case, Contender, Figure, MILLIONS, PUBLISH_NS, Scale};
use crate::payload::{Event300, Payload};
use crate::peer::{CAPACITY, Peer, Publish, Read, Size};
use crate::peers::{self, Carried, Shards, Visit};
use crate::record::BATCHES;
use crossbeam_utils::{Backoff, CachePadded};
use framebus::EventFrame;
use hdrhistogram::Histogram;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// Payloads published between two looks at the subscribers.
const STRETCH: u64 = 256;

/// All streams of all payloads, and the cost of more subscribers.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (publishers, subscribers) in [(1, 1), (1, 4), (2, 1), (2, 2)] {
        let mut words = case::<u64>("u64", publishers, subscribers);
        let sharded = of::<u64, Shards<16, 64>>(publishers, subscribers, 1);
        words.contenders.insert(1, sharded);
        cases.push(words);
        cases.push(case::<Arc<Event300>>("arc", publishers, subscribers));
        cases.push(case::<EventFrame>("event", publishers, subscribers));
    }
    cases.push(Case {
        name: "fan-out/u64".into(),
        about: "what publishing costs with 1, 2 and 4 subscribers",
        contenders: [1, 2, 4].into_iter().map(publish_to).collect(),
    });
    cases
}

fn publish_to(subscribers: usize) -> Contender {
    let run = move |scale| {
        let mut figures = stream::<u64, <u64 as Carried>::Framebus, _>(
            scale,
            Stream::new(1, subscribers, 1),
            u64::maker,
        );
        // What the case is about comes first.
        figures.reverse();
        figures
    };
    Contender::new(format!("framebus, 1 to {subscribers}"), run)
}

fn of<T: Payload, P: Peer<T>>(publishers: usize, subscribers: usize, batch: usize) -> Contender {
    Contender::peer::<T, P>(move |scale| {
        stream::<T, P, _>(scale, Stream::new(publishers, subscribers, batch), T::maker)
    })
}

fn case<T: Carried>(payload: &str, publishers: usize, subscribers: usize) -> Case {
    struct All {
        publishers: usize,
        subscribers: usize,
        contenders: Vec<Contender>,
    }
    impl<T: Payload> Visit<T> for All {
        fn visit<P: Peer<T>>(&mut self) {
            let (publishers, subscribers) = (self.publishers, self.subscribers);
            if publishers > 1 && !P::MANY_PUBLISHERS {
                return;
            }
            self.contenders.push(of::<T, P>(publishers, subscribers, 1));
            if P::BATCHES {
                let batches = of::<T, P>(publishers, subscribers, BATCH);
                self.contenders.push(batches.named(BATCHES));
            }
        }
    }
    let mut all = All {
        publishers,
        subscribers,
        contenders: Vec::new(),
    };
    peers::each::<T>(&mut all);
    Case {
        name: format!("stream/{publishers}-to-{subscribers}/{payload}"),
        about: "frames delivered in a second, to all subscribers together; nothing lost",
        contenders: all.contenders,
    }
}

/// What publishers and subscribers know of each other. Each counter has one writer.
struct Course {
    in_flight: u64,
    begin: Barrier,
    time: Duration,
    sent: Vec<CachePadded<AtomicU64>>,
    read: Vec<CachePadded<AtomicU64>>,
    /// Whether every publisher has stopped.
    over: AtomicBool,
}

impl Course {
    fn sent(&self) -> u64 {
        // Relaxed: a throttle; an old value only makes it wait or overshoot by a stretch.
        let counts = self.sent.iter().map(|count| count.load(Ordering::Relaxed));
        counts.sum()
    }

    /// Waits until there is room for a stretch of each publisher.
    fn wait_for_room(&self) {
        let most = self.in_flight - STRETCH * self.sent.len() as u64;
        let backoff = Backoff::new();
        loop {
            let read = self.read.iter().map(|count| count.load(Ordering::Relaxed));
            if self.sent() <= read.min().unwrap_or(0) + most {
                return;
            }
            backoff.snooze();
        }
    }
}

/// How a stream is set up.
#[derive(Clone, Copy)]
pub struct Stream {
    /// Publishers, subscribers, and what the peer holds.
    pub size: Size,
    /// Payloads published at once.
    pub batch: usize,
    /// How far publishers are ahead of the slowest subscriber at most.
    pub in_flight: usize,
    /// How long the publishers publish.
    pub time: Duration,
}

impl Stream {
    /// For 150 ms, with a peer of the usual capacity.
    pub fn new(publishers: usize, subscribers: usize, batch: usize) -> Self {
        Stream {
            size: Size::new(publishers, subscribers),
            batch,
            in_flight: CAPACITY / 2,
            time: Duration::from_millis(150),
        }
    }
}

/// Streams what each publisher's maker makes from all publishers to all subscribers.
pub fn stream<T: Payload, P: Peer<T>, M: FnMut(u64) -> T + Send>(
    scale: Scale,
    setup: Stream,
    maker: impl Fn(usize) -> M,
) -> Vec<Figure> {
    let Stream {
        size,
        batch,
        in_flight,
        time,
    } = setup;
    let (senders, receivers) = P::open(size);
    let counters = |n| (0..n).map(|_| CachePadded::default()).collect();
    let course = &Course {
        begin: Barrier::new(size.publishers + size.subscribers),
        in_flight: in_flight as u64,
        time: Duration::from_micros(scale.of(time.as_micros() as u64)),
        sent: counters(size.publishers),
        read: counters(size.subscribers),
        over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let readers: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(at, receiver)| scope.spawn(move || subscribe(course, at, receiver)))
            .collect();
        let writers: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(at, sender)| {
                let make = maker(at);
                scope.spawn(move || publish(course, at, sender, batch, make))
            })
            .collect();
        let mut begin = None;
        let mut costs = Histogram::<u64>::new(3).unwrap();
        let mut sum = 0u64;
        // Publishing ends live until everything is read: for some, dropping one closes it.
        let mut ends = Vec::new();
        for writer in writers {
            let written = writer.join().unwrap();
            costs.add(written.stretches).unwrap();
            begin = begin.into_iter().chain([written.begin]).min();
            ends.push(written.end);
        }
        course.over.store(true, Ordering::Release);
        for sent in &course.sent {
            let sent = sent.load(Ordering::Relaxed);
            sum = sum.wrapping_add(sent.wrapping_mul(sent.wrapping_sub(1)) / 2);
        }
        let mut end = begin;
        for reader in readers {
            let got = reader.join().unwrap();
            let expected = (course.sent(), sum, 0);
            assert_eq!((got.count, got.sum, got.lost), expected, "{}", P::NAME);
            end = end.max(Some(got.end));
        }
        let took = end
            .zip(begin)
            .map_or(0.0, |(end, begin)| (end - begin).as_secs_f64());
        let delivered = (course.sent() * size.subscribers as u64) as f64;
        vec![
            (MILLIONS, delivered / took / 1e6),
            (
                PUBLISH_NS,
                costs.value_at_quantile(0.5) as f64 / STRETCH as f64,
            ),
        ]
    })
}

/// What a publisher did.
struct Written<P> {
    begin: Instant,
    /// The time that each stretch took.
    stretches: Histogram<u64>,
    end: P,
}

/// What a subscriber got.
struct Got {
    count: u64,
    sum: u64,
    lost: u64,
    end: Instant,
}

fn publish<T, P: Publish<T>>(
    course: &Course,
    at: usize,
    mut end: P,
    batch: usize,
    mut make: impl FnMut(u64) -> T,
) -> Written<P> {
    let mut stretches = Histogram::new(3).unwrap();
    let mut sent = 0;
    course.begin.wait();
    let begin = Instant::now();
    while begin.elapsed() < course.time {
        course.wait_for_room();
        let started = Instant::now();
        let words = sent..sent + STRETCH;
        if batch == 1 {
            words.for_each(|word| end.publish(make(word)));
        } else {
            for first in words.step_by(batch) {
                let items = (0..batch).map(|offset| make(first + offset as u64));
                end.publish_batch(items);
            }
        }
        stretches
            .record(started.elapsed().as_nanos() as u64)
            .unwrap();
        sent += STRETCH;
        // Relaxed: see `Course::sent`; the thread that needs the last value joins this one first.
        course.sent[at].store(sent, Ordering::Relaxed);
    }
    Written {
        begin,
        stretches,
        end,
    }
}

/// Reads until all is there.
fn subscribe(course: &Course, at: usize, mut end: impl Read) -> Got {
    let (mut read, mut sum, mut reported) = (0u64, 0u64, 0);
    let backoff = Backoff::new();
    course.begin.wait();
    loop {
        let count = end.read(|word| sum = sum.wrapping_add(black_box(word))) as u64;
        read += count;
        if count > 0 {
            backoff.reset();
        }
        // Seldom, so that the publishers' line is not taken away for each read.
        if count == 0 || read - reported >= 4 * STRETCH {
            reported = read;
            course.read[at].store(read, Ordering::Relaxed);
        }
        if count == 0 {
            // Acquire: with it come the publishers' last counts.
            if course.over.load(Ordering::Acquire) && read + end.lost() >= course.sent() {
                return Got {
                    count: read,
                    sum,
                    lost: end.lost(),
                    end: Instant::now(),
                };
            }
            backoff.snooze();
        }
    }
}
