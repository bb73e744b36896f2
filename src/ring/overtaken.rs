//! Tests: publishers that are suspended between their claim, their number and their frame, on one
//! thread. Others overtake them meanwhile, in the order of numbers or by whole laps.

use super::lane::LaneClass::{self, Frames, Terminals};
use super::lane::{Claim, LaneId};
use super::{
    Delivery, Gap, Geometry, Polled, Ring, RingConfig, Route, Select, Start, Subscription,
};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Two shards whose lanes have `slots` slots, each a chunk.
fn ring(slots: u64) -> Ring<u64> {
    ring_of(2, slots)
}

fn ring_of(shards: usize, slots: u64) -> Ring<u64> {
    let lane = Geometry::exact(slots, 1, 0, 1);
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    })
}

/// A publish into the first shard that has claimed its index, and goes no further.
struct Suspended<'a> {
    ring: &'a Ring<u64>,
    lane: LaneId,
    claim: Claim<'a, u64>,
}

fn claim(ring: &Ring<u64>, class: LaneClass) -> Suspended<'_> {
    let (core, lane) = (ring.core_for_tests(), LaneId::new(0, class));
    let (claim, _) = core.lane(lane).claim(|| core.pins(0)).unwrap();
    Suspended { ring, lane, claim }
}

impl Suspended<'_> {
    fn reserve_sequence(&self) -> u64 {
        self.ring.core_for_tests().reserve_sequence().unwrap()
    }

    fn finish(self, sequence: u64) {
        let lane = self.ring.core_for_tests().lane(self.lane);
        let order = lane.assign_order(self.claim.index(), sequence);
        self.claim.fill(0, Some(order), sequence);
    }
}

fn publish(ring: &Ring<u64>, shard: usize, lane: LaneClass) -> u64 {
    let route = Route {
        shard,
        terminal: lane == Terminals,
        tag: 0,
    };
    ring.publish_with(route, |number| number).unwrap()
}

fn flood(ring: &Ring<u64>, count: u64, shard: usize, lane: LaneClass) {
    for _ in 0..count {
        publish(ring, shard, lane);
    }
}

/// The frames' numbers, and the gaps.
fn poll(reader: &mut Subscription<u64>) -> (Vec<u64>, Vec<Gap>, Polled) {
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    let polled = reader.poll(|delivery| {
        match delivery {
            Delivery::Frame(number, &value) => {
                assert_eq!(number, value);
                numbers.push(number);
            }
            Delivery::Gap(gap) => gaps.push(gap),
        }
        ControlFlow::Continue(())
    });
    (numbers, gaps, polled)
}

/// Where the gaps lie, and how much was lost in each.
fn reported(gaps: &[Gap]) -> Vec<(u64, u64, u64)> {
    gaps.iter()
        .map(|gap| (gap.first, gap.last, gap.lost))
        .collect()
}

const LANES_READ: [(LaneClass, Select); 4] = [
    (Frames, Select::Shard(0)),
    (Terminals, Select::Shard(0)),
    (Frames, Select::All),
    (Terminals, Select::Terminals),
];

#[test]
fn frames_come_in_the_order_of_their_numbers_whatever_their_indices() {
    for (lane, select) in LANES_READ {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let ring = ring(8);
            let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
            let mut late = ring.subscribe(select, None, Start::Oldest).unwrap();
            // A number that none of the lane has comes first.
            publish(&ring, 1, lane);
            let mut claims: Vec<_> = (0..3).map(|_| Some(claim(&ring, lane))).collect();
            let after = publish(&ring, 0, lane);
            assert_eq!(after, 2);
            let mut got = Vec::new();
            for at in order {
                let claim = claims[at].take().unwrap();
                let number = claim.reserve_sequence();
                claim.finish(number);
                got.extend(poll(&mut reader).0);
            }
            got.extend(poll(&mut reader).0);
            let expected: Vec<u64> = match select {
                Select::Shard(_) => (2..=5).collect(),
                _ => (1..=5).collect(),
            };
            assert_eq!(got, expected, "{order:?} {select:?}");
            let at_once = poll(&mut late);
            assert_eq!(at_once, (expected, vec![], Polled::CaughtUp), "{order:?}");
        }
    }
}

/// What the reader lost when it was lapped gets its number later, and a hole is where it lies.
#[test]
fn a_loss_that_gets_its_number_late_is_reported_once_and_where_it_is() {
    for (lane, select) in LANES_READ {
        for numbered_only in [false, true] {
            let ring = ring(4);
            let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
            let late = claim(&ring, lane);
            flood(&ring, 8, 0, lane);
            let (numbers, gaps, _) = poll(&mut reader);
            assert_eq!(numbers.last(), Some(&8), "{gaps:?}");
            let number = late.reserve_sequence();
            assert_eq!(number, 9);
            let mut late = Some(late);
            if !numbered_only {
                late.take().unwrap().finish(number);
            }
            publish(&ring, 0, lane);
            let (numbers, gaps, _) = poll(&mut reader);
            assert_eq!(
                (numbers, reported(&gaps)),
                (vec![10], vec![(9, 9, 1)]),
                "{select:?}"
            );
            assert_eq!(gaps[0].terminals_lost, lane == Terminals);
            if let Some(late) = late {
                late.finish(number);
            }
            // Leaves a hole in the lane's numbers, where a loss could be reported. At the first,
            // the reader sees that the other frame is finished.
            let mut at_break = || {
                publish(&ring, 1, lane);
                publish(&ring, 0, lane);
                poll(&mut reader).1
            };
            let at_first = at_break();
            assert!(numbered_only || at_first.is_empty(), "{at_first:?}");
            assert_eq!(reported(&at_break()), [], "{select:?} {numbered_only}");
        }
    }
}

/// The same for a reader of many lanes, in whose lane nothing is claimed any more when the late
/// frame is finished.
#[test]
fn a_loss_that_is_finished_late_is_waited_for_in_a_lane_that_is_quiet() {
    let ring = ring_of(4, 4);
    let subscribed = ring.subscribe(Select::Terminals, None, Start::Oldest);
    let mut reader = subscribed.unwrap();
    let late = claim(&ring, Terminals);
    flood(&ring, 8, 0, Terminals);
    poll(&mut reader);
    // At the next look nothing is found in the lane.
    publish(&ring, 1, Frames);
    poll(&mut reader);
    let number = late.reserve_sequence();
    late.finish(number);
    // The reader has seen that it is finished, and passes its number.
    poll(&mut reader);
    let mut at_break = || {
        publish(&ring, 1, Frames);
        publish(&ring, 1, Terminals);
        poll(&mut reader).1
    };
    at_break();
    assert_eq!(reported(&at_break()), []);
}

/// The same, noticed before anything else is published.
#[test]
fn a_loss_that_got_its_number_is_reported_to_the_last_number_and_no_further() {
    for (lane, select) in LANES_READ {
        let ring = ring(4);
        let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
        let late = claim(&ring, lane);
        flood(&ring, 8, 0, lane);
        poll(&mut reader);
        let number = late.reserve_sequence();
        late.finish(number);
        let (mut numbers, mut gaps, _) = poll(&mut reader);
        publish(&ring, 1, lane);
        publish(&ring, 0, lane);
        let more = poll(&mut reader);
        numbers.extend(more.0);
        gaps.extend(more.1);
        assert_eq!(numbers.last(), Some(&11));
        assert_eq!(reported(&gaps), [(9, 9, 1)], "{select:?}");
    }
}

/// It was overtaken past its chunk, and lapped while what overtook it is held.
#[test]
fn a_loss_numbered_above_what_is_held_is_reported_where_it_is() {
    for (lane, select) in LANES_READ {
        let ring = ring(4);
        let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
        let late = claim(&ring, lane);
        assert_eq!(publish(&ring, 0, lane), 1);
        let number = late.reserve_sequence();
        late.finish(number);
        // One more than there are slots.
        flood(&ring, 3, 0, lane);
        let (numbers, gaps, _) = poll(&mut reader);
        let reported = reported(&gaps);
        assert_eq!(
            (numbers, reported),
            (vec![1, 3, 4, 5], vec![(2, 2, 1)]),
            "{select:?}"
        );
        assert_eq!(gaps[0].terminals_lost, lane == Terminals);
    }
}

/// Of two frames that were held back one is lapped.
#[test]
fn of_frames_that_were_held_back_those_that_are_lapped_count_as_lost() {
    for (lane, select) in [(Frames, Select::Shard(0)), (Terminals, Select::Terminals)] {
        let ring = ring(4);
        let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
        let claims = [claim(&ring, lane), claim(&ring, lane)];
        // Holds them back.
        let late = claim(&ring, lane);
        let other = if lane == Terminals { Frames } else { lane };
        for claim in claims {
            flood(&ring, 9, 1, other);
            let number = claim.reserve_sequence();
            claim.finish(number);
        }
        let (numbers, gaps, polled) = poll(&mut reader);
        assert_eq!(
            (numbers, gaps, polled),
            (vec![], vec![], Polled::Unfinished)
        );
        assert_eq!(reader.batch(|_| ControlFlow::Continue(())), 0);
        // The second overwrites the first one that was held back.
        flood(&ring, 2, 0, lane);
        let number = late.reserve_sequence();
        late.finish(number);
        let (mut numbers, mut gaps, _) = poll(&mut reader);
        let more = poll(&mut reader);
        numbers.extend(more.0);
        gaps.extend(more.1);
        assert_eq!(numbers, [20, 21, 22, 23], "{select:?}");
        assert_eq!(reported(&gaps), [(1, 19, 1)], "{select:?}");
    }
}

/// A loss that had no number when the subscription was made is reported when it has one.
#[test]
fn what_was_lapped_before_a_start_and_numbered_after_it_is_reported() {
    for (lane, select) in LANES_READ {
        let ring = ring(4);
        let late = claim(&ring, lane);
        flood(&ring, 8, 0, lane);
        let mut reader = ring.subscribe(select, None, Start::Latest).unwrap();
        let number = late.reserve_sequence();
        late.finish(number);
        publish(&ring, 0, lane);
        let (numbers, gaps, _) = poll(&mut reader);
        assert_eq!(
            (numbers, reported(&gaps)),
            (vec![10], vec![(9, 9, 1)]),
            "{select:?}"
        );
        publish(&ring, 1, lane);
        publish(&ring, 0, lane);
        let (_, gaps, _) = poll(&mut reader);
        assert_eq!(reported(&gaps), [], "{select:?}");
    }
}

#[test]
fn a_frame_that_was_held_back_is_given_once_nothing_can_come_before_it() {
    // The last one reads a single lane.
    let alone = (1, Terminals, Select::Terminals);
    let cases = LANES_READ.map(|(lane, select)| (2, lane, select));
    for (shards, lane, select) in cases.into_iter().chain([alone]) {
        let ring = ring_of(shards, 4);
        let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
        publish(&ring, 1, Frames);
        let first = claim(&ring, lane);
        let late = claim(&ring, lane);
        let before = publish(&ring, 1, Frames);
        let number = first.reserve_sequence();
        first.finish(number);
        poll(&mut reader);
        // The neighbour's slot is abandoned: there is nothing to read after the frame.
        drop(late);
        let (numbers, gaps, polled) = poll(&mut reader);
        assert_eq!(
            (numbers, gaps, polled),
            (vec![number], vec![], Polled::CaughtUp)
        );
        assert_eq!((before, reader.position()), (2, number), "{select:?}");
    }
}

#[test]
fn a_publish_without_a_number_holds_back_no_frame_that_is_the_next_one() {
    for lane in [Frames, Terminals] {
        let ring = ring(4);
        let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
        let late = claim(&ring, lane);
        assert_eq!(poll(&mut reader), (vec![], vec![], Polled::CaughtUp));
        for number in 1..=3 {
            publish(&ring, 1, Frames);
            assert_eq!(poll(&mut reader).0, [number], "{lane:?}");
        }
        let number = late.reserve_sequence();
        late.finish(number);
        assert_eq!(poll(&mut reader), (vec![4], vec![], Polled::CaughtUp));
    }
}

#[test]
fn a_batch_gives_no_more_than_its_pins_hold() {
    let ring = ring(8);
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    // A frame of each lane at most, and the second shard's comes last.
    for (shard, lane) in [(0, Frames), (0, Frames), (1, Frames), (0, Frames)] {
        publish(&ring, shard, lane);
    }
    let mut given = 0;
    while given < 4 {
        let count = reader.batch(|_| ControlFlow::Continue(()));
        assert!((1..=2).contains(&count), "{count} after {given}");
        given += count;
    }
    assert_eq!(reader.batch(|_| ControlFlow::Continue(())), 0);
}

/// A reader of everything knows that it is caught up without a look at its lanes, and a poll then
/// says the same. It never takes what is unfinished, undecided or lost for delivered.
#[test]
fn a_reader_of_everything_knows_when_it_is_caught_up() {
    for shards in [1, 2] {
        for lane in [Frames, Terminals] {
            let ring = ring_of(shards, 4);
            let subscribe = |start| ring.subscribe(Select::All, None, start).unwrap();
            let mut reader = subscribe(Start::Oldest);
            assert!(reader.is_caught_up());
            publish(&ring, 0, lane);
            assert!(!reader.is_caught_up());
            assert_eq!(poll(&mut reader).0, [1]);
            assert!(reader.is_caught_up(), "{shards} {lane:?}");
            // Lapped.
            flood(&ring, 9, 0, lane);
            assert!(!reader.is_caught_up());
            assert!(!poll(&mut reader).1.is_empty());
            assert!(reader.is_caught_up(), "{shards} {lane:?}");
            // Claimed and numbered, and not finished.
            let (core, id) = (ring.core_for_tests(), LaneId::new(0, Frames));
            let (unfinished, _) = core.lane(id).claim(|| core.pins(0)).unwrap();
            if shards > 1 {
                core.reserve_sequence().unwrap();
            }
            assert!(!reader.is_caught_up());
            assert_eq!(poll(&mut reader).2, Polled::Unfinished);
            assert!(!reader.is_caught_up());
            // Its number stays without a frame: reported before the next one at the latest.
            drop(unfinished);
            let mut gaps = poll(&mut reader).1;
            assert_eq!(reader.is_caught_up(), !gaps.is_empty());
            publish(&ring, 0, lane);
            gaps.extend(poll(&mut reader).1);
            assert_eq!(reported(&gaps), [(11, 11, 1)]);
            assert!(reader.is_caught_up(), "{shards} {lane:?}");
            let latest = subscribe(Start::Latest);
            assert!(latest.is_caught_up() && !subscribe(Start::Oldest).is_caught_up());
            let terminals = ring.subscribe(Select::Terminals, None, Start::Latest);
            assert!(
                !terminals.unwrap().is_caught_up(),
                "it is not of everything"
            );
        }
    }
}

/// What lies before the ring's first frame is reported, although nothing was published.
#[test]
fn a_reader_from_before_the_ring_is_not_caught_up() {
    for shards in [1, 2] {
        let lane = Geometry::exact(4, 1, 0, 1);
        let ring = Ring::<u64>::new(&RingConfig {
            shards,
            frames: lane,
            terminals: lane,
            after: 7,
            ..RingConfig::default()
        });
        let subscribed = ring.subscribe(Select::All, None, Start::After(3));
        let mut reader = subscribed.unwrap();
        assert!(!reader.is_caught_up());
        assert_eq!(reported(&poll(&mut reader).1), [(4, 7, 4)]);
        assert!(reader.is_caught_up());
    }
}

/// A visitor panics at the only frame of its lane. What the lane offered is forgotten: the lane may
/// still bring the next number.
#[test]
fn a_lane_whose_frame_the_visitor_panicked_at_offers_nothing_more() {
    let ring = ring(8);
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    publish(&ring, 1, Frames);
    poll(&mut reader);
    publish(&ring, 0, Frames);
    let polled = AssertUnwindSafe(|| reader.poll(|_| panic!("a visitor")));
    assert!(catch_unwind(polled).is_err());
    let late = claim(&ring, Frames);
    let number = late.reserve_sequence();
    assert_eq!((number, publish(&ring, 1, Frames)), (3, 4));
    assert_eq!(poll(&mut reader), (vec![], vec![], Polled::Unfinished));
    late.finish(number);
    assert_eq!(poll(&mut reader), (vec![3, 4], vec![], Polled::CaughtUp));
}
