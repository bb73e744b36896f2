//! Helpers that most test programs share.
#![allow(dead_code, reason = "each test program uses some of it")]

use framebus::*;
use std::io::Write;
use std::num::NonZeroUsize;

/// Prints past the test's capture what is not tested here, and why.
pub fn not_run(what: &str) {
    let cry = format!("\n!!!! NOT RUN: {what} !!!!\n\n");
    let _ = std::io::stderr().write_all(cry.as_bytes());
}

pub fn frame(run: &str, agent: &str, kind: EventKind) -> EventFrame {
    EventFrame::new(AgentEvent::envelope_only(EventEnvelope::new(
        run, agent, kind,
    )))
}

/// A normal frame.
pub fn start(run: &str) -> EventFrame {
    frame(run, "agent", EventKind::RunStarted)
}

/// A progress frame.
pub fn delta(run: &str) -> EventFrame {
    frame(run, "agent", EventKind::ModelStreamDelta)
}

/// A terminal frame.
pub fn end(run: &str) -> EventFrame {
    frame(run, "agent", EventKind::RunCompleted)
}

pub fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

pub fn options(
    capacity: usize,
    reserve: usize,
    overflow: SubscriberOverflowPolicy,
) -> SubscriptionOptions {
    let queue = SubscriberQueueConfig {
        capacity: size(capacity),
        terminal_reserve: size(reserve),
        overflow,
    };
    SubscriptionOptions {
        queue,
        ..SubscriptionOptions::default()
    }
}

/// Returns the sequence numbers of the frames that a stream has now.
pub fn seqs(stream: &mut AgentEventStream) -> Vec<u64> {
    stream.map(|frame| frame.cursor.event_seq).collect()
}

pub fn kinds(stream: &mut AgentEventStream) -> Vec<EventKind> {
    stream
        .map(|frame| frame.event.envelope.event_kind)
        .collect()
}

/// A bus of these shards, each of which holds this many frames.
pub fn bus(shards: usize, ring: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(shards));
    builder.ring_capacity(size(ring)).build().unwrap()
}

/// A subscription to everything.
pub fn all(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_all_with_options(None, options).unwrap()
}

/// How many frames are reported as lost before this one.
pub fn lost(frame: &EventFrame) -> u64 {
    frame.overflow.as_ref().map_or(0, |it| it.dropped_count)
}

/// Makes a file of version 1 of an archive's database, which had less.
#[cfg(feature = "archive")]
pub fn as_version_1(file: &std::path::Path) {
    let db = rusqlite::Connection::open(file).unwrap();
    db.execute_batch(
        "DROP TABLE gaps; DROP TABLE ancestors; DROP TABLE tail; DROP TABLE arrivals;
         DROP INDEX runs_by_position;
         ALTER TABLE state DROP COLUMN shown; ALTER TABLE state DROP COLUMN marks;
         PRAGMA user_version = 1;",
    )
    .unwrap();
}

/// What the tests of the archive share.
#[cfg(feature = "archive")]
pub mod archives {
    use framebus::archive::{Archive, ArchiveOptions, Durability, JournalOptions, JournaledBus};
    use framebus::*;
    use std::path::{Path, PathBuf};

    /// Opens the archive in this folder, without waiting for the disk.
    pub fn open(folder: &Path) -> Archive {
        let options = ArchiveOptions {
            durability: Durability::SystemCache,
            ..ArchiveOptions::default()
        };
        Archive::open(folder, options).unwrap()
    }

    /// A bus that has the archive as its journal.
    pub fn journaled(archive: &Archive) -> JournaledBus {
        let builder = InMemoryAgentEventBus::builder();
        JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap()
    }

    /// The path of an archive's folder, and others beside it. All are removed at the end.
    pub struct Place(tempfile::TempDir);

    impl Place {
        pub fn new() -> Self {
            Place(tempfile::tempdir().unwrap())
        }

        pub fn archive(&self) -> PathBuf {
            self.0.path().join("archive")
        }

        pub fn beside(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }
}
