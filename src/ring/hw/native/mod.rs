//! The real thing: what `off.rs` stands in for.

mod clock;
mod contention;
#[allow(unsafe_code, reason = "prefetches and acquires cache lines")]
mod lines;
mod pacing;
#[allow(unsafe_code, reason = "loads two words at a time")]
mod scan;

pub(crate) use self::clock::processors;
pub(crate) use self::contention::Contention;
pub(crate) use self::lines::{acquire_lines, prefetch, prefetch_for_write};
pub(crate) use self::pacing::{ENOUGH_AHEAD, Pacing};
#[cfg(test)]
pub(crate) use self::scan::portable;
pub(crate) use self::scan::unwanted_eights;
