//! Real threads on tiny rings: three publishers lap three readers, over and over. The order and the
//! counts are exact in every round.
//!
//! `FRAMEBUS_STRESS_ROUNDS` sets the number of rounds. The default is 24, which take a few seconds.

use framebus::ring::{
    Delivery, Geometry, Polled, Retention, Ring, RingConfig, Route, Select, Start, Subscription,
    TagFilter,
};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
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

/// A frame that counts itself as long as it is there.
struct Counted<'a> {
    here: &'a AtomicI64,
    number: Box<u64>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *self.number = 0;
        let before = self.here.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0);
    }
}

/// Readers of everything and of some tags, some of which come and go, in a ring that frees what was
/// read. In a ring that holds all, nothing is left when all have read; in tiny ones, which are
/// lapped, no more than a lane may hold, and nothing when the ring is gone.
#[test]
fn frames_are_freed_when_they_are_read() {
    const COMINGS: u64 = if cfg!(miri) { 5 } else { 300 };
    let everything = FRAMES as usize * 4;
    let lanes =
        SIZES.map(|(slots, chunk, slack, batch)| Geometry::exact(slots, chunk, slack, batch));
    for (at, lane) in lanes
        .into_iter()
        .chain([Geometry::for_window(everything)])
        .enumerate()
    {
        let here = AtomicI64::new(0);
        let shards = [1, 2][at % 2];
        let ring = Ring::<Counted<'_>>::new(&RingConfig {
            shards,
            frames: lane,
            terminals: lane,
            retention: Retention::FreeWhenRead,
            ..RingConfig::default()
        });
        let over = AtomicBool::new(false);
        let filter = TagFilter {
            mask: 1,
            value: 1,
            classes: u128::MAX,
        };
        let mut idle = ring
            .subscribe(Select::All, Some(filter), Start::Latest)
            .unwrap();
        std::thread::scope(|scope| {
            let (ring, over, here) = (&ring, &over, &here);
            let readers = [None, None, Some(filter)].map(|filter| {
                let mut reader = ring.subscribe(Select::All, filter, Start::Latest).unwrap();
                scope.spawn(move || {
                    loop {
                        let was_over = over.load(Ordering::Acquire);
                        let mut last = 0;
                        let polled = reader.poll(|delivery| {
                            if let Delivery::Frame(number, frame) = delivery {
                                assert_eq!(*frame.number, number);
                                last = number;
                            }
                            ControlFlow::Continue(())
                        });
                        if was_over && polled == Polled::CaughtUp {
                            return (reader, last);
                        }
                    }
                })
            });
            let publishers = [0, 1].map(|tag| {
                scope.spawn(move || {
                    for n in 0..FRAMES {
                        let route = Route {
                            shard: n as usize,
                            terminal: n % 7 == 0,
                            tag: (n as u32 & 2) + tag,
                        };
                        let count = |number| {
                            here.fetch_add(1, Ordering::Relaxed);
                            Counted {
                                here,
                                number: Box::new(number),
                            }
                        };
                        // Refused if readers hold all of a tiny ring.
                        let _ = ring.publish_with(route, count);
                    }
                })
            });
            for n in 0..COMINGS {
                let start = [Start::Oldest, Start::Latest, Start::After(n)][n as usize % 3];
                let select = [Select::All, Select::Shard(1), Select::Terminals][n as usize % 3];
                let Ok(mut reader) = ring.subscribe(select, None, start) else {
                    continue;
                };
                let mut clone = reader.try_clone().unwrap();
                for reader in [&mut reader, &mut clone] {
                    reader.batch(|delivery| {
                        if let Delivery::Frame(number, frame) = delivery {
                            assert_eq!(*frame.number, number);
                        }
                        ControlFlow::Continue(())
                    });
                }
            }
            for publisher in publishers {
                publisher.join().unwrap();
            }
            over.store(true, Ordering::Release);
            let readers = readers.map(|reader| reader.join().unwrap().0);
            while idle.poll(|_| ControlFlow::Continue(())) != Polled::CaughtUp {}
            let left = here.load(Ordering::Relaxed);
            if lane.window() > everything {
                assert_eq!(left, 0);
            }
            assert!(left <= (2 * shards * lane.slots()) as i64);
            drop(readers);
        });
        drop((ring, idle));
        assert_eq!(here.load(Ordering::Relaxed), 0);
    }
}
