//! Publishing: claim, number, write. Never waits; a single frame allocates nothing, a batch its
//! scratch, before it claims.
//!
//! The order is what readers rest on (see `subscription.rs`): an index is claimed and granted
//! before the number is taken. Frames are built before that, or from the number by a plain store:
//! between claim and stamp runs no code that could block. The frame that is replaced is dropped
//! after the new one is readable.

use super::core::Core;
use super::geometry::MAX_INDEX;
use super::lane::{Block, ClaimError, Lane};
use super::pins::LANES;
use super::{MAX_SEQUENCE, PublishError, Route};
use crate::sync::Ordering;
use smallvec::SmallVec;

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
        let numbered = lane.numbering(claim.index(), sequence, lane.tail());
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
        // Frames that need no dropping are not kept for it.
        let dropped = std::mem::needs_drop::<T>();
        let mut replaced = Vec::with_capacity(if dropped { items.len() } else { 0 });
        let mut claims = self.claim_all(&items)?;
        // AcqRel: as in `publish`, for all numbers of the batch.
        let first = self.next.fetch_add(count, Ordering::AcqRel);
        if first > MAX_SEQUENCE || count > MAX_SEQUENCE - first + 1 {
            return Err(PublishError::Exhausted);
        }
        let mut sequence = first;
        let mut items = items.into_iter();
        // Most often neighbours go to one lane.
        while let Some((route, _)) = items.as_slice().first() {
            let at = self.lane_of(*route);
            let stretch = self.stretch(at, items.as_slice());
            // There is one, with a claim for each: `claim_all` counted the same items.
            let (lane, part) = (&self.lanes[at], &mut claims[at]);
            let from = part.fence(lane);
            for ((route, item), claim) in items.by_ref().take(stretch).zip(&mut part.block) {
                // Frames with smaller numbers are those before it, and what the fence of the lane's
                // first one covers. Each bears it: a reader may pass over the first.
                let fence = from.max(claim.index() + 1);
                let numbered = lane.numbering(claim.index(), sequence, fence);
                let old = claim.fill(numbered, route.tag, make(sequence, item));
                if dropped {
                    replaced.extend(old);
                }
                sequence += 1;
            }
        }
        Ok(first..first + count)
    }

    /// How many of these items, from the first on, go to this lane.
    fn stretch<U>(&self, at: usize, items: &[(Route, U)]) -> usize {
        let here = |(route, _): &&(Route, U)| self.lane_of(*route) == at;
        items.iter().take_while(here).count()
    }

    /// Claims an index for each item, by lane; all or none.
    fn claim_all<U>(&self, items: &[(Route, U)]) -> Result<Parts<'_, T>, PublishError> {
        let parts = self.lanes.iter().map(|lane| Part {
            count: 0,
            block: lane.no_claims(),
            fence: None,
        });
        let mut parts: Parts<'_, T> = parts.collect();
        let mut rest = items;
        while let Some((route, _)) = rest.first() {
            let at = self.lane_of(*route);
            let stretch = self.stretch(at, rest);
            parts[at].count += stretch as u64;
            rest = &rest[stretch..];
        }
        for (at, part) in parts.iter_mut().enumerate() {
            let (lane, count) = (&self.lanes[at], part.count);
            let most = lane.geometry().window() as u64;
            if count > most {
                return Err(PublishError::BatchTooLarge { count, most });
            }
            if count > 0 {
                part.block = lane.claim_block(count, &self.pins[at / LANES])?;
            }
        }
        Ok(parts)
    }
}

/// By lane; on the stack for a ring of one shard.
type Parts<'a, T> = SmallVec<[Part<'a, T>; LANES]>;

/// What a batch has for one lane.
struct Part<'a, T> {
    count: u64,
    block: Block<'a, T>,
    fence: Option<u64>,
}

impl<T> Part<'_, T> {
    /// What others claimed below this may have smaller numbers than the batch. Found when the numbers
    /// were taken: if the tail is still where the claims end, there is nothing of others behind it.
    fn fence(&mut self, lane: &Lane<T>) -> u64 {
        *self.fence.get_or_insert_with(|| {
            let tail = lane.tail();
            if self.block.contiguous_end() == Some(tail) {
                0
            } else {
                tail.min(MAX_INDEX)
            }
        })
    }
}
