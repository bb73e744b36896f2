//! Random schedules, on sizes that loom can't reach. shuttle runs the ring's threads one at a time
//! and switches where its probabilistic scheduler says (PCT: Burckhardt and others, 2010), as if
//! all accesses were sequentially consistent. It shows nothing about weak orderings; loom does.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p loom-tests --release --test random`;
//! `SHUTTLE_SCHEDULES` says how many schedules each test draws, 300 by default. A failure prints
//! the schedule, which `shuttle::replay` repeats.
#![cfg(shuttle)]

use framebus::ring::{
    CLASS_BITS, Delivery, Geometry, Polled, Retention, Ring, RingConfig, Route, Select, Start,
    Subscription, TagFilter,
};
use shuttle::thread;
use std::ops::ControlFlow;
use std::sync::Arc;

const PUBLISHERS: u64 = 4;
const FRAMES: u64 = 40;

fn schedules() -> usize {
    let chosen = std::env::var("SHUTTLE_SCHEDULES").ok();
    chosen.map_or(300, |it| it.parse().expect("a number of schedules"))
}

fn ring(shards: usize, slots: u64, chunk: u64, slack: u64, batch: u64) -> Ring<Box<u64>> {
    let lane = Geometry::exact(slots, chunk, slack, batch);
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    })
}

/// Publishes a thread's frames, now and then in batches. Returns how many the ring accepted, and
/// how many of those have tag 1.
fn publish(ring: &Ring<Box<u64>>, thread: u64) -> (u64, u64) {
    let (mut taken, mut tagged) = (0, 0);
    for n in 0..FRAMES {
        let tag = n % 2;
        let route = Route {
            shard: (thread + n / 3) as usize,
            terminal: n % 5 == 0,
            tag: (tag as u32) << CLASS_BITS,
        };
        if n % 7 == 0 {
            let other = Route {
                tag: (1 - tag as u32) << CLASS_BITS,
                ..route
            };
            if ring
                .publish_all_with([route, other], |_| Box::new(n))
                .is_ok()
            {
                (taken, tagged) = (taken + 2, tagged + 1);
            }
        } else if ring.publish(route, Box::new(n)).is_ok() {
            (taken, tagged) = (taken + 1, tagged + tag);
        }
    }
    (taken, tagged)
}

#[derive(Default, Debug)]
struct Tally {
    last: u64,
    given: u64,
    lost: u64,
}

impl Tally {
    fn take(&mut self, delivery: Delivery<'_, Box<u64>>) -> ControlFlow<()> {
        match delivery {
            Delivery::Frame(number, value) => {
                assert!(number > self.last, "{number} after {}", self.last);
                assert!(**value < FRAMES);
                self.last = number;
                self.given += 1;
            }
            Delivery::Gap(gap) => {
                assert!(gap.first == self.last + 1 && gap.lost > 0, "{gap:?}");
                self.last = gap.last;
                self.lost += gap.lost;
            }
        }
        ControlFlow::Continue(())
    }

    /// All numbers up to the position were given, reported as lost, or are none of the reader's.
    /// The next one is above it.
    fn stand_at(&mut self, position: u64) {
        assert!(position >= self.last, "{position} below {self:?}");
        self.last = position;
    }
}

/// A thread that polls and reads batches by turns, `times` times in all.
fn read(
    mut subscription: Subscription<Box<u64>>,
    times: usize,
) -> thread::JoinHandle<(Subscription<Box<u64>>, Tally)> {
    thread::spawn(move || {
        let mut tally = Tally::default();
        for time in 0..times {
            if time % 2 == 0 {
                subscription.poll(|delivery| tally.take(delivery));
            } else {
                subscription.batch(|delivery| tally.take(delivery));
            }
            tally.stand_at(subscription.position());
            thread::yield_now();
        }
        (subscription, tally)
    })
}

/// Reads what is left when all threads are done.
fn rest((mut subscription, mut tally): (Subscription<Box<u64>>, Tally)) -> Tally {
    while subscription.poll(|delivery| tally.take(delivery)) != Polled::CaughtUp {
        tally.stand_at(subscription.position());
    }
    tally
}

/// Four publishers, a reader of everything and one with a filter: the order holds and the counts
/// add up.
fn run(shards: usize, slots: u64, chunk: u64, slack: u64, batch: u64) {
    let ring = ring(shards, slots, chunk, slack, batch);
    let all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let filter = TagFilter {
        mask: 1 << CLASS_BITS,
        value: 1 << CLASS_BITS,
        classes: !0,
    };
    let some = ring
        .subscribe(Select::All, Some(filter), Start::Oldest)
        .unwrap();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|thread| {
            let ring = ring.clone();
            thread::spawn(move || publish(&ring, thread))
        })
        .collect();
    let readers = (read(all, 30), read(some, 30));
    let (mut taken, mut tagged) = (0, 0);
    for publisher in publishers {
        let (one, of_it) = publisher.join().unwrap();
        (taken, tagged) = (taken + one, tagged + of_it);
    }
    let all = rest(readers.0.join().unwrap());
    assert_eq!(all.given + all.lost, taken, "{all:?}");
    let some = rest(readers.1.join().unwrap());
    assert!(some.given + some.lost >= tagged, "{some:?} of {tagged}");
    assert_eq!(ring.next_sequence(), taken + 1);
}

#[test]
fn tiny_lanes_lapped() {
    shuttle::check_pct(|| run(1, 4, 2, 0, 1), schedules(), 3);
}

#[test]
fn chunks_and_slack() {
    shuttle::check_pct(|| run(1, 16, 4, 4, 2), schedules(), 4);
}

#[test]
fn shards_merged() {
    shuttle::check_pct(|| run(2, 8, 2, 2, 2), schedules(), 4);
}

#[test]
fn switched_anywhere() {
    shuttle::check_random(|| run(2, 8, 2, 2, 2), schedules());
}

#[test]
fn nothing_lost_where_all_fits() {
    shuttle::check_pct(
        || {
            let ring = ring(2, 256, 16, 32, 16);
            let all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
            let publishers: Vec<_> = (0..PUBLISHERS)
                .map(|thread| {
                    let ring = ring.clone();
                    thread::spawn(move || publish(&ring, thread).0)
                })
                .collect();
            let reader = read(all, 20);
            let taken: u64 = publishers.into_iter().map(|it| it.join().unwrap()).sum();
            let tally = rest(reader.join().unwrap());
            assert_eq!((tally.given, tally.lost), (taken, 0));
        },
        schedules(),
        3,
    );
}

/// A ring that frees, with publishers, readers of everything and of some tags, and subscriptions
/// that come, are cloned and go. Each frame shares `alive`. When all have read all that there is,
/// no frame of a ring that was not lapped is left.
fn free(shards: usize, slots: u64, chunk: u64, slack: u64, batch: u64, all_fits: bool) {
    let lane = Geometry::exact(slots, chunk, slack, batch);
    let ring = Ring::<Arc<()>>::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        retention: Retention::FreeWhenRead,
        ..RingConfig::default()
    });
    let alive = Arc::new(());
    let filter = TagFilter {
        mask: 1,
        value: 1,
        classes: !0,
    };
    let publishers: Vec<_> = (0..3)
        .map(|thread| {
            let (ring, alive) = (ring.clone(), alive.clone());
            thread::spawn(move || {
                for n in 0..FRAMES / 2 {
                    let route = Route {
                        shard: n as usize,
                        terminal: n % 5 == 0,
                        tag: (n / 2 + thread) as u32,
                    };
                    if n % 7 == 0 {
                        let _ = ring.publish_all_with([route; 2], |_| alive.clone());
                    } else {
                        let _ = ring.publish(route, alive.clone());
                    }
                }
            })
        })
        .collect();
    let readers = [None, Some(filter), None].map(|filter| {
        let mut reader = ring.subscribe(Select::All, filter, Start::Latest).unwrap();
        thread::spawn(move || {
            for _ in 0..10 {
                reader.batch(|_| ControlFlow::Continue(()));
                thread::yield_now();
            }
            reader
        })
    });
    let coming = {
        let ring = ring.clone();
        thread::spawn(move || {
            for select in [
                Select::Shard(0),
                Select::All,
                Select::Terminals,
                Select::All,
            ] {
                let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
                let clone = reader.try_clone().unwrap();
                reader.poll(|_| ControlFlow::Continue(()));
                drop((clone, reader));
            }
        })
    };
    publishers.into_iter().for_each(|it| it.join().unwrap());
    coming.join().unwrap();
    let readers = readers.map(|reader| {
        let mut reader = reader.join().unwrap();
        while reader.poll(|_| ControlFlow::Continue(())) != Polled::CaughtUp {}
        reader
    });
    if all_fits {
        assert_eq!(Arc::strong_count(&alive), 1);
    }
    drop((readers, ring));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn freed_where_all_fits() {
    shuttle::check_pct(|| free(1, 128, 16, 16, 4, true), schedules(), 3);
}

#[test]
fn freed_in_shards_where_all_fits() {
    shuttle::check_random(|| free(2, 128, 16, 16, 2, true), schedules());
}

#[test]
fn freed_while_lapped() {
    shuttle::check_pct(|| free(2, 8, 2, 2, 2, false), schedules(), 4);
}
