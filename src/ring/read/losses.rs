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

/// What is known about the frames between a subscription's position and the next frame.
pub(super) struct Between {
    /// The position: all up to it was delivered.
    pub(super) last: u64,
    /// The next sequence number, which is proven, or the ring's first if that comes before.
    pub(super) next: u64,
    /// Whether all numbers in between are frames that were lost.
    pub(super) all_lost: bool,
    /// Whether a frame may have been lost there.
    pub(super) may_have_lost: bool,
}

impl Losses {
    /// How often a lane was found lapped.
    pub(super) fn times_lapped(&self) -> u64 {
        self.times_lapped
    }

    /// Counts a lap that lost so many indices.
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

    /// The gap between the position and the next frame, if frames were lost there.
    #[inline(always)]
    pub(super) fn report(
        &mut self,
        between: &Between,
        terminals_lost: impl FnOnce() -> bool,
    ) -> Option<Gap> {
        let &Between { last, next, .. } = between;
        if !between.may_have_lost {
            // What was not reported by now was void, and no frame.
            self.unreported = 0;
        }
        let most = next - last - 1;
        let lost = if between.all_lost {
            most
        } else {
            // All may have been reported before a lower frame, and still lie after it.
            self.unreported
                .max(u64::from(between.may_have_lost))
                .min(most)
        };
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

    fn between(last: u64, next: u64, all_lost: bool, may_have_lost: bool) -> Between {
        Between {
            last,
            next,
            all_lost,
            may_have_lost,
        }
    }

    #[test]
    fn a_reader_of_everything_counts_by_numbers() {
        let mut losses = Losses::default();
        losses.add_lap(100);
        let gap = losses.report(&between(4, 8, true, true), || false).unwrap();
        assert_eq!((gap.first, gap.last, gap.lost), (5, 7, 3));
        assert!(!gap.expired && !gap.terminals_lost);
        assert_eq!(losses.report(&between(8, 9, true, true), || false), None);
        assert_eq!(losses.times_lapped(), 1);
    }

    #[test]
    fn a_narrower_one_counts_indices_and_reports_no_fewer_than_it_lost() {
        let mut losses = Losses::default();
        losses.add_lap(5);
        // No more than fit.
        let gap = losses.report(&between(4, 8, false, true), || true).unwrap();
        assert_eq!((gap.lost, gap.terminals_lost), (3, true));
        let gap = losses.report(&between(8, 20, false, true), || false);
        assert_eq!(gap.unwrap().lost, 2);
        // One may still lie there.
        let gap = losses.report(&between(20, 30, false, true), || false);
        assert_eq!(gap.unwrap().lost, 1);
        // None can.
        losses.add_lap(9);
        assert_eq!(
            losses.report(&between(30, 40, false, false), || false),
            None
        );
        assert_eq!(losses.unreported(), 0);
    }

    #[test]
    fn what_had_expired_is_reported_as_expired() {
        let mut losses = Losses::default();
        losses.add_expired(2, 8);
        losses.add_expired(1, 3);
        let expired = |losses: &mut Losses, last, next| {
            let gap = losses.report(&between(last, next, true, true), || false);
            gap.unwrap().expired
        };
        assert!(expired(&mut losses, 4, 8));
        assert!(!expired(&mut losses, 7, 12));
    }
}
