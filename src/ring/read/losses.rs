//! What a subscription lost, and which gap reports it.
//!
//! Each sequence number is one frame, and each frame is in one lane. A subscription to everything
//! therefore counts what it lost by numbers, exactly: a number that is missing below a proven one
//! was in a lapped lane. A narrower one counts the indices that its lanes lost, which is an upper
//! bound: they may have been other runs' frames, or void. It reports them before the next frame.
//! It can't see where they lie, so each further gap is reported as one that may have one of them,
//! until none can (`suspects.rs`).

use super::delivery::Gap;

/// Counts of what was lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    /// Indices that were lost and not reported yet. Of no use to a subscription to everything.
    unreported: u64,
    /// How often a lane was found lapped.
    times_lapped: u64,
    /// What is missing below this sequence number was gone when the subscription was made.
    expired_below: u64,
}

impl Losses {
    /// How often a lane was found lapped.
    pub(super) fn times_lapped(&self) -> u64 {
        self.times_lapped
    }

    /// Counts a lap that lost `lost` indices.
    pub(super) fn add_lap(&mut self, lost: u64) {
        self.unreported += lost;
        self.times_lapped += 1;
    }

    /// Counts indices that were lost before the start.
    pub(super) fn add(&mut self, lost: u64) {
        self.unreported += lost;
    }

    /// Counts `lost` frames, numbered below `below`, that had expired before the start.
    pub(super) fn add_expired(&mut self, lost: u64, below: u64) {
        self.unreported += lost;
        self.expired_below = self.expired_below.max(below);
    }

    /// The indices that were lost and not reported yet.
    pub(super) fn unreported(&self) -> u64 {
        self.unreported
    }

    /// Takes back what was added since `unreported` was the count.
    pub(super) fn reset(&mut self, unreported: u64) {
        self.unreported = unreported;
    }

    /// Forgets the indices that were not reported: they were void, and no frames.
    #[inline(always)]
    pub(super) fn forget_unreported(&mut self) {
        self.unreported = 0;
    }

    /// The gap between the position `last` and `next`, which is proven to be the next sequence
    /// number, if frames were lost there. With `all_lost`, each number in between is a lost frame;
    /// else some may be.
    pub(super) fn report(
        &mut self,
        last: u64,
        next: u64,
        all_lost: bool,
        terminals_lost: impl FnOnce() -> bool,
    ) -> Option<Gap> {
        let most = next - last - 1;
        // If not all: what was lost may all have been reported before a lower frame, and still lie
        // after it.
        let some = self.unreported.max(1).min(most);
        let lost = if all_lost { most } else { some };
        self.unreported -= self.unreported.min(lost);
        (lost > 0).then(|| Gap {
            first: last + 1,
            last: next - 1,
            lost,
            expired: last + 1 < self.expired_below,
            terminals_lost: terminals_lost(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_everything_counts_by_numbers() {
        let mut losses = Losses::default();
        losses.add_lap(100);
        let gap = losses.report(4, 8, true, || false).unwrap();
        assert_eq!((gap.first, gap.last, gap.lost), (5, 7, 3));
        assert!(!gap.expired && !gap.terminals_lost);
        assert_eq!(losses.report(8, 9, true, || false), None);
        assert_eq!(losses.times_lapped(), 1);
    }

    #[test]
    fn a_narrower_one_counts_indices_and_reports_no_fewer_than_it_lost() {
        let mut losses = Losses::default();
        losses.add_lap(5);
        // No more than fit.
        let gap = losses.report(4, 8, false, || true).unwrap();
        assert_eq!((gap.lost, gap.terminals_lost), (3, true));
        let gap = losses.report(8, 20, false, || false);
        assert_eq!(gap.unwrap().lost, 2);
        // One may still lie there.
        let gap = losses.report(20, 30, false, || false);
        assert_eq!(gap.unwrap().lost, 1);
        // What was void is not reported later.
        losses.add_lap(9);
        losses.forget_unreported();
        let gap = losses.report(30, 40, false, || false);
        assert_eq!(gap.unwrap().lost, 1);
    }

    #[test]
    fn what_had_expired_is_reported_as_expired() {
        let mut losses = Losses::default();
        losses.add_expired(2, 8);
        losses.add_expired(1, 3);
        let expired = |losses: &mut Losses, last, next| {
            let gap = losses.report(last, next, true, || false);
            gap.unwrap().expired
        };
        assert!(expired(&mut losses, 4, 8));
        assert!(!expired(&mut losses, 7, 12));
    }
}
