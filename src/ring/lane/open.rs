//! Opening a chunk for its next lap: the one decision which of its slots are void.
//!
//! Chunks are opened in order. A claimer of an index whose chunk is not open for its lap opens it,
//! and before it the chunks before it that are not open. There are few: each has claimers that
//! have claimed and not looked yet.
//!
//! An opener finds out which slots are free, and exchanges the gate for its whole decision. A slot
//! is free if its last granted index is finished, by its stamp, and no pin covers that index. So a
//! writer that is suspended costs its own slot, lap after lap until it is done, and nothing else.
//!
//! An opener goes on to open the next few chunks, if that takes no look at the pins and nothing in
//! them is void: then the claimers that come there need not do it.

use super::Lane;
use super::gate::Gate;
use super::pins::PinTable;
use crate::ring::sequence::MAX_SEQUENCE;
use std::ops::Range;

/// How many chunks are opened ahead, at most, within a lane's slack.
const AHEAD: u64 = 8;

impl<T> Lane<T> {
    /// The gate of `index`, open for its lap or a later one.
    #[inline(always)]
    pub(super) fn open_gate(&self, index: u64, pins: PinTable<'_>) -> Gate<'_> {
        let gate = self.gates.load(index);
        if gate.generation() < self.geometry.generation(index) {
            self.open(index, pins)
        } else {
            gate
        }
    }

    /// Opens the chunk of `index` for its lap, unless another thread does first.
    #[inline(never)]
    fn open(&self, index: u64, pins: PinTable<'_>) -> Gate<'_> {
        let chunk = self.geometry.chunk();
        let last = self.geometry.chunk_start(index);
        let mut start = last;
        while start > 0 && !self.gates.is_open_for(start - chunk) {
            start -= chunk;
        }
        while start < last {
            self.open_chunk(start, pins);
            start += chunk;
        }
        let gate = self.open_chunk(last, pins);
        self.open_ahead(last + chunk);
        gate
    }

    /// Opens the chunk at `start`, unless another thread does first. The chunks before it are open,
    /// and their gates were acquired.
    fn open_chunk(&self, start: u64, pins: PinTable<'_>) -> Gate<'_> {
        // Of this lap or the last one: nothing older, since a chunk in between was acquired.
        let gate = self.gates.load(start);
        if gate.generation() >= self.geometry.generation(start) {
            return gate;
        }
        if start == 0 {
            // E2, of this chunk, carries it to those who open others, and to all claimers.
            self.allocate();
        }
        let end = self.geometry.chunk_end(start);
        let pinned = if self.bounds.window.limit() < end {
            // Slack counts from the tail, since a batch opens chunks before it claims their slots,
            // and may be refused then: the horizon stays within a lap of the tail, so a reader that
            // starts at the oldest index misses nothing that is claimed later.
            let newest = self.tail().max(1) - 1;
            let target = self.geometry.chunk_end(newest) + self.geometry.slack();
            let target = target.max(end);
            let window = &self.bounds.window;
            window.extend(&self.geometry, start, target, self.class, pins)
        } else {
            0
        };
        let is_clear = pinned == 0
            && self
                .slots
                .all_finished(self.chunk_slots(start), gate.generation());
        let void = if is_clear {
            Some(0)
        } else {
            self.unavailable(start, gate, pinned)
        };
        if let Some(void) = void
            && let Some(below) = self.note_voids(start)
            && let Some(opened) = self.decide(start, gate, void)
        {
            if void == 0 {
                self.extend_clear_run(start, end, below);
            }
            return opened;
        }
        // Another thread opened it.
        self.gates.load(start)
    }

    /// Opens the chunks from `start` on, as far as that is simple: no look at the pins, nothing
    /// void, not beyond the last slot or the lane's end. The chunks before `start` are open.
    #[inline(always)]
    fn open_ahead(&self, start: u64) {
        let (chunk, generation) = (self.geometry.chunk(), self.geometry.generation(start));
        let first = self.geometry.slot(start);
        let ahead = (AHEAD * chunk).min(self.geometry.slack());
        let last = self.geometry.slots().min(first + ahead as usize);
        // All lines at once, while the chunk before is filled; not one by one after a locked
        // instruction each.
        self.slots
            .prefetch_for_write(first..last, !self.is_index_numbered());
        let limit = self.bounds.window.limit();
        let end = limit.min(start + (last - first) as u64);
        let end = end.min(self.geometry.end());
        if end <= start
            || !self
                .slots
                .all_finished(first..first + (end - start) as usize, generation - 1)
        {
            return;
        }
        // If a slot was void in the last lap, the gate has another word, and the exchange fails.
        let gate = self.gates.clear(generation - 1);
        let (mut opened, mut voids) = (start, 0);
        while opened < end {
            match self.note_voids(opened) {
                Some(below) if self.decide(opened, gate, 0).is_some() => voids = below,
                _ => break,
            }
            opened += chunk;
        }
        self.extend_clear_run(start, opened, voids);
    }

    /// The slots of the chunk at `start`.
    #[inline(always)]
    fn chunk_slots(&self, start: u64) -> Range<usize> {
        let first = self.geometry.slot(start);
        first..first + self.geometry.chunk() as usize
    }

    /// The bits of the slots of a chunk that can't be granted for the lap of `start`. Notes their
    /// owners. `None` if the gate moved on meanwhile.
    #[cold]
    fn unavailable(&self, start: u64, gate: Gate<'_>, pinned: u64) -> Option<u64> {
        let mut void = pinned;
        for index in start..self.geometry.chunk_end(start) {
            let last_granted = self.gates.last_granted(index, gate);
            let bit = self.geometry.chunk_bit(index);
            // E1: acquire, in `stamp`: the next owner's writes happen after the last one's.
            if self.slots.stamp(index).generation() != last_granted {
                void |= bit;
            }
            let was_granted = gate.generation() > 0 && !gate.is_void(index);
            if was_granted && void & bit != 0 {
                self.note_passed_by(index - self.geometry.span())?;
                self.gates.note_granted(index, last_granted);
            }
        }
        Some(void)
    }

    /// Makes the one decision on the chunk at `start`: opens it with these void slots. `None` if
    /// another thread did first.
    #[inline(always)]
    fn decide(&self, start: u64, gate: Gate<'_>, void: u64) -> Option<Gate<'_>> {
        if void != 0 {
            self.bounds.voids.expect();
        }
        let opened = self.gates.open(start, gate, void)?;
        if void != 0 {
            self.bounds.voids.add(void.count_ones());
        }
        Some(opened)
    }

    /// Notes that the chunks from `start` to `end`, which are open, have no void slot, and `voids`
    /// void indices below them. Not where sequence numbers end: there, each claimer looks.
    #[inline(always)]
    fn extend_clear_run(&self, start: u64, end: u64, voids: u64) {
        // Where each slot has a gate of its own, the gate says as much.
        let one_each = self.geometry.chunk() == 1;
        if one_each || end == start || self.sequence_at(end - 1, voids) >= MAX_SEQUENCE {
            return;
        }
        self.clear.extend(start, end, voids);
    }
}
