//! Publishing a batch: as one frame is, with one claim for each lane and one step of the sequence.
//! Never waits; may allocate scratch before it claims, and room for what it replaces.

use super::core::Core;
use super::lane::{Block, Lane};
use super::pins::LANES;
use super::{PublishError, Route, TERMINALS};
use crate::foreign::contained;
use smallvec::SmallVec;
use std::ops::Range;

impl<T> Core<T> {
    /// Publishes a frame for each of `routes` under consecutive numbers, or none.
    #[inline]
    pub(crate) fn publish_all(
        &self,
        routes: impl Iterator<Item = Route> + Clone,
        make: impl FnMut(u64) -> T,
    ) -> Result<Range<u64>, PublishError> {
        match self.counting() {
            Some(lane) => self.publish_all_counted(lane, routes, make),
            None => self.publish_all_apart(routes, make),
        }
    }

    /// The same in a ring of one shard: all get their numbers by an index of the lane that counts.
    #[inline]
    fn publish_all_counted(
        &self,
        lane: &Lane<T>,
        routes: impl Iterator<Item = Route> + Clone,
        mut make: impl FnMut(u64) -> T,
    ) -> Result<Range<u64>, PublishError> {
        let (count, terminal) = routes.clone().fold((0, 0), |(count, terminal), route| {
            (count + 1, terminal + u64::from(route.terminal))
        });
        if count == 0 {
            let next = self.next_number();
            return Ok(next..next);
        }
        let others = &self.lanes[TERMINALS];
        fits(count, lane)?;
        fits(terminal, others)?;
        if !self.may_number(count) {
            return Err(PublishError::Exhausted);
        }
        let mut replaced = Replaced::room_for(count);
        let mut keep = |old| replaced.0.extend(old);
        let mut part = Part::of(others, terminal);
        if terminal > 0 {
            part.block = others.claim_block(terminal, self.pins(0))?;
        }
        let (first, mut block) = lane.claim_counted(count, self.pins(0))?;
        let numbers = first..first + count;
        if terminal == 0 {
            let mut routes = routes;
            let tag = || routes.next().unwrap_or_default().tag;
            block.fill(count, first, 0, tag, make, keep);
            return Ok(numbers);
        }
        for (number, route) in numbers.clone().zip(routes) {
            let tag = || route.tag;
            if route.terminal {
                // The number is an index there.
                block.leave();
                let fence = part.fence(others);
                part.block.fill(1, number, fence, tag, &mut make, &mut keep);
            } else {
                block.fill(1, number, 0, tag, &mut make, &mut keep);
            }
        }
        Ok(numbers)
    }

    /// The same in a ring of several shards.
    #[inline]
    fn publish_all_apart(
        &self,
        mut routes: impl Iterator<Item = Route> + Clone,
        mut make: impl FnMut(u64) -> T,
    ) -> Result<Range<u64>, PublishError> {
        let parts = self.lanes.iter().map(|lane| Part::of(lane, 0));
        let mut parts: SmallVec<[Part<'_, T>; LANES]> = parts.collect();
        let mut stretches = Stretches::new();
        let count = self.sort_out(routes.clone(), &mut parts, &mut stretches)?;
        if count == 0 {
            let next = self.next_number();
            return Ok(next..next);
        }
        if !self.may_number(count) {
            return Err(PublishError::Exhausted);
        }
        let mut replaced = Replaced::room_for(count);
        for (at, part) in parts.iter_mut().enumerate() {
            if part.count > 0 {
                part.block = self.lanes[at].claim_block(part.count, self.pins(at))?;
            }
        }
        let mut sequence = self.take_batch_numbers(count)?;
        let numbers = sequence..sequence + count;
        for (at, stretch) in stretches {
            let part = &mut parts[at];
            // Frames with smaller numbers are those before it, and what the fence of the lane's
            // first one covers.
            let fence = part.fence(&self.lanes[at]);
            let tag = || routes.next().unwrap_or_default().tag;
            let keep = |old| replaced.0.extend(old);
            part.block
                .fill(stretch, sequence, fence, tag, &mut make, keep);
            sequence += stretch;
        }
        Ok(numbers)
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
            let (part, lane) = (&mut parts[at], &self.lanes[at]);
            part.count += stretch;
            if let Err(error) = fits(part.count, lane) {
                let more = routes.filter(|route| self.lane_of(*route) == at).count() as u64;
                return fits(part.count + more, lane).and(Err(error));
            }
            count += stretch;
        }
        Ok(count)
    }
}

/// Whether a lane may take so many frames of a batch.
fn fits<T>(count: u64, lane: &Lane<T>) -> Result<(), PublishError> {
    let most = lane.geometry().window() as u64;
    let has_room = !lane.is_near_end() || lane.has_room_for(count);
    match (count <= most, has_room) {
        (true, true) => Ok(()),
        (true, false) => Err(PublishError::Exhausted),
        (false, _) => Err(PublishError::BatchTooLarge { count, most }),
    }
}

/// The frames that a batch replaced: dropped when all of it is finished, also if it panics.
struct Replaced<T>(Vec<T>);

impl<T> Replaced<T> {
    /// Room for so many. Frames that need no dropping are not kept for it.
    fn room_for(count: u64) -> Self {
        let dropped = std::mem::needs_drop::<T>();
        Replaced(Vec::with_capacity(if dropped { count as usize } else { 0 }))
    }
}

impl<T> Drop for Replaced<T> {
    fn drop(&mut self) {
        for frame in self.0.drain(..) {
            contained(|| drop(frame));
        }
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

impl<'a, T> Part<'a, T> {
    fn of(lane: &'a Lane<T>, count: u64) -> Self {
        Part {
            count,
            block: lane.no_claims(),
            fence: None,
        }
    }

    /// What others claimed below this may have smaller numbers than the batch. Found when the
    /// numbers were taken: if the tail is still where the claims end, there is nothing of others
    /// behind it.
    fn fence(&mut self, lane: &Lane<T>) -> u64 {
        *self.fence.get_or_insert_with(|| {
            let tail = lane.tail();
            if self.block.contiguous_end() == Some(tail) {
                0
            } else {
                tail
            }
        })
    }
}
