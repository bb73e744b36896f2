//! A bus whose frames outlive it: the archive is its journal, and a new bus goes on where the last
//! one stopped, with the cursors of before.
//!
//! `cargo run --features archive --example archive_restart`

use framebus::archive::{Archive, ArchiveOptions, JournalOptions, JournaledBus};
use framebus::*;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;

    // One life of the program. A frame is on disk before a subscriber sees it.
    let bus = open(folder.path())?;
    let mut stream = bus.subscribe_run("run-1".into(), None)?;
    say(&bus, EventKind::RunStarted, "look at the tests")?;
    say(&bus, EventKind::ToolCompleted, "3 files read")?;
    println!("before: {}", stream.recv()?);
    let cursor = stream.cursor().cloned();
    drop((stream, bus));

    // The next one. The rings are empty; what the stream missed comes from the archive.
    let bus = open(folder.path())?;
    let mut stream = bus.subscribe_run("run-1".into(), cursor)?;
    println!("after:  {}", stream.recv()?);
    say(&bus, EventKind::RunCompleted, "done")?;
    println!("after:  {}", stream.recv()?);

    // The whole run, from the archive.
    let archive = bus.archive();
    let run = EventFilter::run("run-1").compile()?;
    let mut replay = archive.replay_filtered_from_cursor(run, archive.start()?)?;
    let frames: Vec<EventFrame> = replay.try_frames().collect::<Result<_, _>>()?;
    let sequences: Vec<u64> = frames.iter().map(EventFrame::sequence).collect();
    println!("archive: {sequences:?}");
    assert_eq!(sequences, [1, 2, 3]);
    Ok(())
}

fn open(folder: &Path) -> Result<JournaledBus, AgentError> {
    let archive = Archive::open(folder, ArchiveOptions::default())?;
    let options = JournalOptions {
        repair: true,
        ..JournalOptions::default()
    };
    JournaledBus::open(archive, InMemoryAgentEventBus::builder(), options)
}

fn say(bus: &JournaledBus, kind: EventKind, text: &str) -> Result<(), AgentError> {
    let envelope = EventEnvelope::new("run-1", "planner", kind);
    bus.publish(AgentEvent::with_redacted_summary(envelope, text).into())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
