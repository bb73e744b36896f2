//! The archive on disk: durable frames, in a folder, to be found and read again.
//!
//! The live bus forgets; an [`Archive`] remembers. Frames come into it in order: by
//! [`append`](Archive::append), through a [`JournaledBus`] before they are published, or from an
//! [`Archiver`] that follows a bus like any other subscriber. They are read back through a filter,
//! from any position, as [`DerivedReplay`](crate::EventDeliverySemantics::DerivedReplay) frames.
//!
//! ```
//! use framebus::{archive::*, *};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let archive = Archive::open(folder, ArchiveOptions::default())?;
//! let bus = InMemoryAgentEventBus::default();
//! let mut all = bus.subscribe_all(None)?;
//! let envelope = EventEnvelope::new("run-1", "planner", EventKind::RunCompleted);
//! bus.publish(EventFrame::new(AgentEvent::with_redacted_summary(envelope, "3 files changed")))?;
//! archive.append(&all.by_ref().collect::<Vec<_>>())?;
//!
//! let filter = EventFilter::terminal_run_events().compile()?;
//! let frame = archive.replay_filtered_from_cursor(filter, archive.start()?)?.next().unwrap();
//! assert_eq!(frame.event.redacted_summary(), Some("3 files changed"));
//! assert_eq!(frame.archive_cursor.unwrap().position, 1);
//! # Ok::<(), AgentError>(())
//! ```
//!
//! # What is promised
//! - **Durability** is what [`Durability`] says: by default, acknowledged frames survive a killed
//!   process and a loss of power.
//! - **All or nothing**: frames that were appended together are there together. After a crash the
//!   archive holds everything up to some append, in order, each frame once.
//! - **Order**: positions rise by one from frame to frame and are never given twice; in each bus's
//!   epoch, sequence numbers rise with them.
//! - **Privacy**: content of the class [`Secret`](crate::PrivacyClass::Secret) is never written;
//!   an [option](ArchiveOptions::content_up_to) says above which class other content is left out.
//!   Summaries and references are kept.
//! - **Readers** delay neither the writer nor each other, and may be other processes
//!   ([`Archive::open_for_reading`]). One process writes.
//! - **Forks**: an archive belongs to the process that opened it. In a child that was forked since,
//!   every call fails with [`ContractViolation`](crate::AgentErrorKind::ContractViolation), drops
//!   do nothing, and no archive can be opened; a child that executes a program is free of that. A
//!   child that outlives its parent keeps the folder locked.
//!
//! # The files
//! `frames.sqlite` with its log beside it, `lock`, and `reserve`: at most 2 MiB of nothing, which
//! retention and compaction use on a full disk. Copy the folder while no process writes, or
//! use SQLite's own backup.
//!
//! # Modules
//! A module imports only from its own row and from the rows below it.
//!
//! | module | its subject |
//! | --- | --- |
//! | `journal.rs`, `journal/commit.rs` | the journaled bus; the thread that commits its frames |
//! | `follow.rs` | the archiver: a subscriber that archives a bus |
//! | `repair.rs`, `replay.rs` | what an archive is asked for: holes, frames |
//! | `keep.rs`, `retain.rs`, `runs.rs` | upkeep, and the runs that there are |
//! | `handle.rs` | the archive as its holder has it |
//! | `progress.rs` | how far archivers have come, and which readers wait for them |
//! | `store.rs`, `turns.rs` | the file, the connections to it, the lock of the one that writes |
//! | `writer.rs` | what is written: the tail, and what it becomes when it is closed |
//! | `reserve.rs` | the room on the disk that is kept for removing frames |
//! | `rows.rs`, `arrivals.rs` | what is stored, to be found and read; when it arrived |
//! | `schema.rs`, `folder.rs` | the tables, the folder's lock |
//! | `pack.rs`, `block.rs`, `reader.rs`, `record.rs` | frames in bytes |
//! | `worker.rs`, `process.rs`, `error.rs` | threads, forks, errors |
#![forbid(unsafe_code)]

mod arrivals;
mod block;
mod error;
mod folder;
mod follow;
mod handle;
mod journal;
mod keep;
mod pack;
mod process;
mod progress;
mod reader;
mod record;
mod repair;
mod replay;
mod reserve;
mod retain;
mod rows;
mod runs;
mod schema;
mod store;
mod turns;
mod worker;
mod writer;

pub use self::follow::{Archiver, FollowOptions, FollowReport};
pub use self::handle::{Archive, ArchiveGap, ArchiveOptions, Durability};
pub use self::journal::{JournalOptions, JournalReceipt, Journaled, JournaledBus};
pub use self::keep::Compacted;
pub use self::retain::{AgeOf, HeldBy, Removed, Retention};
pub use self::runs::ArchivedRun;
