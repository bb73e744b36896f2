//! The ends of lanes and of the sequence, at sizes where they are reached: a refused publish takes
//! no number and no slot and overwrites no frame, and readers get no gap without a loss.

use framebus::ring::{
    Delivery, Gap, Geometry, MAX_SEQUENCE, Polled, PublishError, Ring, RingConfig, Route, Select,
    Start, Subscription, TagFilter,
};
use std::ops::ControlFlow;

/// Draws pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A reader, and what it got.
struct Reader {
    subscription: Subscription<u64>,
    /// Whether it reads everything, and so counts exactly.
    everything: bool,
    wants: fn(Route, usize) -> bool,
    /// The number after which it started.
    from: u64,
    given: Vec<u64>,
    gaps: Vec<Gap>,
}

impl Reader {
    fn poll(&mut self) -> Polled {
        let (given, gaps) = (&mut self.given, &mut self.gaps);
        self.subscription.poll(|delivery| {
            match delivery {
                Delivery::Frame(number, &value) => {
                    assert_eq!(number, value, "a frame under the number of another");
                    given.push(number);
                }
                Delivery::Gap(gap) => gaps.push(gap),
            }
            ControlFlow::Continue(())
        })
    }

    /// Checks what it got against all accepted frames, each by its number and route.
    fn check(&mut self, accepted: &[(u64, Route)], shards: usize, case: &str) {
        // A loss that is noticed in a poll, and that no frame follows, is reported in the next.
        for _ in 0..2 {
            assert_eq!(self.poll(), Polled::CaughtUp, "{case}");
        }
        assert!(self.given.is_sorted_by(|a, b| a < b), "{case}");
        let wanted: Vec<_> = accepted
            .iter()
            .filter(|(number, route)| *number > self.from && (self.wants)(*route, shards))
            .map(|(number, _)| *number)
            .collect();
        let is_in_a_gap = |number: u64| {
            let is_in = |gap: &Gap| (gap.first..=gap.last).contains(&number);
            self.gaps.iter().any(is_in)
        };
        for &number in &wanted {
            let given = self.given.binary_search(&number).is_ok();
            assert!(given || is_in_a_gap(number), "{case}: {number} is missing");
        }
        assert!(
            self.given.iter().all(|number| wanted.contains(number)),
            "{case}"
        );
        let lost: u64 = self.gaps.iter().map(|gap| gap.lost).sum();
        let (given, wanted) = (self.given.len(), wanted.len());
        let accounted = given as u64 + lost;
        if self.everything {
            assert_eq!(accounted, wanted as u64, "{case}: {:?}", self.gaps);
        } else {
            assert!(accounted >= wanted as u64, "{case}");
        }
        for gap in &self.gaps {
            let last = accepted.last().map_or(0, |(number, _)| *number);
            assert!(
                gap.last <= last,
                "{case}: a gap of numbers that were never given: {gap:?}"
            );
        }
    }
}

const FILTER: TagFilter = TagFilter {
    mask: 0,
    value: 0,
    classes: 1 << 1,
};

/// What a reader selects, and whether it gets a frame of this route in a ring of `shards` shards.
type Kind = (Select, Option<TagFilter>, fn(Route, usize) -> bool);

fn readers(ring: &Ring<u64>, start: Start) -> Vec<Reader> {
    let kinds: [Kind; 4] = [
        (Select::All, None, |_, _| true),
        (Select::Shard(0), None, |route, shards| {
            route.shard % shards == 0
        }),
        (Select::All, Some(FILTER), |route, _| route.tag == 1),
        (Select::Terminals, None, |route, _| route.terminal),
    ];
    let reader = |(select, filter, wants): Kind| {
        let from = ring.next_sequence() - 1;
        let subscription = ring.subscribe(select, filter, start).unwrap();
        Reader {
            everything: select == Select::All && filter.is_none(),
            from: if start == Start::Oldest { 0 } else { from },
            subscription,
            wants,
            given: Vec::new(),
            gaps: Vec::new(),
        }
    };
    kinds.into_iter().map(reader).collect()
}

/// The numbers of the frames that a new reader of everything gets.
fn held(ring: &Ring<u64>) -> Vec<u64> {
    let mut all = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let mut held = Vec::new();
    let polled = all.poll(|delivery| {
        if let Delivery::Frame(number, _) = delivery {
            held.push(number);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(polled, Polled::CaughtUp);
    held
}

fn route(dice: &mut Dice) -> Route {
    Route {
        shard: dice.below(2) as usize,
        terminal: dice.below(4) == 0,
        tag: dice.below(3) as u32,
    }
}

/// Publishes beside readers until 30 publishes were refused, and checks all figures after each
/// step. Returns the accepted frames.
fn to_the_end(ring: &Ring<u64>, dice: &mut Dice, case: &str) -> Vec<(u64, Route)> {
    let first = ring.next_sequence();
    let shards = ring.shards();
    let mut accepted = Vec::new();
    let mut all = readers(ring, Start::Oldest);
    let mut refused = 0;
    while refused < 30 {
        let before = (ring.next_sequence(), held(ring));
        let published = match dice.below(8) {
            0 => {
                let routes: Vec<_> = (0..dice.below(5)).map(|_| route(dice)).collect();
                let published = ring.publish_all_with(routes.iter().copied(), |number| number);
                published.map(|numbers| numbers.zip(routes).collect())
            }
            1 => {
                // A reader sleeps in its batch meanwhile, so that slots are void.
                let at = dice.below(4) as usize;
                let routes: Vec<_> = (0..dice.below(12)).map(|_| route(dice)).collect();
                let mut inner = Vec::new();
                let reader = &mut all[at];
                let (given, gaps) = (&mut reader.given, &mut reader.gaps);
                reader.subscription.batch(|delivery| {
                    match delivery {
                        Delivery::Frame(number, _) => given.push(number),
                        Delivery::Gap(gap) => gaps.push(gap),
                    }
                    for &route in &routes {
                        match ring.publish_with(route, |number| number) {
                            Ok(number) => inner.push((number, route)),
                            Err(error) => assert_eq!(error, PublishError::Exhausted, "{case}"),
                        }
                    }
                    ControlFlow::Break(())
                });
                Ok(inner)
            }
            _ => {
                let route = route(dice);
                let published = ring.publish_with(route, |number| number);
                published.map(|number| vec![(number, route)])
            }
        };
        match published {
            Ok(frames) => accepted.extend(frames),
            Err(error) => {
                assert_eq!(error, PublishError::Exhausted, "{case}");
                assert_eq!(
                    before,
                    (ring.next_sequence(), held(ring)),
                    "{case}: refused"
                );
                refused += 1;
            }
        }
        let numbers = accepted.iter().map(|(number, _)| *number);
        assert!(numbers.eq(first..first + accepted.len() as u64), "{case}");
        let stats = ring.stats();
        let last = first + accepted.len() as u64 - 1;
        assert_eq!(stats.published, accepted.len() as u64, "{case}");
        assert_eq!(
            (stats.last_sequence, ring.next_sequence()),
            (last, last + 1),
            "{case}"
        );
        match dice.below(12) {
            0 => all.extend(readers(ring, Start::Latest)),
            1..4 => {
                let at = dice.below(all.len() as u64) as usize;
                all[at].check(&accepted, shards, case);
            }
            _ => {}
        }
    }
    all.iter_mut()
        .for_each(|reader| reader.check(&accepted, shards, case));
    for mut reader in readers(ring, Start::Latest) {
        reader.check(&accepted, shards, case);
        assert_eq!((reader.given, reader.gaps), (vec![], vec![]), "{case}");
        assert!(!reader.subscription.is_behind(), "{case}");
    }
    accepted
}

fn rings(frames: Geometry, terminals: Geometry, after: u64) -> Vec<(String, Ring<u64>)> {
    let config = |shards| RingConfig {
        shards,
        frames,
        terminals,
        after,
        ..RingConfig::default()
    };
    vec![
        ("one shard".into(), Ring::new(&config(1))),
        (
            "one shard with a counter".into(),
            Ring::with_counter(&config(1)),
        ),
        ("two shards".into(), Ring::new(&config(2))),
    ]
}

#[test]
fn lanes_end_without_an_unreported_loss() {
    let mut dice = Dice(88);
    for (window, end) in [(4, 8), (4, 30), (16, 40), (16, 64), (60, 333)] {
        for round in 0..2 {
            let lane = Geometry::for_window(window);
            let ends = lane.ending_at(end);
            for (frames, terminals) in [(ends, ends), (ends, lane), (lane, ends)] {
                if frames == lane && round > 0 {
                    // Only terminal frames come to an end: others are accepted for ever.
                    continue;
                }
                for (name, ring) in rings(frames, terminals, 0) {
                    let case = format!("window {window}, end {end}, {name}, round {round}");
                    if frames == lane {
                        terminals_end(&ring, &case);
                        continue;
                    }
                    let accepted = to_the_end(&ring, &mut dice, &case);
                    assert!(
                        accepted.len() as u64 >= end / 2,
                        "{case}: {}",
                        accepted.len()
                    );
                }
            }
        }
    }
}

/// The lanes of terminal frames come to their end: ordinary frames are accepted, and nothing of a
/// refused frame is seen.
fn terminals_end(ring: &Ring<u64>, case: &str) {
    let terminal = Route::default().terminal();
    let mut all = readers(ring, Start::Oldest);
    let mut accepted = Vec::new();
    let mut refused = 0;
    for round in 0..2_000 {
        let route = if round % 3 == 0 {
            Route::default()
        } else {
            terminal
        };
        match ring.publish_with(route, |number| number) {
            Ok(number) => accepted.push((number, route)),
            Err(_) => {
                assert!(route.terminal, "{case}");
                refused += 1;
            }
        }
        if round % 50 == 0 {
            all.iter_mut()
                .for_each(|reader| reader.check(&accepted, ring.shards(), case));
        }
    }
    assert!(refused > 100, "{case}");
    all.iter_mut()
        .for_each(|reader| reader.check(&accepted, ring.shards(), case));
}

#[test]
fn single_frames_fill_a_lane_to_its_last_slot() {
    for window in [1, 4, 16, 60] {
        let lane = Geometry::for_window(window);
        let slots = lane.slots() as u64;
        let chunk = (slots / 8).clamp(1, 16);
        for end in (chunk..3 * slots).step_by(chunk as usize) {
            // Rounded down to a chunk.
            let ends = lane.ending_at(end + chunk - 1);
            for (name, ring) in rings(ends, ends, 0) {
                let tries = 0..2 * end + 10;
                let accepted = tries.filter(|_| ring.publish(Route::default(), 0).is_ok());
                assert_eq!(accepted.count() as u64, end, "window {window}, {name}");
                assert_eq!(ring.stats().shards[0].frames.tail, end, "{name}");
            }
        }
    }
}

#[test]
fn numbers_end_and_what_is_refused_takes_none() {
    let mut dice = Dice(99);
    for left in (0..24).chain([40, 100, 333]) {
        for window in [4, 16] {
            let lane = Geometry::for_window(window);
            for (name, ring) in rings(lane, lane, MAX_SEQUENCE - left) {
                let case = format!("{left} numbers left, window {window}, {name}");
                let accepted = to_the_end(&ring, &mut dice, &case);
                // Single frames are among those refused at the end: all numbers were taken.
                assert_eq!(accepted.len() as u64, left, "{case}");
            }
        }
    }
}

#[test]
fn a_batch_that_crosses_the_end_takes_no_number() {
    let lane = Geometry::for_window(16);
    for left in 0..8_u64 {
        for count in 1..10_u64 {
            for terminal in [false, true] {
                for (name, ring) in rings(lane, lane, MAX_SEQUENCE - left) {
                    let case = format!("{left} left, {count} frames, {terminal}, {name}");
                    let mut reader = readers(&ring, Start::Oldest).swap_remove(0);
                    let routes = (0..count).map(|n| Route {
                        terminal: n % 2 == 1 && terminal,
                        ..Route::default()
                    });
                    let mut accepted = 0;
                    for _ in 0..3 {
                        match ring.publish_all_with(routes.clone(), |number| number) {
                            Ok(_) => accepted += count,
                            Err(error) => assert_eq!(error, PublishError::Exhausted, "{case}"),
                        }
                    }
                    assert_eq!(accepted, (left / count).min(3) * count, "{case}");
                    let next = MAX_SEQUENCE - left + accepted + 1;
                    assert_eq!(ring.next_sequence(), next, "{case}");
                    for number in next..=MAX_SEQUENCE {
                        assert_eq!(ring.publish(Route::default(), number), Ok(number), "{case}");
                    }
                    for _ in 0..100 {
                        for route in [Route::default(), Route::default().terminal()] {
                            let refused = ring.publish(route, 0);
                            assert_eq!(refused, Err(PublishError::Exhausted), "{case}");
                        }
                    }
                    assert_eq!(reader.poll(), Polled::CaughtUp, "{case}");
                    assert_eq!(
                        (reader.given.len() as u64, reader.gaps),
                        (left, vec![]),
                        "{case}"
                    );
                    assert_eq!(ring.stats().published, left, "{case}");
                    let nothing = ring.publish_all_with([], |_| unreachable!());
                    assert_eq!(nothing, Ok(MAX_SEQUENCE + 1..MAX_SEQUENCE + 1), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_start_before_the_rings_first_number_is_reported_at_the_first_poll() {
    for published in [0, 3, 300] {
        let lane = Geometry::for_window(16);
        for (name, ring) in rings(lane, lane, 100) {
            for n in 0..published {
                let route = Route {
                    shard: 0,
                    terminal: n % 5 == 0,
                    tag: 1,
                };
                ring.publish_with(route, |number| number).unwrap();
            }
            let readers = readers(&ring, Start::After(5));
            // All but the reader of terminal frames select all frames.
            for (at, mut reader) in readers.into_iter().enumerate() {
                let case = format!("{published} published, {name}, reader {at}");
                assert_eq!(reader.poll(), Polled::CaughtUp, "{case}");
                let first = reader
                    .gaps
                    .first()
                    .unwrap_or_else(|| panic!("{case}: no gap"));
                assert_eq!((first.first, first.expired), (6, true), "{case}");
                assert!(first.terminals_lost && first.lost >= 95, "{case}");
                if published < 16 {
                    let last = match reader.given.first() {
                        Some(number) => number - 1,
                        None => 100,
                    };
                    assert_eq!((first.last, first.lost), (last, 95), "{case}");
                    assert_eq!(reader.gaps.len(), 1, "{case}");
                }
                if at < 3 {
                    let lost: u64 = reader.gaps.iter().map(|gap| gap.lost).sum();
                    let given = reader.given.len() as u64;
                    let expected = 95 + published - given;
                    assert!(lost >= expected && (at > 0 || lost == expected), "{case}");
                }
                reader.gaps.clear();
                assert_eq!(reader.poll(), Polled::CaughtUp);
                assert_eq!(reader.gaps, [], "{case}: reported once");
            }
            // After the number before the first one, nothing is missing.
            if published < 16 {
                for mut reader in self::readers(&ring, Start::After(100)) {
                    reader.poll();
                    assert_eq!(reader.gaps, [], "{name}");
                }
            }
        }
    }
}

#[test]
fn a_filter_matches_any_tag_as_the_ring_does() {
    let tags = [
        0,
        5,
        0xff_ffff,
        0x100_0000,
        0x100_0005,
        0xff00_0005,
        u32::MAX,
    ];
    for mask in tags {
        for value in tags {
            for classes in [u128::MAX, 1 << 5, 1] {
                let filter = TagFilter {
                    mask,
                    value,
                    classes,
                };
                let ring = Ring::new(&RingConfig {
                    frames: Geometry::for_window(16),
                    terminals: Geometry::for_window(16),
                    ..RingConfig::default()
                });
                let select = Select::Shard(0);
                let mut subscription = ring.subscribe(select, Some(filter), Start::Oldest).unwrap();
                for tag in tags {
                    let route = Route {
                        tag,
                        ..Route::default()
                    };
                    ring.publish(route, u64::from(tag)).unwrap();
                }
                let mut got = Vec::new();
                subscription.poll(|delivery| {
                    if let Delivery::Frame(_, &tag) = delivery {
                        got.push(tag as u32);
                    }
                    ControlFlow::Continue(())
                });
                let matching = tags.into_iter().filter(|&tag| filter.matches(tag));
                assert!(matching.eq(got.iter().copied()), "{filter:?}: {got:x?}");
            }
        }
    }
}
