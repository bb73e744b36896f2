//! The events that a thread's publishes replaced: fetched first, dropped some publishes later.
//!
//! A publish replaces an event that was published a whole history ago. Its cache lines are cold,
//! and to drop it takes several of them, one after another: the count, the envelope, what that
//! points to. So a thread keeps the last few such events, and only begins to fetch them. Some
//! publishes later they are here, and what they point to is fetched; some later still they are
//! dropped, without a wait for memory. The misses of several events overlap.
//!
//! A thread keeps at most [`KEPT`] events, and drops them when it ends.

use super::shared::Event;
use std::cell::Cell;

/// How many events a thread keeps at most: a power of two.
const KEPT: usize = 8;

/// Events in the order in which they were replaced.
struct Replaced {
    events: [Cell<Option<Event>>; KEPT],
    /// How many were kept so far. The next one takes the place of the oldest.
    count: Cell<usize>,
}

thread_local! {
    static REPLACED: Replaced = const {
        Replaced {
            events: [const { Cell::new(None) }; KEPT],
            count: Cell::new(0),
        }
    };
}

impl Replaced {
    /// Keeps `event`, and drops the one that was kept longest.
    #[inline]
    fn keep(&self, event: Event) {
        event.prefetch();
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let half = &self.events[count.wrapping_sub(KEPT / 2) % KEPT];
        if let Some(event) = half.take() {
            event.prefetch_text();
            half.set(Some(event));
        }
        drop(self.events[count % KEPT].replace(Some(event)));
    }
}

/// Drops an event that a publish of this thread replaced, some publishes later.
#[inline]
pub(super) fn drop_later(event: Event) {
    let mut event = Some(event);
    // A thread that ends drops it at once.
    let _ = REPLACED.try_with(|replaced| event.take().map(|event| replaced.keep(event)));
}
