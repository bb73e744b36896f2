//! The ring alone, through its public interface, with frames that are numbers.

use framebus::ring::{
    Delivery, Gap, Geometry, Polled, PublishError, Ring, RingConfig, Route, Select, Start,
    SubscribeError, Subscription, TagFilter,
};
use std::iter::repeat_n;
use std::ops::ControlFlow;

/// What a subscription gave: frames by number and value, and gaps.
#[derive(Debug, PartialEq, Clone)]
enum Got {
    Frame(u64, u64),
    Gap(Gap),
}

fn drain(subscription: &mut Subscription<u64>) -> Vec<Got> {
    let mut got = Vec::new();
    let polled = subscription.poll(|delivery| {
        got.push(match delivery {
            Delivery::Frame(number, &value) => Got::Frame(number, value),
            Delivery::Gap(gap) => Got::Gap(gap),
        });
        ControlFlow::Continue(())
    });
    assert_eq!(polled, Polled::CaughtUp);
    got
}

fn numbers(got: &[Got]) -> Vec<u64> {
    let number = |got: &Got| match got {
        Got::Frame(number, _) => Some(*number),
        Got::Gap(_) => None,
    };
    got.iter().filter_map(number).collect()
}

fn lost(got: &[Got]) -> u64 {
    let lost = |got: &Got| match got {
        Got::Gap(gap) => gap.lost,
        Got::Frame(..) => 0,
    };
    got.iter().map(lost).sum()
}

fn small(shards: usize) -> Ring<u64> {
    let lane = Geometry::for_window(16);
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    })
}

fn to(shard: usize) -> Route {
    Route {
        shard,
        ..Route::default()
    }
}

#[test]
fn gives_all_shards_in_one_order() {
    let ring = small(4);
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    for value in 0..40 {
        let route = to(value as usize * 7);
        let route = if value % 3 == 0 {
            route.terminal()
        } else {
            route
        };
        assert_eq!(ring.publish(route, value).unwrap(), value + 1);
    }
    let expected: Vec<_> = (0..40).map(|value| Got::Frame(value + 1, value)).collect();
    assert_eq!(drain(&mut all), expected);
    assert_eq!(drain(&mut all), []);
}

#[test]
fn a_lapped_reader_gets_exact_gaps_and_keeps_the_terminals() {
    let ring = small(1);
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    for value in 0..1_000 {
        let route = if value % 100 == 50 {
            to(0).terminal()
        } else {
            to(0)
        };
        ring.publish(route, value).unwrap();
    }
    let got = drain(&mut all);
    let terminals: Vec<_> = numbers(&got)
        .into_iter()
        .filter(|n| n % 100 == 51)
        .collect();
    assert_eq!(terminals.len(), 10, "every terminal frame: {got:?}");
    assert_eq!(numbers(&got).len() as u64 + lost(&got), 1_000);
    assert!(numbers(&got).len() >= 16 + 9);
    assert!(numbers(&got).is_sorted());
    for pair in got.windows(2) {
        if let [Got::Gap(gap), Got::Frame(number, _)] = pair {
            assert_eq!(
                gap.last + 1,
                *number,
                "a gap comes right before the frame after it"
            );
            assert_eq!(gap.lost, gap.last - gap.first + 1);
            assert!(!gap.terminals_lost && !gap.expired);
        }
    }
}

#[test]
fn a_lapped_terminal_lane_is_reported() {
    let ring = small(1);
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    for value in 0..100 {
        ring.publish(to(0).terminal(), value).unwrap();
    }
    let got = drain(&mut all);
    assert!(
        matches!(
            got[0],
            Got::Gap(Gap {
                first: 1,
                terminals_lost: true,
                ..
            })
        ),
        "{got:?}"
    );
    assert_eq!(numbers(&got).len() as u64 + lost(&got), 100);
}

#[test]
fn starts_where_it_was_asked_to() {
    let ring = small(2);
    for value in 0..12 {
        ring.publish(to(value as usize), value).unwrap();
    }
    let start = |start| ring.subscribe(Select::All, None, start).unwrap();
    let (mut oldest, mut after, mut latest) = (
        start(Start::Oldest),
        start(Start::After(5)),
        start(Start::Latest),
    );
    ring.publish(to(0), 12).unwrap();
    assert_eq!(numbers(&drain(&mut oldest)), (1..=13).collect::<Vec<_>>());
    assert_eq!(numbers(&drain(&mut after)), (6..=13).collect::<Vec<_>>());
    assert_eq!(numbers(&drain(&mut latest)), [13]);
    let ahead = ring
        .subscribe(Select::All, None, Start::After(14))
        .unwrap_err();
    assert_eq!(
        ahead,
        SubscribeError::Ahead {
            after: 14,
            last: 13
        }
    );
}

#[test]
fn what_expired_before_is_reported_as_expired() {
    let ring = small(1);
    for value in 0..500 {
        ring.publish(to(0), value).unwrap();
    }
    let mut after = ring
        .subscribe(Select::All, None, Start::After(100))
        .unwrap();
    let got = drain(&mut after);
    let Got::Gap(gap) = &got[0] else {
        panic!("{got:?}")
    };
    assert!(gap.expired && gap.first == 101 && !gap.terminals_lost);
    assert_eq!(numbers(&got).len() as u64 + lost(&got), 400);
    let mut oldest = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let got = drain(&mut oldest);
    assert_eq!(lost(&got), 0);
    assert!(got.len() >= 16);
    let mut latest = ring
        .subscribe(Select::Shard(0), None, Start::Latest)
        .unwrap();
    assert_eq!(drain(&mut latest), []);
}

#[test]
fn a_filter_passes_over_by_tag() {
    let ring = small(1);
    let filter = TagFilter {
        mask: 0xff00,
        value: 0x0300,
        classes: 1 << 1,
    };
    let mut one = ring
        .subscribe(Select::Shard(0), Some(filter), Start::Oldest)
        .unwrap();
    for value in 0..16 {
        let tag = ((value as u32 % 4) << 8) | (value as u32 / 8);
        ring.publish(Route { tag, ..to(0) }, value).unwrap();
    }
    assert_eq!(drain(&mut one), [Got::Frame(12, 11), Got::Frame(16, 15)]);
}

#[test]
fn terminals_alone() {
    let ring = small(2);
    let mut terminals = ring
        .subscribe(Select::Terminals, None, Start::Oldest)
        .unwrap();
    for value in 0..200 {
        let route = to(value as usize / 16);
        ring.publish(
            if value % 16 == 7 {
                route.terminal()
            } else {
                route
            },
            value,
        )
        .unwrap();
    }
    let got = drain(&mut terminals);
    assert_eq!(
        numbers(&got),
        (0..200)
            .filter(|v| v % 16 == 7)
            .map(|v| v + 1)
            .collect::<Vec<_>>()
    );
    assert_eq!(lost(&got), 0);
}

#[test]
fn a_batch_has_consecutive_numbers_or_is_not_published() {
    let ring = small(2);
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    assert_eq!(
        ring.publish_all_with((0..10).map(to), |number| number - 1)
            .unwrap(),
        1..11
    );
    let error = ring
        .publish_all_with(repeat_n(to(0), 1_000), |number| number)
        .unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::BatchTooLarge {
                count: 1_000,
                most: 16..
            }
        ),
        "{error}"
    );
    assert_eq!(ring.publish_all_with([], |number| number).unwrap(), 11..11);
    ring.publish(to(1), 10).unwrap();
    assert_eq!(
        drain(&mut all),
        (0..11).map(|v| Got::Frame(v + 1, v)).collect::<Vec<_>>()
    );
}

#[test]
fn a_clone_is_independent() {
    let ring = small(1);
    let mut first = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    for value in 0..4 {
        ring.publish(to(0), value).unwrap();
    }
    let mut count = 0;
    first.poll(|_| {
        count += 1;
        if count == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let mut second = first.try_clone().unwrap();
    ring.publish(to(0), 4).unwrap();
    assert_eq!(numbers(&drain(&mut first)), [3, 4, 5]);
    assert_eq!(numbers(&drain(&mut second)), [3, 4, 5]);
}

#[test]
fn the_sequence_ends_with_an_error() {
    let config = RingConfig {
        after: framebus::ring::MAX_SEQUENCE - 2,
        ..RingConfig::default()
    };
    let ring = Ring::new(&config);
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    assert!(ring.publish(to(0), 1).is_ok() && ring.publish(to(0), 2).is_ok());
    for value in 3..10 {
        assert_eq!(ring.publish(to(0), value), Err(PublishError::Exhausted));
        assert_eq!(
            ring.publish_all_with([to(0)], |_| value),
            Err(PublishError::Exhausted)
        );
    }
    assert_eq!(numbers(&drain(&mut all)).len(), 2);
}

#[test]
fn a_reader_asleep_in_its_batch_holds_up_nobody() {
    let ring = small(1);
    let mut asleep = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let mut other = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    for value in 0..4 {
        ring.publish(to(0), value).unwrap();
    }
    let mut seen = 0;
    asleep.batch(|delivery| {
        let Delivery::Frame(1, value) = delivery else {
            panic!("{delivery:?}")
        };
        for value in 4..1_000 {
            ring.publish(to(0), value).unwrap();
            seen += numbers(&drain(&mut other)).len();
        }
        assert_eq!(*value, 0, "the borrowed frame is still there");
        ControlFlow::Break(())
    });
    assert_eq!(seen, 1_000);
    let got = drain(&mut asleep);
    assert_eq!(numbers(&got).len() as u64 + lost(&got), 999);
}

#[test]
fn a_frame_held_back_by_a_slower_publisher_is_not_taken_for_caught_up() {
    let ring = small(1);
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let mut shard = ring
        .subscribe(Select::Shard(0), None, Start::Oldest)
        .unwrap();
    ring.publish_with(to(0), |_| {
        ring.publish(to(0), 2).unwrap();
        for subscription in [&mut all, &mut shard] {
            let polled = subscription.poll(|_| panic!("the first comes first"));
            assert_eq!(polled, Polled::Unfinished);
        }
        1
    })
    .unwrap();
    assert_eq!(numbers(&drain(&mut all)), [1, 2]);
    assert_eq!(numbers(&drain(&mut shard)), [1, 2]);
}

#[test]
fn the_window_is_held_at_every_moment() {
    for (slots, chunk, slack) in [(2, 1, 0), (4, 1, 1), (8, 2, 2), (64, 8, 8), (256, 16, 32)] {
        let lane = Geometry::exact(slots, chunk, slack, 1);
        let ring = Ring::new(&RingConfig {
            shards: 1,
            frames: lane,
            terminals: lane,
            ..RingConfig::default()
        });
        for n in 1..=3 * slots {
            ring.publish(to(0), n).unwrap();
            let mut held = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
            let first = numbers(&drain(&mut held))[0];
            assert!(
                n - first + 1 >= n.min(lane.window() as u64),
                "{lane:?} at {n}"
            );
        }
    }
}

#[test]
fn all_slots_held_is_an_error_and_not_a_wait() {
    let lane = Geometry::exact(2, 1, 0, 2);
    let ring = Ring::new(&RingConfig {
        shards: 1,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    });
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    ring.publish(to(0), 0).unwrap();
    ring.publish(to(0), 1).unwrap();
    all.batch(|_| {
        assert_eq!(ring.publish(to(0), 2), Err(PublishError::Stuck));
        ControlFlow::Break(())
    });
    assert_eq!(ring.publish(to(0), 2), Ok(3));
    assert_eq!(numbers(&drain(&mut all)), [3]);
}

#[test]
fn a_panic_in_a_visitor_or_a_maker_leaves_the_ring_usable() {
    let ring = small(1);
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    ring.publish(to(0), 0).unwrap();
    let panics = std::panic::AssertUnwindSafe(|| all.poll(|_| panic!("visitor")));
    assert!(std::panic::catch_unwind(panics).is_err());
    let maker = std::panic::AssertUnwindSafe(|| ring.publish_with(to(0), |_| panic!("maker")));
    assert!(std::panic::catch_unwind(maker).is_err());
    for value in 0..500 {
        ring.publish(to(0), value).unwrap();
        assert!(numbers(&drain(&mut all)).contains(&(value + 3)));
    }
}

#[test]
fn a_panic_in_a_batch_loses_what_is_not_readable_yet_and_reports_it() {
    use std::cell::Cell;
    use std::sync::Arc;
    let token = Arc::new(());
    for shards in [1, 2] {
        let lane = Geometry::for_window(256);
        let ring = Ring::new(&RingConfig {
            shards,
            frames: lane,
            terminals: lane,
            ..RingConfig::default()
        });
        let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
        let batch = |bad_frame: u64, bad_route: usize| {
            let seen = Cell::new(0);
            let routes = (0..100).map(|_| {
                seen.set(seen.get() + 1);
                assert!(seen.get() != bad_route, "route");
                to(0)
            });
            let make = |number| {
                assert!(number % 100 != bad_frame, "maker");
                token.clone()
            };
            let publish = || ring.publish_all_with(routes, make).is_ok();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(publish)).is_ok()
        };
        // In the first lap, and with frames that are replaced.
        for lap in 0..8 {
            assert!(!batch(70, 0));
            assert!(!batch(u64::MAX, 170), "{lap}");
            assert!(!batch(u64::MAX, 70), "before anything was claimed");
            assert!(batch(u64::MAX, 0));
            let (mut given, mut lost) = (0, 0);
            all.poll(|delivery| {
                match delivery {
                    Delivery::Frame(..) => given += 1,
                    Delivery::Gap(gap) => lost += gap.lost,
                }
                ControlFlow::Continue(())
            });
            // The last batch is given whole, and some frames of the others.
            assert_eq!(given + lost, 300, "{shards} {lap}");
            assert!(given > 100 && lost >= 62, "{given} {lost}");
        }
        assert!(Arc::strong_count(&token) <= 1 + lane.slots());
        drop((all, ring));
        assert_eq!(Arc::strong_count(&token), 1);
    }
}

#[test]
fn frames_are_dropped_once() {
    use std::sync::Arc;
    let token = Arc::new(());
    let lane = Geometry::for_window(16);
    let ring = Ring::new(&RingConfig {
        shards: 1,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    });
    for _ in 0..1_000 {
        ring.publish(to(0), token.clone()).unwrap();
    }
    assert!(Arc::strong_count(&token) <= 1 + lane.slots());
    drop(ring);
    assert_eq!(Arc::strong_count(&token), 1);
}
