//! The window: how far publishers may overwrite without a look at the pins.
//!
//! A chunk may be opened for its next lap without a look at the pins while it lies below `limit`.
//! An opener that needs more raises `horizon` to where it wants to go, runs a SeqCst fence, scans
//! the pins, and raises `limit` to the first chunk that a pinned reader may touch; `pins.rs` says
//! why that is safe. If that is the chunk to be opened, its pinned slots become void instead. So a
//! reader that is stuck costs publishers its pinned slots, once a lap.
//!
//! `horizon` tells readers what may be overwritten: under a pin that was checked against it, the
//! indices from `horizon - slots` on are safe.

use super::id::LaneClass;
use super::pins::PinTable;
use crate::ring::slot::Geometry;
use crate::sync::{AtomicU64, Ordering, raise};

/// The two bounds of what may be overwritten. Both are indices and only rise.
pub(super) struct Window {
    /// Indices below this may be claimed, and so overwrite what is a lap before them.
    horizon: AtomicU64,
    /// Indices below this overwrite nothing that a pin covers; never above `horizon`.
    limit: AtomicU64,
}

impl Window {
    /// The first lap overwrites nothing.
    pub(super) fn new(geometry: &Geometry) -> Self {
        Window {
            horizon: AtomicU64::new(geometry.span()),
            limit: AtomicU64::new(geometry.span()),
        }
    }

    /// The horizon.
    ///
    /// Relaxed: E5 orders this load after a pin; elsewhere the value is a hint.
    #[inline(always)]
    pub(super) fn horizon(&self) -> u64 {
        self.horizon.load(Ordering::Relaxed)
    }

    /// The limit. Reads under pins that an extender saw ended, below this limit, happen before.
    #[inline(always)]
    pub(super) fn limit(&self) -> u64 {
        // E3: acquire.
        self.limit.load(Ordering::Acquire)
    }

    /// Raises the limit above the chunk at `start`, towards `target`, up to the next chunk that a
    /// pin covers. If that is this chunk, returns the bits of its pinned slots; else 0.
    ///
    /// The chunks before this one are open.
    #[cold]
    pub(super) fn extend(
        &self,
        geometry: &Geometry,
        start: u64,
        target: u64,
        class: LaneClass,
        pins: PinTable<'_>,
    ) -> u64 {
        // E5: SeqCst fence, in `scan`, between horizon and pins.
        let scan = pins.scan(|| {
            // Relaxed: E5 orders it.
            raise(&self.horizon, target, Ordering::Relaxed);
        });
        let ranges = || scan.ranges(class);
        let conflict = ranges()
            .map(|range| next_conflict(geometry, start, range))
            .min();
        let free = match conflict {
            Some(index) if index < target => geometry.chunk_start(index),
            _ => target,
        };
        if free > start {
            // E3: release.
            raise(&self.limit, free, Ordering::Release);
            return 0;
        }
        let is_pinned =
            |&index: &u64| ranges().any(|range| next_conflict(geometry, index, range) == index);
        let pinned = (start..geometry.chunk_end(start)).filter(is_pinned);
        pinned.fold(0, |bits, index| bits | geometry.chunk_bit(index))
    }
}

/// The lowest index, at or above `from`, that would overwrite one of the `count` indices from
/// `lowest` on.
fn next_conflict(geometry: &Geometry, from: u64, (lowest, count): (u64, u64)) -> u64 {
    let span = geometry.span();
    let from = from.max(lowest + span);
    let offset = (from - lowest) & (span - 1);
    if offset < count {
        from
    } else {
        from + span - offset
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::super::pins::Pins;
    use super::*;
    use crate::ring::registry::Registry;
    use crate::sync::Arc;

    #[test]
    fn the_limit_rises_to_the_next_pinned_chunk_and_pinned_slots_are_named() {
        let geometry = Geometry::exact(8, 2, 2, 2);
        let (window, class) = (Window::new(&geometry), LaneClass::Terminals);
        let pins: Arc<Pins> = Arc::new(Registry::new(1, 1));
        let row = Registry::take(&pins, 0, 0).unwrap();
        let extend =
            |start, target| window.extend(&geometry, start, target, class, PinTable::new(&pins, 0));
        row.set(class, 3, 0);
        assert_eq!((window.horizon(), window.limit()), (8, 8));
        // 11 would overwrite 3.
        assert_eq!(extend(8, 14), 0);
        assert_eq!((window.horizon(), window.limit()), (14, 10));
        assert_eq!(extend(10, 14), 0b10);
        assert_eq!(window.limit(), 10);
        // The other lane's pin is no hindrance, and a cleared one neither.
        row.set(LaneClass::Frames, 2, 1);
        row.clear(class);
        assert_eq!(extend(10, 14), 0);
        assert_eq!(window.limit(), 14);
    }

    #[test]
    fn a_pinned_range_hinders_the_indices_that_are_whole_laps_after_it() {
        let geometry = Geometry::exact(8, 1, 0, 1);
        for from in 0..40 {
            for (lowest, count) in [(0, 1), (5, 2), (7, 4), (13, 8)] {
                let hinders = |index: &u64| {
                    (lowest..lowest + count).any(|it| *index > it && (index - it).is_multiple_of(8))
                };
                let expected = (from.max(lowest + 8)..).find(hinders).unwrap();
                assert_eq!(
                    next_conflict(&geometry, from, (lowest, count)),
                    expected,
                    "{from} {lowest} {count}"
                );
            }
        }
    }
}
