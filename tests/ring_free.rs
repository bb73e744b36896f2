//! Rings that free what was read: when a frame is dropped, on one thread. Random histories are
//! compared with a plain model, which says after each step exactly what is still held.

use framebus::ring::{
    Delivery, Geometry, Polled, Retention, Ring, RingConfig, Route, Select, Start, Subscription,
    TagFilter,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// How often each value was dropped.
type Drops = Arc<Mutex<BTreeMap<u64, usize>>>;

/// A value that notes its drop.
struct Token {
    id: u64,
    drops: Drops,
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        *drops.entry(self.id).or_default() += 1;
    }
}

fn ring<T>(shards: usize, lane: Geometry) -> Ring<T> {
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        retention: Retention::FreeWhenRead,
        ..RingConfig::default()
    })
}

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

/// How many of the values up to this one are not dropped.
fn here(drops: &Drops, published: u64) -> u64 {
    let drops = drops.lock().unwrap();
    assert!(drops.values().all(|&times| times == 1), "{drops:?}");
    published - drops.len() as u64
}

fn publish(ring: &Ring<Token>, drops: &Drops, route: Route, count: u64) {
    for _ in 0..count {
        let token = |id| Token {
            id,
            drops: drops.clone(),
        };
        ring.publish_with(route, token).unwrap();
    }
}

fn read_all(reader: &mut Subscription<Token>) -> Vec<u64> {
    let mut given = Vec::new();
    reader.poll(|delivery| {
        if let Delivery::Frame(number, _) = delivery {
            given.push(number);
        }
        ControlFlow::Continue(())
    });
    given
}

#[test]
fn what_nobody_reads_is_dropped_before_its_publish_returns() {
    for shards in [1, 2] {
        let (ring, drops) = (ring(shards, Geometry::for_window(16)), Drops::default());
        for published in 1..100 {
            let route = Route {
                shard: published as usize,
                terminal: published % 3 == 0,
                tag: 0,
            };
            publish(&ring, &drops, route, 1);
            assert_eq!(here(&drops, published), 0);
        }
        // A reader of terminal frames holds those back, and no others.
        let reader = ring.subscribe(Select::Terminals, None, Start::Latest);
        publish(&ring, &drops, Route::default(), 5);
        publish(&ring, &drops, Route::default().terminal(), 5);
        assert_eq!(here(&drops, 109), 5);
        drop(reader);
        assert_eq!(here(&drops, 109), 0);
    }
}

/// What was overwritten was dropped by who overwrote it. What may be overwritten any time, and is
/// not yet, is left to that: less than a lane has beyond its window.
#[test]
fn a_lapped_reader_holds_back_no_more_than_the_lane_promises() {
    for shards in [1, 2] {
        for leaves in [false, true] {
            let lane = Geometry::for_window(100);
            let (ring, drops) = (ring(shards, lane), Drops::default());
            let mut reader = ring.subscribe(Select::All, None, Start::Latest).unwrap();
            publish(&ring, &drops, Route::default(), 1_000);
            assert!(here(&drops, 1_000) <= lane.slots() as u64);
            if leaves {
                drop(reader);
            } else {
                let given = read_all(&mut reader);
                assert!(given.len() >= lane.window() && given.ends_with(&[999, 1_000]));
            }
            let left = (lane.slots() - lane.window()) as u64;
            assert!(here(&drops, 1_000) <= left, "{}", here(&drops, 1_000));
        }
    }
}

#[test]
fn a_reader_asleep_in_its_batch_holds_what_it_borrows_and_others_go_on() {
    let lane = Geometry::for_window(100);
    let (ring, drops) = (ring(1, lane), Drops::default());
    let mut asleep = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    let mut other = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    publish(&ring, &drops, Route::default(), 3);
    asleep.batch(|delivery| {
        if let Delivery::Frame(1, token) = delivery {
            for round in 0..20 {
                publish(&ring, &drops, Route::default(), 50);
                assert_eq!(read_all(&mut other).last(), Some(&(53 + round * 50)));
            }
            assert_eq!(token.id, 1);
            assert!(!drops.lock().unwrap().contains_key(&1));
        }
        ControlFlow::Continue(())
    });
    read_all(&mut asleep);
    assert!(here(&drops, 1_003) <= (lane.slots() - lane.window()) as u64);
    drop((ring, asleep, other));
    assert_eq!(here(&drops, 1_003), 0);
}

/// A frame that does something when it is dropped.
struct Act(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Act {
    fn new(act: impl FnOnce() + Send + 'static) -> Self {
        Act(Mutex::new(Some(Box::new(act))))
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let act = self.0.get_mut().unwrap().take();
        act.into_iter().for_each(|act| act());
    }
}

/// Runs `act` as the drop of a frame: of one that a reader frees, that a leaver frees, that a
/// publisher frees, and of one amid others in a ring that they fill.
fn each_way(act: impl Fn(&Ring<Act>) + Clone + Send + 'static) {
    for way in 0..4 {
        let ring = ring::<Act>(1, Geometry::for_window(2));
        let mut reader = Some(ring.subscribe(Select::All, None, Start::Latest).unwrap());
        let read = |reader: &mut Option<Subscription<Act>>| {
            let reader = reader.as_mut().unwrap();
            reader.poll(|_| ControlFlow::Continue(()));
        };
        let done = Arc::new(AtomicUsize::new(0));
        let frames = if way == 3 { 2 } else { 1 };
        if way == 2 {
            reader = None;
        }
        for _ in 0..frames {
            let (act, own, done) = (act.clone(), ring.clone(), done.clone());
            let frame = Act::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                act(&own);
            });
            ring.publish(Route::default(), frame).unwrap();
        }
        let dropped = done.load(Ordering::Relaxed);
        assert_eq!(dropped, usize::from(way == 2));
        match way {
            1 => reader = None,
            2 => {}
            _ => read(&mut reader),
        }
        assert_eq!(done.load(Ordering::Relaxed), frames, "{way}");
        // The ring works on, and what was published meanwhile goes too.
        drop(reader);
        let mut later = Some(ring.subscribe(Select::All, None, Start::Latest).unwrap());
        let held = Arc::new(());
        let own = held.clone();
        let frame = Act::new(move || drop(own));
        ring.publish(Route::default(), frame).unwrap();
        assert_eq!(Arc::strong_count(&held), 2, "{way}");
        read(&mut later);
        assert_eq!(Arc::strong_count(&held), 1, "{way}");
    }
}

#[test]
fn a_drop_may_panic() {
    each_way(|_| panic!("a drop"));
}

#[test]
fn a_drop_may_publish() {
    each_way(|ring| {
        let published = ring.publish(Route::default(), Act::new(|| ()));
        assert!(published.is_ok(), "{published:?}");
    });
}

#[test]
fn a_drop_may_publish_what_publishes_when_it_is_dropped() {
    each_way(|ring| {
        let own = ring.clone();
        let next = Act::new(move || {
            own.publish(Route::default(), Act::new(|| ())).unwrap();
        });
        ring.publish(Route::default(), next).unwrap();
    });
}

#[test]
fn a_drop_may_subscribe_read_and_leave() {
    each_way(|ring| {
        let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
        let clone = reader.try_clone().unwrap();
        reader.poll(|_| ControlFlow::Continue(()));
        drop((clone, reader));
    });
}

#[test]
fn a_drop_may_drop_a_subscription_that_held_others_back() {
    let ring = ring::<Act>(1, Geometry::for_window(16));
    let mut reader = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    let dropped = Arc::new(());
    let held = dropped.clone();
    // The frame holds a subscription which is at the second one.
    let (slot, own) = (Arc::new(Mutex::new(None)), ring.clone());
    let inner = slot.clone();
    ring.publish(
        Route::default(),
        Act::new(move || drop(inner.lock().unwrap().take())),
    )
    .unwrap();
    *slot.lock().unwrap() = Some(own.subscribe(Select::All, None, Start::Latest).unwrap());
    ring.publish(Route::default(), Act::new(move || drop(held)))
        .unwrap();
    reader.poll(|_| ControlFlow::Continue(()));
    assert!(slot.lock().unwrap().is_none());
    assert_eq!(Arc::strong_count(&dropped), 1);
}

#[test]
fn the_asker_in_a_frame_learns_that_all_readers_are_gone() {
    let ring = ring::<std::sync::mpsc::Sender<u8>>(1, Geometry::for_window(16));
    let subscribe = || ring.subscribe(Select::All, None, Start::Latest).unwrap();
    let (first, mut second) = (subscribe(), subscribe());
    let (ask, answers) = std::sync::mpsc::channel();
    ring.publish(Route::default(), ask).unwrap();
    second.poll(|delivery| {
        if let Delivery::Frame(_, ask) = delivery {
            ask.send(7).unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(answers.try_recv(), Ok(7));
    assert_eq!(
        answers.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Empty)
    );
    drop(first);
    let gone = std::sync::mpsc::TryRecvError::Disconnected;
    assert_eq!(answers.try_recv(), Err(gone));
}

/// A sleeper holds back what it is to see. So it is woken for all of that, whatever its key.
#[test]
fn a_sleeper_wakes_for_all_that_it_holds_back() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let filter = TagFilter {
        mask: 0,
        value: 0,
        classes: 1 << 5,
    };
    for filter in [None, Some(filter)] {
        let (ring, drops) = (ring(1, Geometry::for_window(16)), Drops::default());
        let mut sleeper = ring.subscribe(Select::All, filter, Start::Latest).unwrap();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(woken.clone());
        sleeper.register_waker(Some(7), &waker).unwrap();
        let route = |tag| Route {
            tag,
            ..Route::default()
        };
        publish(&ring, &drops, route(3), 1);
        ring.wake(route(3), [8, 9]);
        let wakes = usize::from(filter.is_none());
        assert_eq!(woken.0.load(Ordering::Relaxed), wakes);
        assert_eq!(here(&drops, 1), wakes as u64);
        read_all(&mut sleeper);
        sleeper.register_waker(Some(7), &waker).unwrap();
        publish(&ring, &drops, route(5), 1);
        ring.wake(route(5), [8, 9]);
        assert_eq!(woken.0.load(Ordering::Relaxed), wakes + 1);
        read_all(&mut sleeper);
        assert_eq!(here(&drops, 2), 0);
    }
}

#[test]
fn a_later_subscription_is_told_what_was_freed() {
    for shards in [1, 2] {
        let (ring, drops) = (ring(shards, Geometry::for_window(16)), Drops::default());
        let mut first = ring.subscribe(Select::All, None, Start::Latest).unwrap();
        publish(&ring, &drops, Route::default(), 3);
        read_all(&mut first);
        publish(&ring, &drops, Route::default(), 2);
        let mut gaps = Vec::new();
        let mut told = |start| {
            let mut reader = ring.subscribe(Select::All, None, start).unwrap();
            gaps.clear();
            let mut given = Vec::new();
            reader.poll(|delivery| {
                match delivery {
                    Delivery::Frame(number, _) => given.push(number),
                    Delivery::Gap(gap) => gaps.push((gap.first, gap.last, gap.lost, gap.expired)),
                }
                ControlFlow::Continue(())
            });
            (given, gaps.clone())
        };
        assert_eq!(told(Start::After(1)), (vec![4, 5], vec![(2, 3, 2, true)]));
        assert_eq!(told(Start::Oldest), (vec![4, 5], vec![]));
        assert_eq!(told(Start::After(3)), (vec![4, 5], vec![]));
        assert_eq!(told(Start::Latest), (vec![], vec![]));
        assert_eq!(ring.stats().oldest_sequence, Some(4));
    }
}

/// Nobody can tell when a value goes that needs no drop: it stays for later subscriptions.
#[test]
fn frames_that_need_no_drop_are_kept() {
    let ring = ring::<u64>(1, Geometry::for_window(16));
    ring.publish(Route::default(), 7).unwrap();
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let mut given = Vec::new();
    reader.poll(|delivery| {
        if let Delivery::Frame(_, &frame) = delivery {
            given.push(frame);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(given, [7]);
}
