//! Threads without a runtime: one prints every frame of a run, one waits for terminal frames alone.
//!
//! `cargo run --example blocking`

use framebus::*;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), AgentError> {
    let bus = InMemoryAgentEventBus::default();
    let complete = SubscriptionOptions::complete();
    let mut run = bus.subscribe_run_with_options("run-1".into(), None, complete)?;
    let ends = EventFilter::terminal_run_events().compile()?;
    let mut ends = bus.subscribe_filtered(ends, None)?;

    let screen = thread::spawn(move || {
        loop {
            match run.recv_timeout(Duration::from_millis(50)) {
                Ok(frame) => println!("screen: {frame}"),
                Err(RecvError::Timeout) => println!("screen: nothing for 50 ms"),
                Err(ended) => return println!("screen: {ended}"),
            }
        }
    });
    // Sleeps until there is a terminal frame; the others don't wake it.
    let orchestrator = thread::spawn(move || {
        while let Ok(frame) = ends.recv() {
            println!("orchestrator: {} is {}", frame.run_id(), frame.kind());
        }
    });

    for kind in [
        EventKind::RunStarted,
        EventKind::ToolStarted,
        EventKind::ToolCompleted,
        EventKind::RunCompleted,
    ] {
        let envelope = EventEnvelope::new("run-1", "planner", kind);
        bus.publish(AgentEvent::envelope_only(envelope).into())?;
        thread::sleep(Duration::from_millis(80));
    }
    // The last handle: streams end once they are drained.
    drop(bus);
    screen.join().expect("the screen does not panic");
    orchestrator
        .join()
        .expect("the orchestrator does not panic");
    Ok(())
}

#[test]
fn runs() -> Result<(), AgentError> {
    main()
}
