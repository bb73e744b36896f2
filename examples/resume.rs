//! A reader that leaves and comes back: it saves its cursor as text, and goes on strictly after it.
//!
//! `cargo run --example resume`

use framebus::*;
use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    let bus = InMemoryAgentEventBus::default();
    let saved = std::env::temp_dir().join(format!("framebus-cursor-{}", std::process::id()));
    let say = |text| {
        let delta = EventEnvelope::new("run-1", "planner", EventKind::ModelStreamDelta);
        bus.publish(AgentEvent::with_redacted_summary(delta, text).into())
    };

    say("one")?;
    say("two")?;
    let mut first = bus.subscribe_run("run-1".into(), None)?;
    println!("first visit");
    for frame in first.by_ref() {
        println!("  {frame}");
    }
    if let Some(cursor) = first.cursor() {
        println!("saved {cursor}");
        fs::write(&saved, cursor.to_string())?;
    }
    drop(first);

    say("three")?;
    say("four")?;
    let cursor: EventCursor = fs::read_to_string(&saved)?.parse()?;
    fs::remove_file(&saved)?;
    let second = bus.subscribe_run("run-1".into(), Some(cursor.clone()))?;
    println!("second visit");
    let frames: Vec<EventFrame> = second.collect();
    for frame in &frames {
        println!("  {frame}");
    }
    assert_eq!(frames.len(), 2, "what was published meanwhile, once");

    // A cursor belongs to its bus and its scope. Elsewhere it is refused, not guessed at.
    for refused in [
        bus.subscribe_run("run-2".into(), Some(cursor.clone())),
        InMemoryAgentEventBus::default().subscribe_run("run-1".into(), Some(cursor)),
    ] {
        println!(
            "{}",
            refused.expect_err("the cursor is not this subscription's")
        );
    }
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
