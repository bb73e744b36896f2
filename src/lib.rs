//! framebus: an embedded, lock-free, high-throughput event bus for agent runtimes.
mod bound;
mod bus;
mod event;
pub mod ring;
mod sync;

pub use bus::*;
pub use event::*;
