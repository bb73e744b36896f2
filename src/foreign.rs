//! Calls of foreign code, whose panics are contained: they do not unwind into another owner's call.
//!
//! A waker belongs to the runtime that a reader runs on. Its clone, its wake and its drop are that
//! runtime's code: each may panic, publish, drop streams or the last handle of a bus, or take long.
//! The bus therefore never keeps a waker as it came. It keeps a [`GuardedWaker`], which is shared
//! through an `Arc`: cloning one runs no foreign code, and waking or dropping one contains the
//! panics of the foreign code that it runs.
//!
//! The panic hook has printed the message of a contained panic. Nothing else remains of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};

/// Calls foreign code, and returns even if it panics.
///
/// If `f` panics, it has run in part: it must not be given a value that the caller relies on later.
#[inline]
pub(crate) fn contained(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // The panic's payload is foreign too. If dropping it panics, the second payload is leaked.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
    }
}

/// A foreign waker whose wake and drop never unwind into the caller.
#[derive(Clone, Debug)]
pub(crate) struct GuardedWaker {
    guarded: Arc<Guarded>,
    /// `guarded`, as a waker.
    waker: Waker,
}

/// The foreign waker. `None` only while it is dropped.
#[derive(Debug)]
struct Guarded(Option<Waker>);

impl GuardedWaker {
    /// Guards a clone of `foreign`. Panics if cloning it does: to be called before anything is
    /// changed, with no lock held, in a call of the reader that waits.
    pub(crate) fn new(foreign: &Waker) -> Self {
        let guarded = Arc::new(Guarded(Some(foreign.clone())));
        GuardedWaker {
            waker: Waker::from(guarded.clone()),
            guarded,
        }
    }

    /// Returns whether this wakes the same task as `foreign`. Runs no foreign code.
    pub(crate) fn will_wake(&self, foreign: &Waker) -> bool {
        let own = self.guarded.0.as_ref();
        own.is_some_and(|own| own.will_wake(foreign))
    }

    /// Returns it as a waker, whose clone runs no foreign code either.
    pub(crate) fn as_waker(&self) -> &Waker {
        &self.waker
    }
}

impl Wake for Guarded {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(foreign) = &self.0 {
            contained(|| foreign.wake_by_ref());
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(foreign) = self.0.take() {
            contained(|| drop(foreign));
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Panics with something that panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[derive(Default)]
    struct Hostile {
        woken: AtomicUsize,
    }

    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, Ordering::SeqCst);
            std::panic::panic_any(Bomb);
        }
    }

    impl Drop for Hostile {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn wake_and_drop_return_whatever_they_panic_with() {
        let hostile = Arc::new(Hostile::default());
        let foreign = Waker::from(hostile.clone());
        let guarded = GuardedWaker::new(&foreign);
        assert!(guarded.will_wake(&foreign) && !guarded.will_wake(Waker::noop()));
        guarded.as_waker().wake_by_ref();
        let clone = guarded.as_waker().clone();
        clone.wake();
        assert_eq!(hostile.woken.load(Ordering::SeqCst), 2);
        // The test contains the drops of its own references; the guard contains that of the last.
        contained(|| drop(foreign));
        contained(|| drop(hostile));
        drop(guarded.clone());
        drop(guarded);
    }

    #[test]
    fn a_drop_while_unwinding_does_not_abort() {
        let guarded = GuardedWaker::new(&Waker::from(Arc::new(Hostile::default())));
        let unwound = std::panic::catch_unwind(AssertUnwindSafe(move || {
            let _dropped_while_unwinding = guarded;
            panic!("the first");
        }));
        assert!(unwound.is_err());
    }
}
