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
        Arc, Mutex,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
};

#[cfg(not(loom))]
pub(crate) use self::real::*;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

/// Makes `word` at least `to`; `order` is that of the store, if there is one.
///
/// By compare-exchange, since LLVM's ThreadSanitizer does not see an atomic maximum at all and then
/// reports what it orders as races. If nothing is stored, another thread has stored a value at
/// least as high: a thread that reads a lower value does so before that store, and so before this
/// load.
pub(crate) fn raise(word: &AtomicU64, to: u64, order: Ordering) {
    // Relaxed: the value is only compared. The error means that the word was high enough.
    let _ = word.fetch_update(order, Ordering::Relaxed, |now| (now < to).then_some(to));
}

/// How many bytes a cache line has, where it matters here.
#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
const LINE: usize = 64;

/// Begins to fetch the cache line that `of` is in, to be read soon.
#[inline(always)]
pub(crate) fn fetch<T>(of: &T) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is there on every x86_64; a prefetch touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(of).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle, miri)))))]
    let _ = of;
}

/// Begins to fetch the cache lines that `of` lies in, as far as `most` bytes go, to be written
/// soon.
#[inline(always)]
pub(crate) fn fetch_to_write<T>(of: &[T], most: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
    {
        let bytes = of.as_ptr().cast::<u8>();
        for offset in (0..size_of_val(of).min(most)).step_by(LINE) {
            let line = bytes.wrapping_add(offset);
            // The intrinsic for this is compiled to a fetch for reading where the target does not
            // promise the instruction. Processors that lack it take it for none.
            // SAFETY: a prefetch touches nothing.
            unsafe {
                std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, readonly, preserves_flags));
            }
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle, miri)))))]
    let _ = (of, most);
}

/// Whether [`take_over`] does something here.
pub(crate) const TAKES_OVER: bool =
    cfg!(all(target_arch = "x86_64", not(any(loom, shuttle, miri))));

/// Takes the cache lines that `of` lies in over from the processors that have them, as if to write
/// them, and changes nothing. A locked instruction a line.
#[inline(always)]
pub(crate) fn take_over<T>(of: &[T]) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
    {
        let bytes = of.as_ptr().cast::<u8>();
        for offset in (0..size_of_val(of)).step_by(LINE) {
            let line = bytes.wrapping_add(offset);
            // A fetch for writing would not do: what this processor shares already it does not
            // fetch.
            // SAFETY: the byte is one of `of`; the instruction leaves all its bits as they are, and
            // nobody can store between its load and its store. So to all others, and to the
            // compiler, it is none.
            unsafe {
                std::arch::asm!("lock or byte ptr [{}], 0", in(reg) line, options(nostack));
            }
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle, miri)))))]
    let _ = of;
}

/// Lets the processor do nothing for so many nanoseconds, by the clock: the instruction for it
/// takes three cycles of one processor and a hundred of another. If the processors are `crowded`,
/// others may have it meanwhile, from [`LONG`] on. A model has no time.
pub(crate) fn pause(nanos: u64, crowded: impl FnOnce() -> bool) {
    #[cfg(not(any(loom, shuttle)))]
    {
        let begin = std::time::Instant::now();
        let yields = nanos >= LONG && crowded();
        while (begin.elapsed().as_nanos() as u64) < nanos {
            if yields {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
    #[cfg(any(loom, shuttle))]
    let _ = (nanos, crowded);
}

/// How many nanoseconds are more than it takes to go to another thread and back.
#[cfg(not(any(loom, shuttle)))]
const LONG: u64 = 600;

/// How many threads run at once; asked for once, since the system is slow to tell.
pub(crate) fn processors() -> usize {
    static PROCESSORS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let ask = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    *PROCESSORS.get_or_init(ask)
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
