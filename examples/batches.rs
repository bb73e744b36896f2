//! Frames by the thousand: published in batches, and lent to a reader in batches without copying.
//!
//! `cargo run --release --example batches`

use framebus::*;
use std::ops::ControlFlow;
use std::thread;
use std::time::Instant;

const BATCHES: u64 = 1_000;
const FRAMES: u64 = 100;

fn main() -> Result<(), AgentError> {
    let bus = InMemoryAgentEventBus::default();
    let mut meter = bus.subscribe_all_with_options(None, SubscriptionOptions::complete())?;
    let publisher = thread::spawn(move || -> Result<(), AgentError> {
        let (run, agent) = (RunId::new("run-1"), AgentId::new("planner"));
        for _ in 0..BATCHES {
            // Consecutive sequence numbers, all of them or none.
            bus.publish_all((0..FRAMES).map(|_| {
                let delta = EventEnvelope::new(&run, &agent, EventKind::ModelStreamDelta);
                EventFrame::new(AgentEvent::with_redacted_summary(delta, "a few words"))
            }))?;
        }
        Ok(())
    });

    let begin = Instant::now();
    let (mut frames, mut lost) = (0, 0);
    loop {
        let lent = meter.read_batch(|item| {
            match item {
                BatchItem::Frame(_) => frames += 1,
                BatchItem::Gap(notice) => lost += notice.dropped_count,
            }
            ControlFlow::Continue(())
        });
        if lent == 0 {
            // Nothing is there now: sleep until there is a frame, or the end.
            let Ok(frame) = meter.recv() else { break };
            frames += 1;
            lost += frame.overflow.map_or(0, |notice| notice.dropped_count);
        }
    }
    publisher.join().expect("the publisher does not panic")?;
    println!(
        "{frames} frames read, {lost} lost, in {:?}",
        begin.elapsed()
    );
    assert_eq!(frames + lost, BATCHES * FRAMES, "delivered and told");
    Ok(())
}

#[test]
fn runs() -> Result<(), AgentError> {
    main()
}
