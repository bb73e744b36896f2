//! The readers' side: a subscription polls its lanes, merged in the order of the sequence.

#[forbid(unsafe_code)]
mod candidates;
#[allow(unsafe_code, reason = "makes the right to read under a pin")]
mod cursor;
#[forbid(unsafe_code)]
mod delivery;
#[cfg(all(test, not(any(loom, shuttle))))]
mod gone;
#[forbid(unsafe_code)]
mod lanes;
#[forbid(unsafe_code)]
mod losses;
#[forbid(unsafe_code)]
mod merge;
#[allow(unsafe_code, reason = "the right to read under a pin")]
mod pinned;
#[forbid(unsafe_code)]
mod seek;
#[forbid(unsafe_code)]
mod subscription;
#[forbid(unsafe_code)]
mod suspects;
#[forbid(unsafe_code)]
mod tails;
#[forbid(unsafe_code)]
mod wait;

pub use self::delivery::{Delivery, Gap, Polled};
pub use self::subscription::Subscription;
