//! The bus: what a runtime publishes to and subscribers read from.
//!
//! | module | its subject |
//! | --- | --- |
//! | `event_bus.rs` | the trait of a bus |
//! | `builder.rs`, `memory.rs` | the bus in memory: settings, publishing, subscribing |
//! | `task.rs`, `park.rs` | waiting for a frame, in a task and in a thread |
//! | `archive.rs`, `repair.rs` | the traits of an archive; a live stream's gaps filled from one |
//! | `stream.rs` | a stream as its holder has it |
//! | `stream/live.rs` | a subscription read through its policy, made of the others in `stream/` |
//! | `batch.rs`, `end.rs`, `source.rs`, `stats.rs` | what a stream lends, how it ends, where else it reads, its figures |
//! | `scope.rs` | what a subscription reads, and where a frame goes |
//! | `shared.rs`, `trace.rs` | the rings of a bus; what is reported to `tracing` |
//!
//! Imports go up this table, never down.
#![forbid(unsafe_code)]

mod archive;
mod batch;
mod builder;
mod end;
mod event_bus;
mod memory;
mod park;
mod repair;
mod scope;
mod shared;
mod source;
mod stats;
mod stream;
mod task;
mod trace;

pub use archive::{EventArchive, InMemoryEventArchive, RepairArchive};
pub use batch::{BatchItem, FrameRef};
pub use builder::BusBuilder;
pub use end::{RecvError, StreamEnd};
pub use event_bus::AgentEventBus;
pub use memory::{InMemoryAgentEventBus, WeakEventBus};
pub use source::FrameSource;
pub use stats::{DropCounts, StreamStats};
pub use stream::AgentEventStream;
pub use task::FrameStream;
