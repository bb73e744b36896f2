//! A batch that is refused moves no reader past what is published next, and takes no number.

use framebus::ring::{
    Delivery, Geometry, PublishError, Ring, RingConfig, Route, Select, Start, Subscription,
    TagFilter,
};
use std::ops::ControlFlow;

/// Publishes a frame for readers that start now, and checks that each gets it.
fn next_frame_is_read(ring: &Ring<u64>, case: &str) {
    let everything = TagFilter {
        mask: 0,
        value: 0,
        classes: 1,
    };
    let subscribe = |filter| ring.subscribe(Select::All, filter, Start::Latest).unwrap();
    let mut readers: [Subscription<u64>; 2] = [None, Some(everything)].map(subscribe);
    let Ok(published) = ring.publish(Route::default(), 7) else {
        return;
    };
    for reader in &mut readers {
        let mut got = Vec::new();
        for _ in 0..3 {
            reader.poll(|delivery| {
                got.push(match delivery {
                    Delivery::Frame(sequence, &frame) => Ok((sequence, frame)),
                    Delivery::Gap(gap) => Err(gap),
                });
                ControlFlow::Continue(())
            });
        }
        assert_eq!(got, [Ok((published, 7))], "{case}, {reader:?}");
        assert_eq!(reader.position(), published);
    }
}

/// Publishes batches of `count` after `singles` frames each, and keeps a reader in each batch,
/// until one is refused.
fn until_refused(ring: &Ring<u64>, count: usize, singles: usize, depth: usize, case: &str) {
    let mut reader = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    for _ in 0..singles {
        if ring.publish(Route::default(), 0).is_err() {
            break;
        }
    }
    let routes = std::iter::repeat_n(Route::default(), count);
    if ring.publish_all_with(routes, |sequence| sequence).is_err() {
        next_frame_is_read(ring, case);
    } else if depth > 0 {
        reader.batch(|_| {
            until_refused(ring, count, singles, depth - 1, case);
            ControlFlow::Break(())
        });
    }
}

#[test]
fn readers_that_start_after_a_refused_batch_get_the_next_frame() {
    for lane in [
        (2, 1, 0, 1),
        (4, 1, 1, 1),
        (4, 2, 2, 4),
        (8, 2, 2, 2),
        (16, 2, 4, 4),
    ] {
        let (slots, chunk, slack, batch) = lane;
        let geometry = Geometry::exact(slots, chunk, slack, batch);
        for count in 1..=geometry.window().min(7) {
            for singles in 0..6 {
                for before in [0, 5, 33] {
                    let ring = Ring::new(&RingConfig {
                        shards: 1,
                        frames: geometry,
                        terminals: geometry,
                        ..RingConfig::default()
                    });
                    for _ in 0..before {
                        ring.publish(Route::default(), 0).unwrap();
                    }
                    let case = format!("{lane:?}, {count}, {singles}, {before}");
                    until_refused(&ring, count, singles, 12, &case);
                }
            }
        }
    }
}

/// A batch that finds too few slots has opened the chunks that it looked at, up to a lap ahead.
#[test]
fn numbers_are_known_after_a_batch_that_found_no_room() {
    for slots in [2, 4, 8] {
        for published in 1..3 * slots {
            let lane = Geometry::exact(slots, 1, 0, 1);
            let ring = Ring::new(&RingConfig {
                shards: 1,
                frames: lane,
                terminals: lane,
                ..RingConfig::default()
            });
            let mut asleep = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
            ring.publish(Route::default(), 0).unwrap();
            // Its slot is void from now on, lap after lap.
            asleep.batch(|_| {
                let publish = |n| ring.publish(Route::default(), n).unwrap();
                let last = (1..published).fold(1, |_, n| publish(n));
                let all = std::iter::repeat_n(Route::default(), slots as usize);
                assert_eq!(ring.publish_all_with(all, |n| n), Err(PublishError::Stuck));
                assert_eq!(ring.next_sequence(), last + 1, "{slots} {published}");
                ControlFlow::Continue(())
            });
        }
    }
}
