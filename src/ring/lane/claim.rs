//! Claims: granted indices, each the right and the duty to finish its slot.
//!
//! A claim is made by the lane only for an index that is granted, and once; it is used up by being
//! filled, and a claim that is dropped instead leaves its slot. That is what `slot.rs` calls S1. S2
//! holds since the grant happens after the last read under a pin of the slot's earlier index.

use super::super::slots::{Numbered, Slots};
use super::Lane;
use std::ops::Range;

impl<T> Lane<T> {
    /// The claim of an index that is granted.
    #[inline(always)]
    pub(super) fn own(&self, index: u64) -> Claim<'_, T> {
        Claim {
            slots: &self.slots,
            index,
        }
    }

    /// Nothing claimed.
    pub(crate) fn no_claims(&self) -> Block<'_, T> {
        Block {
            lane: self,
            range: 0..0,
            others: Vec::new().into_iter(),
            end: None,
        }
    }
}

/// A granted index: the right and the duty to finish its slot. Dropped unfilled, it is left:
/// readers pass over it.
pub(crate) struct Claim<'a, T> {
    slots: &'a Slots<T>,
    index: u64,
}

impl<T> Claim<'_, T> {
    #[inline(always)]
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Publishes the frame, with its number in a lane that does not count. Returns the frame that
    /// it replaced.
    #[inline(always)]
    pub(crate) fn fill(self, tag: u32, numbered: Option<Numbered>, frame: T) -> Option<T> {
        let (slots, index) = (self.slots, self.index);
        std::mem::forget(self);
        // SAFETY: a `Claim` is made only for a granted index, once, and ends here. S2: the grant
        // happened after the last read under a pin, and no checked pin covers the earlier index.
        unsafe { slots.write(index, tag, numbered, frame) }
    }
}

/// The granted indices of a batch, ascending. Those not taken are left.
pub(crate) struct Block<'a, T> {
    lane: &'a Lane<T>,
    /// Granted one beside the other.
    pub(super) range: Range<u64>,
    /// Or one by one.
    pub(super) others: std::vec::IntoIter<Claim<'a, T>>,
    /// One above the last index if nobody else's lies between; else nothing is known.
    pub(super) end: Option<u64>,
}

impl<'a, T> Block<'a, T> {
    /// One above the last index if nobody else's lies between; else nothing is known.
    pub(crate) fn contiguous_end(&self) -> Option<u64> {
        self.end
    }

    /// Leaves the next index.
    pub(crate) fn leave(&mut self) {
        drop(match self.range.next() {
            Some(index) => Some(self.lane.own(index)),
            None => self.others.next(),
        });
    }

    /// Publishes what `tag` and `make` give in the next `count` claims, numbered from `sequence`
    /// on, with fences from `fence` up. Hands what they replaced to `replaced`.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        count: u64,
        sequence: u64,
        fence: u64,
        mut tag: impl FnMut() -> u32,
        mut make: impl FnMut(u64) -> T,
        mut replaced: impl FnMut(Option<T>),
    ) {
        let (lane, counts) = (self.lane, self.lane.counts());
        // Each frame bears the fence: a reader may pass over the first.
        let numbering = |index, number| match counts {
            true => None,
            false if index + 1 < fence => Some(lane.numbering(index, number, fence)),
            // No straddler.
            false => Some(Numbered {
                sequence: number,
                fence: index + 1,
            }),
        };
        let end = sequence + count;
        let mut number = sequence;
        // Neighbours, block by block.
        while number < end && !self.range.is_empty() {
            let start = self.range.start;
            let block = start..self.range.end.min(start + (end - number));
            let block = lane.slots.block(&block);
            let ahead = number.wrapping_sub(start);
            number += block.end - start;
            self.range.start = block.end;
            let make = |index: u64| {
                let number = index.wrapping_add(ahead);
                (numbering(index, number), make(number))
            };
            // SAFETY: these indices were the block's, each once, as for a `Claim`, and end here.
            unsafe { lane.slots.write_block(block, &mut tag, make, &mut replaced) };
        }
        for (number, claim) in (number..end).zip(&mut self.others) {
            let (tag, numbered) = (tag(), numbering(claim.index, number));
            replaced(claim.fill(tag, numbered, make(number)));
        }
    }
}

impl<T> Drop for Block<'_, T> {
    fn drop(&mut self) {
        let range = self.range.clone().map(|index| self.lane.own(index));
        range.chain(&mut self.others).for_each(drop);
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        // SAFETY: a `Claim` is made only for a granted index, once, and was not filled.
        unsafe { self.slots.leave(self.index) }
    }
}
