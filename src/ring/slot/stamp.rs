//! A stamp: a place's whole public state in one word, eight words to a cache line.
//!
//! | bits | |
//! | --- | --- |
//! | 25 to 63 | one above the lap whose index was finished last; 0 before the first use |
//! | 24 | whether that index has a frame here; else its owner left without one |
//! | 0 to 23 | the frame's tag; of an index that was left, whether an older frame is still in the place |
//!
//! It only ever moves to higher laps. There is no state for "being written": who may write is
//! decided by the lane's gates (see `lane.rs`), and a place whose stamp is not of its last granted
//! lap is unfinished. Since the tag is in the stamp, a reader that is not interested passes over
//! eight places a cache line and looks at nothing else.

/// How many bits a tag has.
pub const TAG_BITS: u32 = 24;

/// The laps that a stamp can name.
pub(crate) const GENERATION_BITS: u32 = 64 - GENERATION_SHIFT;
const GENERATION_SHIFT: u32 = TAG_BITS + 1;
const DONE: u64 = 1 << TAG_BITS;
const TAG: u64 = DONE - 1;

/// See the module. `laps` is one above the lap of the index that is meant: how often its place was
/// opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(pub(super) u64);

impl Stamp {
    /// The frame of the index is here.
    #[inline(always)]
    pub(crate) fn done(generation: u64, tag: u32) -> Self {
        Stamp(generation << GENERATION_SHIFT | DONE | u64::from(tag) & TAG)
    }

    /// The index was left; its place holds an older frame or none.
    pub(crate) fn abandoned(generation: u64, holds_frame: bool) -> Self {
        Stamp(generation << GENERATION_SHIFT | u64::from(holds_frame))
    }

    /// How often the place was finished, counting places that were void in between; 0 for one never
    /// used.
    #[inline(always)]
    pub(crate) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// The bits in which this differs from a frame of this lap, and below them the tag.
    #[inline(always)]
    pub(crate) fn mismatch(self, generation: u64) -> Stamp {
        Stamp(self.0 ^ Stamp::done(generation, 0).0)
    }

    /// Of [odd](Self::odd) bits, one stamp's or several's: whether each was of a frame of that lap.
    #[inline(always)]
    pub(crate) fn is_tag_only(self) -> bool {
        self.0 <= TAG
    }

    /// The tag of the frame of this lap, if it is here.
    #[inline(always)]
    pub(crate) fn tag(self, generation: u64) -> Option<u32> {
        let mismatch = self.mismatch(generation);
        mismatch.is_tag_only().then_some(mismatch.0 as u32)
    }

    /// Whether the frame of this lap is here.
    #[inline(always)]
    pub(crate) fn is_done(self, generation: u64) -> bool {
        self.mismatch(generation).is_tag_only()
    }

    /// Whether there is a frame in the place, of whatever lap.
    #[inline(always)]
    pub(crate) fn holds_frame(self) -> bool {
        self.0 & DONE != 0 || self.0 & TAG != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_names_its_lap_its_tag_and_what_is_here() {
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
                let left = Stamp::abandoned(generation, holds_frame);
                assert_eq!(
                    (left.generation(), left.tag(generation)),
                    (generation, None)
                );
                assert_eq!(left.holds_frame(), holds_frame);
            }
        }
        assert!(!Stamp(0).holds_frame() && !Stamp(0).is_done(1));
    }
}
