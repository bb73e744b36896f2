//! Reading the frames of slots, under a pin.

use super::{BLOCK, Slots};
use crate::ring::slot::cells::Order;
use crate::ring::slot::filter::TagFilter;
use crate::ring::slot::stamp::{Mismatch, Stamp};
use crate::sync::AtomicU64;
use std::ops::{ControlFlow, Range};

impl<T> Slots<T> {
    /// The order of the frame of `index`.
    ///
    /// # Safety
    /// S3 holds for `index`, and it was written with an order.
    #[inline(always)]
    pub(crate) unsafe fn order(&self, index: u64) -> Order {
        // SAFETY: by the caller.
        unsafe { self.slot(index).order(index) }
    }

    /// Lends the frame of `index` to `f`.
    ///
    /// # Safety
    /// S3 holds for `index`, until `f` returns.
    #[inline(always)]
    pub(crate) unsafe fn read<R>(&self, index: u64, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: S3: the frame is initialised, and no writer is there until the pin ends.
        self.at(self.frames(), index)
            .with(|cell| f(unsafe { (*cell).assume_init_ref() }))
    }

    /// Lends the frames of `indices` to `f`, each with its index, until an index is not done, `f`
    /// breaks, or the last slot was lent. Loads a block of stamps before it lends the first frame
    /// of the block: so `f` is called in a loop without atomics, and what it counts stays in
    /// registers. But if the second index is not done, the first is lent at once: what a reader
    /// that keeps up finds is one frame, and the stamps of a block lie in four or five cache lines.
    ///
    /// # Safety
    /// S3 holds for `indices`, until this returns; their stamps need not have been loaded.
    #[inline(always)]
    pub(crate) unsafe fn lend(
        &self,
        indices: Range<u64>,
        mut f: impl FnMut(u64, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut slots, generation) = self.slots(&indices);
        let second = self.stamps[slots.clone()].get(1);
        if second.is_some_and(|second| !Stamp::load(second).is_done(generation)) {
            slots.end = slots.start + 1;
        }
        let stamps = self.stamps[slots.clone()].chunks(BLOCK);
        let blocks = stamps.zip(self.frames()[slots].chunks(BLOCK));
        let mut index = indices.start;
        for (stamps, frames) in blocks {
            let done = done(stamps, generation);
            for (index, frame) in (index..).zip(&frames[..done]) {
                // SAFETY: as in `read`; the stamp was just acquired.
                frame.with(|cell| f(index, unsafe { (*cell).assume_init_ref() }))?;
            }
            index += done as u64;
            if done < stamps.len() {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Lends the frames of `indices` to `f`, each with its index, until one is not here or not
    /// wanted, or `f` breaks. Touches no other frame than those that it lends.
    ///
    /// # Safety
    /// S3 holds for those of `indices` whose tags the filter lets through, until this returns;
    /// their stamps need not have been loaded.
    #[inline(always)]
    pub(crate) unsafe fn lend_wanted(
        &self,
        indices: Range<u64>,
        filter: &TagFilter,
        mut f: impl FnMut(u64, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for index in indices {
            match self.tag(index) {
                // SAFETY: as in `read`; the stamp was just acquired.
                Some(tag) if filter.matches(tag) => unsafe {
                    self.read(index, |frame| f(index, frame))?;
                },
                _ => break,
            }
        }
        ControlFlow::Continue(())
    }
}

/// How many of at most [`BLOCK`] slots, from the first on, have the frame of this generation.
#[inline(always)]
fn done(stamps: &[AtomicU64], generation: u64) -> usize {
    // Most often all.
    match <&[AtomicU64; BLOCK]>::try_from(stamps) {
        Ok(block) if Mismatch::of(block, generation).is_tag_only() => BLOCK,
        _ => stamps
            .iter()
            .take_while(|&word| Stamp::load(word).is_done(generation))
            .count(),
    }
}
