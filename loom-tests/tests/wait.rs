//! Models of waiting: a publish against a park. The reader looks once after it registered. If that
//! look finds nothing, it must have been woken by the end.
#![cfg(loom)]

use framebus::ring::{
    ANY_KEY, Geometry, Ring, RingConfig, Route, Select, Start, Subscription, TagFilter,
};
use loom::thread::{self, JoinHandle};
use loom_tests::{FRAME, Got, TERMINAL, check, everything, indexed, tiny};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

type Boxes = Ring<Box<u64>>;

/// Counts how often it was woken. No part of the model: its count is read at the end.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn shard(ring: &Boxes, filter: Option<TagFilter>) -> Subscription<Box<u64>> {
    ring.subscribe(Select::Shard(0), filter, Start::Oldest)
        .unwrap()
}

/// What a reader thread returns. The subscription must live until the end, for its waiter.
type Read = (Subscription<Box<u64>>, Got);

/// A thread that registers and looks once.
fn waiter(
    mut subscription: Subscription<Box<u64>>,
    key: Option<u64>,
    bell: &Arc<Bell>,
) -> JoinHandle<Read> {
    let waker = Waker::from(bell.clone());
    thread::spawn(move || {
        let mut got = Got::default();
        subscription.register_waker(key, &waker).unwrap();
        got.poll(&mut subscription);
        (subscription, got)
    })
}

fn publisher(ring: &Boxes, route: Route, key: u64) -> JoinHandle<()> {
    let ring = ring.clone();
    thread::spawn(move || publish(&ring, route, key))
}

fn publish(ring: &Boxes, route: Route, key: u64) {
    ring.publish(route, Box::new(key)).unwrap();
    ring.wake(route, [key, key]);
}

/// Proves: a frame is seen, or its reader is woken, once. Guards against: a fence missing on either
/// side, a parked flag raised before it is counted.
#[test]
fn a_park_against_a_publish() {
    for key in [Some(7), Some(ANY_KEY), None] {
        check(3, move || {
            let (ring, bell) = (tiny(2, 1), Arc::new(Bell::default()));
            let reader = waiter(shard(&ring, None), key, &bell);
            publish(&ring, FRAME, 7);
            let (_subscription, got) = reader.join().unwrap();
            assert!(got.has(7) || bell.rung() == 1, "parked for ever: {got:?}");
            assert!(bell.rung() <= 1);
        });
    }
}

/// Proves: the same for a reader of two shards, whose first park is beside the publish. Guards
/// against: a waiter for all shards that a shard's count does not show.
#[test]
fn a_park_for_all_shards_against_a_publish() {
    for key in [Some(7), Some(ANY_KEY), None] {
        check(3, move || {
            let lane = Geometry::exact(2, 1, 0, 1);
            let ring = Ring::new(&RingConfig {
                shards: 2,
                frames: lane,
                terminals: lane,
                ..RingConfig::default()
            });
            let bell = Arc::new(Bell::default());
            let reader = waiter(everything(&ring), key, &bell);
            publish(&ring, Route { shard: 1, ..FRAME }, 7);
            let (_subscription, got) = reader.join().unwrap();
            assert!(got.has(7) || bell.rung() == 1, "parked for ever: {got:?}");
            assert!(bell.rung() <= 1);
        });
    }
}

/// Proves: two publishers wake a waiter once for one park. Guards against: a flag that both lower.
#[test]
fn two_publishers_wake_once() {
    check(2, || {
        let (ring, bell) = (tiny(4, 1), Arc::new(Bell::default()));
        let reader = waiter(shard(&ring, None), Some(7), &bell);
        let second = publisher(&ring, FRAME, 7);
        publish(&ring, FRAME, 7);
        second.join().unwrap();
        let (_subscription, got) = reader.join().unwrap();
        assert!(
            got.frames.len() == 2 || bell.rung() == 1,
            "parked for ever: {got:?}"
        );
        assert!(bell.rung() <= 1);
    });
}

/// Proves: a waiter that takes the row of one that just left, with another key, is woken for its
/// own. Guards against: a walker that takes the new waiter's interest for the old one's and passes
/// it over.
#[test]
fn a_row_changes_hands_beside_a_publish() {
    check(2, || {
        let (ring, bell) = (tiny(2, 1), Arc::new(Bell::default()));
        let (mut first, mut second) = (shard(&ring, None), shard(&ring, None));
        let waker = Waker::from(bell.clone());
        first.register_waker(Some(1), Waker::noop()).unwrap();
        let reader = thread::spawn(move || {
            drop(first);
            let mut got = Got::default();
            second.register_waker(Some(7), &waker).unwrap();
            got.poll(&mut second);
            (second, got)
        });
        publish(&ring, FRAME, 7);
        let (_subscription, got) = reader.join().unwrap();
        assert!(got.has(7) || bell.rung() == 1, "parked for ever: {got:?}");
    });
}

/// Proves: the row of a waiter that leaves a bucket is freed when no publisher can stand at it, and
/// its neighbours are found: a waiter that is parked all along is woken. Guards against: a row
/// freed under a walker, a list that ends early.
fn waiters_that_leave(leave: [bool; 3]) {
    check(2, move || {
        let ring = tiny(2, 1);
        let bells = [(); 3].map(|()| Arc::new(Bell::default()));
        let mut subscriptions = [(); 3].map(|()| shard(&ring, None));
        for (subscription, bell) in subscriptions.iter_mut().zip(&bells) {
            let waker = Waker::from(bell.clone());
            subscription.register_waker(Some(7), &waker).unwrap();
        }
        let (leaving, staying): (Vec<_>, Vec<_>) = subscriptions
            .into_iter()
            .zip(leave)
            .partition(|(_, leaves)| *leaves);
        let leaver = thread::spawn(move || drop(leaving));
        ring.wake(FRAME, [7, 7]);
        leaver.join().unwrap();
        for (bell, leaves) in bells.iter().zip(leave) {
            assert!(bell.rung() == 1 || leaves && bell.rung() == 0);
        }
        drop(staying);
    });
}

#[test]
fn a_waiter_leaves_beside_a_publish() {
    waiters_that_leave([false, true, false]);
}

/// The first row is unlinked and waits for the publisher to leave; the other one comes after it.
#[test]
fn two_waiters_leave_beside_a_publish() {
    waiters_that_leave([true, false, true]);
}

/// Runs a function once, when it is woken.
struct Then(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Then {
    fn wake(self: Arc<Self>) {
        let then = self.0.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
    }
}

/// Proves: a waker may drop other waiters in the middle of the walk, and a walker beside that,
/// which is in the other counter, stands at no row that is freed. Guards against: a row freed with
/// those that were unlinked before it.
#[test]
fn two_waiters_leave_beside_two_publishers() {
    check(2, || {
        let ring = tiny(2, 1);
        let mut others = [(); 2].map(|()| shard(&ring, None));
        for other in &mut others {
            other.register_waker(Some(8), Waker::noop()).unwrap();
        }
        let [first, second] = others;
        let mut parked = shard(&ring, None);
        let walker = Arc::new(Mutex::new(None));
        let then = {
            let (ring, walker) = (ring.clone(), walker.clone());
            move || {
                drop(first);
                let walk = thread::spawn(move || ring.wake(FRAME, [9, 9]));
                *walker.lock().unwrap() = Some(walk);
            }
        };
        let waker = Waker::from(Arc::new(Then(Mutex::new(Some(Box::new(then))))));
        parked.register_waker(Some(7), &waker).unwrap();
        ring.wake(FRAME, [7, 7]);
        drop(second);
        let walk = walker.lock().unwrap().take();
        walk.unwrap().join().unwrap();
        drop(parked);
    });
}

/// Proves: two waiters that are the first in their bucket are both found. Guards against: a row
/// lost when two are linked at once.
#[test]
fn two_first_parks_in_one_bucket() {
    check(2, || {
        let ring = tiny(2, 1);
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        let readers = [0, 1].map(|at| waiter(shard(&ring, None), Some(7), &bells[at]));
        publish(&ring, FRAME, 7);
        for (reader, bell) in readers.into_iter().zip(bells) {
            let (_subscription, got) = reader.join().unwrap();
            assert!(got.has(7) || bell.rung() == 1, "parked for ever: {got:?}");
        }
    });
}

/// Proves: a waiter that turns from its own frames to any is woken by any, unless the publish ended
/// before: then nothing is unfinished when it looks. Guards against: an interest that changes while
/// the flag is up.
#[test]
fn an_interest_widens_beside_a_publish() {
    check(3, || {
        let (ring, bell) = (tiny(2, 1), Arc::new(Bell::default()));
        let filter = TagFilter {
            mask: 0,
            value: 0,
            classes: 1 << 1,
        };
        let (mut narrow, all) = (shard(&ring, Some(filter)), shard(&ring, None));
        let waker = Waker::from(bell.clone());
        let reader = thread::spawn(move || {
            narrow.register_waker(Some(ANY_KEY), &waker).unwrap();
            narrow.register_waker(None, &waker).unwrap();
            let mut got = Got::default();
            let mut all = all;
            got.poll(&mut all);
            (narrow, got)
        });
        // Of class 0, which the filter does not let through: the frame wakes, and is not read.
        publish(&ring, FRAME, 7);
        let (mut narrow, got) = reader.join().unwrap();
        assert!(got.has(7) || bell.rung() > 0, "parked for ever");
        assert!(
            narrow.deregister_waker() || bell.rung() == 0,
            "woken, and still parked"
        );
    });
}

/// Proves: a waiter is woken for a frame that an unfinished one of another key holds back. Guards
/// against: a waiter for its own frames only, while a frame before them is unfinished.
#[test]
fn a_frame_held_back_by_another_key() {
    a_frame_is_held_back(tiny, FRAME, 2);
}

/// The index-numbered lane has nothing unfinished then: a terminal frame abandons its index there.
#[test]
fn a_terminal_frame_held_back_by_another_key() {
    a_frame_is_held_back(indexed, TERMINAL, 1);
}

fn a_frame_is_held_back(ring: fn(u64, u64) -> Boxes, route: Route, preemptions: usize) {
    check(preemptions, move || {
        let (ring, bell) = (ring(4, 1), Arc::new(Bell::default()));
        let mut subscription = shard(&ring, None);
        let waker = Waker::from(bell.clone());
        let reader = thread::spawn(move || {
            let mut got = Got::default();
            subscription.register_waker(Some(7), &waker).unwrap();
            got.poll(&mut subscription);
            if !got.has(7) && subscription.is_behind() {
                subscription.register_waker(None, &waker).unwrap();
                got.poll(&mut subscription);
            }
            (subscription, got)
        });
        let other = publisher(&ring, route, 8);
        publish(&ring, route, 7);
        other.join().unwrap();
        let (_subscription, got) = reader.join().unwrap();
        assert!(got.has(7) || bell.rung() > 0, "parked for ever: {got:?}");
    });
}

/// Proves: nobody is woken for another key, or for a tag that its filter keeps out.
#[test]
fn others_stay_parked() {
    check(3, || {
        let (ring, bell) = (tiny(4, 1), Arc::new(Bell::default()));
        let filter = TagFilter {
            mask: 0,
            value: 0,
            classes: 1 << 1,
        };
        let other_key = waiter(shard(&ring, None), Some(8), &bell);
        let other_class = waiter(shard(&ring, Some(filter)), Some(7), &bell);
        publish(&ring, FRAME, 7);
        let _waiters = [other_key, other_class].map(|it| it.join().unwrap());
        assert_eq!(bell.rung(), 0);
    });
}
