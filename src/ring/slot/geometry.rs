//! The sizes of a lane, and the arithmetic between an index and its slot.
//!
//! A lane is an array of slots, a power of two, used over and over. Its indices count its claims
//! from 0; index `i` lives in slot `i mod slots`. The **generation** of an index is how often its
//! slot is opened until the index can be granted: `i / slots + 1`. Slots are opened in **chunks**
//! of neighbours, one chunk by one decision. A lane promises to hold its last
//! [`window`](Geometry::window) frames. The rest of its slots is one chunk and the **slack**: the
//! right to overwrite is handed out that far ahead, so that publishers look at the pins once every
//! `slack` frames, and not for each frame.

/// The most frames that a lane can be asked to hold: 2^30.
pub const MAX_WINDOW: usize = 1 << 30;

/// Indices stay below this, so that a pin's word has bits to spare. At 10^8 frames a second in one
/// lane it is reached after more than five years; publishing then fails with
/// [`PublishError::Exhausted`](super::PublishError::Exhausted).
const MAX_INDEX: u64 = 1 << 54;

/// Generations stay below this, so that a stamp and a gate's word can name them. In a lane of fewer
/// than 65,536 slots this limit comes first: in one of 1,024 slots, after a month of 10^8 frames a
/// second.
const MAX_GENERATION: u64 = (1 << (crate::ring::slot::stamp::GENERATION_BITS - 1)) - 1;

/// The most slots in a chunk: a gate's word has this many bits for void slots.
pub(crate) const MAX_CHUNK: u64 = 16;

/// The sizes of one lane.
///
/// Made by [`for_window`](Self::for_window); the same for the life of the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// How many slots there are: a power of two, at least 2.
    slots: u64,
    /// `slots - 1`: masks the slot of an index.
    mask: u64,
    /// How many slots one decision opens: a power of two, 1 to [`MAX_CHUNK`].
    chunk: u64,
    /// How many indices beyond the tail's chunk may be overwritten without a look at the pins: a
    /// multiple of `chunk`.
    slack: u64,
    /// How many indices a pin covers unless a reader needs more: a power of two.
    batch: u64,
    /// The base-2 logarithm of `slots`.
    slots_bits: u32,
    /// The base-2 logarithm of `chunk`.
    chunk_bits: u32,
    /// The first index that is never granted, the start of a chunk.
    end: u64,
}

impl Geometry {
    /// The smallest lane that holds at least `window` frames. A window of 0 counts as 1, one above
    /// [`MAX_WINDOW`] as [`MAX_WINDOW`].
    ///
    /// ```
    /// # use framebus::ring::Geometry;
    /// let lane = Geometry::for_window(50_000);
    /// assert!(lane.window() >= 50_000);
    /// assert_eq!(lane.slots(), 65_536);
    /// ```
    pub fn for_window(window: usize) -> Self {
        let window = window.clamp(1, MAX_WINDOW) as u64;
        let mut slots = window.next_power_of_two().max(2);
        loop {
            let chunk = (slots / 8).clamp(1, MAX_CHUNK);
            let geometry = Geometry {
                slots,
                mask: slots - 1,
                chunk,
                slack: (slots / 8) & !(chunk - 1),
                batch: (slots / 16).clamp(1, 256),
                slots_bits: slots.trailing_zeros(),
                chunk_bits: chunk.trailing_zeros(),
                end: end(slots),
            };
            if geometry.window() >= window as usize {
                return geometry;
            }
            slots *= 2;
        }
    }

    /// Exact sizes, for a model checker, where each slot costs. `slots` and `chunk` are powers of
    /// two, `chunk` divides `slots` and `slack`, and `chunk + slack <= slots`; values out of range
    /// are brought into range.
    #[cfg(any(test, feature = "testing"))]
    pub fn exact(slots: u64, chunk: u64, slack: u64, batch: u64) -> Self {
        let slots = slots.max(2).next_power_of_two();
        let chunk = chunk.next_power_of_two().clamp(1, MAX_CHUNK.min(slots));
        let slack = slack.min(slots - chunk) & !(chunk - 1);
        Geometry {
            slots,
            mask: slots - 1,
            chunk,
            slack,
            batch: batch.next_power_of_two().clamp(1, slots),
            slots_bits: slots.trailing_zeros(),
            chunk_bits: chunk.trailing_zeros(),
            end: end(slots),
        }
    }

    /// The same lane with fewer indices, for tests of its end: `index`, rounded down to the start
    /// of a chunk, is the first that is never granted.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn ending_at(self, index: u64) -> Self {
        Geometry {
            end: self.chunk_start(index).min(self.end),
            ..self
        }
    }

    /// How many frames the lane holds for sure: the last `window` frames published are readable.
    pub fn window(&self) -> usize {
        (self.slots - self.slack - self.chunk + 1) as usize
    }

    /// How many slots the lane has: a power of two.
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// How many slots one decision opens.
    pub(crate) fn chunk(&self) -> u64 {
        self.chunk
    }

    /// How far beyond the tail the right to overwrite is handed out at once.
    pub(crate) fn slack(&self) -> u64 {
        self.slack
    }

    /// How many indices a pin covers unless a reader needs more.
    pub(crate) fn batch(&self) -> u64 {
        self.batch
    }

    /// How many indices a lap has: the number of slots.
    #[inline(always)]
    pub(crate) fn span(&self) -> u64 {
        self.slots
    }

    /// The slot of `index`.
    #[inline(always)]
    pub(crate) fn slot(&self, index: u64) -> usize {
        (index & self.mask) as usize
    }

    /// How often the slot of `index` was opened when `index` is granted; at least 1.
    #[inline(always)]
    pub(crate) fn generation(&self, index: u64) -> u64 {
        (index >> self.slots_bits) + 1
    }

    /// The first index that is never granted, the start of a chunk.
    #[inline(always)]
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The first index of the chunk of `index`.
    #[inline(always)]
    pub(crate) fn chunk_start(&self, index: u64) -> u64 {
        index & !(self.chunk - 1)
    }

    /// One above the last index of the chunk of `index`.
    #[inline(always)]
    pub(crate) fn chunk_end(&self, index: u64) -> u64 {
        self.chunk_start(index) + self.chunk
    }

    /// The chunk of `index`, which is its position among the gates.
    #[inline(always)]
    pub(crate) fn chunk_of(&self, index: u64) -> usize {
        self.slot(index) >> self.chunk_bits
    }

    /// The bit of the slot of `index` among those of its chunk.
    #[inline(always)]
    pub(crate) fn chunk_bit(&self, index: u64) -> u64 {
        1 << (index & (self.chunk - 1))
    }

    /// How many chunks the lane has.
    pub(crate) fn chunks(&self) -> usize {
        (self.slots / self.chunk) as usize
    }
}

/// The end of a lane with `slots` slots: a power of two or a multiple of `slots`, and so the start
/// of a chunk.
fn end(slots: u64) -> u64 {
    MAX_INDEX.min(MAX_GENERATION << slots.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_asked_for_and_wastes_less_than_three_quarters() {
        for window in (1..2_000).chain([50_000, 57_000, 65_536, 1 << 20, MAX_WINDOW]) {
            let lane = Geometry::for_window(window);
            assert!(lane.window() >= window, "{window}: {lane:?}");
            assert!(lane.slots() <= 4 * window.max(2), "{window}: {lane:?}");
            assert_eq!(lane.slack() % lane.chunk(), 0);
            assert!(lane.batch() <= lane.span());
        }
        assert_eq!(Geometry::for_window(0), Geometry::for_window(1));
        assert_eq!(
            Geometry::for_window(usize::MAX),
            Geometry::for_window(MAX_WINDOW)
        );
    }

    #[test]
    fn slack_is_an_eighth_and_a_batch_a_sixteenth_of_the_slots() {
        for (window, slots, slack, batch) in [
            (1, 2, 0, 1),
            (12, 16, 2, 1),
            (96, 128, 16, 8),
            (50_000, 65_536, 8_192, 256),
        ] {
            let lane = Geometry::for_window(window);
            let sizes = (lane.span(), lane.slack(), lane.batch());
            assert_eq!(sizes, (slots, slack, batch), "{window}");
        }
    }

    #[test]
    fn index_arithmetic() {
        let lane = Geometry::exact(8, 2, 2, 2);
        assert_eq!(
            (
                lane.slot(19),
                lane.generation(19),
                lane.chunk_start(19),
                lane.chunk_of(19)
            ),
            (3, 3, 18, 1)
        );
        assert_eq!(lane.chunks(), 4);
    }

    #[test]
    fn sizes_out_of_range_are_brought_into_it() {
        // At most what a chunk leaves of the slots, in whole chunks.
        assert_eq!(Geometry::exact(8, 2, 100, 2).slack(), 6);
        assert_eq!(Geometry::exact(8, 2, 3, 2).slack(), 2);
        assert_eq!(Geometry::exact(8, 4, 3, 2).slack(), 0);
        assert_eq!(Geometry::exact(8, 16, 0, 16).chunk(), 8);
    }

    #[test]
    fn a_lane_ends_with_its_generations_or_its_indices() {
        assert_eq!(end(2), 2 * MAX_GENERATION);
        assert_eq!(end(1 << 30), MAX_INDEX);
    }
}
