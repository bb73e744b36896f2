//! A block of rows, and the right to one of them.

use super::Registry;
use crate::sync::{Arc, AtomicPtr, AtomicU64, UnsafeCell};
use std::ops::Deref;
use std::ptr::NonNull;

/// `N` rows of one list. What walkers look at first stands together.
#[repr(C, align(64))]
pub(super) struct Block<R, const N: usize> {
    /// The next older block of the list; of an unlinked block, the one that was. Stored under the
    /// mutex, loaded by walkers.
    pub(super) next: AtomicPtr<Block<R, N>>,
    /// Which rows are taken: bit `n` for row `n`. Stored under the mutex, loaded by walkers.
    pub(super) taken: AtomicU64,
    /// Lent shared until the block is freed.
    pub(super) rows: UnsafeCell<[R; N]>,
    /// The next newer block of the list. Stored and loaded under the mutex.
    pub(super) prev: AtomicPtr<Block<R, N>>,
    /// Its position among the lists of all groups. Never changes.
    pub(super) list: usize,
    /// Tells the blocks of a group apart. Never changes.
    pub(super) id: u64,
}

impl<R, const N: usize> Block<R, N> {
    /// The row at this position.
    ///
    /// # Safety
    /// The block is not freed while the row is lent.
    #[inline(always)]
    pub(super) unsafe fn row<'a>(this: NonNull<Self>, at: usize) -> &'a R {
        // SAFETY: not freed, by the caller.
        let block = unsafe { this.as_ref() };
        // SAFETY: rows are only ever lent shared until the block is freed.
        block.rows.with(|rows| unsafe { &(&(*rows))[at] })
    }

    /// Takes a block, to be dropped.
    ///
    /// # Safety
    /// No thread uses the block any more, and all that was done with it happens before.
    pub(super) unsafe fn into_box(this: NonNull<Self>) -> Box<Self> {
        // SAFETY: made by `Box::leak` in `link`, and the caller's alone.
        let block = unsafe { Box::from_raw(this.as_ptr()) };
        // For the model checker: it reports an access that is not ordered before this one.
        block.rows.with_mut(|_| ());
        block
    }
}

/// The right to a row, which is given back when this is dropped. By then its content must say that
/// the row is not in use: walkers may still look at it, and the next owner starts from it.
pub(crate) struct Row<R, const N: usize> {
    pub(super) registry: Arc<Registry<R, N>>,
    /// The block that it is in; not freed while the row is taken.
    pub(super) block: NonNull<Block<R, N>>,
    /// Its position in the block, below `N`.
    pub(super) at: usize,
}

// SAFETY: it lends `&R`, and the block lives as long as it does.
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
