//! Models of the terminal rule: a terminal frame is given, or its loss is reported as such.
#![cfg(loom)]

use framebus::ring::{Geometry, Select, Start};
use loom::thread;
use loom_tests::{
    FRAME, Got, TERMINAL, check, deep, everything, publish, publisher, reader, rest, shards, tiny,
};

/// Proves: if terminal frames themselves lap the reader, each gap says so, also one that is
/// reported late, since a publisher was suspended for the lap. Guards against: a terminal frame
/// neither given nor reported.
#[test]
fn terminal_frames_lap_a_reader() {
    check(usize::from(deep()), || {
        let ring = tiny(4, 2);
        let subscription = everything(&ring);
        let second = publisher(&ring, TERMINAL, 3..5);
        let reader = reader(subscription, 1);
        let published = publish(&ring, TERMINAL, 0..3) + second.join().unwrap();
        let got = rest(reader.join().unwrap(), published);
        assert_eq!(got.lost_no_terminals, 0, "{got:?}");
    });
}

/// Proves: while ordinary frames lap the reader, the terminal frame is given, in order. Guards
/// against: a terminal frame that is overwritten by the flood, overtaken, or given twice.
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

/// Proves: the same for a terminal frame whose publisher was suspended for a whole lap between its
/// claim and its number, which it gets long after its loss was noticed: for a reader of everything
/// and for one of a shard. Guards against: a loss that is forgotten before it has a number.
fn a_terminal_frame_numbered_late(select: Select, slack: u64) {
    check(1, move || {
        let ring = shards(2, Geometry::exact(2, 1, slack, 1));
        let mut subscription = ring.subscribe(select, None, Start::Oldest).unwrap();
        let first = publish(&ring, TERMINAL, 20..20 + slack);
        let other = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut got = Got::default();
                let mut published = publish(&ring, TERMINAL, 0..2 - slack);
                got.poll(&mut subscription);
                published += publish(&ring, TERMINAL, 2..3 - slack);
                got.poll(&mut subscription);
                (subscription, got, published)
            })
        };
        let late = publish(&ring, TERMINAL, 10..11);
        let (mut subscription, mut got, published) = other.join().unwrap();
        got.poll(&mut subscription);
        got.poll(&mut subscription);
        got.complete_or_reported(first + published + late);
        assert_eq!(got.lost_no_terminals, 0, "{got:?}");
    });
}

#[test]
fn a_terminal_frame_numbered_late_for_all() {
    a_terminal_frame_numbered_late(Select::All, 0);
}

#[test]
fn a_terminal_frame_numbered_late_for_a_shard() {
    a_terminal_frame_numbered_late(Select::Shard(0), 0);
}

/// Its index was not granted yet when the horizon, ahead by the slack, passed it.
#[test]
fn a_terminal_frame_granted_late() {
    a_terminal_frame_numbered_late(Select::Shard(0), 1);
}
