//! Tags: 24 bits beside each slot by which a reader passes over frames that are not for it.
//!
//! A tag's word is `(index + 1) << 24 | tag`, of whose index 40 bits are kept, so it proves of which
//! index it is unless exactly a multiple of 2^40 indices went by with its place never written. The
//! words lie densely, eight to a cache line; skipping touches no slot. What the bits mean is the
//! ring's user's choice; by convention the lowest [`CLASS_BITS`] are a small number.

use super::scan;
use crate::sync::AtomicU64;

/// How many bits a tag has.
pub const TAG_BITS: u32 = 24;

/// How many of them, from the lowest, [`TagFilter::classes`] selects on.
pub const CLASS_BITS: u32 = 7;

#[inline(always)]
pub(crate) fn pack(tag: u32, index: u64) -> u64 {
    (index + 1) << TAG_BITS | u64::from(tag) & ((1 << TAG_BITS) - 1)
}

#[inline(always)]
pub(crate) fn unpack(word: u64, index: u64) -> Option<u32> {
    let found = word ^ ((index + 1) << TAG_BITS);
    (found < 1 << TAG_BITS).then_some(found as u32)
}

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
    /// How many words of neighbours, from the first on, which is `index`'s, say that none of them is wanted:
    /// by eights, so that fewer than eight are not looked at.
    #[inline(always)]
    pub(crate) fn passes_over(&self, words: &[AtomicU64], index: u64) -> usize {
        let (wanted, mask) = self.wanted(index);
        scan::unwanted_eights(words, wanted, mask) * 8
    }

    /// The word of a wanted frame of this index, but for its class, and which of its bits to compare.
    #[inline(always)]
    pub(super) fn wanted(&self, index: u64) -> (u64, u64) {
        const TAG: u64 = (1 << TAG_BITS) - 1;
        let wanted = (index + 1) << TAG_BITS | u64::from(self.value) & TAG;
        (wanted, u64::from(self.mask) | !TAG)
    }

    /// Whether a frame with this tag is wanted.
    #[inline(always)]
    pub fn matches(&self, tag: u32) -> bool {
        tag & self.mask == self.value && self.classes >> (tag & ((1 << CLASS_BITS) - 1)) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_its_index() {
        for index in [0, 1, 7, 1 << 39, (1 << 40) - 1, 1 << 40] {
            let word = pack(0xabcdef, index);
            assert_eq!(unpack(word, index), Some(0xabcdef), "{index}");
            assert_eq!(unpack(word, index + 1), None);
            assert_eq!(unpack(word, index + 65_536), None);
        }
        assert_eq!(unpack(0, 0), None);
    }
}
