//! The ways to read a subscription to its end.

use super::tally::Tally;
use crate::play::Count;
use framebus::{
    AgentError, AgentEventBus, AgentEventStream, BatchItem, EventCursor, EventOverflowReason,
    InMemoryAgentEventBus, StreamEnd, SubscriptionOptions,
};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Counts what was lost after the last frame.
fn rest(stream: &AgentEventStream, seen: &mut Tally) {
    if let Some(notice) = stream.pending_overflow() {
        seen.told(notice);
    }
}

/// Reads frame by frame, blocking.
pub fn follow(mut stream: AgentEventStream, seen: &mut Tally) {
    while let Ok(frame) = stream.recv() {
        seen.frame(&frame);
    }
    rest(&stream, seen);
}

/// Reads in borrowed batches.
pub fn batches(mut stream: AgentEventStream, seen: &mut Tally) {
    loop {
        let given = stream.read_batch(|item| {
            match item {
                BatchItem::Frame(frame) => seen.envelope(frame.envelope()),
                BatchItem::Gap(notice) => seen.told(&notice),
            }
            ControlFlow::Continue(())
        });
        if given == 0 {
            // Sleeps until there is a frame, and takes one that way.
            match stream.recv() {
                Ok(frame) => seen.frame(&frame),
                Err(_) => break,
            }
        }
    }
    rest(&stream, seen);
}

/// Reads with long pauses for as long as frames are published.
pub fn slowly(mut stream: AgentEventStream, seen: &mut Tally, over: &AtomicBool) {
    while let Ok(frame) = stream.recv() {
        seen.frame(&frame);
        if seen.delivered.is_multiple_of(16) && !over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    rest(&stream, seen);
}

/// Reads until the policy ends the stream. Returns where to resume, if that was how it ended.
pub fn until_it_fails(mut stream: AgentEventStream, seen: &mut Tally) -> Option<EventCursor> {
    while let Ok(frame) = stream.recv() {
        seen.frame(&frame);
    }
    let Some(StreamEnd::Failed {
        resume_from,
        notice,
    }) = stream.end()
    else {
        rest(&stream, seen);
        return None;
    };
    // What was lost after the resume point comes to a reader that resumes there.
    let after = notice
        .gap_end
        .event_seq
        .saturating_sub(resume_from.event_seq);
    if notice.reason == EventOverflowReason::SubscriberQueueFull {
        seen.dropped -= notice.dropped_count.min(after);
    }
    Some(resume_from)
}

/// Reads, leaves now and then, and comes back with its cursor. Returns how many times it resumed.
pub fn resuming(
    bus: &InMemoryAgentEventBus,
    options: SubscriptionOptions,
    seen: &mut Tally,
    over: &AtomicBool,
) -> Result<u64, AgentError> {
    let mut cursor = None;
    let mut times = 0;
    loop {
        let last_time = over.load(Ordering::Acquire);
        let mut stream = bus.subscribe_all_with_options(cursor, options)?;
        let before = seen.delivered;
        while let Ok(frame) = stream.recv_timeout(Duration::from_millis(1)) {
            seen.frame(&frame);
            if seen.delivered - before >= 20_000 && !last_time {
                break;
            }
        }
        if last_time {
            rest(&stream, seen);
            return Ok(times);
        }
        cursor = stream.cursor().cloned();
        drop(stream);
        std::thread::sleep(Duration::from_millis(3));
        times += 1;
    }
}

/// Reads many streams in turn until all have ended.
pub fn sweep(streams: Vec<(AgentEventStream, Count)>) -> Vec<(Tally, Count)> {
    let mut open: Vec<_> = streams
        .into_iter()
        .map(|(stream, count)| (stream, Tally::new(), count))
        .collect();
    let mut closed = Vec::new();
    while !open.is_empty() {
        let mut given = 0;
        let mut still_open = Vec::with_capacity(open.len());
        for (mut stream, mut seen, count) in open {
            for frame in stream.by_ref() {
                seen.frame(&frame);
                given += 1;
            }
            if stream.end().is_some() {
                rest(&stream, &mut seen);
                closed.push((seen, count));
            } else {
                still_open.push((stream, seen, count));
            }
        }
        open = still_open;
        if given == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    closed
}
