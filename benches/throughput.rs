//! What a frame costs: to publish, to read, to skip, to bound, to match.
//!
//! `cargo bench` runs all of it, with tokio's broadcast channel beside the ring in the same run;
//! compare ratios, not times. PERF.md has figures.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use framebus::ring::{Delivery, Geometry, Ring, RingConfig, Route, Select, Start, TagFilter};
use framebus::*;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

const PLACES: usize = 57_000;
const BURST: u64 = 256;

fn ring<T>(shards: usize) -> Ring<T> {
    let lane = Geometry::for_window(PLACES);
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        after: 0,
    })
}

/// u64 frames on the ring alone, and on tokio's broadcast channel.
fn words(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish_u64_idle_subscriber");
    group.throughput(Throughput::Elements(1));
    for shards in [1, 16] {
        let ring = ring::<u64>(shards);
        let _idle = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
        let mut shard = 0;
        group.bench_function(BenchmarkId::new("ring", shards), |bencher| {
            bencher.iter(|| {
                shard += 1;
                ring.publish(
                    Route {
                        shard,
                        ..Route::default()
                    },
                    black_box(7),
                )
                .unwrap()
            });
        });
    }
    let (sender, _idle) = tokio::sync::broadcast::channel::<u64>(65_536);
    group.bench_function("tokio_broadcast", |bencher| {
        bencher.iter(|| sender.send(black_box(7)).unwrap());
    });
    group.finish();

    let mut group = criterion.benchmark_group("publish_256_drain_256_u64");
    group.throughput(Throughput::Elements(BURST));
    for shards in [1, 16] {
        let ring = ring::<u64>(shards);
        let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
        group.bench_function(BenchmarkId::new("ring", shards), |bencher| {
            bencher.iter(|| {
                for word in 0..BURST {
                    let route = Route {
                        shard: word as usize / 64,
                        ..Route::default()
                    };
                    ring.publish(route, word).unwrap();
                }
                let mut sum = 0;
                while reader.batch(|delivery| {
                    if let Delivery::Frame(_, word) = delivery {
                        sum += word;
                    }
                    ControlFlow::Continue(())
                }) > 0
                {}
                assert_eq!(sum, BURST * (BURST - 1) / 2);
            });
        });
    }
    let ring = ring::<u64>(1);
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    group.bench_function("ring/batches_of_64", |bencher| {
        bencher.iter(|| {
            for batch in 0..BURST / 64 {
                let items = (0..64)
                    .map(|word| (Route::default(), batch * 64 + word))
                    .collect();
                ring.publish_all_with(items, |_, word| word).unwrap();
            }
            let mut count = 0;
            while reader.batch(|_| {
                count += 1;
                ControlFlow::Continue(())
            }) > 0
            {}
            assert_eq!(count, BURST);
        });
    });
    let (sender, mut receiver) = tokio::sync::broadcast::channel::<u64>(65_536);
    group.bench_function("tokio_broadcast", |bencher| {
        bencher.iter(|| {
            for word in 0..BURST {
                sender.send(word).unwrap();
            }
            let sum: u64 = (0..BURST).map(|_| receiver.try_recv().unwrap()).sum();
            assert_eq!(sum, BURST * (BURST - 1) / 2);
        });
    });
    group.finish();
}

/// Passing over the frames of other runs, by tag.
fn skipping(criterion: &mut Criterion) {
    let ring = ring::<u64>(1);
    for word in 0..50_000 {
        let tag = (word as u32 % 1_000) << 7;
        ring.publish(
            Route {
                tag,
                ..Route::default()
            },
            word,
        )
        .unwrap();
    }
    let filter = TagFilter {
        mask: 0xff_ff80,
        value: 500 << 7,
        classes: u128::MAX,
    };
    let start = || {
        ring.subscribe(Select::Shard(0), Some(filter), Start::Oldest)
            .unwrap()
    };
    let mut group = criterion.benchmark_group("skip_1_of_1000_matches");
    group.throughput(Throughput::Elements(50_000));
    group.bench_function("ring", |bencher| {
        bencher.iter_batched(
            start,
            |mut reader| {
                let mut count = 0;
                reader.poll(|_| {
                    count += 1;
                    ControlFlow::Continue(())
                });
                assert_eq!(count, 50);
                reader
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn delta() -> EventFrame {
    let envelope = EventEnvelope::new("run", "agent", EventKind::ModelStreamDelta);
    EventFrame::new(AgentEvent::envelope_only(envelope))
}

/// Real events through the bus.
fn events(criterion: &mut Criterion) {
    let (run, agent) = (RunId::new("run"), AgentId::new("agent"));
    let event = || {
        let envelope = EventEnvelope::new(&run, &agent, EventKind::ModelStreamDelta)
            .with_timestamp(Timestamp::from_micros(0));
        EventFrame::new(AgentEvent::envelope_only(envelope))
    };
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    group.bench_function("make_and_drop", |bencher| bencher.iter(event));
    let bus = InMemoryAgentEventBus::default();
    group.bench_function("make_and_publish", |bencher| {
        bencher.iter(|| bus.publish(event()).unwrap());
    });
    group.finish();

    // A backlog taken in by a subscription to all, each frame queued and, once the queue is full,
    // another evicted for it: the same steps whatever the capacity.
    let backlog = 400_000;
    let size = |n| NonZeroUsize::new(n).unwrap();
    let builder = InMemoryAgentEventBus::builder()
        .shards(size(1))
        .ring_capacity(size(backlog));
    let bus = builder.build().unwrap();
    for _ in 0..backlog {
        let envelope = EventEnvelope::new(&run, &agent, EventKind::RunCompleted);
        bus.publish(EventFrame::new(AgentEvent::envelope_only(envelope)))
            .unwrap();
    }
    let mut group = criterion.benchmark_group("bound_400000_terminal_frames");
    group.throughput(Throughput::Elements(backlog as u64));
    for capacity in [64, 1_024, 65_536] {
        let queue = SubscriberQueueConfig {
            capacity: size(capacity),
            ..Default::default()
        };
        let options = SubscriptionOptions {
            queue,
            ..SubscriptionOptions::default()
        };
        group.bench_function(BenchmarkId::from_parameter(capacity), |bencher| {
            bencher.iter_batched(
                || bus.subscribe_all_with_options(None, options).unwrap(),
                |mut stream| {
                    let first = stream.next().unwrap().cursor.event_seq;
                    assert_eq!(first as usize, backlog - capacity + 1);
                    stream
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();

    // The default subscription against a backlog: nearly all of it is dropped, and told.
    let bus = InMemoryAgentEventBus::default();
    (0..50_000).for_each(|_| bus.publish(delta()).unwrap());
    let mut group = criterion.benchmark_group("default_options_backlog_of_50000");
    group.throughput(Throughput::Elements(50_000));
    group.bench_function("collect", |bencher| {
        bencher.iter(|| assert_eq!(bus.subscribe_all(None).unwrap().count(), 63));
    });
    group.finish();
}

/// Filters against an envelope.
fn filters(criterion: &mut Criterion) {
    let envelope = EventEnvelope::new("run-7", "agent", EventKind::ToolFailed).with_tag("x");
    let runs = |count| EventFilter {
        run_ids: (0..count).map(|n| RunId::new(format!("run-{n}"))).collect(),
        ..EventFilter::default()
    };
    let mut group = criterion.benchmark_group("filter_match");
    for (name, filter) in [
        ("terminal_runs_no", EventFilter::terminal_run_events()),
        ("one_run_yes", EventFilter::run("run-7")),
        ("one_run_no", EventFilter::run("run-8")),
        ("100_runs_yes", runs(100)),
        (
            "tag_yes",
            EventFilter {
                tags: vec!["x".into()],
                ..EventFilter::default()
            },
        ),
    ] {
        let filter = filter.compile().unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| filter.matches_envelope(black_box(&envelope)));
        });
    }
    group.finish();
}

criterion_group!(benches, words, skipping, events, filters);
criterion_main!(benches);
