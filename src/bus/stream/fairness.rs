//! When a task that reads a backlog yields to its runtime.
//!
//! A stream with a backlog is ready at each poll. On a runtime whose tasks yield by themselves, as
//! most do, a task that reads one would keep its thread: no timer fires there and no other task
//! runs. So a stream that was ready [`MOST_IN_A_ROW`] times returns `Pending` once, and wakes its
//! task at once: the runtime gets a turn. That costs a wake-up for each 32 frames, 12 instructions
//! a frame on tokio.

use std::task::Waker;

/// How many frames a stream gives a task in a row before it yields.
const MOST_IN_A_ROW: u32 = 32;

/// Decides when a stream's task yields.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::bus) struct Fairness {
    /// How many frames the stream gave to a task since the task last waited or yielded.
    in_a_row: u32,
}

impl Fairness {
    /// Returns whether the task yields now. If so, its waker was woken.
    pub(in crate::bus) fn yields(&mut self, waker: &Waker) -> bool {
        let yields = self.in_a_row >= MOST_IN_A_ROW;
        if yields {
            self.in_a_row = 0;
            waker.wake_by_ref();
        }
        yields
    }

    /// Counts a poll of the stream, which gave a frame or did not.
    pub(in crate::bus) fn polled(&mut self, gave_frame: bool) {
        self.in_a_row = if gave_frame { self.in_a_row + 1 } else { 0 };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_yields_once_after_frames_in_a_row_and_is_woken() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut fairness = Fairness::default();
        for _ in 0..2 {
            for _ in 0..MOST_IN_A_ROW {
                assert!(!fairness.yields(&waker));
                fairness.polled(true);
            }
            assert!(fairness.yields(&waker), "after 32 frames");
        }
        fairness.polled(true);
        fairness.polled(false);
        for _ in 0..MOST_IN_A_ROW {
            assert!(!fairness.yields(&waker), "a wait begins a new row");
            fairness.polled(true);
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
