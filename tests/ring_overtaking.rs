//! Publishers that overtake one another, and readers that sleep, on one thread: what a frame is
//! made by publishes and polls itself. Drawn at random, the same each time. Whatever happens, each
//! reader gets in ascending order what it wants, or is told where it was lost.

use framebus::ring::{
    Delivery, Gap, Geometry, Polled, PublishError, Ring, RingConfig, Route, Select, Start,
    Subscription, TagFilter,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Draws numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn is_one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What is known of a number that was given to a publisher.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    /// Its publish goes on, or its batch panicked: it may be read or not.
    Perhaps,
    /// Its frame was published here.
    Published(Route),
    /// Its publisher panicked.
    Unused,
}

const FILTER: TagFilter = TagFilter {
    mask: 0x80,
    value: 0x80,
    classes: 1 << 1,
};

struct Reader {
    subscription: Subscription<u64>,
    log: Log,
}

/// What a reader asked for and got.
#[derive(Clone)]
struct Log {
    select: Select,
    filter: Option<TagFilter>,
    everything: bool,
    /// It gets what is numbered above this.
    from: u64,
    /// The last number given to a publisher before it subscribed.
    last_before: u64,
    given: Vec<u64>,
    gaps: Vec<Gap>,
    /// All numbers up to this one were given, told or passed over.
    position: u64,
}

impl Log {
    fn wants(&self, route: Route, shards: usize) -> bool {
        let selected = match self.select {
            Select::All => true,
            Select::Shard(shard) => route.shard % shards == shard,
            Select::Terminals => route.terminal,
        };
        selected && self.filter.is_none_or(|it| it.matches(route.tag))
    }

    /// Takes a delivery, checked against what came before.
    fn take(&mut self, delivery: &Delivery<'_, u64>) {
        let before = self.position;
        match *delivery {
            Delivery::Frame(number, &value) => {
                assert_eq!(number, value, "a frame under another's number");
                match self.everything {
                    true => assert_eq!(number, before + 1, "a hole that is not told"),
                    false => assert!(number > before, "{number} after {before}"),
                }
                self.given.push(number);
                self.position = number;
            }
            Delivery::Gap(gap) => {
                let between = (gap.last + 1).checked_sub(gap.first).unwrap();
                assert_eq!(gap.first, before + 1, "{gap:?}");
                assert!((1..=between).contains(&gap.lost), "{gap:?}");
                assert!(!self.everything || gap.lost == between, "{gap:?}");
                assert!(!gap.expired || gap.first <= self.last_before, "{gap:?}");
                self.gaps.push(gap);
                self.position = gap.last;
            }
        }
    }

    /// Called when a poll has ended; the subscription's position may have moved on.
    fn moved(&mut self, position: u64) {
        assert!(position >= self.position);
        assert!(!self.everything || position == self.position);
        self.position = position;
    }
}

struct World {
    ring: Ring<u64>,
    dice: Dice,
    readers: Vec<Reader>,
    known: BTreeMap<u64, Known>,
    /// How deep a publisher is inside another's, or in a reader's batch.
    depth: u32,
    /// Whether publishers and readers do anything while others are at work.
    overtaking: bool,
    case: String,
}

impl World {
    fn route(&mut self) -> Route {
        Route {
            shard: self.dice.below(4) as usize,
            terminal: self.dice.is_one_in(4),
            tag: [0, 1, 0x80, 0x81][self.dice.below(4) as usize],
        }
    }

    /// What is done while somebody else is at work.
    fn meanwhile(&mut self) {
        if !self.overtaking || self.depth > 2 {
            return;
        }
        self.depth += 1;
        let steps = match self.dice.below(4) {
            0 => self.dice.below(3),
            1 if self.depth == 1 => self.dice.below(40),
            _ => 0,
        };
        (0..steps).for_each(|_| self.step());
        self.depth -= 1;
    }

    fn step(&mut self) {
        match self.dice.below(24) {
            0..10 => self.publish(),
            10..13 => self.publish_batch(),
            13..16 => self.flood(),
            16..19 => self.poll(),
            19..21 => self.batch(),
            21 => self.sleep(),
            22 => self.subscribe(),
            _ => self.clone_one(),
        }
    }

    fn publish(&mut self) {
        let route = self.route();
        let panics = self.overtaking && self.dice.is_one_in(12);
        let ring = self.ring.clone();
        let mut number = None;
        let publish = || {
            ring.publish_with(route, |it| {
                number = Some(it);
                assert_eq!(self.known.insert(it, Known::Perhaps), None);
                self.meanwhile();
                if panics {
                    resume_unwind(Box::new(()));
                }
                it
            })
        };
        match catch_unwind(AssertUnwindSafe(publish)) {
            Ok(Ok(it)) => {
                assert_eq!(number, Some(it));
                self.known.insert(it, Known::Published(route));
            }
            Ok(Err(error)) => {
                assert_eq!((error, number), (PublishError::Stuck, None));
                assert!(self.depth > 0, "nobody holds a place");
            }
            Err(panic) => match number.filter(|_| panic.is::<()>()) {
                Some(number) => drop(self.known.insert(number, Known::Unused)),
                None => resume_unwind(panic),
            },
        }
    }

    /// More of one kind than a lane holds.
    fn flood(&mut self) {
        let route = self.route();
        for _ in 0..self.dice.below(40) {
            if let Ok(number) = self.ring.publish_with(route, |number| number) {
                self.known.insert(number, Known::Published(route));
            }
        }
    }

    fn publish_batch(&mut self) {
        let one_kind = self.dice.is_one_in(2);
        let first = self.route();
        let routes: Vec<_> = (0..self.dice.below(5))
            .map(|_| if one_kind { first } else { self.route() })
            .collect();
        let panics_at = match self.overtaking && self.dice.is_one_in(8) {
            true => self.dice.below(5),
            false => u64::MAX,
        };
        let ring = self.ring.clone();
        let mut made = 0;
        let publish = || {
            ring.publish_all_with(routes.iter().copied(), |number| {
                if made == 0 {
                    let numbers = number..number + routes.len() as u64;
                    self.known.extend(numbers.map(|it| (it, Known::Perhaps)));
                }
                self.meanwhile();
                if made == panics_at {
                    resume_unwind(Box::new(()));
                }
                made += 1;
                number
            })
        };
        match catch_unwind(AssertUnwindSafe(publish)) {
            Ok(Ok(numbers)) => {
                assert_eq!(numbers.end - numbers.start, routes.len() as u64);
                let published = routes.into_iter().map(Known::Published);
                self.known.extend(numbers.zip(published));
            }
            Ok(Err(PublishError::Stuck | PublishError::BatchTooLarge { .. })) => {}
            Ok(Err(error)) => panic!("{error}"),
            Err(panic) if panic.is::<()>() => {}
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Takes out a reader that is not at work.
    fn reader(&mut self) -> Option<Reader> {
        let count = self.readers.len() as u64;
        (count > 0).then(|| self.readers.swap_remove(self.dice.below(count) as usize))
    }

    /// All that is there, or what comes before the visitor breaks.
    fn poll(&mut self) {
        let Some(mut reader) = self.reader() else {
            return;
        };
        let most = match self.dice.is_one_in(3) {
            true => 1 + self.dice.below(6),
            false => u64::MAX,
        };
        self.poll_one(&mut reader, most);
        self.readers.push(reader);
    }

    fn poll_one(&mut self, Reader { subscription, log }: &mut Reader, most: u64) {
        let mut count = 0;
        // Where nobody is at work it may still have to find the end of what is void, and how far
        // its pin must reach.
        for _ in 0..4 {
            let polled = subscription.poll(|delivery| {
                count += 1;
                log.take(&delivery);
                match count == most {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            log.moved(subscription.position());
            match polled {
                Polled::Unfinished if self.depth == 0 => {}
                _ => return assert_eq!(polled == Polled::More, count == most, "{}", self.case),
            }
        }
        panic!("{}: it does not catch up", self.case);
    }

    fn batch(&mut self) {
        let Some(mut reader) = self.reader() else {
            return;
        };
        let Reader { subscription, log } = &mut reader;
        let mut visited = 0;
        let count = subscription.batch(|delivery| {
            visited += 1;
            log.take(&delivery);
            ControlFlow::Continue(())
        });
        assert_eq!(count, visited);
        log.moved(subscription.position());
        self.readers.push(reader);
    }

    /// A reader reads a frame for long: what it borrowed stays as it is.
    fn sleep(&mut self) {
        let Some(mut reader) = self.reader() else {
            return;
        };
        let Reader { subscription, log } = &mut reader;
        subscription.batch(|delivery| {
            self.meanwhile();
            log.take(&delivery);
            ControlFlow::Break(())
        });
        log.moved(subscription.position());
        self.readers.push(reader);
    }

    fn subscribe(&mut self) {
        let last_before = self.ring.next_sequence() - 1;
        let (start, from) = match self.dice.below(4) {
            0 => (Start::Oldest, 0),
            1 => (Start::Latest, last_before),
            _ => {
                let back = self.dice.below(60);
                let from = last_before.saturating_sub(back);
                (Start::After(from), from)
            }
        };
        let select = match self.dice.below(4) {
            0 => Select::Terminals,
            1 => Select::All,
            _ => Select::Shard(self.dice.below(self.ring.shards() as u64) as usize),
        };
        let filter = self.dice.is_one_in(3).then_some(FILTER);
        let subscription = self.ring.subscribe(select, filter, start).unwrap();
        let position = subscription.position();
        assert!(start == Start::Oldest || position == from);
        let log = Log {
            select,
            filter,
            everything: subscription.reads_everything(),
            from: position,
            last_before,
            given: Vec::new(),
            gaps: Vec::new(),
            position,
        };
        self.readers.push(Reader { subscription, log });
    }

    fn clone_one(&mut self) {
        let Some(reader) = self.reader() else {
            return;
        };
        if self.readers.len() < 8 {
            self.readers.push(Reader {
                subscription: reader.subscription.try_clone().unwrap(),
                log: reader.log.clone(),
            });
        }
        self.readers.push(reader);
    }

    /// Nobody is at work: each reader got all, or was told.
    fn check(&mut self) {
        let case = self.case.clone();
        let mut readers = std::mem::take(&mut self.readers);
        for reader in &mut readers {
            // What is noticed in a poll, and no frame follows, is told in the next.
            for _ in 0..3 {
                self.poll_one(reader, u64::MAX);
            }
            let told = reader.log.gaps.len() + reader.log.given.len();
            self.poll_one(reader, u64::MAX);
            let log = &reader.log;
            assert_eq!(told, log.gaps.len() + log.given.len(), "{case}");
            // A reader of everything tells of numbers without a frame before the next one.
            let last = self.ring.next_sequence() - 1;
            assert!(log.position == last || log.everything, "{case}");
            self.check_one(log);
        }
        self.readers = readers;
    }

    fn check_one(&self, log: &Log) {
        let case = &self.case;
        let shards = self.ring.shards();
        for number in &log.given {
            match self.known[number] {
                Known::Published(route) => assert!(log.wants(route, shards), "{case}"),
                Known::Perhaps => {}
                Known::Unused => panic!("{case}: {number} has no frame"),
            }
        }
        for (&number, known) in self.known.range(log.from + 1..) {
            let Known::Published(route) = *known else {
                continue;
            };
            if !log.wants(route, shards) || log.given.binary_search(&number).is_ok() {
                continue;
            }
            let in_gap = |gap: &&Gap| (gap.first..=gap.last).contains(&number);
            let gap = log.gaps.iter().find(in_gap);
            let gap = gap.unwrap_or_else(|| panic!("{case}: {number} is missing"));
            assert!(gap.terminals_lost || !route.terminal, "{case}: {gap:?}");
        }
    }
}

fn worlds(overtaking: bool) -> impl Iterator<Item = World> {
    let lanes = [
        (2, 1, 0, 1),
        (4, 1, 1, 1),
        (4, 2, 2, 4),
        (8, 2, 2, 2),
        (16, 2, 4, 4),
        (32, 8, 8, 1),
    ];
    let rings = [(1, false), (1, true), (2, false), (4, false)];
    let cases = lanes
        .into_iter()
        .flat_map(move |lane| rings.map(|ring| (lane, ring)));
    cases
        .enumerate()
        .map(move |(seed, (lane, (shards, counter)))| {
            let (places, chunk, slack, batch) = lane;
            let lane = Geometry::exact(places, chunk, slack, batch);
            let config = RingConfig {
                shards,
                frames: lane,
                terminals: lane,
                ..RingConfig::default()
            };
            World {
                ring: match counter {
                    true => Ring::with_counter(&config),
                    false => Ring::new(&config),
                },
                dice: Dice(0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1)),
                readers: Vec::new(),
                known: BTreeMap::new(),
                depth: 0,
                overtaking,
                case: format!("{lane:?}, {shards} shards, counter {counter}"),
            }
        })
}

fn run(overtaking: bool) {
    for mut world in worlds(overtaking) {
        for _ in 0..4 {
            world.subscribe();
        }
        for _ in 0..12 {
            (0..world.dice.below(20)).for_each(|_| world.step());
            world.check();
        }
    }
}

#[test]
fn readers_get_all_or_are_told_though_publishers_overtake_one_another() {
    run(true);
}

#[test]
fn readers_get_all_or_are_told_of_one_publisher() {
    run(false);
}
