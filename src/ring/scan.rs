//! Passing over stamps by their tags: eight words, a cache line, are looked at without a branch
//! between them.
//!
//! With AVX two words at a time. Rust has no wide atomic loads, but inline assembly may do whatever
//! Rust code could: here each load of 16 bytes is two relaxed loads of neighbouring words.
//! Processors with AVX promise it: they load 16 aligned bytes in one piece (Intel SDM 3A 9.1.1,
//! AMD64 APM 2 7.3.2).

use super::tag::TAG_BITS;
use crate::sync::{AtomicU64, Ordering};

/// How many eights of neighbouring words, from the first on, say that none of their frames is
/// wanted. Places that were left may count as such. `wanted` is the word of a wanted frame, `mask`
/// what of it to compare: the tag's bits, and above them all.
#[inline]
pub(super) fn unwanted_eights(words: &[AtomicU64], wanted: u64, mask: u64) -> usize {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
    if wide::can_scan(words) {
        // SAFETY: just asked.
        return unsafe { wide::unwanted_eights(words, wanted, mask) };
    }
    one_by_one(words, wanted, mask)
}

fn one_by_one(words: &[AtomicU64], wanted: u64, mask: u64) -> usize {
    let unwanted = |words: &&[AtomicU64; 8]| {
        let mut all = 0;
        for word in *words {
            // Relaxed: nothing is read on account of a frame that is passed over. Above the tag: 0
            // if the frame is there. In the tag: not 0 if it is not wanted. Less one, it stays
            // below then and only then; or if only the lowest bit above differs, and then the place
            // was left in this lap, without a frame.
            let other = (word.load(Ordering::Relaxed) ^ wanted) & mask;
            all |= other.wrapping_sub(1);
        }
        all < 1 << TAG_BITS
    };
    words.as_chunks().0.iter().take_while(unwanted).count()
}

#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
mod wide {
    use super::{AtomicU64, TAG_BITS};
    use std::arch::asm;
    use std::arch::x86_64::{__m128i, _mm_set1_epi64x};

    #[inline]
    pub(super) fn can_scan(words: &[AtomicU64]) -> bool {
        words.as_ptr().cast::<__m128i>().is_aligned() && std::arch::is_x86_feature_detected!("avx")
    }

    /// # Safety
    /// These words [can be scanned](can_scan).
    #[inline]
    pub(super) unsafe fn unwanted_eights(words: &[AtomicU64], wanted: u64, mask: u64) -> usize {
        let eights = words.len() / 8;
        if eights == 0 {
            return 0;
        }
        // SAFETY: these need SSE2, which every x86_64 has.
        let [wanted, mask, below, high] = [wanted, mask, u64::MAX, !((1 << TAG_BITS) - 1)]
            .map(|word| unsafe { _mm_set1_epi64x(word as i64) });
        let mut left = eights;
        // SAFETY: AVX is there, by the caller. It loads only from the first `eights` eights of
        // `words`, which are aligned for this, each word as by a relaxed load; it stores nothing.
        unsafe {
            asm!(
                "2:",
                // In each half, what `one_by_one` does: what differs, less one.
                "vpxor {x}, {wanted}, [{at}]",
                "vpxor {y}, {wanted}, [{at} + 16]",
                "vpxor {z}, {wanted}, [{at} + 32]",
                "vpxor {w}, {wanted}, [{at} + 48]",
                "vpand {x}, {x}, {mask}",
                "vpand {y}, {y}, {mask}",
                "vpand {z}, {z}, {mask}",
                "vpand {w}, {w}, {mask}",
                "vpaddq {x}, {x}, {below}",
                "vpaddq {y}, {y}, {below}",
                "vpaddq {z}, {z}, {below}",
                "vpaddq {w}, {w}, {below}",
                "vpor {x}, {x}, {y}",
                "vpor {z}, {z}, {w}",
                "vpor {x}, {x}, {z}",
                "vptest {x}, {high}",
                "jnz 3f",
                "add {at}, 64",
                "dec {left}",
                "jnz 2b",
                "3:",
                at = inout(reg) words.as_ptr() => _,
                left = inout(reg) left,
                x = out(xmm_reg) _,
                y = out(xmm_reg) _,
                z = out(xmm_reg) _,
                w = out(xmm_reg) _,
                wanted = in(xmm_reg) wanted,
                mask = in(xmm_reg) mask,
                below = in(xmm_reg) below,
                high = in(xmm_reg) high,
                options(nostack, readonly),
            );
        }
        eights - left
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::super::stamp::{LAP_BITS, Stamp};
    use super::super::tag::TagFilter;
    use super::*;

    #[repr(align(16))]
    struct Aligned([AtomicU64; 24]);

    /// What is passed over, by every way that there is.
    fn passed(words: [u64; 24], filter: &TagFilter, laps: u64) -> usize {
        let words = Aligned(words.map(AtomicU64::new));
        let (wanted, mask) = filter.wanted(laps);
        let passed = one_by_one(&words.0, wanted, mask);
        assert_eq!(unwanted_eights(&words.0, wanted, mask), passed);
        passed
    }

    #[test]
    fn eight_are_passed_over_only_if_each_is_unwanted() {
        let filter = TagFilter {
            mask: 0xff_ff00,
            value: 0x12_3400,
            classes: 1 << 5,
        };
        for laps in [1, 8, (1 << LAP_BITS) - 2] {
            let other = Stamp::done(laps, 0x12_3500).0;
            assert_eq!(passed([other; 24], &filter, laps), 3, "{laps}");
            assert_eq!(passed([0; 24], &filter, laps), 0);
            for at in 0..24 {
                let odd = [
                    0,
                    1,
                    u64::MAX,
                    Stamp::left(laps, true).0,
                    Stamp::done(laps, 0x12_3405).0,
                    Stamp::done(laps + 1, 0x12_3500).0,
                ];
                for word in odd {
                    let mut words = [other; 24];
                    words[at] = word;
                    let tag = Stamp(word).tag(laps);
                    let unwanted = tag.is_some_and(|tag| !filter.matches(tag));
                    let expected = if unwanted { 3 } else { at / 8 };
                    assert_eq!(
                        passed(words, &filter, laps),
                        expected,
                        "{laps} {at} {word:x}"
                    );
                }
            }
        }
        assert_eq!(unwanted_eights(&[], 0, 0), 0);
    }

    #[test]
    fn a_place_that_was_left_has_nothing_wanted() {
        let filter = TagFilter {
            mask: 0xff_ff00,
            value: 0,
            classes: 1 << 5,
        };
        let other = Stamp::done(2, 0x12_3500).0;
        for (odd, passes) in [
            (Stamp::left(2, true), 3),
            (Stamp::left(2, false), 3),
            (Stamp::left(1, true), 1),
            (Stamp::left(3, false), 1),
            (Stamp::done(2, 5), 1),
        ] {
            let mut words = [other; 24];
            words[9] = odd.0;
            assert_eq!(passed(words, &filter, 2), passes, "{odd:?}");
        }
    }
}
