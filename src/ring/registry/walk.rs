//! Walking through lists of rows, counted and without a lock.

use super::walkers::Inside;
use super::{Block, Registry};
use crate::ring::hw;
use crate::sync::{AtomicPtr, Ordering, fence};
use std::ptr::NonNull;

/// The right to walk through the lists of a group: no block that it may find is freed meanwhile.
pub(crate) struct Walk<'a, R, const N: usize> {
    registry: &'a Registry<R, N>,
    group: usize,
    /// Keeps what the walk may find from being freed.
    _inside: Inside<'a>,
}

impl<R, const N: usize> Registry<R, N> {
    /// Begins to fetch what a walk through this list looks at first.
    #[inline]
    pub(crate) fn prefetch(&self, group: usize, list: usize) {
        hw::prefetch(self.head(group, list));
    }

    /// Whether a list has no row that the caller must see. It must see those whose owners ran a
    /// SeqCst fence before the caller did.
    #[inline]
    pub(crate) fn is_vacant(&self, group: usize, list: usize) -> bool {
        // Relaxed: the fences order it, and nothing is read through the pointer.
        self.head(group, list).load(Ordering::Relaxed).is_null()
    }

    #[inline]
    fn head(&self, group: usize, list: usize) -> &AtomicPtr<Block<R, N>> {
        assert!(list < self.lists);
        &self.heads[group * self.lists + list]
    }

    /// Begins a walk through lists of this group, calls `before`, and runs a SeqCst fence.
    pub(crate) fn enter(&self, group: usize, before: impl FnOnce()) -> Walk<'_, R, N> {
        let walk = Walk {
            registry: self,
            group,
            _inside: self.groups[group].walkers.enter(),
        };
        before();
        // E5: SeqCst fence, of an extender. E16: SeqCst fence, between the count and the lists.
        fence(Ordering::SeqCst);
        walk
    }
}

impl<R, const N: usize> Walk<'_, R, N> {
    /// The taken rows of a list: all that were taken before the walk began and still are when it
    /// ends; of others, some.
    #[inline]
    pub(crate) fn rows(&self, list: usize) -> impl Iterator<Item = &R> {
        // E13: acquire.
        let mut next = self.registry.head(self.group, list).load(Ordering::Acquire);
        let mut here = None::<(NonNull<Block<R, N>>, u64)>;
        std::iter::from_fn(move || {
            loop {
                if let Some((block, taken)) = here.as_mut().filter(|(_, taken)| *taken != 0) {
                    let at = taken.trailing_zeros() as usize;
                    *taken &= *taken - 1;
                    #[cfg(test)]
                    steps::count();
                    // SAFETY: as below, while the walk is borrowed.
                    return Some(unsafe { Block::row(*block, at) });
                }
                let block = NonNull::new(next)?;
                // SAFETY: found in a list after this walk was counted and ran its fence, and so not
                // freed before it leaves: see "When memory is freed".
                let found = unsafe { block.as_ref() };
                // E13: acquire.
                next = found.next.load(Ordering::Acquire);
                // E14: acquire.
                here = Some((block, found.taken.load(Ordering::Acquire)));
            }
        })
    }
}

/// Counts the rows that this thread walked over.
#[cfg(test)]
pub(crate) mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// How many rows `f` walks over.
    pub(crate) fn of(f: impl FnOnce()) -> usize {
        let before = STEPS.get();
        f();
        STEPS.get() - before
    }
}
