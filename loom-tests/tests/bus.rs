//! Models of the whole bus: streams that sleep. No wake-up is lost; a lost one is a deadlock, which
//! loom reports.
#![cfg(loom)]

use framebus::{
    AgentEvent, AgentEventBus, AgentEventStream, EventEnvelope, EventFrame, EventKind,
    InMemoryAgentEventBus, RunId, StreamEnd,
};
use futures_core::Stream;
use loom::{future::block_on, thread};
use loom_tests::check;
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

/// Waits for the stream's frames until it ends; how many there were.
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

/// Proves: a stream that waits while the last handles go gives all that was published, and ends.
/// Guards against: an end that overtakes a frame, a sleeper that nobody tells of the end.
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
/// woken when that one is done. Guards against: sleeping for its own key only.
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
