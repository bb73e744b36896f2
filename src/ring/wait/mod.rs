//! Waiting for frames: readers that found nothing park, publishers wake them.

#[forbid(unsafe_code)]
mod interest;
#[forbid(unsafe_code)]
mod parked;
#[forbid(unsafe_code)]
mod waiters;

pub use interest::ANY_KEY;
pub(crate) use interest::WaitTarget;
pub(crate) use waiters::{Waiter, Waiters};
