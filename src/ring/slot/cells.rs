//! The cells of one slot, and how its owner writes them: the frame and its order first, then the
//! stamp.

use super::array::{Cell, LateCells};
use super::stamp::Stamp;
use crate::ring::sequence::MAX_SEQUENCE;
use crate::sync::AtomicU64;

/// Where a frame stands in the order of all frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// The sequence number.
    pub(crate) sequence: u64,
    /// The order bound: every frame of this lane with a smaller number has an index below it.
    pub(crate) bound: u64,
}

/// Marks a stored sequence number whose order bound is stored too. Without it, the bound is the
/// next index.
const BOUNDED: u64 = 1 << 63;
const _: () = assert!(MAX_SEQUENCE < BOUNDED);

/// One slot: its word and its cells, each from an array of [`Slots`](super::Slots).
pub(super) struct Slot<'a, T> {
    pub(super) stamp: &'a AtomicU64,
    pub(super) order: OrderCells<'a>,
    /// Initialised if the stamp says so.
    pub(super) frame: &'a Cell<T>,
}

/// Where the order of a slot is. In an index-numbered lane, nothing there is looked at.
pub(super) struct OrderCells<'a> {
    /// The sequence numbers, each marked with [`BOUNDED`] if the bound counts.
    pub(super) sequences: &'a LateCells<u64>,
    /// The order bounds, of those that are not the next index.
    pub(super) bounds: &'a LateCells<u64>,
    /// Which slot it is.
    pub(super) slot: usize,
}

impl<T> Slot<'_, T> {
    /// Puts the frame of `index` and its order here, then stores `done`. Returns the frame that
    /// was here, if it needs dropping.
    ///
    /// # Safety
    /// That of [`Slots::write`](super::Slots::write).
    #[inline(always)]
    pub(super) unsafe fn write(
        self,
        index: u64,
        done: Stamp,
        order: Option<Order>,
        frame: T,
    ) -> Option<T> {
        // SAFETY: by the caller.
        let old = unsafe { self.put(index, order, frame) };
        done.store(self.stamp);
        old
    }

    /// The same without the stamp.
    ///
    /// # Safety
    /// That of [`Slots::write`](super::Slots::write).
    #[inline(always)]
    pub(super) unsafe fn put(&self, index: u64, order: Option<Order>, frame: T) -> Option<T> {
        let holds_frame = || Stamp::load_own(self.stamp).holds_frame();
        let old = self.frame.with_mut(|cell| {
            // SAFETY: S1 and S2: nobody else reads or writes the frame now. It is initialised if
            // the stamp says so, since each write that initialises it stores such a stamp.
            unsafe {
                let dropped = std::mem::needs_drop::<T>() && holds_frame();
                let old = dropped.then(|| (*cell).assume_init_read());
                (*cell).write(frame);
                old
            }
        });
        if let Some(Order { sequence, bound }) = order {
            let bounded = if bound > index + 1 { BOUNDED } else { 0 };
            let put = |cells: &LateCells<u64>, word| {
                // SAFETY: the slot is one of the lane's, and granted: its cells are there (S5).
                let cell = unsafe { cells.at(self.order.slot) };
                cell.with_mut(|cell| {
                    // SAFETY: as for the frame.
                    unsafe { (*cell).write(word) };
                });
            };
            put(self.order.sequences, sequence | bounded);
            if bounded != 0 {
                put(self.order.bounds, bound);
            }
        }
        old
    }

    /// The order of the frame of `index`.
    ///
    /// # Safety
    /// That of [`Slots::order`](super::Slots::order).
    #[inline(always)]
    pub(super) unsafe fn order(self, index: u64) -> Order {
        // SAFETY: S3: the sequence number is initialised, so is the bound if it says so, and no
        // writer is here until the pin ends. The cells are there (S5).
        let read = |cells: &LateCells<u64>| unsafe {
            cells.at(self.order.slot).with(|cell| (*cell).assume_init())
        };
        let sequence = read(self.order.sequences);
        Order {
            sequence: sequence & !BOUNDED,
            bound: if sequence & BOUNDED == 0 {
                index + 1
            } else {
                read(self.order.bounds)
            },
        }
    }
}
