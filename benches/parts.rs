//! What no peer has: making events, matching filters, subscribing.
//!
//! `cargo bench --bench parts`. What is measured against peers is in `benches/peers`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use framebus::*;
use std::hint::black_box;

/// A real event, made and dropped, made and published.
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
}

/// Making a subscription, which a cursor makes dearer: its position has to be found.
fn subscribing(criterion: &mut Criterion) {
    let bus = InMemoryAgentEventBus::default();
    let publish = || {
        let envelope = EventEnvelope::new("run", "agent", EventKind::ModelStreamDelta);
        bus.publish(EventFrame::new(AgentEvent::envelope_only(envelope)))
    };
    (0..57_000).for_each(|_| publish().unwrap());
    let run = RunId::new("run");
    let mut stream = bus.subscribe_run(run.clone(), None).unwrap();
    stream.by_ref().for_each(drop);
    let cursor = stream.cursor().cloned();
    let mut group = criterion.benchmark_group("subscribe_run_57000_held");
    for (name, cursor) in [("from_the_oldest", None), ("after_a_cursor", cursor)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (run.clone(), cursor.clone()),
                |(run, cursor)| bus.subscribe_run(run, cursor).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
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

criterion_group!(benches, events, subscribing, filters);
criterion_main!(benches);
