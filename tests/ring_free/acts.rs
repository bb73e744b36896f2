//! Frames whose drops are foreign code: they panic, publish, subscribe, and end subscriptions.

use crate::ring;
use framebus::ring::{Geometry, Ring, Route, Select, Start, Subscription};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A frame that does something when it is dropped.
struct Act(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Act {
    fn new(act: impl FnOnce() + Send + 'static) -> Self {
        Act(Mutex::new(Some(Box::new(act))))
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let act = self.0.get_mut().unwrap().take();
        act.into_iter().for_each(|act| act());
    }
}

/// Runs `act` as the drop of a frame: of one that a reader frees, that a leaver frees, that a
/// publisher frees, and of one amid others in a ring that they fill.
fn each_way(act: impl Fn(&Ring<Act>) + Clone + Send + 'static) {
    for way in 0..4 {
        let ring = ring::<Act>(1, Geometry::for_window(2));
        let mut reader = Some(ring.subscribe(Select::All, None, Start::Latest).unwrap());
        let read = |reader: &mut Option<Subscription<Act>>| {
            let reader = reader.as_mut().unwrap();
            reader.poll(|_| ControlFlow::Continue(()));
        };
        let done = Arc::new(AtomicUsize::new(0));
        let frames = if way == 3 { 2 } else { 1 };
        if way == 2 {
            reader = None;
        }
        for _ in 0..frames {
            let (act, own, done) = (act.clone(), ring.clone(), done.clone());
            let frame = Act::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                act(&own);
            });
            ring.publish(Route::default(), frame).unwrap();
        }
        let dropped = done.load(Ordering::Relaxed);
        assert_eq!(dropped, usize::from(way == 2));
        match way {
            1 => reader = None,
            2 => {}
            _ => read(&mut reader),
        }
        assert_eq!(done.load(Ordering::Relaxed), frames, "{way}");
        // The ring works on, and what was published meanwhile goes too.
        drop(reader);
        let mut later = Some(ring.subscribe(Select::All, None, Start::Latest).unwrap());
        let held = Arc::new(());
        let own = held.clone();
        let frame = Act::new(move || drop(own));
        ring.publish(Route::default(), frame).unwrap();
        assert_eq!(Arc::strong_count(&held), 2, "{way}");
        read(&mut later);
        assert_eq!(Arc::strong_count(&held), 1, "{way}");
    }
}

#[test]
fn a_drop_may_panic() {
    each_way(|_| panic!("a drop"));
}

#[test]
fn a_drop_may_publish() {
    each_way(|ring| {
        let published = ring.publish(Route::default(), Act::new(|| ()));
        assert!(published.is_ok(), "{published:?}");
    });
}

#[test]
fn a_drop_may_publish_what_publishes_when_it_is_dropped() {
    each_way(|ring| {
        let own = ring.clone();
        let next = Act::new(move || {
            own.publish(Route::default(), Act::new(|| ())).unwrap();
        });
        ring.publish(Route::default(), next).unwrap();
    });
}

#[test]
fn a_drop_may_subscribe_read_and_leave() {
    each_way(|ring| {
        let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
        let clone = reader.try_clone().unwrap();
        reader.poll(|_| ControlFlow::Continue(()));
        drop((clone, reader));
    });
}

#[test]
fn a_drop_may_drop_a_subscription_that_held_others_back() {
    let ring = ring::<Act>(1, Geometry::for_window(16));
    let mut reader = ring.subscribe(Select::All, None, Start::Latest).unwrap();
    let dropped = Arc::new(());
    let held = dropped.clone();
    // The frame holds a subscription which is at the second one.
    let (slot, own) = (Arc::new(Mutex::new(None)), ring.clone());
    let inner = slot.clone();
    ring.publish(
        Route::default(),
        Act::new(move || drop(inner.lock().unwrap().take())),
    )
    .unwrap();
    *slot.lock().unwrap() = Some(own.subscribe(Select::All, None, Start::Latest).unwrap());
    ring.publish(Route::default(), Act::new(move || drop(held)))
        .unwrap();
    reader.poll(|_| ControlFlow::Continue(()));
    assert!(slot.lock().unwrap().is_none());
    assert_eq!(Arc::strong_count(&dropped), 1);
}
