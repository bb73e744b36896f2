//! The jobs: what is counted.

use anyhow::{Result, ensure};
use framebus::ring::{
    CLASS_BITS, Delivery, Geometry, Ring, RingConfig, Route, Select, Start, TAG_BITS, TagFilter,
};
use framebus::*;
use framebus_counts::counted;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

/// Frames in a job: each count is divided by it.
pub const FRAMES: usize = 32 * 1_024;
/// Slots of a ring: each was used before anything is counted.
const CAPACITY: usize = 65_536;

/// Something to count: a name and what to run.
type Job = (&'static str, fn());

/// What is counted.
pub const JOBS: &[Job] = &[
    ("publish, u64", publish),
    ("publish in batches of 64, u64", publish_batches),
    ("poll, u64", poll),
    ("skip, 1 of 1,000 matches", skip),
    ("make a real event", make_event),
    ("publish a real event", publish_event),
    ("read borrowed, real events", read_events),
    ("bound at capacity 64", || bound(64)),
    ("bound at capacity 16,384", || bound(16_384)),
];

/// Runs one job: what the program does under valgrind.
pub fn run(job: &str) -> Result<()> {
    let found = JOBS.iter().find(|(name, _)| *name == job);
    ensure!(found.is_some(), "no job of this name: {job}");
    found.into_iter().for_each(|(_, act)| act());
    Ok(())
}

fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn ring() -> Ring<u64> {
    // The window that a lane of these slots promises.
    let lane = Geometry::for_window(CAPACITY * 7 / 8 - 16);
    assert_eq!(lane.slots(), CAPACITY);
    Ring::new(&RingConfig {
        shards: 1,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    })
}

fn bus(frames: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    builder.ring_capacity(size(frames)).build().unwrap()
}

/// Makes events of one run.
fn maker() -> impl FnMut(EventKind) -> EventFrame {
    let (run, agent) = (RunId::new("run-0"), AgentId::new("agent-0"));
    move |kind| {
        let envelope =
            EventEnvelope::new(&run, &agent, kind).with_timestamp(Timestamp::from_micros(0));
        EventFrame::new(AgentEvent::envelope_only(envelope))
    }
}

fn make(count: usize, kind: EventKind) -> Vec<EventFrame> {
    let mut make = maker();
    (0..count).map(|_| make(kind)).collect()
}

fn publish() {
    let ring = ring();
    let _idle = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let publish = |count| {
        (0..count).for_each(|word| {
            ring.publish(Route::default(), word as u64).unwrap();
        });
    };
    // Every slot was used.
    publish(CAPACITY);
    counted(|| publish(FRAMES));
}

fn publish_batches() {
    let ring = ring();
    let _idle = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let publish = |count| {
        for _ in 0..count / 64 {
            let routes = (0..64).map(|_| Route::default());
            ring.publish_all_with(routes, |index| index).unwrap();
        }
    };
    publish(CAPACITY);
    counted(|| publish(FRAMES));
}

fn poll() {
    let ring = ring();
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let publish = || {
        (0..FRAMES as u64).for_each(|word| {
            ring.publish(Route::default(), word).unwrap();
        });
    };
    let mut read = || {
        let mut sum = 0;
        while reader.batch(|delivery| {
            if let Delivery::Frame(_, word) = delivery {
                sum += word;
            }
            ControlFlow::Continue(())
        }) > 0
        {}
        assert_eq!(sum, (FRAMES * (FRAMES - 1) / 2) as u64);
    };
    publish();
    read();
    publish();
    counted(read);
}

fn skip() {
    let ring = ring();
    let filter = TagFilter {
        mask: (1 << TAG_BITS) - (1 << CLASS_BITS),
        value: 500 << CLASS_BITS,
        classes: u128::MAX,
    };
    let mut reader = ring
        .subscribe(Select::Shard(0), Some(filter), Start::Oldest)
        .unwrap();
    let publish = || {
        for word in 0..FRAMES {
            let tag = ((word % 1_000) as u32) << CLASS_BITS;
            let route = Route {
                tag,
                ..Route::default()
            };
            ring.publish(route, word as u64).unwrap();
        }
    };
    let mut read = || {
        let mut count = 0;
        reader.poll(|_| {
            count += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(count, (FRAMES - 500).div_ceil(1_000));
    };
    publish();
    read();
    publish();
    counted(read);
}

fn make_event() {
    let mut make = maker();
    let kind = EventKind::ModelStreamDelta;
    counted(|| (0..FRAMES).for_each(|_| drop(black_box(make(kind)))));
}

fn publish_to(bus: &InMemoryAgentEventBus, frames: Vec<EventFrame>) {
    let frames = frames.into_iter();
    frames.for_each(|frame| bus.publish(frame).unwrap());
}

fn publish_event() {
    let bus = bus(CAPACITY * 7 / 8 - 16);
    let _idle = bus.subscribe_all(None).unwrap();
    let kind = EventKind::ModelStreamDelta;
    publish_to(&bus, make(CAPACITY, kind));
    let frames = make(FRAMES, kind);
    // What is replaced is freed in here.
    counted(|| publish_to(&bus, frames));
}

fn read_events() {
    let bus = bus(CAPACITY * 7 / 8 - 16);
    let mut stream = bus.subscribe_all(None).unwrap();
    let publish = || publish_to(&bus, make(FRAMES, EventKind::ModelStreamDelta));
    let mut read = || {
        let mut count = 0;
        while stream.read_batch(|_| {
            count += 1;
            ControlFlow::Continue(())
        }) > 0
        {}
        assert_eq!(count, FRAMES);
    };
    publish();
    read();
    publish();
    counted(read);
}

/// Reads a backlog of progress and terminal frames by turns: a terminal frame that finds the queue
/// full evicts a progress frame, and one that finds it full of terminal frames ends the take-in.
fn bound(capacity: usize) {
    let bus = bus(FRAMES);
    let options = SubscriptionOptions::capacity(capacity);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    let progress = make(FRAMES / 2, EventKind::ModelStreamDelta).into_iter();
    let terminal = make(FRAMES / 2, EventKind::RunCompleted).into_iter();
    let by_turns = progress.zip(terminal).flat_map(|(one, other)| [one, other]);
    publish_to(&bus, by_turns.collect());
    counted(|| assert!(stream.by_ref().count() >= FRAMES / 2));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs() {
        JOBS.iter().for_each(|(name, _)| run(name).unwrap());
        assert!(run("no such job").is_err());
    }
}
