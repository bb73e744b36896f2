//! Cache lines: fetched ahead of use, and taken from the processor that has them.
//!
//! On other processors than x86-64 nothing happens here.

#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Begins to fetch the cache line of `of`, which is read soon.
#[inline(always)]
pub(crate) fn prefetch<T>(of: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has SSE; a prefetch accesses nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(of.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = of;
}

/// Begins to fetch the cache lines of `of`, up to `most` bytes, which are written soon.
#[inline(always)]
pub(crate) fn prefetch_for_write<T>(of: &[T], most: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        let bytes = of.as_ptr().cast::<u8>();
        let size = size_of_val(of).min(most);
        if size == 0 {
            return;
        }
        let into_line = bytes.addr() % LINE;
        for offset in (0..into_line + size).step_by(LINE) {
            let line = bytes.wrapping_sub(into_line).wrapping_add(offset);
            // The intrinsic compiles to a prefetch for reading unless the target promises the
            // instruction. Processors that lack it execute it as a no-op.
            // SAFETY: a prefetch accesses nothing.
            unsafe {
                std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, readonly, preserves_flags));
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (of, most);
}

/// Whether [`acquire_lines`] does something on this processor.
pub(super) const ACQUIRES_LINES: bool = cfg!(target_arch = "x86_64");

/// Takes the cache lines of `of` from the processors that have them, as a write would, and changes
/// nothing. One locked instruction a line. See the module for what Rust's memory model says of it.
#[inline(always)]
pub(crate) fn acquire_lines<T>(of: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        let bytes = of.as_ptr().cast::<u8>();
        for offset in (0..size_of_val(of)).step_by(LINE) {
            let line = bytes.wrapping_add(offset);
            // A prefetch for writing would not do: a processor does not fetch a line that it
            // already shares.
            // SAFETY: the byte is one of `of`. The instruction leaves all its bits as they are, and
            // no store of another processor can come between its load and its store.
            unsafe {
                std::arch::asm!("lock or byte ptr [{}], 0", in(reg) line, options(nostack));
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = of;
}
