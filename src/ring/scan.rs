//! Passing over tags: eight words, a cache line, are looked at without a branch between them.
//!
//! With AVX two words at a time. Rust has no wide atomic loads, but inline assembly may do whatever Rust
//! code could: here each load of 16 bytes is two relaxed loads of neighbouring words. Processors with AVX
//! promise it: they load 16 aligned bytes in one piece (Intel SDM 3A 9.1.1, AMD64 APM 2 7.3.2).

use super::tag::TAG_BITS;
use crate::sync::{AtomicU64, Ordering};

/// How many eights of neighbouring words, from the first on, say that none of their frames is wanted.
/// `wanted` is the word of the first place if its frame were wanted, `mask` what of it to compare: the
/// tag's bits, and above them all.
#[inline]
pub(super) fn unwanted_eights(words: &[AtomicU64], wanted: u64, mask: u64) -> usize {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
    if wide::can_scan(words) {
        // SAFETY: just asked.
        return unsafe { wide::unwanted_eights(words, wanted, mask) };
    }
    one_by_one(words, wanted, mask)
}

fn one_by_one(words: &[AtomicU64], mut wanted: u64, mask: u64) -> usize {
    let unwanted = |words: &&[AtomicU64; 8]| {
        let mut all = 0;
        for word in *words {
            // Relaxed: see `Lane::tag`. Above the tag: 0 if the word is of this index. In the tag: not 0
            // if it is not wanted, and then one less stays below, too.
            let other = (word.load(Ordering::Relaxed) ^ wanted) & mask;
            all |= other | other.wrapping_sub(1);
            wanted = wanted.wrapping_add(1 << TAG_BITS);
        }
        all < 1 << TAG_BITS
    };
    words.as_chunks().0.iter().take_while(unwanted).count()
}

#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle, miri))))]
mod wide {
    use super::{AtomicU64, TAG_BITS};
    use std::arch::asm;
    use std::arch::x86_64::{__m128i, _mm_set_epi64x, _mm_set1_epi64x};

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
        let step = |places: u64| places << TAG_BITS;
        // SAFETY: these need SSE2, which every x86_64 has.
        let (a, mask, below, eight, two, high) = unsafe {
            (
                _mm_set_epi64x(wanted.wrapping_add(step(1)) as i64, wanted as i64),
                _mm_set1_epi64x(mask as i64),
                _mm_set1_epi64x(-1),
                _mm_set1_epi64x(step(8) as i64),
                _mm_set1_epi64x(step(2) as i64),
                _mm_set1_epi64x(!(step(1) - 1) as i64),
            )
        };
        let mut left = eights;
        // SAFETY: AVX is there, by the caller. It loads only from the first `eights` eights of `words`, which
        // are aligned for this, each word as by a relaxed load; it stores nothing.
        unsafe {
            asm!(
                "vpaddq {b}, {a}, {two}",
                "vpaddq {c}, {b}, {two}",
                "vpaddq {d}, {c}, {two}",
                "2:",
                // In each half, what `one_by_one` does: what differs, and that less one.
                "vmovdqa {x}, [{at}]",
                "vmovdqa {y}, [{at} + 16]",
                "vpxor {x}, {x}, {a}",
                "vpxor {y}, {y}, {b}",
                "vpand {x}, {x}, {mask}",
                "vpand {y}, {y}, {mask}",
                "vpor {all}, {x}, {y}",
                "vpaddq {x}, {x}, {below}",
                "vpaddq {y}, {y}, {below}",
                "vpor {all}, {all}, {x}",
                "vpor {all}, {all}, {y}",
                "vmovdqa {x}, [{at} + 32]",
                "vmovdqa {y}, [{at} + 48]",
                "vpxor {x}, {x}, {c}",
                "vpxor {y}, {y}, {d}",
                "vpand {x}, {x}, {mask}",
                "vpand {y}, {y}, {mask}",
                "vpor {all}, {all}, {x}",
                "vpor {all}, {all}, {y}",
                "vpaddq {x}, {x}, {below}",
                "vpaddq {y}, {y}, {below}",
                "vpor {all}, {all}, {x}",
                "vpor {all}, {all}, {y}",
                "vptest {all}, {high}",
                "jnz 3f",
                "vpaddq {a}, {a}, {eight}",
                "vpaddq {b}, {b}, {eight}",
                "vpaddq {c}, {c}, {eight}",
                "vpaddq {d}, {d}, {eight}",
                "add {at}, 64",
                "dec {left}",
                "jnz 2b",
                "3:",
                at = inout(reg) words.as_ptr() => _,
                left = inout(reg) left,
                a = inout(xmm_reg) a => _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                x = out(xmm_reg) _,
                y = out(xmm_reg) _,
                all = out(xmm_reg) _,
                mask = in(xmm_reg) mask,
                below = in(xmm_reg) below,
                eight = in(xmm_reg) eight,
                two = in(xmm_reg) two,
                high = in(xmm_reg) high,
                options(nostack, readonly),
            );
        }
        eights - left
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::super::tag::{TagFilter, pack, unpack};
    use super::*;

    #[repr(align(16))]
    struct Aligned([AtomicU64; 24]);

    /// What is passed over, by every way that there is.
    fn passed(words: [u64; 24], filter: &TagFilter, index: u64) -> usize {
        let words = Aligned(words.map(AtomicU64::new));
        let (wanted, mask) = filter.wanted(index);
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
        for index in [0, 8, (1 << 39) - 8, (1 << 40) - 8] {
            let others: [_; 24] = std::array::from_fn(|at| pack(0x12_3500, index + at as u64));
            assert_eq!(passed(others, &filter, index), 3, "{index}");
            assert_eq!(passed([0; 24], &filter, index), 0);
            for at in 0..24 {
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
                    let mut words = others;
                    words[at] = word;
                    let unwanted = unpack(word, own).is_some_and(|tag| !filter.matches(tag));
                    let expected = if unwanted { 3 } else { at / 8 };
                    assert_eq!(
                        passed(words, &filter, index),
                        expected,
                        "{index} {at} {word:x}"
                    );
                }
            }
        }
        assert_eq!(unwanted_eights(&[], 0, 0), 0);
    }
}
