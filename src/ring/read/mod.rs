//! The readers' side.

mod candidates;
#[allow(unsafe_code, reason = "reads slots under pins")]
mod cursor;
mod gap;
#[cfg(all(test, not(any(loom, shuttle))))]
mod gone;
mod merge;
mod seek;
mod subscription;
mod wait;

pub use subscription::{Delivery, Gap, Polled, Subscription};
