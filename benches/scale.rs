//! What many waiting subscribers cost: each waits for a run of its own, asleep.
//!
//! `cargo bench --bench scale`. A publish that wakes no subscriber is measured in rounds, by
//! the case `sleepers` of `benches/peers`; memory and growth by the test `footprint`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use framebus::ring::{Geometry, Ring, RingConfig, Route, Select, Start};
use framebus::*;
use futures_core::Stream;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const SUBSCRIBERS: [usize; 6] = [0, 1, 10, 100, 1_000, 10_000];

/// Runs whose events are published in turn, and for which no subscriber waits.
const OTHERS: usize = 1_000;

const SHARDS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// As many frames as the rings of the bus have slots, at least.
const ROUND: usize = 4 << 16;

fn poll(stream: &mut AgentEventStream) -> Poll<Option<EventFrame>> {
    Pin::new(&mut stream.as_stream()).poll_next(&mut Context::from_waker(Waker::noop()))
}

fn frame(run: &RunId, agent: &AgentId) -> EventFrame {
    let envelope = EventEnvelope::new(run, agent, EventKind::ToolStarted);
    EventFrame::new(AgentEvent::envelope_only(envelope))
}

fn runs(name: &str, count: usize) -> Vec<RunId> {
    (0..count)
        .map(|run| RunId::new(format!("{name}-{run}")))
        .collect()
}

/// A bus with a sleeping subscriber for each run. Its rings were lapped, so that no slot is used
/// for the first time.
fn asleep(runs: &[RunId]) -> (InMemoryAgentEventBus, Vec<AgentEventStream>) {
    let bus = InMemoryAgentEventBus::builder()
        .shards(SHARDS)
        .build()
        .unwrap();
    let before = self::runs("before", OTHERS);
    let agent = AgentId::new("agent");
    for run in before.iter().cycle().take(2 * ROUND) {
        bus.publish(frame(run, &agent)).unwrap();
    }
    let subscribe = |run: &RunId| bus.subscribe_run(run.clone(), None).unwrap();
    let mut streams: Vec<_> = runs.iter().map(subscribe).collect();
    streams
        .iter_mut()
        .for_each(|stream| assert!(poll(stream).is_pending()));
    assert_eq!(bus.stats().parked as usize, runs.len());
    (bus, streams)
}

/// What a publisher does for sleepers, alone: it looks for subscribers that wait for its run, and
/// finds none.
fn look_for_sleepers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look_for_sleepers");
    group.throughput(Throughput::Elements(1));
    let lane = Geometry::for_window(57_000);
    let config = RingConfig {
        shards: SHARDS.get(),
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    };
    let route = |run: &RunId| Route {
        shard: (run.hash64() >> 32) as usize,
        ..Route::default()
    };
    let others = runs("other", OTHERS);
    for count in SUBSCRIBERS {
        let ring = Ring::<u64>::new(&config);
        let sleep = |run: &RunId| {
            let select = Select::Shard(route(run).shard);
            let mut reader = ring.subscribe(select, None, Start::Oldest).unwrap();
            reader
                .register_waker(Some(run.hash64()), Waker::noop())
                .unwrap();
            reader
        };
        let _readers: Vec<_> = runs("run", count).iter().map(sleep).collect();
        let mut next = others.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let run = next.next().unwrap();
                ring.wake(route(run), [run.hash64(); 2]);
            });
        });
        assert_eq!(ring.stats().woken, 0);
    }
    group.finish();
}

/// Publishes for each run in turn, whose subscriber is woken, reads and sleeps again.
fn deliver_to_sleepers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish_wake_deliver_sleep");
    group.throughput(Throughput::Elements(1));
    let agent = AgentId::new("agent");
    for count in SUBSCRIBERS.into_iter().skip(1) {
        let runs = runs("run", count);
        let (bus, mut streams) = asleep(&runs);
        let mut next = (0..count).cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let at = next.next().unwrap();
                bus.publish(frame(&runs[at], &agent)).unwrap();
                assert!(black_box(poll(&mut streams[at])).is_ready());
                assert!(poll(&mut streams[at]).is_pending());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, look_for_sleepers, deliver_to_sleepers);
criterion_main!(benches);
