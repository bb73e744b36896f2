//! Arrays that begin at a cache line, in memory that the system provides when it is first used.
//!
//! Publishers go through the arrays of a lane side by side. Since all of them begin at a line, one
//! publish is the first to write to the next line of each array. The processor then fetches these
//! lines together, and not one after another: a locked instruction, of which each publish has one,
//! waits for all stores before it. But the arrays begin at different offsets in their pages: some
//! processors take two addresses for one if their lowest twelve bits agree.

use crate::sync::{AtomicPtr, AtomicU64, UnsafeCell};
use std::mem::MaybeUninit;

/// Memory for a value, initialised or not.
pub(crate) type Cell<T> = UnsafeCell<MaybeUninit<T>>;

#[cfg(any(loom, shuttle))]
pub(crate) use modelled::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use real::*;

#[cfg(not(any(loom, shuttle)))]
mod real {
    use super::*;
    use crate::sync::Ordering;
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::marker::PhantomData;
    use std::ops::Deref;
    use std::ptr::{NonNull, null_mut};

    const LINE: usize = 64;

    /// A boxed slice that begins at a cache line. Does not drop its items.
    pub(crate) struct Array<C> {
        /// What the allocator returned for `layout`.
        memory: NonNull<u8>,
        layout: Layout,
        /// The first item, inside `memory`.
        start: NonNull<C>,
        /// How many items there are.
        len: usize,
        items: PhantomData<C>,
    }

    // SAFETY: an array owns its items, as a Box does.
    unsafe impl<C: Send> Send for Array<C> {}
    // SAFETY: it lends `&C`, and no more.
    unsafe impl<C: Sync> Sync for Array<C> {}

    impl<C> Array<C> {
        /// `n` items whose bytes are all zero. They begin `lines` cache lines after the first line
        /// of the memory.
        ///
        /// # Safety
        /// An item whose bytes are all zero is valid.
        unsafe fn zeroed(n: usize, lines: usize) -> Self {
            const { assert!(!std::mem::needs_drop::<C>()) };
            let layout = Layout::array::<C>(n).and_then(|items| {
                // With no more alignment than the items have: the allocator writes zeros into
                // memory of a higher alignment, and so uses it. What it need not write, it gets
                // from the system.
                let size = items.size().saturating_add((lines + 1) * LINE);
                Layout::from_size_align(size, items.align())
            });
            let layout = layout.unwrap_or_else(|_| {
                // More than the address space holds: reported as the allocator would.
                handle_alloc_error(Layout::new::<C>())
            });
            // SAFETY: the size of the layout is not zero.
            let Some(memory) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
                handle_alloc_error(layout)
            };
            let to_line = memory.align_offset(LINE);
            let skipped = if layout.align() <= LINE && to_line < LINE {
                to_line + lines * LINE
            } else {
                0
            };
            Array {
                memory,
                layout,
                // SAFETY: the layout has `lines + 1` lines more than the items take, and less is
                // skipped. The start is aligned for the items: it is at a line, or where the
                // memory begins.
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
            // SAFETY: `zeroed` made `len` valid items there.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
        }
    }

    impl<C> Drop for Array<C> {
        fn drop(&mut self) {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.memory.as_ptr(), self.layout) };
        }
    }

    /// `n` words, all 0.
    pub(crate) fn words(n: usize) -> Array<AtomicU64> {
        // SAFETY: zero bytes are an atomic 0.
        unsafe { Array::zeroed(n, 0) }
    }

    /// `n` null pointers.
    pub(crate) fn pointers<T>(n: usize) -> Array<AtomicPtr<T>> {
        // SAFETY: zero bytes are an atomic null pointer.
        unsafe { Array::zeroed(n, 0) }
    }

    /// Uninitialised cells whose memory is allocated when it is first needed.
    pub(crate) struct LateCells<T> {
        /// The first cell; null before that.
        start: AtomicPtr<Cell<T>>,
        /// Where they are; null before that. Boxed, so that one exchange says whose memory it is.
        array: AtomicPtr<Array<Cell<T>>>,
        len: usize,
        lines: usize,
    }

    impl<T> LateCells<T> {
        /// `n` cells, which will begin `lines` cache lines after where words would.
        pub(crate) fn new(n: usize, lines: usize) -> Self {
            LateCells {
                start: AtomicPtr::new(null_mut()),
                array: AtomicPtr::new(null_mut()),
                len: n,
                lines,
            }
        }

        /// Allocates the memory, unless that was done. Never waits for a thread that does.
        pub(crate) fn allocate(&self) {
            // E27: acquire.
            let mut array = self.array.load(Ordering::Acquire);
            if array.is_null() {
                // SAFETY: a cell's content need not be initialised.
                let own = Box::into_raw(Box::new(unsafe { Array::zeroed(self.len, self.lines) }));
                let [success, failure] = [Ordering::Release, Ordering::Acquire];
                // E27: release, of the zeros. E27: acquire, of another thread's.
                let set = self.array.compare_exchange(array, own, success, failure);
                array = own;
                if let Err(other) = set {
                    array = other;
                    // SAFETY: made by `into_raw` above, and nobody else saw it.
                    drop(unsafe { Box::from_raw(own) });
                }
            }
            // SAFETY: freed by `drop` only.
            let start = unsafe { (*array).start };
            // Relaxed: what lets others use it carries it, a gate (E2) or the clear run (E6).
            self.start.store(start.as_ptr(), Ordering::Relaxed);
        }

        /// The cells.
        ///
        /// # Safety
        /// A call of [`allocate`](Self::allocate) has returned before.
        #[inline(always)]
        pub(crate) unsafe fn get(&self) -> &[Cell<T>] {
            // Relaxed: the value happens before, by the caller.
            let start = self.start.load(Ordering::Relaxed);
            // SAFETY: by the caller, `allocate` has put `len` cells there.
            unsafe { std::slice::from_raw_parts(start, self.len) }
        }

        /// One of the cells.
        ///
        /// # Safety
        /// That of [`get`](Self::get), and `at` is below their number.
        #[inline(always)]
        pub(crate) unsafe fn at(&self, at: usize) -> &Cell<T> {
            // SAFETY: by the caller.
            unsafe { self.get().get_unchecked(at) }
        }

        /// The address of a cell, allocated or not.
        #[inline(always)]
        pub(crate) fn address(&self, at: usize) -> *const Cell<T> {
            // Relaxed: nothing is read there.
            self.start.load(Ordering::Relaxed).wrapping_add(at)
        }

        /// The cells, if they are there.
        pub(crate) fn get_mut(&mut self) -> &[Cell<T>] {
            // SAFETY: freed by `drop` only, and `&mut self` happens after `allocate`.
            let array = unsafe { self.array.get_mut().as_ref() };
            array.map_or(&[], |array| &**array)
        }
    }

    impl<T> Drop for LateCells<T> {
        fn drop(&mut self) {
            let array = *self.array.get_mut();
            if !array.is_null() {
                // SAFETY: made by `into_raw` in `allocate`, and `&mut self` is alone.
                drop(unsafe { Box::from_raw(array) });
            }
        }
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
                let cells = LateCells::<[u32; 3]>::new(n, 8);
                for _ in 0..2 {
                    cells.allocate();
                    // SAFETY: allocated.
                    let cells = unsafe { cells.get() };
                    assert_eq!((cells.len(), cells.as_ptr().align_offset(4)), (n, 0));
                }
            }
        }

        #[test]
        fn takes_any_alignment() {
            #[repr(align(256))]
            struct Wide;
            let mut cells = LateCells::<Wide>::new(3, 8);
            assert!(cells.get_mut().is_empty());
            cells.allocate();
            assert!(cells.get_mut().as_ptr().is_aligned());
        }
    }
}

/// The same for models, which watch each item.
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

    /// Is there from the start.
    pub(crate) struct LateCells<T>(Box<[Cell<T>]>);

    impl<T> LateCells<T> {
        pub(crate) fn new(n: usize, _lines: usize) -> Self {
            let cell = |_| UnsafeCell::new(MaybeUninit::uninit());
            LateCells((0..n).map(cell).collect())
        }

        pub(crate) fn allocate(&self) {}

        pub(crate) unsafe fn get(&self) -> &[Cell<T>] {
            &self.0
        }

        pub(crate) unsafe fn at(&self, at: usize) -> &Cell<T> {
            &self.0[at]
        }

        pub(crate) fn address(&self, at: usize) -> *const Cell<T> {
            &self.0[at]
        }

        pub(crate) fn get_mut(&mut self) -> &[Cell<T>] {
            &self.0
        }
    }
}
