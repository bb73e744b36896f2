//! An archive knows what is wrong with it: each index, counter, epoch and gap is compared with the
//! frames, and what these prove can be rebuilt.

use framebus::archive::{
    Archive, ArchiveOptions, Examined, Finding, IndexOf, JournalOptions, JournaledBus, Retention,
};
use framebus::*;
use rusqlite::Connection;
use std::path::Path;

const FRAMES: u64 = 333;

fn open(folder: &Path) -> Result<Archive, AgentError> {
    Archive::open(folder, ArchiveOptions::default())
}

fn frame(n: u64) -> EventFrame {
    let kind = match n % 37 {
        36 => EventKind::RunCompleted,
        _ => EventKind::ModelStreamDelta,
    };
    let (run, agent) = (format!("run-{}", n % 3), format!("agent-{}", n % 5));
    let envelope = EventEnvelope::new(run, agent, kind)
        .with_timestamp(Timestamp::from_micros(1_000_000 + n as i64));
    EventFrame::new(AgentEvent::with_redacted_summary(
        envelope,
        format!("text {n}"),
    ))
}

fn bus(archive: &Archive) -> JournaledBus {
    let builder = InMemoryAgentEventBus::builder();
    JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap()
}

/// A folder with an archive of several blocks, of two buses, a tail and a gap.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path()).unwrap();
    let publish = |bus: &JournaledBus, from: u64, to: u64| {
        bus.publish_all((from..to).map(frame)).unwrap();
    };
    publish(&bus(&archive), 0, 111);
    archive.compact().unwrap();
    let mut others: Vec<_> = (111..222).map(|n| frame(n).event.to_event()).collect();
    for (event, sequence) in others.iter_mut().zip(1..) {
        event.envelope.bus_epoch = BusEpoch::from_bits(7);
        event.envelope.event_seq = sequence;
    }
    archive
        .append(&others.into_iter().map(EventFrame::new).collect::<Vec<_>>())
        .unwrap();
    archive.compact().unwrap();
    publish(&bus(&archive), 222, 322);
    archive.compact().unwrap();
    publish(&bus(&archive), 322, FRAMES);
    drop(archive);
    change(
        folder.path(),
        "INSERT INTO gaps VALUES(NULL, 223, 7, 112, 120, 9, 1, 0)",
    );
    folder
}

fn change(folder: &Path, sql: &str) {
    let db = Connection::open(folder.join("frames.sqlite")).unwrap();
    db.execute_batch(sql).unwrap();
}

fn examined(folder: &Path) -> Examined {
    let archive = Archive::open_for_reading(folder).unwrap();
    let examined = archive.examine().unwrap();
    match archive.check() {
        Ok(frames) => assert_eq!((frames, examined.findings.len()), (examined.frames, 0)),
        Err(error) => {
            assert_eq!(error.kind(), AgentErrorKind::ArchiveDamaged, "{error}");
            let first = examined.damage().next().unwrap().to_string();
            assert!(error.message().contains(&first), "{error}");
        }
    }
    examined
}

/// How many frames of a run there are, by the index.
fn of_run(archive: &Archive, run: &str) -> usize {
    let filter = EventFilter::run(run).compile().unwrap();
    let start = archive.start().unwrap();
    archive
        .replay_filtered_from_cursor(filter, start)
        .unwrap()
        .count()
}

#[test]
fn a_whole_archive_has_no_findings() {
    let folder = filled();
    let found = examined(folder.path());
    assert_eq!((found.frames, found.findings), (FRAMES, Vec::new()));
    // Nor after upkeep of every kind.
    let archive = open(folder.path()).unwrap();
    let limits = Retention {
        max_frames: Some(150),
        ..Retention::default()
    };
    archive.retain(&limits).unwrap();
    assert_eq!(archive.examine().unwrap().findings, Vec::new());
    archive.compact().unwrap();
    let found = archive.examine().unwrap();
    assert_eq!(
        (Ok(found.frames), found.findings),
        (archive.len(), Vec::new())
    );
    archive
        .retain(&Retention {
            max_frames: Some(0),
            ..limits
        })
        .unwrap();
    assert_eq!(archive.examine().unwrap(), Examined::default());
}

/// What is changed, and whether a finding is the one that is expected.
type Case = (&'static str, fn(&Finding) -> bool);

const OF_RUNS: fn(&Finding) -> bool = |it| {
    matches!(
        it,
        Finding::Index {
            of: IndexOf::Runs,
            ..
        }
    )
};
const OF_AGENTS: fn(&Finding) -> bool = |it| {
    matches!(
        it,
        Finding::Index {
            of: IndexOf::Agents,
            ..
        }
    )
};
const RUN: fn(&Finding) -> bool = |it| matches!(it, Finding::Run(_));

/// What the frames prove: it is mended.
const MENDED: &[Case] = &[
    ("DELETE FROM block_runs WHERE first > 1", OF_RUNS),
    ("DELETE FROM block_runs", OF_RUNS),
    ("UPDATE block_runs SET frames = frames + 1", OF_RUNS),
    (
        "INSERT INTO block_runs SELECT run, 2, 5 FROM block_runs LIMIT 1",
        OF_RUNS,
    ),
    ("INSERT INTO block_runs VALUES(99, 1, 5)", OF_RUNS),
    ("DELETE FROM block_agents WHERE first = 1", OF_AGENTS),
    ("INSERT INTO block_agents VALUES(1, 5000)", OF_AGENTS),
    ("UPDATE block_agents SET agent = agent + 100", OF_AGENTS),
    ("DELETE FROM runs WHERE name = 'run-1'", OF_RUNS),
    ("DELETE FROM runs", RUN),
    ("UPDATE runs SET last_position = 3", RUN),
    ("UPDATE runs SET last_position = 5000", RUN),
    ("UPDATE runs SET first_time = last_time", RUN),
    ("UPDATE runs SET ended = NULL", RUN),
    ("UPDATE runs SET name = 'run-x' WHERE name = 'run-2'", RUN),
    ("INSERT INTO runs VALUES(50, 'nobody', 1, 1, 1, NULL)", RUN),
    ("DELETE FROM agents", OF_AGENTS),
    ("INSERT INTO data VALUES(7000, x'00')", |it| {
        matches!(it, Finding::Stray { position: 7_000 })
    }),
];

#[test]
fn wrong_indexes_are_found_and_mended() {
    for (sql, expected) in MENDED {
        let folder = filled();
        change(folder.path(), sql);
        let found = examined(folder.path());
        assert!(found.findings.iter().any(expected), "{sql}: {found:?}");
        assert!(
            found.findings.iter().all(Finding::is_repairable),
            "{sql}: {found:?}"
        );
        let id = Archive::open_for_reading(folder.path())
            .unwrap()
            .id()
            .clone();
        let left = Archive::repair_index(folder.path()).unwrap();
        assert_eq!((left.frames, left.findings), (FRAMES, Vec::new()), "{sql}");
        let archive = open(folder.path()).unwrap();
        assert_eq!(archive.id(), &id, "the same archive");
        for run in ["run-0", "run-1", "run-2"] {
            assert_eq!(of_run(&archive, run), 111, "{sql}: {run}");
        }
        let runs = archive.runs(0, 9).unwrap();
        assert_eq!(runs.len(), 3, "{sql}");
        assert!(
            runs.iter()
                .all(|run| run.frames == 111 && run.ended.is_some()),
            "{sql}: {runs:?}"
        );
    }
}

#[test]
fn sqlite_s_own_indexes_are_found_and_mended() {
    let folder = filled();
    change(
        folder.path(),
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = sql || ' WHERE first_seq > 1' WHERE name = 'blocks_by_number';",
    );
    change(folder.path(), "REINDEX blocks_by_number");
    change(
        folder.path(),
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, ' WHERE first_seq > 1', '')
         WHERE name = 'blocks_by_number';",
    );
    let found = examined(folder.path());
    let is_found = |it: &Finding| matches!(it, Finding::Database(_));
    assert!(found.findings.iter().any(is_found), "{found:?}");
    let left = Archive::repair_index(folder.path()).unwrap();
    assert_eq!((left.frames, left.findings), (FRAMES, Vec::new()));
}

#[test]
fn counters_that_would_give_something_twice_are_refused_and_mended_in_a_new_epoch() {
    for sql in [
        "UPDATE state SET last_position = 200",
        "UPDATE state SET last_position = 0",
        "UPDATE epochs SET last_seq = 1",
        "DELETE FROM epochs WHERE epoch = 7",
        "DELETE FROM epochs",
    ] {
        let folder = filled();
        let before = Archive::open_for_reading(folder.path()).unwrap();
        change(folder.path(), sql);
        let found = examined(folder.path());
        let counts = |it: &Finding| matches!(it, Finding::Counter { .. });
        assert!(found.findings.iter().any(counts), "{sql}: {found:?}");
        let error = open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveDamaged, "{error}");
        assert!(error.message().contains("given twice"), "{error}");
        assert!(error.message().contains("repair_index"), "{error}");
        let left = Archive::repair_index(folder.path()).unwrap();
        assert_eq!((left.frames, left.findings), (FRAMES, Vec::new()), "{sql}");
        let archive = open(folder.path()).unwrap();
        assert_ne!(archive.journal_epoch(), before.journal_epoch());
        let done = bus(&archive).publish_all([frame(1)]).unwrap();
        assert_eq!(done.positions, FRAMES + 1..FRAMES + 2);
        // Cursors of what the frames prove are good.
        let cursor = JournalCursor::new(format!("{}@{FRAMES}", before.id()));
        assert_eq!(archive.locate(&cursor).unwrap().position, FRAMES);
    }
}

/// What nothing proves: it is told, and stays.
#[test]
fn what_is_lost_is_told() {
    let cases: &[Case] = &[
        (
            "DELETE FROM blocks WHERE first = 112; DELETE FROM data WHERE first = 112;",
            |it| *it == Finding::Missing(112..=222),
        ),
        ("DELETE FROM tail", |it| *it == Finding::Missing(323..=333)),
        (
            "DELETE FROM data WHERE first = 1",
            |it| matches!(it, Finding::Unreadable { positions, .. } if *positions == (1..=111)),
        ),
        (
            "UPDATE data SET bytes = zeroblob(500) WHERE first = 112",
            |it| matches!(it, Finding::Unreadable { positions, .. } if *positions == (112..=222)),
        ),
        ("UPDATE blocks SET max_time = 1 WHERE first = 1", |it| {
            matches!(it, Finding::Unreadable { .. })
        }),
        (
            "UPDATE blocks SET count = 0 WHERE first = 112",
            |it| matches!(it, Finding::Unreadable { positions, .. } if *positions == (112..=112)),
        ),
        (
            "UPDATE blocks SET count = count + 1 WHERE first = 1",
            |it| *it == Finding::Twice(112..=112),
        ),
        ("UPDATE blocks SET first_seq = 60 WHERE first = 223", |it| {
            matches!(it, Finding::Order { position: 223, .. })
        }),
        ("UPDATE gaps SET first_seq = 103, last_seq = 111", |it| {
            matches!(it, Finding::Gap { .. })
        }),
        ("UPDATE gaps SET lost = 0", |it| {
            matches!(it, Finding::Gap { .. })
        }),
        ("UPDATE gaps SET lost = 10", |it| {
            matches!(it, Finding::Gap { .. })
        }),
        ("UPDATE gaps SET position = 5000", |it| {
            matches!(it, Finding::Gap { .. })
        }),
    ];
    for (sql, expected) in cases {
        let folder = filled();
        // A tail that is lost leaves the position that was given, once it is closed.
        change(folder.path(), "UPDATE state SET last_position = 333");
        change(folder.path(), sql);
        let found = examined(folder.path());
        assert!(found.findings.iter().any(expected), "{sql}: {found:?}");
        assert!(
            !found.findings.iter().all(Finding::is_repairable),
            "{sql}: {found:?}"
        );
    }
}

#[test]
fn many_findings_are_counted() {
    let folder = filled();
    change(
        folder.path(),
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 250)
         INSERT INTO data SELECT 9000 + n, x'00' FROM n",
    );
    let found = examined(folder.path());
    assert_eq!((found.findings.len(), found.more), (100, 150));
    assert!(!found.findings[0].to_string().is_empty());
    let left = Archive::repair_index(folder.path()).unwrap();
    assert_eq!(left.findings, Vec::new());
}

#[test]
fn an_index_is_not_rebuilt_under_a_writer() {
    let folder = filled();
    let _archive = open(folder.path()).unwrap();
    let error = Archive::repair_index(folder.path()).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveInUse, "{error}");
}
