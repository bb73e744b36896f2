//! framebus: an embedded, lock-free, high-throughput event bus for agent runtimes.
pub mod event;
pub mod ring;
mod bound;
mod sync;

pub use event::*;
