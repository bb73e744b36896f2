//! Arrays that begin at a cache line, of memory that the system gives when it is used.
//!
//! A lane's arrays are gone through side by side. If all begin at a line, then the same publish is
//! the first to write to the next line of each, and a processor fetches them at once and not one
//! after another: a locked instruction, of which each publish has one, waits for all stores before
//! it. But they don't begin in the same place of their pages: some processors take addresses that
//! agree in the lowest twelve bits for one.

use crate::sync::{AtomicPtr, AtomicU64, UnsafeCell};
use std::mem::MaybeUninit;

/// A place for a value, initialised or not.
pub(crate) type Cell<T> = UnsafeCell<MaybeUninit<T>>;

#[cfg(any(loom, shuttle))]
pub(crate) use modelled::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use real::*;

#[cfg(not(any(loom, shuttle)))]
mod real {
    use super::*;
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::marker::PhantomData;
    use std::ops::Deref;
    use std::ptr::NonNull;

    const LINE: usize = 64;

    /// See the module. Its items are not dropped.
    pub(crate) struct Array<C> {
        memory: NonNull<u8>,
        layout: Layout,
        start: NonNull<C>,
        len: usize,
        items: PhantomData<C>,
    }

    // SAFETY: an array owns its items, as a Box does.
    unsafe impl<C: Send> Send for Array<C> {}
    // SAFETY: it lends them, and no more.
    unsafe impl<C: Sync> Sync for Array<C> {}

    impl<C> Array<C> {
        /// `n` items whose bytes are all zero, that begin so many lines behind the first.
        ///
        /// # Safety
        /// Such an item is valid.
        unsafe fn zeroed(n: usize, lines: usize) -> Self {
            const { assert!(!std::mem::needs_drop::<C>()) };
            let layout = Layout::array::<C>(n).and_then(|items| {
                // Of the items' own alignment: the allocator writes zeros into what is aligned for
                // more, and so uses it. What it need not write, it gets from the system.
                let size = items.size().saturating_add((lines + 1) * LINE);
                Layout::from_size_align(size, items.align())
            });
            let layout = layout.unwrap_or_else(|_| {
                // More than the address space holds: the allocator's own way to say so.
                handle_alloc_error(Layout::new::<C>())
            });
            // SAFETY: the layout is not of size zero.
            let Some(memory) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
                handle_alloc_error(layout)
            };
            let to_line = memory.align_offset(LINE);
            let skipped = match layout.align() <= LINE && to_line < LINE {
                true => to_line + lines * LINE,
                false => 0,
            };
            Array {
                memory,
                layout,
                // SAFETY: the layout has so many lines and one more than the items take, and no
                // more is skipped. The start is aligned for the items: at a line, or the memory's
                // own.
                start: unsafe { memory.add(skipped) }.cast(),
                len: n,
                items: PhantomData,
            }
        }
    }

    impl<C> Deref for Array<C> {
        type Target = [C];

        #[inline(always)]
        fn deref(&self) -> &[C] {
            // SAFETY: `zeroed` made so many valid items there.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
        }
    }

    impl<C> Drop for Array<C> {
        fn drop(&mut self) {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.memory.as_ptr(), self.layout) };
        }
    }

    /// `n` words of value 0.
    pub(crate) fn words(n: usize) -> Array<AtomicU64> {
        // SAFETY: that is an atomic 0.
        unsafe { Array::zeroed(n, 0) }
    }

    /// `n` pointers to nothing.
    pub(crate) fn pointers<T>(n: usize) -> Array<AtomicPtr<T>> {
        // SAFETY: that is an atomic null pointer.
        unsafe { Array::zeroed(n, 0) }
    }

    /// `n` cells that hold nothing, so many lines behind where words would be.
    pub(crate) fn cells<T>(n: usize, lines: usize) -> Array<Cell<T>> {
        // SAFETY: a cell's content need not be initialised.
        unsafe { Array::zeroed(n, lines) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::sync::atomic::Ordering;

        #[test]
        fn begins_at_a_line_and_holds_zeros() {
            for n in [1, 2, 64, 65_536] {
                let words = words(n);
                assert_eq!((words.len(), words.as_ptr().align_offset(LINE)), (n, 0));
                assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
                let cells = cells::<[u32; 3]>(n, 8);
                assert_eq!((cells.len(), cells.as_ptr().align_offset(4)), (n, 0));
            }
        }

        #[test]
        fn takes_any_alignment() {
            #[repr(align(256))]
            struct Wide;
            assert!(cells::<Wide>(3, 8).as_ptr().is_aligned());
        }
    }
}

#[cfg(any(loom, shuttle))]
mod modelled {
    use super::*;

    pub(crate) type Array<C> = Box<[C]>;

    pub(crate) fn words(n: usize) -> Array<AtomicU64> {
        (0..n).map(|_| AtomicU64::new(0)).collect()
    }

    pub(crate) fn pointers<T>(n: usize) -> Array<AtomicPtr<T>> {
        (0..n)
            .map(|_| AtomicPtr::new(std::ptr::null_mut()))
            .collect()
    }

    pub(crate) fn cells<T>(n: usize, _lines: usize) -> Array<Cell<T>> {
        let cell = |_| UnsafeCell::new(MaybeUninit::uninit());
        (0..n).map(cell).collect()
    }
}
