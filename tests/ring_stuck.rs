//! Batches that are refused: over a lane of which readers hold all slots, until the readers have
//! gone on, and those that no lane holds.

use framebus::ring::{Geometry, PublishError, Ring, RingConfig, Route, Select, Start};
use std::ops::ControlFlow;

fn batch(ring: &Ring<u64>, count: usize) -> Result<std::ops::Range<u64>, PublishError> {
    ring.publish_all_with(std::iter::repeat_n(Route::default(), count), |number| {
        number
    })
}

/// Puts readers to sleep in their batches, one after the other, each holding what was published
/// since the last one, until a batch is refused. Returns whether one was.
fn refused(ring: &Ring<u64>, count: usize, most: usize) -> bool {
    let mut reader = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    if batch(ring, count).is_err() {
        return true;
    }
    let mut refused = false;
    reader.batch(|_| {
        refused = most > 0 && self::refused(ring, count, most - 1);
        ControlFlow::Break(())
    });
    refused
}

#[test]
fn a_batch_is_accepted_again_once_the_readers_that_held_all_slots_are_gone() {
    for shards in [1, 2] {
        for window in [1, 2, 8] {
            let lane = Geometry::for_window(window);
            let ring = Ring::new(&RingConfig {
                shards,
                frames: lane,
                terminals: lane,
                ..RingConfig::default()
            });
            let count = window.min(2);
            assert!(refused(&ring, count, 64), "{shards} shards, {window}");
            let next = ring.next_sequence();
            for round in 0..20 {
                let numbers = batch(&ring, count).expect("nobody holds a slot");
                assert_eq!(
                    numbers.start,
                    next + round * count as u64,
                    "a refusal took numbers"
                );
            }
        }
    }
}

#[test]
fn a_batch_that_is_too_large_says_how_many_of_its_frames_are_for_the_lane() {
    let lane = Geometry::for_window(16);
    let ring = Ring::<u64>::new(&RingConfig {
        shards: 2,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    });
    let routes = (0..150).map(|at| Route {
        shard: usize::from(at % 3 == 0),
        ..Route::default()
    });
    let error = ring.publish_all_with(routes, |number| number);
    let (count, most) = (100, lane.window() as u64);
    assert_eq!(error, Err(PublishError::BatchTooLarge { count, most }));
    assert_eq!(ring.next_sequence(), 1);
}
