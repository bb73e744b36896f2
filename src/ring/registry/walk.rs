//! Walking through lists of rows, counted and without a lock.

use super::{Block, Group, Registry};
use crate::ring::hw;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, fence};
use std::ptr::NonNull;

/// The right to walk through the lists of a group: counted, and no block that it may find is freed.
pub(crate) struct Walk<'a, R, const N: usize> {
    registry: &'a Registry<R, N>,
    group: usize,
    /// Where it is counted.
    counter: &'a AtomicUsize,
}

impl<R, const N: usize> Registry<R, N> {
    /// Begins to fetch what a walk through this list will look at first.
    #[inline]
    pub(crate) fn prefetch(&self, group: usize, list: usize) {
        hw::prefetch(self.head(group, list));
    }

    /// Whether a list has no rows that the caller must see: those whose owners ran a SeqCst fence
    /// before the caller did.
    #[inline]
    pub(crate) fn is_vacant(&self, group: usize, list: usize) -> bool {
        // Relaxed: see the module. Nothing is read through it.
        self.head(group, list).load(Ordering::Relaxed).is_null()
    }

    #[inline]
    fn head(&self, group: usize, list: usize) -> &AtomicPtr<Block<R, N>> {
        assert!(list < self.lists);
        &self.heads[group * self.lists + list]
    }

    /// Begins a walk through lists of this group, calls `before`, and runs a SeqCst fence.
    pub(crate) fn enter(&self, group: usize, before: impl FnOnce()) -> Walk<'_, R, N> {
        let Group {
            walkers, entrance, ..
        } = &self.groups[group];
        // Relaxed: whichever it is.
        let counter = &walkers[entrance.load(Ordering::Relaxed)];
        // Relaxed: ordered by the fence.
        counter.fetch_add(1, Ordering::Relaxed);
        let walk = Walk {
            registry: self,
            group,
            counter,
        };
        before();
        // SeqCst: PAIR: the fence in `collect`, and those of the owners of rows. See the module.
        fence(Ordering::SeqCst);
        walk
    }
}

impl<R, const N: usize> Walk<'_, R, N> {
    /// The taken rows of a list: all that were there before the walk began and are there when it
    /// ends; of others some.
    #[inline]
    pub(crate) fn rows(&self, list: usize) -> impl Iterator<Item = &R> {
        // Acquire: PAIR: `link`, `unlink`.
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
                // freed before it leaves: see the module.
                let found = unsafe { block.as_ref() };
                // Acquire: as for the head.
                next = found.next.load(Ordering::Acquire);
                // Acquire: PAIR: `give_back`.
                here = Some((block, found.taken.load(Ordering::Acquire)));
            }
        })
    }
}

impl<R, const N: usize> Drop for Walk<'_, R, N> {
    fn drop(&mut self) {
        // Release: PAIR: `collect`.
        self.counter.fetch_sub(1, Ordering::Release);
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

    /// How many `f` walks over.
    pub(crate) fn of(f: impl FnOnce()) -> usize {
        let before = STEPS.get();
        f();
        STEPS.get() - before
    }
}
