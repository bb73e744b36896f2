//! Waiting for frames.

mod waiters;

pub use waiters::ANY_KEY;
pub(crate) use waiters::{WaitTarget, Waiter, Waiters};
