//! The bus: what a runtime publishes to and subscribers read from.
//!
//! | module | its subject |
//! | --- | --- |
//! | `builder.rs`, `memory.rs` | the bus in memory: settings, publishing, subscribing |
//! | `repair.rs`, `archive.rs` | a live stream's gaps filled from an archive; the traits of one |
//! | `event_bus.rs` | the trait of a bus |
//! | `task.rs`, `complete.rs` | waiting for a frame in a task; frames as results |
//! | `stream.rs` | a stream as its holder has it; waiting for a frame in a thread |
//! | `stream/live.rs` | a subscription read through its policy, made of the others in `stream/` |
//! | `source.rs`, `batch.rs` | where else a stream reads, and what it lends |
//! | `end.rs`, `stats.rs` | how a stream ends, and its figures |
//! | `park.rs` | the sleep of a thread |
//! | `scope.rs` | what a subscription reads, and where a frame goes |
//! | `shared.rs`, `trace.rs` | the rings of a bus; what is reported to `tracing` |
//!
//! A module imports only from its own row and from the rows below it.
#![forbid(unsafe_code)]

mod archive;
mod batch;
mod builder;
mod complete;
mod end;
mod event_bus;
mod memory;
mod park;
mod repair;
mod replaced;
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
pub use complete::TryFrames;
pub use end::{RecvError, StreamEnd};
pub use event_bus::AgentEventBus;
pub use memory::{InMemoryAgentEventBus, WeakEventBus};
pub use source::FrameSource;
pub use stats::{DropCounts, StreamStats};
pub use stream::AgentEventStream;
pub use task::FrameStream;
