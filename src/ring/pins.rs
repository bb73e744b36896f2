//! Pins: what each subscription may be touching right now, for those who want to overwrite it.
//!
//! A subscription has a row in the [registry](super::registry) of the pins, in the group of each
//! shard that it reads, with one word per lane: idle, or the lowest index that it may touch and how
//! many from there on. The protocol between a reader and an extender is a store-buffering pair and
//! therefore rests on two fences:
//!
//! ```text
//! reader (pin)                          extender (lane/open.rs)
//!   take the row, once
//!   pin   := range        Release         horizon := max(horizon, target)
//!   fence(SeqCst)                         fence(SeqCst)       in `PinTable::scan`
//!   load horizon                          load every pin      Acquire
//! ```
//!
//! If the reader's fence comes first, the extender sees the pin and keeps its slots void. If the
//! extender's comes first, the reader sees the horizon and knows that it was lapped. The pin is
//! stored with Release, also when it moves: an extender that sees the later pin must know that the
//! reads under the earlier one are over, and a relaxed store would not carry that on.

use super::registry::{Registry, Row, Walk};
use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

const IDLE: u64 = u64::MAX;
const WIDTH_BITS: u32 = 6;

/// The lanes of a shard, and so the words of a row.
pub(crate) const LANES: usize = 2;

/// A subscription's pins in one shard. Padded: one thread writes it, others read it rarely.
pub(crate) struct PinRow(CachePadded<[AtomicU64; LANES]>);

impl Default for PinRow {
    fn default() -> Self {
        PinRow(CachePadded::new(std::array::from_fn(|_| {
            AtomicU64::new(IDLE)
        })))
    }
}

impl PinRow {
    /// Says that `1 << width` indices from `lowest` on may be touched in `lane`. The caller must
    /// run a SeqCst fence and check the lane's horizon before it touches any.
    #[inline(always)]
    pub(crate) fn set(&self, lane: usize, lowest: u64, width: u32) {
        // Release: see the module. PAIR: `Scan::ranges`.
        self.0[lane].store(lowest << WIDTH_BITS | u64::from(width), Ordering::Release);
    }

    /// Says that nothing is touched in `lane` any more.
    #[inline(always)]
    pub(crate) fn clear(&self, lane: usize) {
        // Release: the reads are over for whoever acquires this. PAIR: `Scan::ranges`.
        self.0[lane].store(IDLE, Ordering::Release);
    }
}

/// How many rows lie side by side: an extender asks for them at once, not one after another.
const A_BLOCK: usize = if cfg!(any(loom, shuttle)) { 2 } else { 8 };

/// The pins of all subscriptions, a group for each shard.
pub(crate) type Pins = Registry<PinRow, A_BLOCK>;

/// A subscription's own row in one shard.
pub(crate) type OwnPins = Row<PinRow, A_BLOCK>;

/// The pins of all subscriptions that read one shard, for those who want to overwrite.
#[derive(Clone, Copy)]
pub(crate) struct PinTable<'a> {
    pub(crate) pins: &'a Pins,
    pub(crate) shard: usize,
}

impl<'a> PinTable<'a> {
    /// Calls `before`, runs a SeqCst fence, and lets the caller look at the pins then.
    pub(crate) fn scan(self, before: impl FnOnce()) -> Scan<'a> {
        Scan(self.pins.enter(self.shard, before))
    }
}

/// A look at the pins of one shard, as they are after a fence.
pub(crate) struct Scan<'a>(Walk<'a, PinRow, A_BLOCK>);

impl Scan<'_> {
    /// The pinned ranges of `lane`, each as its lowest index and its length.
    pub(crate) fn ranges(&self, lane: usize) -> impl Iterator<Item = (u64, u64)> {
        self.0.rows(0).filter_map(move |row| {
            // Acquire: overwriting happens after the reads that this value says are over.
            // PAIR: `PinRow::set`, `PinRow::clear`.
            let word = row.0[lane].load(Ordering::Acquire);
            (word != IDLE).then(|| (word >> WIDTH_BITS, 1 << (word & ((1 << WIDTH_BITS) - 1))))
        })
    }
}
