//! What is left of a publish whose code panics: no frame is dropped twice, none is dropped that was
//! never made, readers go on, and each number is given or reported as lost.

use framebus::ring::{
    Delivery, Geometry, Polled, Ring, RingConfig, Route, Select, Start, Subscription,
};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

const MADE: u64 = 0x6d61_6465_6d61_6465;

/// A frame that notices if it is dropped twice, or was never made.
struct Noticing {
    state: u64,
    number: u64,
}

thread_local! {
    /// How many frames were made and not dropped since.
    static ALIVE: Cell<i64> = const { Cell::new(0) };
    /// How many frames were dropped that did not exist.
    static STRANGE: Cell<u64> = const { Cell::new(0) };
}

impl Noticing {
    fn new(number: u64) -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Noticing {
            state: MADE,
            number,
        }
    }
}

impl Drop for Noticing {
    fn drop(&mut self) {
        if self.state == MADE {
            ALIVE.set(ALIVE.get() - 1);
        } else {
            STRANGE.set(STRANGE.get() + 1);
        }
        self.state = 0;
    }
}

/// Runs `with` on a ring of `shards` shards, drops the ring, and checks that each frame was dropped
/// once.
fn each_is_dropped_once(shards: usize, lane: Geometry, with: impl FnOnce(&Ring<Noticing>)) {
    let ring = Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    });
    with(&ring);
    drop(ring);
    assert_eq!((STRANGE.take(), ALIVE.take()), (0, 0));
}

fn everything(ring: &Ring<Noticing>) -> Subscription<Noticing> {
    ring.subscribe(Select::All, None, Start::Oldest).unwrap()
}

/// Reads all that is there. Returns how many frames were given, and how many were lost.
fn drain(subscription: &mut Subscription<Noticing>) -> (u64, u64) {
    let (mut given, mut lost) = (0, 0);
    let polled = subscription.poll(|delivery| {
        match delivery {
            Delivery::Frame(number, frame) => {
                assert_eq!((frame.state, frame.number), (MADE, number));
                given += 1;
            }
            Delivery::Gap(gap) => lost += gap.lost,
        }
        ControlFlow::Continue(())
    });
    assert_eq!(polled, Polled::CaughtUp);
    (given, lost)
}

/// Which part of a batch panics.
#[derive(Clone, Copy, Debug)]
enum Bad {
    /// The frame at this position of the batch.
    Frame(usize),
    /// The route at this position, when the routes are gone through the second time.
    Route(usize),
}

/// Publishes a batch of which a part panics. Returns whether the batch was refused instead.
fn publish(ring: &Ring<Noticing>, routes: &[Route], bad: Bad) -> bool {
    let (frames, seen) = (Cell::new(0), Cell::new(0));
    let next = |count: &Cell<usize>| count.replace(count.get() + 1);
    let routes_gone_through = routes.iter().inspect(|_| {
        let at = next(&seen);
        if let Bad::Route(bad) = bad {
            assert!(at != routes.len() + bad, "route");
        }
    });
    let make = |number| {
        let at = next(&frames);
        if let Bad::Frame(bad) = bad {
            assert!(at != bad, "frame");
        }
        Noticing::new(number)
    };
    let publish = || ring.publish_all_with(routes_gone_through.copied(), make);
    match catch_unwind(AssertUnwindSafe(publish)) {
        Ok(published) => {
            assert!(published.is_err(), "{bad:?} was not reached");
            true
        }
        Err(_) => false,
    }
}

/// Batches of this length: for one lane, for two lanes by turns, and for two lanes by turns of
/// five.
fn batches(length: usize) -> [Vec<Route>; 3] {
    let route = |terminal| Route {
        terminal,
        ..Route::default()
    };
    let by = |terminal: fn(usize) -> bool| (0..length).map(|at| route(terminal(at))).collect();
    [
        by(|_| false),
        by(|at| at % 2 == 1),
        by(|at| at / 5 % 2 == 1),
    ]
}

/// In the first lap, the slots after the frame that was not made hold no older frame.
#[test]
fn a_batch_that_panics_in_the_first_lap_takes_no_empty_slot_for_a_frame() {
    const LENGTH: usize = 40;
    for shards in [1, 2] {
        for routes in batches(LENGTH) {
            for bad in (0..LENGTH).flat_map(|at| [Bad::Frame(at), Bad::Route(at)]) {
                each_is_dropped_once(shards, Geometry::for_window(LENGTH), |ring| {
                    assert!(!publish(ring, &routes, bad));
                });
            }
        }
    }
}

#[test]
fn readers_go_on_after_a_batch_that_panics_in_any_lap() {
    const LENGTH: usize = 20;
    for shards in [1, 2] {
        for routes in batches(LENGTH) {
            each_is_dropped_once(shards, Geometry::for_window(LENGTH), |ring| {
                let mut all = everything(ring);
                for bad in (0..LENGTH).map(Bad::Frame) {
                    assert!(!publish(ring, &routes, bad));
                    // A poll between the two hides no number of the batch.
                    let (given, lost) = drain(&mut all);
                    ring.publish_with(Route::default(), Noticing::new).unwrap();
                    let (more, more_lost) = drain(&mut all);
                    let known = given + lost + more + more_lost;
                    assert_eq!(known, LENGTH as u64 + 1, "{shards} {bad:?}");
                }
            });
        }
    }
}

/// A void slot splits the batch's claims: they are made one by one.
#[test]
fn readers_go_on_after_a_batch_that_panics_beside_a_void_slot() {
    const LENGTH: usize = 6;
    for shards in [1, 2] {
        for routes in batches(LENGTH) {
            for bad in (0..LENGTH).map(Bad::Frame) {
                each_is_dropped_once(shards, Geometry::exact(16, 4, 0, 1), |ring| {
                    let (mut asleep, mut all) = (everything(ring), everything(ring));
                    let publish_one = || {
                        for route in [Route::default(), Route::default().terminal()] {
                            ring.publish_with(route, Noticing::new).unwrap();
                        }
                    };
                    (0..3).for_each(|_| publish_one());
                    asleep.batch(|_| {
                        // More than a lap, so that the batch comes to the slot that is held.
                        (0..13).for_each(|_| publish_one());
                        let before = ring.next_sequence() - 1;
                        let (given, lost) = drain(&mut all);
                        assert_eq!(given + lost, before);
                        publish(ring, &routes, bad);
                        publish_one();
                        let published = ring.next_sequence() - 1 - before;
                        let (given, lost) = drain(&mut all);
                        assert_eq!(given + lost, published, "{shards} {bad:?}");
                        ControlFlow::Break(())
                    });
                });
            }
        }
    }
}

/// Its destructor panics.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new(()));
    }
}

#[test]
fn a_frame_whose_destructor_panics_costs_its_replacer_nothing() {
    for shards in [1, 2] {
        let lane = Geometry::for_window(4);
        let ring = Ring::new(&RingConfig {
            shards,
            frames: lane,
            terminals: lane,
            ..RingConfig::default()
        });
        for route in [Route::default(), Route::default().terminal()] {
            for _ in 0..20 {
                let next = ring.next_sequence();
                assert_eq!(ring.publish(route, PanicsWhenDropped), Ok(next));
                let numbers = ring.publish_all_with([route; 3], |_| PanicsWhenDropped);
                assert_eq!(numbers, Ok(next + 1..next + 4));
            }
        }
    }
}
