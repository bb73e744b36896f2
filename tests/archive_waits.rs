//! Nobody waits for upkeep: publishers go on beside retention, compaction and a check, also while
//! another program reads, and the work grows with what is done.

mod common;

use common::archives::{journaled, open};
use common::delta;
use framebus::archive::{Archive, JournaledBus, Retention};
use framebus::*;
use rusqlite::Connection;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn at_most(frames: u64) -> Retention {
    Retention {
        max_frames: Some(frames),
        ..Retention::default()
    }
}

/// Publishes single frames until `job` is done. Returns the longest publish, and how many there
/// were.
fn publish_beside<T>(bus: &JournaledBus, job: impl FnOnce() -> T) -> (T, Duration, u64) {
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let publisher = threads.spawn(|| {
            let (mut longest, mut count) = (Duration::ZERO, 0);
            while !done.load(Ordering::Relaxed) || count == 0 {
                let begin = Instant::now();
                bus.publish(delta("beside")).unwrap();
                longest = longest.max(begin.elapsed());
                count += 1;
            }
            (longest, count)
        });
        let result = job();
        done.store(true, Ordering::Relaxed);
        let (longest, count) = publisher.join().unwrap();
        (result, longest, count)
    })
}

/// The bound is far above a step of some milliseconds, for machines that do other things, and far
/// below the ten seconds that a lock is waited for.
const BOUND: Duration = Duration::from_secs(2);

#[test]
fn publishers_do_not_wait_for_upkeep_beside_another_program_that_reads() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    for _ in 0..60 {
        bus.publish_all((0..1_000).map(|n| delta(&format!("run-{n}"))))
            .unwrap();
    }
    // Another program in the middle of its reading, all the time.
    let other = Connection::open(folder.path().join("frames.sqlite")).unwrap();
    other.execute_batch("BEGIN").unwrap();
    let blocks = |db: &Connection| -> i64 {
        db.query_row("SELECT count(*) FROM blocks", [], |row| row.get(0))
            .unwrap()
    };
    let seen = blocks(&other);
    let ((), longest, count) = publish_beside(&bus, || {
        archive.compact().unwrap();
        let removed = archive.retain(&at_most(20_000)).unwrap();
        assert!(removed.frames >= 40_000);
        archive.check().unwrap();
        archive.compact().unwrap();
    });
    assert!(longest < BOUND, "one of {count} publishes took {longest:?}");
    assert_eq!(blocks(&other), seen, "its snapshot is as it was");
    other.execute_batch("COMMIT").unwrap();
    // Nobody is in the way any more: the space is given back.
    let removed = archive.retain(&at_most(0)).unwrap();
    assert!(removed.frames >= 20_000);
    archive.compact().unwrap();
    let size = |file: &str| std::fs::metadata(folder.path().join(file)).unwrap().len();
    assert_eq!(size("frames.sqlite-wal"), 0);
    assert!(size("frames.sqlite") < 1 << 20);
}

/// Fills an archive with blocks of one frame each: their sequence numbers have gaps.
fn single_blocks(archive: &Archive, count: u64) {
    for first in (1..=count).step_by(5_000) {
        let frames: Vec<EventFrame> = (first..(first + 5_000).min(count + 1))
            .map(|n| {
                let mut event = delta("r").event.to_event();
                (event.envelope.event_seq, event.envelope.bus_epoch) =
                    (2 * n, BusEpoch::from_bits(7));
                event.into()
            })
            .collect();
        archive.append(&frames).unwrap();
    }
}

#[test]
fn the_time_of_a_retention_grows_with_what_it_removes() {
    let took = |count: u64| {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        single_blocks(&archive, count);
        let begin = Instant::now();
        let removed = archive.retain(&at_most(count / 2)).unwrap();
        assert_eq!(removed.frames, count - count / 2);
        begin.elapsed()
    };
    // Eight times as much is removed of eight times as many. The square would be 64 times the time.
    let shortest = |count| (0..3).map(|_| took(count)).min().unwrap();
    let (few, many) = (shortest(1_000), shortest(8_000));
    assert!(
        many < 30 * few,
        "{few:?}, and {many:?} for eight times as much"
    );
}

#[test]
fn an_append_gets_in_between_two_steps_of_upkeep() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    single_blocks(&archive, 20_000);
    let bus = journaled(&archive);
    let (removed, longest, count) = publish_beside(&bus, || archive.retain(&at_most(100)).unwrap());
    assert!(removed.frames >= 19_900);
    assert!(count > 10, "{count} publishes beside it");
    assert!(longest < BOUND, "one of {count} publishes took {longest:?}");
}

#[test]
fn a_page_of_runs_is_read_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    for n in 0..50 {
        bus.publish_all((0..100).map(|m| delta(&format!("run-{n}-{m}"))))
            .unwrap();
    }
    archive.compact().unwrap();
    let db = Connection::open(folder.path().join("frames.sqlite")).unwrap();
    let plan: String = db
        .query_row(
            "EXPLAIN QUERY PLAN SELECT name FROM runs WHERE last_position > 7
             ORDER BY last_position, name",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("runs_by_position"), "{plan}");
    // All are listed, each once, whatever the page.
    for most in [1, 7, 10_000] {
        let (mut names, mut after) = (Vec::new(), 0);
        loop {
            let page = archive.runs(after, most).unwrap();
            let Some(last) = page.last() else { break };
            after = last.last_position;
            names.extend(page.into_iter().map(|run| run.run_id));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 5_000);
    }
}
