//! A slot: one place of a lane, with its stamp and, inline, the frame.
//!
//! The stamp is the slot's whole public state, one word: `(index + 1) << 2 | state`, 0 before the
//! first use. It only ever moves to higher indices.
//!
//! | state | meaning for the index in the stamp | body |
//! | --- | --- | --- |
//! | `DONE` | its frame is here, readable | initialised |
//! | `LEFT_FULL` | its owner left without writing | an older frame, to be dropped by a later owner |
//! | `LEFT_EMPTY` | its owner left without writing | not initialised |
//!
//! There is no state for "being written": who may write is decided by the lane's gates
//! (see `lane.rs`), and a slot whose stamp is not of its last granted index is unfinished.
//!
//! Invariants, kept by the lane, on which this file's `unsafe` rests:
//! - **S1 one owner**: between the grant of an index and the stamp of that index, exactly one
//!   thread (the claimer) calls `write` or `leave` for this slot, and the grant happens after the
//!   previous owner's stamp.
//! - **S2 no reader under a writer**: `write` runs only when no pin covers the slot's earlier index,
//!   and happens after the end of every read under an earlier pin.
//! - **S3 reads are of finished frames**: `read` is called for index `i` only under a pin that
//!   covers `i` and after an acquire load of the stamp `(i, DONE)`.

use crate::sync::{AtomicU64, Ordering, UnsafeCell};
use std::mem::MaybeUninit;

const LEFT_EMPTY: u64 = 0;
const LEFT_FULL: u64 = 1;
const DONE: u64 = 2;

/// A slot's stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(u64);

impl Stamp {
    #[inline(always)]
    fn new(index: u64, state: u64) -> Self {
        Stamp((index + 1) << 2 | state)
    }

    /// Whether `index`'s frame is in the slot.
    #[inline(always)]
    pub(crate) fn is_done(self, index: u64) -> bool {
        self == Stamp::new(index, DONE)
    }

    /// One above the index that was finished last; 0 for a slot never used.
    #[inline(always)]
    pub(crate) fn finished(self) -> u64 {
        self.0 >> 2
    }

    fn holds_frame(self) -> bool {
        self.0 & 3 != LEFT_EMPTY
    }
}

/// A frame with its place in the global order.
#[derive(Clone, Copy)]
pub(crate) struct Numbered {
    /// The global sequence number.
    pub(crate) sequence: u64,
    /// Every frame of this lane with a smaller number has an index below this one.
    pub(crate) fence: u64,
}

struct Body<T> {
    numbered: Numbered,
    frame: T,
}

/// One place of a lane.
pub(crate) struct Slot<T> {
    stamp: AtomicU64,
    body: UnsafeCell<MaybeUninit<Body<T>>>,
}

// SAFETY: a slot hands `&T` to several threads at once (readers under pins) and moves `T` between
// threads (publisher to a later publisher that drops it), hence both bounds; S1 to S3 order the
// accesses themselves.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}
// SAFETY: a slot owns its frame.
unsafe impl<T: Send> Send for Slot<T> {}

impl<T> Slot<T> {
    /// Pairs with the release store in `write` and `leave`.
    #[inline(always)]
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Acquire))
    }

    /// Puts the frame of `index` into the slot and makes it readable. Returns the frame that was
    /// there, if it needs dropping: by the caller, when it is out of the critical section.
    ///
    /// # Safety
    /// The caller was granted `index` and has neither written nor left it (S1, S2).
    #[inline(always)]
    pub(crate) unsafe fn write(&self, index: u64, numbered: Numbered, frame: T) -> Option<T> {
        // Relaxed: the stamp was last stored by the previous owner, whose store happens before
        // this owner's grant (S1).
        let before = Stamp(self.stamp.load(Ordering::Relaxed));
        let old = self.body.with_mut(|body| {
            // SAFETY: S1 and S2: nobody else reads or writes the body now. The body is initialised
            // if the stamp says so, since each initialising write stored such a stamp.
            unsafe {
                let old = (std::mem::needs_drop::<T>() && before.holds_frame())
                    .then(|| (*body).assume_init_read().frame);
                (*body).write(Body { numbered, frame });
                old
            }
        });
        // Release: whoever acquires this stamp sees the body. PAIR: stamp().
        self.stamp
            .store(Stamp::new(index, DONE).0, Ordering::Release);
        old
    }

    /// Gives the slot up without a frame: readers pass over `index`, a later claim may have it.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    pub(crate) unsafe fn leave(&self, index: u64) {
        // Relaxed: as in `write`.
        let before = Stamp(self.stamp.load(Ordering::Relaxed));
        let state = if before.holds_frame() {
            LEFT_FULL
        } else {
            LEFT_EMPTY
        };
        // Release: the next owner's accesses happen after everything done to the body before.
        self.stamp
            .store(Stamp::new(index, state).0, Ordering::Release);
    }

    /// The place in the order of the frame in this slot.
    ///
    /// # Safety
    /// S3 holds for the index that the caller means.
    #[inline(always)]
    pub(crate) unsafe fn numbered(&self) -> Numbered {
        // SAFETY: S3: the body is initialised and no writer is there until the pin goes.
        self.body
            .with(|body| unsafe { (*body).assume_init_ref().numbered })
    }

    /// Lends the frame in this slot to `f`.
    ///
    /// # Safety
    /// S3 holds for the index that the caller means, until `f` returns.
    #[inline(always)]
    pub(crate) unsafe fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: S3: the body is initialised and no writer is there until the pin goes.
        self.body
            .with(|body| f(unsafe { &(*body).assume_init_ref().frame }))
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        // Relaxed: `&mut self` is alone, and its existence happens after every other access.
        if Stamp(self.stamp.load(Ordering::Relaxed)).holds_frame() {
            // SAFETY: the stamp says that the body is initialised, and `&mut self` is alone.
            self.body
                .with_mut(|body| unsafe { (*body).assume_init_drop() });
        }
    }
}

/// `n` slots that were never used. On real threads the memory comes zeroed from the system and a
/// page costs nothing until it is used.
pub(crate) fn unused_slots<T>(n: usize) -> Box<[Slot<T>]> {
    #[cfg(not(any(loom, shuttle)))]
    {
        let mut slots: Vec<Slot<T>> = Vec::new();
        let layout = std::alloc::Layout::array::<Slot<T>>(n).unwrap_or_else(|_| {
            // More than the address space holds: the allocator's own way to say so.
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<Slot<T>>())
        });
        if n > 0 {
            // SAFETY: the layout is that of `n` slots and not of size zero (a slot has a stamp).
            // All-zero bytes are an unused slot: the stamp is 0 and the body is uninitialised. The
            // pointer was allocated by the global allocator with the layout of a Vec of capacity n.
            slots = unsafe {
                let memory = std::alloc::alloc_zeroed(layout).cast::<Slot<T>>();
                if memory.is_null() {
                    std::alloc::handle_alloc_error(layout);
                }
                Vec::from_raw_parts(memory, n, n)
            };
        }
        slots.into_boxed_slice()
    }
    #[cfg(any(loom, shuttle))]
    (0..n)
        .map(|_| Slot {
            stamp: AtomicU64::new(0),
            body: UnsafeCell::new(MaybeUninit::uninit()),
        })
        .collect()
}

/// `n` words of value 0, allocated like [`unused_slots`].
pub(crate) fn zeroed_words(n: usize) -> Box<[AtomicU64]> {
    #[cfg(not(any(loom, shuttle)))]
    {
        const { assert!(align_of::<AtomicU64>() == align_of::<u64>()) };
        let words = Box::into_raw(vec![0u64; n].into_boxed_slice());
        // SAFETY: AtomicU64 has the size and bit validity of u64, and here its alignment; the Box
        // is the only owner.
        unsafe { Box::from_raw(words as *mut [AtomicU64]) }
    }
    #[cfg(any(loom, shuttle))]
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn numbered(sequence: u64) -> Numbered {
        Numbered {
            sequence,
            fence: sequence,
        }
    }

    #[test]
    fn holds_returns_and_drops_frames() {
        let frame = Arc::new(());
        let slots = unused_slots::<Arc<()>>(2);
        assert_eq!(slots[0].stamp().finished(), 0);
        // SAFETY: one thread, indices ascending.
        unsafe {
            assert!(slots[0].write(0, numbered(1), frame.clone()).is_none());
            assert!(slots[0].stamp().is_done(0));
            slots[0].leave(2);
            assert!(!slots[0].stamp().is_done(2));
            assert_eq!(slots[0].stamp().finished(), 3);
            assert!(slots[0].write(4, numbered(9), frame.clone()).is_some());
            assert_eq!(slots[0].numbered().sequence, 9);
            slots[1].leave(1);
        }
        assert_eq!(Arc::strong_count(&frame), 2);
        drop(slots);
        assert_eq!(Arc::strong_count(&frame), 1);
    }

    #[test]
    fn a_slot_of_a_word_is_32_bytes() {
        assert_eq!(size_of::<Slot<u64>>(), 32);
        assert_eq!(size_of::<Slot<Arc<()>>>(), 32);
    }
}
