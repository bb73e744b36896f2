//! The contract of bounding, through `dyn AgentEventBus`: the ways in which the replaced bus was
//! wrong, by letter, and a long backlog.

mod common;

use common::{delta, end, options, seqs, size, start};
use framebus::*;
use std::sync::Arc;

/// A small bus behind the trait, as a host has it.
fn bus() -> Arc<dyn AgentEventBus> {
    Arc::new(InMemoryAgentEventBus::default())
}

#[test]
fn a_streams_are_live() {
    let bus = bus();
    let mut stream = bus.subscribe_all(None).unwrap();
    assert_eq!(stream.next(), None);
    bus.publish(start("r")).unwrap();
    assert_eq!(seqs(&mut stream), [1]);
    bus.publish(end("r")).unwrap();
    assert_eq!(seqs(&mut stream), [2]);
}

#[test]
fn b_all_terminal_frames_come_whatever_the_queue_holds() {
    let bus = bus();
    let options = options(4, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..6).for_each(|_| bus.publish(end("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    let numbers = frames.iter().map(|frame| frame.cursor.event_seq);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(frames.iter().all(|frame| frame.overflow.is_none()));
    assert_eq!(stream.stats().dropped.total(), 0);
}

#[test]
fn c_a_notice_waits_for_a_frame_and_can_be_read_meanwhile() {
    let bus = bus();
    let options = options(1, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    assert_eq!(stream.next(), None);
    assert_eq!(stream.pending_overflow().unwrap().dropped_count, 3);
    bus.publish(end("r")).unwrap();
    let last = stream.next().unwrap();
    assert_eq!(
        (last.cursor.event_seq, last.overflow.unwrap().dropped_count),
        (4, 3)
    );
    assert_eq!(stream.pending_overflow(), None);
}

#[test]
fn d_notices_are_merged() {
    let bus = bus();
    let options = options(2, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    // One is queued and three are dropped; then two terminal frames push that one out.
    (0..4).for_each(|_| bus.publish(delta("r")).unwrap());
    (0..2).for_each(|_| bus.publish(end("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    let reported: u64 = frames
        .iter()
        .filter_map(|f| f.overflow.as_ref())
        .map(|n| n.dropped_count)
        .sum();
    assert_eq!((frames.len() as u64, reported), (2, 4));
}

#[test]
fn e_a_summary_stands_for_a_run_and_a_run_of_one_is_itself() {
    let bus = bus();
    let options = options(8, 1, SubscriberOverflowPolicy::SummarizeAndContinue);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    bus.publish(delta("r")).unwrap();
    let lone = stream.next().unwrap();
    assert_eq!(
        (lone.event.redacted_summary(), &lone.overflow),
        (None, &None)
    );
    (0..4).for_each(|_| bus.publish(delta("r")).unwrap());
    bus.publish(start("r")).unwrap();
    let summary = stream.next().unwrap();
    assert_eq!(
        summary.event.redacted_summary(),
        Some("4 dropped progress frames")
    );
    let notice = summary.overflow.unwrap();
    assert_eq!((notice.dropped_count, notice.gap_end.event_seq), (4, 5));
    assert_eq!(notice.gap_start.unwrap().event_seq, 2);
    assert_eq!(stream.next().unwrap().cursor.event_seq, 6);
}

#[test]
fn f_an_eviction_is_reported_at_the_gap() {
    let bus = bus();
    let options = options(3, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    bus.publish(start("r")).unwrap();
    bus.publish(delta("r")).unwrap();
    (0..2).for_each(|_| bus.publish(end("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    let reported = |frame: &EventFrame| {
        frame
            .overflow
            .as_ref()
            .map_or(0, |notice| notice.dropped_count)
    };
    let got: Vec<_> = frames
        .iter()
        .map(|frame| (frame.cursor.event_seq, reported(frame)))
        .collect();
    assert_eq!(got, [(2, 1), (3, 0), (4, 0)]);
}

#[test]
fn g_a_failed_stream_says_that_it_failed_and_where_to_resume() {
    let bus = bus();
    let options = options(2, 1, SubscriberOverflowPolicy::FailSubscriber);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    bus.publish(end("r")).unwrap();
    let frame = stream.next().unwrap();
    assert!(
        !frame.overflow.unwrap().terminal_preserved,
        "the end of the run is after the failure"
    );
    assert_eq!(stream.next(), None);
    let Some(StreamEnd::Failed {
        resume_from,
        notice,
    }) = stream.end()
    else {
        panic!("not failed")
    };
    assert!(!notice.terminal_preserved);
    assert_eq!(resume_from.event_seq, 1);
    let mut resumed = bus.subscribe_all(Some(resume_from)).unwrap();
    assert_eq!(seqs(&mut resumed), [2, 3, 4]);
}

#[test]
fn a_failed_stream_gives_nothing_more_in_batches_either() {
    let bus = bus();
    let options = options(2, 1, SubscriberOverflowPolicy::FailSubscriber);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    assert!(stream.next().is_some());
    (0..3).for_each(|_| bus.publish(delta("r")).unwrap());
    let given = stream.read_batch(|_| std::ops::ControlFlow::Continue(()));
    assert_eq!(given, 0);
    assert!(matches!(stream.end(), Some(StreamEnd::Failed { .. })));
}

#[test]
fn h_sequences_rise_whatever_threads_publish() {
    let bus = InMemoryAgentEventBus::builder()
        .ring_capacity(size(200_000))
        .build()
        .unwrap();
    let each = 20_000;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let bus = &bus;
            scope.spawn(move || {
                for _ in 0..each {
                    bus.publish(delta(&format!("run-{thread}"))).unwrap();
                }
            });
        }
    });
    let options = options(200_000, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    assert_eq!(seqs(&mut stream), (1..=8 * each).collect::<Vec<_>>());
}

#[test]
fn a_backlog_of_50_000_is_selected_by_the_table() {
    let bus = bus();
    for n in 0..50_000 {
        bus.publish(if n % 10_000 == 9_999 {
            end("r")
        } else {
            delta("r")
        })
        .unwrap();
    }
    let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
    // The queue takes 63 frames of any kind and one more terminal one; from the second terminal
    // frame on, the oldest delta is dropped for it.
    let expected: Vec<_> = (5..=63).chain((1..=5).map(|n| n * 10_000)).collect();
    assert_eq!(
        frames
            .iter()
            .map(|f| f.cursor.event_seq)
            .collect::<Vec<_>>(),
        expected
    );
    let reported: u64 = frames
        .iter()
        .filter_map(|f| f.overflow.as_ref())
        .map(|n| n.dropped_count)
        .sum();
    assert_eq!(reported + frames.len() as u64, 50_000);
}
