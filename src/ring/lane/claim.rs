//! Claims: granted indices, each the right and the duty to finish its slot.
//!
//! A claim is made by the lane only for an index that is granted, and once; it is used up by being
//! filled, and a claim that is dropped instead leaves its slot. That is what `slot.rs` calls S1. S2 holds
//! since the grant happens after the last read under a pin of the slot's earlier index.

use super::super::slot::{Numbered, Slot};
use super::super::tag;
use super::Lane;
use crate::sync::{AtomicU64, Ordering};
use std::ops::Range;

impl<T> Lane<T> {
    /// The claim of an index that is granted.
    #[inline(always)]
    pub(super) fn own(&self, index: u64) -> Claim<'_, T> {
        let place = self.geometry.place(index);
        Claim {
            slot: &self.slots[place],
            tag: &self.tags[place],
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
    slot: &'a Slot<T>,
    tag: &'a AtomicU64,
    index: u64,
}

impl<T> Claim<'_, T> {
    #[inline(always)]
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Publishes the frame. Returns the frame that it replaced.
    #[inline(always)]
    pub(crate) fn fill(self, numbered: Numbered, tag: u32, frame: T) -> Option<T> {
        let (slot, index) = (self.slot, self.index);
        // Relaxed: see `Lane::tag`.
        self.tag.store(tag::pack(tag, index), Ordering::Relaxed);
        std::mem::forget(self);
        // SAFETY: a `Claim` is made only for a granted index, once, and ends here. S2: the grant
        // happened after the last read under a pin, and no checked pin covers the earlier index.
        unsafe { slot.write(index, numbered, frame) }
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
}

impl<T> Block<'_, T> {
    /// Publishes the tags and frames that `next` gives in the next claims, `count` of them or as many as
    /// there are, numbered from `sequence` on, with fences from `fence` up. Hands what they replaced to
    /// `replaced`.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        count: u64,
        sequence: u64,
        fence: u64,
        mut next: impl FnMut(u64) -> Option<(u32, T)>,
        mut replaced: impl FnMut(Option<T>),
    ) {
        let lane = self.lane;
        let mut numbers = sequence..sequence + count;
        // Each frame bears the fence: a reader may pass over the first.
        let numbering = |index, number| match index + 1 < fence {
            true => lane.numbering(index, number, fence),
            // No straddler.
            false => Numbered {
                sequence: number,
                fence: index + 1,
            },
        };
        // Up to the last place, and from the first one on: neighbours, without a look at each address.
        while !numbers.is_empty() && !self.range.is_empty() {
            let mut index = self.range.start;
            let first = lane.geometry.place(index);
            let here = (self.range.end - index).min(numbers.end - numbers.start) as usize;
            let places = first..lane.slots.len().min(first + here);
            let ahead = numbers.start.wrapping_sub(index);
            numbers.start += places.len() as u64;
            for (slot, tag) in lane.slots[places.clone()].iter().zip(&lane.tags[places]) {
                let number = index.wrapping_add(ahead);
                // If `next` panics, the rest is left.
                let Some((bits, frame)) = next(number) else {
                    return;
                };
                let claim = Claim { slot, tag, index };
                index += 1;
                self.range.start = index;
                replaced(claim.fill(numbering(index - 1, number), bits, frame));
            }
        }
        for (number, claim) in numbers.zip(&mut self.others) {
            let Some((bits, frame)) = next(number) else {
                return;
            };
            let numbered = numbering(claim.index, number);
            replaced(claim.fill(numbered, bits, frame));
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
        unsafe { self.slot.leave(self.index) }
    }
}
