//! Whatever retention removes and whatever can't be read is reported, at its place, by replays and
//! by repaired streams; and nothing else is lost with it.

mod common;

use common::archives::open;
use common::{delta, size};
use framebus::archive::{Archive, JournalOptions, JournaledBus, Retention};
use framebus::*;
use proptest::prelude::*;
use rusqlite::{Connection, params};
use std::path::Path;

/// A bus with rings of `capacity` frames whose streams are repaired from the archive.
fn journaled(archive: &Archive, capacity: usize) -> JournaledBus {
    let builder = InMemoryAgentEventBus::builder()
        .shards(size(2))
        .ring_capacity(size(capacity));
    let options = JournalOptions {
        repair: true,
        ..JournalOptions::default()
    };
    JournaledBus::open(archive.clone(), builder, options).unwrap()
}

fn keep(archive: &Archive, frames: u64) -> u64 {
    let limits = Retention {
        max_frames: Some(frames),
        ..Retention::default()
    };
    archive.retain(&limits).unwrap().frames
}

/// Publishes `count` frames of two runs in turn, in one batch.
fn publish(bus: &JournaledBus, count: u64) {
    let frames = (0..count).map(|n| delta(["even", "odd"][n as usize % 2]));
    bus.publish_all(frames).unwrap();
}

/// Reads at most `most` frames of a stream of everything, of which all up to `last` was given or
/// reported. Returns the new last one. Every frame that is missing is reported on the frame after
/// it.
fn read_all_scope(stream: &mut AgentEventStream, last: u64, most: usize) -> (u64, u64) {
    let (mut reached, mut lost) = (last, 0);
    for frame in stream.by_ref().take(most) {
        let told = frame.overflow.as_ref().map_or(0, |it| it.dropped_count);
        let sequence = frame.cursor.event_seq;
        assert_eq!(sequence, reached + told + 1, "{:?}", frame.overflow);
        if let Some(notice) = frame.overflow.filter(|it| it.dropped_count > 0) {
            assert!(notice.exact && notice.gap_end.event_seq < sequence);
            assert!(notice.gap_start.unwrap().event_seq > last);
        }
        (reached, lost) = (sequence, lost + told);
    }
    if let Some(notice) = stream.take_pending_overflow() {
        reached += notice.dropped_count;
        lost += notice.dropped_count;
    }
    (reached, lost)
}

#[test]
fn a_repair_beside_retention_reports_every_frame_that_went() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive, 1_024);
    let mut all = bus.subscribe_all(None).unwrap();
    let mut even = bus.subscribe_run("even".into(), None).unwrap();
    (0..200).for_each(|_| publish(&bus, 500));
    let (last, lost) = read_all_scope(&mut all, 0, 1);
    assert_eq!((last, lost), (1, 0));
    assert_eq!(even.next().unwrap().cursor.event_seq, 1);
    let removed = keep(&archive, 10_000);
    assert!(removed > 80_000);
    // The block that is being read was read as a whole before.
    let (last, lost) = read_all_scope(&mut all, last, usize::MAX);
    assert_eq!(last, 100_000);
    assert!((removed - 4_096..removed).contains(&lost), "{lost}");
    assert_eq!(all.stats().dropped.total(), lost);
    let mut told = 0;
    let mut reached = 1;
    for frame in even {
        let sequence = frame.cursor.event_seq;
        let missing = (sequence - reached) / 2 - 1;
        let here = frame.overflow.as_ref().map_or(0, |it| it.dropped_count);
        assert!(here >= missing, "{missing} missing, {here} reported");
        (reached, told) = (sequence, told + here);
    }
    assert_eq!(reached, 99_999);
    assert!(told < removed, "no more than went");
}

/// Makes a block's bytes unreadable.
fn spoil(folder: &Path, first: u64) {
    let db = Connection::open(folder.join("frames.sqlite")).unwrap();
    let sql = "UPDATE data SET bytes = zeroblob(length(bytes)) WHERE first = ?";
    let changed = db.execute(sql, params![first.cast_signed()]).unwrap();
    assert_eq!(changed, 1, "a block begins at {first}");
}

fn replay(archive: &Archive, filter: EventFilter) -> AgentEventStream {
    let filter = filter.compile().unwrap();
    let start = archive.start().unwrap();
    archive.replay_filtered_from_cursor(filter, start).unwrap()
}

/// How many frames [`some_blocks`] has.
const FRAMES: u64 = 20_000;

/// Returns an archive of at least three blocks.
fn some_blocks() -> (tempfile::TempDir, Archive) {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive, 64);
    (0..20).for_each(|_| publish(&bus, FRAMES / 20));
    drop(bus);
    archive.compact().unwrap();
    (folder, archive)
}

/// Returns where the blocks begin.
fn firsts(folder: &Path) -> Vec<u64> {
    let db = Connection::open(folder.join("frames.sqlite")).unwrap();
    let mut select = db
        .prepare("SELECT first FROM blocks ORDER BY first")
        .unwrap();
    let firsts = select.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    firsts.map(|it| it.unwrap().cast_unsigned()).collect()
}

#[test]
fn a_damaged_block_costs_a_replay_that_block_and_its_end_says_so() {
    for place in [0, 1, 2] {
        let (folder, archive) = some_blocks();
        let firsts = [firsts(folder.path()), vec![FRAMES + 1]].concat();
        let blocks = firsts.len() - 1;
        let at = [0, blocks / 2, blocks - 1][place];
        let (from, to) = (firsts[at], firsts[at + 1]);
        spoil(folder.path(), from);
        for (filter, step) in [(EventFilter::default(), 1), (EventFilter::run("odd"), 2)] {
            let mut frames = replay(&archive, filter);
            let (mut seen, mut told) = (Vec::new(), Vec::new());
            let mut error = None;
            for frame in frames.try_frames() {
                match frame {
                    Ok(frame) => {
                        let position = frame.archive_cursor.as_ref().unwrap().position;
                        told.extend(frame.overflow.map(|notice| (position, *notice)));
                        seen.push(position);
                    }
                    Err(damage) => error = Some(damage),
                }
            }
            let kept = (1..=FRAMES).filter(|it| !(from..to).contains(it) && it % step == 0);
            assert!(seen.into_iter().eq(kept), "only the block is lost");
            told.extend(frames.pending_overflow().map(|it| (FRAMES + 1, it.clone())));
            let [(before, notice)] = &told[..] else {
                panic!("{told:?}");
            };
            assert!((to..to + step).contains(before), "at its place");
            assert_eq!(notice.dropped_count, to - from);
            assert_eq!(notice.exact, step == 1);
            let bounds = [notice.gap_start.as_ref().unwrap(), &notice.gap_end];
            assert_eq!(bounds.map(|it| it.event_seq), [from, to - 1]);
            // They name the positions, too.
            let located =
                bounds.map(|it| archive.locate(it.journal_cursor.as_ref().unwrap()).unwrap());
            assert_eq!(located.map(|it| it.position), [from, to - 1]);
            let error = error.expect("the replay is not complete");
            assert_eq!(error.kind(), AgentErrorKind::ArchiveDamaged);
            assert_eq!(frames.end(), Some(StreamEnd::SourceDamaged(error)));
        }
    }
}

#[test]
fn rows_that_are_wrong_or_gone_are_reported_and_read_past() {
    let spoils = [
        "DELETE FROM blocks WHERE first = ?",
        "DELETE FROM data WHERE first = ?",
        "UPDATE blocks SET count = 0 WHERE first = ?",
        "UPDATE blocks SET count = count + 5 WHERE first = ?",
        "UPDATE blocks SET first_seq = -1 WHERE first = ?",
        "UPDATE blocks SET epoch = epoch + 1 WHERE first = ?",
    ];
    for sql in spoils {
        let (folder, archive) = some_blocks();
        let firsts = firsts(folder.path());
        let (from, to) = (firsts[1], firsts[2]);
        let db = Connection::open(folder.path().join("frames.sqlite")).unwrap();
        assert_eq!(db.execute(sql, [from.cast_signed()]).unwrap(), 1);
        let mut frames = replay(&archive, EventFilter::default());
        let mut seen = Vec::new();
        let mut told = 0;
        let complete = loop {
            match frames.try_next() {
                Ok(Some(frame)) => {
                    told += frame.overflow.map_or(0, |it| it.dropped_count);
                    seen.push(frame.archive_cursor.unwrap().position);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.kind()),
            }
        };
        assert_eq!(complete, Err(AgentErrorKind::ArchiveDamaged), "{sql}");
        assert_eq!(told, to - from, "{sql}");
        let kept = (1..=FRAMES).filter(|it| !(from..to).contains(it));
        assert!(seen.into_iter().eq(kept), "{sql}");
    }
}

#[test]
fn a_damaged_block_costs_a_repair_that_block_after_a_restart_too() {
    for restart in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = open(folder.path());
        let mut bus = journaled(&archive, 64);
        let beginning = || SubscriptionOptions::default().beginning();
        let mut all = bus.subscribe_all_with_options(None, beginning()).unwrap();
        (0..20).for_each(|_| publish(&bus, FRAMES / 20));
        archive.compact().unwrap();
        if restart {
            drop((all, bus, archive));
            archive = open(folder.path());
            bus = journaled(&archive, 64);
            all = bus.subscribe_all_with_options(None, beginning()).unwrap();
        }
        let firsts = firsts(folder.path());
        let (from, to) = (firsts[2], firsts[3]);
        spoil(folder.path(), from);
        publish(&bus, 10);
        let mut told = Vec::new();
        let mut seen = Vec::new();
        for frame in all.by_ref() {
            let sequence = frame.cursor.event_seq;
            seen.push(sequence);
            told.extend(frame.overflow.map(|it| {
                let start = it.gap_start.unwrap().event_seq;
                (sequence, start, it.gap_end.event_seq, it.dropped_count)
            }));
        }
        let kept = (1..=FRAMES + 10).filter(|it| !(from..to).contains(it));
        assert!(seen.into_iter().eq(kept), "only the block is lost");
        assert_eq!(told[0], (to, from, to - 1, to - from), "at its place");
        // What was repaired is reported after the gap.
        assert!(told[1..].iter().all(|&(_, _, _, count)| count == 0));
        let error = all.repair_error().expect("of the block");
        assert_eq!(error.kind(), AgentErrorKind::ArchiveDamaged);
    }
}

#[test]
fn a_time_in_a_damaged_block_is_not_answered_with_another_position() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let mut firsts = Vec::new();
    for n in 1..=3 {
        let mut event = delta("r").event.to_event();
        // A block each: sequence numbers are missing between them.
        (event.envelope.event_seq, event.envelope.bus_epoch) = (2 * n, BusEpoch::from_bits(7));
        event.envelope.timestamp = Timestamp::from_micros(n.cast_signed() * 1_000_000);
        firsts.push(archive.append(&[event.into()]).unwrap().start);
    }
    archive.compact().unwrap();
    spoil(folder.path(), firsts[1]);
    let at = |seconds: i64| archive.before_time(Timestamp::from_micros(seconds * 1_000_000));
    assert_eq!(at(1).unwrap().position, 0);
    assert_eq!(at(2).unwrap_err().kind(), AgentErrorKind::ArchiveDamaged);
    assert_eq!(at(3).unwrap().position, 2);
    assert_eq!(at(4).unwrap().position, 3);
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Act {
    Publish(u64),
    Read(usize),
    Keep(u64),
    Compact,
    Restart,
    Spoil(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..400_u64).prop_map(Act::Publish),
        4 => (0..300_usize).prop_map(Act::Read),
        2 => (0..600_u64).prop_map(Act::Keep),
        1 => Just(Act::Compact),
        1 => Just(Act::Restart),
        1 => (0..100_u64).prop_map(Act::Spoil),
    ];
    proptest::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A stream of everything that resumes after each restart: what it gives and what it reports
    /// adds up to what was published, at each moment and in order.
    #[test]
    fn given_and_reported_frames_are_all_that_were_published(acts in acts()) {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = open(folder.path());
        let mut bus = journaled(&archive, 64);
        let beginning = SubscriptionOptions::default().beginning();
        let mut stream = bus.subscribe_all_with_options(None, beginning).unwrap();
        let (mut published, mut reached) = (0, 0);
        for act in acts.into_iter().chain([Act::Read(usize::MAX)]) {
            match act {
                Act::Publish(count) => {
                    publish(&bus, count);
                    published += count;
                }
                Act::Read(most) => (reached, _) = read_all_scope(&mut stream, reached, most),
                Act::Keep(frames) => {
                    keep(&archive, frames);
                }
                Act::Compact => {
                    archive.compact().unwrap();
                }
                Act::Restart => {
                    let cursor = stream.cursor().cloned();
                    prop_assert_eq!(cursor.as_ref().unwrap().event_seq, reached);
                    drop((stream, bus, archive));
                    archive = open(folder.path());
                    bus = journaled(&archive, 64);
                    stream = bus.subscribe_all(cursor).unwrap();
                }
                Act::Spoil(which) => {
                    let firsts = firsts(folder.path());
                    if !firsts.is_empty() {
                        spoil(folder.path(), firsts[which as usize % firsts.len()]);
                    }
                }
            }
        }
        prop_assert_eq!(reached, published);
    }
}
