//! Models of the whole bus: streams that wait. No wake-up is lost: a lost one is a deadlock, which
//! loom reports.
#![cfg(loom)]

use framebus::ring::MAX_SEQUENCE;
use framebus::{
    AgentEvent, AgentEventBus, AgentEventStream, BusEpoch, EventEnvelope, EventFilter, EventFrame,
    EventKind, InMemoryAgentEventBus, RunId, StreamEnd,
};
use futures_core::Stream;
use loom::{future::block_on, thread};
use loom_tests::{check, deep};
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::Poll;

fn tiny_bus() -> InMemoryAgentEventBus {
    let one = NonZeroUsize::MIN;
    InMemoryAgentEventBus::builder()
        .shards(one)
        .ring_capacity(one)
        .build()
        .unwrap()
}

fn publish_run(bus: &InMemoryAgentEventBus, run: &str) {
    let envelope = EventEnvelope::new(run, "agent", EventKind::ModelStreamDelta);
    bus.publish(EventFrame::new(AgentEvent::envelope_only(envelope)))
        .unwrap();
}

/// Waits for frames until the stream ends. Returns how many there were, and how it ended.
fn drain(mut stream: AgentEventStream) -> (usize, Option<StreamEnd>) {
    let mut frames = 0;
    block_on(poll_fn(|context| {
        while let Some(frame) =
            std::task::ready!(Pin::new(&mut stream.as_stream()).poll_next(context))
        {
            assert!(frame.overflow.is_none());
            frames += 1;
        }
        Poll::Ready(())
    }));
    let end = stream.end();
    (frames, end)
}

/// Proves: a stream that waits while the last handles are dropped gives all that was published, and
/// ends. Guards against: an end that overtakes a frame, a waiter that nobody wakes at the end.
#[test]
fn the_last_handle_ends_a_stream() {
    check(1, || {
        let bus = tiny_bus();
        let stream = bus.subscribe_all(None).unwrap();
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_run(&other, "a"));
        let reader = thread::spawn(move || drain(stream));
        publisher.join().unwrap();
        drop(bus);
        assert_eq!(reader.join().unwrap(), (1, Some(StreamEnd::BusClosed)));
    });
}

/// Proves: a reader of one run whose frame is held back by a slower publisher of another run is
/// woken when that publisher is done. Guards against: a waiter for its own key only.
#[test]
fn a_frame_held_back_by_another_run() {
    check(1, || {
        let bus = tiny_bus();
        let mut stream = bus.subscribe_run(RunId::new("a"), None).unwrap();
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_run(&other, "b"));
        let reader = thread::spawn(move || {
            block_on(poll_fn(|context| {
                Pin::new(&mut stream.as_stream()).poll_next(context)
            }))
        });
        publish_run(&bus, "a");
        publisher.join().unwrap();
        let frame = reader
            .join()
            .unwrap()
            .expect("a frame, for the bus is open");
        assert_eq!(frame.event.envelope.run_id.as_str(), "a");
    });
}

/// Proves: a reader whose frame is held back by a publish that then fails, since the numbers are
/// used up, is woken when it has failed. Guards against: no wake-up, since nothing was published.
#[test]
fn a_frame_held_back_by_a_publish_that_fails() {
    check(usize::from(deep()), || {
        let one = NonZeroUsize::MIN;
        // One number is left.
        let builder = InMemoryAgentEventBus::builder()
            .shards(one)
            .ring_capacity(one)
            .reopen(BusEpoch::from_bits(1), MAX_SEQUENCE - 1);
        let bus = builder.build().unwrap();
        let ends = EventFilter::terminal_run_events().compile().unwrap();
        let mut stream = bus.subscribe_filtered(ends, None).unwrap();
        let publish_end = |bus: &InMemoryAgentEventBus, run: &str| {
            let envelope = EventEnvelope::new(run, "agent", EventKind::RunCompleted);
            let event = AgentEvent::envelope_only(envelope);
            bus.publish(EventFrame::new(event)).is_ok()
        };
        let other = bus.clone();
        let other = thread::spawn(move || publish_end(&other, "b"));
        let reader = thread::spawn(move || block_on(stream.recv_async()).unwrap());
        let own = publish_end(&bus, "a");
        assert!(own ^ other.join().unwrap(), "one of them is published");
        assert_eq!(reader.join().unwrap().cursor.event_seq, MAX_SEQUENCE);
    });
}
