//! What a reader of the ring is given, frames and gaps, for each kind of reader: of each shard, of
//! each lane, of some tags.

use framebus::ring::{
    Delivery, Gap, Geometry, Polled, Ring, RingConfig, Route, Select, Start, Subscription,
    TagFilter,
};
use std::ops::ControlFlow;
use std::sync::mpsc;

fn ring(shards: usize, lane: Geometry) -> Ring<u64> {
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

/// What a reader got: the numbers of the frames, and the gaps.
#[derive(Debug, Default)]
struct Got {
    numbers: Vec<u64>,
    gaps: Vec<Gap>,
}

impl Got {
    fn take(&mut self, delivery: &Delivery<'_, u64>) {
        match delivery {
            Delivery::Frame(number, _) => self.numbers.push(*number),
            Delivery::Gap(gap) => self.gaps.push(*gap),
        }
    }

    fn lost(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.lost).sum()
    }
}

fn poll(subscription: &mut Subscription<u64>) -> (Got, Polled) {
    let mut got = Got::default();
    let polled = subscription.poll(|delivery| {
        got.take(&delivery);
        ControlFlow::Continue(())
    });
    (got, polled)
}

fn publish(ring: &Ring<u64>, route: Route) {
    ring.publish(route, 0).unwrap();
}

/// Publishes a single frame.
fn alone(ring: &Ring<u64>, route: Route) {
    let _ = ring.publish(route, u64::MAX);
}

/// Publishes a batch.
fn in_batches(ring: &Ring<u64>, route: Route) {
    let _ = ring.publish_all_with([route; 3], |_| u64::MAX);
}

#[test]
fn a_reader_asleep_in_its_batch_keeps_its_frame_in_each_shard_and_lane() {
    for shards in [1, 2, 4] {
        for shard in 0..shards {
            for route in [to(shard), to(shard).terminal()] {
                for publish in [alone, in_batches] {
                    for select in [Select::All, Select::Shard(shard), Select::Terminals] {
                        if select == Select::Terminals && !route.terminal {
                            continue;
                        }
                        let ring = ring(shards, Geometry::for_window(16));
                        let mut asleep = ring.subscribe(select, None, Start::Oldest).unwrap();
                        ring.publish(route, 7).unwrap();
                        let given = asleep.batch(|delivery| {
                            // Several laps.
                            (0..200).for_each(|_| publish(&ring, route));
                            let stats = ring.stats().shards[shard];
                            let lane = if route.terminal {
                                stats.terminals
                            } else {
                                stats.frames
                            };
                            assert!(
                                lane.wraps >= 3 && lane.voids >= lane.wraps,
                                "{route:?} {lane:?}"
                            );
                            assert!(matches!(delivery, Delivery::Frame(1, &7)), "{delivery:?}");
                            ControlFlow::Break(())
                        });
                        assert_eq!(given, 1);
                    }
                }
            }
        }
    }
}

/// In each lane that it reads, and not only in the first: an unfinished frame may hold back the one
/// that a reader waits for.
#[test]
fn a_reader_is_behind_while_a_publish_is_unfinished_in_any_of_its_lanes() {
    for shards in [1, 2] {
        for shard in 0..shards {
            for route in [to(shard), to(shard).terminal()] {
                for select in [Select::All, Select::Shard(shard), Select::Terminals] {
                    if select == Select::Terminals && !route.terminal {
                        continue;
                    }
                    let ring = ring(shards, Geometry::for_window(16));
                    let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
                    let look = |reader: &mut Subscription<u64>, expected| {
                        let (got, polled) = poll(reader);
                        assert_eq!(polled, expected, "{shards} {route:?} {select:?}");
                        let behind = expected == Polled::Unfinished;
                        assert_eq!(reader.is_behind(), behind, "{shards} {route:?} {select:?}");
                        got.numbers
                    };
                    assert!(look(&mut reader, Polled::CaughtUp).is_empty());
                    ring.publish_with(route, |first| {
                        look(&mut reader, Polled::Unfinished);
                        // A finished one after it changes nothing.
                        ring.publish(route, 2).unwrap();
                        assert!(look(&mut reader, Polled::Unfinished).is_empty());
                        first
                    })
                    .unwrap();
                    assert_eq!(look(&mut reader, Polled::CaughtUp), [1, 2]);
                }
            }
        }
    }
}

#[test]
fn a_filter_gives_the_wanted_of_each_row_of_tags() {
    const LENGTH: u32 = 8;
    let wanted = TagFilter {
        mask: 0,
        value: 0,
        classes: 1 << 1,
    };
    for (shards, select) in [
        (1, Select::Shard(0)),
        (2, Select::Shard(1)),
        (2, Select::All),
    ] {
        for row in 0..1_u32 << LENGTH {
            let ring = ring(shards, Geometry::for_window(16));
            let subscribe = || ring.subscribe(select, Some(wanted), Start::Oldest);
            let (mut polls, mut batches) = (subscribe().unwrap(), subscribe().unwrap());
            let tag = |at: u32| row >> at & 1;
            for at in 0..LENGTH {
                let shard = match select {
                    Select::Shard(shard) => shard,
                    _ => at as usize,
                };
                let route = Route {
                    tag: tag(at),
                    ..to(shard)
                };
                ring.publish(route, 0).unwrap();
            }
            let expected: Vec<_> = (0..LENGTH)
                .filter(|&at| tag(at) == 1)
                .map(|at| u64::from(at) + 1)
                .collect();
            assert_eq!(poll(&mut polls).0.numbers, expected, "{row:b}");
            let mut got = Got::default();
            let mut batch = || {
                batches.batch(|delivery| {
                    got.take(&delivery);
                    ControlFlow::Continue(())
                })
            };
            while batch() > 0 {}
            assert_eq!(got.numbers, expected, "{row:b}");
        }
    }
}

/// Frames that come from many lanes in turn, and then many from one, are given as they were
/// published; those that are published meanwhile are left to the next poll.
#[test]
fn a_poll_ends_at_what_was_published_when_it_began() {
    for shards in [1, 2, 8] {
        let ring = ring(shards, Geometry::for_window(512));
        let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
        for row in [1, 2, 7, 20] {
            let publish = |at: usize| match at % 5 {
                3 => publish(&ring, to(at / row).terminal()),
                _ => publish(&ring, to(at / row)),
            };
            (0..30).for_each(publish);
            let (first, end) = (reader.position() + 1, ring.next_sequence());
            let mut numbers = Vec::new();
            let polled = reader.poll(|delivery| {
                if let Delivery::Frame(number, _) = delivery {
                    numbers.push(number);
                }
                publish(numbers.len());
                ControlFlow::Continue(())
            });
            assert!(numbers.into_iter().eq(first..end), "{shards} {row}");
            assert_eq!(polled, Polled::CaughtUp);
        }
    }
}

#[test]
fn what_is_lost_after_an_expired_gap_is_not_reported_as_expired() {
    for shards in [1, 2] {
        let ring = ring(shards, Geometry::for_window(16));
        let flood = || (0..200).for_each(|_| publish(&ring, to(0)));
        flood();
        let mut reader = ring.subscribe(Select::All, None, Start::After(10)).unwrap();
        let mut next_gap = || {
            let mut found = None;
            reader.poll(|delivery| {
                let Delivery::Gap(gap) = delivery else {
                    panic!("{delivery:?}")
                };
                found = Some(gap);
                ControlFlow::Break(())
            });
            found.unwrap()
        };
        let expired = next_gap();
        assert_eq!((expired.first, expired.expired), (11, true));
        flood();
        let lagged = next_gap();
        assert_eq!((lagged.first, lagged.expired), (expired.last + 1, false));
    }
}

/// Of two shards, one has lost all early frames, and the other none of them.
#[test]
fn what_expired_in_the_younger_of_two_shards_is_reported_as_expired() {
    for (older, younger) in [(0, 1), (1, 0)] {
        let ring = ring(2, Geometry::for_window(16));
        let flood = |shard, count| (0..count).for_each(|_| publish(&ring, to(shard)));
        flood(older, 60);
        flood(younger, 400);
        let mut reader = ring.subscribe(Select::All, None, Start::After(5)).unwrap();
        let (got, _) = poll(&mut reader);
        assert!(got.gaps.len() >= 2, "{got:?}");
        assert!(got.gaps.iter().all(|gap| gap.expired), "{got:?}");
        assert_eq!(got.numbers.len() as u64 + got.lost(), 455);
    }
}

/// Whether terminal frames were lost is not known of those before the ring. It is known of those
/// that the ring lost.
#[test]
fn what_was_before_the_ring_is_a_gap_of_its_own() {
    let lane = Geometry::for_window(16);
    let ring = Ring::<u64>::new(&RingConfig {
        shards: 1,
        frames: lane,
        terminals: lane,
        after: 1_000,
        ..RingConfig::default()
    });
    (0..200).for_each(|_| publish(&ring, to(0)));
    for select in [Select::All, Select::Shard(0)] {
        let mut reader = ring.subscribe(select, None, Start::After(10)).unwrap();
        let (got, _) = poll(&mut reader);
        let [before, lost] = got.gaps[..] else {
            panic!("{got:?}")
        };
        assert_eq!((before.first, before.last, before.lost), (11, 1_000, 990));
        assert!(before.expired && before.terminals_lost, "{before:?}");
        let held = got.numbers[0];
        assert_eq!((lost.first, lost.last), (1_001, held - 1));
        assert_eq!(lost.lost, held - 1_001);
        assert!(lost.expired && !lost.terminals_lost, "{lost:?}");
    }
}

/// Frames that were scanned, and are held back since one with a smaller number may come, count as
/// lost if they are lapped. In a lane that is not index-numbered.
#[test]
fn frames_that_were_held_back_count_as_lost_when_they_are_lapped() {
    let ring = ring(2, Geometry::exact(4, 1, 0, 1));
    let mut reader = ring
        .subscribe(Select::Shard(1), None, Start::Oldest)
        .unwrap();
    std::thread::scope(|scope| {
        let (claimed, is_claimed) = mpsc::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let mut neighbour = Some((claimed, may_finish));
        // The batch claims in both shards before its first frame is made. So the neighbour claims
        // after the batch's frames of shard 1, whose order bound is then above the neighbour.
        let make = |number| {
            if let Some((claimed, may_finish)) = neighbour.take() {
                scope.spawn(|| {
                    let sleep = |number| {
                        claimed.send(()).unwrap();
                        may_finish.recv().unwrap();
                        number
                    };
                    ring.publish_with(to(1), sleep).unwrap();
                    drop((claimed, may_finish));
                });
                is_claimed.recv().unwrap();
            }
            number
        };
        let routes = [to(0), to(1), to(1)];
        assert_eq!(ring.publish_all_with(routes, make), Ok(1..4));
        let (got, polled) = poll(&mut reader);
        assert_eq!((got.numbers, polled), (vec![], Polled::Unfinished));
        // Three more: the last two overwrite the batch's frames.
        (0..3).for_each(|_| publish(&ring, to(1)));
        let (mut got, _) = poll(&mut reader);
        finish.send(()).unwrap();
        while reader.is_behind() {
            let (more, _) = poll(&mut reader);
            got.numbers.extend(more.numbers);
            got.gaps.extend(more.gaps);
        }
        // The batch's two were lost, and nothing else of the six.
        assert_eq!(got.numbers, [4, 5, 6, 7]);
        assert_eq!(got.lost(), 2, "{got:?}");
    });
}

/// Also if the indices of one lane are the numbers of another lane's frames, and many pins pass
/// over them.
#[test]
fn a_batch_gives_nothing_only_if_nothing_is_there() {
    for shards in [1, 2] {
        for route in [to(0), to(0).terminal()] {
            for select in [Select::All, Select::Shard(0), Select::Terminals] {
                if select == Select::Terminals && !route.terminal {
                    continue;
                }
                let ring = ring(shards, Geometry::for_window(16));
                let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
                for _ in 0..3 {
                    (0..200).for_each(|_| publish(&ring, route));
                    let mut got = Got::default();
                    let mut batch = || {
                        reader.batch(|delivery| {
                            got.take(&delivery);
                            ControlFlow::Continue(())
                        })
                    };
                    while batch() > 0 {}
                    let accounted = got.numbers.len() as u64 + got.lost();
                    assert_eq!(accounted, 200, "{shards} {route:?} {select:?}");
                }
            }
        }
    }
}

#[test]
fn a_batch_ends_with_its_pin_and_a_poll_goes_on() {
    let ring = ring(1, Geometry::for_window(4_096));
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    for value in 1..=4_000 {
        ring.publish(Route::default(), value).unwrap();
    }
    let mut given = 0;
    while given <= 1_000 {
        let count = reader.batch(|_| ControlFlow::Continue(()));
        assert!((1..=256).contains(&count), "{count} after {given}");
        given += count;
    }
    let mut rest = 0;
    let polled = reader.poll(|_| {
        rest += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((polled, given + rest), (Polled::CaughtUp, 4_000));
}

#[test]
fn a_subscription_knows_whether_it_reads_everything() {
    let ring = ring(2, Geometry::for_window(16));
    let reads_everything = |select, filter| {
        let reader = ring.subscribe(select, filter, Start::Oldest).unwrap();
        reader.reads_everything()
    };
    assert!(reads_everything(Select::All, None));
    assert!(!reads_everything(Select::Shard(0), None));
    assert!(!reads_everything(Select::Terminals, None));
    let filter = TagFilter {
        mask: 0,
        value: 0,
        classes: 1,
    };
    assert!(!reads_everything(Select::All, Some(filter)));
}

#[test]
fn a_reader_of_one_shard_gets_each_loss_once() {
    let ring = ring(2, Geometry::for_window(16));
    let mut reader = ring
        .subscribe(Select::Shard(0), None, Start::Oldest)
        .unwrap();
    (0..1_000).for_each(|_| publish(&ring, to(0)));
    let first = poll(&mut reader).0;
    let given = first.numbers.len() as u64;
    assert_eq!(first.lost(), 1_000 - given);
    // The numbers of the other shard's frames make room for a count that is too high.
    (0..2_000).for_each(|_| publish(&ring, to(1)));
    (0..200).for_each(|_| publish(&ring, to(0)));
    let second = poll(&mut reader).0;
    let given = second.numbers.len() as u64;
    assert_eq!(second.lost(), 200 - given);
}

#[test]
fn what_was_gone_before_its_start_is_no_loss_of_a_narrow_reader() {
    let ring = ring(2, Geometry::for_window(16));
    (0..1_002).for_each(|_| publish(&ring, to(0)));
    // In the middle of a chunk: one more frame overwrites nothing.
    let mut held = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let oldest = poll(&mut held).0.numbers[0];
    let of_one = TagFilter {
        mask: 0,
        value: 0,
        classes: 1 << 1,
    };
    let mut readers: Vec<_> = [oldest - 1, oldest, 1_002]
        .into_iter()
        .flat_map(|last| [(last, None), (last, Some(of_one))])
        .map(|(last, filter)| {
            let start = Start::After(last);
            (
                last,
                filter,
                ring.subscribe(Select::Shard(0), filter, start).unwrap(),
            )
        })
        .collect();
    // A hole in the numbers of its shard, where a loss could be reported.
    (0..5).for_each(|_| publish(&ring, to(1)));
    publish(&ring, Route { tag: 1, ..to(0) });
    for (last, filter, reader) in &mut readers {
        let got = poll(reader).0;
        assert_eq!(got.gaps, [], "after {last}, {filter:?}");
        assert_eq!(got.numbers.last(), Some(&1_008));
    }
}

#[test]
fn a_loss_that_no_frame_followed_is_reported_once() {
    let ring = ring(2, Geometry::for_window(16));
    let of_one = TagFilter {
        mask: 0,
        value: 0,
        classes: 1 << 1,
    };
    let mut reader = ring
        .subscribe(Select::Shard(0), Some(of_one), Start::Oldest)
        .unwrap();
    (0..1_002).for_each(|_| publish(&ring, to(0)));
    let lost: u64 = (0..3).map(|_| poll(&mut reader).0.lost()).sum();
    assert!(0 < lost && lost <= 1_002, "{lost}");
    // A hole in the numbers, where a loss could be reported; nothing is overwritten.
    (0..5).for_each(|_| publish(&ring, to(1)));
    publish(&ring, Route { tag: 1, ..to(0) });
    let got = poll(&mut reader).0;
    assert_eq!((got.numbers, got.gaps), (vec![1_008], vec![]));
}
