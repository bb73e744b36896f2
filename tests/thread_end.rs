//! Destructors of thread-local values, which run while their thread ends: the bus works there as
//! elsewhere, though its own thread-local values may be destroyed by then.

mod common;

use common::{delta, end, start};
use framebus::*;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Runs a function when it is dropped.
struct AtEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|run| run());
    }
}

thread_local! {
    static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
}

/// Returns what `run` returns in the destructor of a thread-local value. The thread has waited for
/// `first` before: so the bus's own thread-local values were made after that value, and are
/// destroyed before it.
fn at_thread_end<R: Send + 'static>(
    mut first: AgentEventStream,
    run: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let run = move || {
            // A panic in such a destructor aborts the process.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(run)));
        };
        AT_END.set(Some(AtEnd(Some(Box::new(run)))));
        let _ = first.recv_timeout(Duration::from_millis(1));
    });
    let result = receiver.recv().expect("the destructor ran");
    thread.join().unwrap();
    result.expect("no panic")
}

#[test]
fn a_stream_can_be_waited_for_in_a_thread_local_value_s_destructor() {
    let bus = InMemoryAgentEventBus::default();
    let quiet = bus.subscribe_all(None).unwrap();
    let mut stream = quiet.clone();
    let (parked, to_wake) = (bus.clone(), bus.clone());
    // Publishes once the destructor waits.
    let waker = thread::spawn(move || {
        while parked.stats().parked == 0 || parked.last_sequence() == 0 {
            thread::yield_now();
        }
        to_wake.publish(end("r")).unwrap();
    });
    let read = at_thread_end(quiet, move || {
        let timeout = stream.recv_timeout(Duration::from_millis(1)).unwrap_err();
        bus.publish(start("r")).unwrap();
        let ready = stream.recv().unwrap().kind();
        let woken = stream.recv().unwrap().kind();
        drop(bus);
        (timeout, ready, woken)
    });
    waker.join().unwrap();
    assert_eq!(
        read,
        (
            RecvError::Timeout,
            EventKind::RunStarted,
            EventKind::RunCompleted
        )
    );
}

#[test]
fn a_bus_can_be_made_used_and_closed_in_a_thread_local_value_s_destructor() {
    let other = InMemoryAgentEventBus::default();
    let ended = at_thread_end(other.subscribe_all(None).unwrap(), || {
        let bus = InMemoryAgentEventBus::default();
        let mut stream = bus.subscribe_run("r".into(), None).unwrap();
        bus.publish_all([start("r"), delta("r"), end("other")])
            .unwrap();
        drop(bus);
        let read = std::iter::from_fn(|| stream.recv().ok()).count();
        (read, stream.end())
    });
    assert_eq!(ended, (2, Some(StreamEnd::BusClosed)));
}
