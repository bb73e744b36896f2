//! Archivers that follow a bus: beside repaired streams, lapped, stopped, one after another.

mod common;

use common::{delta, end, size};
use framebus::archive::{Archive, ArchiveOptions, Archiver, Durability, FollowOptions};
use framebus::*;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

fn archive(folder: &tempfile::TempDir) -> Archive {
    let options = ArchiveOptions {
        durability: Durability::SystemCache,
        ..ArchiveOptions::default()
    };
    Archive::open(folder.path(), options).unwrap()
}

/// Returns the `n`-th frame: of 10 runs, one end in 20.
fn frame(n: u64) -> EventFrame {
    let run = format!("run-{}", n % 10);
    if n % 20 == 19 { end(&run) } else { delta(&run) }
}

#[test]
fn an_archiver_follows_and_repairs_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = InMemoryAgentEventBus::builder()
        .shards(size(2))
        .ring_capacity(size(4_096))
        .build()
        .unwrap();
    let options = FollowOptions {
        linger: Duration::from_millis(1),
        group: size(1_000),
        ..FollowOptions::default()
    };
    let archiver = Archiver::follow(&archive, &bus, options).unwrap();
    let again = Archiver::follow(&archive, &bus, options).unwrap_err();
    assert_eq!(again.kind(), AgentErrorKind::ContractViolation);
    let stream = bus.subscribe_all(None).unwrap();
    let mut stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
    let reader = thread::spawn(move || {
        let (mut last, mut count) = (0, 0);
        while let Ok(frame) = stream.recv() {
            assert!(frame.cursor.event_seq > last);
            last = frame.cursor.event_seq;
            count += 1 + frame.overflow.map_or(0, |notice| notice.dropped_count);
        }
        count + stream.pending_overflow().map_or(0, |it| it.dropped_count)
    });
    let total = 60_000;
    for n in 0..total {
        bus.publish(frame(n)).unwrap();
    }
    drop(bus);
    let report = archiver.finish();
    assert_eq!(report.error, None);
    assert_eq!(report.frames + report.lost, total, "archived, or on record");
    assert_eq!(archive.len().unwrap(), report.frames);
    let recorded: u64 = archive.gaps().unwrap().iter().map(|gap| gap.lost).sum();
    assert_eq!(recorded, report.lost);
    assert_eq!(reader.join().unwrap(), total, "conservation");
}

#[test]
fn a_lapped_archiver_records_its_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let builder = InMemoryAgentEventBus::builder().shards(size(2));
    let bus = builder.ring_capacity(size(64)).build().unwrap();
    bus.publish(frame(0)).unwrap();
    let mut first = bus.subscribe_all(None).unwrap();
    archive.append(&[first.next().unwrap()]).unwrap();
    (1..1_000).for_each(|n| bus.publish(frame(n)).unwrap());
    // It resumes after the archive's last frame, and finds most of the others overwritten.
    let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
    drop(bus);
    let report = archiver.finish();
    assert!(report.lost > 500);
    assert_eq!(1 + report.frames + report.lost, 1_000);
    let gaps = archive.gaps().unwrap();
    assert_eq!(gaps[0].sequences.start(), &2);
    assert!(
        gaps.iter()
            .all(|gap| gap.terminal_preserved || gap.lost > 0)
    );
    assert_eq!(gaps.iter().map(|gap| gap.lost).sum::<u64>(), report.lost);
}

#[test]
fn a_stopped_archiver_resumes_at_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = InMemoryAgentEventBus::default();
    let mut archived = 0;
    for _ in 0..5 {
        let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
        (0..100).for_each(|n| bus.publish(frame(n)).unwrap());
        let report = archiver.stop();
        assert_eq!((report.lost, report.error), (0, None));
        archived += report.frames;
    }
    let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
    drop(bus);
    archived += archiver.finish().frames;
    assert_eq!((archived, archive.len().unwrap()), (500, 500));
}

#[test]
fn an_archiver_that_begins_while_another_ends_archives_no_frame_twice() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
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
