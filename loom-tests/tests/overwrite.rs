//! Models of overwriting: gates, pins, the window, void indices.
#![cfg(loom)]

use framebus::ring::{Delivery, Geometry, MAX_SEQUENCE, Ring, RingConfig, Route, Select, Start};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use loom_tests::{
    Boxes, FRAME, Got, TERMINAL, check, deep, everything, indexed, publish, publisher, reader,
    rest, sequenced, shards, tiny,
};

/// Proves: one publisher laps a reader twice without overwriting what it reads, and the frames that
/// the reader lost are counted. Guards against: an extender that misses a pin, a reader that misses
/// the horizon.
fn laps_a_reader_twice(ring: fn(u64, u64) -> Boxes, route: Route) {
    check(2, move || {
        let ring = ring(2, 1);
        let subscription = everything(&ring);
        let reader = reader(subscription, 1);
        let published = publish(&ring, route, 0..4);
        rest(reader.join().unwrap(), published);
    });
}

#[test]
fn one_publisher_laps_a_reader_twice() {
    laps_a_reader_twice(tiny, FRAME);
}

#[test]
fn one_publisher_laps_a_reader_twice_indexed() {
    laps_a_reader_twice(indexed, FRAME);
}

/// Each shard has pins of its own.
const ELSEWHERE: Route = Route { shard: 1, ..FRAME };

/// Proves: the same in a shard that is not the first, for a reader of that shard. Guards against: a
/// look at another shard's pins.
#[test]
fn one_publisher_laps_a_reader_of_another_shard_twice() {
    check(2, || {
        let ring = shards(2, Geometry::exact(2, 1, 0, 1));
        let select = Select::Shard(1);
        let subscription = ring.subscribe(select, None, Start::Oldest).unwrap();
        let reader = reader(subscription, 1);
        let published = publish(&ring, ELSEWHERE, 0..4);
        let (mut subscription, mut got) = reader.join().unwrap();
        got.poll(&mut subscription);
        got.poll(&mut subscription);
        got.complete_or_reported(published);
    });
}

/// Proves: the same for a reader of both shards, lapped in each by a publisher of its own.
#[test]
fn two_publishers_lap_a_reader_of_both_shards() {
    check(1, || {
        let ring = shards(2, Geometry::exact(2, 1, 0, 1));
        let subscription = everything(&ring);
        let second = publisher(&ring, ELSEWHERE, 10..13);
        let reader = reader(subscription, 1);
        let published = publish(&ring, FRAME, 0..1) + second.join().unwrap();
        rest(reader.join().unwrap(), published);
    });
}

/// Checks that no slot stays with an owner that is done: the lane holds all that it promises.
fn all_slots_come_back(ring: &Boxes, slots: u64, chunk: u64) {
    assert_eq!(publish(ring, FRAME, 0..2 * slots), 2 * slots);
    let mut late = Got::default();
    late.poll(&mut everything(ring));
    let window = slots - chunk + 1;
    let expected: Vec<_> = (2 * slots - window..2 * slots).collect();
    assert!(late.values().ends_with(&expected), "{late:?}");
}

/// Proves: publishers that lap a reader neither wait for it nor overwrite what it reads. Guards
/// against: two owners of a slot, the slot of a suspended owner granted again, an unreported loss.
fn two_publishers_lap_a_reader(ring: fn(u64, u64) -> Boxes, slots: u64, chunk: u64) {
    let own = 3;
    check(usize::from(deep()), move || {
        let ring = ring(slots, chunk);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, own..own + own - 1);
        let reader = reader(subscription, 1);
        let published = publish(&ring, FRAME, 0..own) + second.join().unwrap();
        rest(reader.join().unwrap(), published);
        all_slots_come_back(&ring, slots, chunk);
    });
}

#[test]
fn two_publishers_lap_a_reader_in_four_slots() {
    two_publishers_lap_a_reader(tiny, 4, 1);
}

#[test]
fn two_publishers_lap_a_reader_in_chunks_of_two() {
    two_publishers_lap_a_reader(tiny, 4, 2);
}

#[test]
fn two_publishers_lap_a_reader_in_chunks_of_two_indexed() {
    two_publishers_lap_a_reader(indexed, 4, 2);
}

/// Proves: a reader of one shard that lost a frame with a higher number than one that it still
/// reads gets a gap with the lost frame in it. Guards against: a gap that ends below its loss.
fn lapped_between_two_publishers(frames: u64) {
    check(2, move || {
        let ring = shards(2, Geometry::exact(2, 1, 0, 1));
        let select = Select::Shard(0);
        let mut subscription = ring.subscribe(select, None, Start::Oldest).unwrap();
        let second = publisher(&ring, FRAME, 10..11);
        let published = publish(&ring, FRAME, 0..frames) + second.join().unwrap();
        let mut got = Got::default();
        // A loss that is noticed in a poll, and that no frame follows, is reported in the next.
        got.poll(&mut subscription);
        got.poll(&mut subscription);
        got.complete_or_reported(published);
    });
}

/// The order of their indices is not that of their numbers.
#[test]
fn lapped_between_neighbours() {
    lapped_between_two_publishers(2);
}

/// One reserves its number more than a lap after it claimed its index.
#[test]
fn lapped_after_a_late_publisher() {
    lapped_between_two_publishers(3);
}

/// Proves: a frame that a reader scanned, and holds back since a neighbour may have a smaller
/// number, counts as lost if it is lapped before that is known. Guards against: a frame offered
/// after it was overwritten.
#[test]
fn lapped_while_held_back() {
    check(1, || {
        let ring = tiny(2, 1);
        let mut subscription = everything(&ring);
        let go = Arc::new(AtomicBool::new(false));
        let neighbour = {
            let (ring, go) = (ring.clone(), go.clone());
            thread::spawn(move || {
                let asleep = |_| {
                    while !go.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                    Box::new(10)
                };
                ring.publish_with(FRAME, asleep).is_ok() as u64
            })
        };
        let mut got = Got::default();
        let mut published = publish(&ring, FRAME, 0..1);
        got.poll(&mut subscription);
        published += publish(&ring, FRAME, 1..2);
        got.poll(&mut subscription);
        go.store(true, Ordering::Relaxed);
        rest((subscription, got), published + neighbour.join().unwrap());
    });
}

/// Proves: of three publishers in two slots none ever waits. The slot of a suspended owner is void
/// for the others, lap after lap, and is granted again when the owner is done. Guards against: two
/// owners of one slot.
#[test]
fn three_publishers_in_two_slots() {
    check(1, || {
        let ring = tiny(2, 1);
        let subscription = everything(&ring);
        let others = [publisher(&ring, FRAME, 0..1), publisher(&ring, FRAME, 1..2)];
        let own = publish(&ring, FRAME, 2..if deep() { 4 } else { 3 });
        let published = others.into_iter().map(|it| it.join().unwrap()).sum::<u64>() + own;
        rest((subscription, Got::default()), published);
    });
}

/// Proves: a publisher that was suspended for a lap between its claim and its look at the gate
/// finds out whether its index was granted. Guards against: a slot with two owners, and one that
/// nobody finishes.
fn a_claimer_that_comes_late(
    ring: fn(u64, u64) -> Boxes,
    slots: u64,
    chunk: u64,
    preemptions: usize,
) {
    check(preemptions, move || {
        let ring = ring(slots, chunk);
        let subscription = everything(&ring);
        let late = publisher(&ring, FRAME, 10..11);
        let published = publish(&ring, FRAME, 0..slots + 1) + late.join().unwrap();
        rest((subscription, Got::default()), published);
        all_slots_come_back(&ring, slots, chunk);
    });
}

#[test]
fn a_claimer_that_comes_late_alone() {
    a_claimer_that_comes_late(tiny, 2, 1, if deep() { 2 } else { 1 });
}

/// It finds the sequence number of its index.
#[test]
fn a_claimer_that_comes_late_alone_indexed() {
    a_claimer_that_comes_late(indexed, 2, 1, usize::from(deep()));
}

#[test]
fn a_claimer_that_comes_late_to_a_chunk() {
    a_claimer_that_comes_late(tiny, 4, 2, if deep() { 2 } else { 1 });
}

/// Proves: two publishers that extend the window at once make one decision, with slack. Guards
/// against: two decisions on a chunk, a limit raised over a chunk whose pins were not scanned.
#[test]
fn two_extenders_at_once() {
    check(usize::from(deep()), || {
        let ring = sequenced(Geometry::exact(4, 1, 1, 1));
        let subscription = everything(&ring);
        assert_eq!(publish(&ring, FRAME, 0..3), 3);
        let second = publisher(&ring, FRAME, 3..5);
        let reader = reader(subscription, 1);
        let published = 3 + publish(&ring, FRAME, 5..7) + second.join().unwrap();
        rest(reader.join().unwrap(), published);
    });
}

/// Proves: a publisher that finds the limit raised by another, which scanned the pins, may
/// overwrite what a reader had read by then. Guards against: a limit that does not carry on what
/// its extender saw.
fn opened_by_another(ring: fn() -> Boxes, route: Route, batches: u64, preemptions: usize) {
    check(preemptions, move || {
        let ring = ring();
        // One lane has all that matters here, and fewer steps.
        let select = if route.terminal {
            Select::Terminals
        } else {
            Select::All
        };
        let mut subscription = ring.subscribe(select, None, Start::Oldest).unwrap();
        assert_eq!(publish(&ring, route, 0..2), 2);
        // Relaxed: the reader is done by then, but only its pin says so to publishers.
        let done = Arc::new(AtomicBool::new(false));
        let reader = {
            let done = done.clone();
            thread::spawn(move || {
                let mut got = Got::default();
                for _ in 0..batches {
                    subscription.batch(|delivery| got.take(delivery));
                }
                done.store(true, Ordering::Relaxed);
                got
            })
        };
        while !done.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let second = publisher(&ring, route, 2..3);
        publish(&ring, route, 3..4);
        second.join().unwrap();
        assert_eq!(reader.join().unwrap().values(), [0, 1][..batches as usize]);
    });
}

/// The other raised it to where this one goes on, with a scan of its own.
#[test]
fn a_limit_raised_by_another_to_extend() {
    opened_by_another(|| sequenced(Geometry::exact(2, 1, 0, 1)), TERMINAL, 1, 2);
}

/// The other raised it far enough: this one does not scan the pins at all.
#[test]
fn a_limit_raised_by_another_far_enough() {
    opened_by_another(|| sequenced(Geometry::exact(2, 1, 1, 1)), TERMINAL, 2, 2);
}

/// The other extended the clear run.
#[test]
fn a_clear_run_extended_by_another() {
    opened_by_another(|| indexed(2, 2), FRAME, 2, 1);
}

/// Proves: while a reader sleeps in its batch, two publishers lap the ring without waiting for it,
/// extend the window at once, and leave the frame that it holds alone. Guards against: pinned slots
/// not made void, or void only to one of the extenders.
#[test]
fn a_reader_asleep_in_its_batch() {
    check(usize::from(deep()), || {
        let ring = tiny(4, 1);
        let mut subscription = everything(&ring);
        let mut published = publish(&ring, FRAME, [7]);
        let mut got = Got::default();
        subscription.batch(|delivery| {
            let others = [10..13, 20..23].map(|values| publisher(&ring, FRAME, values));
            published += others.into_iter().map(|it| it.join().unwrap()).sum::<u64>();
            // Each saw the other's frames, or took its slots for unfinished. Now all are finished.
            assert_eq!(publish(&ring, FRAME, 30..34), 4);
            assert!(matches!(delivery, Delivery::Frame(1, value) if **value == 7));
            got.take(delivery)
        });
        rest((subscription, got), published + 4);
    });
}

/// Proves: the same in a shard that is not the first, alone and in a batch.
#[test]
fn a_reader_asleep_in_its_batch_of_another_shard() {
    check(1, || {
        let ring = shards(2, Geometry::exact(2, 1, 0, 1));
        let select = Select::Shard(1);
        let mut subscription = ring.subscribe(select, None, Start::Oldest).unwrap();
        let mut published = publish(&ring, ELSEWHERE, [7]);
        let mut got = Got::default();
        subscription.batch(|delivery| {
            let other = publisher(&ring, ELSEWHERE, 10..12);
            let batch = ring.publish_all_with([ELSEWHERE], Box::new);
            published += u64::from(batch.is_ok()) + other.join().unwrap();
            assert!(matches!(delivery, Delivery::Frame(1, value) if **value == 7));
            got.take(delivery)
        });
        got.poll(&mut subscription);
        got.poll(&mut subscription);
        got.complete_or_reported(published);
    });
}

/// Proves: batches over the slot that a sleeping reader holds leave it alone, beside another
/// publisher. Guards against: a batch that takes its range without a look for void indices.
fn batches_over_a_reader(ring: fn(u64, u64) -> Boxes) {
    check(1, move || {
        let ring = ring(4, 1);
        let mut subscription = everything(&ring);
        let mut published = publish(&ring, FRAME, [7]);
        let mut got = Got::default();
        subscription.batch(|delivery| {
            let other = publisher(&ring, FRAME, 20..21);
            for _ in 0..2 {
                let made = ring.publish_all_with([FRAME; 2], Box::new);
                published += made.map_or(0, |numbers| numbers.end - numbers.start);
            }
            published += other.join().unwrap();
            assert!(matches!(delivery, Delivery::Frame(1, value) if **value == 7));
            got.take(delivery)
        });
        rest((subscription, got), published);
    });
}

#[test]
fn batches_over_a_sleeping_reader() {
    batches_over_a_reader(tiny);
}

/// Its numbers have no hole where the void index is.
#[test]
fn batches_over_a_sleeping_reader_indexed() {
    batches_over_a_reader(indexed);
}

/// Proves: while a publisher sleeps between its number and its stamp, another laps the ring and
/// does not wait for it. The slot is the sleeper's until it is done, and is granted again after
/// that. Guards against: the slot of a suspended owner granted again, a void slot that stays void
/// for ever.
fn a_publisher_asleep(ring: fn(u64, u64) -> Boxes) {
    check(1, move || {
        let ring = ring(2, 1);
        let subscription = everything(&ring);
        let mut published = 1;
        ring.publish_with(FRAME, |_| {
            let other = publisher(&ring, FRAME, 10..12);
            let reader = reader(everything(&ring), 1);
            // Refused only while the reader holds the other slot.
            published += other.join().unwrap();
            reader.join().unwrap();
            Box::new(0)
        })
        .unwrap();
        let got = rest((subscription, Got::default()), published);
        assert!(got.values().contains(&0) || got.lost > 0);
        all_slots_come_back(&ring, 2, 1);
    });
}

#[test]
fn a_publisher_asleep_on_its_slot() {
    a_publisher_asleep(tiny);
}

/// Its slot is void meanwhile, and the numbers have no hole.
#[test]
fn a_publisher_asleep_on_its_slot_indexed() {
    a_publisher_asleep(indexed);
}

/// Proves: an index that its claimer abandons is passed over. Guards against: a read of a frame
/// that was never written.
fn a_number_too_high(ring: fn(&RingConfig) -> Boxes, preemptions: usize) {
    check(preemptions, move || {
        let lane = Geometry::exact(4, 1, 0, 1);
        let ring = ring(&RingConfig {
            shards: 1,
            frames: lane,
            terminals: lane,
            after: MAX_SEQUENCE - 1,
            ..RingConfig::default()
        });
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 0..1);
        let reader = reader(subscription, 1);
        // One of the two gets the last number.
        let published = publish(&ring, FRAME, [1]) + second.join().unwrap();
        assert_eq!(published, 1);
        let (mut subscription, mut got) = reader.join().unwrap();
        got.poll(&mut subscription);
        assert_eq!((got.frames.len(), got.frames[0].0), (1, MAX_SEQUENCE));
        // The refused one took no number.
        assert_eq!((got.lost, ring.next_sequence()), (0, MAX_SEQUENCE + 1));
    });
}

#[test]
fn an_index_that_is_abandoned() {
    a_number_too_high(Ring::new, 2);
}

/// Both take a number from the counter, and one is refused.
#[test]
fn an_index_that_is_abandoned_sequenced() {
    a_number_too_high(Ring::with_counter, 1);
}

/// Proves: a batch whose code panics abandons its slots, beside a publisher and a reader. Guards
/// against: a slot that nobody finishes, a read of a frame that was never made.
#[test]
fn a_batch_that_panics_beside_a_publisher() {
    check(1, || {
        let ring = indexed(4, 2);
        let subscription = everything(&ring);
        let second = publisher(&ring, FRAME, 10..11);
        let reader = reader(subscription, 1);
        let panics = || {
            ring.publish_all_with([FRAME; 3], |number| {
                assert!(number % 2 == 1, "an even number");
                Box::new(number)
            })
        };
        let published = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
        assert!(published.is_err());
        // Each of its numbers is given, or lies in a gap before the next frame.
        let published = 3 + second.join().unwrap() + publish(&ring, FRAME, [20]);
        rest(reader.join().unwrap(), published);
        all_slots_come_back(&ring, 4, 2);
    });
}
