//! What an index-numbered lane says of the ring's sequence numbers.

use super::pins::PinTable;
use super::tail::NUMBERED;
use super::{ClaimError, Lane};
use crate::ring::sequence::MAX_SEQUENCE;

impl<T> Lane<T> {
    /// Whether this lane's indices are the ring's sequence numbers.
    #[inline(always)]
    pub(crate) fn is_index_numbered(&self) -> bool {
        self.numbering.is_some()
    }

    /// The sequence number of an index with `voids` void ones below it. Without meaning in a lane
    /// that is not index-numbered.
    #[inline(always)]
    pub(crate) fn sequence_at(&self, index: u64, voids: u64) -> u64 {
        let first = self.numbering.as_ref().map_or(0, |it| it.first());
        first + index - voids
    }

    /// Reserves a sequence number for a frame of another lane: claims an index and abandons it.
    pub(crate) fn reserve_sequence(&self, pins: PinTable<'_>) -> Result<u64, ClaimError> {
        let (claim, voids) = self.claim_with(|| pins, NUMBERED)?;
        Ok(self.sequence_at(claim.index(), voids))
    }

    /// The number of voids below `index`, which is the caller's; 0 in other lanes.
    pub(super) fn voids_below_own(&self, index: u64) -> u64 {
        match &self.numbering {
            Some(numbering) if !self.bounds.voids.are_none() => {
                numbering.voids_below_own(index, &self.gates)
            }
            _ => 0,
        }
    }

    /// The next sequence number, as far as it is decided: every publish that has returned got a
    /// smaller one. `None` if publishers went round the lane meanwhile.
    #[inline(always)]
    pub(crate) fn published_below(&self) -> Option<u64> {
        let mut end = self.tail.acquire(self.end());
        // A publisher that claimed beyond the open chunks has not returned.
        while end > 0 && !self.gates.is_open_for(end - 1) {
            end = self.geometry.chunk_start(end - 1);
        }
        self.sequence_of_next(end)
    }

    /// The sequence number of the index `end`, below which all is decided: one above
    /// [`MAX_SEQUENCE`] if there is none. `None` if publishers went round the lane since.
    fn sequence_of_next(&self, end: u64) -> Option<u64> {
        let voids = if end == 0 || self.bounds.voids.are_none() {
            0
        } else {
            let numbering = self.numbering.as_ref()?;
            // A batch that looked ahead may have opened the chunk before `end` for its next lap,
            // and then the one at `end` too.
            numbering.voids_below(end, &self.gates).or_else(|| {
                let starts_there = end == self.geometry.chunk_start(end);
                self.voids_below_chunk(end).filter(|_| starts_there)
            })?
        };
        // Higher numbers were refused.
        Some(self.sequence_at(end, voids).min(MAX_SEQUENCE + 1))
    }

    /// Returns false if `count` more numbers and indices can never be had. True is no promise: a
    /// claim finds out.
    #[cold]
    pub(crate) fn may_reserve(&self, count: u64) -> bool {
        let next = self.published_below().unwrap_or(0);
        self.has_room_for(count) && next + count <= MAX_SEQUENCE + 1
    }

    /// Refuses `count` numbers from that of `first` on, if `first` is the tail and there are not so
    /// many.
    #[inline]
    pub(super) fn check_sequences(&self, first: u64, count: u64) -> Result<(), ClaimError> {
        if self.sequence_at(first, 0).saturating_add(count) <= MAX_SEQUENCE + 1 {
            return Ok(());
        }
        match self.sequence_of_next(first) {
            Some(next) if next + count > MAX_SEQUENCE + 1 => Err(ClaimError::Exhausted),
            // If it is not known, the tail has moved.
            _ => Ok(()),
        }
    }

    /// The number of voids below the chunk at `start`, which was opened; `None` if that was too
    /// long ago. 0 in other lanes.
    pub(crate) fn voids_below_chunk(&self, start: u64) -> Option<u64> {
        match &self.numbering {
            Some(numbering) => numbering.voids_below_chunk(start, &self.gates),
            None => Some(0),
        }
    }

    /// The number of voids below `index`, where a reader starts: a chunk's start, or where all
    /// below is decided. `None` if that was too long ago. 0 in other lanes.
    pub(crate) fn voids_below_start(&self, index: u64) -> Option<u64> {
        let Some(numbering) = &self.numbering else {
            return Some(0);
        };
        let starts_there = index == self.geometry.chunk_start(index);
        let by_chunk = || numbering.voids_below_chunk(index, &self.gates);
        let below = starts_there.then(by_chunk).flatten();
        below.or_else(|| numbering.voids_below(index, &self.gates))
    }

    /// Notes the voids below the chunk at `start`, which is about to be opened, and returns how
    /// many there are; the chunks before it are open. `None` if that was too long ago: another
    /// thread opened it.
    #[inline(always)]
    pub(super) fn note_voids(&self, start: u64) -> Option<u64> {
        match &self.numbering {
            // Relaxed in `are_none`: E2 carries it, with the gate of the chunk before.
            Some(numbering) if start > 0 && !self.bounds.voids.are_none() => {
                let voids = numbering.voids_below(start, &self.gates)?;
                numbering.note_chunk(start, voids);
                Some(voids)
            }
            _ => Some(0),
        }
    }

    /// Notes the voids below an index whose owner a later lap passes by; `None` if its chunk was
    /// opened for that lap meanwhile.
    pub(super) fn note_passed_by(&self, index: u64) -> Option<()> {
        match &self.numbering {
            Some(numbering) => numbering.note_passed_by(index, &self.gates),
            None => Some(()),
        }
    }
}
