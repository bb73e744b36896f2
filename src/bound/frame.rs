//! What a queue needs to know of a frame.

use crate::event::{KindClass, Position};
use std::fmt::Debug;

/// A published frame, as a queue keeps it. It is shared, so cloning it is cheap.
pub(crate) trait Frame: Clone + Debug {
    /// A position in the order of frames, as notices name it.
    type Position: Position;

    /// Returns its sequence number.
    fn sequence(&self) -> u64;

    /// Returns what may happen to it when a subscriber is behind.
    fn class(&self) -> KindClass;

    /// Returns its position in the host's journal, if it has one.
    fn journal(&self) -> Option<&<Self::Position as Position>::Journal>;

    /// Returns the same frame, to stand for a run of `count` frames that it is the last of.
    #[must_use]
    fn standing_for(&self, count: u64) -> Self;
}
