//! A lane: one ring of slots, which publishers claim in turn and readers read under pins.
//!
//! A publisher **claims** an index by one step of the tail, and learns from the gate of its chunk
//! whether the index is granted or void. A granted index is the claimer's alone: it writes with
//! plain stores and one release store of the stamp. A void index never carries a frame; its claimer
//! claims another one. Nobody waits: what would have to be waited for is made void. As long as
//! nothing is void, one look at the clear run says that an index is granted.
//!
//! Each mechanism is a type of its own: [`tail`] and [`gate`] say which index is whose, [`window`]
//! and [`pins`] keep publishers from what readers touch, [`clear`] makes the common case short,
//! [`numbering`] derives sequence numbers from indices, [`stragglers`] says where a lapped
//! reader's losses lie, [`freeing`] has the words of a lane that drops what all have read, and
//! [`claim`] is the right to write a slot. [`Lane`] puts them together: `open.rs` opens chunks,
//! `claiming.rs` claims indices, `sequences.rs` numbers them, `pass.rs` frees them.
//!
//! # Why the next owner's writes are safe
//! They happen after the last owner's writes and after the reads under earlier pins: last owner's
//! stamp (E1) or pin (E4) -> an opener's acquire of it -> the limit (E3), if another opener raised
//! it -> the gate (E2) -> the claimer. Later words of a gate and of the limit are
//! read-modify-writes, and so carry earlier releases on. In the clear run, E6 takes the place of
//! E2.

#[allow(unsafe_code, reason = "the right to write a slot")]
mod claim;
#[allow(unsafe_code, reason = "grants slots")]
mod claiming;
#[forbid(unsafe_code)]
mod clear;
#[forbid(unsafe_code)]
mod freeing;
#[forbid(unsafe_code)]
mod gate;
#[forbid(unsafe_code)]
mod id;
#[forbid(unsafe_code)]
mod numbering;
#[forbid(unsafe_code)]
mod open;
#[allow(unsafe_code, reason = "takes frames out of slots")]
mod pass;
#[forbid(unsafe_code)]
mod pins;
#[forbid(unsafe_code)]
mod sequences;
#[forbid(unsafe_code)]
mod stragglers;
#[forbid(unsafe_code)]
mod tail;
#[forbid(unsafe_code)]
mod window;

#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use self::claim::Claim;
pub(crate) use self::claim::Claims;
use self::clear::ClearRun;
use self::freeing::Freeing;
use self::gate::{Gates, Voids};
pub(crate) use self::id::{LANES, LaneClass, LaneId};
use self::numbering::IndexNumbering;
pub(crate) use self::pins::{OwnPins, PinRow, PinTable, Pins};
use self::stragglers::Stragglers;
use self::tail::{End, Tail};
use self::window::Window;
use crate::ring::sequence::MAX_SEQUENCE;
use crate::ring::slot::{Geometry, Order, Slots, TagFilter};
use crossbeam_utils::CachePadded;
use std::ops::Range;

/// A ring of slots that publishers claim in turn and readers read under pins.
pub(crate) struct Lane<T> {
    geometry: Geometry,
    /// Which word of a row of pins is this lane's. Never changes.
    class: LaneClass,
    /// Every publisher writes it.
    tail: Tail,
    /// What readers look at and publishers write rarely.
    bounds: CachePadded<Bounds>,
    /// Openers write it, every claimer reads it.
    clear: CachePadded<ClearRun>,
    /// From this index on, two laps before indices or sequence numbers end, batches look before
    /// they claim. Never changes.
    near_end: u64,
    gates: Gates,
    stragglers: Stragglers,
    /// Of a lane whose indices are the ring's sequence numbers.
    numbering: Option<IndexNumbering>,
    /// Of a lane that frees what was read.
    freeing: Option<Box<Freeing>>,
    slots: Slots<T>,
}

/// The words of a lane that change rarely, on one cache line.
struct Bounds {
    window: Window,
    voids: Voids,
    end: End,
}

/// What is to be seen at an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peek {
    /// Its frame is there; it may be read under a pin.
    Ready,
    /// Not claimed, or claimed and not finished.
    Pending,
    /// It never carries a frame.
    Void,
    /// It was granted, and abandoned without a frame.
    Abandoned,
    /// Its slot went on to a later lap.
    Lapped,
}

/// Why no index could be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClaimError {
    /// Every slot is held by a reader or a writer that does not move.
    Stuck,
    /// The lane's indices, or the sequence numbers, are used up.
    Exhausted,
}

impl<T> Lane<T> {
    /// A new lane. With `numbered_from`, its indices are the ring's sequence numbers, from that one
    /// on. `frees` says if it frees what was read.
    pub(crate) fn new(
        geometry: Geometry,
        class: LaneClass,
        numbered_from: Option<u64>,
        frees: bool,
    ) -> Self {
        let sequences = numbered_from.map_or(u64::MAX, |first| MAX_SEQUENCE + 1 - first);
        Lane {
            geometry,
            class,
            tail: Tail::new(),
            bounds: CachePadded::new(Bounds {
                window: Window::new(&geometry),
                voids: Voids::default(),
                end: End::new(geometry.end()),
            }),
            clear: CachePadded::new(ClearRun::default()),
            near_end: geometry
                .end()
                .min(sequences)
                .saturating_sub(2 * geometry.span()),
            gates: Gates::new(&geometry),
            stragglers: Stragglers::new(&geometry, frees),
            numbering: numbered_from.map(|first| IndexNumbering::new(first, &geometry)),
            freeing: frees.then(|| Box::new(Freeing::new())),
            slots: Slots::new(geometry),
        }
    }

    /// Allocates the memory for frames.
    pub(crate) fn allocate(&self) {
        self.slots.allocate();
    }

    #[inline(always)]
    pub(crate) fn class(&self) -> LaneClass {
        self.class
    }

    #[inline(always)]
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// One above the highest claimed index, at most the lane's end.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(self.end())
    }

    /// Whether no index from `index` on was claimed: what [`tail`](Self::tail) says, in one load.
    #[inline(always)]
    pub(crate) fn is_unclaimed_from(&self, index: u64) -> bool {
        self.tail.load(u64::MAX) <= index
    }

    /// The first index that is never granted.
    #[inline(always)]
    fn end(&self) -> u64 {
        self.bounds.end.load()
    }

    /// Whether the end of indices or sequence numbers may be near. Does not look at the tail, which
    /// other publishers write.
    #[inline(always)]
    pub(crate) fn is_near_end(&self) -> bool {
        // A hint. Nobody claims a lap beyond the open chunks, and these lie below the horizon.
        self.bounds.window.horizon() >= self.near_end
    }

    /// Returns false if `count` more indices can never be claimed.
    #[cold]
    pub(crate) fn has_room_for(&self, count: u64) -> bool {
        count <= self.end() - self.tail()
    }

    /// How many indices were made void so far.
    pub(crate) fn voids(&self) -> u64 {
        self.bounds.voids.count()
    }

    /// The lowest index that may not be overwritten yet without a look at the pins. After a pin and
    /// a SeqCst fence (E5) it says whether the pin came in time; elsewhere it is a hint.
    #[inline(always)]
    pub(crate) fn oldest(&self) -> u64 {
        self.bounds.window.horizon() - self.geometry.span()
    }

    /// The order of a claimed index with this sequence number, in a lane that is not
    /// index-numbered. Called before the stamp.
    #[inline(always)]
    pub(crate) fn assign_order(&self, index: u64, sequence: u64) -> Order {
        self.stragglers.assign_order(index, sequence, self.tail())
    }

    /// What is to be seen at `index`. Needs no pin.
    #[inline(always)]
    pub(crate) fn peek(&self, index: u64) -> Peek {
        let (stamp, generation) = (self.slots.stamp(index), self.geometry.generation(index));
        if stamp.is_done(generation) {
            return Peek::Ready;
        }
        match stamp.generation().cmp(&generation) {
            std::cmp::Ordering::Greater => Peek::Lapped,
            std::cmp::Ordering::Equal => Peek::Abandoned,
            std::cmp::Ordering::Less if self.bounds.voids.are_none() => Peek::Pending,
            std::cmp::Ordering::Less => self.peek_gate(index),
        }
    }

    #[cold]
    fn peek_gate(&self, index: u64) -> Peek {
        let gate = self.gates.load(index);
        match gate.generation().cmp(&self.geometry.generation(index)) {
            std::cmp::Ordering::Greater => Peek::Lapped,
            std::cmp::Ordering::Equal if gate.is_void(index) => Peek::Void,
            _ => Peek::Pending,
        }
    }

    /// The first index from `index` on, at most `end`, whose stamp does not say that its frame is
    /// unwanted.
    #[inline(always)]
    pub(crate) fn skip_unwanted(&self, index: u64, end: u64, filter: &TagFilter) -> u64 {
        self.slots.skip_unwanted(index, end, filter)
    }

    /// Begins to fetch the frame of an index that is about to be pinned: the pin's fence waits.
    #[inline(always)]
    pub(crate) fn prefetch_frame(&self, index: u64) {
        self.slots.prefetch_frame(index);
    }

    /// Takes the cache lines of these indices from the publisher that wrote them.
    pub(crate) fn acquire_lines(&self, indices: Range<u64>) {
        self.slots.acquire_lines(indices, !self.is_index_numbered());
    }

    /// The slots, for reads under a pin.
    #[inline(always)]
    pub(crate) fn slots(&self) -> &Slots<T> {
        &self.slots
    }

    /// Returns a sequence number such that each frame below `oldest` that was finished before the
    /// caller looked is numbered below it, or below every frame of the lane at `oldest` or above.
    /// Takes a step for each chunk.
    pub(crate) fn stragglers_below(&self, oldest: u64) -> u64 {
        self.stragglers.below(oldest)
    }

    /// The indices below `oldest` whose owners may be unfinished. Takes a step for each chunk, and
    /// one for each slot that was not opened again since `oldest`.
    pub(crate) fn unfinished(&self, oldest: u64) -> Vec<u64> {
        let mut found = self.gates.candidates_below(oldest);
        found.retain(|&index| self.is_unfinished(index));
        found
    }

    /// Whether the owner of a claimed index may be at work on it, or may still be granted it.
    pub(crate) fn is_unfinished(&self, index: u64) -> bool {
        let generation = self.geometry.generation(index);
        if self.slots.stamp(index).generation() >= generation {
            return false;
        }
        let gate = self.gates.load(index);
        gate.generation() < generation || self.gates.is_granted(index, gate)
    }
}
