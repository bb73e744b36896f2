//! A lane: one ring of slots under a tail, and who may write which slot.
//!
//! A publisher **claims** an index by one fetch-add on the tail and then learns from the chunk's
//! **gate** whether the index is granted or void. A granted index is the claimer's alone: it
//! writes with plain stores and one release store of the stamp. A void index carries no frame, ever;
//! its claimer claims another. Nobody waits: what would have to be waited for is made void.
//!
//! # Gates
//! A gate is a word for each chunk of places: the lap for which the chunk was last opened, and a bit
//! for each of its places that is void in that lap. Whoever claims an index of a chunk that is
//! not open yet for its lap opens it: it finds out which slots are free and swaps the whole
//! decision in by one compare-exchange. Several openers may differ in what they saw; one of their
//! decisions holds for all, since it is one word. A slot is free for the new lap if its **last
//! granted index** is finished (its stamp says so) and no pin covers it. The last granted index is
//! - the place's index in the gate's lap, if its bit there is clear;
//! - else what `granted` says: before a decision makes a place void whose bit was clear, the
//!   opener raises `granted` to the index of the lap before. It never lowers it, and with a value
//!   that only depends on the gate's word, so late and losing openers do no harm: `granted` never
//!   names an index that was not granted, and nothing newer can be granted while that one is
//!   unfinished.
//!
//! So a writer that sleeps on its slot costs that slot alone, and makes it void lap after lap until
//! it is done. A claimer that was suspended *between* its claim and its look at the gate may find
//! the gate laps ahead; `granted` names its index exactly if it had been granted, and then it gives
//! the slot up; else the index was void. Either way it claims another. How a chunk is opened beside readers
//! that hold places is in `lane/open.rs`.
//!
//! # Orderings
//! The next owner's writes happen after the last owner's and after the reads under earlier pins:
//! last owner's stamp (release) or pin (release) -> opener's acquire load of it -> [limit
//! (release) -> acquire ->] gate (release) -> claimer's acquire load of the gate. Later gate words
//! and limits are read-modify-writes and so carry the earlier releases on.

mod claim;
#[forbid(unsafe_code)]
mod lapped;
#[forbid(unsafe_code)]
mod open;

pub(crate) use self::claim::{Block, Claim};
use self::lapped::Straddlers;
use super::geometry::{Geometry, MAX_INDEX};
use super::pins::PinTable;
use super::slot::{Numbered, Slot, unused_slots, zeroed_words};
use super::tag::{self, TagFilter};
use crate::sync::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// See the module.
pub(crate) struct Lane<T> {
    geometry: Geometry,
    /// Which word of a row of pins is this lane's.
    number: usize,
    tail: CachePadded<AtomicU64>,
    bounds: CachePadded<Bounds>,
    gates: Box<[AtomicU64]>,
    /// One above the last granted index of a place that is void; else an older one.
    granted: Box<[AtomicU64]>,
    tags: Box<[AtomicU64]>,
    straddlers: Straddlers,
    slots: Box<[Slot<T>]>,
}

/// What changes rarely, and what readers look at.
struct Bounds {
    horizon: AtomicU64,
    limit: AtomicU64,
    /// Not 0 once a place was made void: only then need readers look at gates.
    voids: AtomicU64,
    /// How many indices were made void.
    voided: AtomicU64,
}

/// What is to be seen at an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peek {
    /// Its frame is there; it may be read under a pin.
    Ready,
    /// Not claimed, or claimed and not finished.
    Pending,
    /// It carries no frame, ever.
    Void,
    /// Its slot went on to a later lap.
    Lapped,
}

/// Why no index could be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClaimError {
    /// Every place is held by a reader or a writer that does not move.
    Stuck,
    /// The lane's indices are used up.
    Exhausted,
}

impl<T> Lane<T> {
    pub(crate) fn new(geometry: Geometry, number: usize) -> Self {
        let places = geometry.places();
        Lane {
            geometry,
            number,
            tail: CachePadded::new(AtomicU64::new(0)),
            bounds: CachePadded::new(Bounds {
                // The first lap overwrites nothing.
                horizon: AtomicU64::new(geometry.span()),
                limit: AtomicU64::new(geometry.span()),
                voids: AtomicU64::new(0),
                voided: AtomicU64::new(0),
            }),
            gates: zeroed_words(geometry.gates()),
            granted: zeroed_words(places),
            tags: zeroed_words(places),
            straddlers: Straddlers::new(&geometry),
            slots: unused_slots(places),
        }
    }

    /// Which word of a row of pins is this lane's.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// One above the highest claimed index.
    ///
    /// Relaxed: callers rely on claims that happen before what they acquired earlier (a stamp or
    /// the global sequence), and coherence makes the load see those.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Relaxed)
    }

    /// How many indices were made void so far.
    pub(crate) fn voided(&self) -> u64 {
        // Relaxed: a figure.
        self.bounds.voided.load(Ordering::Relaxed)
    }

    /// The lowest index that may not be overwritten yet without a look at the pins, as far as the
    /// caller can see.
    #[inline(always)]
    pub(crate) fn oldest(&self) -> u64 {
        // Relaxed: after a pin, the fence orders this load (see pins.rs); elsewhere it is a hint.
        self.bounds.horizon.load(Ordering::Relaxed) - self.geometry.span()
    }

    // Publishing.

    /// Claims an index that is granted: at most as many tries as the lane has places.
    #[inline(always)]
    pub(crate) fn claim(&self, pins: &PinTable) -> Result<Claim<'_, T>, ClaimError> {
        // Relaxed: the claim is ordered before the global sequence number by being sequenced before
        // that number's release, and nothing else is read off the tail.
        let index = self.tail.fetch_add(1, Ordering::Relaxed);
        // Most often the chunk is open for this lap, and no place void. Acquire: as in `admit`.
        if self.gate_word(index) == self.geometry.open_gate(index) {
            return Ok(self.own(index));
        }
        let index = match self.admit(index, pins)? {
            true => index,
            false => self.claim_again(pins)?,
        };
        Ok(self.own(index))
    }

    /// Claims until an index is granted.
    #[cold]
    #[inline(never)]
    fn claim_again(&self, pins: &PinTable) -> Result<u64, ClaimError> {
        for _ in 0..self.geometry.span() {
            // Relaxed: as in `claim`.
            let index = self.tail.fetch_add(1, Ordering::Relaxed);
            if self.admit(index, pins)? {
                return Ok(index);
            }
        }
        Err(ClaimError::Stuck)
    }

    /// Claims `count` indices, ascending: one fetch-add for all of them unless some are void, and one
    /// look at each gate.
    pub(crate) fn claim_block<'a>(
        &'a self,
        count: u64,
        pins: &PinTable,
    ) -> Result<Block<'a, T>, ClaimError> {
        // Relaxed: as in `claim`.
        let first = self.tail.fetch_add(count, Ordering::Relaxed);
        // With every gate open and no place void the whole range is the caller's. Else each index is
        // looked at again, on its own: what was granted still is, or is given up there.
        let mut block = self.no_claims();
        if self.admit_all(first, count, pins) {
            block.range = first..first + count;
            block.end = Some(first + count);
            return Ok(block);
        }
        let mut claims = Vec::with_capacity(count as usize);
        let mut missing = 0;
        for index in first..first + count {
            match self.admit(index, pins)? {
                true => claims.push(self.own(index)),
                false => missing += 1,
            }
        }
        for _ in 0..missing {
            claims.push(self.own(self.claim_again(pins)?));
        }
        block.others = claims.into_iter();
        Ok(block)
    }

    /// Whether all of these claimed indices are granted. If so, they are the caller's.
    fn admit_all(&self, first: u64, count: u64, pins: &PinTable) -> bool {
        let end = first.saturating_add(count);
        if end > MAX_INDEX {
            return false;
        }
        let mut from = first;
        while from < end {
            let to = (self.geometry.chunk_start(from) + self.geometry.chunk()).min(end);
            let mut gate = self.gate_word(from);
            while self.gate_lap(gate) < self.geometry.lap(from) + 1 {
                gate = self.open(from, gate, pins);
            }
            let bits = ((1 << (to - from)) - 1) * self.gate_bit(from);
            if self.gate_lap(gate) != self.geometry.lap(from) + 1 || gate & bits != 0 {
                return false;
            }
            from = to;
        }
        true
    }

    /// Whether a claimed index is granted: then it is the caller's. Each turn of the loop finds the
    /// gate moved on by this thread or another, at most to the index's own lap.
    #[inline(never)]
    fn admit(&self, index: u64, pins: &PinTable) -> Result<bool, ClaimError> {
        // No chunk is opened there: nobody comes past this.
        if index >= MAX_INDEX {
            return Err(ClaimError::Exhausted);
        }
        // Acquire: PAIR: the gate's exchange in `decide`.
        let mut gate = self.gate_word(index);
        loop {
            match self.gate_lap(gate).cmp(&(self.geometry.lap(index) + 1)) {
                std::cmp::Ordering::Equal => return Ok(self.is_open(gate, index)),
                std::cmp::Ordering::Greater => {
                    self.arrive_late(index);
                    return Ok(false);
                }
                std::cmp::Ordering::Less => gate = self.open(index, gate, pins),
            }
        }
    }

    /// The gate went on before the claimer looked: if its index had been granted, the slot is its
    /// own and nobody else will free it.
    #[cold]
    fn arrive_late(&self, index: u64) {
        // Relaxed: the decision that passed this index by was acquired with the gate, and its
        // opener raised `granted` before.
        if self.granted[self.geometry.place(index)].load(Ordering::Relaxed) == index + 1 {
            drop(self.own(index));
        }
    }

    #[inline(always)]
    fn gate_word(&self, index: u64) -> u64 {
        // Acquire: PAIR: the exchange in `decide`.
        self.gates[self.geometry.gate(index)].load(Ordering::Acquire)
    }

    /// One above the lap that the gate was last opened for; 0 if never.
    #[inline(always)]
    fn gate_lap(&self, gate: u64) -> u64 {
        gate >> self.geometry.chunk()
    }

    #[inline(always)]
    fn gate_bit(&self, index: u64) -> u64 {
        1 << (index & (self.geometry.chunk() - 1))
    }

    #[inline(always)]
    fn is_open(&self, gate: u64, index: u64) -> bool {
        gate & self.gate_bit(index) == 0
    }

    // Reading.

    /// What is to be seen at `index`, in a bounded number of steps. Needs no pin.
    #[inline(always)]
    pub(crate) fn peek(&self, index: u64) -> Peek {
        let stamp = self.slots[self.geometry.place(index)].stamp();
        if stamp.is_done(index) {
            return Peek::Ready;
        }
        match stamp.finished().cmp(&(index + 1)) {
            std::cmp::Ordering::Greater => Peek::Lapped,
            std::cmp::Ordering::Equal => Peek::Void,
            // Relaxed: see `decide`.
            _ if self.bounds.voids.load(Ordering::Relaxed) == 0 => Peek::Pending,
            _ => self.peek_gate(index),
        }
    }

    #[cold]
    fn peek_gate(&self, index: u64) -> Peek {
        let gate = self.gate_word(index);
        match self.gate_lap(gate).cmp(&(self.geometry.lap(index) + 1)) {
            std::cmp::Ordering::Greater => Peek::Lapped,
            std::cmp::Ordering::Equal if !self.is_open(gate, index) => Peek::Void,
            _ => Peek::Pending,
        }
    }

    /// The slots from `index`'s on, up to the last place.
    #[inline(always)]
    pub(crate) fn slots_from(&self, index: u64) -> &[Slot<T>] {
        &self.slots[self.geometry.place(index)..]
    }

    /// The first index from `index` on, or `end`, whose tag doesn't say that it is unwanted.
    #[inline(always)]
    pub(crate) fn pass_unwanted(&self, mut index: u64, end: u64, filter: &TagFilter) -> u64 {
        while index < end {
            if index.is_multiple_of(8) {
                let place = self.geometry.place(index);
                let last = self.tags.len().min(place + (end - index) as usize);
                index += filter.passes_over(&self.tags[place..last], index) as u64;
            }
            if index < end && self.tag(index).is_some_and(|tag| !filter.matches(tag)) {
                index += 1;
            } else {
                break;
            }
        }
        index
    }

    /// The tag of `index`'s frame, if it is there to be seen. No tag proves nothing.
    #[inline(always)]
    pub(crate) fn tag(&self, index: u64) -> Option<u32> {
        // Relaxed: the word names its own index, and nothing else is read on its account.
        tag::unpack(
            self.tags[self.geometry.place(index)].load(Ordering::Relaxed),
            index,
        )
    }

    /// The place in the order of `index`'s frame.
    ///
    /// # Safety
    /// The caller holds a checked pin on `index` and `peek` said that it is ready.
    #[inline(always)]
    pub(crate) unsafe fn numbered(&self, index: u64) -> Numbered {
        // SAFETY: S3 by the caller.
        unsafe { self.slots[self.geometry.place(index)].numbered() }
    }

    /// Lends `index`'s frame to `f`.
    ///
    /// # Safety
    /// The caller holds a checked pin on `index` until `f` returns, and `peek` said that it is ready.
    #[inline(always)]
    pub(crate) unsafe fn read<R>(&self, index: u64, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: S3 by the caller.
        unsafe { self.slots[self.geometry.place(index)].read(f) }
    }
}
