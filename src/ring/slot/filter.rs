//! Tags: 24 bits in a frame's stamp by which a reader passes over frames that are not for it.
//!
//! Stamps lie densely, eight to a cache line; skipping touches nothing else. What the bits mean is
//! the ring's user's choice; by convention the lowest [`CLASS_BITS`] are a small number.

use super::stamp::{Stamp, TAG_BITS};
use crate::ring::hw;
use crate::sync::AtomicU64;

/// How many of them, from the lowest, [`TagFilter::classes`] selects on.
pub const CLASS_BITS: u32 = 7;

/// Which tags a subscription wants: those equal to `value` under `mask`, of a wanted class.
///
/// ```
/// use framebus::ring::TagFilter;
/// let filter = TagFilter { mask: 0xff_ff00, value: 0x12_3400, classes: 1 << 5 | 1 << 6 };
/// assert!(filter.matches(0x12_3405));
/// assert!(!filter.matches(0x12_3407) && !filter.matches(0x12_3505));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagFilter {
    /// The bits to compare.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
    /// The wanted values of the lowest [`CLASS_BITS`] bits, as a set.
    pub classes: u128,
}

impl TagFilter {
    /// How many stamps of neighbours, from the first on, say that their frames of this lap are
    /// there and not wanted: by eights, so that fewer than eight are not looked at.
    #[inline(always)]
    pub(crate) fn skips(&self, stamps: &[AtomicU64], generation: u64) -> usize {
        let (wanted, mask) = self.wanted(generation);
        hw::unwanted_eights::<TAG_BITS>(stamps, wanted, mask) * 8
    }

    /// The stamp of a wanted frame of this lap, but for its class, and which of its bits to
    /// compare.
    #[inline(always)]
    pub(super) fn wanted(&self, generation: u64) -> (u64, u64) {
        const TAG: u64 = (1 << TAG_BITS) - 1;
        (
            Stamp::done(generation, self.value).0,
            u64::from(self.mask) | !TAG,
        )
    }

    /// Whether a frame with this tag is wanted. Of the tag, the lowest [`TAG_BITS`] bits count, as
    /// in a [`Route`](super::Route).
    #[inline(always)]
    pub fn matches(&self, tag: u32) -> bool {
        let tag = tag & ((1 << TAG_BITS) - 1);
        tag & self.mask == self.value && self.classes >> (tag & ((1 << CLASS_BITS) - 1)) & 1 == 1
    }
}

#[cfg(all(test, not(any(loom, shuttle, miri, framebus_plain))))]
mod tests {
    use super::super::stamp::GENERATION_BITS;
    use super::*;
    use crate::ring::hw::{portable, unwanted_eights};

    #[repr(align(16))]
    struct Aligned([AtomicU64; 24]);

    /// What is passed over, by every way that there is.
    fn passed(words: [u64; 24], filter: &TagFilter, generation: u64) -> usize {
        let words = Aligned(words.map(AtomicU64::new));
        let (wanted, mask) = filter.wanted(generation);
        let passed = portable::<TAG_BITS>(&words.0, wanted, mask);
        assert_eq!(unwanted_eights::<TAG_BITS>(&words.0, wanted, mask), passed);
        passed
    }

    #[test]
    fn eight_are_passed_over_only_if_each_is_unwanted() {
        let filter = TagFilter {
            mask: 0xff_ff00,
            value: 0x12_3400,
            classes: 1 << 5,
        };
        for generation in [1, 8, (1 << GENERATION_BITS) - 2] {
            let other = Stamp::done(generation, 0x12_3500).0;
            assert_eq!(passed([other; 24], &filter, generation), 3, "{generation}");
            assert_eq!(passed([0; 24], &filter, generation), 0);
            for at in 0..24 {
                let mismatch = [
                    0,
                    1,
                    u64::MAX,
                    Stamp::abandoned(generation, true).0,
                    Stamp::done(generation, 0x12_3405).0,
                    Stamp::done(generation + 1, 0x12_3500).0,
                ];
                for word in mismatch {
                    let mut words = [other; 24];
                    words[at] = word;
                    let tag = Stamp(word).tag(generation);
                    let unwanted = tag.is_some_and(|tag| !filter.matches(tag));
                    let expected = if unwanted { 3 } else { at / 8 };
                    assert_eq!(
                        passed(words, &filter, generation),
                        expected,
                        "{generation} {at} {word:x}"
                    );
                }
            }
        }
        assert_eq!(unwanted_eights::<TAG_BITS>(&[], 0, 0), 0);
    }

    #[test]
    fn an_abandoned_slot_has_nothing_wanted() {
        let filter = TagFilter {
            mask: 0xff_ff00,
            value: 0,
            classes: 1 << 5,
        };
        let other = Stamp::done(2, 0x12_3500).0;
        for (mismatch, passes) in [
            (Stamp::abandoned(2, true), 3),
            (Stamp::abandoned(2, false), 3),
            (Stamp::abandoned(1, true), 1),
            (Stamp::abandoned(3, false), 1),
            (Stamp::done(2, 5), 1),
        ] {
            let mut words = [other; 24];
            words[9] = mismatch.0;
            assert_eq!(passed(words, &filter, 2), passes, "{mismatch:?}");
        }
    }
}
