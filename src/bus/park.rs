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

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Lends the waker of the calling thread.
pub(super) fn with_waker<R>(f: impl FnOnce(&Waker) -> R) -> R {
    WAKER.with(f)
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
