//! The events that a thread's publishes replaced: fetched first, dropped some publishes later.
//!
//! A publish replaces an event that was published a whole history ago. Its cache lines are cold,
//! and to drop it takes several of them, one after another: the count, the envelope, the text. So
//! a thread keeps the last few such events, and only begins to fetch them. Some publishes later
//! they are here, and the text is fetched; some later still they are dropped, without a wait for
//! memory. The misses of several events overlap.
//!
//! A thread keeps at most [`KEPT`] events, of whatever bus, and drops them when it ends.

use super::shared::Event;
use crate::ring::prefetch_for_write;
use std::cell::Cell;

/// How many events a thread keeps at most.
const KEPT: usize = 8;

// The positions go on where the count wraps.
const _: () = assert!(KEPT.is_power_of_two());

/// Events in the order in which they were replaced.
struct Replaced {
    events: [Cell<Option<Event>>; KEPT],
    /// How many were kept so far. The next one takes the place of the oldest.
    count: Cell<usize>,
}

thread_local! {
    static REPLACED: Replaced = const { Replaced::new() };
}

impl Replaced {
    const fn new() -> Self {
        Replaced {
            events: [const { Cell::new(None) }; KEPT],
            count: Cell::new(0),
        }
    }

    /// Keeps `event`, and returns the one that was kept longest, to be dropped.
    #[inline]
    fn keep(&self, event: Event) -> Option<Event> {
        prefetch_for_write(std::slice::from_ref(&*event), size_of_val(&*event));
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let halfway = &self.events[count.wrapping_sub(KEPT / 2) % KEPT];
        if let Some(event) = halfway.take() {
            prefetch_for_write(event.own_text().as_bytes(), 1);
            halfway.set(Some(event));
        }
        self.events[count % KEPT].replace(Some(event))
    }
}

/// Drops an event that a publish of this thread replaced, some publishes later.
#[inline]
pub(super) fn drop_later(event: Event) {
    // A thread that has dropped what it kept, since it ends, drops the event at once.
    drop(REPLACED.try_with(|replaced| replaced.keep(event)));
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::InMemoryAgentEventBus;
    use crate::event::{AgentEvent, EventEnvelope, EventKind};
    use crate::ring::Geometry;
    use std::num::NonZeroUsize;
    use std::sync::{Arc, Weak};

    /// A bus that holds two frames at least.
    fn bus() -> InMemoryAgentEventBus {
        let builder = InMemoryAgentEventBus::builder();
        let builder = builder.ring_capacity(NonZeroUsize::new(2).unwrap());
        builder.build().unwrap()
    }

    /// Publishes an event with content, and returns what says whether the content is there.
    fn publish(bus: &InMemoryAgentEventBus) -> Weak<[u8]> {
        let bytes: Arc<[u8]> = Arc::new([7; 100]);
        let weak = Arc::downgrade(&bytes);
        let envelope = EventEnvelope::new("run", "agent", EventKind::ModelStreamDelta);
        let event = AgentEvent::with_content(envelope, "text/plain", bytes);
        bus.publish(event.into()).unwrap();
        weak
    }

    fn alive(events: &[Weak<[u8]>]) -> Vec<bool> {
        events.iter().map(|it| it.strong_count() > 0).collect()
    }

    #[test]
    fn an_event_is_dropped_some_publishes_after_it_was_replaced_and_in_order() {
        let bus = bus();
        let slots = Geometry::for_window(2).slots();
        let events: Vec<_> = (0..slots + KEPT + 3).map(|_| publish(&bus)).collect();
        let (gone, here) = events.split_at(3);
        assert_eq!(alive(gone), [false; 3]);
        assert!(alive(here).iter().all(|&alive| alive));
    }

    #[test]
    fn a_thread_that_ends_keeps_nothing() {
        let bus = bus();
        let slots = Geometry::for_window(2).slots();
        let events: Vec<_> = std::thread::scope(|scope| {
            let publishes = scope.spawn(|| (0..slots + 5).map(|_| publish(&bus)).collect());
            publishes.join().unwrap()
        });
        let (gone, here) = events.split_at(5);
        assert_eq!(alive(gone), [false; 5]);
        assert!(alive(here).iter().all(|&alive| alive));
    }

    #[test]
    fn a_destructor_of_a_thread_that_ends_publishes() {
        struct Publishes(Cell<Option<(InMemoryAgentEventBus, usize)>>);
        impl Drop for Publishes {
            fn drop(&mut self) {
                if let Some((bus, count)) = self.0.take() {
                    (0..count).for_each(|_| drop(publish(&bus)));
                }
            }
        }
        thread_local! {
            static AT_THE_END: Publishes = const { Publishes(Cell::new(None)) };
        }
        let bus = bus();
        let slots = Geometry::for_window(2).slots();
        let first = std::thread::scope(|scope| {
            let ends = scope.spawn(|| {
                // Registered before the events that are kept, and so dropped after them.
                AT_THE_END.with(|end| end.0.set(Some((bus.clone(), 3 * slots))));
                publish(&bus)
            });
            ends.join().unwrap()
        });
        assert_eq!(first.strong_count(), 0, "replaced, and dropped at once");
        assert_eq!(bus.last_sequence(), 3 * slots as u64 + 1);
    }
}
