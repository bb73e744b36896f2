//! Filters on tags: the 24 bits of a frame's stamp by which a reader skips what it does not want.
//!
//! Eight stamps lie in a cache line, and skipping touches nothing else of a frame. The user of the
//! ring chooses what the bits mean. The lowest [`CLASS_BITS`] bits are a number, the class, and a
//! filter selects any set of classes.

use super::stamp::{Stamp, TAG_BITS};
use crate::ring::hw;
use crate::sync::AtomicU64;

/// How many bits of a tag, from the lowest on, are its class: see [`TagFilter::classes`].
pub const CLASS_BITS: u32 = 7;

/// Which tags a subscription wants: those that equal `value` under `mask` and have a wanted class.
///
/// ```text
/// tag & mask == value  &&  classes has the bit `tag % 128`
/// ```
///
/// Tags outside the filter are skipped, eight stamps at a time where all eight are unwanted under
/// `mask`. So a filter on `mask` and `value` is faster than one on `classes` alone.
///
/// ```
/// use framebus::ring::TagFilter;
/// let filter = TagFilter { mask: 0xff_ff00, value: 0x12_3400, classes: 1 << 5 | 1 << 6 };
/// assert!(filter.matches(0x12_3405));
/// assert!(!filter.matches(0x12_3407) && !filter.matches(0x12_3505));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagFilter {
    /// The bits that are compared with `value`; 0 if none is. Only the lowest
    /// [`TAG_BITS`](super::TAG_BITS) bits of a tag exist.
    pub mask: u32,
    /// What these bits must be. If it has a bit outside `mask`, no tag matches.
    pub value: u32,
    /// The wanted classes: bit `n` is set if class `n` is wanted. `u128::MAX` wants all.
    pub classes: u128,
}

impl TagFilter {
    /// Returns how many stamps of neighbours, from the first on, say that their slot has nothing
    /// wanted of this generation. Looks at eight at a time: the result is a multiple of eight.
    #[inline(always)]
    pub(crate) fn skips(&self, stamps: &[AtomicU64], generation: u64) -> usize {
        let (wanted, mask) = self.wanted(generation);
        hw::unwanted_eights::<TAG_BITS>(stamps, wanted, mask) * 8
    }

    /// The stamp that a wanted frame of this generation has, but for its class, and the bits in
    /// which it has to have it.
    #[inline(always)]
    pub(super) fn wanted(&self, generation: u64) -> (u64, u64) {
        const TAG: u64 = (1 << TAG_BITS) - 1;
        (
            Stamp::done(generation, self.value).0,
            u64::from(self.mask) | !TAG,
        )
    }

    /// Returns whether a frame with this tag is wanted. Only the lowest [`TAG_BITS`] bits of the
    /// tag count, as in a [`Route`](crate::ring::Route).
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

    /// How many eights are passed over; the same in each implementation.
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
