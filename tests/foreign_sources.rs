//! Archives and sources of a host that panic: only the reader that called them gets the panic. When
//! it reads on, every missing frame is reported and no frame comes twice.

mod common;

use common::{delta, size};
use framebus::*;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

/// Panics at its n-th call, and works otherwise.
#[derive(Debug)]
struct Fuse(AtomicU32);

impl Fuse {
    fn after(calls: u32) -> Self {
        Fuse(AtomicU32::new(calls))
    }

    fn burn(&self) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.wrapping_sub(1), Ordering::Relaxed);
        assert!(left != 0, "a host's archive that panics");
    }
}

/// An archive that has the frames of a bus except those of two holes, and panics once.
#[derive(Debug)]
struct Hostile {
    frames: Vec<EventFrame>,
    holes: [Range<u64>; 2],
    fuse: Arc<Fuse>,
}

impl Hostile {
    fn has(&self, number: u64) -> bool {
        !self.holes.iter().any(|hole| hole.contains(&number))
    }
}

/// A replay that burns the fuse at each frame.
#[derive(Clone, Debug)]
struct Replay {
    frames: AgentEventStream,
    fuse: Arc<Fuse>,
}

impl FrameSource for Replay {
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        self.fuse.burn();
        Ok(self.frames.next())
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(self.clone())
    }
}

impl EventArchive for Hostile {
    fn replay_filtered_from_cursor(
        &self,
        _: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        self.fuse.burn();
        let held = |frame: &&EventFrame| {
            let number = frame.cursor.event_seq;
            number > cursor.position && self.has(number)
        };
        Ok(AgentEventStream::from_source(Replay {
            frames: AgentEventStream::new(self.frames.iter().filter(held).cloned()),
            fuse: self.fuse.clone(),
        }))
    }
}

impl RepairArchive for Hostile {
    fn before_sequence(&self, _: BusEpoch, sequence: u64) -> Result<ArchiveCursor, AgentError> {
        self.fuse.burn();
        Ok(ArchiveCursor {
            archive_id: "hostile".into(),
            position: sequence - 1,
        })
    }

    fn next_hole(
        &self,
        _: BusEpoch,
        numbers: Range<u64>,
    ) -> Result<Option<Range<u64>>, AgentError> {
        self.fuse.burn();
        let within = |hole: &Range<u64>| hole.start.max(numbers.start)..hole.end.min(numbers.end);
        Ok(self.holes.iter().map(within).find(|hole| !hole.is_empty()))
    }

    fn is_settled(&self, _: BusEpoch, _: u64, _: Option<&Arc<Waker>>) -> bool {
        self.fuse.burn();
        true
    }
}

/// Reads a stream to its end whatever panics. Returns the sequence numbers delivered, and those
/// reported as lost.
fn read(stream: &mut AgentEventStream) -> (Vec<u64>, Vec<u64>, u32) {
    let (mut given, mut lost, mut panics) = (Vec::new(), Vec::new(), 0);
    loop {
        let Ok(next) = catch_unwind(AssertUnwindSafe(|| stream.next())) else {
            panics += 1;
            continue;
        };
        let Some(frame) = next else { break };
        given.push(frame.sequence());
        if let Some(notice) = frame.overflow {
            lost.push(notice.dropped_count);
        }
    }
    (given, lost, panics)
}

#[test]
fn an_archive_that_panics_costs_a_repair_nothing() {
    let gap = |calls| {
        let builder = InMemoryAgentEventBus::builder()
            .shards(size(1))
            .ring_capacity(size(16));
        let bus = builder.build().unwrap();
        let stream = bus.subscribe_all(None).unwrap();
        let mut archived = bus
            .subscribe_all_with_options(None, SubscriptionOptions::complete())
            .unwrap();
        let mut frames = Vec::new();
        for _ in 0..200 {
            bus.publish(delta("r")).unwrap();
            frames.extend(archived.next());
        }
        let fuse = Arc::new(Fuse::after(calls));
        let archive = Hostile {
            frames,
            holes: [20..30, 40..41],
            fuse,
        };
        let mut stream = stream.repaired_by(Arc::new(archive)).unwrap();
        read(&mut stream)
    };
    let (whole, reported, panics) = gap(u32::MAX);
    let expected: Vec<_> = (1..=200)
        .filter(|n| !(20..30).contains(n) && *n != 40)
        .collect();
    assert_eq!((&whole, panics), (&expected, 0));
    assert_eq!(reported.iter().sum::<u64>(), 11);
    // Panics at each call in turn, until a run has fewer calls.
    let mut calls = 0;
    loop {
        let (given, lost, panics) = gap(calls);
        assert_eq!(given, whole, "a panic at call {calls}");
        assert_eq!(lost, reported, "a panic at call {calls}");
        if panics == 0 {
            break;
        }
        assert_eq!(panics, 1, "a panic at call {calls}");
        calls += 1;
    }
    assert!(calls > 150, "{calls}");
}

#[test]
fn a_source_that_panics_is_read_on() {
    let frames = AgentEventStream::new((0..5).map(|_| delta("r")));
    let fuse = Arc::new(Fuse::after(2));
    let mut stream = AgentEventStream::from_source(Replay { frames, fuse });
    let (given, _, panics) = read(&mut stream);
    assert_eq!((given.len(), panics), (5, 1));
    assert_eq!(stream.end(), Some(StreamEnd::ListEnded));
}

/// A source that knows what is missing before its next frame.
#[derive(Clone, Debug)]
struct Gapped(EventOverflowNotice);

impl FrameSource for Gapped {
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        Ok(None)
    }

    fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        Some(&self.0)
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(self.clone())
    }
}

#[test]
fn a_source_reports_a_gap_before_its_next_frame() {
    let policy = SubscriberOverflowPolicy::DropNonTerminal;
    let bus = InMemoryAgentEventBus::default();
    let mut stream = bus
        .subscribe_all_with_options(None, common::options(1, 1, policy))
        .unwrap();
    bus.publish(delta("r")).unwrap();
    assert_eq!(stream.next(), None, "a queue of terminal frames only");
    let notice = stream.take_pending_overflow().expect("of the lost frame");
    let source = AgentEventStream::from_source(Gapped(notice.clone()));
    assert_eq!(source.pending_overflow(), Some(&notice));
}
