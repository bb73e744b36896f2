//! Bad disks: a second opener, torn and flipped bytes, a full disk, a read-only folder. Errors are
//! clear, and no stored frame is lost or made up.
#![cfg(unix)]

mod common;

use common::archives::journaled;
use common::start;
use framebus::archive::{Archive, ArchiveOptions, Archiver, FollowOptions, JournaledBus};
use framebus::*;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const FILE: &str = "frames.sqlite";
const LOG: &str = "frames.sqlite-wal";

fn open(folder: &Path) -> Result<Archive, AgentError> {
    Archive::open(folder, ArchiveOptions::default())
}

fn replay(archive: &Archive) -> AgentEventStream {
    let all = EventFilter::default().compile().unwrap();
    let start = archive.start().unwrap();
    archive.replay_filtered_from_cursor(all, start).unwrap()
}

/// Returns the frame that is written at this position.
fn frame(position: u64) -> EventFrame {
    let envelope = EventEnvelope::new(
        format!("run-{}", position % 7),
        "a",
        EventKind::ALL[position as usize % 100],
    );
    EventFrame::new(AgentEvent::with_redacted_summary(
        envelope,
        format!("text {position}"),
    ))
}

/// Returns whether a frame that was read is the one that was written.
fn is_itself(frame: &EventFrame) -> bool {
    let position = frame.archive_cursor.as_ref().unwrap().position;
    let written = self::frame(position).event;
    frame.event.envelope.event_seq == position
        && frame.event.envelope.run_id == written.envelope.run_id
        && frame.event.envelope.event_kind == written.envelope.event_kind
        && frame.event.redacted_summary() == written.redacted_summary()
}

/// Appends groups of 1 to 40 frames. Returns the position at which each ends.
fn fill(bus: &JournaledBus, groups: u64) -> Vec<u64> {
    let mut ends = vec![0];
    for group in 0..groups {
        let last = ends[group as usize];
        let next = last + 1 + group * 7 % 40;
        let done = bus.publish_all((last + 1..=next).map(frame)).unwrap();
        assert_eq!(done.positions, last + 1..next + 1);
        ends.push(next);
    }
    ends
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveInUse);
    assert!(error.to_string().contains("another writer"), "{error}");
    assert!(Archive::open_for_reading(folder.path()).is_ok());
    let clone = archive.clone();
    drop(archive);
    assert!(open(folder.path()).is_err(), "a clone still has it");
    drop(clone);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn an_archive_is_reopened_while_other_processes_start() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|threads| {
        // Between its fork and its exec, each has a copy of the lock's file.
        let start = || (0..100).all(|_| Command::new("true").status().unwrap().success());
        let starting: Vec<_> = (0..8).map(|_| threads.spawn(start)).collect();
        while !starting.iter().all(|it| it.is_finished()) {
            drop(open(folder.path()).unwrap());
        }
    });
}

#[test]
fn a_file_that_is_no_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Archive::open_for_reading(folder.path()).unwrap_err();
    assert_eq!(missing.kind(), AgentErrorKind::ArchiveUnavailable);
    fs::write(
        folder.path().join(FILE),
        "no database at all, but some text\n".repeat(100),
    )
    .unwrap();
    for opened in [
        open(folder.path()),
        Archive::open_for_reading(folder.path()),
    ] {
        assert_eq!(opened.unwrap_err().kind(), AgentErrorKind::ArchiveDamaged);
    }
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveUnavailable, "{error}");
}

#[test]
fn a_torn_log_leaves_whole_appends_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path()).unwrap();
    let bus = journaled(&archive);
    let ends = fill(&bus, 60);
    // What a loss of power leaves: the files as they are, and the log cut or garbled.
    let log = fs::read(folder.path().join(LOG)).unwrap();
    let mut lengths = Vec::new();
    for cut in 0..40 {
        let torn = tempfile::tempdir().unwrap();
        fs::copy(folder.path().join(FILE), torn.path().join(FILE)).unwrap();
        let at = log.len() * cut / 40;
        let mut bytes = log[..at].to_vec();
        if cut % 2 == 1 {
            bytes.extend(log[at..].iter().map(|byte| !byte));
        }
        fs::write(torn.path().join(LOG), bytes).unwrap();
        let archive = match open(torn.path()) {
            Ok(archive) => archive,
            // The log also held the creation of the tables.
            Err(error) => panic!("cut at {at}: {error}"),
        };
        let length = archive.check().unwrap();
        assert!(
            ends.contains(&length),
            "{length} is in the middle of an append"
        );
        assert!(replay(&archive).all(|frame| is_itself(&frame)));
        lengths.push(length);
        // And more can be appended.
        let done = journaled(&archive).publish_all([start("r")]).unwrap();
        assert_eq!(done.positions.start, length + 1);
    }
    assert!(lengths.is_sorted() && lengths[39] > ends[50], "{lengths:?}");
}

#[test]
fn flipped_and_missing_bytes_are_found_and_never_read_as_frames() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path()).unwrap();
    fill(&journaled(&archive), 100);
    let count = archive.len().unwrap();
    drop(archive);
    let whole = fs::read(folder.path().join(FILE)).unwrap();
    let mut found = 0;
    for round in 0..120 {
        let torn = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        // An empty file is a new archive, so at least one byte is kept.
        let at = whole.len() * round / 120 + 1 + round * 131 % 97;
        match round % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 0x41,
            _ => bytes[at..(at + 600).min(whole.len())].fill(0),
        }
        fs::write(torn.path().join(FILE), bytes).unwrap();
        let opened = open(torn.path());
        let Ok(archive) = opened else {
            let kind = opened.unwrap_err().kind();
            assert!(
                matches!(
                    kind,
                    AgentErrorKind::ArchiveDamaged | AgentErrorKind::ArchiveVersion
                ),
                "{kind:?}"
            );
            found += 1;
            continue;
        };
        let all = EventFilter::default().compile().unwrap();
        let begin = ArchiveCursor {
            archive_id: archive.id().clone(),
            position: 0,
        };
        let mut read = 0;
        if let Ok(mut frames) = archive.replay_filtered_from_cursor(all, begin) {
            for frame in frames.by_ref() {
                assert!(is_itself(&frame), "made up: {frame:?}");
                read += 1;
            }
        }
        match archive.check() {
            Ok(checked) => assert_eq!((checked, read), (count, count), "nothing is missing"),
            Err(error) => {
                assert_eq!(error.kind(), AgentErrorKind::ArchiveDamaged, "{error}");
                found += 1;
            }
        }
    }
    assert!(found > 60, "{found}");
}

/// A small disk of its own. Mounting it needs a right.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            common::not_run("bad disks: no small one can be mounted here; run it as root");
            return None;
        }
        Some(Disk(folder))
    }

    fn read_only(&self) {
        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(self.0.path())
            .status();
        assert!(remounted.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_reported_and_no_stored_frame_is_lost() {
    let Some(disk) = Disk::mount("3m") else {
        return;
    };
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let folder = disk.0.path().join("archive");
    let archive = open(&folder).unwrap();
    let bus = journaled(&archive);
    let mut live = bus
        .subscribe_all_with_options(None, SubscriptionOptions::complete())
        .unwrap();
    let mut stored = 0;
    let error = loop {
        match bus.publish_all((stored + 1..=stored + 200).map(frame)) {
            Ok(done) => stored = done.positions.end - 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), AgentErrorKind::ArchiveFull, "{error}");
    assert!(stored > 0 && error.to_string().contains("free some space"));
    // The rings hold the last ones.
    let mut semantics: Vec<_> = live
        .by_ref()
        .map(|frame| frame.event.envelope.delivery_semantics)
        .collect();
    assert_eq!(
        semantics.split_off(semantics.len() - 200),
        [EventDeliverySemantics::DiagnosticOnly; 200]
    );
    assert_eq!(replay(&archive).filter(is_itself).count() as u64, stored);
    // With room again the journal goes on. Refused frames stay refused, and their sequence numbers
    // stay used, also for a later process.
    drop((bus, archive));
    fs::remove_file(&ballast).unwrap();
    let archive = open(&folder).unwrap();
    let bus = journaled(&archive);
    let done = bus.publish_all([start("r")]).unwrap();
    assert_eq!(done.positions.start, stored + 1);
    assert_eq!(done.sequences.start, stored + 201);
    drop((bus, archive));
    let archive = open(&folder).unwrap();
    assert_eq!(archive.check().unwrap(), stored + 1);
}

#[test]
fn an_archiver_on_a_full_disk_keeps_what_it_read_until_there_is_room() {
    let Some(disk) = Disk::mount("3m") else {
        return;
    };
    let archive = open(&disk.0.path().join("archive")).unwrap();
    let ballast = disk.0.path().join("ballast");
    // It writes as much as there is room for.
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 4_096]).is_ok() {}
    let bus = InMemoryAgentEventBus::default();
    (1..=1_000).for_each(|position| bus.publish(frame(position)).unwrap());
    let report = Archiver::follow(&archive, &bus, FollowOptions::default())
        .unwrap()
        .stop();
    assert_eq!(report.error.unwrap().kind(), AgentErrorKind::ArchiveFull);
    assert_eq!((report.frames, archive.len().unwrap()), (0, 0));
    // It tries again while the disk is full, and finishes when there is room.
    let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
    fs::remove_file(&ballast).unwrap();
    drop((bus, file));
    let report = archiver.finish();
    assert_eq!((report.frames, report.lost), (1_000, 0));
    assert!(replay(&archive).all(|frame| is_itself(&frame)));
}

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn setrlimit(resource: i32, limits: &[u64; 2]) -> i32;
}

/// Limits how many bytes this process may write into a file.
fn limit_files(bytes: u64) {
    const FILE_SIZE: i32 = 1;
    const SIGXFSZ: i32 = 25;
    const IGNORE: usize = 1;
    // SAFETY: both change the process only; the limit is two numbers on every Unix of 64 bits.
    let done = unsafe {
        signal(SIGXFSZ, IGNORE);
        setrlimit(FILE_SIZE, &[bytes, i64::MAX.cast_unsigned()])
    };
    assert_eq!(done, 0);
}

#[test]
fn a_frame_whose_sequence_cannot_be_noted_is_not_published() {
    // Run in a process of its own, which can't write for a while.
    if std::env::var_os("FRAMEBUS_ALONE").is_none() {
        let name = "a_frame_whose_sequence_cannot_be_noted_is_not_published";
        let alone = Command::new(std::env::current_exe().unwrap())
            .env("FRAMEBUS_ALONE", "1")
            .args(["--exact", name])
            .output()
            .unwrap();
        assert!(alone.status.success(), "{alone:?}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bus = journaled(&open(folder.path()).unwrap());
    let mut live = bus.subscribe_all(None).unwrap();
    bus.publish(start("r")).unwrap();
    limit_files(0);
    let refused = bus.publish_all([start("r"), start("r")]);
    limit_files(i64::MAX.cast_unsigned());
    assert!(refused.is_err(), "{refused:?}");
    // A later process would have given its sequence number again; this one does.
    assert_eq!(bus.publish_all([start("r")]).unwrap().sequences, 2..3);
    let seen: Vec<_> = live.by_ref().collect();
    assert_eq!(seen.len(), 2);
    for frame in &seen {
        let semantics = frame.event.envelope.delivery_semantics;
        assert_eq!(semantics, EventDeliverySemantics::JournalBacked);
    }
}

#[test]
fn an_archive_in_a_read_only_folder_can_be_read() {
    let Some(disk) = Disk::mount("8m") else {
        return;
    };
    let folder = disk.0.path().join("archive");
    let ends = fill(&journaled(&open(&folder).unwrap()), 20);
    disk.read_only();
    let error = open(&folder).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveReadOnly, "{error}");
    let archive = Archive::open_for_reading(&folder).unwrap();
    assert_eq!(Some(&archive.check().unwrap()), ends.last());
    assert!(replay(&archive).all(|frame| is_itself(&frame)));
    let error = archive.append(&[]).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveReadOnly);
}

/// Returns a frame whose text, of this length, can't be packed to much less than it is.
fn noisy(position: u64, length: usize) -> EventFrame {
    let mut word = position.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let digit = |_| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        char::from(b'!' + (word >> 40) as u8 % 90)
    };
    let text: String = (0..length).map(digit).collect();
    let run = format!("run-{}", position % 50);
    let envelope = EventEnvelope::new(run, "a", EventKind::ModelStreamDelta);
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
}

/// Publishes groups until the disk is full. Returns how many frames were stored.
fn publish_until_full(bus: &JournaledBus, size: u64, length: usize) -> u64 {
    let mut stored = 0;
    loop {
        match bus.publish_all((0..size).map(|n| noisy(stored + n, length))) {
            Ok(done) => stored += done.positions.end - done.positions.start,
            Err(error) => {
                assert_eq!(error.kind(), AgentErrorKind::ArchiveFull, "{error}");
                return stored;
            }
        }
    }
}

/// Fills the disk with what another program writes, to the last byte.
fn fill_up(path: &Path) {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for size in [65_536, 4_096, 512, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// On a disk of this size, until it is full, again and again: retention makes room, and publishing
/// goes on by itself, without opening anything again. `FRAMEBUS_DISK_ROUNDS` says how often; ten
/// times take minutes.
fn retention_makes_room(disk_size: &str, group: u64, length: usize, by_another: bool) {
    let Some(disk) = Disk::mount(disk_size) else {
        return;
    };
    let folder = disk.0.path().join("archive");
    let ballast = disk.0.path().join("ballast");
    let archive = open(&folder).unwrap();
    let bus = journaled(&archive);
    let rounds = std::env::var("FRAMEBUS_DISK_ROUNDS").ok();
    let rounds = rounds.map_or(2, |rounds| rounds.parse().unwrap());
    let mut total = 0;
    for round in 0..rounds {
        let stored = publish_until_full(&bus, group, length);
        assert!(stored >= group, "round {round}: nothing was stored");
        total += stored;
        if by_another {
            fill_up(&ballast);
        }
        let held = archive.len().unwrap();
        let limits = framebus::archive::Retention {
            max_frames: Some(held / 3),
            ..framebus::archive::Retention::default()
        };
        let removed = archive.retain(&limits);
        let removed = removed.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(removed.frames > 0, "round {round}");
        let compacted = archive.compact();
        compacted.unwrap_or_else(|error| panic!("round {round}: {error}"));
        if by_another {
            // The room that it gave is the archive's again.
            assert!(
                bus.publish_all((0..group).map(|n| noisy(n, length)))
                    .is_ok(),
                "round {round}"
            );
            total += group;
            fs::remove_file(&ballast).unwrap();
        }
        assert_eq!(archive.end().unwrap().position, total);
        assert_eq!(archive.check().unwrap(), archive.len().unwrap());
    }
    drop((bus, archive));
    let archive = open(&folder).unwrap();
    assert_eq!(archive.end().unwrap().position, total);
    assert_eq!(replay(&archive).count() as u64, archive.len().unwrap());
}

#[test]
fn retention_makes_room_on_a_small_disk() {
    retention_makes_room("6m", 1, 1_000, false);
    retention_makes_room("6m", 200, 400, false);
    retention_makes_room("6m", 200, 400, true);
}

#[test]
fn retention_makes_room_on_a_larger_disk() {
    retention_makes_room("64m", 100, 4_000, false);
    retention_makes_room("64m", 1_000, 4_000, true);
}
