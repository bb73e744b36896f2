//! Publishing: claim, number, write. Never waits; a single frame allocates nothing, a batch its
//! scratch, before it claims.
//!
//! The order is what readers rest on (see `subscription.rs`): an index is claimed and granted
//! before the number is taken. Frames are built before that, or from the number by a plain store:
//! between claim and stamp runs no code that could block. The frame that is replaced is dropped
//! after the new one is readable.

use super::core::Core;
use super::geometry::MAX_INDEX;
use super::lane::{Claim, ClaimError};
use super::pins::LANES;
use super::slot::Numbered;
use super::{MAX_SEQUENCE, PublishError, Route};
use crate::sync::Ordering;

impl From<ClaimError> for PublishError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Stuck => PublishError::Stuck,
            ClaimError::Exhausted => PublishError::Exhausted,
        }
    }
}

impl<T> Core<T> {
    #[inline]
    pub(crate) fn publish(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
    ) -> Result<u64, PublishError> {
        let at = self.lane_of(route);
        let lane = &self.lanes[at];
        let claim = lane.claim(&self.pins[at / LANES])?;
        // Release: the claim happens before, for whoever acquires this number or a later one.
        // Acquire: so do the claims of all smaller numbers, which `fence` and `make` rely on.
        let sequence = self.next.fetch_add(1, Ordering::AcqRel);
        if sequence > MAX_SEQUENCE {
            return Err(PublishError::Exhausted);
        }
        let numbered = Numbered {
            sequence,
            fence: lane.tail(),
        };
        let replaced = claim.fill(numbered, route.tag, make(sequence));
        drop(replaced);
        Ok(sequence)
    }

    /// Publishes all of `items` under consecutive numbers, or none.
    pub(crate) fn publish_all<U>(
        &self,
        items: Vec<(Route, U)>,
        mut make: impl FnMut(u64, U) -> T,
    ) -> Result<std::ops::Range<u64>, PublishError> {
        let count = items.len() as u64;
        let mut replaced = Vec::with_capacity(items.len());
        let mut claims = self.claim_all(&items)?;
        // AcqRel: as in `publish`, for all numbers of the batch.
        let first = self.next.fetch_add(count, Ordering::AcqRel);
        if first > MAX_SEQUENCE || count > MAX_SEQUENCE - first + 1 {
            return Err(PublishError::Exhausted);
        }
        for (sequence, (route, item)) in (first..).zip(items) {
            let block = &mut claims[self.lane_of(route)];
            // There is one for each: `claim_all` counted the same items.
            let Some(claim) = block.claims.next() else {
                continue;
            };
            // Frames with smaller numbers are those before it, and what the fence of the lane's
            // first one covers. Each bears it: a reader may pass over the first.
            let fence = block.fence(&claim).max(claim.index() + 1);
            let numbered = Numbered { sequence, fence };
            replaced.extend(claim.fill(numbered, route.tag, make(sequence, item)));
        }
        Ok(first..first + count)
    }

    /// Claims an index for each item, by lane; all or none.
    fn claim_all<U>(&self, items: &[(Route, U)]) -> Result<Vec<Block<'_, T>>, PublishError> {
        let mut counts = vec![0; self.lanes.len()];
        for (route, _) in items {
            counts[self.lane_of(*route)] += 1;
        }
        let mut blocks = Vec::with_capacity(self.lanes.len());
        for (at, (lane, &count)) in self.lanes.iter().zip(&counts).enumerate() {
            let most = lane.geometry().window() as u64;
            if count > most {
                return Err(PublishError::BatchTooLarge { count, most });
            }
            let mut claims = Vec::with_capacity(count as usize);
            if count > 0 {
                let pins = &self.pins[at / LANES];
                lane.claim_block(count, pins, |claim| claims.push(claim))?;
            }
            blocks.push(Block {
                contiguous_end: contiguous_end(&claims),
                claims: claims.into_iter(),
                fence: None,
            });
        }
        Ok(blocks)
    }
}

/// The claims of a batch in one lane.
struct Block<'a, T> {
    claims: std::vec::IntoIter<Claim<'a, T>>,
    /// One above the last index if nobody else's lies between; else nothing is known.
    contiguous_end: Option<u64>,
    fence: Option<u64>,
}

impl<T> Block<'_, T> {
    /// What others claimed below this may have smaller numbers than the batch. Found with the
    /// first claim, after the numbers were taken: if the tail is still where the claims end,
    /// there is nothing of others behind it.
    fn fence(&mut self, claim: &Claim<'_, T>) -> u64 {
        *self.fence.get_or_insert_with(|| {
            let tail = claim.lane().tail();
            if self.contiguous_end == Some(tail) {
                claim.index() + 1
            } else {
                tail.min(MAX_INDEX)
            }
        })
    }
}

fn contiguous_end<T>(claims: &[Claim<'_, T>]) -> Option<u64> {
    let (first, last) = (claims.first()?.index(), claims.last()?.index());
    (last - first + 1 == claims.len() as u64).then_some(last + 1)
}
