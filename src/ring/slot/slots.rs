//! The slots of a lane: for each a [stamp](super::stamp), and, inline, a frame and its order.
//!
//! Each of these is an array of its own. Readers look at stamps, and at nothing else of the frames
//! that their filter passes over. Sequence numbers are written only in lanes that are not
//! index-numbered. A frame takes its own size and no more. So a publish of a frame of one word
//! touches a quarter of a cache line, or three eighths. The array of order bounds is hardly ever
//! touched: most often a frame's bound is the next index.
//!
//! The lane keeps these invariants, on which the `unsafe` code here rests:
//! - **S1 one owner**: between the grant of an index and the stamp of that index, exactly one
//!   thread, the claimer, calls `write`, `write_block` or `abandon` for its slot, and does so once.
//!   The grant happens after the previous owner's stamp.
//! - **S2 no reader beside a writer**: `write` and `write_block` run only while no pin covers the
//!   slot's earlier index, and happen after the end of every read under an earlier pin.
//! - **S3 reads are of finished frames**: `read`, `order` and `lend` are called for index `i` only
//!   under a pin that covers `i`; `read` and `order` only after an acquire load of a stamp that
//!   says that the frame of `i` is here. What reads a frame that a filter does not want calls none
//!   of them.
//! - **S4 freed once**: `free` is called for index `i` by one thread, once, while a pin covers `i`
//!   that was checked as that of a reader is, after all reads of `i`, and no read of it begins any
//!   more. It counts as what the slot's owner does last.
//! - **S5 room**: `allocate` is called before the first index is granted; that happens before each
//!   grant. Nothing but stamps and addresses is looked at for an index that was not granted.

use super::array::{Array, Cell, LateCells, words};
use super::cells::{Order, OrderCells, Slot};
use super::filter::TagFilter;
use super::geometry::Geometry;
use super::stamp::{Mismatch, Stamp};
use crate::foreign::contained;
use crate::ring::hw;
use crate::sync::AtomicU64;
use std::ops::Range;

mod lend;

/// How many slots are looked at together, at most.
const BLOCK: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

/// How many words lie in a cache line.
const WORDS_A_LINE: u64 = 8;

/// How many bytes of each array are prefetched at once, at most.
const MOST_PREFETCHED: usize = 1_024;

/// The slots of a lane.
pub(crate) struct Slots<T> {
    /// Only a slot's owner stores its stamp; everybody loads it.
    stamps: Array<AtomicU64>,
    /// Only a slot's owner writes it, before the stamp; readers read it under a pin. So with
    /// `bounds` and `frames`. Each array has `geometry.slots()` items.
    sequences: LateCells<u64>,
    bounds: LateCells<u64>,
    frames: LateCells<T>,
    geometry: Geometry,
}

// SAFETY: a slot hands `&T` to several threads at once (readers under pins) and moves `T` between
// threads (publisher to a later publisher that drops it), hence both bounds; S1 to S3 order the
// accesses themselves.
unsafe impl<T: Send + Sync> Sync for Slots<T> {}
// SAFETY: slots own their frames.
unsafe impl<T: Send> Send for Slots<T> {}

impl<T> Slots<T> {
    /// Slots that were never used. Of those, only the stamps take memory. On real threads it comes
    /// from the system, and a page costs nothing until it is used.
    pub(crate) fn new(geometry: Geometry) -> Self {
        let slots = geometry.slots();
        assert!(slots.is_power_of_two());
        Slots {
            stamps: words(slots),
            sequences: LateCells::new(slots, 8),
            bounds: LateCells::new(slots, 16),
            frames: LateCells::new(slots, 24),
            geometry,
        }
    }

    /// Makes room for frames. Called before the first index is granted.
    pub(crate) fn allocate(&self) {
        self.sequences.allocate();
        self.bounds.allocate();
        self.frames.allocate();
    }

    /// The frames. Used for indices that were granted.
    #[inline(always)]
    fn frames(&self) -> &[Cell<T>] {
        // SAFETY: S5.
        unsafe { self.frames.get() }
    }

    /// The sequence numbers. Used for indices that were granted.
    #[inline(always)]
    fn sequences(&self) -> &[Cell<u64>] {
        // SAFETY: S5.
        unsafe { self.sequences.get() }
    }

    /// What `array` has for the slot of `index`.
    #[inline(always)]
    fn at<'a, C>(&self, array: &'a [C], index: u64) -> &'a C {
        let slot = self.geometry.slot(index);
        debug_assert!(slot < array.len());
        // SAFETY: `slot` is below the geometry's number of slots, a power of two, and each array
        // here has as many items.
        unsafe { array.get_unchecked(slot) }
    }

    /// The slot of `index`.
    #[inline(always)]
    fn slot(&self, index: u64) -> Slot<'_, T> {
        Slot {
            stamp: self.at(&self.stamps, index),
            order: self.order_cells(self.geometry.slot(index)),
            frame: self.at(self.frames(), index),
        }
    }

    /// Where the order of a slot is.
    #[inline(always)]
    fn order_cells(&self, slot: usize) -> OrderCells<'_> {
        OrderCells {
            sequences: &self.sequences,
            bounds: &self.bounds,
            slot,
        }
    }

    /// The stamp of the slot of `index`. The caller sees what the slot's owner wrote.
    #[inline(always)]
    pub(crate) fn stamp(&self, index: u64) -> Stamp {
        Stamp::load(self.at(&self.stamps, index))
    }

    /// The first index from `index` on, at most `end`, whose stamp does not say that its frame is
    /// unwanted.
    #[inline(always)]
    pub(crate) fn skip_unwanted(&self, mut index: u64, end: u64, filter: &TagFilter) -> u64 {
        while index < end {
            let generation = self.geometry.generation(index);
            if index.is_multiple_of(8) {
                let slot = self.geometry.slot(index);
                let last = self.geometry.slots().min(slot + (end - index) as usize);
                index += filter.skips(&self.stamps[slot..last], generation) as u64;
                if index >= end || self.geometry.generation(index) != generation {
                    continue;
                }
            }
            match self.stamp(index).tag(generation) {
                Some(tag) if !filter.matches(tag) => index += 1,
                _ => break,
            }
        }
        index
    }

    /// The tag of the frame of `index`, if it is here.
    #[inline(always)]
    pub(crate) fn tag(&self, index: u64) -> Option<u32> {
        self.stamp(index).tag(self.geometry.generation(index))
    }

    /// Whether each of these slots was finished last in this generation.
    #[inline(always)]
    pub(crate) fn all_finished(&self, slots: Range<usize>, generation: u64) -> bool {
        let (blocks, rest) = self.stamps[slots].as_chunks::<BLOCK>();
        let all =
            |all: Mismatch, block: &[AtomicU64; BLOCK]| all.and(Mismatch::of(block, generation));
        let mismatch = blocks.iter().fold(Mismatch::of(rest, generation), all);
        mismatch.is_finished()
    }

    /// Begins to fetch these slots, which are written soon; their sequence numbers only if these
    /// are written too.
    #[inline(always)]
    pub(crate) fn prefetch_for_write(&self, slots: Range<usize>, sequences: bool) {
        hw::prefetch_for_write(&self.stamps[slots.clone()], MOST_PREFETCHED);
        hw::prefetch_for_write(&self.frames()[slots.clone()], MOST_PREFETCHED);
        if sequences {
            hw::prefetch_for_write(&self.sequences()[slots], MOST_PREFETCHED);
        }
    }

    /// Takes the cache lines of these indices, up to the last slot, from the processors that have
    /// them; those of their sequence numbers only if `sequences` is set. Of stamps, the whole line
    /// of the first index, and the line of `indices.end` not at all.
    pub(crate) fn acquire_lines(&self, indices: Range<u64>, sequences: bool) {
        const MASK: u64 = !(WORDS_A_LINE - 1);
        let (slots, _) = self.slots(&(indices.start & MASK..indices.end & MASK));
        hw::acquire_lines(&self.stamps[slots.clone()]);
        hw::acquire_lines(&self.frames()[slots.clone()]);
        if sequences {
            hw::acquire_lines(&self.sequences()[slots]);
        }
    }

    /// Begins to fetch the frame of `index`, which is read soon.
    #[inline(always)]
    pub(crate) fn prefetch_frame(&self, index: u64) {
        hw::prefetch(self.frames.address(self.geometry.slot(index)));
    }

    /// Puts the frame of `index` into its slot and makes it readable, with its order in a lane that
    /// is not index-numbered. Returns the frame that was there, if it needs dropping; the caller
    /// drops it when the new one is readable.
    ///
    /// # Safety
    /// The caller was granted `index` and has neither written nor abandoned it (S1, S2).
    #[inline(always)]
    pub(crate) unsafe fn write(
        &self,
        index: u64,
        tag: u32,
        order: Option<Order>,
        frame: T,
    ) -> Option<T> {
        let done = Stamp::done(self.geometry.generation(index), tag);
        // SAFETY: by the caller.
        unsafe { self.slot(index).write(index, done, order, frame) }
    }

    /// The first of `indices`, as many as [`write_block`](Self::write_block) takes at once.
    #[inline(always)]
    pub(crate) fn block(&self, indices: &Range<u64>) -> Range<u64> {
        let most = BLOCK.min(self.geometry.slots() - self.geometry.slot(indices.start));
        indices.start..indices.end.min(indices.start + most as u64)
    }

    /// [Writes](Self::write) the frames and orders that `make` returns for the indices of a
    /// [block](Self::block), then the stamps, with the tags that `tag` returns: so `make` is called
    /// in a loop without atomics. Hands the frames that they replaced to `replaced`.
    ///
    /// Afterwards all indices are finished. If `make`, `tag` or `replaced` panics, those that are
    /// not readable yet are abandoned.
    ///
    /// # Safety
    /// That of [`write`](Self::write), for each index of `block`.
    #[inline(always)]
    pub(crate) unsafe fn write_block(
        &self,
        block: Range<u64>,
        mut tag: impl FnMut() -> u32,
        mut make: impl FnMut(u64) -> (Option<Order>, T),
        mut replaced: impl FnMut(Option<T>),
    ) {
        let (slots, generation) = self.slots(&block);
        let frames = slots.clone().zip(&self.frames()[slots.clone()]);
        let mut written = Written {
            stamps: &self.stamps[slots],
            generation,
            frames: 0,
            stamped: 0,
        };
        let slots = written.stamps.iter().zip(frames);
        for (index, (stamp, (slot, frame))) in (block.start..).zip(slots) {
            let (order, new) = make(index);
            let slot = Slot {
                stamp,
                order: self.order_cells(slot),
                frame,
            };
            // SAFETY: by the caller.
            let old = unsafe { slot.put(index, order, new) };
            written.frames += 1;
            replaced(old);
        }
        for stamp in written.stamps {
            Stamp::done(generation, tag()).store(stamp);
            written.stamped += 1;
        }
    }

    /// The slots of `indices`, up to the last slot, and the generation that they have there.
    #[inline(always)]
    fn slots(&self, indices: &Range<u64>) -> (Range<usize>, u64) {
        let first = self.geometry.slot(indices.start);
        let count = indices.end.saturating_sub(indices.start) as usize;
        let last = self.geometry.slots().min(first + count);
        (first..last, self.geometry.generation(indices.start))
    }

    /// Finishes the slot of `index` without a frame: readers pass over the index, and a later claim
    /// may be granted the slot.
    ///
    /// # Safety
    /// That of [`write`](Self::write).
    pub(crate) unsafe fn abandon(&self, index: u64) {
        let stamp = self.at(&self.stamps, index);
        abandon(stamp, self.geometry.generation(index), false);
    }

    /// Takes the frame of `index` out of its slot, if it is here, and says so in the stamp.
    ///
    /// # Safety
    /// S4 holds for `index`, and the caller has acquired a stamp of its generation.
    pub(crate) unsafe fn free(&self, index: u64) -> Option<T> {
        let (stamp, generation) = (
            self.at(&self.stamps, index),
            self.geometry.generation(index),
        );
        if !Stamp::load_own(stamp).is_done(generation) {
            return None;
        }
        let frame = self.at(self.frames(), index).with_mut(|cell| {
            // SAFETY: S4: the frame is initialised, and nobody else reads or writes it any more.
            unsafe { (*cell).assume_init_read() }
        });
        Stamp::abandoned(generation, false).store(stamp);
        Some(frame)
    }
}

/// How far a block is written. Dropped by a panic, it abandons the slots that have no stamp yet.
struct Written<'a> {
    /// Those of the block.
    stamps: &'a [AtomicU64],
    generation: u64,
    /// How many slots, from the first on, have their frame.
    frames: usize,
    /// How many slots, from the first on, have their stamp.
    stamped: usize,
}

impl Drop for Written<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        for (at, stamp) in self.stamps.iter().enumerate().skip(self.stamped) {
            abandon(stamp, self.generation, at < self.frames);
        }
    }
}

/// Finishes a slot without a frame of this generation. `put` says if a new frame was put there all
/// the same; else it holds an older one or none.
fn abandon(stamp: &AtomicU64, generation: u64, put: bool) {
    let holds_frame = put || Stamp::load_own(stamp).holds_frame();
    Stamp::abandoned(generation, holds_frame).store(stamp);
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<T>() {
            return;
        }
        for (stamp, frame) in self.stamps.iter().zip(self.frames.get_mut()) {
            // Relaxed, in `load_own`: `&mut self` happens after every other access.
            if Stamp::load_own(stamp).holds_frame() {
                // A destructor that panics does not keep the other frames from being dropped.
                // SAFETY: the stamp says that the frame is initialised, and `&mut self` is alone.
                frame.with_mut(|cell| contained(|| unsafe { (*cell).assume_init_drop() }));
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    fn order(sequence: u64) -> Option<Order> {
        Some(Order {
            sequence,
            bound: sequence,
        })
    }

    fn slots<T>(count: u64) -> Slots<T> {
        let slots = Slots::new(Geometry::exact(count, 1, 0, 1));
        slots.allocate();
        slots
    }

    #[test]
    fn frames_take_no_memory_before_the_first() {
        let mut slots = Slots::<Arc<()>>::new(Geometry::exact(2, 1, 0, 1));
        assert!(slots.frames.get_mut().is_empty());
        slots.prefetch_frame(1);
        slots.allocate();
        assert_eq!(slots.frames.get_mut().len(), 2);
    }

    #[test]
    fn holds_returns_and_drops_frames() {
        let frame = Arc::new(());
        let slots = slots::<Arc<()>>(2);
        assert_eq!(slots.stamp(0).generation(), 0);
        // SAFETY: one thread, indices ascending.
        unsafe {
            assert!(slots.write(0, 7, order(1), frame.clone()).is_none());
            assert_eq!(slots.stamp(0).tag(1), Some(7));
            slots.abandon(2);
            assert!(!slots.stamp(2).is_done(2));
            assert_eq!(slots.stamp(2).generation(), 2);
            assert!(slots.write(4, 0, order(9), frame.clone()).is_some());
            assert_eq!(slots.order(4).sequence, 9);
            slots.abandon(1);
            assert_eq!(slots.order(4).bound, 9);
            slots.write(6, 0, order(7), frame.clone());
            assert_eq!((slots.order(6).sequence, slots.order(6).bound), (7, 7));
        }
        assert_eq!(Arc::strong_count(&frame), 2);
        drop(slots);
        assert_eq!(Arc::strong_count(&frame), 1);
    }

    #[test]
    fn acquired_lines_stay_as_they_are() {
        fn kept<T: Clone + PartialEq + std::fmt::Debug>(frames: [T; 16]) {
            let slots = slots::<T>(16);
            for (index, frame) in (0..).zip(&frames) {
                // SAFETY: one thread, indices ascending.
                let old = unsafe { slots.write(index, 7, order(9), frame.clone()) };
                assert_eq!(old, None);
            }
            for (start, end) in [(0, 16), (3, 13), (8, 24), (5, 5)] {
                slots.acquire_lines(start..end, true);
            }
            for (index, frame) in (0..).zip(&frames) {
                assert_eq!(slots.stamp(index).tag(1), Some(7));
                // SAFETY: one thread.
                unsafe {
                    assert_eq!(slots.order(index).sequence, 9);
                    slots.read(index, |kept| assert_eq!(kept, frame));
                }
            }
        }
        kept([u64::MAX; 16]);
        kept([(); 16]);
        kept([[1_u8; 3]; 16]);
        kept([[2_u64; 9]; 16]);
        kept(std::array::from_fn(Arc::new));
    }

    #[test]
    fn lends_what_is_done_and_no_more() {
        let slots = slots::<u64>(4);
        let lent = |indices| {
            let mut lent = Vec::new();
            // SAFETY: one thread.
            let flow = unsafe {
                slots.lend(indices, |index, &frame| {
                    lent.push((index, frame));
                    ControlFlow::Continue(())
                })
            };
            assert!(flow.is_continue());
            lent
        };
        // SAFETY: one thread, indices ascending.
        unsafe {
            (0..3).for_each(|index| assert!(slots.write(index, 5, None, 10 + index).is_none()));
            assert_eq!(lent(0..4), [(0, 10), (1, 11), (2, 12)]);
            assert_eq!(lent(1..2), [(1, 11)]);
            assert_eq!(lent(2..4), [(2, 12)]);
            slots.write(3, 6, None, 13);
            slots.write(4, 6, None, 14);
        }
        // Up to the last slot; the first one went on to the next lap.
        assert_eq!(lent(2..6), [(2, 12), (3, 13)]);
        assert_eq!(lent(0..2), []);
        assert_eq!(lent(4..6), [(4, 14)]);
    }
}
