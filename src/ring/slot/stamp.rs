//! Stamps: the public state of a slot in one word, eight words to a cache line.
//!
//! | bits | |
//! | --- | --- |
//! | 25 to 63 | the generation of the index that was finished last; 0 before the first use |
//! | 24 | set if that index has a frame here; clear if its owner abandoned it |
//! | 0 to 23 | with a frame, its tag; without, 1 if the slot still holds an older frame |
//!
//! A slot's stamp only moves to higher generations. There is no state for "being written": the
//! gates of the lane decide who may write (`lane/gate.rs`), and a slot whose stamp is not of the
//! generation in which it was last granted is unfinished. Since the tag is in the stamp, a reader
//! that filters passes over eight slots a cache line and looks at nothing else.
//!
//! Both ends of E1 are here: a stamp is stored with release, after the frame and its order, and
//! loaded with acquire, by readers before they read the frame and by openers before they grant the
//! slot again.

use crate::sync::{AtomicU64, Ordering};

/// How many bits a tag has.
pub const TAG_BITS: u32 = 24;

/// How many bits a stamp has for the generation.
pub(crate) const GENERATION_BITS: u32 = 64 - GENERATION_SHIFT;
const GENERATION_SHIFT: u32 = TAG_BITS + 1;
const DONE: u64 = 1 << TAG_BITS;
const TAG: u64 = DONE - 1;

/// What the word of a slot says. `generation` is, in all methods, that of the index that is meant:
/// how often its slot was opened by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(pub(super) u64);

impl Stamp {
    /// The frame of the index is here.
    #[inline(always)]
    pub(crate) fn done(generation: u64, tag: u32) -> Self {
        Stamp(generation << GENERATION_SHIFT | DONE | u64::from(tag) & TAG)
    }

    /// The index was abandoned. `holds_frame` says if an older frame is still in the slot.
    pub(crate) fn abandoned(generation: u64, holds_frame: bool) -> Self {
        Stamp(generation << GENERATION_SHIFT | u64::from(holds_frame))
    }

    /// Loads the stamp of a slot. The caller sees all that its owner wrote.
    #[inline(always)]
    pub(super) fn load(word: &AtomicU64) -> Self {
        // E1: acquire.
        Stamp(word.load(Ordering::Acquire))
    }

    /// Loads the stamp of a slot that the caller owns, or has alone.
    #[inline(always)]
    pub(super) fn load_own(word: &AtomicU64) -> Self {
        // Relaxed: the previous owner's store happens before this owner's grant (S1); E2 carries
        // it.
        Stamp(word.load(Ordering::Relaxed))
    }

    /// Finishes a slot. The caller owns it.
    #[inline(always)]
    pub(super) fn store(self, word: &AtomicU64) {
        // E1: release. A reader that acquires this stamp sees the frame and its order. The next
        // owner's accesses happen after all that was done to the frame before.
        word.store(self.0, Ordering::Release);
    }

    /// Returns the generation that was finished last, counting those in between in which the slot
    /// was void; 0 for a slot that was never used.
    #[inline(always)]
    pub(crate) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// The bits in which this differs from the stamp of a frame of this generation with tag 0.
    #[inline(always)]
    pub(crate) fn mismatch(self, generation: u64) -> Mismatch {
        Mismatch(self.0 ^ Stamp::done(generation, 0).0)
    }

    /// The tag of the frame of this generation, if it is here.
    #[inline(always)]
    pub(crate) fn tag(self, generation: u64) -> Option<u32> {
        let mismatch = self.mismatch(generation);
        mismatch.is_tag_only().then_some(mismatch.0 as u32)
    }

    /// Whether the frame of this generation is here.
    #[inline(always)]
    pub(crate) fn is_done(self, generation: u64) -> bool {
        self.mismatch(generation).is_tag_only()
    }

    /// Whether there is a frame in the slot, of whatever generation.
    #[inline(always)]
    pub(crate) fn holds_frame(self) -> bool {
        self.0 & DONE != 0 || self.0 & TAG != 0
    }
}

/// The bits in which stamps differ from those of frames of one generation, of all stamps together.
#[derive(Clone, Copy)]
pub(crate) struct Mismatch(u64);

impl Mismatch {
    /// The mismatch of all these slots' stamps. Takes no branch for each.
    #[inline(always)]
    pub(super) fn of(words: &[AtomicU64], generation: u64) -> Self {
        let mismatch = |word: &AtomicU64| Stamp::load(word).mismatch(generation).0;
        Mismatch(words.iter().fold(0, |all, word| all | mismatch(word)))
    }

    /// The bits of both.
    #[inline(always)]
    pub(super) fn and(self, other: Mismatch) -> Self {
        Mismatch(self.0 | other.0)
    }

    /// Whether the frame of the generation is in each slot.
    #[inline(always)]
    pub(crate) fn is_tag_only(self) -> bool {
        self.0 <= TAG
    }

    /// Whether each slot was finished last in the generation, with a frame or without.
    #[inline(always)]
    pub(super) fn is_finished(self) -> bool {
        self.0 >> GENERATION_SHIFT == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_names_its_generation_its_tag_and_what_is_here() {
        for generation in [1, 2, 1 << 20, (1 << GENERATION_BITS) - 1] {
            let done = Stamp::done(generation, 0xffab_cdef);
            assert_eq!(
                (done.generation(), done.tag(generation)),
                (generation, Some(0xab_cdef))
            );
            assert!(
                done.is_done(generation) && !done.is_done(generation - 1) && done.holds_frame()
            );
            for holds_frame in [false, true] {
                let abandoned = Stamp::abandoned(generation, holds_frame);
                assert_eq!(
                    (abandoned.generation(), abandoned.tag(generation)),
                    (generation, None)
                );
                assert_eq!(abandoned.holds_frame(), holds_frame);
            }
        }
        assert!(!Stamp(0).holds_frame() && !Stamp(0).is_done(1));
    }
}
