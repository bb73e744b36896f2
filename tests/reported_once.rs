//! The cursor is after every reported loss, also that of a stream that failed: resuming there gives
//! nothing twice.

mod common;

use common::{delta, end, options, seqs, size, start};
use framebus::SubscriberOverflowPolicy as Policy;
use framebus::*;
use std::ops::ControlFlow;

fn bus() -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    builder.build().unwrap()
}

fn all(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> AgentEventStream {
    bus.subscribe_all_with_options(None, options).unwrap()
}

fn lost(frame: &EventFrame) -> u64 {
    frame.overflow.as_ref().map_or(0, |it| it.dropped_count)
}

#[test]
fn a_stream_that_fails_resumes_after_frames_given_in_batches() {
    let bus = bus();
    let mut stream = all(&bus, options(2, 2, Policy::FailSubscriber));
    (0..5).for_each(|_| bus.publish(delta("r")).unwrap());
    assert_eq!(stream.read_batch(|_| ControlFlow::Continue(())), 5);
    bus.publish(delta("r")).unwrap();
    assert_eq!(stream.next(), None);
    let Some(StreamEnd::Failed { resume_from, .. }) = stream.end() else {
        panic!("there was no room");
    };
    assert_eq!(Some(&resume_from), stream.cursor());
    assert_eq!(resume_from.event_seq, 5);
}

#[test]
fn a_stream_that_fails_when_asked_for_its_end_reports_it_at_once() {
    let bus = bus();
    let mut stream = all(&bus, options(1, 1, Policy::FailSubscriber));
    bus.publish(delta("r")).unwrap();
    drop(bus);
    let end = stream.end();
    assert!(matches!(end, Some(StreamEnd::Failed { .. })), "{end:?}");
}

#[test]
fn a_taken_notice_is_before_the_cursor() {
    let bus = bus();
    let mut stream = all(&bus, options(1, 1, Policy::DropNonTerminal));
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    assert_eq!(stream.next(), None);
    assert_eq!(stream.cursor().unwrap().event_seq, 0);
    assert_eq!(stream.take_pending_overflow().unwrap().dropped_count, 3);
    assert_eq!(stream.cursor().unwrap().event_seq, 3, "reported once");
}

#[test]
fn a_loss_reported_before_a_deferred_terminal_frame_is_before_the_cursor() {
    let bus = bus();
    let mut stream = all(&bus, options(1, 1, Policy::DropNonTerminal));
    for frame in [end("r"), start("r"), start("r"), end("r")] {
        bus.publish(frame).unwrap();
    }
    assert_eq!(lost(&stream.next().unwrap()), 2);
    assert_eq!(stream.cursor().unwrap().event_seq, 3, "4 waits");
    let mut resumed = bus.subscribe_all(stream.cursor().cloned()).unwrap();
    assert_eq!((seqs(&mut stream), seqs(&mut resumed)), (vec![4], vec![4]));
}
