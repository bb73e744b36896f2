//! The tails of the lanes, as a reader that proves an order has loaded them.
//!
//! A publisher claims its index before it reserves its sequence number. So a reader that loads the
//! next number as G, and *then* the tails, knows that every frame numbered below G has an index
//! below those tails.

use super::lanes::Lanes;

/// Tails, by lane of the subscription.
#[derive(Clone, Debug)]
pub(super) struct Tails {
    tails: Vec<u64>,
    /// Frames numbered below this have an index below the tails.
    cover: u64,
}

impl Tails {
    /// None loaded yet.
    pub(super) fn new(lanes: usize) -> Self {
        Tails {
            tails: vec![0; lanes],
            cover: 0,
        }
    }

    /// Loads the tails, for all numbers below `below`, which was loaded before (E8, E9).
    #[inline]
    pub(super) fn load<T>(&mut self, below: u64, lanes: &Lanes<T>) {
        self.cover = below;
        for (tail, cursor) in self.tails.iter_mut().zip(lanes.cursors()) {
            *tail = lanes.core().lane(cursor.lane()).tail();
        }
    }

    /// Whether the frame with this number has an index below its lane's tail.
    #[inline(always)]
    pub(super) fn cover(&self, sequence: u64) -> bool {
        sequence < self.cover
    }

    /// Whether a cursor has passed its lane up to the tail.
    #[inline(always)]
    pub(super) fn are_passed_by<T>(&self, at: usize, lanes: &Lanes<T>) -> bool {
        lanes.cursors()[at].is_past(self.tails[at])
    }

    /// Whether all cursors have.
    #[inline]
    pub(super) fn are_passed_by_all<T>(&self, lanes: &Lanes<T>) -> bool {
        let mut lanes = lanes.cursors().iter().zip(&self.tails);
        lanes.all(|(cursor, &tail)| cursor.is_past(tail))
    }
}
