//! The slots of a lane: for each place a [stamp](super::stamp), the number and, inline, the frame.
//!
//! Each of the three is an array of its own. Stamps are what readers look at, and what those pass
//! over who want something else; numbers are written only in lanes whose indices are not numbers
//! themselves; a frame takes its own size and no more. A publish of a word touches a quarter of a
//! cache line, or three eighths. A fourth array is hardly ever touched: fences that lie further
//! than right behind their frame.
//!
//! Invariants, kept by the lane, on which this file's `unsafe` rests:
//! - **S1 one owner**: between the grant of an index and the stamp of that index, exactly one
//!   thread (the claimer) calls `write` or `leave` for this slot, and the grant happens after the
//!   previous owner's stamp.
//! - **S2 no reader under a writer**: `write` runs only when no pin covers the slot's earlier
//!   index, and happens after the end of every read under an earlier pin.
//! - **S3 reads are of finished frames**: `read`, `numbered` and `lend` are called for index `i`
//!   only under a pin that covers `i`; the first two after an acquire load of a stamp that says
//!   that it is done.

use super::array::{Array, Cell, cells, words};
use super::filter::TagFilter;
use super::geometry::Geometry;
use super::stamp::Stamp;
use crate::foreign::contained;
use crate::ring::hw;
use crate::ring::sequence::MAX_SEQUENCE;
use crate::sync::{AtomicU64, Ordering};
use std::ops::{ControlFlow, Range};

/// How many places are looked at together, at most.
const BLOCK: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

/// How many stamps lie in a cache line.
const WORDS_A_LINE: u64 = 8;

/// How many bytes of each array are fetched ahead at once, at most.
const MOST_FETCHED: usize = 1_024;

/// A frame's place in the global order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// The global sequence number.
    pub(crate) sequence: u64,
    /// Every frame of this lane with a smaller number has an index below this one.
    pub(crate) bound: u64,
}

/// Marks the number of a frame whose fence is not right behind it.
const BOUNDED: u64 = 1 << 63;
const _: () = assert!(MAX_SEQUENCE < BOUNDED);

/// See the module.
pub(crate) struct Slots<T> {
    /// As many as there are numbers and frames: a power of two, at least 1.
    stamps: Array<AtomicU64>,
    /// Sequence numbers, marked if there is a fence.
    sequences: Array<Cell<u64>>,
    bounds: Array<Cell<u64>>,
    frames: Array<Cell<T>>,
    geometry: Geometry,
}

// SAFETY: a slot hands `&T` to several threads at once (readers under pins) and moves `T` between
// threads (publisher to a later publisher that drops it), hence both bounds; S1 to S3 order the
// accesses themselves.
unsafe impl<T: Send + Sync> Sync for Slots<T> {}
// SAFETY: slots own their frames.
unsafe impl<T: Send> Send for Slots<T> {}

impl<T> Slots<T> {
    /// As many as the geometry has places, never used. On real threads the memory comes from the
    /// system and a page costs nothing until it is used.
    pub(crate) fn new(geometry: Geometry) -> Self {
        let slots = geometry.slots();
        assert!(slots.is_power_of_two());
        Slots {
            stamps: words(slots),
            sequences: cells(slots, 8),
            bounds: cells(slots, 16),
            frames: cells(slots, 24),
            geometry,
        }
    }

    /// What `array` has at `index`'s place.
    #[inline(always)]
    fn at<'a, C>(&self, array: &'a [C], index: u64) -> &'a C {
        let slot = self.geometry.slot(index);
        debug_assert!(slot < array.len());
        // SAFETY: `place` is below the geometry's places, a power of two, and each array of this
        // has as many.
        unsafe { array.get_unchecked(slot) }
    }

    /// The stamp of `index`'s place. Pairs with the release stores in `write` and `leave`.
    #[inline(always)]
    pub(crate) fn stamp(&self, index: u64) -> Stamp {
        Stamp(self.at(&self.stamps, index).load(Ordering::Acquire))
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

    /// The tag of `index`'s frame, if it is there.
    #[inline(always)]
    pub(crate) fn tag(&self, index: u64) -> Option<u32> {
        self.stamp(index).tag(self.geometry.generation(index))
    }

    /// Whether each of these places was finished for the last time in the same lap.
    #[inline(always)]
    pub(crate) fn all_finished(&self, slots: Range<usize>, generation: u64) -> bool {
        let (blocks, rest) = self.stamps[slots].as_chunks::<BLOCK>();
        let all = |all: u64, block: &[AtomicU64; BLOCK]| all | mismatch(block, generation).0;
        Stamp(blocks.iter().fold(mismatch(rest, generation).0, all)).generation() == 0
    }

    /// Begins to fetch these places, to be written soon; their numbers only if they are written
    /// too.
    #[inline(always)]
    pub(crate) fn prefetch_for_write(&self, slots: Range<usize>, sequences: bool) {
        hw::prefetch_for_write(&self.stamps[slots.clone()], MOST_FETCHED);
        hw::prefetch_for_write(&self.frames[slots.clone()], MOST_FETCHED);
        if sequences {
            hw::prefetch_for_write(&self.sequences[slots], MOST_FETCHED);
        }
    }

    /// Takes over the lines of these indices, up to the last place; their numbers' only if they
    /// have some. The line of the first one whole, that of the last one not at all if it has places
    /// behind it.
    pub(crate) fn acquire_lines(&self, indices: Range<u64>, sequences: bool) {
        const MASK: u64 = !(WORDS_A_LINE - 1);
        let (slots, _) = self.slots(&(indices.start & MASK..indices.end & MASK));
        hw::acquire_lines(&self.stamps[slots.clone()]);
        hw::acquire_lines(&self.frames[slots.clone()]);
        if sequences {
            hw::acquire_lines(&self.sequences[slots]);
        }
    }

    /// Begins to fetch the frame of `index`, to be read soon.
    #[inline(always)]
    pub(crate) fn prefetch_frame(&self, index: u64) {
        hw::prefetch(self.at(&self.frames, index));
    }

    /// Puts the frame of `index` into its slot and makes it readable, with its number if there is
    /// one. Returns the frame that was there, if it needs dropping: by the caller, when it is out
    /// of the critical section.
    ///
    /// # Safety
    /// The caller was granted `index` and has neither written nor left it (S1, S2).
    #[inline(always)]
    pub(crate) unsafe fn write(
        &self,
        index: u64,
        tag: u32,
        order: Option<Order>,
        frame: T,
    ) -> Option<T> {
        let slot = Slot {
            stamp: self.at(&self.stamps, index),
            number: self.at(&self.sequences, index),
            bound: self.at(&self.bounds, index),
            frame: self.at(&self.frames, index),
        };
        let done = Stamp::done(self.geometry.generation(index), tag);
        // SAFETY: by the caller.
        unsafe { slot.write(index, done, order, frame) }
    }

    /// The first of `indices`, as far as they are [written](Self::write_block) as one block.
    #[inline(always)]
    pub(crate) fn block(&self, indices: &Range<u64>) -> Range<u64> {
        let most = BLOCK.min(self.geometry.slots() - self.geometry.slot(indices.start));
        indices.start..indices.end.min(indices.start + most as u64)
    }

    /// [Writes](Self::write) the numbers and frames that `make` gives for a [block](Self::block),
    /// then its stamps with the tags that `tag` gives: so `make` is called in a loop without
    /// atomics. Hands what it replaced to `replaced`. All indices are finished then; if one of
    /// these panics, those that are not readable yet are left.
    ///
    /// # Safety
    /// As for [`write`](Self::write), for each of `block`.
    #[inline(always)]
    pub(crate) unsafe fn write_block(
        &self,
        block: Range<u64>,
        mut tag: impl FnMut() -> u32,
        mut make: impl FnMut(u64) -> (Option<Order>, T),
        mut replaced: impl FnMut(Option<T>),
    ) {
        let (slots, generation) = self.slots(&block);
        let cells = self.sequences[slots.clone()].iter();
        let cells = cells.zip(&self.bounds[slots.clone()]);
        let cells = cells.zip(&self.frames[slots.clone()]);
        let mut written = Written {
            stamps: &self.stamps[slots],
            generation,
            frames: 0,
            stamped: 0,
        };
        let slots = written.stamps.iter().zip(cells);
        for (index, (stamp, ((number, bound), frame))) in (block.start..).zip(slots) {
            let (order, new) = make(index);
            let slot = Slot {
                stamp,
                number,
                bound,
                frame,
            };
            // SAFETY: by the caller.
            let old = unsafe { slot.put(index, order, new) };
            written.frames += 1;
            replaced(old);
        }
        for stamp in written.stamps {
            let done = Stamp::done(generation, tag());
            // Release: as in `Slot::write`.
            stamp.store(done.0, Ordering::Release);
            written.stamped += 1;
        }
    }

    /// The places of `indices`, up to the last place, and the laps that they have there.
    #[inline(always)]
    fn slots(&self, indices: &Range<u64>) -> (Range<usize>, u64) {
        let first = self.geometry.slot(indices.start);
        let count = indices.end.saturating_sub(indices.start) as usize;
        let last = self.geometry.slots().min(first + count);
        (first..last, self.geometry.generation(indices.start))
    }

    /// Gives the slot up without a frame: readers pass over `index`, a later claim may have it.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    pub(crate) unsafe fn abandon(&self, index: u64) {
        let stamp = self.at(&self.stamps, index);
        abandon(stamp, self.geometry.generation(index), false);
    }

    /// The place in the order of `index`'s frame.
    ///
    /// # Safety
    /// S3 holds for `index`, and it was written with a number.
    #[inline(always)]
    pub(crate) unsafe fn order(&self, index: u64) -> Order {
        // SAFETY: S3: the number is initialised, so is the fence if it says so, and no writer is
        // there until the pin goes.
        let read = |cell: &Cell<u64>| cell.with(|cell| unsafe { (*cell).assume_init() });
        let number = read(self.at(&self.sequences, index));
        Order {
            sequence: number & !BOUNDED,
            bound: match number & BOUNDED {
                0 => index + 1,
                _ => read(self.at(&self.bounds, index)),
            },
        }
    }

    /// Lends `index`'s frame to `f`.
    ///
    /// # Safety
    /// S3 holds for `index`, until `f` returns.
    #[inline(always)]
    pub(crate) unsafe fn read<R>(&self, index: u64, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: S3: the frame is initialised and no writer is there until the pin goes.
        self.at(&self.frames, index)
            .with(|cell| f(unsafe { (*cell).assume_init_ref() }))
    }

    /// Lends the frames of `indices` to `f`, with their index, up to the first that is not done,
    /// that `f` is done with, or that is in the last place. Looks at a few stamps before it lends
    /// the first of their frames: so `f` is called in a loop without atomics, and what it counts
    /// stays in registers.
    ///
    /// # Safety
    /// S3 holds for `indices`, until this returns.
    #[inline(always)]
    pub(crate) unsafe fn lend(
        &self,
        indices: Range<u64>,
        mut f: impl FnMut(u64, &T) -> ControlFlow<()>,
    ) {
        let (slots, generation) = self.slots(&indices);
        let stamps = self.stamps[slots.clone()].chunks(BLOCK);
        let blocks = stamps.zip(self.frames[slots].chunks(BLOCK));
        let mut index = indices.start;
        for (stamps, frames) in blocks {
            let done = done(stamps, generation);
            for frame in &frames[..done] {
                // SAFETY: as in `read`; the stamp was just acquired.
                let flow = frame.with(|cell| f(index, unsafe { (*cell).assume_init_ref() }));
                if flow.is_break() {
                    return;
                }
                index += 1;
            }
            if done < stamps.len() {
                return;
            }
        }
    }
}

/// The bits in which any of these places' stamps is odd in this lap. Without a branch for each.
#[inline(always)]
fn mismatch(stamps: &[AtomicU64], generation: u64) -> Stamp {
    // Acquire: PAIR: the release in `write`.
    let mismatch = |word: &AtomicU64| Stamp(word.load(Ordering::Acquire)).mismatch(generation).0;
    Stamp(stamps.iter().fold(0, |all, word| all | mismatch(word)))
}

/// How many of these places, from the first on, have the frames of this lap; no more than
/// [`BLOCK`].
#[inline(always)]
fn done(stamps: &[AtomicU64], generation: u64) -> usize {
    // Most often all.
    match <&[AtomicU64; BLOCK]>::try_from(stamps) {
        Ok(block) if mismatch(block, generation).is_tag_only() => BLOCK,
        _ => stamps
            .iter()
            .take_while(|&word| mismatch(std::slice::from_ref(word), generation).is_tag_only())
            .count(),
    }
}

/// How far a block is written. If somebody's code panics, the places without a stamp are left.
struct Written<'a> {
    stamps: &'a [AtomicU64],
    generation: u64,
    frames: usize,
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

/// Stamps a place as left. It holds a frame if a new one was put there, or there was one before.
fn abandon(stamp: &AtomicU64, generation: u64, put: bool) {
    // Relaxed: as in `Slot::put`.
    let holds_frame = put || Stamp(stamp.load(Ordering::Relaxed)).holds_frame();
    // Release: the next owner's accesses happen after everything done to the frame before.
    stamp.store(
        Stamp::abandoned(generation, holds_frame).0,
        Ordering::Release,
    );
}

/// A place.
struct Slot<'a, T> {
    stamp: &'a AtomicU64,
    number: &'a Cell<u64>,
    bound: &'a Cell<u64>,
    frame: &'a Cell<T>,
}

impl<T> Slot<'_, T> {
    /// See [`Slots::write`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn write(self, index: u64, done: Stamp, order: Option<Order>, frame: T) -> Option<T> {
        // SAFETY: by the caller.
        let old = unsafe { self.put(index, order, frame) };
        // Release: whoever acquires this stamp sees frame and number. PAIR: `stamp`, `odd`.
        self.stamp.store(done.0, Ordering::Release);
        old
    }

    /// The same without the stamp.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn put(&self, index: u64, order: Option<Order>, frame: T) -> Option<T> {
        // Relaxed: the stamp was last stored by the previous owner, whose store happens before
        // this owner's grant (S1).
        let holds_frame = || Stamp(self.stamp.load(Ordering::Relaxed)).holds_frame();
        let old = self.frame.with_mut(|cell| {
            // SAFETY: S1 and S2: nobody else reads or writes the frame now. It is initialised if
            // the stamp says so, since each initialising write stored such a stamp.
            unsafe {
                let dropped = std::mem::needs_drop::<T>() && holds_frame();
                let old = dropped.then(|| (*cell).assume_init_read());
                (*cell).write(frame);
                old
            }
        });
        if let Some(Order { sequence, bound }) = order {
            let bounded = if bound > index + 1 { BOUNDED } else { 0 };
            let put = |cell: &Cell<u64>, word| {
                cell.with_mut(|cell| {
                    // SAFETY: as for the frame.
                    unsafe { (*cell).write(word) };
                });
            };
            put(self.number, sequence | bounded);
            if bounded != 0 {
                put(self.bound, bound);
            }
        }
        old
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<T>() {
            return;
        }
        for (stamp, frame) in self.stamps.iter().zip(self.frames.iter()) {
            // Relaxed: `&mut self` is alone, and its existence happens after every other access.
            if Stamp(stamp.load(Ordering::Relaxed)).holds_frame() {
                // One that panics keeps no other from being dropped.
                // SAFETY: the stamp says that the frame is initialised, and `&mut self` is alone.
                frame.with_mut(|cell| contained(|| unsafe { (*cell).assume_init_drop() }));
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn order(sequence: u64) -> Option<Order> {
        Some(Order {
            sequence,
            bound: sequence,
        })
    }

    #[test]
    fn holds_returns_and_drops_frames() {
        let frame = Arc::new(());
        let slots = Slots::<Arc<()>>::new(Geometry::exact(2, 1, 0, 1));
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
    fn lines_are_taken_over_as_they_are() {
        fn kept<T: Clone + PartialEq + std::fmt::Debug>(frames: [T; 16]) {
            let slots = Slots::<T>::new(Geometry::exact(16, 1, 0, 1));
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
        let slots = Slots::<u64>::new(Geometry::exact(4, 1, 0, 1));
        let lent = |indices| {
            let mut lent = Vec::new();
            // SAFETY: one thread.
            unsafe {
                slots.lend(indices, |index, &frame| {
                    lent.push((index, frame));
                    ControlFlow::Continue(())
                });
            }
            lent
        };
        // SAFETY: one thread, indices ascending.
        unsafe {
            (0..3).for_each(|index| assert!(slots.write(index, 5, None, 10 + index).is_none()));
            assert_eq!(lent(0..4), [(0, 10), (1, 11), (2, 12)]);
            assert_eq!(lent(1..2), [(1, 11)]);
            slots.write(3, 6, None, 13);
            slots.write(4, 6, None, 14);
        }
        // Up to the last place; the first one went on to the next lap.
        assert_eq!(lent(2..6), [(2, 12), (3, 13)]);
        assert_eq!(lent(0..2), []);
        assert_eq!(lent(4..6), [(4, 14)]);
    }
}
