//! A block of rows, and the right to one of them.

use super::Registry;
use crate::sync::{Arc, AtomicPtr, AtomicU64, UnsafeCell};
use std::ops::Deref;
use std::ptr::NonNull;

/// What walkers look at first stands together.
#[repr(C, align(64))]
pub(super) struct Block<R, const N: usize> {
    /// The next older block. Of an unlinked block: the one that was.
    pub(super) next: AtomicPtr<Block<R, N>>,
    /// Which rows are taken, by their bits.
    pub(super) taken: AtomicU64,
    /// Lent shared as long as the block is not freed.
    pub(super) rows: UnsafeCell<[R; N]>,
    /// The next newer block. Only under the mutex.
    pub(super) prev: AtomicPtr<Block<R, N>>,
    pub(super) list: usize,
    pub(super) id: u64,
}

impl<R, const N: usize> Block<R, N> {
    /// A row of it.
    ///
    /// # Safety
    /// The block is not freed as long as the row is lent.
    #[inline(always)]
    pub(super) unsafe fn row<'a>(this: NonNull<Self>, at: usize) -> &'a R {
        // SAFETY: not freed, by the caller.
        let block = unsafe { this.as_ref() };
        // SAFETY: rows are only ever lent shared until the block is freed.
        block.rows.with(|rows| unsafe { &(&(*rows))[at] })
    }

    /// Takes an unlinked block, to be dropped.
    ///
    /// # Safety
    /// Nobody uses it any more, and what anybody did with it happens before.
    pub(super) unsafe fn into_box(this: NonNull<Self>) -> Box<Self> {
        // SAFETY: made by `Box::leak` in `link`, and the caller's alone.
        let block = unsafe { Box::from_raw(this.as_ptr()) };
        // For the model checker: an access that no order connects with this one is an error.
        block.rows.with_mut(|_| ());
        block
    }
}

/// A row, taken until this is dropped. Its content must say by then that nobody uses it.
pub(crate) struct Row<R, const N: usize> {
    pub(super) registry: Arc<Registry<R, N>>,
    pub(super) block: NonNull<Block<R, N>>,
    pub(super) at: usize,
}

// SAFETY: it lends `&R`, and what is behind the pointer lives as long as it does.
unsafe impl<R: Send + Sync, const N: usize> Send for Row<R, N> {}
// SAFETY: as above.
unsafe impl<R: Send + Sync, const N: usize> Sync for Row<R, N> {}

impl<R, const N: usize> Deref for Row<R, N> {
    type Target = R;

    #[inline(always)]
    fn deref(&self) -> &R {
        // SAFETY: a block with a taken row is not freed.
        unsafe { Block::row(self.block, self.at) }
    }
}

impl<R, const N: usize> std::fmt::Debug for Row<R, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

impl<R, const N: usize> Drop for Row<R, N> {
    fn drop(&mut self) {
        self.registry.give_back(self.block, self.at);
    }
}
