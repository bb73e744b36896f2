//! Models of the index-numbered lane: sequence numbers follow from its indices, voids left out.
#![cfg(loom)]

use framebus::ring::{Delivery, Geometry, Route, Select, Start};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use loom_tests::{
    Boxes, FRAME, Got, TERMINAL, check, dense, everything, indexed, numbered_publisher,
    publish_numbered, rest, shards,
};
use std::ops::ControlFlow;

/// Proves: while a reader sleeps in its batch, a publisher that looks at its index after others
/// went round the lane writes there only if the index was granted, and finds its sequence number.
/// The reader counts the voids that it passes. Guards against: a void index of the lap before taken
/// for granted, a void index that gets a number.
fn over_a_sleeping_reader(slots: u64, chunk: u64, before: usize, others: usize) {
    check(1, move || {
        let ring = indexed(slots, chunk);
        let mut subscription = everything(&ring);
        let mut numbers = publish_numbered(&ring, FRAME, before);
        let mut got = Got::default();
        subscription.batch(|delivery| {
            let late = numbered_publisher(&ring, FRAME, 1);
            // Let it begin, without a preemption.
            thread::yield_now();
            numbers.extend(publish_numbered(&ring, FRAME, others));
            numbers.extend(late.join().unwrap());
            assert!(matches!(delivery, Delivery::Frame(1, value) if **value == 1));
            got.take(delivery)
        });
        rest((subscription, got), dense(numbers)).hold_their_numbers();
    });
}

#[test]
fn late_over_a_sleeping_reader() {
    over_a_sleeping_reader(2, 2, 2, 2);
}

#[test]
fn late_over_a_sleeping_reader_alone() {
    over_a_sleeping_reader(2, 1, 2, 1);
}

#[test]
fn late_over_a_sleeping_reader_in_chunks() {
    over_a_sleeping_reader(4, 2, 1, 4);
}

/// Proves: the next sequence number, where a subscription to the latest starts, is not above that
/// of a frame published later. Guards against: an index that may become void counted as a number.
#[test]
fn the_next_number_beside_a_claim() {
    check(1, || {
        let ring = indexed(2, 2);
        let mut subscription = everything(&ring);
        assert_eq!(publish_numbered(&ring, FRAME, 2), [1, 2]);
        let mut got = Got::default();
        subscription.batch(|delivery| {
            let other = numbered_publisher(&ring, FRAME, 1);
            let second = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let next = ring.next_sequence();
                    assert!(
                        publish_numbered(&ring, FRAME, 1)
                            .iter()
                            .all(|&own| own >= next)
                    );
                })
            };
            other.join().unwrap();
            second.join().unwrap();
            got.take(delivery)
        });
    });
}

/// Publishes one frame, alone or in a batch of one.
type Publish = fn(&Boxes, Route, &mut dyn FnMut(u64) -> Box<u64>) -> bool;

fn alone(ring: &Boxes, route: Route, make: &mut dyn FnMut(u64) -> Box<u64>) -> bool {
    ring.publish_with(route, make).is_ok()
}

fn batch(ring: &Boxes, route: Route, make: &mut dyn FnMut(u64) -> Box<u64>) -> bool {
    ring.publish_all_with([route], make).is_ok()
}

/// Proves: a reader that sees the numbers of terminal frames taken sees their slots claimed too,
/// and waits for them. Guards against: a terminal frame passed over.
fn a_terminal_frame_is_waited_for(publish: Publish) {
    check(1, move || {
        let ring = indexed(2, 2);
        let subscription = everything(&ring);
        let before = publish_numbered(&ring, FRAME, 1).len() as u64;
        let terminal = {
            let ring = ring.clone();
            thread::spawn(move || publish(&ring, TERMINAL, &mut |_| Box::new(100)))
        };
        let other = {
            let ring = ring.clone();
            thread::spawn(move || {
                let (mut subscription, mut got) = (subscription, Got::default());
                let published = before + publish_numbered(&ring, FRAME, 1).len() as u64;
                got.poll(&mut subscription);
                (subscription, got, published)
            })
        };
        let terminal = terminal.join().unwrap();
        let (subscription, got, published) = other.join().unwrap();
        let got = rest((subscription, got), published + u64::from(terminal));
        assert!(got.has(100) || !terminal, "terminal: {got:?}");
    });
}

#[test]
fn a_terminal_frame_beside_a_lap() {
    a_terminal_frame_is_waited_for(alone);
}

#[test]
fn a_terminal_batch_beside_a_lap() {
    a_terminal_frame_is_waited_for(batch);
}

/// Proves: the order bound of a terminal frame is above the indices of all frames with smaller
/// numbers. Guards against: a frame overtaken by one with a higher number.
fn a_terminal_frame_has_its_order_bound(publish: Publish) {
    check(1, move || {
        let ring = indexed(4, 4);
        let mut subscription = everything(&ring);
        publish_numbered(&ring, FRAME, 1);
        let first = {
            let ring = ring.clone();
            thread::spawn(move || publish(&ring, TERMINAL, &mut Box::new))
        };
        let second = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut got = Got::default();
                let mut first = Some(first);
                ring.publish_with(TERMINAL, |number| {
                    first.take().unwrap().join().unwrap();
                    got.poll(&mut subscription);
                    Box::new(number)
                })
                .unwrap();
                (subscription, got)
            })
        };
        let got = rest(second.join().unwrap(), 3);
        assert_eq!(got.lost, 0, "{got:?}");
    });
}

#[test]
fn a_terminal_frame_overtaken() {
    a_terminal_frame_has_its_order_bound(alone);
}

#[test]
fn a_terminal_batch_overtaken() {
    a_terminal_frame_has_its_order_bound(batch);
}

/// Proves: a publisher that claims in a clear run, while a batch that looks ahead finds a void and
/// begins another run above it, finds its own number. Guards against: the voids of a run counted
/// for an index below it.
///
/// The batch opens chunks before it claims. So loom sees its stores to the run and its claim in
/// conflict with the other's loads and claim. Between a claim and the loads that follow it, loom
/// would not switch.
#[test]
fn a_claim_below_a_new_clear_run() {
    check(1, || {
        let ring = indexed(8, 2);
        let mut numbers = publish_numbered(&ring, FRAME, 1);
        // While this one sleeps, its slot is void in the next lap.
        let own = ring.publish_with(FRAME, |own| {
            numbers.extend(publish_numbered(&ring, FRAME, 5));
            let batch = {
                let ring = ring.clone();
                thread::spawn(move || ring.publish_all_with([FRAME; 3], Box::new))
            };
            let late = numbered_publisher(&ring, FRAME, 1);
            numbers.extend(batch.join().unwrap().into_iter().flatten());
            numbers.extend(late.join().unwrap());
            Box::new(own)
        });
        numbers.extend(own);
        assert_eq!(dense(numbers), 11);
    });
}

/// Proves: a thread that asks for the next sequence number while publishers go round the lane
/// several times learns one that was the next meanwhile. Guards against: the voids of another lap.
#[test]
fn the_next_number_laps_ago() {
    check(1, || {
        let ring = indexed(2, 2);
        let mut subscription = everything(&ring);
        publish_numbered(&ring, FRAME, 2);
        subscription.batch(|_| {
            publish_numbered(&ring, FRAME, 1);
            let next = {
                let ring = ring.clone();
                thread::spawn(move || ring.next_sequence())
            };
            let other = numbered_publisher(&ring, FRAME, 4);
            let next = next.join().unwrap();
            assert!((4..=8).contains(&next), "{next}");
            assert_eq!(other.join().unwrap(), [4, 5, 6, 7]);
            ControlFlow::Continue(())
        });
    });
}

/// Proves: voids that are noted for a later lap, by a publisher that uses another's limit and so
/// runs no fence of its own, are not taken for those of an earlier lap. Guards against: a note that
/// does not carry the gate that its writer saw.
#[test]
fn the_voids_below_a_chunk_beside_a_note_of_a_later_lap() {
    check(0, || {
        // Of four slots one is held, so that it is void lap after lap. A publisher that comes to
        // the last slot raises the limit over the first one, and opens nothing after the last.
        let ring = shards(1, Geometry::exact(4, 1, 2, 1));
        assert_eq!(publish_numbered(&ring, FRAME, 2), [1, 2]);
        let start = Start::After(1);
        let mut asleep = ring.subscribe(Select::All, None, start).unwrap();
        asleep.batch(|_| {
            // Indices 2 to 8; 5 is void.
            publish_numbered(&ring, FRAME, 6);
            // Without preemptions, these run when the first one is joined, in this order.
            let go = Arc::new(AtomicBool::new(false));
            let last = {
                let (ring, go) = (ring.clone(), go.clone());
                thread::spawn(move || {
                    while !go.load(Ordering::Acquire) {
                        thread::yield_now();
                    }
                    publish_numbered(&ring, FRAME, 1);
                })
            };
            let voids = {
                let ring = ring.clone();
                thread::spawn(move || ring.voids_below_chunk(8))
            };
            // Up to index 23; 9, 13, 17 and 21 are void. The other one claims index 24.
            publish_numbered(&ring, FRAME, 11);
            go.store(true, Ordering::Release);
            last.join().unwrap();
            // The one void below index 8; or none is known, since that was too long ago.
            assert!(matches!(voids.join().unwrap(), Some(1) | None));
            ControlFlow::Continue(())
        });
    });
}

/// Proves: a thread that loads the next sequence number and then the tails sees the claims of all
/// terminal frames with smaller numbers. Guards against: a terminal frame passed over.
#[test]
fn a_terminal_frame_claimed() {
    check(1, || {
        let ring = indexed(2, 2);
        publish_numbered(&ring, FRAME, 1);
        let terminals = ring
            .subscribe(Select::Terminals, None, Start::Oldest)
            .unwrap();
        let terminal = {
            let ring = ring.clone();
            thread::spawn(move || ring.publish_with(TERMINAL, Box::new).unwrap())
        };
        let next = ring.next_sequence();
        let claimed = terminals.is_behind();
        assert!(terminal.join().unwrap() >= next || claimed);
    });
}

/// Proves: a publisher that finds a chunk opened by another, which scanned the pins, may overwrite
/// what a reader had read by then, also if a slot of the chunk is void. Guards against: a decision
/// that does not carry on what its opener saw.
#[test]
fn a_gate_opened_by_another() {
    check(1, || {
        let ring = indexed(4, 4);
        let mut asleep = everything(&ring);
        publish_numbered(&ring, FRAME, 4);
        // Its slot is void, so that there is no clear run.
        asleep.batch(|_| {
            let mut subscription = ring.subscribe(Select::All, None, Start::After(2)).unwrap();
            // Relaxed: the reader is done by then, but only its pin says so to publishers.
            let done = Arc::new(AtomicBool::new(false));
            let reader = {
                let done = done.clone();
                thread::spawn(move || {
                    let mut got = Got::default();
                    subscription.batch(|delivery| got.take(delivery));
                    done.store(true, Ordering::Relaxed);
                    got
                })
            };
            while !done.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let second = numbered_publisher(&ring, FRAME, 1);
            publish_numbered(&ring, FRAME, 1);
            second.join().unwrap();
            assert_eq!(reader.join().unwrap().frames, [(3, 3)]);
            ControlFlow::Continue(())
        });
    });
}
