//! Suspects: which frames that a lane lost may still have a higher sequence number than those that
//! are delivered next.
//!
//! When a reader is lapped, the frames that it lost are numbered below all that the lane still
//! holds, with two exceptions that `lane/stragglers.rs` describes. Until the reader has passed
//! those, each gap that it reports may have one of them.

use crate::ring::lane::Lane;

/// The lost frames of one lane that the reader may not have passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    /// Whether indices were lost since a frame of the lane was last delivered.
    lapped: bool,
    /// Lost indices whose owners may not have reserved their sequence numbers yet.
    unsequenced: Vec<u64>,
    /// The other lost frames are numbered below this, or below all that the lane still holds.
    lost_below: u64,
}

impl Suspects {
    /// Whether a lost frame may be numbered above `last`, or may get such a number.
    pub(super) fn may_be_above(&self, last: u64) -> bool {
        self.lapped || !self.unsequenced.is_empty() || last + 1 < self.lost_below
    }

    /// Notes that the lane lost indices.
    pub(super) fn note_lapped(&mut self) {
        self.lapped = true;
    }

    /// Forgets that indices were lost: a frame of the lane was delivered since, which is numbered
    /// above them but for the other suspects, or the loss was reported.
    #[inline(always)]
    pub(super) fn forget_lap(&mut self) {
        self.lapped = false;
    }

    /// Finds the suspects below `oldest`, where a lapped reader goes on or a new one starts.
    pub(super) fn find<T>(&mut self, lane: &Lane<T>, oldest: u64) {
        if lane.is_index_numbered() {
            return;
        }
        self.unsequenced = lane.unfinished(oldest);
        // After that: an owner that is finished has noted its number.
        self.lost_below = self.lost_below.max(lane.stragglers_below(oldest));
    }

    /// Finds out how many of the frames below `oldest`, where the cursor starts, may be numbered
    /// above `last`, and below which number they are. `held` is the lowest number that the lane
    /// still holds, if that was seen, and `bound` is above the numbers of all that are lost, if
    /// such a number is known; without either, `next_sequence` is called.
    pub(super) fn expire<T>(
        &mut self,
        lane: &Lane<T>,
        oldest: u64,
        held: Option<u64>,
        bound: Option<u64>,
        last: u64,
        next_sequence: impl FnOnce() -> u64,
    ) -> (u64, u64) {
        self.find(lane, oldest);
        // After that: an owner that is finished had reserved its number.
        let below = held.or(bound).unwrap_or_else(next_sequence);
        let below = below.max(self.lost_below);
        let sequenced = oldest.min(below.saturating_sub(last + 1));
        if bound.is_some() {
            self.lost_below = below;
        } else {
            self.lapped |= sequenced > 0;
        }
        (sequenced + self.unsequenced.len() as u64, below)
    }

    /// Whether it waits for no owner to finish.
    #[inline(always)]
    pub(super) fn are_settled(&self) -> bool {
        self.unsequenced.is_empty()
    }

    /// Forgets owners that are finished: their numbers are below what `published_at_most` returns
    /// after that.
    #[inline]
    pub(super) fn settle<T>(&mut self, lane: &Lane<T>, published_at_most: impl FnOnce() -> u64) {
        if !self.unsequenced.is_empty() {
            let before = self.unsequenced.len();
            self.unsequenced.retain(|&index| lane.is_unfinished(index));
            if self.unsequenced.len() < before {
                self.lost_below = published_at_most();
            }
        }
    }
}
