//! Visitors of batches that panic or break: the items lent to them are delivered, and no others.

mod common;

use common::{delta, end, options, seqs, size, start};
use framebus::SubscriberOverflowPolicy as Policy;
use framebus::*;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Waker;

fn bus_of(frames: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    builder.ring_capacity(size(frames)).build().unwrap()
}

/// An archive that has nothing.
struct Empty(InMemoryEventArchive);

impl EventArchive for Empty {
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        self.0.replay_filtered_from_cursor(filter, cursor)
    }
}

impl RepairArchive for Empty {
    fn before_sequence(&self, _: BusEpoch, _: u64) -> Result<ArchiveCursor, AgentError> {
        Ok(self.0.start())
    }

    fn next_hole(
        &self,
        _: BusEpoch,
        numbers: Range<u64>,
    ) -> Result<Option<Range<u64>>, AgentError> {
        Ok(Some(numbers).filter(|it| !it.is_empty()))
    }

    fn is_settled(&self, _: BusEpoch, _: u64, _: Option<&Arc<Waker>>) -> bool {
        true
    }
}

/// A source of the frames of a list.
#[derive(Clone, Debug)]
struct Listed(Vec<EventFrame>);

impl FrameSource for Listed {
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(self.clone())
    }
}

/// Streams of all kinds whose first frame has a notice, and the sequence numbers that they give.
fn told_first() -> Vec<(AgentEventStream, Vec<u64>)> {
    let bus = bus_of(4_096);
    let queued = || {
        let mut stream = bus
            .subscribe_all_with_options(None, options(4, 1, Policy::DropProgress))
            .unwrap();
        assert_eq!(stream.next().unwrap().cursor.event_seq, 1);
        stream
    };
    // 2 is dropped, which 3 reports.
    for frame in [start("r"), delta("r"), end("r"), start("r"), start("r")] {
        bus.publish(frame).unwrap();
    }
    let archive = Arc::new(Empty(InMemoryEventArchive::new("empty")));
    let lapped = bus_of(4);
    let mut repaired = lapped
        .subscribe_all_with_options(None, SubscriptionOptions::complete())
        .unwrap();
    repaired = repaired.repaired_by(archive.clone()).unwrap();
    (0..40).for_each(|_| lapped.publish(start("r")).unwrap());
    let oldest = seqs(&mut repaired.clone());
    vec![
        (queued(), vec![3, 4, 5]),
        (queued().repaired_by(archive).unwrap(), vec![3, 4, 5]),
        (AgentEventStream::new(queued()), vec![3, 4, 5]),
        (
            AgentEventStream::from_source(Listed(queued().collect())),
            vec![3, 4, 5],
        ),
        (repaired, oldest),
    ]
}

#[test]
fn a_visitor_that_panics_at_a_notice_loses_no_frame_by_it() {
    for (mut stream, expected) in told_first() {
        let before = stream.cursor().cloned();
        let given = |stream: &AgentEventStream| {
            let stats = stream.stats();
            (stats.delivered, stats.terminals)
        };
        let delivered = given(&stream);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            stream.read_batch(|item| match item {
                BatchItem::Gap(_) => resume_unwind(Box::new("at the notice")),
                BatchItem::Frame(_) => ControlFlow::Continue(()),
            })
        }));
        assert!(panicked.is_err(), "a notice rides on the first frame");
        assert_eq!(given(&stream), delivered);
        let cursor = stream.cursor().map(|it| it.event_seq);
        assert!(cursor >= before.map(|it| it.event_seq) && cursor < Some(expected[0]));
        assert_eq!(seqs(&mut stream.clone()), expected);
        assert_eq!(seqs(&mut stream), expected);
    }
}

#[test]
fn a_visitor_that_breaks_at_a_notice_gets_its_frame_and_no_other() {
    for (mut stream, expected) in told_first() {
        let mut shown = Vec::new();
        let count = stream.read_batch(|item| match item {
            BatchItem::Gap(_) => ControlFlow::Break(()),
            BatchItem::Frame(frame) => {
                shown.push(frame.envelope().event_seq);
                ControlFlow::Continue(())
            }
        });
        assert_eq!(count, 2, "a notice and its frame");
        shown.extend(stream.map(|frame| frame.sequence()));
        // The frames of a list keep their sequence numbers.
        assert_eq!(shown, expected);
    }
}

#[test]
fn a_batch_counts_what_it_lends() {
    for (mut stream, expected) in told_first() {
        let mut lent = 0;
        let count = stream.read_batch(|_| {
            lent += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((count, lent), (expected.len() + 1, expected.len() + 1));
    }
}

#[test]
fn a_gap_that_no_frame_follows_is_lent_alone() {
    let bus = bus_of(4);
    let stream = bus.subscribe_agent("quiet".into(), None).unwrap();
    let archive = Arc::new(Empty(InMemoryEventArchive::new("empty")));
    let mut stream = stream.repaired_by(archive).unwrap();
    (0..40).for_each(|_| bus.publish(start("r")).unwrap());
    let mut gaps = Vec::new();
    let mut visit = |item: BatchItem<'_>| {
        match item {
            BatchItem::Gap(notice) => gaps.push(notice.dropped_count > 0),
            BatchItem::Frame(frame) => panic!("no publisher sent {frame:?}"),
        }
        ControlFlow::Continue(())
    };
    assert_eq!(stream.read_batch(&mut visit), 1);
    assert_eq!(stream.read_batch(&mut visit), 0);
    assert_eq!(gaps, [true]);
}
