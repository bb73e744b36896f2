//! Atomics, cells, locks and fences: of real threads, of the loom model checker, or of shuttle's
//! random scheduler. No other module knows which.
//!
//! [`UnsafeCell`] has loom's methods (`with` and `with_mut`), so that loom sees each access to a
//! slot's body and reports a race on it. The proofs of pin against extend and of publish against
//! park rest on SeqCst fences, and loom models such proofs only with fences.

#[cfg(loom)]
pub(crate) use self::{fences::fence, waker::AtomicWaker};
#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
};

#[cfg(not(loom))]
pub(crate) use self::real::*;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(not(framebus_tsan))]
use std::sync::PoisonError;

/// Makes `word` at least `to`, and returns what it was; `order` is that of the store, if there is
/// one.
///
/// By compare-exchange, since LLVM's ThreadSanitizer does not see an atomic maximum at all and then
/// reports what it orders as races. If nothing is stored, another thread has stored a value at
/// least as high: a thread that reads a lower value does so before that store, and so before this
/// load.
pub(crate) fn raise(word: &AtomicU64, to: u64, order: Ordering) -> u64 {
    // Relaxed: the value is only compared. The error means that the word was high enough.
    let raised = word.fetch_update(order, Ordering::Relaxed, |now| (now < to).then_some(to));
    raised.unwrap_or_else(|now| now)
}

/// Locks, also after a panic: no code of the host runs under a lock of the core.
///
/// ThreadSanitizer does not see a lock that is waited for, since that happens inside the standard
/// library. So where it is to see all locks, this one tries again and again.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(framebus_tsan)]
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(std::sync::TryLockError::Poisoned(error)) => return error.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    #[cfg(not(framebus_tsan))]
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(not(loom))]
mod real {
    pub(crate) use atomic_waker::AtomicWaker;

    /// `std::cell::UnsafeCell` with loom's two accessors.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        /// Calls `f` with a pointer for reading; the caller's `f` must see no concurrent writer.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer for writing; the caller's `f` must be alone.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(loom)]
mod fences {
    use loom::sync::atomic::{AtomicUsize, Ordering};

    loom::lazy_static! {
        static ref FENCES: AtomicUsize = AtomicUsize::new(0);
    }

    /// loom's fence. loom switches threads at accesses only, and looks for other orders of accesses
    /// to one and the same object; so each fence is also one to an object that all share. It is
    /// relaxed and orders nothing.
    pub(crate) fn fence(ordering: Ordering) {
        FENCES.fetch_add(1, Ordering::Relaxed);
        loom::sync::atomic::fence(ordering);
    }
}

#[cfg(loom)]
mod waker {
    use std::task::Waker;

    /// loom's waker cell with the accessors of the real one.
    #[derive(Debug)]
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            AtomicWaker(loom::future::AtomicWaker::new())
        }

        pub(crate) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }

        pub(crate) fn take(&self) -> Option<Waker> {
            self.0.take_waker()
        }
    }
}
