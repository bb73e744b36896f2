//! Visitors of batches that panic: what they were shown is given, and nothing else.

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

#[test]
fn a_visitor_that_panics_at_a_notice_loses_no_frame_by_it() {
    let bus = bus_of(4_096);
    let queued = || {
        let mut stream = bus
            .subscribe_all_with_options(None, options(4, 1, Policy::DropProgress))
            .unwrap();
        assert_eq!(stream.next().unwrap().cursor.event_seq, 1);
        stream
    };
    // 2 is dropped in front of 3.
    for frame in [start("r"), delta("r"), start("r"), start("r"), end("r")] {
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
    let streams = [
        (queued(), vec![3, 4, 5]),
        (queued().repaired_by(archive).unwrap(), vec![3, 4, 5]),
        (AgentEventStream::new(queued()), vec![3, 4, 5]),
        (
            AgentEventStream::from_source(Listed(queued().collect())),
            vec![3, 4, 5],
        ),
        (repaired, oldest),
    ];
    for (mut stream, expected) in streams {
        let before = stream.cursor().cloned();
        let delivered = stream.stats().delivered;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            stream.read_batch(|item| match item {
                BatchItem::Gap(_) => resume_unwind(Box::new("told")),
                BatchItem::Frame(_) => ControlFlow::Continue(()),
            })
        }));
        assert!(panicked.is_err(), "a notice rides on the first frame");
        assert_eq!(stream.stats().delivered, delivered);
        let cursor = stream.cursor().map(|it| it.event_seq);
        assert!(cursor >= before.map(|it| it.event_seq) && cursor < Some(expected[0]));
        assert_eq!(seqs(&mut stream.clone()), expected);
        assert_eq!(seqs(&mut stream), expected);
    }
}
