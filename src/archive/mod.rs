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
//! - **Told**: what retention removed before it was read, and blocks that can't be read, are
//!   reported by a notice where they are missing. Read a replay by
//!   [`try_frames`](crate::AgentEventStream::try_frames), which fails at its end if it is damaged.
//! - **Upkeep** runs beside writers and readers, which do not wait for it.
//! - **Readers** delay neither the writer nor each other, and may be other processes
//!   ([`Archive::open_for_reading`]). One process writes.
//! - **Forks**: an archive belongs to the process that opened it. In a child that was forked since,
//!   every call fails with [`ContractViolation`](crate::AgentErrorKind::ContractViolation), drops
//!   do nothing, and no archive can be opened; a child that executes a program is free of that. A
//!   child that outlives its parent keeps the folder locked.
//!
//! # The files
//! `frames.sqlite` with its log and its shared memory beside it; `lock`, whose text is the process
//! that writes; `opened`, which each opening for writing renews; `reserve`, the room for retention
//! on a full disk. To make a backup, copy the folder while no process writes, or use SQLite's own
//! backup. To restore one, put it in place of the whole folder: SQLite would apply a log that was
//! left to a database that it is not of.
//!
//! A folder that is a copy becomes an archive of its own when it is opened for writing, with a new
//! epoch and a new id, so that no sequence number and no position means two frames. Cursors of the
//! original's journal are good up to the copy's end; live ones, and those of what the original had
//! later, are foreign. [`JournalEpoch`] says how that is told, what is not, and how to say
//! otherwise.
//!
//! # Versions
//! Tables of an earlier version are migrated by a writer, and read as they are by a reader. An
//! archive with tables of a later version is refused as
//! [`ArchiveVersion`](crate::AgentErrorKind::ArchiveVersion). What else a later version may have:
//!
//! - **A kind of event, delivery semantics or a privacy class**: the frame is passed over. A notice
//!   counts it, and the replay ends as [`SourceDamaged`](crate::StreamEnd::SourceDamaged) with an
//!   `ArchiveVersion` that names it. Compaction and retention keep it like others.
//! - **A kind of entity or endpoint**: shown as `Other`, and kept.
//! - **A form of blocks**, which a field of frames is, too: the block is passed over and told like
//!   a kind, and kept as it is. [`check`](Archive::check) takes none of these for damage.
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
//! | `rebuild.rs`, `check.rs` | what the frames prove |
//! | `handle.rs` | the archive as its holder has it |
//! | `progress.rs` | how far archivers have come, and which readers wait for them |
//! | `store.rs`, `connection.rs` | the file, and the connections to it |
//! | `writer.rs` | what is written: the tail, and what it becomes when it is closed |
//! | `reserve.rs` | the room on the disk that is kept for removing frames |
//! | `counters.rs`, `finding.rs` | the counters; what contradicts the frames |
//! | `rows.rs`, `arrivals.rs`, `lost.rs` | what is stored; when it arrived; what was lost |
//! | `options.rs`, `origin.rs` | how it is opened; copies and originals |
//! | `schema.rs`, `folder.rs` | the tables; the folder's files and its lock |
//! | `pack.rs`, `block.rs`, `reader.rs`, `record.rs`, `coded.rs` | frames in bytes |
//! | `worker.rs`, `process.rs`, `holders.rs`, `turns.rs` | threads, forks, who holds it, locks |
//! | `error.rs` | errors |
#![forbid(unsafe_code)]

mod arrivals;
mod block;
mod check;
mod coded;
mod connection;
mod counters;
mod error;
mod finding;
mod folder;
mod follow;
mod handle;
mod holders;
mod journal;
mod keep;
mod lost;
mod options;
mod origin;
mod pack;
mod process;
mod progress;
mod reader;
mod rebuild;
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

pub use self::finding::{Examined, Finding, IndexOf};
pub use self::follow::{Archiver, FollowOptions, FollowReport};
pub use self::handle::{Archive, ArchiveGap};
pub use self::journal::{JournalOptions, JournalReceipt, Journaled, JournaledBus};
pub use self::keep::Compacted;
pub use self::options::{ArchiveOptions, Durability};
pub use self::origin::JournalEpoch;
pub use self::retain::{AgeOf, HeldBy, Removed, Retention};
pub use self::runs::ArchivedRun;
