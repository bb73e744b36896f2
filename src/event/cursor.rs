//! Positions: in a bus, in an archive, and what a position is for.

mod text;

pub(super) use text::filter_id;

use super::error::AgentError;
use super::id::{AgentId, ArchiveId, EventFilterId, JournalCursor, RunId};
use std::fmt;
use std::str::FromStr;

/// Eight bytes that JSON shows as 16 hexadecimal digits: a number that no reader may round.
macro_rules! hex_word {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            /// From its bits.
            pub const fn from_bits(bits: u64) -> Self {
                $name(bits)
            }

            /// Its bits.
            pub const fn bits(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = AgentError;

            /// Reads 16 hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, AgentError> {
                let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                match u64::from_str_radix(text, 16) {
                    Ok(bits) if digits => Ok($name(bits)),
                    _ => Err(text::malformed(text, $what, "16 hexadecimal digits")),
                }
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

hex_word! {
    /// Which bus a sequence number counts in: new for each bus, unless it was reopened from an
    /// archive. 0 for none.
    BusEpoch, "the epoch of a bus"
}

hex_word! {
    /// What a filter asks for, as a number: equal for equal criteria in every process.
    FilterFingerprint, "the fingerprint of a filter"
}

/// What a subscription is for, and so what its cursors resume.
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
        /// The filter's criteria, as a number.
        filter_fingerprint: FilterFingerprint,
    },
}

/// A scope in JSON: `{"kind":"run","run_id":"r1"}`.
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
/// As text it is one word of ASCII that holds all of it, fit for a file, a header or a log:
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
    /// What it resumes.
    pub scope: EventStreamScope,
    /// The frame's sequence number; 0 for before the first.
    pub event_seq: u64,
    /// The bus that the number counts in.
    #[cfg_attr(feature = "serde", serde(default))]
    pub bus_epoch: BusEpoch,
    /// Where the frame is in the host's journal.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub journal_cursor: Option<JournalCursor>,
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
    /// The archive.
    pub archive_id: ArchiveId,
    /// The position in it; 0 for before the first frame.
    pub position: u64,
}
