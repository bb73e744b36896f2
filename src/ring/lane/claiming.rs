//! Claiming: how publishers get indices that are granted.
//!
//! Nobody waits: a void index is passed by, and another one claimed.

use super::claim::{Claim, Claims};
use super::pins::PinTable;
use super::stragglers::Stragglers;
use super::{ClaimError, Lane};
use crate::ring::sequence::MAX_SEQUENCE;
use crate::sync::Ordering;
use std::ops::Range;

impl<T> Lane<T> {
    /// Claims a granted index, and returns the number of voids below it in an index-numbered lane.
    /// Tries at most as often as the lane has slots.
    #[inline(always)]
    pub(crate) fn claim<'a>(
        &'a self,
        pins: impl FnOnce() -> PinTable<'a>,
    ) -> Result<(Claim<'a, T>, u64), ClaimError> {
        self.claim_with(pins, Ordering::Relaxed)
    }

    /// The same, by steps of the tail with this ordering.
    #[inline(always)]
    pub(super) fn claim_with<'a>(
        &'a self,
        pins: impl FnOnce() -> PinTable<'a>,
        order: Ordering,
    ) -> Result<(Claim<'a, T>, u64), ClaimError> {
        let index = self.tail.claim(1, order);
        match self.clear.voids_below(index) {
            // SAFETY: claimed here, and granted, since it is in the clear run.
            Some(voids) => Ok((unsafe { Claim::new(&self.slots, index) }, voids)),
            None => self.claim_slow(index, pins(), order),
        }
    }

    /// Claims until an index is granted. `index` is claimed already.
    #[cold]
    #[inline(never)]
    fn claim_slow(
        &self,
        mut index: u64,
        pins: PinTable<'_>,
        order: Ordering,
    ) -> Result<(Claim<'_, T>, u64), ClaimError> {
        let mut more = self.geometry.span();
        while !self.admit(index, pins)? {
            if more == 0 {
                return Err(ClaimError::Stuck);
            }
            more -= 1;
            index = self.tail.claim(1, order);
        }
        // SAFETY: claimed here or by the caller, and granted.
        let claim = unsafe { Claim::new(&self.slots, index) };
        let voids = self.voids_below_own(index);
        let sequence = self.sequence_at(index, voids);
        if sequence >= MAX_SEQUENCE {
            // Claims after the last number are refused before they take a slot.
            self.bounds.end.lower(index + 1);
        }
        if sequence > MAX_SEQUENCE {
            return Err(ClaimError::Exhausted);
        }
        Ok((claim, voids))
    }

    /// Claims `count` indices, ascending: one step of the tail for all of them unless some are
    /// void, and one look at each gate.
    pub(crate) fn claim_batch<'a>(
        &'a self,
        count: u64,
        pins: PinTable<'a>,
    ) -> Result<Claims<'a, T>, ClaimError> {
        let first = self.tail.claim(count, Ordering::Relaxed);
        if self.admit_all(first, count, pins) {
            // SAFETY: claimed here, and all granted.
            return Ok(unsafe { self.claims_of_run(first..first + count) });
        }
        // Some are void: each is looked at again by itself. A granted index stays granted.
        let mut claims = Vec::with_capacity(count as usize);
        for index in first..first + count {
            if self.admit(index, pins)? {
                // SAFETY: claimed here, and granted.
                claims.push(unsafe { Claim::new(&self.slots, index) });
            }
        }
        while claims.len() < count as usize {
            claims.push(self.claim(|| pins)?.0);
        }
        Ok(self.claims_of_each(claims))
    }

    /// No claims in this lane.
    #[inline(always)]
    pub(crate) fn no_claims(&self) -> Claims<'_, T> {
        self.claims_of_each(Vec::new())
    }

    #[inline(always)]
    fn claims_of_each<'a>(&'a self, claims: Vec<Claim<'a, T>>) -> Claims<'a, T> {
        Claims::of_each(&self.slots, self.noted_stragglers(), claims)
    }

    /// # Safety
    /// That of [`Claims::of_run`].
    #[inline(always)]
    unsafe fn claims_of_run(&self, run: Range<u64>) -> Claims<'_, T> {
        // SAFETY: by the caller.
        unsafe { Claims::of_run(&self.slots, self.noted_stragglers(), run) }
    }

    /// The stragglers, in a lane that is not index-numbered: in others, no frame is overtaken.
    #[inline(always)]
    fn noted_stragglers(&self) -> Option<&Stragglers> {
        (!self.is_index_numbered()).then_some(&self.stragglers)
    }

    /// Whether all of these claimed indices are granted.
    fn admit_all(&self, first: u64, count: u64, pins: PinTable<'_>) -> bool {
        let end = first.saturating_add(count);
        if end > self.end() {
            return false;
        }
        let mut from = first;
        while from < end {
            let to = self.geometry.chunk_end(from).min(end);
            let gate = self.open_gate(from, pins);
            if gate.generation() != self.geometry.generation(from) || gate.voids(from..to) != 0 {
                return false;
            }
            from = to;
        }
        true
    }

    /// Whether a claimed index is granted.
    pub(super) fn admit(&self, index: u64, pins: PinTable<'_>) -> Result<bool, ClaimError> {
        // No chunk is opened at or beyond the end.
        if index >= self.end() {
            self.tail.pull_back(self.end());
            return Err(ClaimError::Exhausted);
        }
        let gate = self.open_gate(index, pins);
        Ok(self.gates.is_granted(index, gate))
    }

    /// Claims indices of which `count` are granted, with no other publisher's between them, and
    /// returns the sequence number of the first. For index-numbered lanes.
    ///
    /// Opens the chunks of the next indices, and claims these indices if the tail has not moved
    /// meanwhile. Each further turn of the loop means that another publisher claimed: lock-free.
    pub(crate) fn claim_consecutive<'a>(
        &'a self,
        count: u64,
        pins: PinTable<'_>,
    ) -> Result<(u64, Claims<'a, T>), ClaimError> {
        let mut first = self.tail.load(u64::MAX);
        let mut void = Vec::new();
        loop {
            // Most often nothing is void there.
            let clear = self.clear.voids_below_all(first, first + count);
            let found = match clear {
                Some(_) => Ok(first + count),
                None => self.look_ahead(first, count, pins, &mut void),
            };
            let found = found.and_then(|end| self.check_sequences(first, count).map(|()| end));
            // A refused batch takes no number. But it passes the voids at the front, so that the
            // next try looks at slots that are opened again.
            let end = found.unwrap_or_else(|_| first_after(first, &void));
            match self.tail.claim_from(first, end) {
                Ok(()) => {
                    found?;
                    let (sequence, claims) = self.consecutive_claims(first..end, &void, clear);
                    if sequence + count > MAX_SEQUENCE {
                        self.bounds.end.lower(end);
                    }
                    return Ok((sequence, claims));
                }
                Err(now) => (first, void) = (now, Vec::new()),
            }
        }
    }

    /// Opens the chunks of the next indices, `first` being the tail, and returns the end of the
    /// range in which `count` are granted; adds the others to `void`.
    ///
    /// The result holds if `first` is still the tail afterwards: then none of these chunks was
    /// opened for a later lap, since nobody opens a chunk a lap ahead of the tail's.
    fn look_ahead(
        &self,
        first: u64,
        count: u64,
        pins: PinTable<'_>,
        void: &mut Vec<u64>,
    ) -> Result<u64, ClaimError> {
        let a_lap_ahead = self.geometry.chunk_start(first) + self.geometry.span();
        let mut end = first;
        loop {
            let missing = count + void.len() as u64 - (end - first);
            if missing == 0 {
                return Ok(end);
            }
            if end >= self.end() {
                return Err(ClaimError::Exhausted);
            }
            if end >= a_lap_ahead {
                return Err(ClaimError::Stuck);
            }
            let to = self.geometry.chunk_end(end).min(end + missing);
            let gate = self.open_gate(end, pins);
            if gate.voids(end..to) != 0 {
                void.extend((end..to).filter(|&index| gate.is_void(index)));
            }
            end = to;
        }
    }

    /// The claims of a batch that claimed these indices, without the `void` ones, and the sequence
    /// number of the first.
    fn consecutive_claims(
        &self,
        claimed: Range<u64>,
        void: &[u64],
        clear: Option<u64>,
    ) -> (u64, Claims<'_, T>) {
        let mut granted = claimed.clone().filter(|index| !void.contains(index));
        let first = granted.clone().next().unwrap_or(claimed.start);
        let claims = if void.is_empty() {
            // SAFETY: claimed by the caller, and all granted.
            unsafe { self.claims_of_run(claimed) }
        } else {
            // SAFETY: claimed by the caller, and granted.
            let claim = |index| unsafe { Claim::new(&self.slots, index) };
            self.claims_of_each(granted.by_ref().map(claim).collect())
        };
        let voids = clear.unwrap_or_else(|| self.voids_below_own(first));
        (self.sequence_at(first, voids), claims)
    }
}

/// The first index from `first` on that is not in `voids`, which ascend.
#[cold]
#[inline(never)]
fn first_after(first: u64, voids: &[u64]) -> u64 {
    let in_front = (first..)
        .zip(voids)
        .take_while(|(index, void)| index == *void);
    first + in_front.count() as u64
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::super::{LaneClass, Pins};
    use super::*;
    use crate::ring::registry::Registry;
    use crate::ring::slot::Geometry;

    #[test]
    fn what_is_refused_does_not_move_the_tail_for_good() {
        for numbered_from in [None, Some(1), Some(MAX_SEQUENCE - 5)] {
            let geometry = Geometry::for_window(16).ending_at(8);
            let lane = Lane::<u64>::new(geometry, LaneClass::Frames, numbered_from, false);
            let pins: Pins = Registry::new(1, 1);
            let pins = PinTable::new(&pins, 0);
            let claimed = (0..100).filter(|_| match lane.claim(|| pins) {
                Ok((claim, _)) => claim.fill(0, None, 7).is_none(),
                Err(error) => {
                    assert_eq!(error, ClaimError::Exhausted);
                    false
                }
            });
            let most = if numbered_from > Some(1) { 6 } else { 8 };
            assert_eq!(claimed.count(), most);
            assert!(lane.claim_batch(3, pins).is_err());
            assert_eq!(lane.tail.load(u64::MAX), most as u64);
        }
    }

    /// A publisher may be suspended after its claim, before it looks at its gate: a reader can be
    /// lapped there meanwhile, by another publisher's horizon, and its frame gets a number later.
    #[test]
    fn an_index_that_was_claimed_is_unfinished_until_it_is_written() {
        let geometry = Geometry::exact(2, 1, 1, 1);
        let lane = Lane::<u64>::new(geometry, LaneClass::Frames, None, false);
        let pins: Pins = Registry::new(1, 1);
        let pins = PinTable::new(&pins, 0);
        let order = |index| Some(lane.assign_order(index, index + 1));
        for _ in 0..2 {
            let (claim, _) = lane.claim(|| pins).unwrap();
            let index = claim.index();
            claim.fill(0, order(index), index);
        }
        assert!(lane.unfinished(2).is_empty());
        let claimed = lane.tail.claim(1, Ordering::Relaxed);
        assert_eq!(lane.unfinished(claimed + 1), [claimed]);
        assert_eq!(lane.admit(claimed, pins), Ok(true));
        assert_eq!(lane.unfinished(claimed + 1), [claimed]);
        // SAFETY: claimed above, and granted.
        let claim = unsafe { Claim::new(&lane.slots, claimed) };
        claim.fill(0, order(claimed), claimed);
        assert!(lane.unfinished(claimed + 1).is_empty());
    }
}
