//! Models of the ring. Frames are boxed, so that a frame read while it is overwritten or dropped,
//! dropped twice or leaked is an error by itself, beside what loom's cell tracks.
//!
//! The reader is a thread of its own and starts last: loom looks for schedules from the last
//! access to each object, and finds a reader's loads beside a publisher's stores better than the
//! other way round.
#![cfg(loom)]

use framebus::ring::{Geometry, Ring, RingConfig, Route, Subscription};
use loom::thread::{self, JoinHandle};
use loom_tests::{FRAME, Got, TERMINAL, check, everything, tiny};

type Boxes = Ring<Box<u64>>;

/// Publishes the values, and says how many the ring took: a tiny one may be held as a whole.
fn publish(ring: &Boxes, route: Route, values: impl IntoIterator<Item = u64>) -> u64 {
    values
        .into_iter()
        .filter(|&value| ring.publish(route, Box::new(value)).is_ok())
        .count() as u64
}

fn publisher(ring: &Boxes, route: Route, values: std::ops::Range<u64>) -> JoinHandle<u64> {
    let ring = ring.clone();
    thread::spawn(move || publish(&ring, route, values))
}

/// A thread that polls `times` times.
fn reader(
    mut subscription: Subscription<Box<u64>>,
    times: usize,
) -> JoinHandle<(Subscription<Box<u64>>, Got)> {
    thread::spawn(move || {
        let mut got = Got::default();
        (0..times).for_each(|_| got.poll(&mut subscription));
        (subscription, got)
    })
}

/// Everything that the reader got, after a last poll when all is still.
fn rest((mut subscription, mut got): (Subscription<Box<u64>>, Got), published: u64) -> Got {
    got.poll(&mut subscription);
    got.complete(published);
    got
}

/// Proves: two publishers in one shard are read in order, once each, also when they get index and
/// number the other way round. Guards against: claim A, claim B, number B, number A.
#[test]
fn two_publishers_and_a_reader() {
    check(3, || {
        let ring = tiny(4, 1);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 1..2);
        let reader = reader(subscription, 2);
        let published = publish(&ring, FRAME, [0]) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!((published, got.lost), (2, 0));
    });
}

/// Proves: one publisher laps a reader twice without overwriting what it reads, and what it lost is
/// counted. Guards against: an extender that misses a pin, a reader that misses the horizon.
#[test]
fn one_publisher_laps_a_reader_twice() {
    check(2, || {
        let ring = tiny(2, 1);
        let subscription = everything(&ring);
        let reader = reader(subscription, 1);
        let published = publish(&ring, FRAME, 0..4);
        rest(reader.join().unwrap(), published);
    });
}

/// Proves: publishers that lap a reader neither wait for it nor overwrite what it reads. Guards
/// against: two owners of a slot, a slot of a suspended owner granted again, a loss untold.
fn two_publishers_lap_a_reader(places: u64, chunk: u64, own: u64, preemptions: usize) {
    check(preemptions, move || {
        let ring = tiny(places, chunk);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, own..own + own - 1);
        let reader = reader(subscription, 1);
        let published = publish(&ring, FRAME, 0..own) + second.join().unwrap();
        rest(reader.join().unwrap(), published);
    });
}

#[test]
fn two_publishers_lap_a_reader_in_four_places() {
    two_publishers_lap_a_reader(4, 1, 3, 1);
}

#[test]
fn two_publishers_lap_a_reader_in_chunks_of_two() {
    two_publishers_lap_a_reader(4, 2, 3, 1);
}

/// Proves: when terminal frames themselves lap the reader, each gap says so: also one that is told
/// late, for a publisher that was suspended for the lap. Guards against: a terminal frame neither
/// delivered nor told.
#[test]
fn terminal_frames_lap_a_reader() {
    check(1, || {
        let ring = tiny(4, 2);
        let subscription = everything(&ring);
        let second = publisher(&ring, TERMINAL, 3..5);
        let reader = reader(subscription, 1);
        let published = publish(&ring, TERMINAL, 0..3) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!(got.lost_no_terminals, 0, "{got:?}");
    });
}

/// Proves: three publishers in two places, none ever waiting: slots of suspended owners are void
/// for the others, lap after lap, and come back. Guards against: two owners of one slot.
#[test]
fn three_publishers_in_two_places() {
    check(1, || {
        let ring = tiny(2, 1);
        let subscription = everything(&ring);
        let others = [publisher(&ring, FRAME, 0..1), publisher(&ring, FRAME, 1..2)];
        let own = publish(&ring, FRAME, 2..4);
        let published = others.into_iter().map(|it| it.join().unwrap()).sum::<u64>() + own;
        rest((subscription, Got::default()), published);
    });
}

/// Proves: while ordinary frames lap the reader, the terminal frame arrives, in its place in the
/// order. Guards against: a terminal overwritten by the flood, or overtaken, or given twice.
#[test]
fn a_lap_with_terminal_recovery() {
    check(2, || {
        let ring = tiny(2, 1);
        let subscription = everything(&ring);
        let reader = reader(subscription, 1);
        let mut published = publish(&ring, FRAME, 0..2);
        let number = ring.publish(TERMINAL, Box::new(100)).unwrap();
        published += publish(&ring, FRAME, 2..4) + 1;
        let got = rest(reader.join().unwrap(), published);
        assert!(got.frames.contains(&(number, 100)), "terminal: {got:?}");
        assert!(!got.terminals_lost);
    });
}

/// Proves: the same with the terminal frame's publisher suspended at any step of its own.
#[test]
fn a_lap_while_a_terminal_frame_is_published() {
    check(1, || {
        let ring = tiny(2, 1);
        let subscription = everything(&ring);
        let flood = publisher(&ring, FRAME, 0..3);
        let reader = reader(subscription, 1);
        let number = ring.publish(TERMINAL, Box::new(100)).unwrap();
        let published = flood.join().unwrap() + 1;
        let got = rest(reader.join().unwrap(), published);
        assert!(got.frames.contains(&(number, 100)), "terminal: {got:?}");
        assert!(!got.terminals_lost);
    });
}

/// Proves: a reader of two shards gives one order. Guards against: a shard taken for empty by a tail
/// that was loaded before the number.
#[test]
fn two_shards_merged() {
    check(3, || {
        let lane = Geometry::exact(2, 1, 0, 1);
        let ring = Ring::new(&RingConfig {
            shards: 2,
            frames: lane,
            terminals: lane,
            after: 0,
        });
        let subscription = everything(&ring);
        let second = publisher(&ring, Route { shard: 1, ..FRAME }, 1..2);
        let reader = reader(subscription, 2);
        let published = publish(&ring, FRAME, [0]) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!(got.lost, 0);
    });
}

/// Proves: a batch's numbers have no break, beside another publisher in the same lane, and are read
/// in order. Guards against: a fence that does not cover the batch.
#[test]
fn a_batch_beside_a_publisher() {
    check(2, || {
        let ring = tiny(4, 1);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 9..10);
        let reader = reader(subscription, 1);
        let items = vec![(FRAME, 1), (TERMINAL, 2), (FRAME, 3)];
        let numbers = ring
            .publish_all_with(items, |_, value| Box::new(value))
            .unwrap();
        let published = second.join().unwrap() + 3;
        let got = rest(reader.join().unwrap(), published);
        assert_eq!(got.lost, 0);
        assert!(
            numbers.zip(1..4).all(|frame| got.frames.contains(&frame)),
            "{got:?}"
        );
    });
}
