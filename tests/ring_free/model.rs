//! Random histories against a plain model, which says after each step exactly what is still held.

use crate::{Drops, Token, ring};
use framebus::ring::{
    Delivery, Geometry, Polled, Ring, Route, Select, Start, Subscription, TagFilter,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Publish(Frame),
    Batch(Vec<Frame>),
    /// What it reads, the class that it wants, and where it starts: so many frames ago.
    Subscribe(u8, Option<u8>, Option<u64>),
    /// Which one, by batches, and how many frames at most.
    Read(usize, bool, usize),
    Clone(usize),
    Leave(usize),
}

#[derive(Clone, Debug)]
struct Frame {
    shard: u8,
    terminal: bool,
    class: u8,
}

impl Frame {
    fn route(&self) -> Route {
        Route {
            shard: self.shard as usize,
            terminal: self.terminal,
            tag: u32::from(self.class),
        }
    }
}

fn frame() -> impl Strategy<Value = Frame> {
    (0..2_u8, prop::bool::weighted(0.3), 0..3_u8).prop_map(|(shard, terminal, class)| Frame {
        shard,
        terminal,
        class,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let start = prop_oneof![Just(None), Just(Some(0)), (0..20_u64).prop_map(Some)];
    let class = prop_oneof![Just(None), (0..3_u8).prop_map(Some)];
    prop_oneof![
        6 => frame().prop_map(Step::Publish),
        2 => prop::collection::vec(frame(), 1..5).prop_map(Step::Batch),
        3 => (0..4_u8, class, start).prop_map(|(a, b, c)| Step::Subscribe(a, b, c)),
        6 => (any::<usize>(), any::<bool>(), 1..12_usize).prop_map(|(a, b, c)| Step::Read(a, b, c)),
        1 => any::<usize>().prop_map(Step::Clone),
        2 => any::<usize>().prop_map(Step::Leave),
    ]
}

fn select(choice: u8) -> Select {
    match choice {
        0 => Select::All,
        1 => Select::Terminals,
        shard => Select::Shard(shard as usize),
    }
}

/// A subscription, and what the model says that it will be given.
struct Reader {
    subscription: Subscription<Token>,
    selected: Select,
    class: Option<u8>,
    /// By number.
    ahead: BTreeSet<u64>,
    everything: bool,
    /// The number up to which it accounts for each, and how many it was given or lost since.
    from: u64,
    accounted: u64,
}

impl Reader {
    fn wants(&self, frame: &Frame, shards: usize) -> bool {
        let selected = match self.selected {
            Select::All => true,
            Select::Shard(shard) => frame.shard as usize % shards == shard % shards,
            Select::Terminals => frame.terminal,
        };
        selected && self.class.is_none_or(|class| class == frame.class)
    }
}

/// A ring, its subscriptions, and the model.
struct Trial {
    ring: Ring<Token>,
    drops: Drops,
    readers: Vec<Reader>,
    /// By number.
    held: BTreeMap<u64, Frame>,
    published: u64,
}

impl Trial {
    fn new(shards: usize) -> Self {
        Trial {
            ring: ring(shards, Geometry::for_window(1_000)),
            drops: Drops::default(),
            readers: Vec::new(),
            held: BTreeMap::new(),
            published: 0,
        }
    }

    fn token(&self, id: u64) -> Token {
        Token {
            id,
            drops: self.drops.clone(),
        }
    }

    /// Notes a frame that was published.
    fn published(&mut self, frame: &Frame) {
        self.published += 1;
        for reader in &mut self.readers {
            if reader.wants(frame, self.ring.shards()) {
                reader.ahead.insert(self.published);
            }
        }
        self.held.insert(self.published, frame.clone());
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish(frame) => {
                let token = self.token(self.published + 1);
                let number = self.ring.publish(frame.route(), token).unwrap();
                self.published(frame);
                assert_eq!(number, self.published);
            }
            Step::Batch(frames) => {
                let routes = frames.iter().map(Frame::route);
                let numbers = self.ring.publish_all_with(routes, |id| self.token(id));
                assert_eq!(numbers.unwrap().start, self.published + 1);
                frames.iter().for_each(|frame| self.published(frame));
            }
            &Step::Subscribe(choice, class, ago) => {
                let filter = class.map(|class| TagFilter {
                    mask: 0,
                    value: 0,
                    classes: 1 << class,
                });
                let after = ago.map(|ago| self.published.saturating_sub(ago));
                let start = match after {
                    None => Start::Oldest,
                    Some(after) if ago == Some(0) && after % 2 == 0 => Start::Latest,
                    Some(after) => Start::After(after),
                };
                let selected = select(choice);
                let subscribed = self.ring.subscribe(selected, filter, start);
                let mut reader = Reader {
                    subscription: subscribed.unwrap(),
                    selected,
                    class,
                    ahead: BTreeSet::new(),
                    everything: choice == 0 && class.is_none(),
                    from: after.unwrap_or(0),
                    accounted: 0,
                };
                if start == Start::Oldest {
                    reader.from = reader.subscription.position();
                }
                let shards = self.ring.shards();
                let mine = self.held.iter().filter(|(number, frame)| {
                    **number > after.unwrap_or(0) && reader.wants(frame, shards)
                });
                reader.ahead = mine.map(|(&number, _)| number).collect();
                self.readers.push(reader);
            }
            &Step::Read(which, by_batches, most) if !self.readers.is_empty() => {
                let which = which % self.readers.len();
                self.read(which, by_batches, most);
            }
            &Step::Clone(which) if !self.readers.is_empty() => {
                let reader = &self.readers[which % self.readers.len()];
                let clone = Reader {
                    subscription: reader.subscription.try_clone().unwrap(),
                    ahead: reader.ahead.clone(),
                    ..*reader
                };
                self.readers.push(clone);
            }
            &Step::Leave(which) if !self.readers.is_empty() => {
                let which = which % self.readers.len();
                self.readers.swap_remove(which);
            }
            _ => {}
        }
    }

    fn read(&mut self, which: usize, by_batches: bool, most: usize) {
        let reader = &mut self.readers[which];
        let (ahead, drops, held) = (&mut reader.ahead, &self.drops, &self.held);
        let (mut given, mut accounted) = (0, 0);
        let visit = |delivery: Delivery<'_, Token>| {
            match delivery {
                Delivery::Frame(number, token) => {
                    assert_eq!(token.id, number);
                    assert!(!drops.lock().unwrap().contains_key(&number));
                    assert_eq!(ahead.pop_first(), Some(number), "{held:?}");
                    accounted += 1;
                }
                Delivery::Gap(gap) => {
                    assert!(gap.expired, "{gap:?}");
                    accounted += gap.lost;
                }
            }
            given += 1;
            if given < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        if by_batches {
            reader.subscription.batch(visit);
        } else {
            let polled = reader.subscription.poll(visit);
            assert_eq!(polled == Polled::CaughtUp, given < most, "{polled:?}");
            assert!(
                given == most || reader.ahead.is_empty(),
                "{:?}",
                reader.ahead
            );
        }
        reader.accounted += accounted;
        if reader.everything {
            let position = reader.subscription.position();
            assert_eq!(reader.from + reader.accounted, position);
        }
    }

    /// What all have passed is dropped, once, and nothing else: a reader holds what it has still to
    /// read, and what comes after that in the same lane.
    fn check(&mut self) {
        let (readers, all) = (&self.readers, self.held.clone());
        let shards = self.ring.shards();
        let lane = |frame: &Frame| (frame.shard as usize % shards, frame.terminal);
        self.held.retain(|number, frame| {
            let holds = |held: &u64| held <= number && lane(&all[held]) == lane(frame);
            readers.iter().any(|reader| reader.ahead.iter().any(holds))
        });
        let held: Vec<_> = self.held.keys().copied().collect();
        let drops = self.drops.lock().unwrap();
        assert!(drops.values().all(|&times| times == 1), "{drops:?}");
        let here = (1..=self.published).filter(|number| !drops.contains_key(number));
        assert_eq!(here.collect::<Vec<_>>(), held);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_is_dropped_when_the_last_that_was_to_see_it_has_passed_it(
        steps in prop::collection::vec(step(), 1..120),
        shards in prop_oneof![Just(1_usize), Just(2)],
    ) {
        let mut trial = Trial::new(shards);
        for step in &steps {
            trial.step(step);
            trial.check();
        }
        trial.readers.clear();
        trial.check();
        prop_assert!(trial.held.is_empty());
    }
}
