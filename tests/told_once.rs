//! What was told is behind the cursor, and where a stream that failed stands: resuming there gives
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
fn a_stream_that_fails_resumes_behind_what_batches_gave() {
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
fn a_stream_that_fails_when_it_is_asked_for_its_end_says_so_at_once() {
    let bus = bus();
    let mut stream = all(&bus, options(1, 1, Policy::FailSubscriber));
    bus.publish(delta("r")).unwrap();
    drop(bus);
    let end = stream.end();
    assert!(matches!(end, Some(StreamEnd::Failed { .. })), "{end:?}");
}

#[test]
fn a_notice_that_was_taken_is_behind_the_cursor() {
    let bus = bus();
    let mut stream = all(&bus, options(1, 1, Policy::DropNonTerminal));
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    assert_eq!(stream.next(), None);
    assert_eq!(stream.cursor().unwrap().event_seq, 0);
    assert_eq!(stream.take_pending_overflow().unwrap().dropped_count, 3);
    assert_eq!(stream.cursor().unwrap().event_seq, 3, "told once");
}

#[test]
fn what_was_told_before_a_terminal_frame_that_waits_is_behind_the_cursor() {
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
