//! Publishing: claim, number, write. Never waits; a single frame allocates nothing, a batch its
//! scratch, before it claims.
//!
//! The order is what readers rest on (see `subscription.rs`): an index is claimed and granted
//! before the number is taken, or is the number itself. Frames are built before that, or from the number by
//! a plain store: between claim and stamp runs no code that could block. The frame that is replaced is
//! dropped after the new one is readable.

use super::core::Core;
use super::lane::{Block, ClaimError, Lane};
use super::pins::LANES;
use super::{FRAMES, MAX_SEQUENCE, PublishError, Route};
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
    #[inline(always)]
    pub(crate) fn publish(
        &self,
        route: Route,
        make: impl FnOnce(u64) -> T,
    ) -> Result<u64, PublishError> {
        match self.counting() {
            Some(lane) if !route.terminal => {
                let (claim, voids) = lane.claim(|| &self.pins[0])?;
                let sequence = lane.number_at(claim.index(), voids);
                drop(claim.fill(route.tag, None, make(sequence)));
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
        let at = self.lane_of(route);
        let lane = &self.lanes[at];
        let (claim, _) = lane.claim(|| &self.pins[at / LANES])?;
        let sequence = self.take_number()?;
        if sequence > MAX_SEQUENCE {
            return Err(PublishError::Exhausted);
        }
        let numbered = lane.numbering(claim.index(), sequence, lane.tail());
        drop(claim.fill(route.tag, Some(numbered), make(sequence)));
        Ok(sequence)
    }

    /// Publishes a frame for each of `routes` under consecutive numbers, or none.
    #[inline]
    pub(crate) fn publish_all(
        &self,
        mut routes: impl Iterator<Item = Route> + Clone,
        mut make: impl FnMut(u64) -> T,
    ) -> Result<std::ops::Range<u64>, PublishError> {
        let parts = self.lanes.iter().map(|lane| Part {
            count: 0,
            block: lane.no_claims(),
            fence: None,
        });
        // On the stack for a ring of one shard.
        let mut parts: SmallVec<[Part<'_, T>; LANES]> = parts.collect();
        let mut stretches = Stretches::new();
        let count = self.sort_out(routes.clone(), &mut parts, &mut stretches)?;
        // Frames that need no dropping are not kept for it.
        let dropped = std::mem::needs_drop::<T>();
        let mut replaced = Vec::with_capacity(if dropped { count as usize } else { 0 });
        let first = self.claim_parts(count, &mut parts)?;
        if first > MAX_SEQUENCE || count > MAX_SEQUENCE - first + 1 {
            return Err(PublishError::Exhausted);
        }
        let mut sequence = first;
        for (at, stretch) in stretches {
            if self.counting().is_some() && at != FRAMES {
                // The numbers are indices there.
                parts[FRAMES].block.leave(stretch);
            }
            let part = &mut parts[at];
            // Frames with smaller numbers are those before it, and what the fence of the lane's first
            // one covers.
            let fence = part.fence(&self.lanes[at]);
            // As many as were counted: these are the same routes.
            let next = |number| Some((routes.next()?.tag, make(number)));
            let keep = |old| replaced.extend(old);
            part.block.fill(stretch, sequence, fence, next, keep);
            sequence += stretch;
        }
        Ok(first..first + count)
    }

    /// Claims what was counted, and then `count` numbers; the first.
    fn claim_parts<'a>(
        &'a self,
        count: u64,
        parts: &mut [Part<'a, T>],
    ) -> Result<u64, PublishError> {
        let counting = self.counting();
        if let Some(lane) = counting {
            let most = lane.geometry().window() as u64;
            if count > most {
                return Err(PublishError::BatchTooLarge { count, most });
            }
        }
        let lanes = self.lanes.iter().zip(parts.iter_mut()).enumerate();
        for (at, (lane, part)) in lanes {
            if part.count > 0 && !lane.counts() {
                part.block = lane.claim_block(part.count, &self.pins[at / LANES])?;
            }
        }
        match counting {
            Some(lane) if count > 0 => {
                let (first, block) = lane.claim_counted(count, &self.pins[0])?;
                parts[FRAMES].block = block;
                Ok(first)
            }
            Some(_) => Ok(self.next_number()),
            None => Ok(self.take_numbers(count)),
        }
    }

    /// Counts what goes where; all in all so many frames.
    #[inline(always)]
    fn sort_out(
        &self,
        mut routes: impl Iterator<Item = Route>,
        parts: &mut [Part<'_, T>],
        stretches: &mut Stretches,
    ) -> Result<u64, PublishError> {
        let mut count = 0;
        let mut next = routes.next().map(|route| self.lane_of(route));
        while let Some(at) = next.take() {
            let mut stretch = 1;
            for route in routes.by_ref() {
                let other = self.lane_of(route);
                if other != at {
                    next = Some(other);
                    break;
                }
                stretch += 1;
            }
            stretches.push((at, stretch));
            let (part, most) = (&mut parts[at], self.lanes[at].geometry().window() as u64);
            part.count += stretch;
            if part.count > most {
                let more = routes.filter(|route| self.lane_of(*route) == at).count() as u64;
                let count = part.count + more;
                return Err(PublishError::BatchTooLarge { count, most });
            }
            count += stretch;
        }
        Ok(count)
    }
}

/// Lanes, and how many neighbours of a batch go there.
type Stretches = SmallVec<[(usize, u64); 8]>;

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
                tail.min(lane.geometry().end())
            }
        })
    }
}
