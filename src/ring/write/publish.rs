//! Publishing a frame: claim, number, write. Never waits, and allocates for a lane's first frame
//! only.
//!
//! Readers rest on the order of the steps (see `read/merge.rs`): an index is claimed and granted
//! before its sequence number is reserved, or is the number itself. Frames are built before that,
//! or from the number by a plain store: between claim and stamp runs no code that could block. The
//! frame that is replaced is dropped after the new one is readable. If its drop panics, the panic
//! is contained: it is another publisher's frame.

use crate::foreign::contained;
use crate::ring::config::{PublishError, Route};
use crate::ring::core::Core;
use crate::ring::lane::{ClaimError, Lane};

impl From<ClaimError> for PublishError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Stuck => PublishError::Stuck,
            ClaimError::Exhausted => PublishError::Exhausted,
        }
    }
}

impl<T> Core<T> {
    /// Publishes the frame that `make` returns for its sequence number, and returns the number.
    /// Hands the frame that it replaced to `replaced`.
    #[inline(always)]
    pub(crate) fn publish(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
        replaced: impl FnOnce(T),
    ) -> Result<u64, PublishError> {
        match self.direct() {
            Some(lane) if !route.terminal => self.publish_indexed(lane, route, make, replaced),
            _ => {
                let _after = self.free_after(self.shard_of(route));
                match self.index_numbered() {
                    Some(lane) if !route.terminal => {
                        self.publish_indexed(lane, route, make, replaced)
                    }
                    _ => self.publish_sequenced(route, make, replaced),
                }
            }
        }
    }

    /// Publishes a frame whose index is its sequence number.
    #[inline(always)]
    fn publish_indexed(
        &self,
        lane: &Lane<T>,
        route: Route,
        make: impl FnOnce(u64) -> T,
        replaced: impl FnOnce(T),
    ) -> Result<u64, PublishError> {
        let (claim, voids) = lane.claim(|| self.pins(0))?;
        let sequence = lane.sequence_at(claim.index(), voids);
        hand_over(claim.fill(route.tag, None, make(sequence)), replaced);
        Ok(sequence)
    }

    /// Frees what nobody is to see when this is dropped, in a ring that frees: after the claims of
    /// a publish have ended, also by a panic.
    #[inline(always)]
    pub(super) fn free_after(&self, shard: usize) -> Option<FreeAfter<'_, T>> {
        self.frees().then(|| FreeAfter { core: self, shard })
    }

    /// Publishes a frame whose index is not its sequence number.
    #[inline]
    fn publish_sequenced(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
        replaced: impl FnOnce(T),
    ) -> Result<u64, PublishError> {
        if !self.may_reserve(1) {
            return Err(PublishError::Exhausted);
        }
        let id = self.lane_of(route);
        let lane = self.lane(id);
        let (claim, _) = lane.claim(|| self.pins(id.shard()))?;
        let sequence = self.reserve_sequence()?;
        let order = lane.assign_order(claim.index(), sequence);
        hand_over(claim.fill(route.tag, Some(order), make(sequence)), replaced);
        Ok(sequence)
    }
}

/// A publish in a ring that frees.
pub(super) struct FreeAfter<'a, T> {
    core: &'a Core<T>,
    shard: usize,
}

impl<T> Drop for FreeAfter<'_, T> {
    #[inline(never)]
    fn drop(&mut self) {
        self.core.free_unseen(self.shard);
    }
}

/// Hands the frame that a new one replaced to `replaced`.
#[inline(always)]
fn hand_over<T>(frame: Option<T>, replaced: impl FnOnce(T)) {
    if let Some(frame) = frame {
        contained(|| replaced(frame));
    }
}
