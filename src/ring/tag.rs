//! Tags: 24 bits beside each slot by which a reader passes over frames that are not for it.
//!
//! A tag's word is `(index + 1) << 24 | tag`, of whose index 40 bits are kept, so it proves of which
//! index it is unless exactly a multiple of 2^40 indices went by with its place never written. The
//! words lie densely, eight to a cache line; skipping touches no slot. What the bits mean is the
//! ring's user's choice; by convention the lowest [`CLASS_BITS`] are a small number.

use crate::sync::{AtomicU64, Ordering};

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
    /// Whether the words of eight neighbours, the first of them `index`'s, say that none is wanted. `false`
    /// says nothing. Without a branch between them: a cache line at a time.
    #[inline(always)]
    pub(crate) fn passes_over(&self, words: &[AtomicU64; 8], index: u64) -> bool {
        const TAG: u64 = (1 << TAG_BITS) - 1;
        let wanted = (index + 1) << TAG_BITS | u64::from(self.value) & TAG;
        let mask = u64::from(self.mask) | !TAG;
        let mut all = 0;
        for (offset, word) in (0..).zip(words) {
            // Relaxed: see `Lane::tag`. Above the tag: 0 if the word is of this index. In the tag: not 0
            // if it is not wanted, and then one less stays below, too.
            let word = word.load(Ordering::Relaxed);
            let other = (word ^ wanted.wrapping_add(offset << TAG_BITS)) & mask;
            all |= other | other.wrapping_sub(1);
        }
        all <= TAG
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

    #[cfg(not(any(loom, shuttle)))]
    #[test]
    fn eight_are_passed_over_only_if_each_is_unwanted() {
        let filter = TagFilter {
            mask: 0xff_ff00,
            value: 0x12_3400,
            classes: 1 << 5,
        };
        for index in [0, 8, 1 << 39, (1 << 40) - 8] {
            let others = || std::array::from_fn(|at| pack(0x12_3500, index + at as u64));
            let passes = |words: [u64; 8]| filter.passes_over(&words.map(AtomicU64::new), index);
            assert!(passes(others()), "{index}");
            assert!(!passes([0; 8]));
            for at in 0..8 {
                let own = index + at as u64;
                let odd = [
                    0,
                    1,
                    1 << TAG_BITS,
                    u64::MAX,
                    pack(0x12_3405, own),
                    pack(0x12_3500, own + 8),
                ];
                for word in odd {
                    let mut words: [u64; 8] = others();
                    words[at] = word;
                    let unwanted = unpack(word, own).is_some_and(|tag| !filter.matches(tag));
                    assert!(unwanted || !passes(words), "{index} {at} {word:x}");
                }
            }
        }
    }

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
