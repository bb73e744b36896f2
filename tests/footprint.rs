//! How much memory subscriptions take, and that they leave none behind.
//!
//! `FRAMEBUS_CHURN=1000000 cargo test --release --test footprint -- --nocapture` makes and drops a
//! million subscriptions; without the variable fewer. The figures are printed.

mod common;

use common::{delta, size};
use framebus::*;
use futures_core::Stream;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Waker};

struct Counting;

thread_local! {
    /// The bytes that this thread allocated and did not free. Each test here uses one thread.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: all calls are passed on to the system's allocator, with the same sizes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> isize {
    HELD.get()
}

fn bus() -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(64));
    builder.build().unwrap()
}

fn park(stream: &mut AgentEventStream) {
    let mut context = Context::from_waker(Waker::noop());
    while Pin::new(&mut stream.as_stream())
        .poll_next(&mut context)
        .is_ready()
    {}
}

/// The bytes that each of `count` parked subscriptions takes.
fn each(
    count: usize,
    subscribe: impl Fn(&InMemoryAgentEventBus, usize) -> AgentEventStream,
) -> isize {
    let bus = bus();
    let mut streams = Vec::with_capacity(count);
    let before = held();
    for n in 0..count {
        let mut stream = subscribe(&bus, n);
        park(&mut stream);
        streams.push(stream);
    }
    (held() - before) / count as isize
}

#[test]
fn an_idle_subscription_to_a_run_takes_less_than_two_kib() {
    let run = each(10_000, |bus, n| {
        bus.subscribe_run(RunId::new(format!("run-{n}")), None)
            .unwrap()
    });
    let all = each(100, |bus, _| bus.subscribe_all(None).unwrap());
    println!("parked, 64 shards: {run} bytes a subscription to a run, {all} to all");
    assert!(run < 2_048, "{run}");
}

/// Whatever the machine: `default()` opens the same bus on each.
#[test]
fn a_full_bus_by_default_takes_at_most_64_mib_with_texts_of_300_bytes() {
    let text = "t".repeat(300);
    for shards in [None, Some(2), Some(16), Some(64)] {
        let before = held();
        let bus = match shards {
            None => InMemoryAgentEventBus::default(),
            Some(shards) => InMemoryAgentEventBus::builder()
                .shards(size(shards))
                .build()
                .unwrap(),
        };
        let runs: Vec<_> = (0..256).map(|n| RunId::new(format!("run-{n}"))).collect();
        let agent = AgentId::new("agent");
        // Each lane twice over, the terminal ones as well: the frames in the others stay there.
        for kind in [EventKind::ModelStreamDelta, EventKind::RunCompleted] {
            for n in 0..150_000 {
                let envelope = EventEnvelope::new(&runs[n % runs.len()], &agent, kind);
                let event = AgentEvent::with_redacted_summary(envelope, &*text);
                bus.publish(event.into()).unwrap();
            }
        }
        let mib = (held() - before) as f64 / f64::from(1 << 20);
        println!("{shards:?} shards, full: {mib:.1} MiB");
        let frames = 300 * 2 * 20_000;
        assert!(
            held() - before > frames,
            "{shards:?}: hardly anything is held"
        );
        assert!(mib <= 64.0, "{shards:?}: {mib} MiB");
    }
}

#[test]
fn no_memory_remains_of_dropped_subscriptions() {
    let rounds: usize = std::env::var("FRAMEBUS_CHURN").map_or(50_000, |n| n.parse().unwrap());
    let bus = bus();
    (0..200).for_each(|n| bus.publish(delta(&format!("run-{n}"))).unwrap());
    let round = |n: usize, parked: bool| {
        let mut stream = match n % 50 {
            0 => bus.subscribe_all(None),
            _ => bus.subscribe_run(RunId::new(format!("run-{}", n % 997)), None),
        }
        .unwrap();
        if parked {
            park(&mut stream);
        }
    };
    for parked in [false, true] {
        // Every row that is needed was taken once.
        (0..50_000).for_each(|n| round(n, parked));
        let before = held();
        let begin = std::time::Instant::now();
        (0..rounds).for_each(|n| round(n, parked));
        // Before anything is printed, which takes memory too.
        let (left, took) = (held() - before, begin.elapsed() / rounds as u32);
        println!("{rounds} came and went, parked: {parked}: {left} bytes more, {took:?} each");
        assert_eq!(left, 0);
        assert_eq!(bus.stats().parked, 0);
    }
}

/// The bytes that a bus with one parked subscription of a kind holds, after a peak of `peak`.
fn held_with_one(
    peak: usize,
    survivor: usize,
    subscribe: fn(&InMemoryAgentEventBus, usize) -> AgentEventStream,
) -> isize {
    let before = held();
    let bus = bus();
    let mut streams: Vec<_> = (0..peak)
        .map(|n| {
            let mut stream = subscribe(&bus, n);
            park(&mut stream);
            stream
        })
        .collect();
    let rings = held();
    let last = streams.swap_remove(survivor);
    drop(streams);
    let held = held() - before;
    // What the peak took is freed.
    assert!(peak == 1 || held < rings - before);
    drop((last, bus));
    held
}

#[test]
fn after_a_peak_a_bus_with_one_reader_holds_what_a_fresh_one_does() {
    // The rings alone, without readers.
    let rings = {
        let before = held();
        let bus = bus();
        let rings = held() - before;
        drop(bus);
        rings
    };
    let kinds: [fn(&InMemoryAgentEventBus, usize) -> AgentEventStream; 3] = [
        |bus, _| bus.subscribe_run("r".into(), None).unwrap(),
        |bus, n| {
            bus.subscribe_run(RunId::new(format!("run-{n}")), None)
                .unwrap()
        },
        |bus, _| bus.subscribe_all(None).unwrap(),
    ];
    for (kind, subscribe) in kinds.into_iter().enumerate() {
        let peak = if kind == 2 { 500 } else { 20_000 };
        let fresh = held_with_one(1, 0, subscribe) - rings;
        for survivor in [0, peak / 2, peak - 1] {
            let later = held_with_one(peak, survivor, subscribe) - rings;
            println!("kind {kind}, {survivor} of {peak}: {later} bytes, fresh {fresh}");
            // Each shard may keep one block of rows.
            let blocks = if kind == 1 { 64 * 1_500 } else { 0 };
            assert!(later <= 2 * fresh + blocks, "{later}, fresh {fresh}");
        }
    }
}
