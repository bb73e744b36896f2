//! The sizes of a lane, and the arithmetic between an index and its place.
//!
//! A lane is an array of `places` slots (a power of two), used over and over: index `i`, a claim's
//! number in its lane, lives in place `i mod places` and belongs to lap `i / places`. Places are
//! opened for a lap in chunks of `chunk` neighbours. A lane promises to hold its last
//! [`window`](Geometry::window) frames; the rest is `slack`, by which the right to overwrite is
//! handed out ahead, so that pins are looked at once every `slack` frames and not each frame.

/// The most frames that a lane can be asked to hold: 2^30.
pub const MAX_WINDOW: usize = 1 << 30;

/// Indices stay below this, so that a pin's word has its bits to spare. At 10^8 frames a second in
/// one lane it is reached after more than five years; publishing then fails with
/// [`PublishError::Exhausted`](super::PublishError::Exhausted).
const MAX_INDEX: u64 = 1 << 54;

/// So does their lap stay below this, so that a stamp and a gate's word can name it: in a lane of
/// fewer than 65,536 places that comes first, in one of 1,024 after a month of 10^8 frames a
/// second.
const MAX_LAPS: u64 = (1 << (super::stamp::LAP_BITS - 1)) - 1;

/// The most slots in a chunk: a gate's word has this many bits for void places.
pub(crate) const MAX_CHUNK: u64 = 16;

/// The sizes of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    places: u64,
    /// One less, which masks an index's place.
    mask: u64,
    chunk: u64,
    slack: u64,
    batch: u64,
    /// The base-2 logarithm of `places`.
    places_bits: u32,
    /// That of `chunk`.
    chunk_bits: u32,
    /// How many bits of a gate's word are for void places: `chunk`.
    void_bits: u32,
    /// One above the highest index that is ever given, at a chunk's end.
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
    /// assert_eq!(lane.places(), 65_536);
    /// ```
    pub fn for_window(window: usize) -> Self {
        let window = window.clamp(1, MAX_WINDOW) as u64;
        let mut places = window.next_power_of_two().max(2);
        loop {
            let chunk = (places / 8).clamp(1, MAX_CHUNK);
            let geometry = Geometry {
                places,
                mask: places - 1,
                chunk,
                slack: (places / 8) & !(chunk - 1),
                batch: (places / 16).clamp(1, 256),
                places_bits: places.trailing_zeros(),
                chunk_bits: chunk.trailing_zeros(),
                void_bits: chunk as u32,
                end: end(places),
            };
            if geometry.window() >= window as usize {
                return geometry;
            }
            places *= 2;
        }
    }

    /// Sizes for a model checker, where every place counts. `places` and `chunk` are powers of
    /// two, `chunk` divides `places` and `slack`, and `chunk + slack <= places`; out-of-range
    /// values are brought into range.
    #[cfg(any(test, feature = "testing"))]
    pub fn exact(places: u64, chunk: u64, slack: u64, batch: u64) -> Self {
        let places = places.max(2).next_power_of_two();
        let chunk = chunk.next_power_of_two().clamp(1, MAX_CHUNK.min(places));
        let slack = slack.min(places - chunk) & !(chunk - 1);
        Geometry {
            places,
            mask: places - 1,
            chunk,
            slack,
            batch: batch.next_power_of_two().clamp(1, places),
            places_bits: places.trailing_zeros(),
            chunk_bits: chunk.trailing_zeros(),
            void_bits: chunk as u32,
            end: end(places),
        }
    }

    /// The same lane with fewer indices, for tests of its end: `index` is the first that is not
    /// given, rounded down to a chunk's start.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn ending_at(self, index: u64) -> Self {
        Geometry {
            end: self.chunk_start(index).min(self.end),
            ..self
        }
    }

    /// How many frames the lane holds for sure: the last `window` published are readable.
    pub fn window(&self) -> usize {
        (self.places - self.slack - self.chunk + 1) as usize
    }

    /// How many slots the lane has.
    pub fn places(&self) -> usize {
        self.places as usize
    }

    /// Slots opened by one decision.
    pub(crate) fn chunk(&self) -> u64 {
        self.chunk
    }

    /// How far beyond the tail the right to overwrite is handed out at once.
    pub(crate) fn slack(&self) -> u64 {
        self.slack
    }

    /// How many indices a reader's pin covers unless it asks for more.
    pub(crate) fn batch(&self) -> u64 {
        self.batch
    }

    #[inline(always)]
    pub(crate) fn span(&self) -> u64 {
        self.places
    }

    #[inline(always)]
    pub(crate) fn place(&self, index: u64) -> usize {
        (index & self.mask) as usize
    }

    /// How often `index`'s place was used when `index` is done: one above its lap.
    #[inline(always)]
    pub(crate) fn laps(&self, index: u64) -> u64 {
        (index >> self.places_bits) + 1
    }

    /// One above the highest index that is ever given, at a chunk's end.
    #[inline(always)]
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The first index of `index`'s chunk.
    #[inline(always)]
    pub(crate) fn chunk_start(&self, index: u64) -> u64 {
        index & !(self.chunk - 1)
    }

    /// One above the last index of `index`'s chunk.
    #[inline(always)]
    pub(crate) fn chunk_end(&self, index: u64) -> u64 {
        self.chunk_start(index) + self.chunk
    }

    /// The place of `index`'s chunk among the gates.
    #[inline(always)]
    pub(crate) fn gate(&self, index: u64) -> usize {
        self.place(index) >> self.chunk_bits
    }

    /// The word of a gate that was opened so often, without void places the last time.
    #[inline(always)]
    pub(crate) fn clear_gate(&self, laps: u64) -> u64 {
        laps << self.void_bits
    }

    pub(crate) fn gates(&self) -> usize {
        (self.places / self.chunk) as usize
    }
}

/// The end of a lane with so many places: a power of two, and so a chunk's end.
fn end(places: u64) -> u64 {
    MAX_INDEX.min(MAX_LAPS << places.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_asked_for_and_wastes_less_than_three_quarters() {
        for window in (1..2_000).chain([50_000, 57_000, 65_536, 1 << 20, MAX_WINDOW]) {
            let lane = Geometry::for_window(window);
            assert!(lane.window() >= window, "{window}: {lane:?}");
            assert!(lane.places() <= 4 * window.max(2), "{window}: {lane:?}");
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
    fn slack_is_an_eighth_and_a_batch_a_sixteenth_of_the_places() {
        for (window, places, slack, batch) in [
            (1, 2, 0, 1),
            (12, 16, 2, 1),
            (96, 128, 16, 8),
            (50_000, 65_536, 8_192, 256),
        ] {
            let lane = Geometry::for_window(window);
            let sizes = (lane.span(), lane.slack(), lane.batch());
            assert_eq!(sizes, (places, slack, batch), "{window}");
        }
    }

    #[test]
    fn index_arithmetic() {
        let lane = Geometry::exact(8, 2, 2, 2);
        assert_eq!(
            (
                lane.place(19),
                lane.laps(19),
                lane.chunk_start(19),
                lane.gate(19)
            ),
            (3, 3, 18, 1)
        );
        assert_eq!(lane.gates(), 4);
    }

    #[test]
    fn sizes_out_of_range_are_brought_into_it() {
        // What a chunk leaves of the places, and whole chunks.
        assert_eq!(Geometry::exact(8, 2, 100, 2).slack(), 6);
        assert_eq!(Geometry::exact(8, 2, 3, 2).slack(), 2);
        assert_eq!(Geometry::exact(8, 4, 3, 2).slack(), 0);
        assert_eq!(Geometry::exact(8, 16, 0, 16).chunk(), 8);
    }

    #[test]
    fn a_lane_ends_with_its_laps_or_its_indices() {
        assert_eq!(end(2), 2 * MAX_LAPS);
        assert_eq!(end(1 << 30), MAX_INDEX);
    }
}
