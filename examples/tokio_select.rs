//! A run followed in a task: frames beside a timer, then why the stream ended and where to resume.
//!
//! `cargo run --example tokio_select`

use framebus::*;
use futures_util::StreamExt;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AgentError> {
    let bus = InMemoryAgentEventBus::default();
    let complete = SubscriptionOptions::complete();
    let stream = bus.subscribe_run_with_options("run-1".into(), None, complete)?;
    let mut frames = stream.into_stream();
    let agent = tokio::spawn(run(bus));
    loop {
        tokio::select! {
            frame = frames.next() => match frame {
                Some(frame) => println!("{frame}"),
                None => break,
            },
            () = tokio::time::sleep(Duration::from_secs(5)) => println!("nothing for five seconds"),
        }
    }
    if let Some(end) = frames.get_mut().end() {
        println!("{end}");
    }
    if let Some(cursor) = frames.get_ref().cursor() {
        println!("resume after {cursor}");
    }
    agent.await.expect("the agent does not panic")
}

/// What an agent does: it starts, says something, and is done. Then it drops the bus.
async fn run(bus: InMemoryAgentEventBus) -> Result<(), AgentError> {
    let envelope = |kind| EventEnvelope::new("run-1", "planner", kind);
    bus.publish(AgentEvent::envelope_only(envelope(EventKind::RunStarted)).into())?;
    for word in ["Reading", "the", "tests", "first."] {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let delta = envelope(EventKind::ModelStreamDelta);
        bus.publish(AgentEvent::with_redacted_summary(delta, word).into())?;
    }
    bus.publish(AgentEvent::envelope_only(envelope(EventKind::RunCompleted)).into())
}

#[test]
fn runs() -> Result<(), AgentError> {
    main()
}
