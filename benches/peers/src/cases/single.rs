//! What a frame costs on one thread: to publish, to drain, and both in turn.

use crate::case::{Case, Contender, Figure, Scale, ns_per_frame};
use crate::payload::{Event300, Payload};
use crate::peer::{CAPACITY, Contract, Peer, Publish, Read, Size};
use crate::peers::{self, Carried, Shards, Visit, replaced};
use crate::record::BATCHES;
use crate::stopwatch::Stopwatch;
use framebus::EventFrame;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Payloads published in a row.
const BURST: usize = 256;
/// Payloads in a published batch.
pub const BATCH: usize = 64;
/// Payloads in a backlog.
const BACKLOG: usize = 50_000;

/// All of these, for each payload.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(cases_with::<u64>("u64"));
    cases.extend(cases_with::<Arc<Event300>>("arc"));
    cases.extend(cases_with::<EventFrame>("event"));
    // Several shards, a word to each in turn; the bus that this one replaces, which only keeps.
    for case in &mut cases {
        type Make = fn() -> Contender;
        let of: &[Make] = match case.name.as_str() {
            "publish/u64" => &[publish::<u64, Shards<16>>, publish::<u64, Shards<64>>],
            "drain/u64" => &[drain::<u64, Shards<16>>, drain::<u64, Shards<64>>],
            "round-trip/u64" => &[
                round_trip::<u64, Shards<16>>,
                round_trip::<u64, Shards<16, 64>>,
                round_trip::<u64, Shards<64>>,
            ],
            "publish/event" => &[publish_to_replaced],
            _ => continue,
        };
        for (at, make) in of.iter().enumerate() {
            case.contenders.insert(1 + at, make());
        }
    }
    cases
}

fn cases_with<T: Carried>(payload: &str) -> [Case; 3] {
    struct All {
        publish: Vec<Contender>,
        drain: Vec<Contender>,
        round_trip: Vec<Contender>,
    }
    impl<T: Payload> Visit<T> for All {
        fn visit<P: Peer<T>>(&mut self) {
            // The others could not go on past a subscriber that reads nothing.
            if P::CONTRACT == Contract::Overwrites {
                self.publish.push(publish::<T, P>());
            }
            self.drain.push(drain::<T, P>());
            self.round_trip.push(round_trip::<T, P>());
            if P::BATCHES {
                self.round_trip.push(round_trip_in_batches::<T, P>());
            }
        }
    }
    let mut all = All {
        publish: Vec::new(),
        drain: Vec::new(),
        round_trip: Vec::new(),
    };
    peers::each::<T>(&mut all);
    [
        Case {
            name: format!("publish/{payload}"),
            about: "publish; a subscriber is there and reads nothing",
            contenders: all.publish,
        },
        Case {
            name: format!("drain/{payload}"),
            about: "drain a backlog of 50,000",
            contenders: all.drain,
        },
        Case {
            name: format!("round-trip/{payload}"),
            about: "publish 256, drain 256",
            contenders: all.round_trip,
        },
    ]
}

/// Bursts in a stretch: every slot is used once.
const STRETCH: usize = CAPACITY / BURST;

/// Stretches in a run.
const STRETCHES: u64 = 20;

/// Times `act` on bursts and returns the median of the stretches. Making payloads is not timed
/// where it costs something.
fn timed<T: Payload>(scale: Scale, mut act: impl FnMut(&mut Vec<T>)) -> Vec<Figure> {
    let mut make = T::maker(0);
    let mut items = Vec::with_capacity(BURST);
    let mut stretch = || {
        let mut spent = Duration::ZERO;
        let begin = Stopwatch::start();
        for _ in 0..STRETCH {
            items.extend((0..BURST as u64).map(&mut make));
            if T::CHEAP {
                act(black_box(&mut items));
            } else {
                let begin = Stopwatch::start();
                act(black_box(&mut items));
                spent += begin.elapsed();
            }
        }
        if T::CHEAP { begin.elapsed() } else { spent }
    };
    // The first one uses every slot.
    for _ in 0..scale.warm_up(1) {
        stretch();
    }
    ns_per_frame((0..scale.of(STRETCHES)).map(|_| stretch()), CAPACITY)
}

fn publish<T: Payload, P: Peer<T>>() -> Contender {
    Contender::peer::<T, P>(|scale| {
        let (mut publishers, idle) = P::open(Size::new(1, 1));
        let publisher = &mut publishers[0];
        let act = |items: &mut Vec<T>| items.drain(..).for_each(|item| publisher.publish(item));
        let figures = timed(scale, act);
        drop(idle);
        figures
    })
}

/// It holds all that it ever got, so that each stretch begins with a new one.
fn publish_to_replaced() -> Contender {
    Contender::new(replaced::NAME, |scale| {
        let stretch = |_| {
            let bus = replaced::Bus::default();
            let events: Vec<_> = (0..CAPACITY).map(replaced::token).collect();
            let begin = Stopwatch::start();
            events
                .into_iter()
                .for_each(|event| bus.publish(event).unwrap());
            begin.elapsed()
        };
        ns_per_frame((0..scale.of(4)).map(stretch), CAPACITY)
    })
}

fn drain<T: Payload, P: Peer<T>>() -> Contender {
    Contender::peer::<T, P>(|scale| {
        let (mut publishers, mut subscribers) = P::open(Size::new(1, 1));
        let (publisher, subscriber) = (&mut publishers[0], &mut subscribers[0]);
        let mut make = T::maker(0);
        let mut drain = || {
            (0..BACKLOG as u64).for_each(|word| publisher.publish(make(word)));
            let begin = Stopwatch::start();
            let drained = tally(subscriber);
            let spent = begin.elapsed();
            assert_eq!(drained, (BACKLOG, sum_below(BACKLOG)));
            spent
        };
        // The first ones use every slot.
        for _ in 0..scale.warm_up(CAPACITY.div_ceil(BACKLOG)) {
            drain();
        }
        ns_per_frame((0..scale.of(STRETCHES)).map(|_| drain()), BACKLOG)
    })
}

fn round_trip<T: Payload, P: Peer<T>>() -> Contender {
    Contender::peer::<T, P>(|scale| {
        round_trips::<T, P>(scale, |publisher, items| {
            items.drain(..).for_each(|item| publisher.publish(item));
        })
    })
}

fn round_trip_in_batches<T: Payload, P: Peer<T>>() -> Contender {
    let run = |scale| {
        round_trips::<T, P>(scale, |publisher, items| {
            while !items.is_empty() {
                // From the end, so that nothing has to move up.
                publisher.publish_batch(items.drain(items.len() - BATCH..));
            }
        })
    };
    Contender::peer::<T, P>(run).named(BATCHES)
}

fn round_trips<T: Payload, P: Peer<T>>(
    scale: Scale,
    mut publish: impl FnMut(&mut P::Publisher, &mut Vec<T>),
) -> Vec<Figure> {
    let (mut publishers, mut subscribers) = P::open(Size::new(1, 1));
    let (publisher, subscriber) = (&mut publishers[0], &mut subscribers[0]);
    timed(scale, |items| {
        publish(publisher, items);
        assert_eq!(tally(subscriber), (BURST, sum_below(BURST)));
    })
}

/// Reads until nothing is there: how many, and their sum. Each word is looked at by itself: what a
/// reader does with a frame is no sum of eight at once.
fn tally(subscriber: &mut impl Read) -> (usize, u64) {
    let (mut count, mut sum) = (0, 0u64);
    loop {
        match subscriber.read(|word| sum += black_box(word)) {
            0 => return (count, sum),
            more => count += more,
        }
    }
}

fn sum_below(count: usize) -> u64 {
    (count * (count - 1) / 2) as u64
}
