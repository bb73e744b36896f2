//! The ways in which a user reads, each a figure.

use super::load::{Load, Shared};
use crate::case::{Contender, Figure, Scale, ns_per_frame};
use crate::payload::Payload;
use crate::peer::{Await, Contract, Peer, Publish, Read, Size, Wait};
use crate::peers::event_bus::{self, Opened};
use crate::peers::{Crossbeam, Tokio};
use crate::stopwatch::Stopwatch;
use framebus::EventFrame;
use std::hint::black_box;
use std::time::Duration;

/// Make and publish; a subscriber is there and reads nothing.
pub const MADE: &str = "make, publish: ns";
/// Make and publish a burst, then read it singly without waiting: `next`, `try_recv`, or what a
/// list copies out.
pub const NEXT: &str = "and next: ns";
/// The same, read borrowed.
pub const BATCH: &str = "and read_batch: ns";
/// The same, by the call that blocks a thread.
const RECV: &str = "and recv: ns";
/// The same, by the call that a task on tokio awaits.
pub const RECV_ASYNC: &str = "and recv_async: ns";
/// The same, as a stream that a task on tokio reads.
pub const STREAM: &str = "and into_stream: ns";
/// Look for a frame when there is none.
pub const EMPTY: &str = "empty next: ns";

/// All of these, in the order of the tables.
pub const WAYS: [&str; 7] = [MADE, NEXT, BATCH, RECV, RECV_ASYNC, STREAM, EMPTY];

/// Looks for a frame in a row.
const LOOKS: usize = 4_096;
/// Events in a burst; those that a default subscription's queue takes.
const BURST: usize = 256;
const QUEUED: usize = 48;
/// Bursts in a stretch.
const STRETCH: usize = 64;
/// Stretches of which the median is taken; of fresh rings.
const STRETCHES: u64 = 9;
const FRESH: u64 = 3;
/// Lines of memory that another program touches: twice the second cache of most processors.
const PRESSURE: usize = 2 << 20 >> 6;

/// A peer with one publisher and one subscriber, under a load.
struct Bench<T: Payload, P: Peer<T>, M> {
    load: Load,
    scale: Scale,
    /// Bursts in a stretch: of fresh rings so few that all three figures together don't fill them.
    bursts: usize,
    publisher: P::Publisher,
    subscriber: P::Subscriber,
    make: M,
    others: Vec<[u64; 8]>,
}

/// Opens a peer of this capacity.
fn open<T, P>(
    load: Load,
    capacity: usize,
    scale: Scale,
) -> Bench<T, P, impl FnMut(u64) -> T + use<T, P>>
where
    T: Payload + From<EventFrame>,
    P: Peer<T>,
{
    let (mut publishers, mut subscribers) = P::open(Size::new(1, 1).holding(capacity));
    let mut make = load.maker();
    Bench {
        load,
        scale,
        bursts: match load.lapped {
            true => STRETCH,
            false => capacity / BURST / (4 * FRESH as usize),
        },
        publisher: publishers.remove(0),
        subscriber: subscribers.remove(0),
        make: move |word| T::from(make(word)),
        others: vec![[1; 8]; PRESSURE],
    }
}

impl<T: Payload, P: Peer<T>, M: FnMut(u64) -> T> Bench<T, P, M> {
    /// Publishes until every ring was lapped twice, where the load asks for it.
    fn lap(&mut self, lapped: impl Fn(&P::Publisher, usize) -> bool) {
        const STEP: usize = 16_384;
        // Far more than the largest bus needs.
        let steps = self.scale.warm_up(4_096);
        for step in 1..=steps {
            if !self.load.lapped || lapped(&self.publisher, (step - 1) * STEP) {
                break;
            }
            (0..STEP as u64).for_each(|word| self.publisher.publish((self.make)(word)));
        }
    }

    /// Reads all that is there, and what was lost before it.
    fn catch_up(&mut self) {
        // A read that reports a loss may give nothing else.
        for _ in 0..2 {
            while self.subscriber.read(|_| ()) > 0 {}
        }
    }

    /// Events in a burst.
    fn burst(&self) -> usize {
        if self.load.queue { QUEUED } else { BURST }
    }

    /// Publishes and reads `frames` frames, where the load asks for laps. A peer that frees what
    /// was read is measured before anything is left unread: what it frees then lies scattered in
    /// the heap, and later events are made of it.
    fn settle(&mut self, frames: usize) {
        if self.load.lapped {
            for _ in 0..self.scale.warm_up(frames / self.burst()) {
                self.publish();
                self.catch_up();
            }
        }
    }

    /// The processor time of a frame: `act` is timed, which handles `count` of them.
    fn time(&mut self, count: usize, mut act: impl FnMut(&mut Self)) -> f64 {
        let stretches = match self.load.lapped {
            true => self.scale.of(STRETCHES),
            false => FRESH,
        };
        let bursts = self.bursts;
        let mut stretch = || {
            let (begin, mut by_others) = (Stopwatch::start(), Duration::ZERO);
            for _ in 0..bursts {
                if self.load.pressure {
                    let begin = Stopwatch::start();
                    let lines = self.others.iter_mut();
                    lines.for_each(|line| line[0] = black_box(line[0] + 1));
                    by_others += begin.elapsed();
                }
                act(self);
            }
            begin.elapsed() - by_others
        };
        ns_per_frame((0..stretches).map(|_| stretch()), bursts * count)[0].1
    }

    /// Publishes a burst.
    fn publish(&mut self) {
        let words = 0..self.burst() as u64;
        words.for_each(|word| self.publisher.publish((self.make)(word)));
    }

    fn publish_only(&mut self) -> Figure {
        (MADE, self.time(self.burst(), Self::publish))
    }

    /// Publishes a burst and reads it: `read` takes the count of frames and returns the sum of
    /// their words.
    fn both(
        &mut self,
        figure: &'static str,
        mut read: impl FnMut(&mut P::Subscriber, usize) -> u64,
    ) -> Figure {
        let burst = self.burst();
        let sum = (burst * (burst - 1) / 2) as u64;
        let ns = self.time(burst, |bench| {
            bench.publish();
            assert_eq!(read(&mut bench.subscriber, burst), sum, "{figure}");
        });
        (figure, ns)
    }

    fn both_by_reading(&mut self, figure: &'static str) -> Figure {
        self.both(figure, |subscriber, _| {
            let mut sum = 0;
            while subscriber.read(|word| sum += black_box(word)) > 0 {}
            sum
        })
    }

    fn both_by_waiting(&mut self) -> Figure
    where
        P::Subscriber: Wait,
    {
        self.both(RECV, |subscriber, count| {
            (0..count).map(|_| black_box(subscriber.wait())).sum()
        })
    }

    fn both_by_awaiting(&mut self) -> Figure
    where
        P::Subscriber: Await,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        self.both(RECV_ASYNC, |subscriber, count| {
            runtime.block_on(async {
                let mut sum = 0;
                for _ in 0..count {
                    sum += black_box(subscriber.next().await);
                }
                sum
            })
        })
    }

    /// Looks, and finds nothing: `look` returns how many frames there were.
    fn empty(&mut self, mut look: impl FnMut(&mut P::Subscriber) -> usize) -> Figure {
        let ns = self.time(LOOKS, |bench| {
            for _ in 0..LOOKS {
                assert_eq!(look(black_box(&mut bench.subscriber)), 0);
            }
        });
        (EMPTY, ns)
    }
}

/// The bus as a user opens it.
pub fn of_bus<O: Opened>(load: Load) -> Contender {
    let capacity = O::capacity();
    Contender::peer::<EventFrame, O>(move |scale| {
        let mut bench = open::<EventFrame, O>(load, capacity, scale);
        if load.queue {
            bench.subscriber = event_bus::queued(&bench.publisher);
        }
        bench.lap(|bus, _| event_bus::is_lapped(bus));
        let mut figures = vec![bench.publish_only()];
        bench.catch_up();
        figures.push(bench.both(NEXT, |subscriber, _| {
            subscriber.by_next().map(black_box).sum()
        }));
        figures.push(bench.both_by_reading(BATCH));
        if !load.lapped {
            return figures;
        }
        figures.extend([bench.both_by_waiting(), bench.both_by_awaiting()]);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        figures.push(bench.both(STREAM, |subscriber, count| {
            runtime.block_on(subscriber.by_stream(count))
        }));
        figures.push(bench.empty(|subscriber| subscriber.by_next().count()));
        figures
    })
}

/// Whether the published frames went twice round a list of this capacity.
fn went_round<P>(capacity: usize) -> impl Fn(&P, usize) -> bool {
    move |_, published| published >= 2 * capacity
}

/// tokio's channel of this capacity.
pub fn of_tokio(load: Load, capacity: usize) -> Contender {
    Contender::peer::<Shared, Tokio>(move |scale| {
        let mut bench = open::<Shared, Tokio>(load, capacity, scale);
        bench.settle(2 * capacity);
        let mut figures = vec![bench.both_by_reading(NEXT)];
        if load.lapped {
            figures.extend([
                bench.both_by_waiting(),
                bench.both_by_awaiting(),
                bench.empty(|subscriber| subscriber.read(|_| ())),
            ]);
        }
        bench.lap(went_round(capacity));
        figures.insert(0, bench.publish_only());
        figures
    })
}

/// A peer of this capacity, without waiting, and which of the ways it reads in. One that does not
/// overwrite is read throughout.
pub fn of_peer<T, P>(load: Load, capacity: usize, way: &'static str) -> Contender
where
    T: Payload + From<EventFrame>,
    P: Peer<T>,
{
    Contender::peer::<T, P>(move |scale| {
        let mut bench = open::<T, P>(load, capacity, scale);
        bench.settle(2 * capacity);
        let mut figures = vec![
            bench.both_by_reading(way),
            bench.empty(|subscriber| subscriber.read(|_| ())),
        ];
        if P::CONTRACT == Contract::Overwrites {
            bench.lap(went_round(capacity));
            figures.insert(0, bench.publish_only());
        }
        figures
    })
}

/// crossbeam's channel of this capacity. It refuses when it is full, so that it is read throughout.
pub fn of_crossbeam(load: Load, capacity: usize) -> Contender {
    Contender::peer::<Shared, Crossbeam>(move |scale| {
        let mut bench = open::<Shared, Crossbeam>(load, capacity, scale);
        bench.settle(2 * capacity);
        vec![
            bench.both_by_reading(NEXT),
            bench.both_by_waiting(),
            bench.empty(|subscriber| subscriber.read(|_| ())),
        ]
    })
}
