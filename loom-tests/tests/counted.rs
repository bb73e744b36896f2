//! Models of a lane that counts: numbers are its indices but for the void ones.
#![cfg(loom)]

use framebus::ring::{Delivery, Route, Select, Start};
use loom::thread;
use loom_tests::{
    Boxes, FRAME, Got, TERMINAL, check, counted, dense, everything, number, numberer, rest,
};
use std::ops::ControlFlow;

/// Proves: while a reader sleeps in its batch, a publisher that comes to its index after others went round
/// the lane writes there only if the index was granted, and finds the number that it had then; the reader
/// counts the voids that it passes. Guards against: an index of a lap ago taken for granted, a void taken for
/// a number.
fn over_a_sleeping_reader(places: u64, chunk: u64, before: usize, others: usize) {
    check(1, move || {
        let ring = counted(places, chunk);
        let mut subscription = everything(&ring);
        let mut numbers = number(&ring, FRAME, before);
        let mut got = Got::default();
        subscription.batch(|delivery| {
            both(&ring, others, &mut numbers);
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
    over_a_sleeping_reader(2, 2, 2, 1);
}

#[test]
fn late_over_a_sleeping_reader_in_chunks() {
    over_a_sleeping_reader(4, 2, 1, 4);
}

/// Proves: the next number, where a subscription to the latest starts, is not above that of a frame published
/// after. Guards against: numbers of indices that may become void taken for given.
#[test]
fn the_next_number_beside_a_claim() {
    check(1, || {
        let ring = counted(2, 2);
        let mut subscription = everything(&ring);
        assert_eq!(number(&ring, FRAME, 2), [1, 2]);
        let mut got = Got::default();
        subscription.batch(|delivery| {
            let other = numberer(&ring, FRAME, 1);
            let second = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let next = ring.next_sequence();
                    assert!(number(&ring, FRAME, 1).iter().all(|&own| own >= next));
                })
            };
            other.join().unwrap();
            second.join().unwrap();
            got.take(delivery)
        });
    });
}

/// Publishes one frame, or a batch of one.
type Publish = fn(&Boxes, Route, &mut dyn FnMut(u64) -> Box<u64>) -> bool;

fn alone(ring: &Boxes, route: Route, make: &mut dyn FnMut(u64) -> Box<u64>) -> bool {
    ring.publish_with(route, make).is_ok()
}

fn batch(ring: &Boxes, route: Route, make: &mut dyn FnMut(u64) -> Box<u64>) -> bool {
    ring.publish_all_with([route], make).is_ok()
}

/// Proves: a reader that sees numbers given for terminal frames sees their places claimed too, and waits for
/// them. Guards against: a terminal frame passed over.
fn a_terminal_frame_is_waited_for(publish: Publish) {
    check(1, move || {
        let ring = counted(2, 2);
        let subscription = everything(&ring);
        let before = number(&ring, FRAME, 1).len() as u64;
        let terminal = {
            let ring = ring.clone();
            thread::spawn(move || publish(&ring, TERMINAL, &mut |_| Box::new(100)))
        };
        let other = {
            let ring = ring.clone();
            thread::spawn(move || {
                let (mut subscription, mut got) = (subscription, Got::default());
                let published = before + number(&ring, FRAME, 1).len() as u64;
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

/// Proves: a terminal frame bears a fence above all that took smaller numbers. Guards against: a frame
/// overtaken by one with a higher number.
fn a_terminal_frame_bears_its_fence(publish: Publish) {
    check(1, move || {
        let ring = counted(4, 4);
        let mut subscription = everything(&ring);
        number(&ring, FRAME, 1);
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
    a_terminal_frame_bears_its_fence(alone);
}

#[test]
fn a_terminal_batch_overtaken() {
    a_terminal_frame_bears_its_fence(batch);
}

/// Proves: who comes late to an index of a clear stretch, while another stretch begins above a void, finds its
/// own number. Guards against: a stretch's voids counted for another's index.
#[test]
fn late_to_a_clear_stretch() {
    check(1, || {
        let ring = counted(4, 2);
        let mut numbers = number(&ring, FRAME, 1);
        both(&ring, 5, &mut numbers);
        dense(numbers);
    });
}

/// Proves: who asks for the next number while publishers go round the lane several times learns one that was
/// the next meanwhile. Guards against: another lap's voids.
#[test]
fn the_next_number_laps_ago() {
    check(1, || {
        let ring = counted(2, 2);
        let mut subscription = everything(&ring);
        number(&ring, FRAME, 2);
        subscription.batch(|_| {
            number(&ring, FRAME, 1);
            let next = {
                let ring = ring.clone();
                thread::spawn(move || ring.next_sequence())
            };
            let other = numberer(&ring, FRAME, 4);
            let next = next.join().unwrap();
            assert!((4..=8).contains(&next), "{next}");
            assert_eq!(other.join().unwrap(), [4, 5, 6, 7]);
            ControlFlow::Continue(())
        });
    });
}

/// Two publish at once, one frame and so many; notes the numbers that they got.
fn both(ring: &Boxes, others: usize, numbers: &mut Vec<u64>) {
    let threads = [1, others].map(|count| numberer(ring, FRAME, count));
    let published = threads.into_iter().flat_map(|it| it.join().unwrap());
    numbers.extend(published);
}

/// Proves: who learns the next number, and then how far the lanes are claimed, sees the claims of all terminal
/// frames with smaller numbers. Guards against: a terminal frame passed over.
fn a_terminal_frame_is_seen(publish: Publish) {
    check(1, move || {
        let ring = counted(2, 2);
        number(&ring, FRAME, 1);
        let terminals = ring
            .subscribe(Select::Terminals, None, Start::Oldest)
            .unwrap();
        let terminal = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut own = 0;
                publish(&ring, TERMINAL, &mut |number| {
                    own = number;
                    Box::new(number)
                });
                own
            })
        };
        let next = ring.next_sequence();
        let claimed = terminals.is_behind();
        assert!(terminal.join().unwrap() >= next || claimed);
    });
}

#[test]
fn a_terminal_frame_claimed() {
    a_terminal_frame_is_seen(alone);
}

#[test]
fn a_terminal_batch_claimed() {
    a_terminal_frame_is_seen(batch);
}
