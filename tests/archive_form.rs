//! The form of what is stored: how much an append writes, how small a closed block is, what the
//! tail holds, and archives of earlier versions.

mod common;

use common::archives::{journaled, open};
use common::{delta, size, start};
use framebus::archive::{Archive, Archiver, FollowOptions, JournalOptions, JournaledBus};
use framebus::*;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

fn replay(archive: &Archive, filter: EventFilter) -> Vec<EventFrame> {
    let start = archive.start().unwrap();
    let frames = archive.replay_filtered_from_cursor(filter.compile().unwrap(), start);
    frames.unwrap().collect()
}

/// Returns the `n`-th frame of 50 runs that are at work at once: a summary of 40 to 200 bytes of
/// words.
fn frame(n: u64) -> EventFrame {
    const WORDS: [&str; 16] = [
        "read", "the", "file", "and", "change", "three", "lines", "of", "it,", "then", "run",
        "tests", "again", "until", "they", "pass",
    ];
    let mut mix = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let run = format!("run-{:08}", n / 20_000 * 50 + (mix >> 40) % 50);
    let kind = match mix >> 33 {
        mix if mix % 20 == 0 => EventKind::ToolCompleted,
        _ => EventKind::ModelStreamDelta,
    };
    let mut text = String::new();
    let length = 40 + (mix >> 20) as usize % 160;
    while text.len() < length {
        mix ^= mix << 13;
        mix ^= mix >> 7;
        mix ^= mix << 17;
        text.push_str(WORDS[(mix >> 50) as usize % 16]);
        text.push(' ');
    }
    let envelope = EventEnvelope::new(run, format!("agent-{}", mix % 8), kind);
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
}

/// How many bytes SQLite wrote to the log, by its own count: the log is never reset here.
fn log_size(folder: &Path) -> u64 {
    fs::metadata(folder.join("frames.sqlite-wal"))
        .unwrap()
        .len()
}

/// Returns how many bytes of log an append of this many frames writes, in the mean.
fn log_of_an_append(frames: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    // So that the indexes have pages to be changed: some 100,000 frames came before.
    for at in (0..100_000).step_by(4_000) {
        bus.publish_all((at..at + 4_000).map(frame)).unwrap();
    }
    archive.compact().unwrap();
    // A reader's transaction keeps the log from being reset.
    let reader = rusqlite::Connection::open(folder.path().join("frames.sqlite")).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM state").unwrap();
    // Twice what fills a block, so that what closing costs is in it.
    let appends = 8_192 / frames;
    let before = log_size(folder.path());
    for n in 0..appends {
        let at = 100_000 + n * frames;
        bus.publish_all((at..at + frames).map(self::frame)).unwrap();
    }
    (log_size(folder.path()) - before) / appends
}

#[test]
fn an_append_writes_few_pages() {
    // A fifth of what each wrote when every append was a block of its own.
    for (frames, most) in [(1, 67_000 / 5), (10, 93_000 / 5), (100, 504_000 / 5)] {
        let written = log_of_an_append(frames);
        println!("{frames} frames: {written} bytes of log an append");
        assert!(written <= most, "{frames} frames: {written} bytes of log");
    }
}

/// Returns the bytes of all closed blocks of an archive, and of the indexes.
fn stored(folder: &Path) -> u64 {
    let db = rusqlite::Connection::open(folder.join("frames.sqlite")).unwrap();
    let free: i64 = db
        .query_row(
            "SELECT freelist_count FROM pragma_freelist_count",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let bytes = fs::metadata(folder.join("frames.sqlite")).unwrap().len();
    bytes - free.cast_unsigned() * 8_192
}

#[test]
fn closed_blocks_are_about_as_small_as_packed_lines() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    let mut lines = Vec::new();
    for at in (0..60_000).step_by(500) {
        let frames: Vec<_> = (at..at + 500).map(frame).collect();
        for frame in &frames {
            serde_json::to_writer(&mut lines, frame).unwrap();
            lines.push(b'\n');
        }
        bus.publish_all(frames).unwrap();
    }
    drop(bus);
    archive.compact().unwrap();
    let packed = zstd::bulk::compress(&lines, 3).unwrap().len() as u64;
    let stored = stored(folder.path());
    println!(
        "{} bytes as lines, {packed} packed, {stored} stored",
        lines.len()
    );
    assert!(
        stored * 10 <= packed * 12,
        "{stored} bytes, {packed} packed as lines"
    );
}

#[test]
fn what_the_tail_holds_is_found_like_what_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    bus.publish_all((0..5_000).map(frame)).unwrap();
    let mut others = Vec::new();
    for n in 5_000..5_300 {
        bus.publish(frame(n)).unwrap();
        // A reader of its own, as another process has it.
        if n % 100 == 0 {
            let reader = Archive::open_for_reading(folder.path()).unwrap();
            assert_eq!(reader.end().unwrap().position, n + 1);
            assert_eq!(replay(&reader, EventFilter::default()).len() as u64, n + 1);
            others.push(reader);
        }
    }
    let all = |archive: &Archive| {
        let filters = [
            EventFilter::default(),
            EventFilter::run("run-00000007"),
            EventFilter::agent("agent-3"),
            EventFilter {
                kinds: vec![EventKind::ToolCompleted],
                ..EventFilter::default()
            },
        ];
        let found = filters.map(|filter| replay(archive, filter));
        let known: Vec<_> = archive.runs(0, usize::MAX).unwrap();
        let mut known: Vec<_> = known
            .into_iter()
            .map(|run| {
                (
                    run.run_id,
                    run.frames,
                    run.first_time,
                    run.last_time,
                    run.ended,
                )
            })
            .collect();
        known.sort();
        (found, known, archive.last_sequence(archive.journal_epoch()))
    };
    let before = all(&archive);
    assert_eq!(archive.check().unwrap(), 5_300);
    // The same for who was here all the time, and after it was closed, and opened again.
    assert_eq!(all(&others[0]), before);
    let done = archive.compact().unwrap();
    assert!(done.joined >= 300, "{done:?}");
    assert_eq!(all(&archive), before);
    assert_eq!(all(&others[1]), before);
    drop((bus, archive));
    let archive = open(folder.path());
    assert_eq!(all(&archive), before);
    let done = journaled(&archive).publish_all([start("r")]).unwrap();
    assert_eq!((done.positions.start, done.sequences.start), (5_301, 5_301));
}

#[test]
fn two_buses_share_a_tail() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let mut expected = Vec::new();
    for number in 1..=3_000 {
        for epoch in [3, 9] {
            let mut event = delta("r").event.to_event();
            (event.envelope.event_seq, event.envelope.bus_epoch) =
                (number, BusEpoch::from_bits(epoch));
            archive.append(&[event.into()]).unwrap();
            expected.push((epoch, number));
        }
    }
    let frames = replay(&archive, EventFilter::default());
    let found: Vec<_> = frames
        .iter()
        .map(|frame| (frame.cursor.bus_epoch.bits(), frame.cursor.event_seq))
        .collect();
    assert_eq!(found, expected);
    for epoch in [3, 9].map(BusEpoch::from_bits) {
        assert_eq!(archive.last_sequence(epoch), Ok(3_000));
        // An earlier number is refused, whether its bus is in the tail or not.
        let mut event = delta("r").event.to_event();
        (event.envelope.event_seq, event.envelope.bus_epoch) = (3_000, epoch);
        let error = archive.append(&[event.into()]).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveOrder);
        archive.compact().unwrap();
    }
    assert_eq!(archive.check().unwrap(), 6_000);
}

#[test]
fn submissions_are_bounded_in_frames_and_bytes() {
    // A frame without payload counts as 256 bytes.
    for (frames, bytes, fit) in [(100, 64 << 20, 10), (65_536, 70 * 256, 7)] {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let options = JournalOptions {
            waiting_frames: size(frames),
            waiting_bytes: size(bytes),
            ..JournalOptions::default()
        };
        let builder = InMemoryAgentEventBus::builder();
        let bus = JournaledBus::open(archive.clone(), builder, options).unwrap();
        // While another program has the lock, nothing is answered.
        let other = rusqlite::Connection::open(folder.path().join("frames.sqlite")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let submitted = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let receipts: Vec<_> = (0..40)
                    .map(|_| {
                        let receipt = bus.submit((0..10).map(|_| delta("r")));
                        submitted.fetch_add(1, SeqCst);
                        receipt
                    })
                    .collect();
                for receipt in receipts {
                    assert!(receipt.wait().is_ok());
                }
            });
            while submitted.load(SeqCst) < fit {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(100));
            assert_eq!(submitted.load(SeqCst), fit, "no more than may wait");
            other.execute_batch("COMMIT").unwrap();
        });
        // One that is larger than the bound is alone, and stored.
        let done = bus.publish_all((0..500).map(|_| delta("r"))).unwrap();
        assert_eq!(done.positions, 401..901);
    }
}

#[test]
fn a_lapped_archiver_loses_few_long_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.ring_capacity(size(8_192)).build().unwrap();
    let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
    let total = 400_000_u64;
    let ends = (0..total).filter(|n| n % 1_000 == 999).count();
    for n in 0..total {
        bus.publish(if n % 1_000 == 999 {
            common::end("r")
        } else {
            delta("r")
        })
        .unwrap();
    }
    drop(bus);
    let report = archiver.finish();
    assert_eq!((report.frames + report.lost, &report.error), (total, &None));
    let gaps = archive.gaps().unwrap();
    assert_eq!(gaps.iter().map(|gap| gap.lost).sum::<u64>(), report.lost);
    // A gap for each time that the rings went around, at most.
    assert!(
        gaps.len() as u64 <= 2 * total / 8_192,
        "{} gaps",
        gaps.len()
    );
    // Terminal frames are not skipped.
    let found = replay(&archive, EventFilter::terminal_run_events()).len();
    if gaps.iter().all(|gap| gap.terminal_preserved) {
        assert_eq!(found, ends);
    }
    // Each gap stands before the first frame after it.
    let frames = replay(&archive, EventFilter::default());
    for gap in &gaps {
        let at = frames.partition_point(|frame| {
            frame.archive_cursor.as_ref().unwrap().position < gap.before_position
        });
        assert!(
            frames[..at]
                .iter()
                .all(|it| it.cursor.event_seq <= *gap.sequences.end())
        );
        assert!(
            frames[at..]
                .iter()
                .all(|it| it.cursor.event_seq > *gap.sequences.end())
        );
    }
    assert_eq!(archive.check().unwrap(), report.frames);
}

/// Returns a file of `tests/data/archive-2`: an archive that version 2 of the schema wrote, and its
/// frames as it replayed them. It was written by single publishes and by batches, `retain` removed
/// its first frames, and an archiver that was lapped recorded gaps of another bus.
fn version_2(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/tests/data/archive-2/{name}.zst",
        env!("CARGO_MANIFEST_DIR")
    );
    zstd::decode_all(&fs::read(path).unwrap()[..]).unwrap()
}

#[test]
fn an_archive_of_version_2_is_read_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("frames.sqlite"),
        version_2("frames.sqlite"),
    )
    .unwrap();
    let expected: Vec<EventFrame> = String::from_utf8(version_2("frames.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // A reader takes it as it is.
    let reader = Archive::open_for_reading(folder.path()).unwrap();
    assert_eq!(replay(&reader, EventFilter::default()), expected);
    drop(reader);
    let archive = open(folder.path());
    let begin = expected[0].archive_cursor.as_ref().unwrap().position;
    let end = expected[expected.len() - 1]
        .archive_cursor
        .as_ref()
        .unwrap()
        .position;
    let read = || replay(&archive, EventFilter::default());
    assert!(begin > 1);
    assert_eq!(archive.start().unwrap().position, begin - 1);
    assert_eq!(archive.end().unwrap().position, end);
    assert_eq!(read(), expected);
    let lost: u64 = archive.gaps().unwrap().iter().map(|gap| gap.lost).sum();
    assert_eq!((archive.gaps().unwrap().len(), lost), (19, 83));
    assert_eq!(archive.check().unwrap(), expected.len() as u64);
    for n in 0..9 {
        let run = format!("run-{n}");
        let of_run = expected
            .iter()
            .filter(|it| it.event.envelope.run_id.as_str() == run);
        let found = replay(&archive, EventFilter::run(run.as_str()));
        assert!(
            found
                .iter()
                .map(|it| &it.event)
                .eq(of_run.map(|it| &it.event)),
            "{run}"
        );
    }
    // It goes on, and packs what it has.
    let bus = journaled(&archive);
    let done = bus.publish_all((0..10).map(frame)).unwrap();
    assert_eq!(done.positions.start, end + 1);
    let runs = archive.runs(0, usize::MAX).unwrap().len();
    archive.compact().unwrap();
    assert_eq!(read()[..expected.len()], expected);
    assert_eq!(archive.runs(0, usize::MAX).unwrap().len(), runs);
    assert_eq!(archive.check().unwrap(), expected.len() as u64 + 10);
}

#[test]
fn a_damaged_piece_of_the_tail_is_told_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    for n in 0..10 {
        bus.publish(frame(n)).unwrap();
    }
    let other = rusqlite::Connection::open(folder.path().join("frames.sqlite")).unwrap();
    let change = "UPDATE tail SET bytes = zeroblob(length(bytes)) WHERE first = 5";
    assert_eq!(other.execute(change, []).unwrap(), 1);
    // The tail is closed around it.
    let done = bus.publish_all((10..5_000).map(frame)).unwrap();
    assert_eq!(done.positions, 11..5_001);
    let tail = other.query_row("SELECT count(*) FROM tail", [], |row| row.get::<_, i64>(0));
    assert_eq!(tail, Ok(0));
    assert_eq!(archive.last_sequence(archive.journal_epoch()), Ok(5_000));
    let damaged = archive.check().unwrap_err();
    assert_eq!(damaged.kind(), AgentErrorKind::ArchiveDamaged);
    let run = frame(20).event.envelope.run_id.clone();
    let expected = (5..5_000).filter(|&n| frame(n).event.envelope.run_id == run);
    let found = replay(&archive, EventFilter::run(&run));
    let found = found.iter().filter(|it| it.cursor.event_seq > 5);
    assert_eq!(found.count(), expected.count());
    assert!(bus.publish(start("r")).is_ok());
}
