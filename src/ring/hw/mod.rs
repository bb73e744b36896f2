//! What makes the ring faster on real processors, and nothing else.
//!
//! Nothing here takes part in the protocol: it prefetches, moves cache lines between processors,
//! scans several stamps at once, and decides when a reader looks again. With `--cfg
//! framebus_plain`, and in models, `off.rs` stands in for all of it, and all tests and models still
//! pass: `ci/plain` runs them so.
//!
//! # What is formally outside Rust's memory model
//! - [`acquire_lines`] runs a locked instruction on a byte that other threads may access without
//!   atomics at that moment: readers through `&T`, and a publisher that writes a slot below the
//!   reader's pin, if that slot shares a cache line with pinned ones. On x86-64 the instruction is
//!   atomic and leaves every bit as it is, so no other access can see it. Rust's model, which has
//!   no operation of that kind, would call it a race.
//! - The wide scan of stamps loads two atomic words by one instruction of 16 bytes. Rust has no
//!   such atomic load; processors with AVX promise that it is one (Intel SDM 3A 9.1.1, AMD64 APM 2
//!   7.3.2).

#[cfg(not(any(loom, shuttle, miri, framebus_plain)))]
mod native;
#[cfg(any(loom, shuttle, miri, framebus_plain))]
mod off;

#[cfg(not(any(loom, shuttle, miri, framebus_plain)))]
pub(crate) use self::native::*;
#[cfg(any(loom, shuttle, miri, framebus_plain))]
pub(crate) use self::off::*;
