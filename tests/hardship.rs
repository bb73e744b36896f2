//! Hard times: subscribers that come, go, stall and break, publishers that panic, threads that
//! wait.

mod common;

use common::{delta, end, options, seqs, size, start};
use framebus::*;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const DROP: SubscriberOverflowPolicy = SubscriberOverflowPolicy::DropNonTerminal;

fn bus(shards: usize, ring: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder()
        .shards(size(shards))
        .ring_capacity(size(ring));
    builder.build().unwrap()
}

/// How many frames were delivered as themselves, and how many reported as lost.
fn accounted(stream: &mut AgentEventStream) -> u64 {
    let mut sum = 0;
    let mut last = 0;
    for frame in stream.by_ref() {
        assert!(frame.cursor.event_seq > last);
        last = frame.cursor.event_seq;
        sum += 1 + frame.overflow.map_or(0, |notice| notice.dropped_count);
    }
    sum + stream
        .pending_overflow()
        .map_or(0, |notice| notice.dropped_count)
}

#[test]
fn ten_thousand_subscriptions_are_made_and_dropped() {
    let bus = bus(4, 1_024);
    let mut oracle = bus
        .subscribe_all_with_options(None, options(100_000, 1, DROP))
        .unwrap();
    for round in 0..10_000 {
        let run = format!("run-{}", round % 7);
        bus.publish(delta(&run)).unwrap();
        let mut stream = match round % 3 {
            0 => bus.subscribe_all(None),
            1 => bus.subscribe_run(RunId::new(run), None),
            _ => {
                bus.subscribe_filtered(EventFilter::terminal_run_events().compile().unwrap(), None)
            }
        }
        .unwrap();
        assert_eq!(stream.next().is_some(), round % 3 != 2);
        if round % 100 == 0 {
            assert!(oracle.by_ref().count() > 0);
        }
    }
}

#[test]
fn a_stream_dropped_inside_its_batch_leaves_nothing_pinned() {
    let bus = bus(1, 64);
    let mut other = bus
        .subscribe_all_with_options(None, options(1_000, 1, DROP))
        .unwrap();
    let mut stream = bus.subscribe_all(None).unwrap();
    (0..4).for_each(|_| bus.publish(delta("r")).unwrap());
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        stream.read_batch(|_| panic!("in the middle of a batch"));
    }));
    assert!(dropped.is_err());
    assert_eq!(other.by_ref().count(), 4);
    for _ in 0..1_000 {
        bus.publish(delta("r")).unwrap();
        assert_eq!(other.by_ref().count(), 1);
    }
}

#[test]
fn a_panic_of_a_publishing_thread_disturbs_no_other() {
    let bus = bus(2, 1_024);
    let mut stream = bus.subscribe_all(None).unwrap();
    let thread = {
        let bus = bus.clone();
        std::thread::spawn(move || {
            bus.publish(start("r")).unwrap();
            let frames = (0..3).map(|n| {
                if n < 2 {
                    delta("r")
                } else {
                    panic!("in an iterator")
                }
            });
            bus.publish_all(frames).unwrap();
        })
    };
    assert!(thread.join().is_err());
    bus.publish(end("r")).unwrap();
    assert_eq!(
        seqs(&mut stream),
        [1, 2],
        "nothing of the broken batch was published"
    );
}

#[test]
fn a_subscriber_asleep_in_its_batch_delays_nobody() {
    let bus = bus(1, 256);
    let mut sleeper = bus.subscribe_all(None).unwrap();
    let mut other = bus
        .subscribe_all_with_options(None, options(100_000, 1, DROP))
        .unwrap();
    (0..10).for_each(|_| bus.publish(delta("r")).unwrap());
    let (asleep, is_asleep) = mpsc::channel();
    let (wake, woken) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(move || {
            let mut held = 0;
            sleeper.read_batch(|item| {
                let BatchItem::Frame(frame) = item else {
                    panic!("{item:?}")
                };
                asleep.send(()).unwrap();
                woken.recv().unwrap();
                // The rings were lapped meanwhile; the borrowed frame is what it was.
                held = frame.envelope().event_seq;
                assert_eq!(frame.envelope().run_id.as_str(), "r");
                ControlFlow::Break(())
            });
            (held, sleeper)
        });
        is_asleep.recv().unwrap();
        // Three times around the ring: it returns, so no publisher waited.
        let mut seen = 0;
        for _ in 0..20 {
            (0..60).for_each(|_| bus.publish(delta("r")).unwrap());
            seen += other.by_ref().count();
        }
        assert_eq!(seen, 1_210);
        wake.send(()).unwrap();
        let (held, mut sleeper) = sleeping.join().unwrap();
        assert_eq!(held, 1);
        assert_eq!(accounted(&mut sleeper), 1_209);
    });
}

#[test]
fn recv_sleeps_until_a_frame_comes_and_ends_with_the_bus() {
    for scope in ["all", "run", "filter"] {
        let bus = bus(4, 1_024);
        let mut stream = match scope {
            "all" => bus.subscribe_all(None),
            "run" => bus.subscribe_run(RunId::new("r"), None),
            _ => bus.subscribe_filtered(EventFilter::agent("agent").compile().unwrap(), None),
        }
        .unwrap();
        assert_eq!(
            stream.recv_timeout(Duration::from_millis(1)),
            Err(RecvError::Timeout)
        );
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            let end = loop {
                match stream.recv() {
                    Ok(frame) => got.push(frame.cursor.event_seq),
                    Err(error) => break error,
                }
            };
            (got, end, stream.next())
        });
        for _ in 0..200 {
            bus.publish(delta("r")).unwrap();
            std::thread::yield_now();
        }
        let clone = bus.clone();
        drop(bus);
        clone.publish(end("r")).unwrap();
        drop(clone);
        let (got, end, next) = reader.join().unwrap();
        assert_eq!(got.last(), Some(&201), "{scope}");
        assert!(got.is_sorted());
        assert_eq!((end, next), (RecvError::Ended(StreamEnd::BusClosed), None));
    }
}

#[test]
fn a_ping_pong_loses_no_wake_up() {
    let bus = bus(4, 1_024);
    let mut ping = bus.subscribe_run(RunId::new("ping"), None).unwrap();
    let mut pong = bus.subscribe_run(RunId::new("pong"), None).unwrap();
    let rounds = 2_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..rounds {
                ping.recv().unwrap();
                bus.publish(delta("pong")).unwrap();
            }
        });
        for _ in 0..rounds {
            bus.publish(delta("ping")).unwrap();
            pong.recv().unwrap();
        }
    });
}

struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_task_is_woken_once_and_only_for_its_own_run() {
    let bus = bus(4, 1_024);
    let wakes = Arc::new(Counter(AtomicUsize::new(0)));
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    let stream = bus.subscribe_run(RunId::new("mine"), None).unwrap();
    let mut stream = pin!(stream.into_stream());
    let poll = |stream: std::pin::Pin<&mut FrameStream>, context: &mut Context<'_>| {
        futures_core::Stream::poll_next(stream, context)
    };
    assert_eq!(poll(stream.as_mut(), &mut context), Poll::Pending);
    (0..100).for_each(|n| bus.publish(delta(&format!("other-{n}"))).unwrap());
    assert_eq!(
        wakes.0.load(Ordering::Relaxed),
        0,
        "no task is woken in vain"
    );
    (0..3).for_each(|_| bus.publish(delta("mine")).unwrap());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        assert!(matches!(
            poll(stream.as_mut(), &mut context),
            Poll::Ready(Some(_))
        ));
    }
    assert_eq!(poll(stream.as_mut(), &mut context), Poll::Pending);
    drop(bus);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert_eq!(poll(stream.as_mut(), &mut context), Poll::Ready(None));
}

#[test]
fn many_publishers_tiny_rings_every_scope() {
    let bus = bus(2, 32);
    let each = 20_000_u64;
    let threads = 3_u64;
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for policy in [
            DROP,
            SubscriberOverflowPolicy::DropProgress,
            SubscriberOverflowPolicy::SummarizeAndContinue,
        ] {
            let stream = bus
                .subscribe_all_with_options(None, options(16, 2, policy))
                .unwrap();
            readers.push(scope.spawn(move || {
                let mut stream = stream;
                let (mut last, mut sum, mut ends, mut ends_lost) = (0, 0, 0, false);
                while let Ok(frame) = stream.recv() {
                    assert!(frame.cursor.event_seq > last, "order");
                    last = frame.cursor.event_seq;
                    ends += u64::from(frame.event.envelope.event_kind.is_terminal());
                    let reported = frame
                        .overflow
                        .as_ref()
                        .map_or(0, |notice| notice.dropped_count);
                    ends_lost |= frame
                        .overflow
                        .as_ref()
                        .is_some_and(|it| !it.terminal_preserved);
                    let summary = frame.event.redacted_summary().is_some();
                    sum += reported + u64::from(!summary);
                }
                let rest = stream.pending_overflow();
                ends_lost |= rest.is_some_and(|notice| !notice.terminal_preserved);
                (
                    sum + rest.map_or(0, |notice| notice.dropped_count),
                    ends,
                    ends_lost,
                )
            }));
        }
        let publishers: Vec<_> = (0..threads)
            .map(|thread| {
                let bus = bus.clone();
                scope.spawn(move || {
                    for n in 0..each {
                        let run = format!("run-{}", (thread + n) % 5);
                        let frame = if n % 50 == 0 { end(&run) } else { delta(&run) };
                        // A tiny ring may be held as a whole by readers in their batches.
                        while bus.publish(frame.clone()).is_err() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        publishers
            .into_iter()
            .for_each(|publisher| publisher.join().unwrap());
        let last = bus.last_sequence();
        assert_eq!(last, threads * each);
        drop(bus);
        for reader in readers {
            let (sum, ends, ends_lost) = reader.join().unwrap();
            assert_eq!(sum, last, "conservation");
            assert!(
                ends == threads * each / 50 || ends_lost,
                "terminal frames are delivered or reported"
            );
        }
    });
}
