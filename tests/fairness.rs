//! A stream that is always ready gives its runtime a turn, in which timers fire and other tasks
//! run.

mod common;

use common::{delta, size};
use framebus::*;
use futures_util::StreamExt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A stream with a backlog of `frames` frames.
fn backlog(frames: usize) -> (InMemoryAgentEventBus, AgentEventStream) {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.ring_capacity(size(frames)).build().unwrap();
    (0..frames).for_each(|_| bus.publish(delta("r")).unwrap());
    let stream = bus.subscribe_all_with_options(None, SubscriptionOptions::complete());
    (bus, stream.unwrap())
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many frames come before the stream gives way, and whether it had its task woken then.
fn frames_in_a_row(mut poll: impl FnMut(&mut Context<'_>) -> Poll<bool>) -> (u32, bool) {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    let mut frames = 0;
    while let Poll::Ready(is_frame) = poll(&mut context) {
        assert!(is_frame && frames < 1_000, "the backlog is long");
        frames += 1;
    }
    (frames, wakes.0.load(Ordering::Relaxed) == 1)
}

#[test]
fn a_stream_yields_after_32_frames_and_is_polled_again_at_once() {
    let (_bus, mut stream) = backlog(1_000);
    let mut read = 0;
    for _ in 0..5 {
        let (frames, woken) =
            frames_in_a_row(|context| pin!(stream.recv_async()).poll(context).map(|it| it.is_ok()));
        assert_eq!((frames, woken), (32, true));
        let (frames, woken) = frames_in_a_row(|context| {
            stream
                .as_stream()
                .poll_next_unpin(context)
                .map(|it| it.is_some())
        });
        assert_eq!((frames, woken), (32, true));
        read += 64;
    }
    assert_eq!(
        stream.next().unwrap().cursor.event_seq,
        read + 1,
        "nothing is skipped"
    );
}

#[test]
fn lists_and_archives_yield_too() {
    let (_bus, stream) = backlog(100);
    let mut list = AgentEventStream::new(stream);
    let (frames, woken) =
        frames_in_a_row(|context| pin!(list.recv_async()).poll(context).map(|it| it.is_ok()));
    assert_eq!((frames, woken), (32, true));
}

#[test]
fn a_reader_that_waited_counts_from_zero_again() {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.build().unwrap();
    let mut stream = bus.subscribe_all(None).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        bus.publish(delta("r")).unwrap();
        assert!(pin!(stream.recv_async()).poll(&mut context).is_ready());
        assert!(pin!(stream.recv_async()).poll(&mut context).is_pending());
    }
}

#[test]
fn other_tasks_run_beside_a_backlog() {
    const FRAMES: u64 = 2_000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (_bus, mut stream) = backlog(FRAMES as usize);
    runtime.block_on(async {
        let turns = Arc::new(AtomicU32::new(0));
        let counted = turns.clone();
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        for _ in 0..FRAMES {
            stream.recv_async().await.unwrap();
        }
        let turns = turns.load(Ordering::Relaxed);
        assert!(turns >= 60, "{turns} turns beside {FRAMES} frames");
        other.abort();
    });
}
