//! What notices need of a position.

use std::fmt;

/// A position in the order of a bus's frames, as a subscription's cursors name it.
pub trait Position: Clone + fmt::Debug + Eq {
    /// A position in the host's journal, from which a gap can be repaired.
    type Journal: Clone + fmt::Debug + Eq;

    /// Returns the sequence number of its frame.
    fn sequence(&self) -> u64;

    /// Returns its frame's position in the host's journal, if it is known.
    fn journal(&self) -> Option<&Self::Journal>;

    /// Makes it the same subscription's position at another frame.
    fn move_to(&mut self, sequence: u64, journal: Option<&Self::Journal>);

    /// Returns the same subscription's position at another frame.
    #[must_use]
    fn at(&self, sequence: u64, journal: Option<&Self::Journal>) -> Self;
}
