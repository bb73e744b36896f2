//! Passes over stamps of unwanted frames: eight words, a cache line, without a branch between them.
//!
//! With AVX, two words are loaded at a time. Rust has no wide atomic loads; see the module for why
//! inline assembly may do this.

use crate::sync::{AtomicU64, Ordering};

/// Counts the eights of neighbouring words, from the first on, of which each is an unwanted frame.
/// May count a slot that was abandoned.
///
/// `wanted` is the word of a wanted frame, and `mask` has the bits to compare: some of the `LOW`
/// lowest ones, the tag, and all above them.
#[inline(always)]
pub(crate) fn unwanted_eights<const LOW: u32>(
    words: &[AtomicU64],
    wanted: u64,
    mask: u64,
) -> usize {
    #[cfg(target_arch = "x86_64")]
    if wide::can_scan(words) {
        // SAFETY: `can_scan` returned true.
        return unsafe { wide::unwanted_eights::<LOW>(words, wanted, mask) };
    }
    portable::<LOW>(words, wanted, mask)
}

/// What [`unwanted_eights`] returns, on any processor.
pub(crate) fn portable<const LOW: u32>(words: &[AtomicU64], wanted: u64, mask: u64) -> usize {
    let unwanted = |words: &&[AtomicU64; 8]| {
        let mut all = 0;
        for word in *words {
            // Relaxed: nothing of a frame that is passed over is read. The difference is 0 above
            // the tag if the frame is there, and not 0 in the tag if it is unwanted. Less one, it
            // stays below `1 << LOW` in just that case, and if only the lowest bit above the tag
            // differs: then the slot was abandoned in this lap and has no frame of it.
            let difference = (word.load(Ordering::Relaxed) ^ wanted) & mask;
            all |= difference.wrapping_sub(1);
        }
        all < 1 << LOW
    };
    words.as_chunks().0.iter().take_while(unwanted).count()
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::AtomicU64;
    use std::arch::asm;
    use std::arch::x86_64::{__m128i, _mm_set1_epi64x};

    #[inline]
    pub(super) fn can_scan(words: &[AtomicU64]) -> bool {
        words.as_ptr().cast::<__m128i>().is_aligned() && std::arch::is_x86_feature_detected!("avx")
    }

    /// # Safety
    /// [`can_scan`] returned true for `words`.
    #[inline]
    pub(super) unsafe fn unwanted_eights<const LOW: u32>(
        words: &[AtomicU64],
        wanted: u64,
        mask: u64,
    ) -> usize {
        let eights = words.len() / 8;
        if eights == 0 {
            return 0;
        }
        // SAFETY: every x86-64 has SSE2.
        let [wanted, mask, below, high] = [wanted, mask, u64::MAX, !((1 << LOW) - 1)]
            .map(|word| unsafe { _mm_set1_epi64x(word as i64) });
        let mut left = eights;
        // SAFETY: the processor has AVX, and `words` are aligned, since `can_scan` said so. The
        // loads stay within the first `eights` eights of `words`, each word as by a relaxed load.
        // Nothing is stored.
        unsafe {
            asm!(
                "2:",
                // In each half, what `portable` does: the difference, less one.
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
