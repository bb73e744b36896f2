//! Copies of an archive, restored backups and restarts: no sequence number or position ever names
//! two frames.
#![cfg(unix)]

mod common;

use common::archives::{Place, journaled};
use common::{delta, start};
use framebus::archive::{Archive, ArchiveOptions, JournalEpoch, JournaledBus};
use framebus::*;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const FILE: &str = "frames.sqlite";

fn open(folder: &Path) -> Result<Archive, AgentError> {
    Archive::open(folder, ArchiveOptions::default())
}

fn with_epoch(folder: &Path, journal_epoch: JournalEpoch) -> JournaledBus {
    let options = ArchiveOptions {
        journal_epoch,
        ..ArchiveOptions::default()
    };
    journaled(&Archive::open(folder, options).unwrap())
}

fn opened(folder: &Path) -> JournaledBus {
    journaled(&open(folder).unwrap())
}

fn publish(bus: &JournaledBus, count: usize) {
    bus.publish_all((0..count).map(|_| delta("r"))).unwrap();
}

/// Copies as the given program does.
fn copy(program: &[&str], from: &Path, to: &Path) {
    let done = Command::new(program[0])
        .args(&program[1..])
        .arg(format!("{}/.", from.display()))
        .arg(to)
        .status();
    assert!(done.unwrap().success(), "{program:?}");
}

/// What a client has of the bus, and of its journal.
struct Cursors {
    live: EventCursor,
    archive: ArchiveCursor,
    journal: JournalCursor,
}

impl Cursors {
    /// Those of the last frame of a bus.
    fn last(bus: &JournaledBus) -> Self {
        let complete = SubscriptionOptions::complete();
        let frames = bus.subscribe_all_with_options(None, complete).unwrap();
        let frame = frames.last().unwrap();
        Cursors {
            live: frame.cursor.clone(),
            archive: bus.archive().end().unwrap(),
            journal: frame.event.envelope.journal_cursor.clone().unwrap(),
        }
    }

    /// What becomes of them at a bus.
    fn at(&self, bus: &JournaledBus) -> [Result<(), AgentErrorKind>; 3] {
        let all = EventFilter::default().compile().unwrap();
        let archive = bus.archive();
        let done = [
            bus.subscribe_all(Some(self.live.clone())).map(drop),
            archive
                .replay_filtered_from_cursor(all, self.archive.clone())
                .map(drop),
            archive.locate(&self.journal).map(drop),
        ];
        done.map(|done| done.map_err(|error| error.kind()))
    }
}

const GOOD: [Result<(), AgentErrorKind>; 3] = [Ok(()); 3];
const FOREIGN: [Result<(), AgentErrorKind>; 3] = [
    Err(AgentErrorKind::CursorForeignEpoch),
    Err(AgentErrorKind::ArchiveCursor),
    Err(AgentErrorKind::ArchiveCursor),
];
const INHERITED: [Result<(), AgentErrorKind>; 3] =
    [Err(AgentErrorKind::CursorForeignEpoch), Ok(()), Ok(())];

#[test]
fn a_restart_a_change_of_owner_and_a_move_on_the_disk_are_no_copies() {
    let place = Place::new();
    publish(&opened(&place.archive()), 10);
    let cursors = Cursors::last(&opened_after(&place.archive(), 1));
    for act in ["touch", "chmod", "chown"] {
        for file in ["opened", FILE, "lock"] {
            let file = place.archive().join(file);
            let owner = fs::metadata(&file).unwrap().uid().to_string();
            let mut command = Command::new(act);
            match act {
                "chmod" => command.arg("640"),
                "chown" => command.arg(owner),
                _ => &mut command,
            };
            assert!(command.arg(file).status().unwrap().success());
        }
        assert_eq!(cursors.at(&opened(&place.archive())), GOOD, "{act}");
    }
    fs::rename(place.archive(), place.beside("other")).unwrap();
    let bus = opened(&place.beside("other"));
    assert_eq!(cursors.at(&bus), GOOD);
    assert_eq!(bus.publish_all([start("r")]).unwrap().sequences, 12..13);
}

/// Opens it and publishes.
fn opened_after(folder: &Path, count: usize) -> JournaledBus {
    let bus = opened(folder);
    publish(&bus, count);
    bus
}

#[test]
fn a_backup_that_was_restored_begins_an_epoch_and_cursors_of_the_lost_future_are_foreign() {
    let whole: [&[&str]; 2] = [&["cp", "-r"], &["cp", "-a"]];
    for program in whole {
        for in_place in [false, true] {
            let place = Place::new();
            let (folder, backup) = (place.archive(), place.beside("other"));
            publish(&opened(&folder), 100);
            copy(program, &folder, &backup);
            let (past, lost) = {
                let bus = opened(&folder);
                // The last one that the backup has.
                let mut past = Cursors::last(&opened_after_restart(&bus));
                let lost = Cursors::last(&bus);
                past.archive.position = 100;
                past.journal = JournalCursor::new(format!("{}@100", bus.archive().id()));
                past.live.event_seq = 100;
                (past, lost)
            };
            assert_eq!(lost.archive.position, 150);
            if !in_place {
                fs::remove_dir_all(&folder).unwrap();
            }
            copy(program, &backup, &folder);
            let bus = opened(&folder);
            publish(&bus, 200);
            let case = format!("{program:?}, in place: {in_place}");
            assert_eq!(bus.archive().len(), Ok(300), "{case}");
            assert_eq!(lost.at(&bus), FOREIGN, "{case}");
            assert_eq!(past.at(&bus), INHERITED, "{case}");
            assert_eq!(bus.archive().check(), Ok(300));
            // And from here on it is the original.
            let now = Cursors::last(&bus);
            drop(bus);
            assert_eq!(now.at(&opened(&folder)), GOOD, "{case}");
        }
    }
}

/// Publishes 50 frames and returns the bus.
fn opened_after_restart(bus: &JournaledBus) -> JournaledBus {
    publish(bus, 50);
    bus.clone()
}

#[test]
fn a_database_that_was_put_back_alone_is_a_copy() {
    let place = Place::new();
    let folder = place.archive();
    publish(&opened(&folder), 100);
    fs::copy(folder.join(FILE), place.beside("other")).unwrap();
    let lost = Cursors::last(&opened_after(&folder, 100));
    fs::copy(place.beside("other"), folder.join(FILE)).unwrap();
    let bus = opened(&folder);
    publish(&bus, 200);
    assert_eq!(lost.at(&bus), FOREIGN);
    // So is one whose file `opened` was removed: it had the last word.
    let lost = Cursors::last(&bus);
    drop(bus);
    fs::remove_file(folder.join("opened")).unwrap();
    let bus = opened(&folder);
    publish(&bus, 1);
    assert_eq!(lost.at(&bus), INHERITED);
}

#[test]
fn of_two_copies_each_goes_on_as_itself() {
    let place = Place::new();
    let (folder, second) = (place.archive(), place.beside("other"));
    publish(&opened(&folder), 10);
    copy(&["cp", "-a"], &folder, &second);
    let buses = [opened(&folder), opened(&second)];
    buses.iter().for_each(|bus| publish(bus, 5));
    let cursors = buses.each_ref().map(Cursors::last);
    assert_eq!(
        (cursors[0].at(&buses[0]), cursors[0].at(&buses[1])),
        (GOOD, FOREIGN)
    );
    assert_eq!(
        (cursors[1].at(&buses[1]), cursors[1].at(&buses[0])),
        (GOOD, FOREIGN)
    );
    // A copy of the copy inherits from both.
    drop(buses);
    let third = place.beside("third");
    copy(&["cp", "-r"], &second, &third);
    let third = opened(&third);
    assert_eq!(cursors[1].at(&third), INHERITED);
    assert_eq!(cursors[0].at(&third), FOREIGN);
}

#[test]
fn the_host_says_what_the_folder_does_not_show() {
    let place = Place::new();
    let (folder, moved) = (place.archive(), place.beside("other"));
    publish(&opened(&folder), 10);
    // It was moved to another disk.
    copy(&["cp", "-r"], &folder, &moved);
    fs::remove_dir_all(&folder).unwrap();
    let bus = with_epoch(&moved, JournalEpoch::Same);
    assert_eq!(bus.publish_all([start("r")]).unwrap().sequences, 11..12);
    let cursors = Cursors::last(&bus);
    drop(bus);
    assert_eq!(cursors.at(&opened(&moved)), GOOD, "said once");
    // The disk was rolled back to a snapshot.
    let bus = with_epoch(&moved, JournalEpoch::New);
    assert_eq!(bus.publish_all([start("r")]).unwrap().sequences, 1..2);
    assert_eq!(cursors.at(&bus), INHERITED);
}

/// What the archive records of a file; see `src/archive/origin.rs`.
fn mark(file: &Path, inode: u64) -> String {
    let file = fs::metadata(file).unwrap();
    let born = file.created().map_or(0, |it| {
        it.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
    });
    let changed = file.ctime() * 1_000_000_000 + file.ctime_nsec();
    format!("{inode}.{born}.{changed}")
}

#[test]
fn an_opening_that_was_cut_off_is_none() {
    let place = Place::new();
    let folder = place.archive();
    let cursors = Cursors::last(&opened_after(&folder, 10));
    let (old, new) = (folder.join("opened"), folder.join("opened.new"));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    for (recorded, renamed) in [(false, false), (true, false), (true, true)] {
        fs::copy(&old, &new).unwrap();
        if recorded {
            let both = format!("{} {}", mark(&old, inode(&old)), mark(&new, inode(&new)));
            rusqlite::Connection::open(folder.join(FILE))
                .unwrap()
                .execute("UPDATE state SET marks = ?", [both])
                .unwrap();
        }
        if renamed {
            fs::rename(&new, &old).unwrap();
        }
        let bus = opened(&folder);
        assert_eq!(cursors.at(&bus), GOOD, "{recorded}, {renamed}");
        publish(&bus, 1);
    }
}

#[test]
fn a_disk_that_numbers_its_inodes_anew_makes_no_copies() {
    let place = Place::new();
    let folder = place.archive();
    let cursors = Cursors::last(&opened_after(&folder, 10));
    // As if the file had had another number before.
    rusqlite::Connection::open(folder.join(FILE))
        .unwrap()
        .execute(
            "UPDATE state SET marks = ?",
            [mark(&folder.join("opened"), 1)],
        )
        .unwrap();
    assert_eq!(cursors.at(&opened(&folder)), GOOD);
}
