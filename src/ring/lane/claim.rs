//! Claims: granted indices, each the right and the duty to finish its slot.
//!
//! The lane makes a claim only for an index that is granted, and only once; that is the contract of
//! the unsafe constructors here, and S1 and S2 of `slots.rs` follow from it. A claim ends when its
//! slot is filled. A claim that is dropped instead abandons its slot, and readers pass over it.

use super::stragglers::Stragglers;
use crate::ring::slot::{Order, Slots};
use std::ops::Range;

/// A granted index.
pub(crate) struct Claim<'a, T> {
    slots: &'a Slots<T>,
    index: u64,
}

impl<'a, T> Claim<'a, T> {
    /// The claim of `index`.
    ///
    /// # Safety
    /// `index` is granted to the caller, and no other claim of it is ever made. A grant happens
    /// after the previous owner's stamp and after the last read under a pin of the slot's earlier
    /// index.
    #[inline(always)]
    pub(super) unsafe fn new(slots: &'a Slots<T>, index: u64) -> Self {
        Claim { slots, index }
    }

    #[inline(always)]
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Publishes `frame`, with its order in a lane that is not index-numbered. Returns the frame
    /// that it replaced.
    #[inline(always)]
    pub(crate) fn fill(self, tag: u32, order: Option<Order>, frame: T) -> Option<T> {
        let (slots, index) = (self.slots, self.index);
        std::mem::forget(self);
        // SAFETY: S1, S2: the contract of `new`. The claim ends here.
        unsafe { slots.write(index, tag, order, frame) }
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        // SAFETY: S1: the contract of `new`. The claim was not filled, and ends here.
        unsafe { self.slots.abandon(self.index) }
    }
}

/// The granted indices of a batch, ascending. Those that are not filled are abandoned.
pub(crate) struct Claims<'a, T> {
    slots: &'a Slots<T>,
    /// Notes frames that were overtaken; `None` in an index-numbered lane, where none is.
    stragglers: Option<&'a Stragglers>,
    /// Neighbours, all granted; or empty.
    run: Range<u64>,
    /// Indices that were granted one by one, after `run`.
    others: std::vec::IntoIter<Claim<'a, T>>,
    /// One above the last index, if all indices are neighbours.
    contiguous_end: Option<u64>,
}

impl<'a, T> Claims<'a, T> {
    /// The claims of neighbours.
    ///
    /// # Safety
    /// That of [`Claim::new`], for each index of `run`.
    #[inline(always)]
    pub(super) unsafe fn of_run(
        slots: &'a Slots<T>,
        stragglers: Option<&'a Stragglers>,
        run: Range<u64>,
    ) -> Self {
        Claims {
            slots,
            stragglers,
            contiguous_end: Some(run.end),
            run,
            others: Vec::new().into_iter(),
        }
    }

    /// Claims that were made one by one, or none.
    #[inline(always)]
    pub(super) fn of_each(
        slots: &'a Slots<T>,
        stragglers: Option<&'a Stragglers>,
        claims: Vec<Claim<'a, T>>,
    ) -> Self {
        Claims {
            slots,
            stragglers,
            contiguous_end: None,
            run: 0..0,
            others: claims.into_iter(),
        }
    }

    /// One above the last index, if all of the batch's indices are neighbours; else `None`.
    pub(crate) fn contiguous_end(&self) -> Option<u64> {
        self.contiguous_end
    }

    /// Abandons the next index.
    pub(crate) fn abandon_next(&mut self) {
        drop(match self.run.next() {
            // SAFETY: the contract of `of_run`; the index has left the run.
            Some(index) => Some(unsafe { Claim::new(self.slots, index) }),
            None => self.others.next(),
        });
    }

    /// Publishes what `tag` and `make` return in the next `count` claims, with the sequence numbers
    /// from `sequence` on and order bounds of at least `bound`. Hands the frames that they replaced
    /// to `replaced`.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        count: u64,
        sequence: u64,
        bound: u64,
        mut tag: impl FnMut() -> u32,
        mut make: impl FnMut(u64) -> T,
        mut replaced: impl FnMut(Option<T>),
    ) {
        let (slots, stragglers) = (self.slots, self.stragglers);
        // Each frame has the bound: a reader may have passed over the first.
        let (first, end) = (sequence, sequence + count);
        let order = |index, sequence| {
            let stragglers = stragglers?;
            Some(if index + 1 < bound {
                stragglers.assign_order(index, sequence, bound)
            } else {
                // Not overtaken.
                Order {
                    sequence,
                    bound: index + 1,
                }
            })
        };
        let mut sequence = first;
        // Neighbours, block by block.
        while sequence < end && !self.run.is_empty() {
            let start = self.run.start;
            let block = start..self.run.end.min(start + (end - sequence));
            let block = slots.block(&block);
            let offset = sequence.wrapping_sub(start);
            sequence += block.end - start;
            self.run.start = block.end;
            let make = |index: u64| {
                let sequence = index.wrapping_add(offset);
                (order(index, sequence), make(sequence))
            };
            // SAFETY: S1, S2: the contract of `of_run`; the block has left the run.
            unsafe { slots.write_block(block, &mut tag, make, &mut replaced) };
        }
        for (sequence, claim) in (sequence..end).zip(&mut self.others) {
            let (tag, order) = (tag(), order(claim.index, sequence));
            replaced(claim.fill(tag, order, make(sequence)));
        }
    }
}

impl<T> Drop for Claims<'_, T> {
    fn drop(&mut self) {
        for index in self.run.clone() {
            // SAFETY: the contract of `of_run`; the run ends here.
            drop(unsafe { Claim::new(self.slots, index) });
        }
        (&mut self.others).for_each(drop);
    }
}
