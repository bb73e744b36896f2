//! Archivers of one bus, one after another.

mod common;

use common::delta;
use framebus::archive::{Archive, ArchiveOptions, Archiver, Durability, FollowOptions};
use framebus::*;
use std::thread;
use std::time::Duration;

#[test]
fn an_archiver_that_begins_while_another_ends_archives_no_frame_twice() {
    let folder = tempfile::tempdir().unwrap();
    let options = ArchiveOptions {
        durability: Durability::SystemCache,
        ..ArchiveOptions::default()
    };
    let archive = Archive::open(folder.path(), options).unwrap();
    let bus = InMemoryAgentEventBus::default();
    let follow = || {
        let options = FollowOptions {
            linger: Duration::ZERO,
            ..FollowOptions::default()
        };
        Archiver::follow(&archive, &bus, options)
    };
    let mut archiver = follow().unwrap();
    for _ in 0..400 {
        bus.publish(delta("r")).unwrap();
        let ending = thread::spawn(move || archiver.stop());
        archiver = loop {
            match follow() {
                Ok(archiver) => break archiver,
                Err(error) => assert_eq!(error.kind(), AgentErrorKind::ContractViolation),
            }
        };
        let report = ending.join().unwrap();
        assert_eq!((report.lost, report.error), (0, None));
    }
    let last = bus.last_sequence();
    drop(bus);
    let report = archiver.finish();
    assert_eq!((report.lost, report.error), (0, None));
    assert_eq!(archive.len(), Ok(last));
    assert_eq!(archive.check(), Ok(last));
}
