//! The words of a lane that frees what was read. `pass.rs` says how they are used.

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// The words of a lane that frees.
pub(super) struct Freeing {
    pub(super) bounds: CachePadded<Bounds>,
    /// Whether publishers must pass after their stamps: one of the values below. Publishers load it
    /// each time, passers rarely store it.
    pub(super) wanted: CachePadded<AtomicU64>,
}

/// What passers write.
pub(super) struct Bounds {
    /// Frames below this index may be freed by now. Only rises.
    pub(super) announced: AtomicU64,
    /// Frames below this index were handed to somebody who frees them, or overwritten. Only rises.
    pub(super) freed: AtomicU64,
    /// Whether a publisher has the publishers' row.
    pub(super) helping: AtomicBool,
}

/// Publishers need not pass: some subscription will.
pub(super) const NOT_WANTED: u64 = 0;
/// The publisher of an unfinished index must pass.
pub(super) const WANTED: u64 = 1;
/// A publisher left that to the one that has the publishers' row.
pub(super) const LEFT_TO_OTHER: u64 = 2;

impl Freeing {
    /// Nobody reads yet, so publishers pass.
    pub(super) fn new() -> Self {
        Freeing {
            bounds: CachePadded::new(Bounds {
                announced: AtomicU64::new(0),
                freed: AtomicU64::new(0),
                helping: AtomicBool::new(false),
            }),
            wanted: CachePadded::new(AtomicU64::new(WANTED)),
        }
    }

    /// Takes the publishers' row, if no other publisher has it.
    pub(super) fn take_row(&self) -> bool {
        // E25: acquire. Relaxed on failure: then the other one looks again.
        let helping = &self.bounds.helping;
        helping
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}
