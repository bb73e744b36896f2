//! Publishing a batch: as one frame is, with one claim for each lane and one reservation of
//! sequence numbers.
//!
//! Never waits. May allocate scratch before it claims, and room for the frames that it replaces.

use crate::foreign::contained;
use crate::ring::config::{PublishError, Route};
use crate::ring::core::Core;
use crate::ring::lane::{Claims, LANES, Lane, LaneClass, LaneId};
use smallvec::SmallVec;
use std::ops::Range;

impl<T> Core<T> {
    /// Publishes a frame for each of `routes` under consecutive sequence numbers, or none.
    #[inline]
    pub(crate) fn publish_all(
        &self,
        routes: impl Iterator<Item = Route> + Clone,
        make: impl FnMut(u64) -> T,
    ) -> Result<Range<u64>, PublishError> {
        match self.index_numbered() {
            Some(lane) => self.publish_all_indexed(lane, routes, make),
            None => self.publish_all_sequenced(routes, make),
        }
    }

    /// The same in a ring of one shard: each frame gets its number by an index of the
    /// index-numbered lane.
    #[inline]
    fn publish_all_indexed(
        &self,
        lane: &Lane<T>,
        routes: impl Iterator<Item = Route> + Clone,
        make: impl FnMut(u64) -> T,
    ) -> Result<Range<u64>, PublishError> {
        let (count, terminal) = routes.clone().fold((0, 0), |(count, terminal), route| {
            (count + 1, terminal + u64::from(route.terminal))
        });
        if count == 0 {
            let next = self.next_sequence();
            return Ok(next..next);
        }
        let terminals = self.lane(LaneId::new(0, LaneClass::Terminals));
        check_fits(count, lane)?;
        check_fits(terminal, terminals)?;
        if !self.may_reserve(count) {
            return Err(PublishError::Exhausted);
        }
        let _after = self.free_after(0);
        let mut replaced = Replaced::with_capacity(count);
        let keep = |old| replaced.0.extend(old);
        if terminal > 0 {
            return self.publish_mixed(lane, routes, count, terminal, make, keep);
        }
        let (first, mut claims) = lane.claim_consecutive(count, self.pins(0))?;
        let mut routes = routes;
        let tag = || routes.next().unwrap_or_default().tag;
        claims.fill(count, first, 0, tag, make, keep);
        Ok(first..first + count)
    }

    /// The same with terminal frames among them.
    #[inline]
    fn publish_mixed(
        &self,
        lane: &Lane<T>,
        routes: impl Iterator<Item = Route>,
        count: u64,
        terminal: u64,
        mut make: impl FnMut(u64) -> T,
        mut keep: impl FnMut(Option<T>),
    ) -> Result<Range<u64>, PublishError> {
        let terminals = self.lane(LaneId::new(0, LaneClass::Terminals));
        let mut part = LanePart::new(terminals, terminal);
        part.claims = terminals.claim_batch(terminal, self.pins(0))?;
        let (first, mut claims) = lane.claim_consecutive(count, self.pins(0))?;
        let sequences = first..first + count;
        for (sequence, route) in sequences.clone().zip(routes) {
            let tag = || route.tag;
            if route.terminal {
                // Its number is an index of the other lane.
                claims.abandon_next();
                let bound = part.order_bound(terminals);
                part.claims
                    .fill(1, sequence, bound, tag, &mut make, &mut keep);
            } else {
                claims.fill(1, sequence, 0, tag, &mut make, &mut keep);
            }
        }
        Ok(sequences)
    }

    /// The same in a ring of several shards.
    #[inline]
    fn publish_all_sequenced(
        &self,
        mut routes: impl Iterator<Item = Route> + Clone,
        mut make: impl FnMut(u64) -> T,
    ) -> Result<Range<u64>, PublishError> {
        // Dropped after the claims have ended.
        let mut after = SmallVec::<[_; 1]>::new();
        let parts = self.lanes().iter().map(|lane| LanePart::new(lane, 0));
        let mut parts: SmallVec<[LanePart<'_, T>; LANES]> = parts.collect();
        let mut stretches = Stretches::new();
        let count = self.split_by_lane(routes.clone(), &mut parts, &mut stretches)?;
        if count == 0 {
            let next = self.next_sequence();
            return Ok(next..next);
        }
        if !self.may_reserve(count) {
            return Err(PublishError::Exhausted);
        }
        let mut replaced = Replaced::with_capacity(count);
        if self.frees() {
            let is_meant = |shard: &usize| {
                let lanes = &parts[shard * LANES..][..LANES];
                lanes.iter().any(|part| part.count > 0)
            };
            let shards = (0..self.shards()).filter(is_meant);
            after.extend(shards.filter_map(|shard| self.free_after(shard)));
        }
        for (id, part) in self.lane_ids().zip(&mut parts) {
            if part.count > 0 {
                part.claims = self
                    .lane(id)
                    .claim_batch(part.count, self.pins(id.shard()))?;
            }
        }
        let mut sequence = self.reserve_batch(count)?;
        let sequences = sequence..sequence + count;
        for (id, stretch) in stretches {
            let part = &mut parts[id.index()];
            // Frames with smaller numbers are those before it in the batch, and those below the
            // order bound of the lane's first one.
            let bound = part.order_bound(self.lane(id));
            let tag = || routes.next().unwrap_or_default().tag;
            let keep = |old| replaced.0.extend(old);
            part.claims
                .fill(stretch, sequence, bound, tag, &mut make, keep);
            sequence += stretch;
        }
        Ok(sequences)
    }

    /// Counts the frames for each lane, and splits the batch into stretches of neighbours for the
    /// same lane. Returns how many frames there are.
    #[inline(always)]
    fn split_by_lane(
        &self,
        mut routes: impl Iterator<Item = Route>,
        parts: &mut [LanePart<'_, T>],
        stretches: &mut Stretches,
    ) -> Result<u64, PublishError> {
        let mut count = 0;
        let mut next = routes.next().map(|route| self.lane_of(route));
        while let Some(id) = next.take() {
            let mut stretch = 1;
            for route in routes.by_ref() {
                let other = self.lane_of(route);
                if other != id {
                    next = Some(other);
                    break;
                }
                stretch += 1;
            }
            stretches.push((id, stretch));
            let (part, lane) = (&mut parts[id.index()], self.lane(id));
            part.count += stretch;
            if let Err(error) = check_fits(part.count, lane) {
                let more = routes.filter(|route| self.lane_of(*route) == id).count() as u64;
                return check_fits(part.count + more, lane).and(Err(error));
            }
            count += stretch;
        }
        Ok(count)
    }
}

/// Refuses `count` frames of a batch that a lane can't take at once, or can never take.
fn check_fits<T>(count: u64, lane: &Lane<T>) -> Result<(), PublishError> {
    let most = lane.geometry().window() as u64;
    if count > most {
        Err(PublishError::BatchTooLarge { count, most })
    } else if lane.is_near_end() && !lane.has_room_for(count) {
        Err(PublishError::Exhausted)
    } else {
        Ok(())
    }
}

/// The frames that a batch replaced. Dropped when all of the batch is finished, also if it panics.
struct Replaced<T>(Vec<T>);

impl<T> Replaced<T> {
    /// Room for `count` frames. Frames that need no drop are not kept.
    fn with_capacity(count: u64) -> Self {
        let kept = if std::mem::needs_drop::<T>() {
            count
        } else {
            0
        };
        Replaced(Vec::with_capacity(kept as usize))
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
type Stretches = SmallVec<[(LaneId, u64); 8]>;

/// What a batch has for one lane.
struct LanePart<'a, T> {
    /// How many of its frames go there.
    count: u64,
    claims: Claims<'a, T>,
    /// The lane's tail when the sequence numbers had been reserved, once it was loaded.
    bound: Option<u64>,
}

impl<'a, T> LanePart<'a, T> {
    fn new(lane: &'a Lane<T>, count: u64) -> Self {
        LanePart {
            count,
            claims: lane.no_claims(),
            bound: None,
        }
    }

    /// The order bound of the batch's frames: frames that other publishers claimed below it may
    /// have smaller numbers. 0 if there are none: the tail is still where the claims end. Called
    /// when the sequence numbers are reserved.
    fn order_bound(&mut self, lane: &Lane<T>) -> u64 {
        *self.bound.get_or_insert_with(|| {
            let tail = lane.tail();
            if self.claims.contiguous_end() == Some(tail) {
                0
            } else {
                tail
            }
        })
    }
}
