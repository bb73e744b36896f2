//! An archive of a version that knows more: what it has beyond this version is named and counted,
//! and all else is read. `tests/data/later` says how it was made.

use framebus::archive::{Archive, ArchiveOptions, Finding};
use framebus::*;
use std::path::Path;

/// The frames that this version can't show.
const LATER: u64 = 5 + 5 + 1_001 + 1;
const ALL: u64 = 1_049;

fn put(folder: &Path) {
    let bytes = include_bytes!("data/later/frames.sqlite");
    std::fs::write(folder.join("frames.sqlite"), bytes).unwrap();
}

/// What a replay gives: positions, how many frames it told as missing, and its end.
fn read(archive: &Archive, filter: EventFilter) -> (Vec<u64>, u64, Option<StreamEnd>) {
    let start = archive.start().unwrap();
    let filter = filter.compile().unwrap();
    let mut frames = archive.replay_filtered_from_cursor(filter, start).unwrap();
    let (mut positions, mut told) = (Vec::new(), 0);
    for frame in frames.by_ref() {
        told += frame.overflow.map_or(0, |notice| notice.dropped_count);
        positions.push(frame.archive_cursor.unwrap().position);
    }
    told += frames.pending_overflow().map_or(0, |it| it.dropped_count);
    let end = frames.end();
    (positions, told, end)
}

fn known() -> Vec<u64> {
    let later = [10, 20, 21, 30, 31, 1_048];
    let places = (1..=40).chain(1_047..=1_049);
    places.filter(|at| !later.contains(at)).collect()
}

/// Checks that a replay of everything tells what it could not show.
fn is_told(archive: &Archive) {
    let (positions, told, end) = read(archive, EventFilter::default());
    assert_eq!((positions, told), (known(), LATER));
    let Some(StreamEnd::SourceDamaged(error)) = end else {
        panic!("{end:?}");
    };
    assert_eq!(error.kind(), AgentErrorKind::ArchiveVersion, "{error}");
    assert!(error.message().contains("kind 119"), "{error}");
    assert!(!error.message().contains("backup"), "{error}");
}

#[test]
fn a_reader_names_what_it_does_not_know_and_reads_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path());
    let archive = Archive::open_for_reading(folder.path()).unwrap();
    assert_eq!(archive.len(), Ok(ALL));
    is_told(&archive);
    // Kinds that are known are asked for: frames of later ones are not missing.
    let starts = EventFilter {
        kinds: vec![EventKind::RunStarted],
        ..EventFilter::default()
    };
    let (positions, told, _) = read(&archive, starts);
    assert_eq!((positions.len(), told), (35, 1_001 + 2));
    let (positions, told, end) = read(&archive, EventFilter::terminal_run_events());
    assert_eq!((positions, told), (vec![1_047, 1_049], 0));
    assert_eq!(end, Some(StreamEnd::ListEnded));
}

#[test]
fn later_entities_and_endpoints_are_other_ones() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path());
    let archive = Archive::open_for_reading(folder.path()).unwrap();
    let before = ArchiveCursor {
        position: 31,
        ..archive.start().unwrap()
    };
    let all = EventFilter::default().compile().unwrap();
    let mut frames = archive.replay_filtered_from_cursor(all, before).unwrap();
    let details = frames.next().unwrap().event.envelope.details.clone();
    let details = details.unwrap();
    assert_eq!(details.subject, Some((EntityKind::Other, "w").into()));
    assert_eq!(details.source, Some((EndpointKind::Other, "s").into()));
}

#[test]
fn a_writer_keeps_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path());
    let open = || Archive::open(folder.path(), ArchiveOptions::default()).unwrap();
    let archive = open();
    assert_eq!(archive.check(), Ok(ALL));
    let found = archive.examine().unwrap();
    let is_later =
        |it: &Finding| matches!(it, Finding::Later { positions, .. } if *positions == (46..=1_046));
    assert!(
        found.findings.len() == 1 && is_later(&found.findings[0]),
        "{found:?}"
    );
    // The tail is joined with what comes, the numbers of later kinds as they are.
    archive.compact().unwrap();
    is_told(&archive);
    drop(archive);
    let archive = open();
    assert_eq!(archive.check(), Ok(ALL));
    is_told(&archive);
    let runs = archive.runs(0, 10).unwrap();
    assert_eq!(runs.iter().map(|run| run.frames).sum::<u64>(), ALL);
}
