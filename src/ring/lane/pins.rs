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
//!
//! In a ring that frees what was read (`pass.rs`), the word is the subscription's **position**,
//! also while nothing is pinned: it touches nothing below, and the word only rises as long as the
//! subscription has the row. The row then also has the subscription's filter, and for each lane a
//! second pin: that of the indices whose frames the row's owner is dropping.

use super::id::{LANES, LaneClass};
use crate::ring::registry::{Registry, Row, Walk};
use crate::ring::slot::TagFilter;
use crate::sync::{AtomicU64, Ordering, fence};
use crossbeam_utils::CachePadded;

/// The word of a lane of which nothing is touched.
const IDLE: u64 = u64::MAX;

/// The lowest bits of a pin's word: the base-2 logarithm of how many indices it covers.
const WIDTH_BITS: u32 = 6;

/// The width of a position at which nothing is pinned.
const STANDS: u64 = (1 << WIDTH_BITS) - 1;

/// A subscription's pins in one shard. Padded: one thread writes it, publishers read it rarely.
#[derive(Default)]
pub(crate) struct PinRow(CachePadded<Words>);

/// The words of a row, by lane class. Only the row's owner stores them.
struct Words {
    /// What its owner may read.
    pins: [AtomicU64; LANES],
    /// What its owner is freeing.
    freeing: [AtomicU64; LANES],
    /// The filter of a subscription to a ring that frees: mask and value, then the classes. Stored
    /// before the first position.
    filter: [AtomicU64; 3],
}

impl Default for Words {
    fn default() -> Self {
        let idle = || std::array::from_fn(|_| AtomicU64::new(IDLE));
        Words {
            pins: idle(),
            freeing: idle(),
            filter: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl PinRow {
    /// Pins `1 << width` indices of a lane, from `lowest` on. Before it touches any of them, the
    /// caller must run a SeqCst fence and check the lane's horizon.
    #[inline(always)]
    pub(crate) fn set(&self, class: LaneClass, lowest: u64, width: u32) {
        let word = lowest << WIDTH_BITS | u64::from(width);
        // E4, E20: release.
        self.0.pins[class as usize].store(word, Ordering::Release);
    }

    /// Ends the pin of a lane, or the stay in it.
    #[inline(always)]
    pub(crate) fn clear(&self, class: LaneClass) {
        // E4, E20: release. The reads are over for a publisher or a passer that acquires this.
        self.0.pins[class as usize].store(IDLE, Ordering::Release);
    }

    /// Ends the pin of a lane that frees, and stays at this index.
    #[inline]
    pub(crate) fn stand(&self, class: LaneClass, at: u64) {
        // E4, E20: release. As in `clear`, for what lies below.
        self.0.pins[class as usize].store(at << WIDTH_BITS | STANDS, Ordering::Release);
    }

    /// Says what the subscription wants, before it stands anywhere.
    pub(crate) fn set_filter(&self, filter: Option<&TagFilter>) {
        let words = filter.map_or(ALL, to_words);
        for (own, word) in self.0.filter.iter().zip(words) {
            // Relaxed: E20 carries it, with the first position.
            own.store(word, Ordering::Relaxed);
        }
    }

    /// Pins indices from `start` on, `count` at least, as long as the owner frees them. Before it
    /// touches any of them, the caller must run a SeqCst fence and check the lane's horizon.
    pub(super) fn pin_freeing(&self, class: LaneClass, start: u64, count: u64) {
        let width = count.next_power_of_two().trailing_zeros();
        let word = start << WIDTH_BITS | u64::from(width);
        // E4: release. Also when it moves: what is below is freed.
        self.0.freeing[class as usize].store(word, Ordering::Release);
    }

    /// Ends that pin.
    pub(super) fn clear_freeing(&self, class: LaneClass) {
        // E4: release. The frames were taken out, for an opener that acquires this.
        self.0.freeing[class as usize].store(IDLE, Ordering::Release);
    }
}

/// The words of a filter that lets everything through.
const ALL: [u64; 3] = [0, u64::MAX, u64::MAX];

/// The words of a filter.
fn to_words(filter: &TagFilter) -> [u64; 3] {
    let tag = u64::from(filter.mask) << 32 | u64::from(filter.value);
    [tag, filter.classes as u64, (filter.classes >> 64) as u64]
}

/// The filter that these words are of; `None` for one that lets everything through.
fn from_words(words: [u64; 3]) -> Option<TagFilter> {
    let [tag, low, high] = words;
    (words != ALL).then(|| TagFilter {
        mask: (tag >> 32) as u32,
        value: tag as u32,
        classes: u128::from(high) << 64 | u128::from(low),
    })
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

/// Where a subscription stands in a lane.
pub(super) struct Position {
    /// It touches nothing below this index.
    pub(super) lowest: u64,
    /// What it wants; `None` for everything.
    pub(super) filter: Option<TagFilter>,
}

impl Scan<'_> {
    /// The pinned ranges of a lane, each as its lowest index and how many indices it covers.
    pub(super) fn ranges(&self, class: LaneClass) -> impl Iterator<Item = (u64, u64)> {
        let pins = move |row: &PinRow| {
            // E4: acquire. Overwriting happens after the reads that these values say are over, and
            // after frames were taken out.
            [&row.0.pins, &row.0.freeing].map(|pins| pins[class as usize].load(Ordering::Acquire))
        };
        let words = self.0.rows(0).flat_map(pins);
        words.filter_map(|word| {
            let width = word & STANDS;
            (width != STANDS).then(|| (word >> WIDTH_BITS, 1 << width))
        })
    }

    /// Runs another SeqCst fence: what is looked at next is looked at after it.
    pub(super) fn again(&self) {
        // E5, E21, E23, E24: SeqCst fence, as `pass.rs` says.
        fence(Ordering::SeqCst);
    }

    /// Where the subscriptions stand in a lane.
    pub(super) fn positions(&self, class: LaneClass) -> impl Iterator<Item = Position> {
        self.0.rows(0).filter_map(move |row| {
            // E20: acquire. Frames are dropped after the reads that this value says are over.
            let word = row.0.pins[class as usize].load(Ordering::Acquire);
            (word != IDLE).then(|| Position {
                lowest: word >> WIDTH_BITS,
                // Relaxed: E20 carries it. If the row has changed hands since, its new owner takes
                // care of itself (`pass.rs`).
                filter: from_words(std::array::from_fn(|at| {
                    row.0.filter[at].load(Ordering::Relaxed)
                })),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_what_its_words_say() {
        assert_eq!(from_words(ALL), None);
        for filter in [
            TagFilter {
                mask: 0xff_ff00,
                value: 0x12_3400,
                classes: 1 << 5 | 1 << 127,
            },
            TagFilter {
                mask: u32::MAX,
                value: u32::MAX,
                classes: u128::MAX,
            },
            TagFilter {
                mask: 0,
                value: 0,
                classes: u128::from(u64::MAX),
            },
        ] {
            assert_eq!(from_words(to_words(&filter)), Some(filter));
        }
    }
}
