//! Models of subscriptions that are made, dropped and cloned while frames are published.
#![cfg(loom)]

use framebus::ring::{Geometry, Select, Start, Subscription};
use loom::thread;
use loom_tests::{
    Boxes, FRAME, Got, TERMINAL, check, deep, everything, indexed, publish, publisher, rest,
    shards, tiny,
};

/// A thread that subscribes and polls once. Also returns where the subscription started.
fn subscriber(
    ring: &Boxes,
    start: Start,
) -> thread::JoinHandle<(u64, Subscription<Box<u64>>, Got)> {
    let ring = ring.clone();
    thread::spawn(move || {
        let mut subscription = ring.subscribe(Select::All, None, start).unwrap();
        let position = subscription.position();
        let mut got = Got::default();
        got.poll(&mut subscription);
        (position, subscription, got)
    })
}

/// Proves: a subscription made at a cursor while frames are published starts exactly after it.
/// Guards against: a frame skipped or given twice around the start.
#[test]
fn at_a_cursor_beside_a_publisher() {
    check(3, || {
        let ring = tiny(4, 1);
        assert_eq!(publish(&ring, FRAME, 1..3), 2);
        let second = publisher(&ring, FRAME, 3..5);
        let third = subscriber(&ring, Start::After(1));
        second.join().unwrap();
        let (position, subscription, got) = third.join().unwrap();
        assert_eq!(position, 1);
        let got = rest((subscription, got), 3);
        assert_eq!(got.frames, [(2, 2), (3, 3), (4, 4)]);
    });
}

/// Proves: the same if the ring is lapped meanwhile. The frames that had expired, those that are
/// lost later and those given add up to what was published after the cursor. Guards against: an
/// expiry that is counted twice or not at all.
fn at_an_expiring_cursor(ring: fn(u64, u64) -> Boxes, preemptions: usize) {
    check(preemptions, move || {
        let ring = ring(2, 1);
        assert_eq!(publish(&ring, FRAME, 1..3), 2);
        let second = publisher(&ring, FRAME, 3..6);
        let third = subscriber(&ring, Start::After(1));
        let published = 1 + second.join().unwrap();
        let (_, subscription, got) = third.join().unwrap();
        let got = rest((subscription, got), published);
        assert!(
            got.frames
                .iter()
                .all(|&(number, value)| number == value && number > 1)
        );
    });
}

#[test]
fn at_a_cursor_that_expires() {
    at_an_expiring_cursor(tiny, 1);
}

#[test]
fn at_a_cursor_that_expires_indexed() {
    at_an_expiring_cursor(indexed, usize::from(deep()));
}

/// Proves: a reader of one shard, which can't count missing numbers, gets gaps for all that had
/// expired, and for what it lost while it sought its start.
#[test]
fn at_a_cursor_in_one_shard_that_expires() {
    check(usize::from(deep()), || {
        let ring = shards(2, Geometry::exact(2, 1, 0, 1));
        let second = publisher(&ring, FRAME, 1..5);
        let third = {
            let ring = ring.clone();
            thread::spawn(move || {
                let select = Select::Shard(0);
                let mut subscription = ring.subscribe(select, None, Start::After(0)).unwrap();
                let mut got = Got::default();
                got.poll(&mut subscription);
                (subscription, got)
            })
        };
        let published = second.join().unwrap();
        let (mut subscription, mut got) = third.join().unwrap();
        got.poll(&mut subscription);
        got.complete_or_reported(published);
    });
}

/// Proves: a subscription that starts at the latest frame misses no frame after its position, in
/// either lane. Guards against: a start between claim and number.
#[test]
fn at_the_latest_beside_publishers() {
    check(1, || {
        let ring = tiny(4, 1);
        let second = publisher(&ring, TERMINAL, 10..11);
        let third = subscriber(&ring, Start::Latest);
        let published = publish(&ring, FRAME, 0..2) + second.join().unwrap();
        let (position, subscription, got) = third.join().unwrap();
        rest((subscription, got), published - position);
    });
}

/// Proves: a clone of a subscription has the same position and is independent from there on. Guards
/// against: a clone that shares a pin with the original, or forgets an unreported loss.
#[test]
fn a_clone_beside_a_publisher() {
    check(1, || {
        let ring = tiny(2, 1);
        let mut subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 0..4);
        let third = thread::spawn(move || {
            let mut got = Got::default();
            got.poll(&mut subscription);
            let mut clone = subscription.try_clone().unwrap();
            let before = got.frames.len() as u64 + got.lost;
            let mut again = Got::default();
            again.poll(&mut clone);
            (subscription, got, clone, again, before)
        });
        let published = second.join().unwrap();
        let (subscription, got, clone, again, before) = third.join().unwrap();
        rest((subscription, got), published);
        rest((clone, again), published - before);
    });
}

/// Proves: a clone of a reader that holds a frame back, since one with a smaller number may come,
/// gives both in order as well. Guards against: a clone that forgets the scanned frames.
#[test]
fn a_clone_of_a_reader_that_holds_a_frame_back() {
    check(2, || {
        let ring = shards(2, Geometry::exact(4, 1, 0, 1));
        let select = Select::Shard(0);
        let mut subscription = ring.subscribe(select, None, Start::Oldest).unwrap();
        let second = publisher(&ring, FRAME, 1..2);
        let published = publish(&ring, FRAME, [0]);
        let mut got = Got::default();
        got.poll(&mut subscription);
        let mut clone = subscription.try_clone().unwrap();
        let published = published + second.join().unwrap();
        let before = got.frames.len() as u64;
        let mut again = Got::default();
        again.poll(&mut clone);
        again.complete(published - before);
        rest((subscription, got), published);
    });
}

/// Proves: a subscription that is dropped while publishers scan its pins, and another that gets its
/// row, disturb nothing. Guards against: a row given back with its pin set, or used by two.
#[test]
fn a_drop_beside_a_publisher() {
    check(usize::from(deep()), || {
        let ring = tiny(2, 1);
        let mut subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 0..4);
        let third = {
            let ring = ring.clone();
            thread::spawn(move || {
                Got::default().poll(&mut subscription);
                drop(subscription);
                let mut next = everything(&ring);
                let from = next.position();
                let mut got = Got::default();
                got.poll(&mut next);
                (next, got, from)
            })
        };
        let published = second.join().unwrap();
        let (next, got, from) = third.join().unwrap();
        rest((next, got), published - from);
    });
}

/// Proves: the reads of a subscription that was dropped happen before a publisher overwrites, and
/// its neighbours' pins are seen all along. Guards against: a row given back or a block unlinked
/// without release, a scan that ends there.
fn a_row_goes(others: usize) {
    check(2, move || {
        let ring = tiny(2, 1);
        // A block has two rows in a model.
        let _others: Vec<_> = (0..others).map(|_| everything(&ring)).collect();
        let mut leaving = everything(&ring);
        assert_eq!(publish(&ring, FRAME, 0..1), 1);
        let reader = thread::spawn(move || {
            Got::default().poll(&mut leaving);
            drop(leaving);
        });
        publish(&ring, FRAME, 1..4);
        reader.join().unwrap();
    });
}

/// The last block stays.
#[test]
fn a_row_goes_beside_a_publisher() {
    a_row_goes(0);
}

#[test]
fn a_block_of_rows_goes_beside_a_publisher() {
    a_row_goes(2);
}

/// Proves: the reads of a subscription that was dropped happen before a publisher overwrites, also
/// if its neighbour's row was taken again since. Guards against: a row taken without release, which
/// ends what the row that was given back had released.
#[test]
fn a_row_goes_and_its_neighbour_comes_beside_a_publisher() {
    check(1, move || {
        let ring = tiny(2, 1);
        let first = everything(&ring);
        let mut second = everything(&ring);
        drop(first);
        assert_eq!(publish(&ring, FRAME, 0..1), 1);
        let reader = {
            let ring = ring.clone();
            thread::spawn(move || {
                Got::default().poll(&mut second);
                drop(second);
                everything(&ring)
            })
        };
        publish(&ring, FRAME, 1..4);
        drop(reader.join().unwrap());
    });
}

/// Proves: the pins of a row in a block that was just linked are seen. Guards against: a scan that
/// misses it.
#[test]
fn a_new_block_of_rows_beside_a_publisher() {
    check(1, || {
        let ring = tiny(2, 1);
        let _others = [(); 2].map(|()| everything(&ring));
        let second = publisher(&ring, FRAME, 0..4);
        let third = subscriber(&ring, Start::Oldest);
        let published = second.join().unwrap();
        let (position, subscription, got) = third.join().unwrap();
        rest((subscription, got), published - position);
    });
}
