//! What retention keeps and what it removes, to the frame, and what it says of that.

mod common;

use common::archives::{journaled, open};
use common::delta;
use framebus::archive::{AgeOf, Archive, HeldBy, Removed, Retention};
use framebus::*;
use proptest::prelude::*;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

const HOUR: i64 = 3_600_000_000;

/// Returns a frame whose event has this time.
fn at(time: i64) -> EventFrame {
    let envelope = EventEnvelope::new("r", "a", EventKind::ModelStreamDelta);
    let envelope = envelope.with_timestamp(Timestamp::from_micros(time));
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, "x".repeat(100)))
}

fn now() -> i64 {
    Timestamp::now().as_micros()
}

fn positions(archive: &Archive) -> Vec<u64> {
    let all = EventFilter::default().compile().unwrap();
    let start = archive.start().unwrap();
    let mut replay = archive.replay_filtered_from_cursor(all, start).unwrap();
    let frames: Result<Vec<_>, _> = replay.try_frames().collect();
    let position = |frame: EventFrame| frame.archive_cursor.unwrap().position;
    frames.unwrap().into_iter().map(position).collect()
}

/// Makes it look as if every frame so far had arrived earlier than it did.
fn arrived_earlier(folder: &Path, by: i64) {
    let db = Connection::open(folder.join("frames.sqlite")).unwrap();
    db.execute("UPDATE arrivals SET time = time - ?", [by])
        .unwrap();
}

const YEAR_9999: i64 = 253_370_764_800_000_000;

#[test]
fn age_of_arrival_knows_nothing_of_the_times_of_events() {
    for first in [YEAR_9999, 0, now()] {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let bus = journaled(&archive);
        bus.publish_all([at(first), at(now()), at(0)]).unwrap();
        let limits = Retention {
            max_age: Some(Duration::from_secs(2 * 3_600)),
            ..Retention::default()
        };
        let removed = archive.retain(&limits).unwrap();
        assert_eq!((removed.frames, removed.held_by), (0, None));
        arrived_earlier(folder.path(), 3 * HOUR);
        // These two arrive now, whatever their events say.
        bus.publish_all([at(0), at(YEAR_9999)]).unwrap();
        let removed = archive.retain(&limits).unwrap();
        assert_eq!((removed.frames, removed.held_by), (3, None));
        assert_eq!(positions(&archive), [4, 5]);
        assert_eq!(archive.check().unwrap(), 2);
    }
}

#[test]
fn age_of_event_is_not_held_by_a_time_of_the_future_for_longer_than_by_its_arrival() {
    let limits = Retention {
        max_age: Some(Duration::from_secs(2 * 3_600)),
        age_of: AgeOf::Event,
        ..Retention::default()
    };
    // A block each: appended one by one, and closed.
    let fill = |first: i64| {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        for (n, time) in [first, now() - 5 * HOUR, now()].into_iter().enumerate() {
            let mut event = at(time).event.to_event();
            (event.envelope.event_seq, event.envelope.bus_epoch) =
                (1 + 2 * n as u64, BusEpoch::from_bits(7));
            archive.append(&[event.into()]).unwrap();
        }
        archive.compact().unwrap();
        (folder, archive)
    };
    // One of 1970 in front is old.
    let (_folder, archive) = fill(0);
    let removed = archive.retain(&limits).unwrap();
    assert_eq!((removed.frames, removed.held_by), (2, None));
    // One of the year 9999 holds the old one after it, which is said, until it is old by its
    // arrival.
    let (folder, archive) = fill(YEAR_9999);
    let removed = archive.retain(&limits).unwrap();
    assert_eq!(
        (removed.frames, removed.held_by),
        (0, Some(HeldBy::FutureTimes))
    );
    arrived_earlier(folder.path(), 3 * HOUR);
    let removed = archive.retain(&limits).unwrap();
    assert_eq!((removed.frames, removed.held_by), (3, None));
}

#[test]
fn frames_of_an_earlier_process_come_of_age() {
    let folder = tempfile::tempdir().unwrap();
    journaled(&open(folder.path()))
        .publish_all([at(0), at(0)])
        .unwrap();
    let archive = open(folder.path());
    let limits = Retention {
        max_age: Some(Duration::from_secs(3_600)),
        ..Retention::default()
    };
    // They may have arrived just now.
    assert_eq!(archive.retain(&limits).unwrap().frames, 0);
    arrived_earlier(folder.path(), 2 * HOUR);
    assert_eq!(archive.retain(&limits).unwrap().frames, 2);
    assert!(archive.is_empty().unwrap());
}

#[test]
fn a_clock_that_is_set_back_makes_no_frame_older() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    journaled(&archive).publish_all([at(0)]).unwrap();
    // The clock was a day ahead when that frame arrived, and is right now.
    let limits = Retention {
        max_age: Some(Duration::from_secs(3_600)),
        ..Retention::default()
    };
    assert_eq!(archive.retain(&limits).unwrap().frames, 0);
    drop(archive);
    arrived_earlier(folder.path(), -24 * HOUR);
    let archive = open(folder.path());
    journaled(&archive).publish_all([at(0)]).unwrap();
    let removed = archive.retain(&limits).unwrap();
    assert_eq!(
        (removed.frames, removed.held_by),
        (0, Some(HeldBy::FutureTimes)),
        "nothing is removed before its time, and that is said"
    );
}

#[test]
fn a_floor_is_never_removed_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    for _ in 0..10 {
        bus.publish_all((0..100).map(|_| delta("r"))).unwrap();
    }
    drop(bus);
    let nothing = Retention {
        max_frames: Some(0),
        max_bytes: Some(0),
        max_age: Some(Duration::ZERO),
        ..Retention::default()
    };
    let from = Retention {
        keep_from: Some(301),
        ..nothing
    };
    let removed = archive.retain(&from).unwrap();
    assert_eq!(
        (removed.frames, removed.held_by),
        (300, Some(HeldBy::Floor))
    );
    let both = Retention {
        keep_frames: 650,
        keep_from: Some(900),
        ..nothing
    };
    let removed = archive.retain(&both).unwrap();
    assert_eq!((removed.frames, removed.held_by), (50, Some(HeldBy::Floor)));
    assert!(positions(&archive).into_iter().eq(351..=1_000));
    assert_eq!(archive.retain(&both).unwrap().frames, 0);
    let all = Retention {
        keep_frames: u64::MAX,
        ..nothing
    };
    assert_eq!(archive.retain(&all).unwrap().held_by, Some(HeldBy::Floor));
    assert_eq!(archive.check().unwrap(), 650);
    let removed = archive.retain(&nothing).unwrap();
    assert_eq!((removed.frames, removed.held_by), (650, None));
}

/// Returns how many bytes frames take, and how many entries there are in each table.
fn counts(folder: &Path) -> (u64, Vec<u64>) {
    let db = Connection::open(folder.join("frames.sqlite")).unwrap();
    let count = |sql: &str| -> u64 {
        let count: i64 = db.query_row(sql, [], |row| row.get(0)).unwrap();
        count.cast_unsigned()
    };
    let bytes = count(
        "SELECT coalesce((SELECT sum(size) FROM blocks), 0)
             + coalesce((SELECT sum(size) FROM tail), 0)",
    );
    let tables = ["data", "runs", "agents", "block_runs", "block_agents"];
    let entries = tables.map(|table| count(&format!("SELECT count(*) FROM {table}")));
    (bytes, entries.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Each limit holds afterwards, to the frame, unless a floor exceeds it; what is kept is as it
    /// was, and found by its run; nothing else is left.
    #[test]
    fn limits_hold_and_the_rest_is_as_it_was(
        batches in proptest::collection::vec(1..700_u64, 1..14),
        compact in any::<bool>(),
        max_frames in proptest::option::of(0..4_000_u64),
        max_bytes in proptest::option::of(0..100_000_u64),
        keep_frames in 0..1_500_u64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let bus = journaled(&archive);
        let mut count = 0;
        for batch in batches {
            // Runs of 250 frames, one after the other, so that most of them end up removed.
            bus.publish_all((count..count + batch).map(|n| delta(&format!("run-{}", n / 250))))
                .unwrap();
            count += batch;
        }
        drop(bus);
        if compact {
            archive.compact().unwrap();
        }
        let limits = Retention {
            max_frames,
            max_bytes,
            keep_frames,
            ..Retention::default()
        };
        let Removed { frames, held_by, .. } = archive.retain(&limits).unwrap();
        let left = count - frames;
        prop_assert!(positions(&archive).into_iter().eq(frames + 1..=count));
        prop_assert_eq!(archive.check().unwrap(), left);
        let (bytes, entries) = counts(folder.path());
        let holds = max_frames.is_none_or(|most| left <= most)
            && max_bytes.is_none_or(|most| bytes <= most);
        let floor = keep_frames.min(count);
        if holds {
            prop_assert!(left >= floor);
        } else {
            prop_assert_eq!((left, held_by), (floor, Some(HeldBy::Floor)));
        }
        if let (Some(most), None) = (max_frames, max_bytes) {
            prop_assert_eq!(left, most.max(floor).min(count), "no more than must go");
        }
        if left == 0 {
            prop_assert!(entries.iter().all(|&count| count == 0), "{entries:?}");
        }
        let mut found = 0;
        for run in archive.runs(0, usize::MAX).unwrap() {
            let filter = EventFilter::run(&run.run_id).compile().unwrap();
            let start = archive.start().unwrap();
            let mut replay = archive.replay_filtered_from_cursor(filter, start).unwrap();
            let of_run = replay.try_frames().count() as u64;
            prop_assert_eq!(of_run, run.frames);
            prop_assert!(of_run > 0, "a run without frames is listed");
            found += of_run;
        }
        prop_assert_eq!(found, left);
        // And what is published now goes on after what was.
        let done = journaled(&archive).publish_all([delta("r")]).unwrap();
        prop_assert_eq!((done.positions.start, done.sequences.start), (count + 1, count + 1));
    }
}
