//! The archive on disk: what goes in comes out, in order, found by what a filter asks for.

mod common;

use common::{delta, end, start};
use framebus::archive::{Archive, ArchiveOptions};
use framebus::*;

/// Returns frames with sequence numbers and the epoch, as a bus gives them.
fn published(frames: impl IntoIterator<Item = EventFrame>) -> Vec<EventFrame> {
    let bus = InMemoryAgentEventBus::default();
    let queue = common::options(100_000, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut all = bus.subscribe_all_with_options(None, queue).unwrap();
    for frame in frames {
        bus.publish(frame).unwrap();
    }
    all.by_ref().collect()
}

/// 5,000 frames of 40 runs and 7 agents, and few of a rare kind.
fn mixed() -> Vec<EventFrame> {
    published((0..5_000_u32).map(|n| {
        let run = format!("run-{}", n / 1_000 * 10 + n * 7 % 10);
        let agent = format!("agent-{}", n % 7);
        let kind = match n {
            _ if n % 1_700 == 0 => EventKind::ApprovalRequested,
            _ if n % 50 == 49 => EventKind::RunCompleted,
            _ => EventKind::ModelStreamDelta,
        };
        let envelope = EventEnvelope::new(run, agent, kind)
            .with_timestamp(Timestamp::from_micros(i64::from(n) * 1_000));
        EventFrame::new(AgentEvent::with_redacted_summary(
            envelope,
            format!("text {n}"),
        ))
    }))
}

fn open(folder: &tempfile::TempDir) -> Archive {
    Archive::open(folder.path(), ArchiveOptions::default()).unwrap()
}

fn replay(archive: &Archive, filter: EventFilter, position: u64) -> AgentEventStream {
    let cursor = ArchiveCursor {
        position,
        ..archive.start().unwrap()
    };
    let filter = filter.compile().unwrap();
    archive.replay_filtered_from_cursor(filter, cursor).unwrap()
}

/// A frame as its replay shows it.
fn as_replayed(frame: &EventFrame, position: u64, archive: &Archive) -> EventFrame {
    let mut event = frame.event.to_event();
    event.envelope.delivery_semantics = EventDeliverySemantics::DerivedReplay;
    EventFrame {
        archive_cursor: Some(ArchiveCursor {
            archive_id: archive.id().clone(),
            position,
        }),
        ..EventFrame::new(event)
    }
}

#[test]
fn frames_are_read_as_appended_also_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let frames = mixed();
    {
        let archive = open(&folder);
        assert_eq!(archive.append(&frames[..10]).unwrap(), 1..11);
        assert_eq!(archive.append(&frames[10..]).unwrap(), 11..5_001);
    }
    let archive = open(&folder);
    let epoch = frames[0].cursor.bus_epoch;
    assert_eq!(archive.last_sequence(epoch).unwrap(), 5_000);
    assert_eq!(archive.last_sequence(BusEpoch::from_bits(1)).unwrap(), 0);
    let filter = EventFilter::default();
    let scope = filter.clone().compile().unwrap().cursor_scope();
    let mut replayed = replay(&archive, filter, 0);
    for (frame, position) in frames.iter().zip(1..) {
        let mut expected = as_replayed(frame, position, &archive);
        expected.cursor.scope = scope.clone();
        assert_eq!(replayed.next(), Some(expected));
    }
    assert_eq!(
        (replayed.next(), replayed.end()),
        (None, Some(StreamEnd::ListEnded))
    );
}

#[test]
fn filters_find_the_frames_that_a_full_scan_finds() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let frames = mixed();
    for group in frames.chunks(300) {
        archive.append(group).unwrap();
    }
    let many = |from: u32, to: u32| (from..to).map(|n| RunId::new(format!("run-{n}"))).collect();
    let filters = [
        EventFilter::run("run-23"),
        EventFilter::run("no-such-run"),
        EventFilter::agent("agent-3"),
        EventFilter::terminal_run_events(),
        EventFilter {
            kinds: vec![EventKind::ApprovalRequested],
            ..EventFilter::default()
        },
        EventFilter {
            kinds: vec![EventKind::ApprovalRequested],
            ..EventFilter::run("run-0")
        },
        EventFilter {
            run_ids: many(8, 13),
            agent_ids: vec!["agent-1".into(), "agent-6".into()],
            terminal_only: true,
            ..EventFilter::default()
        },
        EventFilter {
            run_ids: many(30, 200),
            ..EventFilter::agent("agent-0")
        },
        EventFilter {
            delivery_semantics: vec![EventDeliverySemantics::JournalBacked],
            ..EventFilter::default()
        },
    ];
    for filter in filters {
        let compiled = filter.clone().compile().unwrap();
        for from in [0, 1, 299, 1_024, 2_500, 4_999, 5_000] {
            let expected: Vec<_> = (1..=5_000_u64)
                .zip(&frames)
                .filter(|(position, frame)| {
                    *position > from && compiled.matches_envelope(&frame.event.envelope)
                })
                .map(|(position, _)| position)
                .collect();
            let found: Vec<_> = replay(&archive, filter.clone(), from)
                .map(|frame| frame.archive_cursor.unwrap().position)
                .collect();
            assert_eq!(found, expected, "{filter:?} from {from}");
        }
    }
}

#[test]
fn a_replay_resumes_from_any_of_its_cursors_and_ends_where_the_archive_ended() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let frames = mixed();
    archive.append(&frames[..4_000]).unwrap();
    let filter = EventFilter::agent("agent-2");
    let mut whole = replay(&archive, filter.clone(), 0);
    archive.append(&frames[4_000..]).unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = whole.next() {
        if seen.len() % 97 == 0 {
            let position = frame.archive_cursor.as_ref().unwrap().position;
            let resumed = replay(&archive, filter.clone(), position);
            let rest: Vec<_> = whole.clone().collect();
            let resumed: Vec<_> = resumed.take(rest.len()).collect();
            assert_eq!(resumed, rest);
        }
        seen.push(frame.cursor.event_seq);
    }
    assert_eq!(seen.len(), 4_000_usize.div_ceil(7));
    assert!(seen.is_sorted() && seen.last() <= Some(&4_000));
}

#[test]
fn cursors_of_another_archive_or_of_the_future_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    archive.append(&published([start("r"), end("r")])).unwrap();
    let filter = || EventFilter::default().compile().unwrap();
    let foreign = ArchiveCursor {
        archive_id: "another".into(),
        position: 0,
    };
    let future = ArchiveCursor {
        position: 3,
        ..archive.start().unwrap()
    };
    for cursor in [foreign, future] {
        let error = archive
            .replay_filtered_from_cursor(filter(), cursor.clone())
            .unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveCursor, "{cursor:?}");
    }
    for text in [
        "",
        "7",
        "another@1",
        "@",
        &format!("{}@-1", archive.id()),
        &format!("{}@", archive.id()),
    ] {
        let error = archive.locate(&JournalCursor::new(text)).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveCursor, "{text:?}");
    }
    let cursor = JournalCursor::new(format!("{}@2", archive.id()));
    assert_eq!(archive.locate(&cursor).unwrap(), archive.end().unwrap());
}

#[test]
fn frames_are_appended_once_and_in_order_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let frames = published((0..10).map(|_| delta("r")));
    archive.append(&frames[2..5]).unwrap();
    let unpublished = vec![delta("r")];
    let twice = [frames[6].clone(), frames[6].clone()];
    let back = [frames[8].clone(), frames[7].clone()];
    for wrong in [&frames[4..], &frames[..1], &unpublished, &twice, &back] {
        let error = archive.append(wrong).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ArchiveOrder, "{error}");
        assert_eq!(archive.len().unwrap(), 3, "all or nothing");
    }
    // Another bus counts for itself; a hole is no disorder.
    archive.append(&published([start("r")])).unwrap();
    archive.append(&frames[9..]).unwrap();
    let seqs: Vec<_> = replay(&archive, EventFilter::default(), 0)
        .map(|frame| frame.cursor.event_seq)
        .collect();
    assert_eq!(seqs, [3, 4, 5, 1, 10]);
}

#[test]
fn content_is_stored_as_its_privacy_allows() {
    let stored = |privacy: PrivacyClass, content_up_to| {
        let folder = tempfile::tempdir().unwrap();
        let options = ArchiveOptions {
            content_up_to,
            ..ArchiveOptions::default()
        };
        let archive = Archive::open(folder.path(), options).unwrap();
        let envelope =
            EventEnvelope::new("r", "a", EventKind::MessageCommitted).with_privacy(privacy);
        let mut event = AgentEvent::with_content(envelope, "text/plain", *b"every word of it");
        if let EventPayload::Content(content) = &mut event.payload {
            content.summary = Some("in short".into());
            content.references = [(EntityKind::ToolCall, "call-1").into()].into();
        }
        archive.append(&published([event.into()])).unwrap();
        let frame = replay(&archive, EventFilter::default(), 0).next().unwrap();
        assert_eq!(frame.event.redacted_summary(), Some("in short"));
        assert_eq!(frame.event.references().len(), 1);
        assert_eq!(frame.event.envelope.privacy, privacy);
        drop(archive);
        let written = std::fs::read_dir(folder.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(16).any(|it| it == b"every word of it")
        });
        assert_eq!(written, frame.event.content().is_some(), "{privacy:?}");
        written
    };
    use PrivacyClass::{Content, Metadata, Secret, Sensitive};
    assert!(stored(Content, Content) && stored(Sensitive, Sensitive));
    assert!(!stored(Sensitive, Content) && !stored(Content, Metadata));
    assert!(!stored(Secret, Sensitive) && !stored(Secret, Secret));
}

#[test]
fn a_filter_s_payload_access_holds_for_a_replay() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    archive.append(&mixed()[..1]).unwrap();
    let filter = EventFilter {
        payload_access: PayloadAccessMode::EnvelopeOnly,
        ..EventFilter::default()
    };
    let frame = replay(&archive, filter, 0).next().unwrap();
    assert_eq!(frame.event.redacted_summary(), None);
}

#[test]
fn the_position_before_a_time_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    for group in mixed().chunks(700) {
        archive.append(group).unwrap();
    }
    for (micros, position) in [
        (-5, 0),
        (0, 0),
        (1, 1),
        (2_499_001, 2_500),
        (4_999_000, 4_999),
    ] {
        let cursor = archive.before_time(Timestamp::from_micros(micros)).unwrap();
        assert_eq!(cursor.position, position);
    }
    let late = archive
        .before_time(Timestamp::from_micros(4_999_001))
        .unwrap();
    assert_eq!(late, archive.end().unwrap());
}

#[test]
fn a_reader_reads_while_another_process_could_write() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let frames = mixed();
    archive.append(&frames[..1_000]).unwrap();
    let reader = Archive::open_for_reading(folder.path()).unwrap();
    assert_eq!(reader.len().unwrap(), 1_000);
    archive.append(&frames[1_000..]).unwrap();
    assert_eq!(replay(&reader, EventFilter::default(), 0).count(), 5_000);
    let error = reader.append(&published([start("r")])).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ArchiveReadOnly);
}

/// A frame with this sequence number of a bus.
fn numbered(epoch: BusEpoch, sequence: u64) -> EventFrame {
    let mut envelope = EventEnvelope::new("r", "a", EventKind::RunStarted);
    (envelope.bus_epoch, envelope.event_seq) = (epoch, sequence);
    EventFrame::new(AgentEvent::envelope_only(envelope))
}

#[test]
fn numbers_that_no_bus_gives_are_refused_and_all_others_are_read_again() {
    const END: u64 = 1 << 62;
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder);
    let epochs = [1, u64::MAX, 1 << 63, archive.journal_epoch().bits()].map(BusEpoch::from_bits);
    let mut frames = 0;
    for epoch in epochs {
        for sequence in [1, 2, END - 2, END - 1] {
            archive.append(&[numbered(epoch, sequence)]).unwrap();
            frames += 1;
        }
        for sequence in [END, END + 1, 1 << 63, u64::MAX - 1, u64::MAX] {
            let wrong = [numbered(epoch, sequence)];
            let error = archive.append(&wrong).unwrap_err();
            assert_eq!(error.kind(), AgentErrorKind::InvalidValue, "{error}");
        }
        // A batch that runs over the end is refused as a whole.
        let over = [END - 1, END].map(|sequence| numbered(epoch, sequence));
        assert!(archive.append(&over).is_err());
    }
    assert_eq!((archive.check(), archive.len()), (Ok(frames), Ok(frames)));
    assert_eq!(
        replay(&archive, EventFilter::default(), 0).count(),
        frames as usize
    );
    archive.compact().unwrap();
    assert_eq!(archive.check(), Ok(frames));
    assert_eq!(
        replay(&archive, EventFilter::default(), 0).count(),
        frames as usize
    );
}
