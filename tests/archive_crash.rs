//! A journal whose process is killed at random moments, while retention and compaction run and
//! another process opens the folder again and again, to read and to write: every acknowledged frame
//! is there, in order, once, and sequence numbers go on after the highest.
//!
//! `cargo test` kills 12 times; `FRAMEBUS_KILLS=500` says how often, `FRAMEBUS_SEED` which moments.
#![cfg(unix)]

use framebus::archive::{Archive, ArchiveOptions, JournalOptions, JournaledBus, Retention};
use framebus::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const NAME: &str = "no_acknowledged_frame_is_lost";
const FOLDER: &str = "FRAMEBUS_CRASH_FOLDER";
const ROUND: &str = "FRAMEBUS_CRASH_ROUND";

/// How many frames retention keeps: more than a round publishes.
const KEPT: u64 = 40_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A step of a generator whose values need only be spread out.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

fn open(folder: &Path) -> (Archive, JournaledBus) {
    // The opener may have it for a moment.
    let archive = loop {
        match Archive::open(folder, ArchiveOptions::default()) {
            Err(error) if error.kind() == AgentErrorKind::ArchiveInUse => thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap();
    (archive, bus)
}

/// The process that is killed: two threads publish, a third one does upkeep. Prints what was
/// acknowledged.
fn child(folder: &Path) {
    let round = number(ROUND, 0);
    let (archive, bus) = open(folder);
    thread::scope(|threads| {
        for thread in 0..2_u64 {
            let bus = &bus;
            threads.spawn(move || {
                let mut state = 1 + round * 2 + thread;
                for n in 0.. {
                    let size = [1, 3, 200, 1_500][random(&mut state) as usize % 4];
                    let frames = (0..size).map(|at| {
                        let kind = EventKind::ALL[at as usize % EventKind::ALL.len()];
                        let envelope = EventEnvelope::new(format!("run-{thread}"), "a", kind);
                        let text = format!("{round}/{thread}/{n}/{at}");
                        EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
                    });
                    let done = bus.publish_all(frames).unwrap();
                    let mut out = std::io::stdout().lock();
                    let (from, to) = (done.positions.start, done.positions.end);
                    writeln!(out, "ack {thread} {n} {from} {to} {}", done.sequences.start).unwrap();
                    out.flush().unwrap();
                }
            });
        }
        threads.spawn(|| {
            let limits = Retention {
                max_frames: Some(KEPT),
                ..Retention::default()
            };
            loop {
                archive.compact().unwrap();
                archive.retain(&limits).unwrap();
            }
        });
    });
}

/// What the child printed of a batch: thread, index, positions, first sequence number.
fn acknowledged(line: &str) -> Option<[u64; 5]> {
    let numbers: Vec<_> = line
        .strip_prefix("ack ")?
        .split(' ')
        .map(|word| word.parse().unwrap())
        .collect();
    numbers.try_into().ok()
}

/// Opens the folder again and again until it is told to stop: to read, and to write, which is
/// refused while the child lives. Whatever it finds is in order and whole. Returns how often it was
/// opened to read, and how often to write.
fn keep_opening(folder: &Path, stop: &AtomicBool) -> (u64, u64) {
    let (mut read, mut written) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        if let Ok(archive) = Archive::open_for_reading(folder) {
            let end = archive.end().unwrap();
            let all = EventFilter::default().compile().unwrap();
            let position = end.position.saturating_sub(3_000);
            let from = ArchiveCursor { position, ..end };
            let mut replay = archive.replay_filtered_from_cursor(all, from).unwrap();
            let mut last = position;
            for frame in replay.try_frames() {
                let frame = frame.unwrap();
                let told = frame.overflow.map_or(0, |it| it.dropped_count);
                let at = frame.archive_cursor.unwrap().position;
                assert_eq!(at, last + told + 1);
                last = at;
            }
            read += 1;
        }
        match Archive::open(folder, ArchiveOptions::default()) {
            Ok(_) => written += 1,
            Err(error) => assert_eq!(error.kind(), AgentErrorKind::ArchiveInUse, "{error}"),
        }
    }
    (read, written)
}

/// Starts the child, and kills it some time after `after` acknowledgements. Returns them all.
fn run_and_kill(folder: &Path, round: u64, after: u64, delay: Duration) -> Vec<[u64; 5]> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--quiet"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while text.matches("ack ").count() < after as usize {
        assert!(output.read_line(&mut text).unwrap() > 0, "it ended: {text}");
    }
    thread::sleep(delay);
    // SIGKILL: the child has stopped.
    child.kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(acknowledged).collect()
}

/// Runs itself as the process that is killed: with a folder in its environment, it is that.
#[test]
fn no_acknowledged_frame_is_lost() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut state = number("FRAMEBUS_SEED", 42).max(1);
    let kills = number("FRAMEBUS_KILLS", 12);
    let (mut batches, mut frames) = (0, 0);
    let mut end_before = 0;
    let mut opened = (0, 0);
    for round in 0..kills {
        let after = random(&mut state) % 12;
        let delay = Duration::from_micros(random(&mut state) % 5_000);
        let stop = AtomicBool::new(false);
        let acknowledged = thread::scope(|threads| {
            let opener = threads.spawn(|| keep_opening(folder.path(), &stop));
            let acknowledged = run_and_kill(folder.path(), round, after, delay);
            stop.store(true, Ordering::Relaxed);
            let (read, written) = opener.join().unwrap();
            opened = (opened.0 + read, opened.1 + written);
            acknowledged
        });
        let (archive, bus) = open(folder.path());
        let (start, end) = (archive.start().unwrap(), archive.end().unwrap());
        assert!(start.position <= end_before, "a round outran what is kept");
        let all = EventFilter::default().compile().unwrap();
        let from = ArchiveCursor {
            position: end_before,
            ..end.clone()
        };
        let stored: Vec<_> = archive
            .replay_filtered_from_cursor(all, from)
            .unwrap()
            .map(|frame| {
                let text = frame.event.redacted_summary().unwrap().to_owned();
                (
                    frame.archive_cursor.unwrap().position,
                    frame.cursor.event_seq,
                    text,
                )
            })
            .collect();
        // In order, each position and each sequence number once.
        for (at, &(position, sequence, _)) in stored.iter().enumerate() {
            assert_eq!(position, end_before + 1 + at as u64);
            assert_eq!(sequence, position);
        }
        assert_eq!(end_before + stored.len() as u64, end.position);
        for [thread, n, from, to, sequence] in &acknowledged {
            assert!(*to <= end.position + 1, "acknowledged, and lost");
            assert_eq!(from, sequence);
            for (at, position) in (*from..*to).enumerate() {
                let (_, _, text) = &stored[(position - end_before - 1) as usize];
                assert_eq!(*text, format!("{round}/{thread}/{n}/{at}"));
            }
            frames += to - from;
        }
        batches += acknowledged.len();
        // A batch is there as a whole, or not at all.
        let mut rest = &stored[..];
        while let [(_, _, first), ..] = rest {
            let batch = first.rsplit_once('/').unwrap().0;
            assert_eq!(*first, format!("{batch}/0"), "begins in the middle");
            let size = rest
                .iter()
                .take_while(|it| it.2.starts_with(&format!("{batch}/")))
                .count();
            assert!(
                [1, 3, 200, 1_500].contains(&size),
                "a part of a batch: {size}"
            );
            rest = &rest[size..];
        }
        // Sequence numbers go on after the highest.
        let envelope = EventEnvelope::new("parent", "a", EventKind::RunStarted);
        let event = AgentEvent::with_redacted_summary(envelope, "parent");
        let done = bus.publish_all([EventFrame::new(event)]).unwrap();
        assert_eq!(done.sequences.start, end.position + 1);
        end_before = done.positions.end - 1;
        if round % 50 == 49 || round + 1 == kills {
            assert_eq!(archive.check().unwrap(), archive.len().unwrap());
        }
    }
    println!(
        "{kills} kills, {batches} batches of {frames} frames acknowledged, none lost; opened \
         {opened:?} times to read and to write"
    );
}
