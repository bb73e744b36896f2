//! Rings that free what was read: when a frame is dropped, on one thread.

mod acts;
mod model;

use framebus::ring::{
    Delivery, Geometry, Retention, Ring, RingConfig, Route, Select, Start, Subscription, TagFilter,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// How often each value was dropped.
type Drops = Arc<Mutex<BTreeMap<u64, usize>>>;

/// A value that notes its drop.
struct Token {
    id: u64,
    drops: Drops,
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        *drops.entry(self.id).or_default() += 1;
    }
}

fn ring<T>(shards: usize, lane: Geometry) -> Ring<T> {
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        retention: Retention::FreeWhenRead,
        ..RingConfig::default()
    })
}

/// How many of the values up to this one are not dropped.
fn here(drops: &Drops, published: u64) -> u64 {
    let drops = drops.lock().unwrap();
    assert!(drops.values().all(|&times| times == 1), "{drops:?}");
    published - drops.len() as u64
}

fn publish(ring: &Ring<Token>, drops: &Drops, route: Route, count: u64) {
    for _ in 0..count {
        let token = |id| Token {
            id,
            drops: drops.clone(),
        };
        ring.publish_with(route, token).unwrap();
    }
}

fn read_all(reader: &mut Subscription<Token>) -> Vec<u64> {
    let mut given = Vec::new();
    reader.poll(|delivery| {
        if let Delivery::Frame(number, _) = delivery {
            given.push(number);
        }
        ControlFlow::Continue(())
    });
    given
}

#[test]
fn what_nobody_reads_is_dropped_before_its_publish_returns() {
    for shards in [1, 2] {
        let (ring, drops) = (ring(shards, Geometry::for_window(16)), Drops::default());
        for published in 1..100 {
            let route = Route {
                shard: published as usize,
                terminal: published % 3 == 0,
                tag: 0,
            };
            publish(&ring, &drops, route, 1);
            assert_eq!(here(&drops, published), 0);
        }
        // A reader of terminal frames holds those back, and no others.
        let reader = ring.subscribe(Select::Terminals, None, Start::Latest);
        publish(&ring, &drops, Route::default(), 5);
        publish(&ring, &drops, Route::default().terminal(), 5);
        assert_eq!(here(&drops, 109), 5);
        drop(reader);
        assert_eq!(here(&drops, 109), 0);
    }
}

/// What was overwritten was dropped by who overwrote it. What may be overwritten any time, and is
/// not yet, is left to that: less than a lane has beyond its window.
#[test]
fn a_lapped_reader_holds_back_no_more_than_the_lane_promises() {
    for shards in [1, 2] {
        for leaves in [false, true] {
            let lane = Geometry::for_window(100);
            let (ring, drops) = (ring(shards, lane), Drops::default());
            let mut reader = ring.subscribe(Select::All, None, Start::Latest).unwrap();
            publish(&ring, &drops, Route::default(), 1_000);
            assert!(here(&drops, 1_000) <= lane.slots() as u64);
            if leaves {
                drop(reader);
            } else {
                let given = read_all(&mut reader);
                assert!(given.len() >= lane.window() && given.ends_with(&[999, 1_000]));
            }
            let left = (lane.slots() - lane.window()) as u64;
            assert!(here(&drops, 1_000) <= left, "{}", here(&drops, 1_000));
        }
    }
}

#[test]
fn a_reader_asleep_in_its_batch_holds_what_it_borrows_and_others_go_on() {
    let lane = Geometry::for_window(100);
    let (ring, drops) = (ring(1, lane), Drops::default());
    let mut asleep = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    let mut other = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    publish(&ring, &drops, Route::default(), 3);
    asleep.batch(|delivery| {
        if let Delivery::Frame(1, token) = delivery {
            for round in 0..20 {
                publish(&ring, &drops, Route::default(), 50);
                assert_eq!(read_all(&mut other).last(), Some(&(53 + round * 50)));
            }
            assert_eq!(token.id, 1);
            assert!(!drops.lock().unwrap().contains_key(&1));
        }
        ControlFlow::Continue(())
    });
    read_all(&mut asleep);
    assert!(here(&drops, 1_003) <= (lane.slots() - lane.window()) as u64);
    drop((ring, asleep, other));
    assert_eq!(here(&drops, 1_003), 0);
}

#[test]
fn the_asker_in_a_frame_learns_that_all_readers_are_gone() {
    let ring = ring::<std::sync::mpsc::Sender<u8>>(1, Geometry::for_window(16));
    let subscribe = || ring.subscribe(Select::All, None, Start::Latest).unwrap();
    let (first, mut second) = (subscribe(), subscribe());
    let (ask, answers) = std::sync::mpsc::channel();
    ring.publish(Route::default(), ask).unwrap();
    second.poll(|delivery| {
        if let Delivery::Frame(_, ask) = delivery {
            ask.send(7).unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(answers.try_recv(), Ok(7));
    assert_eq!(
        answers.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Empty)
    );
    drop(first);
    let gone = std::sync::mpsc::TryRecvError::Disconnected;
    assert_eq!(answers.try_recv(), Err(gone));
}

/// A sleeper holds back what it is to see. So it is woken for all of that, whatever its key.
#[test]
fn a_sleeper_wakes_for_all_that_it_holds_back() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let filter = TagFilter {
        mask: 0,
        value: 0,
        classes: 1 << 5,
    };
    for filter in [None, Some(filter)] {
        let (ring, drops) = (ring(1, Geometry::for_window(16)), Drops::default());
        let mut sleeper = ring.subscribe(Select::All, filter, Start::Latest).unwrap();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(woken.clone());
        sleeper.register_waker(Some(7), &waker).unwrap();
        let route = |tag| Route {
            tag,
            ..Route::default()
        };
        publish(&ring, &drops, route(3), 1);
        ring.wake(route(3), [8, 9]);
        let wakes = usize::from(filter.is_none());
        assert_eq!(woken.0.load(Ordering::Relaxed), wakes);
        assert_eq!(here(&drops, 1), wakes as u64);
        read_all(&mut sleeper);
        sleeper.register_waker(Some(7), &waker).unwrap();
        publish(&ring, &drops, route(5), 1);
        ring.wake(route(5), [8, 9]);
        assert_eq!(woken.0.load(Ordering::Relaxed), wakes + 1);
        read_all(&mut sleeper);
        assert_eq!(here(&drops, 2), 0);
    }
}

#[test]
fn a_later_subscription_is_told_what_was_freed() {
    for shards in [1, 2] {
        let (ring, drops) = (ring(shards, Geometry::for_window(16)), Drops::default());
        let mut first = ring.subscribe(Select::All, None, Start::Latest).unwrap();
        publish(&ring, &drops, Route::default(), 3);
        read_all(&mut first);
        publish(&ring, &drops, Route::default(), 2);
        let mut gaps = Vec::new();
        let mut told = |start| {
            let mut reader = ring.subscribe(Select::All, None, start).unwrap();
            gaps.clear();
            let mut given = Vec::new();
            reader.poll(|delivery| {
                match delivery {
                    Delivery::Frame(number, _) => given.push(number),
                    Delivery::Gap(gap) => gaps.push((gap.first, gap.last, gap.lost, gap.expired)),
                }
                ControlFlow::Continue(())
            });
            (given, gaps.clone())
        };
        assert_eq!(told(Start::After(1)), (vec![4, 5], vec![(2, 3, 2, true)]));
        assert_eq!(told(Start::Oldest), (vec![4, 5], vec![]));
        assert_eq!(told(Start::After(3)), (vec![4, 5], vec![]));
        assert_eq!(told(Start::Latest), (vec![], vec![]));
        assert_eq!(ring.stats().oldest_sequence, Some(4));
    }
}

/// Nobody can tell when a value goes that needs no drop: it stays for later subscriptions.
#[test]
fn frames_that_need_no_drop_are_kept() {
    let ring = ring::<u64>(1, Geometry::for_window(16));
    ring.publish(Route::default(), 7).unwrap();
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let mut given = Vec::new();
    reader.poll(|delivery| {
        if let Delivery::Frame(_, &frame) = delivery {
            given.push(frame);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(given, [7]);
}
