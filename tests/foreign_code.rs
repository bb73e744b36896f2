//! Wakers that panic, that use the bus while it wakes them, and that drop its last handle: no other
//! reader loses a wake-up, and no publisher unwinds.

mod common;

use common::{delta, size};
use framebus::*;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, RawWaker, RawWakerVTable, Wake, Waker};

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

type Act = Box<dyn FnMut() + Send>;

/// Does something once when it is woken, and something when it is dropped.
struct Acts {
    on_wake: Mutex<Option<Act>>,
    on_drop: fn(),
}

impl Wake for Acts {
    fn wake(self: Arc<Self>) {
        // The lock is released first: the action may wake this waker again.
        let act = self.on_wake.lock().unwrap().take();
        if let Some(mut act) = act {
            act();
        }
    }
}

impl Drop for Acts {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}

fn waker_that(act: impl FnMut() + Send + 'static) -> (Arc<Acts>, Waker) {
    let acts = Arc::new(Acts {
        on_wake: Mutex::new(Some(Box::new(act))),
        on_drop: || {},
    });
    (acts.clone(), acts.into())
}

/// A reader that waits, as a task does.
type Task = Pin<Box<dyn Future<Output = Result<EventFrame, RecvError>> + Send>>;

fn task(mut stream: AgentEventStream) -> Task {
    Box::pin(async move { stream.recv_async().await })
}

fn sleeps(task: &mut Task, waker: &Waker) -> bool {
    task.as_mut()
        .poll(&mut Context::from_waker(waker))
        .is_pending()
}

fn bus() -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(2));
    builder.ring_capacity(size(256)).build().unwrap()
}

/// Parks in its run's wait list, or in the one of readers of several shards.
const SCOPES: [fn(&InMemoryAgentEventBus) -> AgentEventStream; 2] = [
    |bus| bus.subscribe_run(RunId::new("r"), None).unwrap(),
    |bus| bus.subscribe_all(None).unwrap(),
];

/// Wakes every reader. Takes the bus, and returns it unless it closed it.
type Trigger = fn(InMemoryAgentEventBus) -> Option<InMemoryAgentEventBus>;

const TRIGGERS: [Trigger; 3] = [
    |bus| {
        bus.publish(delta("r")).unwrap();
        Some(bus)
    },
    |bus| {
        bus.publish_all((0..3).map(|_| delta("r"))).unwrap();
        Some(bus)
    },
    |bus| {
        drop(bus);
        None
    },
];

/// Wakes two waiters with a hostile one before them, between them, or after them.
fn others_are_woken(hostile: impl Fn(&InMemoryAgentEventBus, &Arc<Mutex<Option<Task>>>) -> Waker) {
    for (scope, subscribe) in SCOPES.into_iter().enumerate() {
        for (which, trigger) in TRIGGERS.into_iter().enumerate() {
            for place in 0..3 {
                let bus = bus();
                let bells = [(); 2].map(|()| Arc::new(Bell::default()));
                let innocent = bells.clone().map(Waker::from);
                let own = Arc::new(Mutex::new(Some(task(subscribe(&bus)))));
                let mut others = [(); 2].map(|()| task(subscribe(&bus)));
                let waker = hostile(&bus, &own);
                for at in 0..3 {
                    let other = at - usize::from(at > place);
                    match at == place {
                        true => assert!(sleeps(own.lock().unwrap().as_mut().unwrap(), &waker)),
                        false => assert!(sleeps(&mut others[other], &innocent[other])),
                    }
                }
                drop(waker);
                let bus = trigger(bus);
                for (other, bell) in bells.iter().enumerate() {
                    let case = format!("scope {scope}, trigger {which}, place {place}, {other}");
                    assert_eq!(bell.rung(), 1, "{case}");
                }
                let Some(bus) = bus else { continue };
                // A later waiter is woken too.
                others.into_iter().for_each(drop);
                drop(own.lock().unwrap().take());
                let bell = Arc::new(Bell::default());
                let mut next = subscribe(&bus);
                while next.next().is_some() {}
                let mut next = task(next);
                assert!(sleeps(&mut next, &bell.clone().into()));
                assert_eq!(bus.stats().parked, 1);
                bus.publish(delta("r")).unwrap();
                assert_eq!((bell.rung(), bus.stats().parked), (1, 0));
            }
        }
    }
}

#[test]
fn a_waker_that_panics_costs_no_other_reader_its_wake_up() {
    others_are_woken(|_, _| waker_that(|| panic!("woken")).1);
}

#[test]
fn a_waker_that_panics_when_dropped_costs_no_other_reader_its_wake_up() {
    others_are_woken(|_, _| {
        Waker::from(Arc::new(Acts {
            on_wake: Mutex::new(None),
            on_drop: || panic!("dropped"),
        }))
    });
    // The stream has its last handle: a waker that is replaced, one that goes with its stream, and
    // one that was woken.
    for end in 0..3 {
        let bus = bus();
        let subscribe = || task(bus.subscribe_run(RunId::new("r"), None).unwrap());
        let mut first = subscribe();
        let waker = Waker::from(Arc::new(Acts {
            on_wake: Mutex::new(None),
            on_drop: || panic!("dropped"),
        }));
        assert!(sleeps(&mut first, &waker));
        let kept = catch_unwind(AssertUnwindSafe(|| drop(waker)));
        assert!(kept.is_ok(), "the bus has the last handle of it");
        match end {
            0 => assert!(sleeps(&mut first, Waker::noop())),
            1 => {}
            _ => bus.publish(delta("r")).unwrap(),
        }
        drop(first);
        let bell = Arc::new(Bell::default());
        let mut stream = bus.subscribe_run(RunId::new("r"), None).unwrap();
        while stream.next().is_some() {}
        let mut innocent = task(stream);
        assert!(sleeps(&mut innocent, &bell.clone().into()));
        bus.publish(delta("r")).unwrap();
        assert_eq!(bell.rung(), 1);
    }
}

#[test]
fn a_waker_that_publishes_is_served_and_no_reader_is_woken_twice() {
    others_are_woken(|bus, _| {
        let weak = bus.downgrade();
        let publish = move || {
            if let Some(bus) = weak.upgrade() {
                bus.publish(delta("r")).unwrap();
                bus.publish_all([delta("r"), delta("other")]).unwrap();
            }
        };
        waker_that(publish).1
    });
}

#[test]
fn a_waker_that_subscribes_and_parks_disturbs_no_other_reader() {
    others_are_woken(|bus, _| {
        let weak = bus.downgrade();
        let mut kept = Vec::new();
        let subscribe = move || {
            let Some(bus) = weak.upgrade() else { return };
            for subscribe in SCOPES {
                let mut stream = subscribe(&bus);
                while stream.next().is_some() {}
                let mut task = task(stream);
                assert!(sleeps(&mut task, Waker::noop()));
                kept.push(task);
            }
            kept.clear();
        };
        waker_that(subscribe).1
    });
}

#[test]
fn a_waker_that_drops_its_own_stream_ends_no_other_wait() {
    others_are_woken(|_, own| {
        let own = own.clone();
        waker_that(move || drop(own.lock().unwrap().take())).1
    });
}

#[test]
fn a_waker_that_drops_the_last_handle_of_a_bus_ends_that_bus() {
    let ended = Arc::new(Bell::default());
    let waker: Waker = ended.clone().into();
    others_are_woken(move |_, _| {
        let other = bus();
        let mut reader = task(other.subscribe_all(None).unwrap());
        assert!(sleeps(&mut reader, &waker));
        let mut last = Some((other, reader));
        let before = ended.clone();
        waker_that(move || {
            if let Some((bus, mut reader)) = last.take() {
                let rung = before.rung();
                drop(bus);
                assert_eq!(before.rung(), rung + 1);
                assert!(!sleeps(&mut reader, Waker::noop()));
            }
        })
        .1
    });
}

#[test]
fn a_waker_that_drops_the_last_handle_of_its_own_bus_ends_it_for_all() {
    for subscribe in SCOPES {
        let bus = bus();
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        let mut others = [(); 2].map(|()| task(subscribe(&bus)));
        let mut own = task(subscribe(&bus));
        let mut last = Some(bus.clone());
        let (_acts, waker) = waker_that(move || drop(last.take()));
        assert!(sleeps(&mut others[0], &bells[0].clone().into()));
        assert!(sleeps(&mut own, &waker));
        assert!(sleeps(&mut others[1], &bells[1].clone().into()));
        // The publisher's own handle is dropped after this.
        bus.publish(delta("r")).unwrap();
        drop(bus);
        for (bell, other) in bells.iter().zip(&mut others) {
            assert_eq!(bell.rung(), 1);
            assert!(!sleeps(other, Waker::noop()));
        }
    }
}

/// A waker whose clone panics, by hand: `Wake` has none.
mod panics_when_cloned {
    use super::*;

    const TABLE: RawWakerVTable = RawWakerVTable::new(|_| panic!("cloned"), |_| (), |_| (), |_| ());

    pub fn waker() -> Waker {
        // SAFETY: the table's functions look at no data.
        unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) }
    }
}

#[test]
fn a_waker_that_panics_when_it_is_cloned_panics_in_its_own_poll_and_changes_nothing() {
    for subscribe in SCOPES {
        let bus = bus();
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        let mut tasks = [(); 2].map(|()| task(subscribe(&bus)));
        let mut stream = subscribe(&bus);
        assert!(sleeps(&mut tasks[0], &bells[0].clone().into()));
        let hostile = panics_when_cloned::waker();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut waiting = std::pin::pin!(stream.recv_async());
            waiting.as_mut().poll(&mut Context::from_waker(&hostile))
        }));
        assert!(polled.is_err());
        assert!(sleeps(&mut tasks[1], &bells[1].clone().into()));
        assert_eq!(bus.stats().parked, 2, "it does not wait");
        bus.publish(delta("r")).unwrap();
        assert_eq!(bells.each_ref().map(|bell| bell.rung()), [1, 1]);
        assert!(stream.next().is_some(), "it reads on");
    }
}
