//! Positions in a bus and in an archive, and the scopes that they are positions of.

mod text;

use super::error::{AgentError, AgentErrorKind};
use super::gap::Position;
use super::hex::{BusEpoch, FilterFingerprint};
use super::id::{AgentId, ArchiveId, EventFilterId, JournalCursor, RunId};
use std::fmt;

/// Which frames a subscription reads. A cursor resumes a subscription of its own scope only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(tag = "kind", rename_all = "snake_case", from = "Wire", into = "Wire")
)]
pub enum EventStreamScope {
    /// Everything.
    All,
    /// One run.
    Run(RunId),
    /// One agent.
    Agent(AgentId),
    /// What a filter lets through.
    Filter {
        /// The filter's name.
        filter_id: EventFilterId,
        /// The hash of the filter's criteria.
        filter_fingerprint: FilterFingerprint,
    },
}

/// A scope's JSON: `{"kind":"run","run_id":"r1"}`.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Wire {
    All,
    Run {
        run_id: RunId,
    },
    Agent {
        agent_id: AgentId,
    },
    Filter {
        filter_id: EventFilterId,
        filter_fingerprint: FilterFingerprint,
    },
}

#[cfg(feature = "serde")]
impl From<Wire> for EventStreamScope {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::All => Self::All,
            Wire::Run { run_id } => Self::Run(run_id),
            Wire::Agent { agent_id } => Self::Agent(agent_id),
            Wire::Filter {
                filter_id,
                filter_fingerprint,
            } => Self::Filter {
                filter_id,
                filter_fingerprint,
            },
        }
    }
}

#[cfg(feature = "serde")]
impl From<EventStreamScope> for Wire {
    fn from(scope: EventStreamScope) -> Self {
        match scope {
            EventStreamScope::All => Self::All,
            EventStreamScope::Run(run_id) => Self::Run { run_id },
            EventStreamScope::Agent(agent_id) => Self::Agent { agent_id },
            EventStreamScope::Filter {
                filter_id,
                filter_fingerprint,
            } => Self::Filter {
                filter_id,
                filter_fingerprint,
            },
        }
    }
}

impl fmt::Display for EventStreamScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Run(id) => write!(f, "run {id}"),
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Filter { filter_id, .. } => write!(f, "filter {filter_id}"),
        }
    }
}

/// A position in a bus: after the frame with this sequence number, for one scope.
///
/// As text it is one word of ASCII, fit for a file, a header or a log:
/// `EPOCH-SCOPE-SEQUENCE`, with `@JOURNAL` if it has a journal cursor. The scope is `all`,
/// `run:ID`, `agent:ID` or a filter's fingerprint (`filter:ID:FINGERPRINT` if the filter's name is
/// another than that fingerprint gives); ids are percent-encoded. The web feed's `id:` is this text
/// without the journal's part. Reading anything else is an error of the kind
/// [`InvalidValue`](super::AgentErrorKind::InvalidValue) that names the expected form.
///
/// ```
/// # use framebus::*;
/// let bus = InMemoryAgentEventBus::default();
/// bus.emit("run-1", "planner", EventKind::RunStarted)?;
/// let mut stream = bus.subscribe_run("run-1".into(), None)?;
/// let text = stream.next().unwrap().cursor.to_string();
/// assert!(text.ends_with("-run:run-1-1"));
/// let cursor: EventCursor = text.parse()?;
/// assert_eq!(Some(&cursor), stream.cursor());
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventCursor {
    /// The scope that it resumes.
    pub scope: EventStreamScope,
    /// The frame's sequence number; 0 before the first frame.
    pub event_seq: u64,
    /// The bus that the sequence number counts in.
    #[cfg_attr(feature = "serde", serde(default))]
    pub bus_epoch: BusEpoch,
    /// The frame's position in the host's journal, if it has one.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub journal_cursor: Option<JournalCursor>,
}

impl Position for EventCursor {
    type Journal = JournalCursor;

    #[inline]
    fn sequence(&self) -> u64 {
        self.event_seq
    }

    #[inline]
    fn journal(&self) -> Option<&JournalCursor> {
        self.journal_cursor.as_ref()
    }

    #[inline]
    fn move_to(&mut self, sequence: u64, journal: Option<&JournalCursor>) {
        self.event_seq = sequence;
        // Most often there is none, and nothing has to be written.
        if journal.is_some() || self.journal_cursor.is_some() {
            self.journal_cursor = journal.cloned();
        }
    }

    fn at(&self, sequence: u64, journal: Option<&JournalCursor>) -> Self {
        EventCursor {
            scope: self.scope.clone(),
            event_seq: sequence,
            bus_epoch: self.bus_epoch,
            journal_cursor: journal.cloned(),
        }
    }
}

/// A position in an archive: after the frame at `position`. In text, `ARCHIVE:POSITION`.
///
/// ```
/// # use framebus::ArchiveCursor;
/// let cursor: ArchiveCursor = "archive-1:17".parse()?;
/// assert_eq!((cursor.archive_id.as_str(), cursor.position), ("archive-1", 17));
/// # Ok::<(), framebus::AgentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ArchiveCursor {
    /// The archive that the position is in.
    pub archive_id: ArchiveId,
    /// The frame's position in the archive, from 1; 0 before the first frame.
    pub position: u64,
}

impl ArchiveCursor {
    /// Refuses a cursor that is not of the archive `archive`, or beyond its last position `end`.
    pub(crate) fn check(&self, archive: &ArchiveId, end: u64) -> Result<(), AgentError> {
        let refused = |message| Err(AgentError::new(AgentErrorKind::ArchiveCursor, message));
        if self.archive_id != *archive {
            return refused(format!(
                "the cursor is of archive {}, this is {archive}; start from this archive's own",
                self.archive_id
            ));
        }
        if self.position > end {
            return refused(format!(
                "the cursor is at {}, the archive ends at {end}; start from a position that it gave",
                self.position
            ));
        }
        Ok(())
    }
}
