//! Journal first: frames are durable before they are delivered, and have the same sequence numbers
//! on the bus and in the archive, also after a reopening.

mod common;

use common::{delta, end, options, seqs, size, start};
use framebus::archive::{
    Archive, ArchiveOptions, Durability, JournalOptions, Journaled, JournaledBus,
};
use framebus::*;
use std::ops::ControlFlow;
use std::time::Duration;

const DROP: SubscriberOverflowPolicy = SubscriberOverflowPolicy::DropNonTerminal;

fn archive(folder: &tempfile::TempDir) -> Archive {
    Archive::open(folder.path(), ArchiveOptions::default()).unwrap()
}

fn bus(archive: &Archive) -> JournaledBus {
    let builder = InMemoryAgentEventBus::builder();
    JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap()
}

fn everything(archive: &Archive) -> AgentEventStream {
    let filter = EventFilter::default().compile().unwrap();
    let start = archive.start().unwrap();
    archive.replay_filtered_from_cursor(filter, start).unwrap()
}

/// Appends a frame with this sequence number, so that the archive refuses lower ones of the bus.
fn block_sequences_below(archive: &Archive, epoch: BusEpoch, sequence: u64) {
    let mut envelope = EventEnvelope::new("elsewhere", "a", EventKind::RunStarted);
    (envelope.event_seq, envelope.bus_epoch) = (sequence, epoch);
    let frame = EventFrame::new(AgentEvent::envelope_only(envelope));
    archive.append(&[frame]).unwrap();
}

#[test]
fn a_frame_is_archived_before_it_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = bus(&archive);
    let mut live = bus.subscribe_run(RunId::new("r"), None).unwrap();
    let reader = std::thread::spawn({
        let archive = archive.clone();
        move || {
            let mut seen = Vec::new();
            while let Ok(frame) = live.recv() {
                let envelope = &frame.event.envelope;
                assert_eq!(
                    envelope.delivery_semantics,
                    EventDeliverySemantics::JournalBacked
                );
                let at = archive
                    .locate(envelope.journal_cursor.as_ref().unwrap())
                    .unwrap();
                assert!(archive.end().unwrap().position >= at.position);
                let before = ArchiveCursor {
                    position: at.position - 1,
                    ..at
                };
                let all = EventFilter::default().compile().unwrap();
                let mut replay = archive.replay_filtered_from_cursor(all, before).unwrap();
                let stored = replay.next().unwrap();
                assert_eq!(
                    stored.event.redacted_summary(),
                    frame.event.redacted_summary()
                );
                assert_eq!(stored.cursor.event_seq, frame.cursor.event_seq);
                assert_eq!(stored.cursor.journal_cursor, frame.cursor.journal_cursor);
                seen.push(frame.cursor.event_seq);
            }
            seen
        }
    });
    for n in 0..50 {
        let envelope = EventEnvelope::new("r", "a", EventKind::ModelStreamDelta);
        let event = AgentEvent::with_redacted_summary(envelope, format!("text {n}"));
        bus.publish(EventFrame::new(event)).unwrap();
    }
    drop(bus);
    assert_eq!(reader.join().unwrap(), (1..=50).collect::<Vec<_>>());
}

#[test]
fn many_threads_share_groups_and_keep_their_own_order() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let journal = JournalOptions {
        linger: Duration::from_micros(200),
        group: size(500),
        waiting: size(4),
        ..JournalOptions::default()
    };
    let builder = InMemoryAgentEventBus::builder().ring_capacity(size(4_096));
    let bus = JournaledBus::open(archive.clone(), builder, journal).unwrap();
    let mut live = bus
        .subscribe_all_with_options(None, options(100_000, 1, DROP))
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let bus = &bus;
            scope.spawn(move || {
                let run = format!("run-{thread}");
                for n in 0..25_u64 {
                    let receipt = bus.submit((0..n).map(|_| delta(&run)));
                    let Journaled {
                        sequences,
                        positions,
                    } = receipt.wait().unwrap();
                    assert_eq!(
                        (sequences.end - sequences.start, &positions),
                        (n, &sequences)
                    );
                    bus.publish(end(&run)).unwrap();
                }
            });
        }
    });
    let count = 4 * (300 + 25);
    let expected: Vec<u64> = (1..=count).collect();
    assert_eq!(seqs(&mut live), expected);
    let stored: Vec<_> = everything(&archive)
        .map(|frame| frame.cursor.event_seq)
        .collect();
    assert_eq!(stored, expected);
}

#[test]
fn a_reopened_journal_goes_on_after_the_highest_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let cursor = {
        let bus = bus(&archive(&folder));
        let mut live = bus.subscribe_all(None).unwrap();
        bus.publish_all([start("r"), delta("r"), end("r")]).unwrap();
        live.nth(2).unwrap().cursor
    };
    let archive = archive(&folder);
    let bus = bus(&archive);
    bus.publish(start("s")).unwrap();
    // A cursor of the run before resumes exactly.
    let mut resumed = bus.subscribe_all(Some(cursor)).unwrap();
    let frame = resumed.next().unwrap();
    assert_eq!((frame.cursor.event_seq, frame.overflow), (4, None));
    assert_eq!(everything(&archive).count(), 4);
}

#[test]
fn a_frame_that_cannot_be_stored_is_published_as_diagnostic_only() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = bus(&archive);
    let mut live = bus.subscribe_all(None).unwrap();
    bus.publish(start("r")).unwrap();
    let first = live.next().unwrap();
    block_sequences_below(&archive, first.cursor.bus_epoch, 3);
    for number in [2, 3] {
        let error = bus.publish(delta("r")).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveOrder);
        let frame = live.next().unwrap();
        let envelope = &frame.event.envelope;
        assert_eq!(frame.cursor.event_seq, number);
        assert_eq!(
            envelope.delivery_semantics,
            EventDeliverySemantics::DiagnosticOnly
        );
        assert_eq!(envelope.journal_cursor, None);
    }
    assert_eq!(
        archive.len().unwrap(),
        2,
        "the first frame and the blocking one"
    );
    // Once the disk works again, the journal goes on after the published frames.
    bus.publish(end("r")).unwrap();
    assert_eq!(live.next().unwrap().cursor.event_seq, 4);
    let stored: Vec<_> = everything(&archive)
        .map(|frame| frame.cursor.event_seq)
        .collect();
    assert_eq!(stored, [1, 3, 4]);
}

#[test]
fn an_archive_is_one_bus_s_journal() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let first = bus(&archive);
    let open = || {
        let builder = InMemoryAgentEventBus::builder();
        JournaledBus::open(archive.clone(), builder, JournalOptions::default())
    };
    assert_eq!(
        open().unwrap_err().kind(),
        AgentErrorKind::ContractViolation
    );
    drop(first);
    assert!(open().is_ok());
    drop(open());
    let reader = Archive::open_for_reading(folder.path()).unwrap();
    let builder = InMemoryAgentEventBus::builder();
    let error = JournaledBus::open(reader, builder, JournalOptions::default()).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveReadOnly);
}

#[test]
fn frames_that_the_rings_refuse_are_durable_and_published_later() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let builder = InMemoryAgentEventBus::builder()
        .shards(size(1))
        .ring_capacity(size(1));
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap();
    let mut live = bus.subscribe_all(None).unwrap();
    // Each sleeper holds the slot of the newest frame of the tiny lane while it looks at it.
    fn asleep(depth: usize, bus: &JournaledBus) -> Vec<bool> {
        let latest = SubscriptionOptions {
            start: StreamStart::Latest,
            ..SubscriptionOptions::default()
        };
        let mut sleeper = bus.subscribe_all_with_options(None, latest).unwrap();
        let mut published = vec![bus.publish(delta("r")).is_ok()];
        sleeper.read_batch(|item| match item {
            BatchItem::Frame(_) if depth > 0 => {
                published.extend(asleep(depth - 1, bus));
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        published
    }
    let published = asleep(8, &bus);
    assert!(published.contains(&false), "{published:?}");
    let count = published.len() as u64;
    // Once the readers are awake, the journal goes on.
    bus.publish(end("r")).unwrap();
    assert_eq!(archive.len().unwrap(), bus_sequence(&mut live));
    assert!(archive.len().unwrap() <= count + 1);
    let stored: Vec<_> = everything(&archive)
        .map(|frame| frame.cursor.event_seq)
        .collect();
    assert_eq!(stored, (1..=archive.len().unwrap()).collect::<Vec<_>>());
}

#[test]
fn a_bus_opened_while_another_closes_reuses_no_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(
        folder.path(),
        ArchiveOptions {
            durability: Durability::SystemCache,
            ..ArchiveOptions::default()
        },
    )
    .unwrap();
    let mut next = 1;
    let mut bus = bus(&archive);
    for _ in 0..400 {
        let closing = std::thread::spawn(move || bus.submit([delta("r")]));
        bus = loop {
            let builder = InMemoryAgentEventBus::builder().ring_capacity(size(64));
            let opened = JournaledBus::open(archive.clone(), builder, JournalOptions::default());
            match opened {
                Ok(bus) => break bus,
                Err(error) => assert_eq!(error.kind(), AgentErrorKind::ContractViolation),
            }
        };
        let submitted = closing.join().unwrap().wait().unwrap();
        assert_eq!(submitted.sequences, next..next + 1);
        let mut live = bus.subscribe_all(None).unwrap();
        assert_eq!(bus.publish(start("r")), Ok(()));
        let frame = live.next().unwrap();
        assert_eq!(frame.cursor.event_seq, next + 1);
        let semantics = frame.event.envelope.delivery_semantics;
        assert_eq!(semantics, EventDeliverySemantics::JournalBacked);
        next += 2;
    }
}

#[test]
fn an_open_that_fails_leaves_the_archive_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let too_large = InMemoryAgentEventBus::builder().shards(size(1 << 20));
    let error =
        JournaledBus::open(archive.clone(), too_large, JournalOptions::default()).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::InvalidValue);
    bus(&archive).publish(start("r")).unwrap();
}

#[test]
fn a_frame_that_is_too_large_keeps_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    // All of them may wait together, the large one too.
    let options = JournalOptions {
        group_bytes: size(1 << 30),
        waiting_bytes: size(1 << 30),
        ..JournalOptions::default()
    };
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(archive.clone(), builder, options).unwrap();
    let mut live = bus.subscribe_all(None).unwrap();
    // Submissions made while another program has the lock are one group.
    let other = rusqlite::Connection::open(folder.path().join("frames.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let content = PayloadContent {
        media_type: "application/octet-stream".into(),
        bytes: vec![0; (256 << 20) + 1].into(),
        summary: None,
        references: [].into(),
    };
    let too_large = EventFrame::new(AgentEvent {
        envelope: EventEnvelope::new("r", "a", EventKind::ModelStreamDelta),
        payload: EventPayload::Content(Box::new(content)),
    });
    let before = [start("r"), delta("r")].map(|frame| bus.submit([frame]));
    let refused = bus.submit([delta("r"), too_large]);
    let after = bus.submit([end("r")]);
    other.execute_batch("COMMIT").unwrap();
    for (receipt, position) in before.into_iter().zip(1..) {
        let journaled = receipt.wait().unwrap();
        assert_eq!(
            (journaled.sequences, journaled.positions),
            (position..position + 1, position..position + 1)
        );
    }
    let error = refused.wait().unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::InvalidValue);
    let journaled = after.wait().unwrap();
    assert_eq!((journaled.sequences, journaled.positions), (5..6, 3..4));
    let seen: Vec<_> = live
        .by_ref()
        .map(|frame| frame.event.envelope.delivery_semantics)
        .collect();
    use EventDeliverySemantics::{DiagnosticOnly, JournalBacked};
    assert_eq!(
        seen,
        [
            JournalBacked,
            JournalBacked,
            DiagnosticOnly,
            DiagnosticOnly,
            JournalBacked
        ]
    );
}

#[test]
fn a_journal_without_sequence_numbers_left_refuses_frames() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let last = (1 << 62) - 3;
    block_sequences_below(&archive, archive.journal_epoch(), last);
    let bus = bus(&archive);
    let mut live = bus.subscribe_all(None).unwrap();
    let refused = |frames: &[EventFrame]| {
        let error = bus.publish_all(frames.iter().cloned()).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::SequenceExhausted, "{error}");
    };
    refused(&[delta("r"), delta("r"), delta("r")]);
    bus.publish_all([delta("r"), end("r")]).unwrap();
    for _ in 0..3 {
        refused(&[end("r")]);
    }
    assert_eq!(seqs(&mut live), [last + 1, last + 2]);
    assert_eq!(everything(&archive).count(), 3);
}

/// Returns the sequence number of the last frame that a stream has now.
fn bus_sequence(stream: &mut AgentEventStream) -> u64 {
    stream.last().unwrap().cursor.event_seq
}
