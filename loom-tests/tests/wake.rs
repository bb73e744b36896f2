//! Models of sleeping readers: no wake-up is lost. A lost one is a deadlock, which loom reports.
#![cfg(loom)]

use framebus::ring::{ANY_KEY, Polled, Select, Start, Subscription};
use framebus::{
    AgentEvent, AgentEventBus, AgentEventStream, EventEnvelope, EventFrame, EventKind,
    InMemoryAgentEventBus, RunId, StreamEnd,
};
use futures_core::Stream;
use loom::{future::block_on, thread};
use loom_tests::{Boxes, FRAME, Got, check, everything, tiny};
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::Poll;

/// Sleeps until the subscription has given a frame of value `last`.
fn wait_for(mut subscription: Subscription<Box<u64>>, key: u64, last: u64) {
    let mut got = Got::default();
    block_on(poll_fn(|context| {
        subscription.lie_down(key, context.waker()).unwrap();
        if got.poll(&mut subscription) == Polled::Unfinished {
            subscription.lie_down(ANY_KEY, context.waker()).unwrap();
            got.poll(&mut subscription);
        }
        if !got.values().contains(&last) {
            return Poll::Pending;
        }
        subscription.rise();
        Poll::Ready(())
    }));
}

fn publish_and_wake(ring: &Boxes, key: u64) {
    ring.publish(FRAME, Box::new(key)).unwrap();
    ring.wake(0, key);
}

/// Proves: a reader that found nothing and lies down is woken by a publish that it did not see.
/// Guards against: publish and look at the counts before the reader lies down, its look before the
/// stamp.
#[test]
fn a_publish_wakes_a_reader() {
    check(3, || {
        let ring = tiny(4, 1);
        let subscription = everything(&ring);
        let reader = thread::spawn(move || wait_for(subscription, ANY_KEY, 2));
        publish_and_wake(&ring, 1);
        publish_and_wake(&ring, 2);
        reader.join().unwrap();
    });
}

/// Proves: of two readers that wait for one key each, and are woken by two publishers, none is
/// forgotten. Guards against: a flag or count taken down for another, a waker that is replaced.
#[test]
fn two_publishers_wake_their_readers() {
    check(2, || {
        let ring = tiny(4, 1);
        let select = || {
            ring.subscribe(Select::Shard(0), None, Start::Oldest)
                .unwrap()
        };
        let (first, second) = (select(), select());
        let publisher = {
            let ring = ring.clone();
            thread::spawn(move || publish_and_wake(&ring, 1))
        };
        let reader = thread::spawn(move || wait_for(first, 1, 1));
        publish_and_wake(&ring, 17);
        publisher.join().unwrap();
        reader.join().unwrap();
        wait_for(second, 17, 17);
    });
}

/// Proves: a reader that leaves its seat while it is being woken leaves nothing behind that would
/// wake, or fail to wake, the next one there. Guards against: a count that is off by one.
#[test]
fn a_seat_changes_hands() {
    check(2, || {
        let ring = tiny(4, 1);
        let subscription = everything(&ring);
        let reader = {
            let ring = ring.clone();
            thread::spawn(move || {
                wait_for(subscription, ANY_KEY, 1);
                wait_for(everything(&ring), ANY_KEY, 2);
            })
        };
        publish_and_wake(&ring, 1);
        publish_and_wake(&ring, 2);
        reader.join().unwrap();
    });
}

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
        while let Some(frame) = std::task::ready!(Pin::new(&mut stream).poll_next(context)) {
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
    check(2, || {
        let bus = tiny_bus();
        let stream = bus.subscribe_all(None).unwrap();
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_run(&other, "a"));
        let reader = thread::spawn(move || drain(stream));
        publish_run(&bus, "a");
        drop(bus);
        publisher.join().unwrap();
        assert_eq!(reader.join().unwrap(), (2, Some(StreamEnd::BusClosed)));
    });
}

/// Proves: a reader of one run whose frame is held back by a slower publisher of another run is
/// woken when that one is done. Guards against: sleeping for its own key only.
#[test]
fn a_frame_held_back_by_another_run() {
    check(2, || {
        let bus = tiny_bus();
        let mut stream = bus.subscribe_run(RunId::new("a"), None).unwrap();
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_run(&other, "b"));
        let reader = thread::spawn(move || {
            block_on(poll_fn(|context| Pin::new(&mut stream).poll_next(context)))
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
