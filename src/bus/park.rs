//! Waiting in a thread: the calling thread's waker, and its sleep.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Returns a new waker of the calling thread.
fn own_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

thread_local! {
    /// The thread's waker, made once.
    static WAKER: Waker = own_waker();
}

/// Calls `f` with the waker of the calling thread. When the thread ends and its waker is destroyed
/// already, the destructor of another thread-local value may still read a stream: `f` then gets a
/// waker made for the call.
pub(super) fn with_waker<R>(mut f: impl FnMut(&Waker) -> R) -> R {
    match WAKER.try_with(&mut f) {
        Ok(result) => result,
        Err(_) => f(&own_waker()),
    }
}

/// Sleeps until the thread's waker is woken or the deadline has passed, perhaps for less. Returns
/// false, without sleeping, if the deadline had passed before.
pub(super) fn park(deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        thread::park();
        return true;
    };
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() {
        return false;
    }
    thread::park_timeout(remaining);
    true
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_sleep_ends_when_the_thread_s_waker_is_woken_in_either_way() {
        let wakes: [fn(&Waker); 2] = [Waker::wake_by_ref, |_| own_waker().wake()];
        for wake in wakes {
            with_waker(wake);
            let began = Instant::now();
            assert!(park(Some(began + Duration::from_secs(60))));
            assert!(began.elapsed() < Duration::from_secs(30), "not woken");
        }
        assert!(!park(Some(Instant::now())), "the deadline has passed");
    }
}
