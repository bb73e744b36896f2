//! Retention, compaction and versions: kept frames stay as they were, and removed frames are
//! reported.

mod common;

use common::archives::journaled;
use common::{delta, end, start};
use framebus::archive::{AgeOf, Archive, ArchiveOptions, Durability, Retention};
use framebus::*;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn open(folder: &tempfile::TempDir) -> Archive {
    let options = ArchiveOptions {
        durability: Durability::SystemCache,
        ..ArchiveOptions::default()
    };
    Archive::open(folder.path(), options).unwrap()
}

fn replay(archive: &Archive, position: u64) -> AgentEventStream {
    let cursor = ArchiveCursor {
        position,
        ..archive.start().unwrap()
    };
    let all = EventFilter::default().compile().unwrap();
    archive.replay_filtered_from_cursor(all, cursor).unwrap()
}

fn positions(stream: AgentEventStream) -> Vec<u64> {
    stream
        .map(|frame| frame.archive_cursor.unwrap().position)
        .collect()
}

/// Returns a frame of this run that happened `hours` hours ago.
fn aged(run: &str, hours: i64) -> EventFrame {
    let now = Timestamp::now().as_micros();
    let time = Timestamp::from_micros(now - hours * 3_600_000_000);
    let envelope = EventEnvelope::new(run, "a", EventKind::ModelStreamDelta).with_timestamp(time);
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, noise(500)))
}

/// Returns a text of this length that can't be packed to much less than half of it.
fn noise(length: usize) -> String {
    let mut word = std::hash::RandomState::new().build_hasher().finish() | 1;
    let digit = |_| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        char::from(b'!' + (word >> 40) as u8 % 90)
    };
    (0..length).map(digit).collect()
}

fn folder_size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn retention_holds_each_limit_and_positions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let bus = journaled(&archive);
    // Ten blocks of 100 frames each, of a run each, from 9 hours ago until now.
    for hour in 0..10 {
        let run = format!("run-{hour}");
        bus.publish_all((0..100).map(|_| aged(&run, 9 - hour)))
            .unwrap();
    }
    let mut early = replay(&archive, 0);
    let limits = Retention::default();
    assert_eq!(
        archive.retain(&limits).unwrap().frames,
        0,
        "no limit, no loss"
    );
    let age = Retention {
        max_age: Some(Duration::from_secs(7 * 3_600 + 1_800)),
        age_of: AgeOf::Event,
        ..limits
    };
    assert_eq!(archive.retain(&age).unwrap().frames, 200);
    let count = Retention {
        max_frames: Some(550),
        ..limits
    };
    assert_eq!(archive.retain(&count).unwrap().frames, 250, "exactly");
    let held = archive.retain(&limits).unwrap();
    assert_eq!((held.frames, held.bytes), (0, 0));
    let fewer = Retention {
        max_frames: Some(300),
        ..limits
    };
    let removed = archive.retain(&fewer).unwrap();
    assert!(removed.frames == 250 && removed.bytes > 0);
    assert_eq!(
        (archive.start().unwrap().position, archive.len().unwrap()),
        (700, 300)
    );
    assert_eq!(archive.check().unwrap(), 300);

    // A replay that had not read the removed frames reports them, on the frame after them.
    let notice = early.next().unwrap().overflow.unwrap();
    assert_eq!(
        (notice.dropped_count, notice.terminal_preserved),
        (700, false)
    );
    assert_eq!(notice.reason, EventOverflowReason::LiveBufferExpired);
    assert_eq!(early.by_ref().count(), 299);
    assert_eq!(replay(&archive, 700).next().unwrap().overflow, None);
    let runs = archive.runs(0, 100).unwrap();
    let names: Vec<_> = runs.iter().map(|run| run.run_id.as_str()).collect();
    assert_eq!(names, ["run-7", "run-8", "run-9"]);

    // Positions and sequence numbers go on also in an empty archive.
    let none = Retention {
        max_frames: Some(0),
        ..limits
    };
    let mut late = replay(&archive, 700);
    archive.retain(&none).unwrap();
    assert!(archive.is_empty().unwrap() && archive.runs(0, 9).unwrap().is_empty());
    assert_eq!(late.next(), None);
    assert_eq!(late.pending_overflow().unwrap().dropped_count, 300);
    drop((bus, archive, early, late));
    let archive = open(&folder);
    let bus = journaled(&archive);
    let done = bus.publish_all([start("r")]).unwrap();
    assert_eq!((done.positions.start, done.sequences.start), (1_001, 1_001));
}

#[test]
fn free_space_is_returned_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let bus = journaled(&archive);
    for _ in 0..20 {
        bus.publish_all((0..1_000).map(|_| aged("r", 0))).unwrap();
    }
    archive.compact().unwrap();
    let full = folder_size(folder.path());
    assert!(full > 7_000_000);
    let limits = Retention {
        max_bytes: Some(1_000_000),
        ..Retention::default()
    };
    archive.retain(&limits).unwrap();
    archive.compact().unwrap();
    let reserve = 2 << 20;
    assert!(folder_size(folder.path()) < 2_000_000 + reserve);
}

#[test]
fn no_trace_remains_of_removed_frames() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let bus = journaled(&archive);
    for n in 0..3_000 {
        let kind = EventKind::RunCompleted;
        let envelope = EventEnvelope::new(format!("run-{n}"), format!("agent-{}", n % 900), kind);
        drop(bus.submit([EventFrame::new(AgentEvent::envelope_only(envelope))]));
    }
    bus.publish(start("last")).unwrap();
    let nothing = Retention {
        max_frames: Some(0),
        ..Retention::default()
    };
    assert_eq!(archive.retain(&nothing).unwrap().frames, 3_001);
    assert_eq!(archive.runs(0, 10).unwrap(), []);
    let db = rusqlite::Connection::open(folder.path().join("frames.sqlite")).unwrap();
    for table in [
        "blocks",
        "data",
        "runs",
        "agents",
        "block_runs",
        "block_agents",
    ] {
        let count = db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get::<_, i64>(0)
        });
        assert_eq!(count.unwrap(), 0, "{table}");
    }
}

#[test]
fn joining_blocks_changes_nothing_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let bus = journaled(&archive);
    for n in 0..3_000 {
        let run = format!("run-{}", n % 3);
        bus.publish(if n % 30 == 29 { end(&run) } else { delta(&run) })
            .unwrap();
    }
    let before: Vec<_> = replay(&archive, 0).collect();
    let runs = archive.runs(0, 10).unwrap();
    let mut halfway = replay(&archive, 0);
    let first: Vec<_> = halfway.by_ref().take(1_500).collect();
    let done = archive.compact().unwrap();
    assert!(
        done.joined >= 3_000 && done.into < done.joined / 10,
        "{done:?}"
    );
    assert_eq!(
        archive.compact().unwrap().joined,
        0,
        "nothing is left to join"
    );
    assert_eq!(archive.check().unwrap(), 3_000);
    assert_eq!(replay(&archive, 0).collect::<Vec<_>>(), before);
    assert_eq!([first, halfway.collect()].concat(), before);
    let joined = archive.runs(0, 10).unwrap();
    let known = |runs: &[archive::ArchivedRun]| -> Vec<_> {
        let mut known: Vec<_> = runs
            .iter()
            .map(|run| (run.run_id.clone(), run.frames, run.ended, run.last_time))
            .collect();
        known.sort();
        known
    };
    assert_eq!(known(&joined), known(&runs));
    for run in &runs {
        let filter = EventFilter::run(&run.run_id).compile().unwrap();
        let start = archive.start().unwrap();
        let frames = archive.replay_filtered_from_cursor(filter, start).unwrap();
        assert_eq!((frames.count(), run.frames), (1_000, 1_000));
    }
}

#[test]
fn blocks_are_not_joined_across_missing_sequences() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    for number in [1, 2, 4, 5, 7] {
        let mut event = start("r").event.to_event();
        (event.envelope.event_seq, event.envelope.bus_epoch) = (number, BusEpoch::from_bits(9));
        archive.append(&[event.into()]).unwrap();
    }
    let done = archive.compact().unwrap();
    assert_eq!((done.joined, done.into), (5, 3));
    let numbers: Vec<_> = replay(&archive, 0)
        .map(|frame| frame.cursor.event_seq)
        .collect();
    assert_eq!(numbers, [1, 2, 4, 5, 7]);
}

#[test]
fn compaction_and_retention_run_beside_writers_and_readers() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let bus = journaled(&archive);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                archive.compact().unwrap();
            }
        });
        let reader = threads.spawn(|| {
            // Every replay meanwhile is complete, however the blocks are cut.
            while !done.load(Ordering::Relaxed) {
                let read = positions(replay(&archive, 0));
                assert_eq!(read, (1..=read.len() as u64).collect::<Vec<_>>());
            }
        });
        for n in 0..2_000_u64 {
            bus.publish_all((0..n % 5).map(|_| delta("r"))).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(archive.check().unwrap(), 4_000);
    assert_eq!(
        positions(replay(&archive, 0)),
        (1..=4_000).collect::<Vec<_>>()
    );
}

#[test]
fn runs_are_listed_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let bus = journaled(&archive);
    for n in 0..25 {
        let run = format!("run-{n:02}");
        bus.publish_all([start(&run), delta(&run)]).unwrap();
        if n % 2 == 0 {
            bus.publish(end(&run)).unwrap();
        }
    }
    let (mut runs, mut after) = (Vec::new(), 0);
    loop {
        let page = archive.runs(after, 4).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        after = last.last_position;
        runs.extend(page);
    }
    assert_eq!(runs.len(), 25);
    for (n, run) in runs.iter().enumerate() {
        assert_eq!(run.run_id.as_str(), format!("run-{n:02}"));
        let ended = (n % 2 == 0).then_some(EventKind::RunCompleted);
        assert_eq!((run.frames, run.ended), (2 + u64::from(n % 2 == 0), ended));
    }
}

#[test]
fn an_earlier_version_is_read_as_it_is_and_migrated_and_a_later_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    journaled(&archive).publish(start("r")).unwrap();
    // In the tables of version 1.
    archive.compact().unwrap();
    drop(archive);
    let file = folder.path().join("frames.sqlite");
    let change = |sql: &str| {
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };
    let refused = |opened: Result<Archive, AgentError>| {
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveVersion, "{error}");
    };
    common::as_version_1(&file);
    let reader = Archive::open_for_reading(folder.path()).unwrap();
    assert_eq!((reader.len(), reader.gaps()), (Ok(1), Ok(Vec::new())));
    assert_eq!(positions(replay(&reader, 0)), [1]);
    // The reader goes on when it is migrated.
    let writer = open(&folder);
    assert_eq!(writer.gaps().unwrap(), []);
    journaled(&writer).publish(start("r")).unwrap();
    assert_eq!((reader.len(), reader.gaps()), (Ok(2), Ok(Vec::new())));
    assert_eq!(positions(replay(&reader, 0)), [1, 2]);
    drop((reader, writer));
    change("PRAGMA user_version = 1000;");
    refused(Archive::open(folder.path(), ArchiveOptions::default()));
    refused(Archive::open_for_reading(folder.path()));
    // Another program's file is not changed.
    change("PRAGMA user_version = 4; PRAGMA application_id = 7;");
    refused(Archive::open(folder.path(), ArchiveOptions::default()));
}
