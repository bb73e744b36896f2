//! Which readers are woken, and which are no longer parked: each way to wait, and each way in which
//! a wait ends.

mod common;

use common::{end, frame, size, start};
use framebus::ring::{ANY_KEY, Ring, RingConfig, Select, Start, TagFilter};
use framebus::*;
use futures_core::Stream;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn bus(shards: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(shards));
    builder.ring_capacity(size(1_024)).build().unwrap()
}

/// Runs `meanwhile` while a stream waits. Returns whether the stream was woken and then gave a
/// frame.
fn is_woken(stream: &mut AgentEventStream, meanwhile: impl FnOnce()) -> bool {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let context = &mut Context::from_waker(&waker);
    let mut wait = pin!(stream.recv_async());
    assert!(wait.as_mut().poll(context).is_pending());
    meanwhile();
    let woken = bell.rung() > 0;
    assert_eq!(woken, wait.poll(context).is_ready());
    woken
}

fn of_kinds(kinds: &[EventKind], run: Option<&str>) -> CompiledEventFilter {
    let filter = EventFilter {
        kinds: kinds.to_vec(),
        run_ids: run.into_iter().map(RunId::new).collect(),
        ..EventFilter::default()
    };
    filter.compile().unwrap()
}

#[test]
fn a_waiter_that_filters_on_a_kind_is_woken_by_each_kind() {
    let bus = bus(2);
    for (at, &kind) in EventKind::ALL.iter().enumerate() {
        let other = EventKind::ALL[(at + 1) % EventKind::ALL.len()];
        // In the shard of its run, and in no other.
        for run in [Some("r"), None] {
            let mut stream = bus
                .subscribe_filtered(of_kinds(&[kind], run), None)
                .unwrap();
            stream.by_ref().for_each(drop);
            let publish = |kind| bus.publish(frame("r", "a", kind)).unwrap();
            assert!(!is_woken(&mut stream, || publish(other)), "{kind}");
            assert!(is_woken(&mut stream, || publish(kind)), "{kind}");
        }
    }
}

#[test]
fn a_waiter_that_filters_on_all_kinds_but_one_is_woken_by_the_others() {
    let bus = bus(1);
    for (at, &but) in EventKind::ALL.iter().enumerate() {
        let kinds: Vec<_> = EventKind::ALL
            .iter()
            .copied()
            .filter(|&kind| kind != but)
            .collect();
        let mut stream = bus
            .subscribe_filtered(of_kinds(&kinds, Some("r")), None)
            .unwrap();
        stream.by_ref().for_each(drop);
        let publish = |kind| bus.publish(frame("r", "a", kind)).unwrap();
        assert!(!is_woken(&mut stream, || publish(but)), "{but}");
        let other = kinds[(at + 59) % kinds.len()];
        assert!(is_woken(&mut stream, || publish(other)), "{but} {other}");
    }
}

/// Streams of each scope, which park in different wait lists.
fn of_each_scope(bus: &InMemoryAgentEventBus) -> [AgentEventStream; 5] {
    [
        bus.subscribe_all(None),
        bus.subscribe_run("r".into(), None),
        bus.subscribe_agent("agent".into(), None),
        bus.subscribe_filtered(EventFilter::terminal_run_events().compile().unwrap(), None),
        bus.subscribe_filtered(of_kinds(&[EventKind::RunCompleted], Some("r")), None),
    ]
    .map(Result::unwrap)
}

#[test]
fn a_finished_wait_is_no_longer_parked() {
    for shards in [1, 4] {
        let bus = bus(shards);
        for mut stream in of_each_scope(&bus) {
            stream.by_ref().for_each(drop);
            // It timed out, at once and after a while.
            for timeout in [Duration::ZERO, Duration::from_millis(1)] {
                assert_eq!(stream.recv_timeout(timeout), Err(RecvError::Timeout));
                assert_eq!(bus.stats().parked, 0);
            }
            // Its future was dropped.
            let context = &mut Context::from_waker(Waker::noop());
            {
                let wait = pin!(stream.recv_async());
                assert!(wait.poll(context).is_pending());
                assert_eq!(bus.stats().parked, 1);
            }
            assert_eq!(bus.stats().parked, 0);
            // It was woken, and gave a frame.
            assert!(is_woken(&mut stream, || bus.publish(end("r")).unwrap()));
            assert_eq!(bus.stats().parked, 0);
            // The clone of a stream that was parked is not parked.
            drop(stream.clone());
            assert_eq!(bus.stats().parked, 0);
        }
        // Each frame was published for one stream, which was the only one parked.
        assert_eq!(bus.stats().woken, 5);
    }
}

#[test]
fn a_stream_dropped_during_its_wait_is_no_longer_parked() {
    for shards in [1, 4] {
        let bus = bus(shards);
        for mut stream in of_each_scope(&bus) {
            let mut wait = Box::pin(async move { stream.recv_async().await });
            let context = &mut Context::from_waker(Waker::noop());
            assert!(wait.as_mut().poll(context).is_pending());
            assert_eq!(bus.stats().parked, 1);
            drop(wait);
            assert_eq!(bus.stats().parked, 0);
        }
        for stream in of_each_scope(&bus) {
            let mut stream = stream.into_stream();
            let context = &mut Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut stream).poll_next(context).is_pending());
            assert_eq!(bus.stats().parked, 1);
            // It stays parked after its future is dropped, until it is dropped itself.
            drop(stream);
            assert_eq!(bus.stats().parked, 0);
        }
        bus.publish(end("r")).unwrap();
        assert_eq!(bus.stats().woken, 0);
    }
}

/// Registers a waker that the subscription keeps, as a user of the ring may.
#[test]
fn a_dropped_subscription_is_no_longer_parked() {
    let ring = Ring::<u64>::new(&RingConfig {
        shards: 4,
        ..RingConfig::default()
    });
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let class = TagFilter {
        mask: 0,
        value: 0,
        classes: 1,
    };
    for select in [Select::All, Select::Shard(0), Select::Terminals] {
        for filter in [None, Some(class)] {
            for key in [None, Some(ANY_KEY), Some(7)] {
                let mut gone = ring.subscribe(select, filter, Start::Oldest).unwrap();
                gone.lie_down(key, &waker).unwrap();
                assert_eq!(ring.stats().parked, 1);
                drop(gone);
                assert_eq!(ring.stats().parked, 0, "{select:?} {key:?}");
                // Nor is its waker kept.
                assert_eq!(Arc::strong_count(&bell), 2, "{select:?} {key:?}");
                let mut risen = ring.subscribe(select, filter, Start::Oldest).unwrap();
                risen.lie_down(key, &waker).unwrap();
                assert!(!risen.rise());
                assert_eq!(ring.stats().parked, 0);
                ring.wake(Default::default(), [7, 7]);
                ring.wake_all();
            }
        }
    }
    assert_eq!((bell.rung(), ring.stats().woken), (0, 0));
}

#[test]
fn a_waiter_that_registers_again_for_another_scope_is_counted_once() {
    let ring = Ring::<u64>::new(&RingConfig {
        shards: 2,
        ..RingConfig::default()
    });
    for select in [Select::All, Select::Shard(1)] {
        let mut sleeper = ring.subscribe(select, None, Start::Oldest).unwrap();
        for key in [Some(1), Some(2), None, Some(ANY_KEY), Some(1), Some(1)] {
            sleeper.lie_down(key, Waker::noop()).unwrap();
            assert_eq!(ring.stats().parked, 1, "{select:?} {key:?}");
        }
        let before = ring.stats().woken;
        let route = framebus::ring::Route {
            shard: 1,
            ..Default::default()
        };
        ring.wake(route, [2, 2]);
        assert_eq!((ring.stats().parked, ring.stats().woken), (1, before));
        ring.wake(route, [1, 1]);
        assert_eq!((ring.stats().parked, ring.stats().woken), (0, before + 1));
        assert!(sleeper.rise());
    }
}

/// It waits for any publish then, since any may be the one that holds its own frames back.
#[test]
fn a_stream_behind_an_unfinished_publish_is_woken_by_its_end() {
    let bus = bus(1);
    let mut stream = bus.subscribe_run("r".into(), None).unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let context = &mut Context::from_waker(&waker);
    let mut wait = pin!(stream.recv_async());
    assert_eq!(wait.as_mut().poll(context), Poll::Pending);
    bus.publish_all([start("q"), frame("r", "a", EventKind::RunStarted)])
        .unwrap();
    assert_eq!(bell.rung(), 1);
    assert!(matches!(wait.poll(context), Poll::Ready(Ok(_))));
}

/// A terminal frame has claimed its own slot before it finds that every slot of the lane that gives
/// sequence numbers is pinned. Frames published after it wait for that slot, until it is abandoned.
#[test]
fn a_publish_that_fails_wakes_readers_that_it_may_have_held_back() {
    fn alone(bus: &InMemoryAgentEventBus) -> Result<(), AgentError> {
        bus.publish(end("r"))
    }
    fn in_a_batch_of_one(bus: &InMemoryAgentEventBus) -> Result<(), AgentError> {
        bus.publish_all([end("r")])
    }
    fn in_a_batch(bus: &InMemoryAgentEventBus) -> Result<(), AgentError> {
        bus.publish_all([end("r"), end("r")])
    }
    /// Readers that sleep in their batches, each of which pins the newest frame's slot, until all
    /// slots are pinned.
    fn while_stuck(bus: &InMemoryAgentEventBus, depth: usize, then: &mut dyn FnMut()) {
        let latest = SubscriptionOptions {
            start: StreamStart::Latest,
            ..SubscriptionOptions::default()
        };
        let mut asleep = bus.subscribe_all_with_options(None, latest).unwrap();
        match bus.publish(start("q")) {
            Ok(()) => {
                assert!(depth < 8);
                let given = asleep.read_batch(|_| {
                    while_stuck(bus, depth + 1, then);
                    ControlFlow::Break(())
                });
                assert_eq!(given, 1);
            }
            Err(error) => {
                assert_eq!(error.kind(), AgentErrorKind::RingStuck);
                then();
            }
        }
    }
    for publish in [alone, in_a_batch_of_one, in_a_batch] {
        let builder = InMemoryAgentEventBus::builder().shards(size(1));
        let bus = builder.ring_capacity(size(1)).build().unwrap();
        let run_of_ends = of_kinds(&[EventKind::RunCompleted], Some("r"));
        let mut streams = [
            bus.subscribe_run("r".into(), None),
            bus.subscribe_filtered(EventFilter::terminal_run_events().compile().unwrap(), None),
            bus.subscribe_filtered(run_of_ends, None),
        ]
        .map(Result::unwrap);
        while_stuck(&bus, 0, &mut || {
            let bells = [(); 3].map(|()| Arc::new(Bell::default()));
            let mut waits: Vec<_> = streams
                .iter_mut()
                .map(|stream| Box::pin(stream.recv_async()))
                .collect();
            for (wait, bell) in waits.iter_mut().zip(&bells) {
                let waker = Waker::from(bell.clone());
                let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
            }
            let failed = publish(&bus).unwrap_err();
            assert_eq!(failed.kind(), AgentErrorKind::RingStuck);
            assert!(bells.iter().all(|bell| bell.rung() == 1));
        });
    }
}

/// A wait with a zero timeout says whether more may come.
#[test]
fn a_stream_that_has_ended_says_so_also_with_a_zero_timeout() {
    let bus = InMemoryAgentEventBus::default();
    let mut stream = bus.subscribe_all(None).unwrap();
    let none = std::time::Duration::ZERO;
    assert_eq!(stream.recv_timeout(none), Err(RecvError::Timeout));
    drop(bus);
    let ended = RecvError::Ended(StreamEnd::BusClosed);
    assert_eq!(stream.recv_timeout(none), Err(ended));
}
