//! A block of rows.

use crate::sync::{AtomicPtr, AtomicU64, UnsafeCell};
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
