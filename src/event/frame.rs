//! Frames: what is published and what a subscription delivers, and their text for a log.

use super::cursor::{ArchiveCursor, EventCursor, EventStreamScope};
use super::gap::EventOverflowNotice;
use super::id::{AgentId, RunId};
use super::kind::EventKind;
use super::shared::SharedEvent;
use std::fmt::{self, Write};

/// An event with its position, and a notice if frames before it were lost.
///
/// As text it is one line for a log: sequence number, run, kind, the summary if it may be seen, and
/// what was lost before it.
///
/// ```
/// # use framebus::*;
/// let bus = InMemoryAgentEventBus::default();
/// let envelope = EventEnvelope::new("run-1", "planner", EventKind::ToolFailed);
/// bus.publish(AgentEvent::with_redacted_summary(envelope, "no such file").into())?;
/// let frame = bus.subscribe_all(None)?.next().unwrap();
/// assert_eq!((frame.sequence(), frame.run_id().as_str()), (1, "run-1"));
/// assert!(frame.kind().is_terminal());
/// assert_eq!(frame.to_string(), "1 run-1 ToolFailed: no such file");
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventFrame {
    /// The event.
    pub event: SharedEvent,
    /// The position after it, for the scope that was asked for.
    pub cursor: EventCursor,
    /// Its position in an archive, if it comes from one.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub archive_cursor: Option<ArchiveCursor>,
    /// What the subscription lost before it; for a summary, also what it stands for.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub overflow: Option<Box<EventOverflowNotice>>,
}

impl EventFrame {
    /// A frame of this event, for the scope of everything.
    pub fn new(event: impl Into<SharedEvent>) -> Self {
        let event = event.into();
        let cursor = event.envelope.cursor(EventStreamScope::All);
        EventFrame {
            event,
            cursor,
            archive_cursor: None,
            overflow: None,
        }
    }

    /// Returns the kind of its event.
    pub fn kind(&self) -> EventKind {
        self.event.envelope.event_kind
    }

    /// Returns the run that it belongs to.
    pub fn run_id(&self) -> &RunId {
        &self.event.envelope.run_id
    }

    /// Returns the agent that it belongs to.
    pub fn agent_id(&self) -> &AgentId {
        &self.event.envelope.agent_id
    }

    /// Returns its sequence number in its bus, from 1; 0 before it is published.
    pub fn sequence(&self) -> u64 {
        self.event.envelope.event_seq
    }
}

impl<E: Into<SharedEvent>> From<E> for EventFrame {
    fn from(event: E) -> Self {
        EventFrame::new(event)
    }
}

impl fmt::Display for EventFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run_id = OneLine(self.run_id().as_str());
        write!(f, "{} {run_id} {}", self.sequence(), self.kind())?;
        if let Some(summary) = self.event.redacted_summary() {
            write!(f, ": {}", OneLine(summary))?;
        }
        match &self.overflow {
            Some(notice) => write!(f, " [before it: {notice}]"),
            None => Ok(()),
        }
    }
}

/// Writes text from outside on one line: characters that would end the line, change its direction
/// or control a terminal are escaped.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(f, "{}", c.escape_unicode())
            }
            _ if c.is_control() => write!(f, "{}", c.escape_default()),
            _ => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AgentEvent, EventEnvelope, PayloadAccessMode};

    fn frame(run: &str, summary: &str) -> EventFrame {
        let envelope = EventEnvelope::new(run, "a", EventKind::ToolFailed);
        AgentEvent::with_redacted_summary(envelope, summary).into()
    }

    #[test]
    fn a_frame_is_one_line_whatever_is_in_it() {
        let frame = frame("r\n2", "Grüße 🦀\r\n\u{1b}[2J\u{202e}\u{2028}.");
        assert_eq!(
            frame.to_string(),
            r"0 r\n2 ToolFailed: Grüße 🦀\r\n\u{1b}[2J\u{202e}\u{2028}."
        );
    }

    #[test]
    fn a_line_hides_a_summary_that_may_not_be_seen() {
        let frame = frame("r", "for some");
        let event = frame.event.restrict(PayloadAccessMode::EnvelopeOnly);
        assert_eq!(EventFrame::new(event).to_string(), "0 r ToolFailed");
    }

    #[test]
    fn a_frame_is_small() {
        assert!(size_of::<EventFrame>() <= 96, "{}", size_of::<EventFrame>());
    }
}
