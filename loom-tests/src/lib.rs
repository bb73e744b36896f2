//! What the models of the lock-free core share. The models are in `tests/`, for the loom model
//! checker.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p loom-tests --release` runs them; without the flag they are
//! empty. `LOOM_MAX_PREEMPTIONS` sets the preemption bound of all.
//!
//! Frames are boxed. So a frame that is read while it is overwritten or dropped, or is dropped
//! twice or leaked, is an error by itself, beside the accesses that loom's cell reports.
//!
//! The reader is a thread of its own and starts last. loom looks for other schedules from the last
//! access to each object on, and so finds a reader's loads beside a publisher's stores better than
//! the other way round.
#![cfg(loom)]

use framebus::ring::{
    Delivery, Geometry, Polled, Ring, RingConfig, Route, Select, Start, Subscription,
};
use loom::thread::{self, JoinHandle};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The ring of the models.
pub type Boxes = Ring<Box<u64>>;

/// Runs a model over all schedules with at most `preemptions` preemptions, or as many as the
/// variable `LOOM_MAX_PREEMPTIONS` says, and prints the number of executions.
pub fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = 20_000;
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = executions.clone();
    let began = Instant::now();
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = executions.load(Ordering::Relaxed);
    let name = std::thread::current().name().unwrap_or("model").to_owned();
    println!("{name}: {executions} executions in {:?}", began.elapsed());
}

/// Whether `FRAMEBUS_DEEP_MODELS` is set: the models that take minutes then look as deep as it
/// takes to find the last mutations. The mutation runner sets it.
pub fn deep() -> bool {
    std::env::var_os("FRAMEBUS_DEEP_MODELS").is_some()
}

/// A ring of one shard with lanes of `slots` slots in chunks of `chunk`, no slack, pins of one
/// index. Sequence numbers come from a counter, as in a ring of several shards.
pub fn tiny(slots: u64, chunk: u64) -> Boxes {
    sequenced(Geometry::exact(slots, chunk, 0, 1))
}

/// The same with lanes of this geometry.
pub fn sequenced(lane: Geometry) -> Boxes {
    Ring::with_counter(&config(1, lane))
}

/// The same ring as [`tiny`] with an index-numbered lane, like any ring of one shard.
pub fn indexed(slots: u64, chunk: u64) -> Boxes {
    shards(1, Geometry::exact(slots, chunk, 0, 1))
}

/// A ring of several shards, whose lanes all have this geometry.
pub fn shards(shards: usize, lane: Geometry) -> Boxes {
    Ring::new(&config(shards, lane))
}

fn config(shards: usize, lane: Geometry) -> RingConfig {
    RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    }
}

/// A subscription to everything, from the oldest frame on.
pub fn everything(ring: &Boxes) -> Subscription<Box<u64>> {
    ring.subscribe(Select::All, None, Start::Oldest).unwrap()
}

/// The route of ordinary frames.
pub const FRAME: Route = Route {
    shard: 0,
    terminal: false,
    tag: 0,
};

/// The route of terminal frames.
pub const TERMINAL: Route = Route {
    shard: 0,
    terminal: true,
    tag: 0,
};

/// Publishes the values and returns how many the ring accepted: readers may hold all of a tiny
/// ring.
pub fn publish(ring: &Boxes, route: Route, values: impl IntoIterator<Item = u64>) -> u64 {
    values
        .into_iter()
        .filter(|&value| ring.publish(route, Box::new(value)).is_ok())
        .count() as u64
}

/// A thread that publishes the values.
pub fn publisher(ring: &Boxes, route: Route, values: std::ops::Range<u64>) -> JoinHandle<u64> {
    let ring = ring.clone();
    thread::spawn(move || publish(&ring, route, values))
}

/// Publishes `count` frames that hold their own sequence numbers, and returns these numbers.
pub fn publish_numbered(ring: &Boxes, route: Route, count: usize) -> Vec<u64> {
    let numbers = (0..count).map(|_| ring.publish_with(route, Box::new));
    numbers.filter_map(Result::ok).collect()
}

/// A thread that does that.
pub fn numbered_publisher(ring: &Boxes, route: Route, count: usize) -> JoinHandle<Vec<u64>> {
    let ring = ring.clone();
    thread::spawn(move || publish_numbered(&ring, route, count))
}

/// Checks that the numbers are 1 to their count, each once, and returns the count.
pub fn dense(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    assert!(
        numbers.iter().copied().eq(1..=numbers.len() as u64),
        "{numbers:?}"
    );
    numbers.len() as u64
}

/// A thread that polls `times` times.
pub fn reader(
    mut subscription: Subscription<Box<u64>>,
    times: usize,
) -> JoinHandle<(Subscription<Box<u64>>, Got)> {
    thread::spawn(move || {
        let mut got = Got::default();
        for _ in 0..times {
            got.poll(&mut subscription);
        }
        (subscription, got)
    })
}

/// Everything that the reader got, after a last poll. Checks that it is complete. Called when all
/// threads are done.
pub fn rest((mut subscription, mut got): (Subscription<Box<u64>>, Got), published: u64) -> Got {
    got.poll(&mut subscription);
    got.complete(published);
    got
}

/// What a reader got: frames and gaps.
#[derive(Default, Debug)]
pub struct Got {
    /// Numbers and values, in the order in which they were given.
    pub frames: Vec<(u64, u64)>,
    /// The first and last number of each gap.
    pub gaps: Vec<(u64, u64)>,
    /// The sum of the gaps.
    pub lost: u64,
    /// Whether terminal frames may be among the lost, by one gap at least.
    pub terminals_lost: bool,
    /// The sum of the gaps in which no terminal frame is.
    pub lost_no_terminals: u64,
}

impl Got {
    /// Polls once.
    pub fn poll(&mut self, subscription: &mut Subscription<Box<u64>>) -> Polled {
        subscription.poll(|delivery| self.take(delivery))
    }

    /// Takes one delivery.
    pub fn take(&mut self, delivery: Delivery<'_, Box<u64>>) -> ControlFlow<()> {
        match delivery {
            Delivery::Frame(number, value) => self.frames.push((number, **value)),
            Delivery::Gap(gap) => {
                self.gaps.push((gap.first, gap.last));
                self.lost += gap.lost;
                self.terminals_lost |= gap.terminals_lost;
                self.lost_no_terminals += if gap.terminals_lost { 0 } else { gap.lost };
            }
        }
        ControlFlow::Continue(())
    }

    /// Checks that numbers rise, and that of `published` frames each was given once or lost.
    pub fn complete(&self, published: u64) {
        assert!(
            self.frames.is_sorted_by(|a, b| a.0 < b.0),
            "order: {self:?}"
        );
        assert_eq!(
            self.frames.len() as u64 + self.lost,
            published,
            "conservation: {self:?}"
        );
    }

    /// Checks that numbers rise, and that each of `published` frames was given or lies in a gap.
    /// That holds for a reader that can't count missing numbers.
    pub fn complete_or_reported(&self, published: u64) {
        assert!(
            self.frames.is_sorted_by(|a, b| a.0 < b.0),
            "order: {self:?}"
        );
        for number in 1..=published {
            let is_in = |&(first, last): &(u64, u64)| (first..=last).contains(&number);
            let given = self.frames.iter().any(|frame| frame.0 == number);
            assert!(given || self.gaps.iter().any(is_in), "{number}: {self:?}");
        }
        let accounted = self.frames.len() as u64 + self.lost;
        assert!(accounted >= published, "conservation: {self:?}");
    }

    /// Checks that each frame was given under the number that it holds.
    pub fn hold_their_numbers(&self) {
        let same = |&(number, value)| number == value;
        assert!(self.frames.iter().all(same), "numbers: {self:?}");
    }

    /// Whether the value was given.
    pub fn has(&self, value: u64) -> bool {
        self.frames.iter().any(|frame| frame.1 == value)
    }

    /// The values, in the order in which they were given.
    pub fn values(&self) -> Vec<u64> {
        self.frames.iter().map(|frame| frame.1).collect()
    }
}
