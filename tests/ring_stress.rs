//! Real threads on tiny rings: three publishers lap three readers, over and over. The order and the
//! counts are exact in every round.
//!
//! `FRAMEBUS_STRESS_ROUNDS` sets the number of rounds. The default is 24, which take a few seconds.

use framebus::ring::{
    Delivery, Geometry, Polled, Ring, RingConfig, Route, Select, Start, Subscription,
};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

const FRAMES: u64 = if cfg!(miri) { 100 } else { 4_000 };
/// In the upper bits of each frame, to recognise one.
const MARK: u64 = 0xabcd << 40;

/// Slots, chunk, slack, batch.
const SIZES: [(u64, u64, u64, u64); 6] = [
    (4, 2, 0, 1),
    (4, 1, 0, 1),
    (8, 2, 2, 1),
    (16, 4, 4, 2),
    (64, 8, 8, 4),
    (256, 16, 32, 16),
];

#[derive(Default)]
struct Tally {
    last: u64,
    given: u64,
    lost: u64,
}

impl Tally {
    fn take(&mut self, delivery: Delivery<'_, Box<u64>>) -> ControlFlow<()> {
        match delivery {
            Delivery::Frame(number, frame) => {
                assert!(number > self.last, "{number} came after {}", self.last);
                assert_eq!(**frame >> 40, MARK >> 40);
                self.last = number;
                self.given += 1;
            }
            Delivery::Gap(gap) => {
                assert_eq!(gap.first, self.last + 1);
                assert_eq!(gap.lost, gap.last - gap.first + 1);
                self.last = gap.last;
                self.lost += gap.lost;
            }
        }
        // Now and then a visitor ends its batch early.
        match self.given % 97 {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Reads until all publishers are done and nothing is left.
fn read(mut subscription: Subscription<Box<u64>>, by_batches: bool, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    loop {
        let was_over = over.load(Ordering::Acquire);
        let idle = by_batches && subscription.batch(|delivery| tally.take(delivery)) == 0;
        let caught_up = (idle || !by_batches)
            && subscription.poll(|delivery| tally.take(delivery)) == Polled::CaughtUp;
        if caught_up && was_over {
            return tally;
        }
    }
}

/// Publishes, and returns how many frames the ring accepted: readers may hold all of a tiny ring.
fn publish(ring: &Ring<Box<u64>>, thread: u64) -> u64 {
    let mut taken = 0;
    for n in 0..FRAMES {
        let shard = (thread + n / 5) as usize;
        let route = Route {
            shard,
            terminal: n % 13 == 0,
            tag: 0,
        };
        if n % 29 == 0 {
            let other = Route {
                terminal: !route.terminal,
                ..route
            };
            // A batch of three may find a void slot in its midst.
            let routes = [route, other, route];
            let some = &routes[..2 + (n % 2) as usize];
            let numbers = ring.publish_all_with(some.iter().copied(), |_| Box::new(MARK | n));
            taken += numbers.map_or(0, |numbers| numbers.end - numbers.start);
        } else {
            taken += u64::from(ring.publish(route, Box::new(MARK | n)).is_ok());
        }
    }
    taken
}

#[test]
fn tiny_rings_are_lapped_and_everything_is_given_or_reported() {
    let rounds = std::env::var("FRAMEBUS_STRESS_ROUNDS").ok();
    let rounds = rounds.map_or(24, |rounds| rounds.parse().expect("a number of rounds"));
    let (mut given, mut lost) = (0, 0);
    for round in 0..rounds {
        let (slots, chunk, slack, batch) = SIZES[round % SIZES.len()];
        let lane = Geometry::exact(slots, chunk, slack, batch);
        // A ring of one shard is index-numbered; others have a counter.
        let shards = [1, 2, 1, 4][round % 4];
        let ring = Ring::new(&RingConfig {
            shards,
            frames: lane,
            terminals: lane,
            ..RingConfig::default()
        });
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = [false, false, true]
                .map(|by_batches| {
                    let all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
                    let over = &over;
                    scope.spawn(move || read(all, by_batches, over))
                })
                .into();
            let publishers: Vec<_> = (0..3)
                .map(|thread| {
                    scope.spawn({
                        let ring = &ring;
                        move || publish(ring, thread)
                    })
                })
                .collect();
            let published: u64 = publishers.into_iter().map(|it| it.join().unwrap()).sum();
            over.store(true, Ordering::Release);
            for reader in readers {
                let tally = reader.join().unwrap();
                assert_eq!(
                    tally.given + tally.lost,
                    published,
                    "{:?}",
                    SIZES[round % SIZES.len()]
                );
                (given, lost) = (given + tally.given, lost + tally.lost);
            }
        });
    }
    println!("{given} frames given, {lost} reported as lost, in {rounds} rounds");
    assert!(given > 0 && lost > 0, "the readers were lapped, and read");
}

/// Subscriptions that are made, parked, cloned and dropped, beside publishers that wake them: rows
/// of pins and of waiters are taken, given back and freed all the time, while publishers walk over
/// them.
#[test]
fn readers_come_and_go_beside_publishers() {
    const COMINGS: u64 = if cfg!(miri) { 20 } else { 3_000 };
    for shards in [1, 2] {
        let lane = Geometry::exact(16, 4, 4, 2);
        let ring = Ring::<Box<u64>>::new(&RingConfig {
            shards,
            frames: lane,
            terminals: lane,
            ..RingConfig::default()
        });
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
            let (ring, over) = (&ring, &over);
            let reader = scope.spawn(move || read(all, false, over));
            let publishers = [0, 1].map(|key| {
                scope.spawn(move || {
                    let mut taken = 0;
                    while !over.load(Ordering::Acquire) {
                        let route = Route {
                            shard: taken as usize,
                            terminal: taken % 7 == 0,
                            tag: 0,
                        };
                        taken += u64::from(ring.publish(route, Box::new(MARK)).is_ok());
                        ring.wake(route, [key, 7]);
                    }
                    taken
                })
            });
            let comers = [0, 1, 2].map(|thread| {
                scope.spawn(move || {
                    for n in 0..COMINGS {
                        let select = match (n + thread) % 3 {
                            0 => Select::All,
                            1 => Select::Terminals,
                            _ => Select::Shard(n as usize),
                        };
                        let mut one = ring.subscribe(select, None, Start::Latest).unwrap();
                        let mut other = one.try_clone().unwrap();
                        for (key, subscription) in [(Some(n % 2), &mut one), (None, &mut other)] {
                            subscription.register_waker(key, Waker::noop()).unwrap();
                            subscription.poll(|delivery| {
                                if let Delivery::Frame(_, frame) = delivery {
                                    assert_eq!(**frame, MARK);
                                }
                                ControlFlow::Continue(())
                            });
                        }
                    }
                })
            });
            for comer in comers {
                comer.join().unwrap();
            }
            over.store(true, Ordering::Release);
            let published: u64 = publishers.map(|it| it.join().unwrap()).into_iter().sum();
            // The last ones may have come after the reader saw the end.
            let tally = reader.join().unwrap();
            assert!(tally.given + tally.lost <= published);
        });
        assert_eq!(ring.stats().parked, 0);
    }
}
