//! Another program holds SQLite's write lock for a moment (a backup, a shell): whatever is written
//! waits for it.

mod common;

use common::archives::journaled;
use common::{delta, end, start};
use framebus::archive::{Archive, ArchiveOptions, Retention};
use framebus::*;
use rusqlite::Connection;
use std::path::Path;
use std::thread;
use std::time::Duration;

fn open(folder: &Path) -> Archive {
    Archive::open(folder, ArchiveOptions::default()).unwrap()
}

fn other_program(folder: &Path) -> Connection {
    Connection::open(folder.join("frames.sqlite")).unwrap()
}

/// Does this while another program has the write lock, for its first 100 ms.
fn beside_a_lock<T>(folder: &Path, job: impl FnOnce() -> T) -> T {
    let other = other_program(folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let moment = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        other.execute_batch("COMMIT").unwrap();
    });
    let done = job();
    moment.join().unwrap();
    done
}

#[test]
fn a_publish_waits_and_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    assert_eq!(
        beside_a_lock(folder.path(), || bus.publish(start("r"))),
        Ok(())
    );
    let frame = bus.subscribe_all(None).unwrap().next().unwrap();
    assert_eq!(
        frame.event.envelope.delivery_semantics,
        EventDeliverySemantics::JournalBacked
    );
    assert_eq!(archive.len(), Ok(1));
}

#[test]
fn an_append_waits() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = InMemoryAgentEventBus::default();
    bus.publish_all([start("r"), end("r")]).unwrap();
    let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
    let positions = beside_a_lock(folder.path(), || archive.append(&frames));
    assert_eq!(positions, Ok(1..3));
}

#[test]
fn retention_and_compaction_wait() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    for _ in 0..10 {
        bus.publish(delta("r")).unwrap();
    }
    let limits = Retention {
        max_frames: Some(6),
        ..Retention::default()
    };
    let removed = beside_a_lock(folder.path(), || archive.retain(&limits)).unwrap();
    assert_eq!(removed.frames, 4);
    for _ in 0..3 {
        bus.publish(delta("r")).unwrap();
    }
    let compacted = beside_a_lock(folder.path(), || archive.compact()).unwrap();
    assert!(
        compacted.joined >= 3 && compacted.into >= 1,
        "{compacted:?}"
    );
}

#[test]
fn a_migration_waits() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    common::as_version_1(&folder.path().join("frames.sqlite"));
    let opened = beside_a_lock(folder.path(), || open(folder.path()));
    assert_eq!(opened.gaps(), Ok(Vec::new()));
}
