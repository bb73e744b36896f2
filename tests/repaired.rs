//! A live stream that is repaired from a host's archive: its position, its end, and what it reports
//! of an archive that fails.

mod common;

use common::{delta, seqs, size, start};
use framebus::*;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

fn bus_of(frames: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    builder.ring_capacity(size(frames)).build().unwrap()
}

/// An archive that can't be read.
struct Broken;

fn broken<T>() -> Result<T, AgentError> {
    let kind = AgentErrorKind::ArchiveUnavailable;
    Err(AgentError::new(kind, "the disk is gone"))
}

impl EventArchive for Broken {
    fn replay_filtered_from_cursor(
        &self,
        _: CompiledEventFilter,
        _: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        broken()
    }
}

impl RepairArchive for Broken {
    fn before_sequence(&self, _: BusEpoch, _: u64) -> Result<ArchiveCursor, AgentError> {
        broken()
    }

    fn next_hole(&self, _: BusEpoch, _: Range<u64>) -> Result<Option<Range<u64>>, AgentError> {
        Ok(None)
    }

    fn is_settled(&self, _: BusEpoch, _: u64, _: Option<&Arc<Waker>>) -> bool {
        true
    }
}

fn repaired(bus: &InMemoryAgentEventBus) -> AgentEventStream {
    let stream = bus.subscribe_all(None).unwrap();
    stream.repaired_by(Arc::new(Broken)).unwrap()
}

#[test]
fn a_gap_that_a_failing_archive_leaves_is_reported_whole_with_the_error() {
    let bus = bus_of(4);
    let mut stream = repaired(&bus);
    assert_eq!(stream.repair_error(), None);
    (0..40).for_each(|_| bus.publish(delta("r")).unwrap());
    let first = stream.next().unwrap();
    let notice = first.overflow.as_ref().expect("the gap before it");
    let missing = first.sequence() - 1;
    assert_eq!(notice.dropped_count, missing);
    assert_eq!(notice.gap_start.as_ref().unwrap().event_seq, 1);
    assert_eq!(notice.gap_end.event_seq, missing);
    let error = stream.repair_error().expect("the archive's");
    assert_eq!(error.message(), "the disk is gone");
    assert!(seqs(&mut stream).into_iter().eq(missing + 2..=40));
}

#[test]
fn its_cursor_is_after_delivered_frames_and_not_after_read_ones() {
    let bus = bus_of(64);
    let mut stream = repaired(&bus);
    (0..10).for_each(|_| bus.publish(start("r")).unwrap());
    for number in 1..=10 {
        assert_eq!(stream.next().unwrap().sequence(), number);
        assert_eq!(stream.cursor().unwrap().event_seq, number);
    }
}

#[test]
fn it_ends_after_its_last_frame() {
    let bus = bus_of(64);
    let mut stream = repaired(&bus);
    (0..3).for_each(|_| bus.publish(start("r")).unwrap());
    drop(bus);
    for number in 1..=3 {
        assert_eq!(stream.end(), None, "before {number}");
        assert_eq!(stream.next().unwrap().sequence(), number);
    }
    assert_eq!(stream.end(), Some(StreamEnd::BusClosed));
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_wait_that_is_over_keeps_no_waker() {
    let bus = bus_of(64);
    let mut stream = repaired(&bus);
    let waits = Arc::new(Nobody);
    let waker = Waker::from(waits.clone());
    let waiting = pin!(stream.recv_async()).poll(&mut Context::from_waker(&waker));
    assert!(waiting.is_pending());
    drop(waker);
    // The subscription's own waiter may keep one.
    assert!(Arc::strong_count(&waits) <= 2);
}
