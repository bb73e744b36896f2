//! The candidates: what each lane offers next, and which lane has the lowest sequence number.
//!
//! Most often the next number is the last one and one, and the lane that has it said so when it was
//! looked at. The lane is noted then, by the number's lowest bits, so that the merge needs no
//! search. A note is a hint: the lane's candidate confirms it. Without one, the lowest candidate is
//! searched.

use crate::ring::config::MAX_SHARDS;
use crate::ring::lane::LANES;

/// No candidate.
const NONE: u64 = u64::MAX;

/// The sequence number that each lane of a subscription offers.
#[derive(Clone)]
pub(super) struct Candidates {
    /// By lane of the subscription; [`NONE`] if the lane offers nothing.
    sequences: Vec<u64>,
    /// By the lowest bits of a sequence number: a lane that offered such a number. A power of two.
    hints: Box<[u16]>,
}

// A hint can name each lane.
const _: () = assert!(MAX_SHARDS * LANES <= 1 << 16);

impl Candidates {
    /// Of `lanes` lanes, at least one, none of which offers anything.
    pub(super) fn new(lanes: usize) -> Self {
        Candidates {
            sequences: vec![NONE; lanes],
            hints: vec![0; (4 * lanes).next_power_of_two()].into(),
        }
    }

    /// What a lane offers; `u64::MAX` for nothing.
    #[inline(always)]
    pub(super) fn of(&self, at: usize) -> u64 {
        self.sequences[at]
    }

    /// Stores what a lane offers; `u64::MAX` for nothing.
    #[inline(always)]
    pub(super) fn set(&mut self, at: usize, sequence: u64) {
        self.sequences[at] = sequence;
        if sequence < NONE {
            let hint = self.hint(sequence);
            self.hints[hint] = at as u16;
        }
    }

    /// The position of a number's hint.
    #[inline(always)]
    fn hint(&self, sequence: u64) -> usize {
        sequence as usize & (self.hints.len() - 1)
    }

    /// Forgets what a lane offers.
    #[inline(always)]
    pub(super) fn forget(&mut self, at: usize) {
        self.sequences[at] = NONE;
    }

    /// Forgets what the lanes offer.
    pub(super) fn clear(&mut self) {
        self.sequences.fill(NONE);
    }

    /// The lane that offers this number, if it is noted.
    #[inline(always)]
    pub(super) fn noted(&self, sequence: u64) -> Option<usize> {
        let hint = usize::from(self.hints[self.hint(sequence)]);
        (self.sequences[hint] == sequence).then_some(hint)
    }

    /// The lane that offers this number, if it is noted; else the one of `lanes` that offers the
    /// lowest.
    #[inline(always)]
    pub(super) fn find(&self, sequence: u64, lanes: &[usize]) -> usize {
        let noted = self.noted(sequence);
        noted.unwrap_or_else(|| self.lowest(lanes.iter().copied()))
    }

    /// The one of `lanes` that offers the lowest number; any lane if none offers any.
    fn lowest(&self, lanes: impl Iterator<Item = usize>) -> usize {
        lanes.min_by_key(|&at| self.sequences[at]).unwrap_or(0)
    }

    /// The lowest number on offer, if there is one.
    pub(super) fn first(&self) -> Option<u64> {
        let lowest = self.lowest(0..self.sequences.len());
        Some(self.sequences[lowest]).filter(|&sequence| sequence < NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_number_or_else_the_lowest() {
        let mut candidates = Candidates::new(4);
        assert_eq!(candidates.first(), None);
        for (at, sequence) in [7, 5, NONE, 21].into_iter().enumerate() {
            candidates.set(at, sequence);
        }
        let find = |candidates: &Candidates, it| candidates.find(it, &[0, 1, 3]);
        let found = [5, 7, 21].map(|it| find(&candidates, it));
        assert_eq!(found, [1, 0, 3]);
        // 21 is noted where 5 was.
        assert_eq!(candidates.hint(21), candidates.hint(5));
        assert_eq!((find(&candidates, 6), candidates.first()), (1, Some(5)));
        assert_eq!(candidates.find(6, &[0, 3]), 0);
        candidates.forget(1);
        assert_eq!((find(&candidates, 5), candidates.first()), (0, Some(7)));
        candidates.clear();
        assert_eq!(candidates.first(), None);
    }
}
