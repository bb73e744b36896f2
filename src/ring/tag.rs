//! Tags: 24 bits in a frame's stamp by which a reader passes over frames that are not for it.
//!
//! Stamps lie densely, eight to a cache line; skipping touches nothing else. What the bits mean is
//! the ring's user's choice; by convention the lowest [`CLASS_BITS`] are a small number.

use super::scan;
use super::stamp::Stamp;
use crate::sync::AtomicU64;

/// How many bits a tag has.
pub const TAG_BITS: u32 = 24;

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
    pub(crate) fn passes_over(&self, stamps: &[AtomicU64], laps: u64) -> usize {
        let (wanted, mask) = self.wanted(laps);
        scan::unwanted_eights(stamps, wanted, mask) * 8
    }

    /// The stamp of a wanted frame of this lap, but for its class, and which of its bits to
    /// compare.
    #[inline(always)]
    pub(super) fn wanted(&self, laps: u64) -> (u64, u64) {
        const TAG: u64 = (1 << TAG_BITS) - 1;
        (Stamp::done(laps, self.value).0, u64::from(self.mask) | !TAG)
    }

    /// Whether a frame with this tag is wanted. Of the tag, the lowest [`TAG_BITS`] bits count, as
    /// in a [`Route`](super::Route).
    #[inline(always)]
    pub fn matches(&self, tag: u32) -> bool {
        let tag = tag & ((1 << TAG_BITS) - 1);
        tag & self.mask == self.value && self.classes >> (tag & ((1 << CLASS_BITS) - 1)) & 1 == 1
    }
}
