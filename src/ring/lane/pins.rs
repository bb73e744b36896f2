//! Pins: what each subscription may be touching right now, for publishers that overwrite.
//!
//! A subscription has a row in the registry of pins, in the group of each shard that it reads. The
//! row has one word for each lane of the shard: idle, or the lowest index that the subscription
//! may touch and how many from there on. The protocol between a reader and an extender of the
//! window is a store-buffering pair and rests on two fences:
//!
//! ```text
//! reader (pin)                          extender (window.rs)
//!   take the row, once
//!   pin   := range        E4: release     horizon := max(horizon, target)
//!   fence(SeqCst)         E5              fence(SeqCst)       E5, in `PinTable::scan`
//!   load horizon                          load every pin      E4: acquire
//! ```
//!
//! If the reader's fence comes first, the extender sees the pin and keeps its slots void. If the
//! extender's comes first, the reader sees the horizon and knows that it was lapped. The pin is
//! stored with Release, also when it moves: an extender that sees the later pin must know that the
//! reads under the earlier one are over, and a relaxed store would not carry that on.

use super::id::{LANES, LaneClass};
use crate::ring::registry::{Registry, Row, Walk};
use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// The word of a lane of which nothing is touched.
const IDLE: u64 = u64::MAX;

/// The lowest bits of a pin's word: the base-2 logarithm of how many indices it covers.
const WIDTH_BITS: u32 = 6;

/// A subscription's pins in one shard, by lane class. Padded: one thread writes it, publishers read
/// it rarely.
pub(crate) struct PinRow(CachePadded<[AtomicU64; LANES]>);

impl Default for PinRow {
    fn default() -> Self {
        PinRow(CachePadded::new(std::array::from_fn(|_| {
            AtomicU64::new(IDLE)
        })))
    }
}

impl PinRow {
    /// Pins `1 << width` indices of a lane, from `lowest` on. Before it touches any of them, the
    /// caller must run a SeqCst fence and check the lane's horizon.
    #[inline(always)]
    pub(crate) fn set(&self, class: LaneClass, lowest: u64, width: u32) {
        let word = lowest << WIDTH_BITS | u64::from(width);
        // E4: release.
        self.0[class as usize].store(word, Ordering::Release);
    }

    /// Ends the pin of a lane.
    #[inline(always)]
    pub(crate) fn clear(&self, class: LaneClass) {
        // E4: release. The reads are over for a publisher that acquires this.
        self.0[class as usize].store(IDLE, Ordering::Release);
    }
}

/// How many rows lie side by side: an extender loads them at once, not one after another.
const BLOCK: usize = if cfg!(any(loom, shuttle)) { 2 } else { 8 };

/// The pins of all subscriptions, a group for each shard.
pub(crate) type Pins = Registry<PinRow, BLOCK>;

/// A subscription's own row in one shard.
pub(crate) type OwnPins = Row<PinRow, BLOCK>;

/// The pins of all subscriptions that read one shard, as publishers see them.
#[derive(Clone, Copy)]
pub(crate) struct PinTable<'a> {
    pins: &'a Pins,
    shard: usize,
}

impl<'a> PinTable<'a> {
    #[inline(always)]
    pub(crate) fn new(pins: &'a Pins, shard: usize) -> Self {
        PinTable { pins, shard }
    }

    /// Calls `before`, then runs a SeqCst fence (E5), then lets the caller look at the pins.
    pub(super) fn scan(self, before: impl FnOnce()) -> Scan<'a> {
        Scan(self.pins.enter(self.shard, before))
    }
}

/// A look at the pins of one shard, after a fence.
pub(super) struct Scan<'a>(Walk<'a, PinRow, BLOCK>);

impl Scan<'_> {
    /// The pinned ranges of a lane, each as its lowest index and how many indices it covers.
    pub(super) fn ranges(&self, class: LaneClass) -> impl Iterator<Item = (u64, u64)> {
        self.0.rows(0).filter_map(move |row| {
            // E4: acquire. Overwriting happens after the reads that this value says are over.
            let word = row.0[class as usize].load(Ordering::Acquire);
            (word != IDLE).then(|| (word >> WIDTH_BITS, 1 << (word & ((1 << WIDTH_BITS) - 1))))
        })
    }
}
