//! Publishing a frame: claim, number, write. Never waits and allocates nothing.
//!
//! The order is what readers rest on (see `subscription/merge.rs`): an index is claimed and granted
//! before the number is taken, or is the number itself. Frames are built before that, or from the
//! number by a plain store: between claim and stamp runs no code that could block. The frame that
//! is replaced is dropped after the new one is readable; if that panics, it is not the publisher's
//! panic, and goes no further.

use super::core::Core;
use super::lane::ClaimError;
use super::{PublishError, Route};
use crate::foreign::contained;

impl From<ClaimError> for PublishError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Stuck => PublishError::Stuck,
            ClaimError::Exhausted => PublishError::Exhausted,
        }
    }
}

impl<T> Core<T> {
    #[inline(always)]
    pub(crate) fn publish(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
    ) -> Result<u64, PublishError> {
        match self.counting() {
            Some(lane) if !route.terminal => {
                let (claim, voids) = lane.claim(|| self.pins(0))?;
                let sequence = lane.number_at(claim.index(), voids);
                drop_replaced(claim.fill(route.tag, None, make(sequence)));
                Ok(sequence)
            }
            _ => self.publish_apart(route, make),
        }
    }

    /// Publishes a frame whose index is not its number.
    #[inline]
    fn publish_apart(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
    ) -> Result<u64, PublishError> {
        if !self.may_number(1) {
            return Err(PublishError::Exhausted);
        }
        let at = self.lane_of(route);
        let lane = &self.lanes[at];
        let (claim, _) = lane.claim(|| self.pins(at))?;
        let sequence = self.take_number()?;
        let numbered = lane.numbering(claim.index(), sequence, lane.tail());
        drop_replaced(claim.fill(route.tag, Some(numbered), make(sequence)));
        Ok(sequence)
    }
}

/// Drops the frame that another one replaced.
#[inline(always)]
fn drop_replaced<T>(frame: Option<T>) {
    if let Some(frame) = frame {
        contained(|| drop(frame));
    }
}
