//! Streams that are repaired from the archive: exact, whatever the rings lose and however fast
//! publishing goes on.

mod common;

use common::size;
use framebus::archive::{Archive, ArchiveOptions, Durability, JournalOptions, JournaledBus};
use framebus::*;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

fn archive(folder: &tempfile::TempDir) -> Archive {
    let options = ArchiveOptions {
        durability: Durability::SystemCache,
        ..ArchiveOptions::default()
    };
    Archive::open(folder.path(), options).unwrap()
}

/// Rings that are overwritten at once.
fn tiny() -> BusBuilder {
    InMemoryAgentEventBus::builder()
        .shards(size(2))
        .ring_capacity(size(64))
}

fn journaled(archive: &Archive) -> JournaledBus {
    JournaledBus::open(archive.clone(), tiny(), JournalOptions::default()).unwrap()
}

/// Returns the `n`-th frame of a thread: 10 runs, 4 agents, one end in 20.
fn frame(thread: u64, n: u64) -> EventFrame {
    let kind = match n % 20 {
        19 => EventKind::RunCompleted,
        0 => EventKind::RunStarted,
        _ => EventKind::ModelStreamDelta,
    };
    let (run, agent) = (format!("run-{}", n % 10), format!("agent-{}", n % 4));
    let envelope = EventEnvelope::new(run, agent, kind);
    EventFrame::new(AgentEvent::with_redacted_summary(
        envelope,
        format!("{thread}/{n}"),
    ))
}

/// One stream of each scope, from the beginning.
fn of_every_scope(
    bus: &dyn AgentEventBus,
    epoch: BusEpoch,
) -> Vec<(EventFilter, AgentEventStream)> {
    let from = |scope| {
        Some(EventCursor {
            scope,
            event_seq: 0,
            bus_epoch: epoch,
            journal_cursor: None,
        })
    };
    let ends = EventFilter::terminal_run_events();
    let compiled = ends.clone().compile().unwrap();
    let (run, agent) = (RunId::new("run-3"), AgentId::new("agent-1"));
    let of_run = from(EventStreamScope::Run(run.clone()));
    let of_agent = from(EventStreamScope::Agent(agent.clone()));
    let of_ends = from(compiled.cursor_scope());
    vec![
        (
            EventFilter::default(),
            bus.subscribe_all(from(EventStreamScope::All)).unwrap(),
        ),
        (
            EventFilter::run(&run),
            bus.subscribe_run(run, of_run).unwrap(),
        ),
        (
            EventFilter::agent(&agent),
            bus.subscribe_agent(agent, of_agent).unwrap(),
        ),
        (ends, bus.subscribe_filtered(compiled, of_ends).unwrap()),
    ]
}

/// Returns what an exact stream of this scope gives: the sequence numbers and texts that the
/// archive has.
fn expected(archive: &Archive, filter: EventFilter) -> Vec<(u64, String)> {
    let start = archive.start().unwrap();
    let filter = filter.compile().unwrap();
    let frames = archive.replay_filtered_from_cursor(filter, start).unwrap();
    frames.map(|frame| shown(&frame)).collect()
}

fn shown(frame: &EventFrame) -> (u64, String) {
    let text = frame.event.redacted_summary().unwrap_or_default();
    (frame.cursor.event_seq, text.to_owned())
}

/// Checks a frame of a repaired stream: it is live, or marked as replayed, and nothing was lost.
fn check(frame: &EventFrame, scope: &EventStreamScope) {
    let from_archive =
        frame.event.envelope.delivery_semantics == EventDeliverySemantics::DerivedReplay;
    assert_eq!(from_archive, frame.archive_cursor.is_some());
    assert_eq!(&frame.cursor.scope, scope);
    assert_eq!(frame.cursor.event_seq, frame.event.envelope.event_seq);
    if let Some(notice) = &frame.overflow {
        assert_eq!((notice.dropped_count, notice.terminal_preserved), (0, true));
        assert!(notice.gap_end.event_seq < frame.cursor.event_seq);
        assert!(notice.repair_from.is_some());
    }
}

#[test]
fn a_lapped_stream_gets_everything_and_a_notice_of_the_repair() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = journaled(&archive);
    let epoch = archive.journal_epoch();
    let streams = of_every_scope(&bus, epoch);
    for group in 0..50 {
        let frames = (group * 100..group * 100 + 100).map(|n| frame(0, n));
        bus.publish_all(frames).unwrap();
    }
    for (filter, stream) in streams {
        let scope = stream.cursor().unwrap().scope.clone();
        let mut stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
        let (mut seen, mut reported, mut repaired) = (Vec::new(), 0, 0);
        for frame in stream.by_ref() {
            check(&frame, &scope);
            repaired += u64::from(frame.archive_cursor.is_some());
            if let Some(notice) = &frame.overflow {
                let start = notice.gap_start.as_ref().unwrap().event_seq;
                reported += notice.gap_end.event_seq + 1 - start;
            }
            seen.push(shown(&frame));
        }
        assert!(repaired > 0, "{scope}");
        assert_eq!(seen, expected(&archive, filter), "{scope}");
        let rest = stream.pending_overflow();
        assert_eq!(rest.map_or(0, |notice| notice.dropped_count), 0);
        if scope == EventStreamScope::All {
            assert_eq!(reported, repaired, "each repaired frame is reported once");
        }
    }
}

#[test]
fn repair_under_load_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = journaled(&archive);
    let streams = of_every_scope(&bus, archive.journal_epoch());
    // All of them are lapped when they begin; how often later depends on the threads' pace.
    for group in 0..30 {
        let frames = (group * 200..group * 200 + 200).map(|n| frame(9, n));
        bus.publish_all(frames).unwrap();
    }
    let seen: Vec<_> = std::thread::scope(|threads| {
        let readers: Vec<_> = streams
            .into_iter()
            .map(|(filter, stream)| {
                let repairing: Arc<Archive> = Arc::new(archive.clone());
                threads.spawn(move || {
                    let scope = stream.cursor().unwrap().scope.clone();
                    let mut stream = stream.repaired_by(repairing).unwrap();
                    let (mut seen, mut repaired) = (Vec::new(), 0);
                    while let Ok(frame) = stream.recv() {
                        check(&frame, &scope);
                        repaired += u64::from(frame.archive_cursor.is_some());
                        seen.push(shown(&frame));
                    }
                    assert_eq!(stream.end(), Some(StreamEnd::BusClosed));
                    assert_eq!(stream.repair_error(), None);
                    (filter, seen, repaired)
                })
            })
            .collect();
        let publishers: Vec<_> = (0..2)
            .map(|thread| {
                let bus = bus.clone();
                threads.spawn(move || {
                    for group in 0..150 {
                        let frames = (group * 200..group * 200 + 200).map(|n| frame(thread, n));
                        bus.publish_all(frames).unwrap();
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|it| it.join().unwrap());
        drop(bus);
        readers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (filter, seen, repaired) in seen {
        assert_eq!(seen, expected(&archive, filter));
        assert!(repaired > 0);
    }
}

#[test]
fn a_cursor_of_an_earlier_process_goes_on_through_the_archive_into_the_live_frames() {
    let folder = tempfile::tempdir().unwrap();
    {
        let bus = journaled(&archive(&folder));
        bus.publish_all((0..500).map(|n| frame(0, n))).unwrap();
    }
    let archive = archive(&folder);
    let bus = journaled(&archive);
    let streams = of_every_scope(&bus, archive.journal_epoch());
    let untold = of_every_scope(&bus, archive.journal_epoch());
    bus.publish_all((500..540).map(|n| frame(0, n))).unwrap();
    for (filter, stream) in streams {
        let stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
        let seen: Vec<_> = stream.map(|frame| shown(&frame)).collect();
        assert_eq!(seen, expected(&archive, filter));
    }
    // Without an archive the same frames are lost, and reported.
    for (_, mut stream) in untold {
        let notice = stream.next().unwrap().overflow.unwrap();
        assert_eq!(
            (notice.gap_end.event_seq, notice.terminal_preserved),
            (500, false)
        );
        assert_eq!(notice.gap_start.unwrap().event_seq, 1);
    }
}

#[test]
fn frames_that_the_archive_lacks_are_reported_at_their_gap() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = tiny().build().unwrap();
    let all = || bus.subscribe_all(None).unwrap();
    let repaired =
        |stream: AgentEventStream| stream.repaired_by(Arc::new(archive.clone())).unwrap();
    let (mut stream, mut recorder) = (repaired(all()), repaired(all()));
    let mut of_run = repaired(bus.subscribe_run(RunId::new("run-3"), None).unwrap());
    for n in 0..1_000 {
        bus.publish(frame(0, n)).unwrap();
        let recorded: Vec<_> = recorder.by_ref().collect();
        // Frames 101 to 200 and 401 to 450 are never archived.
        let n = n + 1;
        if !(101..=200).contains(&n) && !(401..=450).contains(&n) {
            archive.append(&recorded).unwrap();
        }
    }
    let (mut last, mut holes, mut count) = (0, Vec::new(), 0);
    for frame in stream.by_ref() {
        let number = frame.cursor.event_seq;
        let reported = frame.overflow.as_ref().map_or(0, |it| it.dropped_count);
        assert_eq!(number, last + 1 + reported, "reported at its gap");
        if reported > 0 {
            holes.push((last + 1, number - 1));
        }
        (last, count) = (number, count + 1 + reported);
    }
    // The lane of terminal frames still had the ends among them.
    assert_eq!((count, last), (1_000, 1_000));
    let missing: u64 = holes.iter().map(|(first, last)| last + 1 - first).sum();
    assert!((140..=150).contains(&missing), "{holes:?}");
    let (mut seen, mut reported) = (0, 0);
    for frame in of_run.by_ref() {
        seen += 1;
        reported += frame.overflow.map_or(0, |it| it.dropped_count);
    }
    assert_eq!(seen, 85, "15 of the run's 100 frames never got there");
    assert!(reported >= 15, "an upper bound: {reported}");
}

#[test]
fn a_gap_is_repaired_around_its_holes() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    // The archive has six of ten frames of an earlier process, all of one run.
    for number in [1, 2, 3, 6, 7, 10] {
        let mut event = frame(0, 3).event.to_event();
        event.envelope.event_seq = number;
        event.envelope.bus_epoch = archive.journal_epoch();
        archive.append(&[event.into()]).unwrap();
    }
    let bus = journaled(&archive);
    let streams = of_every_scope(&bus, archive.journal_epoch());
    bus.publish(frame(0, 3)).unwrap();
    for (_, stream) in streams.into_iter().take(2) {
        let stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
        let reported = |frame: EventFrame| {
            let notice = frame.overflow.map(|it| {
                let start = it.gap_start.unwrap().event_seq;
                (start, it.gap_end.event_seq, it.dropped_count)
            });
            (frame.cursor.event_seq, notice)
        };
        let seen: Vec<_> = stream.map(reported).collect();
        let expected = [
            (1, None),
            (2, None),
            (3, None),
            (6, Some((4, 5, 2))),
            (7, None),
            (10, Some((8, 9, 2))),
            (11, Some((1, 10, 0))),
        ];
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_journaled_bus_repairs_all_its_streams_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let options = JournalOptions {
        repair: true,
        ..JournalOptions::default()
    };
    let bus = JournaledBus::open(archive.clone(), tiny(), options).unwrap();
    let host: Arc<dyn AgentEventBus> = Arc::new(bus);
    let streams = of_every_scope(&*host, archive.journal_epoch());
    (0..1_000).for_each(|n| host.publish(frame(0, n)).unwrap());
    for (filter, stream) in streams {
        let seen: Vec<_> = stream.map(|frame| shown(&frame)).collect();
        assert_eq!(seen, expected(&archive, filter));
    }
}

#[test]
fn only_live_streams_can_be_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let list = AgentEventStream::new([frame(0, 1)]);
    let archive = Arc::new(archive(&folder));
    let bus = tiny().build().unwrap();
    let fails = common::options(1, 1, SubscriberOverflowPolicy::FailSubscriber);
    let mut failed = bus.subscribe_all_with_options(None, fails).unwrap();
    bus.publish(frame(0, 1)).unwrap();
    assert_eq!(failed.next(), None);
    for stream in [list, failed] {
        let error = stream.repaired_by(archive.clone()).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ContractViolation);
    }
}

#[test]
fn a_cursor_of_the_future_is_refused_by_a_reopened_bus() {
    let folder = tempfile::tempdir().unwrap();
    journaled(&archive(&folder)).publish(frame(0, 1)).unwrap();
    let archive = archive(&folder);
    let bus = journaled(&archive);
    for event_seq in [2, u64::MAX] {
        let cursor = EventCursor {
            scope: EventStreamScope::All,
            event_seq,
            bus_epoch: archive.journal_epoch(),
            journal_cursor: None,
        };
        let error = bus.subscribe_all(Some(cursor)).unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::CursorAhead);
    }
}

#[test]
fn a_repaired_stream_lends_batches() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = journaled(&archive);
    let stream = bus.subscribe_all(None).unwrap();
    let mut stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
    bus.publish_all((0..1_000).map(|n| frame(0, n))).unwrap();
    let (mut numbers, mut notices) = (Vec::new(), 0);
    while stream.read_batch(|item| {
        match item {
            BatchItem::Frame(frame) => numbers.push(frame.envelope().event_seq),
            BatchItem::Gap(notice) => notices += 1 + notice.dropped_count,
        }
        std::ops::ControlFlow::Continue(())
    }) > 0
    {}
    assert_eq!(numbers, (1..=1_000).collect::<Vec<_>>());
    assert!(notices > 0, "the repair is reported");
    assert_eq!(stream.pending_overflow(), None);
}

#[test]
fn a_repaired_stream_counts_delivered_and_lost_frames() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let bus = tiny().build().unwrap();
    let stream = || bus.subscribe_all(None).unwrap();
    let (mut recorder, stream) = (stream(), stream());
    let mut stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
    for n in 0..1_000 {
        bus.publish(frame(0, n)).unwrap();
        let recorded: Vec<_> = recorder.by_ref().collect();
        // Frames 101 to 110 are never archived.
        if !(101..=110).contains(&(n + 1)) {
            archive.append(&recorded).unwrap();
        }
    }
    assert_eq!(stream.stats().lag, 1_000);
    let (mut terminals, mut notices) = (0, 0);
    for frame in stream.by_ref() {
        terminals += u64::from(frame.event.envelope.event_kind.is_terminal());
        notices += u64::from(frame.overflow.is_some());
    }
    let stats = stream.stats();
    assert_eq!((stats.delivered, stats.dropped.total()), (990, 10));
    assert_eq!((stats.terminals, stats.notices), (terminals, notices));
    assert_eq!((stats.position, stats.lag, stats.queued), (1_000, 0, 0));
    assert!(stats.laps > 0);
}

#[test]
fn a_repaired_stream_is_woken_by_its_own_frames_only() {
    struct Count(AtomicU64);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let archive: Arc<Archive> = Arc::new(archive(&folder));
    let bus = tiny().build().unwrap();
    let of = |run: &str| common::delta(run);
    let count = Arc::new(Count(AtomicU64::new(0)));
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    let stream = bus.subscribe_run("mine".into(), None).unwrap();
    let mut stream = stream.repaired_by(archive).unwrap();
    assert!(
        Pin::new(&mut stream.as_stream())
            .poll_next(&mut context)
            .is_pending()
    );
    (0..20).for_each(|_| bus.publish(of("other")).unwrap());
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    bus.publish(of("mine")).unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(
        Pin::new(&mut stream.as_stream())
            .poll_next(&mut context)
            .is_ready()
    );
}

#[test]
fn a_repair_that_no_frame_follows_is_reported_in_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = journaled(&archive(&folder));
    earlier.publish_all((0..10).map(|n| frame(0, n))).unwrap();
    drop(earlier);
    let archive = archive(&folder);
    let bus = journaled(&archive);
    let (_, stream) = of_every_scope(&bus, archive.journal_epoch()).remove(0);
    let mut stream = stream.repaired_by(Arc::new(archive)).unwrap();
    let mut seen = Vec::new();
    while stream.read_batch(|item| {
        seen.push(match item {
            BatchItem::Frame(frame) => frame.envelope().event_seq,
            BatchItem::Gap(notice) => 100 + notice.dropped_count,
        });
        std::ops::ControlFlow::Continue(())
    }) > 0
    {}
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100]);
    assert_eq!(stream.stats().notices, 1);
}
