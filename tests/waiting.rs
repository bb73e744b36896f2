//! Waiting on any runtime, cancelled at any point: which readers are woken, and how often.

mod common;

use common::{delta, end, frame, size, start};
use framebus::*;
use futures_core::Stream;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

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
    builder.ring_capacity(size(4_096)).build().unwrap()
}

/// Polls a stream once. It waits then, unless it gave a frame.
fn poll(stream: &mut AgentEventStream, bell: &Arc<Bell>) -> Poll<Option<EventFrame>> {
    let waker = Waker::from(bell.clone());
    Pin::new(&mut stream.as_stream()).poll_next(&mut Context::from_waker(&waker))
}

fn park(stream: &mut AgentEventStream, bell: &Arc<Bell>) {
    assert!(poll(stream, bell).is_pending());
}

/// Reads what is there, and waits.
fn drain_and_park(stream: &mut AgentEventStream, bell: &Arc<Bell>) {
    stream.by_ref().for_each(drop);
    park(stream, bell);
}

/// Reads in both ways, alternating, until the end.
async fn read(mut stream: AgentEventStream) -> (Vec<u64>, Option<StreamEnd>) {
    let mut numbers = Vec::new();
    loop {
        let next =
            std::future::poll_fn(|context| Pin::new(&mut stream.as_stream()).poll_next(context));
        let frame = match numbers.len() % 2 {
            0 => stream.recv_async().await.ok(),
            _ => next.await,
        };
        match frame {
            Some(frame) => numbers.push(frame.cursor.event_seq),
            None => return (numbers, stream.end()),
        }
    }
}

/// Publishes from another thread to what `run` runs, until the last handle is gone.
fn delivers_all<F>(
    run: impl FnOnce(Vec<Pin<Box<dyn Future<Output = (Vec<u64>, Option<StreamEnd>)> + Send>>>) -> F,
) where
    F: IntoIterator<Item = (Vec<u64>, Option<StreamEnd>)>,
{
    const FRAMES: u64 = 2_000;
    let bus = bus(4);
    let all = bus.subscribe_all_with_options(
        None,
        common::options(4_096, 1, SubscriberOverflowPolicy::DropNonTerminal),
    );
    let one = bus.subscribe_run_with_options(
        "r1".into(),
        None,
        common::options(4_096, 1, SubscriberOverflowPolicy::DropNonTerminal),
    );
    let readers = [all, one]
        .map(|stream| Box::pin(read(stream.unwrap())) as Pin<Box<dyn Future<Output = _> + Send>>);
    let publisher = std::thread::spawn(move || {
        (1..=FRAMES).for_each(|n| bus.publish(start(&format!("r{}", n % 5))).unwrap());
    });
    let results: Vec<_> = run(readers.into()).into_iter().collect();
    publisher.join().unwrap();
    let all: Vec<_> = (1..=FRAMES).collect();
    let one: Vec<_> = all.iter().copied().filter(|n| n % 5 == 1).collect();
    assert_eq!(
        results,
        [
            (all, Some(StreamEnd::BusClosed)),
            (one, Some(StreamEnd::BusClosed))
        ]
    );
}

#[test]
fn streams_run_on_tokio() {
    for builder in [
        tokio::runtime::Builder::new_current_thread,
        tokio::runtime::Builder::new_multi_thread,
    ] {
        delivers_all(|readers| {
            let runtime = builder().build().unwrap();
            let tasks: Vec<_> = readers
                .into_iter()
                .map(|reader| runtime.spawn(reader))
                .collect();
            tasks
                .into_iter()
                .map(move |task| runtime.block_on(task).unwrap())
        });
    }
}

#[test]
fn streams_run_on_smol() {
    delivers_all(|readers| {
        let tasks: Vec<_> = readers.into_iter().map(smol::spawn).collect();
        tasks.into_iter().map(smol::block_on)
    });
}

#[test]
fn streams_run_without_a_runtime() {
    delivers_all(|readers| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|reader| std::thread::spawn(|| smol::future::block_on(reader)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap())
    });
}

#[test]
fn a_thread_sleeps_until_its_frame_comes() {
    let bus = bus(1);
    let mut stream = bus.subscribe_all(None).unwrap();
    let (send, given) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || send.send(stream.recv().map(|it| it.sequence())));
    while bus.stats().parked == 0 && !reader.is_finished() {
        std::thread::yield_now();
    }
    bus.publish(start("r")).unwrap();
    let given = given.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(given.expect("the thread was woken"), Ok(1));
}

#[test]
fn a_cancelled_wait_has_taken_no_frame_and_wakes_no_task() {
    let bus = bus(1);
    let mut stream = bus.subscribe_all(None).unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    {
        let waiting = pin!(stream.recv_async());
        assert!(waiting.poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(bus.stats().parked, 1);
    }
    assert_eq!(bus.stats().parked, 0);
    bus.publish(start("r")).unwrap();
    assert_eq!(bell.rung(), 0);
    assert_eq!(stream.next().unwrap().cursor.event_seq, 1);
}

#[test]
fn waits_that_are_cancelled_all_the_time_lose_no_frame() {
    const FRAMES: u64 = 20_000;
    let bus = bus(2);
    let options = common::options(1 << 16, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    let (mut accounted, mut last) = (0, 0);
    let waker = Waker::from(Arc::new(Bell::default()));
    park(&mut stream, &Arc::new(Bell::default()));
    let publisher = std::thread::spawn(move || {
        (0..FRAMES).for_each(|n| bus.publish(delta(&format!("r{}", n % 7))).unwrap());
    });
    let end = loop {
        let polled = pin!(stream.recv_async()).poll(&mut Context::from_waker(&waker));
        match polled {
            Poll::Ready(Ok(frame)) => {
                assert!(frame.cursor.event_seq > last);
                last = frame.cursor.event_seq;
                accounted += 1 + frame.overflow.map_or(0, |notice| notice.dropped_count);
            }
            Poll::Ready(Err(end)) => break end,
            Poll::Pending => {}
        }
    };
    publisher.join().unwrap();
    assert_eq!(
        (accounted, end),
        (FRAMES, RecvError::Ended(StreamEnd::BusClosed))
    );
}

#[test]
fn a_waiter_is_woken_by_the_end_and_drains_first() {
    let bus = bus(2);
    let bell = Arc::new(Bell::default());
    let mut streams =
        [bus.subscribe_all(None), bus.subscribe_run("r".into(), None)].map(Result::unwrap);
    streams.iter_mut().for_each(|stream| park(stream, &bell));
    let another = bus.clone();
    drop(bus);
    assert_eq!(bell.rung(), 0, "another handle is there");
    another.publish(end("r")).unwrap();
    drop(another);
    assert_eq!(
        bell.rung(),
        2,
        "once for the frame; they did not lie down again"
    );
    for stream in &mut streams {
        assert!(matches!(poll(stream, &bell), Poll::Ready(Some(_))));
        assert_eq!(poll(stream, &bell), Poll::Ready(None));
        assert_eq!(stream.end(), Some(StreamEnd::BusClosed));
    }
    let asleep = Arc::new(Bell::default());
    let bus = self::bus(2);
    let mut waiting = bus.subscribe_all(None).unwrap();
    park(&mut waiting, &asleep);
    drop(bus);
    assert_eq!(
        (asleep.rung(), poll(&mut waiting, &asleep)),
        (1, Poll::Ready(None))
    );
}

#[test]
fn of_ten_thousand_waiters_only_those_of_the_run_wake_and_once() {
    const RUNS: usize = 10_000;
    let bus = bus(16);
    let bells: Vec<_> = (0..RUNS).map(|_| Arc::new(Bell::default())).collect();
    let mut scoped: Vec<_> = (0..RUNS)
        .map(|run| {
            bus.subscribe_run(RunId::new(format!("run-{run}")), None)
                .unwrap()
        })
        .collect();
    let unscoped_bell = Arc::new(Bell::default());
    let mut unscoped: Vec<_> = (0..3).map(|_| bus.subscribe_all(None).unwrap()).collect();
    for round in 1..=3 {
        for (stream, bell) in scoped.iter_mut().zip(&bells) {
            drain_and_park(stream, bell);
        }
        for stream in &mut unscoped {
            drain_and_park(stream, &unscoped_bell);
        }
        assert_eq!(bus.stats().parked as usize, RUNS + 3);
        (0..50).for_each(|_| bus.publish(delta("run-77")).unwrap());
        let stats = bus.stats();
        assert_eq!(stats.woken, round * 4);
        assert_eq!(stats.parked as usize, RUNS - 1);
        let woken: Vec<_> = (0..RUNS).filter(|&run| bells[run].rung() > 0).collect();
        assert_eq!(woken, [77]);
        assert_eq!(bells[77].rung() as u64, round, "once a park");
        assert_eq!(unscoped_bell.rung() as u64, 3 * round);
    }
}

#[test]
fn a_waiter_for_an_agent_sleeps_through_other_agents() {
    // A reader of one shard parks in that shard; one of several parks in the list of all.
    for shards in [1, 8] {
        let bus = bus(shards);
        let publish = |run: &str, agent: &str| {
            let envelope = EventEnvelope::new(run, agent, EventKind::ModelStreamDelta);
            bus.publish(EventFrame::new(AgentEvent::envelope_only(envelope)))
                .unwrap();
        };
        let scopes = [
            bus.subscribe_agent(AgentId::new("planner"), None),
            bus.subscribe_filtered(EventFilter::agent("planner").compile().unwrap(), None),
        ];
        for stream in scopes {
            let mut stream = stream.unwrap();
            let bell = Arc::new(Bell::default());
            drain_and_park(&mut stream, &bell);
            // A run of the agent's name is not the agent.
            (0..20).for_each(|_| publish("planner", "coder"));
            assert_eq!(bell.rung(), 0, "{shards} shards");
            publish("r", "planner");
            publish("r", "planner");
            assert_eq!(bell.rung(), 1, "{shards} shards");
            assert!(poll(&mut stream, &bell).is_ready());
        }
    }
}

#[test]
fn a_waiter_for_ends_sleeps_through_other_kinds() {
    let bus = bus(4);
    let bell = Arc::new(Bell::default());
    let filters = [
        EventFilter::terminal_run_events(),
        EventFilter {
            kinds: vec![EventKind::RunCompleted],
            ..EventFilter::default()
        },
        EventFilter {
            kinds: vec![EventKind::RunCompleted],
            ..EventFilter::run("r")
        },
    ];
    let mut streams = filters.map(|filter| {
        bus.subscribe_filtered(filter.compile().unwrap(), None)
            .unwrap()
    });
    streams.iter_mut().for_each(|stream| park(stream, &bell));
    for _ in 0..100 {
        bus.publish(delta("r")).unwrap();
        bus.publish_all([start("r"), frame("r", "a", EventKind::ToolCompleted)])
            .unwrap();
    }
    assert_eq!((bell.rung(), bus.stats().woken), (0, 0));
    bus.publish(end("r")).unwrap();
    assert_eq!(
        (bell.rung(), bus.stats().woken, bus.stats().parked),
        (3, 3, 0)
    );
    for stream in &mut streams {
        assert!(poll(stream, &bell).is_ready());
    }
}

#[test]
fn waiters_are_reused() {
    let bus = bus(1);
    let bell = Arc::new(Bell::default());
    for round in 0..200 {
        let mut wide = bus.subscribe_all(None).unwrap();
        let run = format!("run-{}", round % 50);
        let mut narrow = bus.subscribe_run(RunId::new(&*run), None).unwrap();
        drain_and_park(&mut wide, &bell);
        drain_and_park(&mut narrow, &bell);
        assert_eq!(bus.stats().parked, 2);
        bus.publish(delta(&run)).unwrap();
        assert_eq!(
            (bus.stats().parked, bus.stats().woken),
            (0, 2 * (round + 1))
        );
    }
    assert_eq!(bell.rung(), 400);
}

/// A publisher that waits for its reader, in a shard where others publish all the time: a wake-up
/// that is lost would leave both waiting for ever.
#[test]
fn a_reader_of_one_run_is_woken_beside_publishers_of_others() {
    const ROUNDS: u64 = 20_000;
    let bus = bus(1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    bus.publish(delta("noise")).unwrap();
                }
            });
        }
        let (answer, answered) = std::sync::mpsc::channel();
        let mut stream = bus.subscribe_run("ping".into(), None).unwrap();
        scope.spawn(move || {
            for _ in 0..ROUNDS {
                // Much longer than a delivery takes.
                let frame = stream.recv_timeout(std::time::Duration::from_secs(20));
                answer.send(frame.map(drop)).unwrap();
            }
        });
        for _ in 0..ROUNDS {
            // The frame is terminal, so it is there however far the other frames are ahead.
            bus.publish(end("ping")).unwrap();
            let answer = answered.recv().unwrap();
            if answer.is_err() {
                over.store(true, Ordering::Relaxed);
            }
            assert_eq!(answer, Ok(()));
        }
        over.store(true, Ordering::Relaxed);
    });
}
