//! Bounding: what a slow subscriber keeps, what it loses, and how that is reported.
//! Single-threaded, and generic over the [`Frame`].
//!
//! [`BoundedQueue`] puts the frames that it is offered through the subscription's policy; the table
//! that it follows is in the documentation of
//! [`SubscriberOverflowPolicy`](crate::SubscriberOverflowPolicy) and, cell by cell, in `policy.rs`.
//! Every step is O(1), whatever the capacity: `fifo.rs` keeps the frames so that the oldest of all
//! and the oldest of each class are found at once.
//!
//! A *refill* is one stretch of offers: it begins with an empty queue, and ends before the queue is
//! read.
//!
//! Invariants:
//! - **B1 conservation**: each frame offered is queued, or counted by exactly one notice.
//! - **B2 at the gap**: a notice is attached to the first queued frame after its gap. While there
//!   is none it is pending, and when the refill ends it moves to the last queued frame, if there is
//!   one. Notices are merged in the order of their gaps, so the first reason and the first repair
//!   point are right: a refill begins with an empty queue, so a frame whose notice reports what was
//!   lost after it is never dropped.
//! - **B3** the queue holds at most C frames, at most N = C - min(R, C) of them not terminal.
//! - **B4** no terminal frame is dropped: a refill stops before one for which the queue has no
//!   room.
#![forbid(unsafe_code)]

mod fifo;
mod frame;
mod notice;
mod policy;
#[cfg(test)]
mod tests;

pub(crate) use frame::Frame;
pub(crate) use notice::{Loss, append};
pub(crate) use policy::{BoundedQueue, Queued};
