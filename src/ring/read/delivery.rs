//! What a subscription delivers.

/// What a subscription delivers, in order.
#[derive(Debug)]
pub enum Delivery<'a, T> {
    /// A frame, with its sequence number.
    Frame(u64, &'a T),
    /// Frames that are gone. Comes before the next frame that this subscription gets.
    Gap(Gap),
}

/// Frames that the ring overwrote before the subscription read them.
///
/// For a subscription to everything, these are all frames from `first` to `last`. For a narrower
/// one they are some of those: each frame that it lost lies in a gap that it gets, and the gaps
/// count no fewer frames than it lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The sequence number after the subscription's position: all below it was delivered before.
    pub first: u64,
    /// The sequence number before the next one that is delivered.
    pub last: u64,
    /// How many frames were lost: exact for a subscription to everything, else an upper bound.
    pub lost: u64,
    /// Whether they were gone when the subscription was made, and not lost by it.
    pub expired: bool,
    /// Whether terminal frames may be among them: never false if one is.
    pub terminals_lost: bool,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// All that was published when the poll began was delivered.
    CaughtUp,
    /// A publish that began earlier is unfinished; what comes after it must wait for it.
    Unfinished,
    /// The visitor asked to stop, or the batch is full: there may be more.
    More,
}
