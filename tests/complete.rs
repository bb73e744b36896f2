//! Complete reading: every frame that the rings hold, in every way of reading, and every loss where
//! it is.

mod common;

use common::{all, bus, delta, end, lost, seqs};
use framebus::*;
use std::ops::ControlFlow;

#[test]
fn complete_reading_gives_everything_in_every_way() {
    let published: Vec<_> = (1..=1_000).collect();
    let complete = |bus: &InMemoryAgentEventBus| all(bus, SubscriptionOptions::complete());
    let bus = bus(4, 4_096);
    for n in 0..1_000 {
        bus.publish(if n % 9 == 0 {
            end(&format!("r{}", n % 7))
        } else {
            delta(&format!("r{}", n % 7))
        })
        .unwrap();
    }
    assert_eq!(seqs(&mut complete(&bus)), published);
    let mut stream = complete(&bus);
    let received: Vec<_> = (0..1_000)
        .map(|_| stream.recv().unwrap().cursor.event_seq)
        .collect();
    assert_eq!(received, published);
    let mut stream = complete(&bus);
    let mut batched = Vec::new();
    // Alternating with `next`.
    while let Some(frame) = stream.next() {
        batched.push(frame.cursor.event_seq);
        stream.read_batch(|item| {
            if let BatchItem::Frame(frame) = item {
                batched.push(frame.envelope().event_seq);
            }
            if batched.len() % 5 == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
    }
    assert_eq!(batched, published);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (mut one, mut other) = (complete(&bus), complete(&bus).into_stream());
    runtime.block_on(async {
        for number in &published {
            assert_eq!(one.recv_async().await.unwrap().cursor.event_seq, *number);
            let frame = futures_util::StreamExt::next(&mut other).await.unwrap();
            assert_eq!(frame.cursor.event_seq, *number);
        }
    });
    let run = bus.subscribe_run_with_options("r3".into(), None, SubscriptionOptions::complete());
    assert_eq!(run.unwrap().count(), 143);
    let filter = EventFilter::terminal_run_events().compile().unwrap();
    let ends = bus.subscribe_filtered_with_options(filter, None, SubscriptionOptions::complete());
    assert_eq!(ends.unwrap().count(), 112);
}

#[test]
fn complete_reading_loses_to_the_rings_only_with_a_notice() {
    let bus = bus(1, 64);
    let mut stream = all(&bus, SubscriptionOptions::complete());
    bus.publish(end("r")).unwrap();
    (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
    let frames: Vec<_> = stream.by_ref().collect();
    let notices: Vec<_> = frames
        .iter()
        .filter_map(|it| it.overflow.as_ref())
        .collect();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].reason, EventOverflowReason::SubscriberLagged);
    assert!(notices[0].exact && notices[0].terminal_preserved);
    assert_eq!(notices[0].dropped_count + frames.len() as u64, 1_001);
    assert_eq!(frames[0].cursor.event_seq, 1, "recovered from its lane");
    assert_eq!(
        stream
            .stats()
            .dropped
            .of(EventOverflowReason::SubscriberLagged),
        lost(&frames[1])
    );
}

/// Ends of runs outlive what was published between them: several losses in one refill, each with
/// frames before it.
#[test]
fn complete_reading_gives_frames_in_order_around_every_loss() {
    for batches in [false, true] {
        let bus = bus(1, 8);
        let mut stream = all(&bus, SubscriptionOptions::complete());
        let mut published = 0;
        let mut publish = |frame: EventFrame| {
            bus.publish(frame).unwrap();
            published += 1;
        };
        for _ in 0..3 {
            (0..2).for_each(|_| publish(end("r")));
            (0..3).for_each(|_| publish(delta("r")));
        }
        (0..16).for_each(|_| publish(delta("r")));
        let mut frames: Vec<_> = stream.next().into_iter().collect();
        if batches {
            // After one by `next`, the rest that was taken in with it.
            stream.read_batch(|item| {
                if let BatchItem::Frame(frame) = item {
                    frames.push(frame.to_frame());
                }
                ControlFlow::Continue(())
            });
            assert!(frames.is_sorted_by_key(EventFrame::sequence));
            continue;
        }
        frames.extend(stream);
        assert!(frames.is_sorted_by_key(EventFrame::sequence), "{frames:?}");
        let reported: u64 = frames.iter().map(lost).sum();
        assert_eq!(frames.len() as u64 + reported, published);
        let noticed = frames.iter().filter(|frame| frame.overflow.is_some());
        let noticed: Vec<_> = noticed.map(EventFrame::sequence).collect();
        assert_eq!(noticed.len(), 3, "{noticed:?}");
        assert_eq!(noticed[..2], [6, 11], "after each gap");
    }
}

#[test]
fn complete_reading_refuses_only_what_every_queue_refuses() {
    let bus = bus(1, 64);
    let options =
        SubscriptionOptions::complete().policy(SubscriberOverflowPolicy::BackpressureCaller);
    let error = bus.subscribe_all_with_options(None, options).unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::InvalidOverflowPolicy);
}
