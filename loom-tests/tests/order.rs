//! Models of the order: claims, sequence numbers, order bounds and the merge.
#![cfg(loom)]

use framebus::ring::{CLASS_BITS, Geometry, Route, Select, Start, TagFilter};
use loom::thread;
use loom_tests::{
    Boxes, FRAME, Got, TERMINAL, check, deep, everything, indexed, publish, publisher, reader,
    rest, shards, tiny,
};

/// Proves: the frames of two publishers in one shard are read in order, once each, also if the
/// order of their indices is not that of their numbers. Guards against: claim A, claim B, number B,
/// number A.
fn two_publishers(ring: fn(u64, u64) -> Boxes, preemptions: usize) {
    check(preemptions, move || {
        let ring = ring(4, 1);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 1..2);
        let reader = reader(subscription, 2);
        let published = publish(&ring, FRAME, [0]) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!((published, got.lost), (2, 0));
    });
}

#[test]
fn two_publishers_and_a_reader() {
    two_publishers(tiny, 2);
}

#[test]
fn two_publishers_and_a_reader_indexed() {
    two_publishers(indexed, 1);
}

/// Proves: a frame that is finished after the fence of the pin that covers it is read whole.
/// Guards against: a reader's stamp without acquire, which the fence stands in for where every
/// frame was seen before it.
#[test]
fn a_frame_finished_under_a_pin() {
    check(2, || {
        let ring = shards(1, Geometry::exact(4, 1, 0, 2));
        let reader = reader(everything(&ring), 1);
        let published = publish(&ring, FRAME, 0..2);
        let got = rest(reader.join().unwrap(), published);
        assert_eq!((published, got.lost), (2, 0));
    });
}

/// Proves: the frame that a thread published first has the lower number and comes first, and a
/// thread that learned of another's publish publishes after it. Guards against: numbers out of
/// order.
fn one_after_another(ring: fn(u64, u64) -> Boxes, first: u64, preemptions: usize) {
    check(preemptions, move || {
        let ring = ring(4, 1);
        let subscription = everything(&ring);
        let second = publisher(&ring, TERMINAL, 10..11);
        let reader = reader(subscription, 1);
        let published = publish(&ring, FRAME, 0..first) + second.join().unwrap();
        publish(&ring, FRAME, [first]);
        let got = rest(reader.join().unwrap(), published + 1);
        let place = |value| got.values().iter().position(|&it| it == value);
        assert!(place(0) < place(1), "{got:?}");
        assert_eq!(got.values().last(), Some(&first));
        assert!(place(10).is_some() && got.lost == 0);
    });
}

#[test]
fn one_after_another_in_two_lanes() {
    one_after_another(tiny, 2, 2);
}

/// The terminal frame gets its number from the index-numbered lane.
#[test]
fn one_after_another_in_two_lanes_indexed() {
    one_after_another(indexed, 1, usize::from(deep()));
}

/// Proves: two terminal frames, which take their numbers from the index-numbered lane, are read in
/// order, also if the order of their indices is not that of their numbers. Guards against: an order
/// bound that misses the other frame.
#[test]
fn two_terminal_frames_indexed() {
    check(usize::from(deep()), || {
        let ring = indexed(4, 1);
        let subscription = everything(&ring);
        let second = publisher(&ring, TERMINAL, 1..2);
        let reader = reader(subscription, 1);
        let published = publish(&ring, TERMINAL, [0]) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!((published, got.lost), (2, 0));
    });
}

/// Proves: a reader of two shards gives one order. Guards against: a shard that is taken for empty,
/// by a tail that was loaded before the next number.
#[test]
fn two_shards_merged() {
    check(3, || {
        let ring = shards(2, Geometry::exact(2, 1, 0, 1));
        let subscription = everything(&ring);
        let second = publisher(&ring, Route { shard: 1, ..FRAME }, 1..2);
        let reader = reader(subscription, 2);
        let published = publish(&ring, FRAME, [0]) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!(got.lost, 0);
    });
}

/// Proves: the same for a reader of batches, which loads the next number only when it must.
#[test]
fn two_shards_in_batches() {
    check(3, || {
        let ring = shards(2, Geometry::exact(2, 1, 0, 1));
        let mut subscription = everything(&ring);
        let second = publisher(&ring, Route { shard: 1, ..FRAME }, 1..2);
        let reader = thread::spawn(move || {
            let mut got = Got::default();
            for _ in 0..2 {
                subscription.batch(|delivery| got.take(delivery));
            }
            (subscription, got)
        });
        let published = publish(&ring, FRAME, [0]) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!(got.lost, 0);
    });
}

/// Proves: a batch's numbers are consecutive, beside another publisher in the same lane, and its
/// frames are read in order. Guards against: an order bound that does not cover the batch.
fn a_batch_and_a_publisher(ring: fn(u64, u64) -> Boxes, count: u64, preemptions: usize) {
    check(preemptions, move || {
        let ring = ring(4, 1);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 9..10);
        let reader = reader(subscription, 1);
        let mut values = 1..;
        let numbers = ring
            .publish_all_with(
                [FRAME, TERMINAL, FRAME].into_iter().take(count as usize),
                |_| Box::new(values.next().unwrap()),
            )
            .unwrap();
        let published = second.join().unwrap() + count;
        let got = rest(reader.join().unwrap(), published);
        assert_eq!(got.lost, 0);
        assert!(
            numbers
                .zip(1..=count)
                .all(|frame| got.frames.contains(&frame)),
            "{got:?}"
        );
    });
}

#[test]
fn a_batch_beside_a_publisher() {
    a_batch_and_a_publisher(tiny, 3, 1);
}

/// The batch claims only if no other publisher claimed meanwhile.
#[test]
fn a_batch_beside_a_publisher_indexed() {
    a_batch_and_a_publisher(indexed, 2, usize::from(deep()));
}

/// Proves: each frame of a batch has its order bound, if another's claim comes after them. Guards
/// against: a bound that only the first or the last frame has.
#[test]
fn neighbours_of_a_batch_beside_a_publisher() {
    check(1, || {
        let ring = tiny(4, 1);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 9..10);
        ring.publish_all_with([FRAME; 2], Box::new).unwrap();
        let published = second.join().unwrap() + 2;
        let got = rest((subscription, Got::default()), published);
        assert_eq!(got.lost, 0);
    });
}

/// Proves: the same for a reader that wants only some of the batch. Guards against: a bound that
/// only the first frame has, which the reader passes over.
#[test]
fn a_batch_read_through_a_filter() {
    check(1, || {
        let ring = tiny(4, 1);
        let wanted = TagFilter {
            mask: 1 << CLASS_BITS,
            value: 1 << CLASS_BITS,
            classes: !0,
        };
        let mine = Route {
            tag: 1 << CLASS_BITS,
            ..FRAME
        };
        let subscription = ring
            .subscribe(Select::Shard(0), Some(wanted), Start::Oldest)
            .unwrap();
        let second = publisher(&ring, mine, 9..10);
        let reader = reader(subscription, 1);
        let mut values = 1..;
        let numbers = ring
            .publish_all_with([FRAME, mine], |_| Box::new(values.next().unwrap()))
            .unwrap();
        second.join().unwrap();
        let (mut subscription, mut got) = reader.join().unwrap();
        got.poll(&mut subscription);
        // A slot without a stamp shows no tag, so the unwanted frame may be given too.
        got.frames.retain(|frame| frame.1 != 1);
        got.complete(2);
        assert!(got.frames.contains(&(numbers.start + 1, 2)), "{got:?}");
    });
}
