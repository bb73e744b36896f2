//! The archive's folder is removed, moved, replaced: nothing is acknowledged that is not found
//! there again, and nobody else writes there.
#![cfg(unix)]

mod common;

use common::archives::{Place, journaled};
use common::{delta, start};
use framebus::archive::{
    Archive, ArchiveOptions, Archiver, FollowOptions, JournalOptions, JournaledBus,
};
use framebus::*;
use std::fs;
use std::path::Path;

const FILE: &str = "frames.sqlite";

fn open(folder: &Path) -> Result<Archive, AgentError> {
    Archive::open(folder, ArchiveOptions::default())
}

fn opened(folder: &Path) -> JournaledBus {
    journaled(&open(folder).unwrap())
}

fn publish(bus: &JournaledBus, count: usize) {
    bus.publish_all((0..count).map(|_| delta("r"))).unwrap();
}

/// Opens it and publishes.
fn opened_after(folder: &Path, count: usize) -> JournaledBus {
    let bus = opened(folder);
    publish(&bus, count);
    bus
}

fn kind<T: std::fmt::Debug>(result: Result<T, AgentError>) -> AgentErrorKind {
    result.unwrap_err().kind()
}

/// Publishing fails for as long as the folder is away, and nothing is answered `Ok` for it.
fn is_refused(bus: &JournaledBus) {
    for _ in 0..5 {
        let error = bus.publish(start("r")).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveUnavailable, "{error}");
        assert!(error.message().contains("removed, moved or replaced"));
    }
}

#[test]
fn a_folder_that_was_removed_takes_no_frames() {
    let place = Place::new();
    let archive = open(&place.archive()).unwrap();
    let bus = journaled(&archive);
    publish(&bus, 1);
    fs::remove_dir_all(place.archive()).unwrap();
    is_refused(&bus);
    assert_eq!(
        kind(archive.append(&[])),
        AgentErrorKind::ArchiveUnavailable
    );
    assert_eq!(kind(archive.len()), AgentErrorKind::ArchiveUnavailable);
    drop((bus, archive));
    assert!(!place.archive().exists(), "nothing was made there");
}

#[test]
fn a_folder_that_was_moved_takes_frames_when_it_is_back() {
    let place = Place::new();
    let bus = opened(&place.archive());
    let reader = Archive::open_for_reading(place.archive()).unwrap();
    publish(&bus, 1);
    assert_eq!(reader.len(), Ok(1));
    fs::rename(place.archive(), place.beside("other")).unwrap();
    is_refused(&bus);
    assert_eq!(kind(reader.len()), AgentErrorKind::ArchiveUnavailable);
    // Wherever it is, it is this bus's.
    assert_eq!(
        kind(open(&place.beside("other"))),
        AgentErrorKind::ArchiveInUse
    );
    fs::rename(place.beside("other"), place.archive()).unwrap();
    publish(&bus, 1);
    assert_eq!((bus.archive().len(), reader.len()), (Ok(2), Ok(2)));
    // The refused ones were shown, and their numbers are not given again.
    assert_eq!(
        bus.archive().last_sequence(bus.archive().journal_epoch()),
        Ok(7)
    );
}

#[test]
fn a_folder_that_was_replaced_is_not_mixed_up_with_the_new_one() {
    let place = Place::new();
    let bus = opened(&place.archive());
    publish(&bus, 1);
    fs::rename(place.archive(), place.beside("other")).unwrap();
    let second = opened(&place.archive());
    is_refused(&bus);
    publish(&second, 3);
    assert_eq!(second.archive().len(), Ok(3));
    assert_ne!(second.archive().id(), bus.archive().id());
}

#[test]
fn each_file_that_is_written_is_watched() {
    for (file, replaced) in [(FILE, false), (FILE, true), ("frames.sqlite-wal", false)] {
        let place = Place::new();
        let bus = opened(&place.archive());
        publish(&bus, 1);
        let file = place.archive().join(file);
        if replaced {
            // As a restore does that renames its file into place.
            fs::copy(&file, place.beside("other")).unwrap();
            fs::rename(place.beside("other"), &file).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        is_refused(&bus);
    }
}

#[test]
fn an_archiver_says_that_the_folder_is_gone() {
    let place = Place::new();
    let archive = open(&place.archive()).unwrap();
    let bus = InMemoryAgentEventBus::default();
    let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
    fs::remove_dir_all(place.archive()).unwrap();
    bus.publish(start("r")).unwrap();
    while bus.stats().published == 0 {}
    let report = archiver.stop();
    if report.frames == 0 && report.error.is_none() {
        // It was stopped before it read the frame.
        return;
    }
    assert_eq!(report.frames, 0);
    assert_eq!(
        report.error.unwrap().kind(),
        AgentErrorKind::ArchiveUnavailable
    );
}

#[test]
fn no_second_writer_gets_in_whatever_happens_to_the_lock_s_file() {
    let place = Place::new();
    let first = open(&place.archive()).unwrap();
    let lock = place.archive().join("lock");
    fs::remove_file(&lock).unwrap();
    let error = open(&place.archive()).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveInUse, "{error}");
    fs::write(&lock, "anything").unwrap();
    assert_eq!(kind(open(&place.archive())), AgentErrorKind::ArchiveInUse);
    // Nor through another name of the folder, or of the database.
    std::os::unix::fs::symlink(place.archive(), place.beside("other")).unwrap();
    assert_eq!(
        kind(open(&place.beside("other"))),
        AgentErrorKind::ArchiveInUse
    );
    let third = place.beside("third");
    fs::create_dir(&third).unwrap();
    std::os::unix::fs::symlink(place.archive().join(FILE), third.join(FILE)).unwrap();
    assert_eq!(kind(open(&third)), AgentErrorKind::ArchiveInUse);
    drop(first);
    assert!(open(&place.archive()).is_ok());
}

#[test]
fn numbers_that_were_shown_are_in_the_database_too() {
    let place = Place::new();
    let bus = opened(&place.archive());
    let mut live = bus.subscribe_all(None).unwrap();
    publish(&bus, 10);
    // Stands for a full disk: five frames are shown and not stored.
    let other = rusqlite::Connection::open(place.archive().join(FILE)).unwrap();
    let fault = "CREATE TRIGGER no BEFORE INSERT ON tail BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(fault).unwrap();
    (0..5).for_each(|_| assert!(bus.publish(start("r")).is_err()));
    other.execute_batch("DROP TRIGGER no").unwrap();
    let shown: i64 = other
        .query_row("SELECT shown FROM state", [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        (shown, live.by_ref().last().unwrap().cursor.event_seq),
        (15, 15)
    );
    drop((bus, live, other));
    fs::remove_file(place.archive().join("lock")).unwrap();
    let bus = opened(&place.archive());
    let next = bus.publish_all([start("r")]).unwrap();
    assert_eq!((next.sequences.start, next.positions.start), (16, 11));
}

#[test]
fn a_database_that_is_gone_beside_what_knows_of_it_is_damage() {
    for (emptied, what) in [
        (true, "opened"),
        (false, "opened"),
        (true, "log"),
        (false, "log"),
    ] {
        let place = Place::new();
        let folder = place.archive();
        let bus = opened_after(&folder, 10);
        let log = fs::read(folder.join("frames.sqlite-wal")).unwrap();
        assert!(!log.is_empty());
        drop(bus);
        match emptied {
            true => fs::write(folder.join(FILE), "").unwrap(),
            false => fs::remove_file(folder.join(FILE)).unwrap(),
        }
        if what == "log" {
            fs::remove_file(folder.join("opened")).unwrap();
            fs::write(folder.join("frames.sqlite-wal"), log).unwrap();
        }
        for opened in [open(&folder), Archive::open_for_reading(&folder)] {
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), AgentErrorKind::ArchiveDamaged, "{error}");
            assert!(error.message().contains(what), "{error}");
        }
    }
    // Without any of it, it is a new one.
    let place = Place::new();
    fs::create_dir(place.archive()).unwrap();
    fs::write(place.archive().join(FILE), "").unwrap();
    fs::write(place.archive().join("lock"), "").unwrap();
    assert_eq!(
        kind(Archive::open_for_reading(place.archive())),
        AgentErrorKind::ArchiveVersion
    );
    assert_eq!(open(&place.archive()).unwrap().len(), Ok(0));
}

#[test]
fn an_error_names_what_still_holds_the_folder() {
    let place = Place::new();
    let refused = |names: &[&str]| {
        let error = open(&place.archive()).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveInUse);
        assert!(error.message().contains("this process"), "{error}");
        for name in names {
            assert!(error.message().contains(name), "{name}: {error}");
        }
    };
    let archive = open(&place.archive()).unwrap();
    refused(&["1 Archive"]);
    let clone = archive.clone();
    refused(&["2 Archive"]);
    let all = EventFilter::default().compile().unwrap();
    let replay = clone
        .replay_filtered_from_cursor(all, clone.start().unwrap())
        .unwrap();
    drop((archive, clone));
    refused(&["in this process: 1 replay;"]);
    drop(replay);
    let options = JournalOptions {
        repair: true,
        ..JournalOptions::default()
    };
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(open(&place.archive()).unwrap(), builder, options).unwrap();
    refused(&["in this process: a JournaledBus;"]);
    let stream = bus.subscribe_all(None).unwrap();
    drop(bus);
    refused(&["in this process: 1 stream that it repairs;"]);
    drop(stream);
    let followed = InMemoryAgentEventBus::default();
    let archive = open(&place.archive()).unwrap();
    let archiver = Archiver::follow(&archive, &followed, FollowOptions::default()).unwrap();
    drop(archive);
    refused(&["in this process: 1 Archiver;"]);
    let _ = archiver.stop();
    assert!(open(&place.archive()).is_ok());
}
