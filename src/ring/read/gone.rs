//! Tests: subscriptions that were dropped cost publishers nothing. The tests count steps, not time.

use crate::ring::hw::processors;
use crate::ring::lane::LaneId;
use crate::ring::registry::steps;
use crate::ring::{Geometry, Ring, RingConfig, Route, Select, Start, Subscription};
use std::task::Waker;

fn ring(shards: usize) -> Ring<u64> {
    let lane = Geometry::for_window(64);
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    })
}

/// A subscription that is parked for one key.
fn parked(ring: &Ring<u64>, select: Select) -> Subscription<u64> {
    let mut subscription = ring.subscribe(select, None, Start::Latest).unwrap();
    subscription.register_waker(Some(7), Waker::noop()).unwrap();
    subscription
}

/// How many rows are walked over by a publish that wakes all waiters, by one that finds none
/// parked, and when the waiter registers again.
fn waking(ring: &Ring<u64>, waiter: &mut Subscription<u64>) -> [usize; 3] {
    let keys = [7, 8];
    let publish = || {
        ring.publish(Route::default(), 1).unwrap();
        ring.wake(Route::default(), keys);
    };
    [
        steps::of(publish),
        steps::of(publish),
        steps::of(|| waiter.register_waker(Some(7), Waker::noop()).unwrap()),
    ]
}

/// How many rows are walked over while publishers go round the lanes three times.
fn going_round(ring: &Ring<u64>) -> usize {
    let slots = ring.core_for_tests().lane(LaneId::FIRST).geometry().slots();
    steps::of(|| {
        for n in 0..3 * slots as u64 {
            ring.publish(Route::default(), n).unwrap();
        }
    })
}

#[test]
fn a_peak_of_subscriptions_that_are_gone_is_not_walked_over() {
    for shards in [1, 2] {
        for select in [Select::Shard(0), Select::All] {
            let fresh = {
                let ring = ring(shards);
                let mut reader = parked(&ring, select);
                (waking(&ring, &mut reader), going_round(&ring))
            };
            for peak in [2, 9, 1_000] {
                for survivor in [0, peak / 2, peak - 1] {
                    let ring = ring(shards);
                    let mut readers: Vec<_> = (0..peak).map(|_| parked(&ring, select)).collect();
                    assert_eq!(ring.stats().parked, peak as u64);
                    let crowded = readers[0].is_crowded();
                    assert_eq!(crowded, peak > processors());
                    let mut last = readers.swap_remove(survivor);
                    drop(readers);
                    let now = (waking(&ring, &mut last), going_round(&ring));
                    assert_eq!(now, fresh, "{shards}, {select:?}, {survivor} of {peak}");
                    assert!(!last.is_crowded());
                    assert_eq!(ring.stats().parked, 1);
                }
            }
        }
    }
}

#[test]
fn subscriptions_that_come_and_go_leave_no_rows() {
    let ring = ring(2);
    let fresh = going_round(&ring);
    for n in 0..1_000 {
        let select = [Select::All, Select::Shard(n), Select::Terminals][n % 3];
        let first = parked(&ring, select);
        let second = first.try_clone().unwrap();
        drop(first);
        drop(second);
    }
    assert_eq!(going_round(&ring), fresh);
}
