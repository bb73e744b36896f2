//! The lock-free core: a broadcast ring with a lossless class, generic over its frames.
//!
//! A [`Ring`] is a set of shards under one global sequence. Each shard has two lanes, each a ring
//! of slots: one for ordinary frames and one for **terminal** frames, which a flood of ordinary
//! ones can therefore not overwrite. Any number of threads publish; any number of [`Subscription`]s
//! read everything, or some shards, or what a [`TagFilter`] lets through, each at its own pace, in
//! strictly increasing order of the sequence numbers. A reader that is too slow is lapped, never
//! waited for, and learns exactly where and how much it lost.
//!
//! Publishing never waits, and allocates nothing but a batch's scratch, and the memory of a lane
//! for its first frame; polling is wait-free.
//! Subscribing takes a mutex that neither of them ever takes.
//!
//! ```
//! use framebus::ring::{Delivery, Ring, RingConfig, Route, Select, Start};
//! use std::ops::ControlFlow;
//!
//! #[derive(Debug, PartialEq)]
//! struct Price { cents: u32 }
//!
//! let ring = Ring::new(&RingConfig::default());
//! let mut prices = ring.subscribe(Select::All, None, Start::Oldest)?;
//! ring.publish(Route::default(), Price { cents: 499 })?;
//! ring.publish(Route::default().terminal(), Price { cents: 0 })?;
//!
//! let mut seen = Vec::new();
//! prices.poll(|delivery| {
//!     match delivery {
//!         Delivery::Frame(number, price) => seen.push((number, price.cents)),
//!         Delivery::Gap(gap) => panic!("lost {}", gap.lost),
//!     }
//!     ControlFlow::Continue(())
//! });
//! assert_eq!(seen, [(1, 499), (2, 0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
#![doc = include_str!("design.md")]

mod config;
mod core;
mod handle;
mod hw;
mod lane;
#[cfg(all(test, not(any(loom, shuttle))))]
mod overtaken;
mod read;
#[allow(unsafe_code, reason = "frees what no walker can stand at")]
mod registry;
mod sequence;
mod slot;
mod stats;
mod wait;
mod write;

pub use config::{
    MAX_SHARDS, PublishError, Retention, RingConfig, Route, Select, Start, SubscribeError,
};
pub use handle::Ring;
pub use read::{Delivery, Gap, Polled, Subscription};
pub use sequence::MAX_SEQUENCE;
pub use slot::{CLASS_BITS, Geometry, MAX_WINDOW, TAG_BITS, TagFilter};
pub use stats::{LaneStats, RingStats, ShardStats};
pub use wait::ANY_KEY;

pub(crate) use hw::prefetch_for_write;
