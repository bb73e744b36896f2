//! What frames, ends, errors and counts say to people: sentences, none through `Debug`.

mod common;

use common::{delta, end, options, start};
use framebus::*;
use std::time::Duration;

#[test]
fn a_line_shows_what_was_lost_before_its_frame() {
    let bus = InMemoryAgentEventBus::default();
    let policy = SubscriberOverflowPolicy::DropNonTerminal;
    let mut stream = bus
        .subscribe_all_with_options(None, options(2, 1, policy))
        .unwrap();
    bus.publish_all([start("r"), delta("r"), delta("r"), end("r")])
        .unwrap();
    let lines: Vec<_> = stream.by_ref().map(|frame| frame.to_string()).collect();
    assert_eq!(lines[0], "1 r RunStarted");
    assert!(
        lines[1].starts_with("4 r RunCompleted [before it: 2 frames lost"),
        "{lines:?}"
    );
}

#[test]
fn ends_read_as_sentences() {
    let bus = InMemoryAgentEventBus::default();
    let end_text = |stream: &mut AgentEventStream| {
        let error = stream.recv().unwrap_err();
        let end = stream.end().expect("the stream ended").to_string();
        assert_eq!(error.to_string(), format!("the stream ended: {end}"));
        end
    };
    let policy = SubscriberOverflowPolicy::FailSubscriber;
    let mut failing = bus
        .subscribe_all_with_options(None, options(2, 1, policy))
        .unwrap();
    bus.publish_all([start("r"), start("r"), start("r")])
        .unwrap();
    let read = failing.by_ref().last().expect("a frame before the end");
    let text = end_text(&mut failing);
    let resume_from = text.rsplit(' ').next().unwrap();
    assert!(
        text.contains("FailSubscriber") && text.contains("resume from"),
        "{text}"
    );
    assert_eq!(resume_from.parse::<EventCursor>().unwrap(), read.cursor);

    let mut stream = bus.subscribe_run("quiet".into(), None).unwrap();
    let timeout = stream.recv_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(timeout.to_string(), "no frame came in time");
    drop(bus);
    assert_eq!(end_text(&mut stream), "the bus is closed");
    assert_eq!(
        end_text(&mut AgentEventStream::new([])),
        "its frames are used up"
    );
    assert_eq!(
        end_text(&mut AgentEventStream::from_source(Broken)),
        "its source can't be read: the disk is gone"
    );
}

#[test]
fn counts_read_as_their_sum_and_its_parts() {
    let mut counts = [0; EventOverflowReason::ALL.len()];
    assert_eq!(DropCounts::from(counts).to_string(), "0");
    counts[EventOverflowReason::SubscriberLagged as usize] = 30;
    assert_eq!(
        DropCounts::from(counts).to_string(),
        "30 (subscriber_lagged 30)"
    );
    counts[EventOverflowReason::PolicyDroppedProgress as usize] = 7;
    assert_eq!(
        DropCounts::from(counts).to_string(),
        "37 (subscriber_lagged 30, policy_dropped_progress 7)"
    );
}

#[test]
fn an_error_begins_with_its_kind() {
    use AgentErrorKind as Kind;
    for (kind, text) in [
        (Kind::ContractViolation, "contract violation: so"),
        (Kind::CursorScopeMismatch, "cursor scope mismatch: so"),
        (Kind::CursorForeignEpoch, "cursor of another bus: so"),
        (Kind::CursorAhead, "cursor ahead of the bus: so"),
        (Kind::InvalidOverflowPolicy, "InvalidOverflowPolicy: so"),
        (Kind::InvalidFilter, "invalid filter: so"),
        (Kind::ArchiveFull, "so"),
    ] {
        assert_eq!(AgentError::new(kind, "so").to_string(), text);
    }
}

#[test]
fn an_error_truncates_a_long_text() {
    let shown = |text: &str| text.parse::<EventCursor>().unwrap_err().to_string();
    assert!(shown("seventeen").starts_with("\"seventeen\" is not "));
    let whole = "x".repeat(80);
    assert!(shown(&whole).starts_with(&format!("\"{whole}\" is not ")));
    assert!(shown(&format!("{whole}y")).starts_with(&format!("\"{whole}\"... is not ")));
}

#[test]
fn scopes_read_as_their_names() {
    let filter = EventFilter::run("r").compile().unwrap();
    let named = format!("filter {}", filter.filter_id());
    for (scope, text) in [
        (EventStreamScope::All, "all"),
        (EventStreamScope::Run("r".into()), "run r"),
        (EventStreamScope::Agent("a".into()), "agent a"),
        (filter.cursor_scope(), &*named),
    ] {
        assert_eq!(scope.to_string(), text);
    }
}

/// A source that can't be read.
#[derive(Debug)]
struct Broken;

impl FrameSource for Broken {
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        let kind = AgentErrorKind::ArchiveUnavailable;
        Err(AgentError::new(kind, "the disk is gone"))
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(Broken)
    }
}
