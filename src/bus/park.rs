//! Puts the calling thread to sleep until a publisher wakes it.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker of the calling thread.
fn own_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

thread_local! {
    static WAKER: Waker = own_waker();
}

/// Lends the waker of the calling thread. While the thread ends and its own is destroyed already, a
/// destructor of another thread-local value may still read a stream: it gets one made for the call.
pub(super) fn with_waker<R>(mut f: impl FnMut(&Waker) -> R) -> R {
    match WAKER.try_with(&mut f) {
        Ok(result) => result,
        Err(_) => f(&own_waker()),
    }
}

/// Sleeps until the thread's waker is woken, or the deadline; perhaps less. Whether the deadline
/// is still ahead.
pub(super) fn park(deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        thread::park();
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    thread::park_timeout(left);
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
            assert!(began.elapsed() < Duration::from_secs(30), "nobody woke it");
        }
        assert!(!park(Some(Instant::now())), "the deadline is over");
    }
}
