//! Bounding: what a slow subscriber keeps, what it loses, and how it is told. Single-threaded.
//!
//! [`BoundedQueue`] takes frames in and puts them through the subscription's policy; the table that
//! it follows is in the documentation of
//! [`SubscriberOverflowPolicy`](crate::SubscriberOverflowPolicy) and, cell by cell, in `policy.rs`.
//! Every step is O(1), whatever the capacity: `fifo.rs` keeps the frames so that the oldest of all
//! and the oldest of each class are at hand.
//!
//! Invariants:
//! - **B1 conservation**: each frame taken in is queued, or counted by exactly one notice.
//! - **B2 at the gap**: a notice rides on the first queued frame behind its gap; while there is
//!   none it is `pending`, and when a take-in ends it moves to the last queued frame, if there is
//!   one. Notices are merged in the order of their gaps, so the first reason and the first repair
//!   point are right: a take-in begins with an empty queue, and a frame that carries what was lost
//!   behind it is not dropped any more.
//! - **B3** the queue holds at most C frames, at most N = C - min(R, C) of them not terminal.
//! - **B4** no terminal frame is dropped: a take-in ends before one for which the queue has no
//!   room.
#![forbid(unsafe_code)]

mod fifo;
mod notice;
mod policy;
#[cfg(test)]
mod tests;

pub(crate) use notice::Loss;
pub(crate) use policy::{BoundedQueue, Queued};
