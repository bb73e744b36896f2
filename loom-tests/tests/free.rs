//! Models of a ring that frees what was read: who drops a frame, beside readers, publishers,
//! subscriptions that come, go and are cloned, laps, filters and terminal frames.
//!
//! At the end of each, what all subscriptions have passed was dropped once, and nothing else was.
//! A frame that is dropped while it is borrowed is an error by itself.
#![cfg(loom)]

use framebus::ring::{
    Delivery, Geometry, Retention, Ring, RingConfig, Route, Select, Start, Subscription, TagFilter,
};
use loom::thread::{self, JoinHandle};
use loom_tests::{FRAME, TERMINAL, check, deep};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often each frame was dropped, by its number.
type Drops = Arc<[AtomicUsize; 8]>;

/// A frame that counts its drop. Boxed, so that it is freed once.
struct Token(Box<u64>, Drops);

impl Drop for Token {
    fn drop(&mut self) {
        let before = self.1[*self.0 as usize].fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "frame {} dropped twice", self.0);
    }
}

/// A ring and what it dropped.
#[derive(Clone)]
struct Model {
    ring: Ring<Token>,
    drops: Drops,
}

/// A subscription, and the numbers that it was given.
struct Reader {
    subscription: Subscription<Token>,
    drops: Drops,
    given: Vec<u64>,
    lost: u64,
}

/// The tag that the sleepers of the models want.
const WANTED: Route = Route { tag: 1, ..FRAME };

impl Model {
    /// A ring of one shard, index-numbered.
    fn new(slots: u64) -> Self {
        Self::of(slots, false)
    }

    /// One whose numbers come from a counter.
    fn sequenced(slots: u64) -> Self {
        Self::of(slots, true)
    }

    fn of(slots: u64, sequenced: bool) -> Self {
        Self::with(Geometry::exact(slots, 1, 0, 1), sequenced)
    }

    fn with(lane: Geometry, sequenced: bool) -> Self {
        let config = RingConfig {
            frames: lane,
            terminals: lane,
            retention: Retention::FreeWhenRead,
            ..RingConfig::default()
        };
        Model {
            ring: if sequenced {
                Ring::with_counter(&config)
            } else {
                Ring::new(&config)
            },
            drops: Arc::default(),
        }
    }

    fn publish(&self, route: Route) -> u64 {
        let token = |number| Token(Box::new(number), self.drops.clone());
        u64::from(self.ring.publish_with(route, token).is_ok())
    }

    fn publisher(&self, route: Route) -> JoinHandle<u64> {
        let model = self.clone();
        thread::spawn(move || model.publish(route))
    }

    fn read(&self, select: Select, filter: Option<TagFilter>, start: Start) -> Reader {
        Reader {
            subscription: self.ring.subscribe(select, filter, start).unwrap(),
            drops: self.drops.clone(),
            given: Vec::new(),
            lost: 0,
        }
    }

    fn everything(&self) -> Reader {
        self.read(Select::All, None, Start::Oldest)
    }

    /// A reader of the frames that are wanted.
    fn sleeper(&self) -> Reader {
        let filter = TagFilter {
            mask: 1,
            value: 1,
            classes: u128::MAX,
        };
        self.read(Select::All, Some(filter), Start::Oldest)
    }

    /// A thread that subscribes and reads.
    fn joiner(&self, start: Start) -> JoinHandle<Reader> {
        let model = self.clone();
        thread::spawn(move || {
            let mut reader = model.read(Select::All, None, start);
            reader.poll();
            reader
        })
    }

    fn dropped(&self, number: u64) -> bool {
        self.drops[number as usize].load(Ordering::Relaxed) == 1
    }

    /// All threads are done. What these readers of everything have passed is dropped, and nothing
    /// else; when they are gone, all is.
    fn end(self, published: u64, readers: impl IntoIterator<Item = Reader>) {
        let readers: Vec<_> = readers.into_iter().collect();
        for number in 1..=published {
            let passed = |reader: &Reader| reader.subscription.position() >= number;
            let all = readers.iter().all(passed);
            assert_eq!(self.dropped(number), all, "frame {number} of {published}");
        }
        drop(readers);
        assert!((1..=published).all(|number| self.dropped(number)));
    }

    /// The same where readers were lapped: all that is left goes with the ring.
    fn end_lapped(self, published: u64, readers: impl IntoIterator<Item = Reader>) {
        readers.into_iter().for_each(drop);
        let drops = self.drops.clone();
        drop(self);
        for number in 1..=published {
            assert_eq!(drops[number as usize].load(Ordering::Relaxed), 1);
        }
    }
}

impl Reader {
    fn poll(&mut self) {
        let Reader {
            given, drops, lost, ..
        } = self;
        self.subscription.poll(|delivery| {
            match delivery {
                Delivery::Frame(number, token) => {
                    assert_eq!(drops[number as usize].load(Ordering::Relaxed), 0);
                    assert_eq!(*token.0, number);
                    given.push(number);
                }
                Delivery::Gap(gap) => *lost += gap.lost,
            }
            ControlFlow::Continue(())
        });
    }

    /// A thread that polls.
    fn polls(mut self, times: usize) -> JoinHandle<Self> {
        thread::spawn(move || {
            (0..times).for_each(|_| self.poll());
            self
        })
    }

    /// A thread that leaves.
    fn leaves(self) -> JoinHandle<()> {
        thread::spawn(move || drop(self))
    }

    fn try_clone(&self) -> Self {
        Reader {
            subscription: self.subscription.try_clone().unwrap(),
            drops: self.drops.clone(),
            given: self.given.clone(),
            lost: self.lost,
        }
    }
}

/// Proves: of two readers of one frame, the last drops it. Guards against: two that each see the
/// other not done; a drop while the other borrows it.
#[test]
fn the_last_of_two_readers_drops() {
    check(2, || {
        let model = Model::new(2);
        let readers = [model.everything(), model.everything()];
        model.publish(FRAME);
        let [mut first, second] = readers;
        let second = second.polls(1);
        first.poll();
        let second = second.join().unwrap();
        assert!(model.dropped(1));
        model.end(1, [first, second]);
    });
}

/// Proves: the same beside the publisher. Guards against: a frame that is stamped between two looks
/// and that nobody comes back to.
#[test]
fn two_readers_beside_a_publisher() {
    check(if deep() { 2 } else { 1 }, || {
        let model = Model::new(2);
        let readers = [model.everything(), model.everything()];
        let readers = readers.map(|reader| reader.polls(1));
        let published = model.publish(FRAME) + model.publish(FRAME);
        model.end(published, readers.map(|reader| reader.join().unwrap()));
    });
}

/// Proves: a reader that leaves holds nothing back. Guards against: a frame that the leaver was the
/// last to hold.
#[test]
fn a_reader_leaves_beside_another() {
    check(2, || {
        let model = Model::new(2);
        let readers = [model.everything(), model.everything()];
        model.publish(FRAME);
        let [mut first, second] = readers;
        let second = second.leaves();
        first.poll();
        second.join().unwrap();
        model.end(1, [first]);
    });
}

/// Proves: what nobody reads any more is dropped by its publisher, or by who left last. Guards
/// against: a publisher that takes the reader for there, and a reader that takes the frame for not.
#[test]
fn the_last_reader_leaves_beside_a_publisher() {
    check(2, || {
        let model = Model::new(2);
        let leaver = model.everything().leaves();
        let published = model.publish(FRAME);
        leaver.join().unwrap();
        model.end(published, []);
    });
}

/// Proves: the same if two frames come from two publishers, of whom one may hold the other's back.
#[test]
fn the_last_reader_leaves_beside_two_publishers() {
    check(if deep() { 2 } else { 1 }, || {
        let model = Model::new(2);
        let leaver = model.everything().leaves();
        let second = model.publisher(FRAME);
        let published = model.publish(FRAME) + second.join().unwrap();
        leaver.join().unwrap();
        model.end(published, []);
    });
}

/// Proves: two publishers drop what they publish if nobody reads. Guards against: each leaving it
/// to the other.
#[test]
fn two_publishers_and_nobody() {
    check(2, || {
        let model = Model::new(2);
        let second = model.publisher(FRAME);
        let published = model.publish(FRAME) + second.join().unwrap();
        model.end(published, []);
    });
}

/// Proves: a subscription that is made beside a reader's pass starts at or above what that one
/// frees, and holds what it may read. Guards against: a frame that is freed under it.
#[test]
fn a_reader_joins_beside_another() {
    check(2, || {
        let model = Model::new(2);
        let mut first = model.everything();
        model.publish(FRAME);
        let second = model.joiner(Start::Oldest);
        first.poll();
        model.end(1, [first, second.join().unwrap()]);
    });
}

/// Proves: the same for a start after a number. Guards against: a loss that is not told.
#[test]
fn a_reader_joins_at_a_cursor_beside_another() {
    check(2, || {
        let model = Model::new(2);
        let mut first = model.everything();
        model.publish(FRAME);
        let second = model.joiner(Start::After(0));
        first.poll();
        let mut second = second.join().unwrap();
        model.publish(FRAME);
        second.poll();
        assert_eq!(second.given.len() as u64 + second.lost, 2);
        first.poll();
        model.end(2, [first, second]);
    });
}

/// Proves: the last reader may leave while another joins, beside a publisher.
#[test]
fn readers_change_beside_a_publisher() {
    check(1, || {
        let model = Model::new(2);
        let leaver = model.everything().leaves();
        let joiner = model.joiner(Start::Oldest);
        let published = model.publish(FRAME);
        leaver.join().unwrap();
        model.end(published, [joiner.join().unwrap()]);
    });
}

/// Proves: a clone loses nothing that its original had not read when it was made. Guards against: a
/// passer that sees the original moved on, and not the clone.
#[test]
fn a_clone_beside_another_reader() {
    check(2, || {
        let model = Model::new(2);
        let readers = [model.everything(), model.everything()];
        model.publish(FRAME);
        let [mut first, second] = readers;
        let second = second.polls(1);
        let mut clone = first.try_clone();
        first.poll();
        let second = second.join().unwrap();
        assert!(!model.dropped(1), "the clone has not read it");
        clone.poll();
        assert_eq!(clone.given, [1]);
        model.end(1, [first, second, clone]);
    });
}

/// Proves: a row of pins may change hands beside a pass.
#[test]
fn a_row_changes_hands_beside_a_reader() {
    check(1, || {
        let model = Model::new(2);
        let readers = [model.everything(), model.everything()];
        model.publish(FRAME);
        let [first, second] = readers;
        let first = first.polls(1);
        drop(second);
        let mut third = model.everything();
        third.poll();
        model.end(1, [first.join().unwrap(), third]);
    });
}

/// Proves: a frame that is being freed is not overwritten beside that, and one that is overwritten
/// is not freed. Guards against: two that drop one frame; a new frame that is dropped for an old
/// one.
fn a_pass_beside_a_lap(preemptions: usize, model: fn(u64) -> Model, frames: u64, route: Route) {
    check(preemptions, move || {
        let model = model(2);
        let reader = model.everything().polls(1);
        let published = (0..frames).map(|_| model.publish(route)).sum();
        let reader = reader.join().unwrap();
        model.end_lapped(published, [reader]);
    });
}

#[test]
fn a_pass_beside_a_lap_indexed() {
    a_pass_beside_a_lap(2, Model::new, 3, FRAME);
}

#[test]
fn a_pass_beside_a_lap_sequenced() {
    a_pass_beside_a_lap(if deep() { 3 } else { 2 }, Model::sequenced, 3, FRAME);
}

#[test]
fn a_pass_beside_a_lap_of_terminal_frames() {
    a_pass_beside_a_lap(usize::from(deep()) + 1, Model::new, 3, TERMINAL);
}

/// Proves: a sleeper that does not want a frame does not hold it back: its publisher or the other
/// reader drops it. Guards against: a stop at an unfinished index that only a sleeper stands at.
fn a_sleeper_beside_a_reader(sleepers: usize) {
    check(if deep() { 2 } else { 1 }, move || {
        let model = Model::new(2);
        let sleepers: Vec<_> = (0..sleepers).map(|_| model.sleeper()).collect();
        let reader = model.everything().polls(1);
        let published = model.publish(FRAME);
        let mut reader = reader.join().unwrap();
        reader.poll();
        assert!(model.dropped(1));
        drop(sleepers);
        model.end(published, [reader]);
    });
}

#[test]
fn a_sleeper_holds_back_nothing_that_it_does_not_want() {
    a_sleeper_beside_a_reader(1);
}

/// Proves: the same when the reader of everything leaves, with two sleepers. Guards against: a
/// sleeper at an unfinished index that is taken for one that goes on by itself.
#[test]
fn sleepers_are_left_alone_beside_a_publisher() {
    check(if deep() { 2 } else { 1 }, || {
        let model = Model::new(2);
        let mut sleepers = [model.sleeper(), model.sleeper()];
        let leaver = model.everything().leaves();
        let published = model.publish(FRAME);
        leaver.join().unwrap();
        assert!(model.dropped(1));
        let published = published + model.publish(WANTED);
        assert!(!model.dropped(2));
        for sleeper in &mut sleepers {
            sleeper.poll();
            assert_eq!(sleeper.given, [2]);
        }
        model.end(published, sleepers);
    });
}

/// Proves: a reader with a filter never touches a frame that it does not want, which another may
/// free under its pin.
#[test]
fn a_filter_beside_a_reader() {
    check(if deep() { 2 } else { 1 }, || {
        let model = Model::new(4);
        let mut first = model.everything();
        let second = model.sleeper();
        let published = model.publish(WANTED) + model.publish(FRAME);
        let second = second.polls(1);
        first.poll();
        let second = second.join().unwrap();
        assert_eq!(second.given, [1]);
        assert!(model.dropped(1) && model.dropped(2));
        model.end(published, [first]);
    });
}

/// Proves: a reader with a filter is not given a frame that it does not want and that is finished
/// while it looks, and does not touch it: its publisher may free it. Guards against: a tag that is
/// asked for before the frame is there.
fn a_filter_beside_a_publisher(wanted: &'static [u64]) {
    check(2, move || {
        let model = Model::with(Geometry::exact(4, 1, 0, 2), false);
        let sleeper = model.sleeper();
        wanted
            .iter()
            .for_each(|_| assert_eq!(model.publish(WANTED), 1));
        let sleeper = sleeper.polls(1);
        model.publish(FRAME);
        let sleeper = sleeper.join().unwrap();
        assert_eq!(sleeper.given, wanted);
        assert!((1..=wanted.len() as u64 + 1).all(|number| model.dropped(number)));
    });
}

#[test]
fn a_filter_beside_the_publisher_of_an_unwanted_frame() {
    a_filter_beside_a_publisher(&[]);
}

#[test]
fn a_filter_beside_the_publisher_of_another_frame() {
    a_filter_beside_a_publisher(&[1]);
}

/// Proves: a subscription that starts above what another frees knows that the frames there have
/// smaller numbers than the next, and tells that they are lost. Guards against: a loss that is not
/// told.
#[test]
fn a_reader_of_terminals_joins_beside_a_publisher_and_another() {
    check(if deep() { 2 } else { 1 }, || {
        let model = Model::sequenced(2);
        let mut first = model.everything();
        let publisher = model.publisher(TERMINAL);
        let joiner = {
            let model = model.clone();
            thread::spawn(move || model.read(Select::Terminals, None, Start::After(0)))
        };
        first.poll();
        publisher.join().unwrap();
        let mut second = joiner.join().unwrap();
        model.publish(TERMINAL);
        second.poll();
        assert!(second.given.len() as u64 + second.lost >= 2);
    });
}

/// Proves: a publisher that gives up tells that its index carries no frame: what it held back is
/// dropped. Guards against: a panic that leaves a frame behind.
#[test]
fn a_publish_that_panics_beside_another() {
    check(if deep() { 2 } else { 1 }, || {
        let model = Model::new(2);
        let second = model.publisher(FRAME);
        let panics = std::panic::AssertUnwindSafe(|| {
            let _ = model
                .ring
                .publish_with(FRAME, |_| std::panic::resume_unwind(Box::new(())));
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        second.join().unwrap();
        let dropped = (1..=2).filter(|&number| model.dropped(number));
        assert_eq!(dropped.count(), 1);
    });
}

/// Proves: a terminal frame is dropped by the last that has passed it, and the index that gives it
/// its number holds nothing back.
#[test]
fn a_terminal_frame_beside_a_leaver() {
    check(if deep() { 2 } else { 1 }, || {
        let model = Model::new(2);
        let leaver = model.everything().leaves();
        let published = model.publish(TERMINAL) + model.publish(FRAME);
        leaver.join().unwrap();
        model.end(published, []);
    });
}
