//! Positions: in a bus, in an archive, and what a position is for.

use super::id::{AgentId, ArchiveId, EventFilterId, JournalCursor, RunId};
use std::fmt;

/// Eight bytes that JSON shows as 16 hexadecimal digits: a number that no reader may round.
macro_rules! hex_word {
    ($(#[$doc:meta])* $name:ident) => {
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
                let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                match u64::from_str_radix(&text, 16) {
                    Ok(bits) if digits => Ok($name(bits)),
                    _ => Err(D::Error::custom("expected 16 hexadecimal digits")),
                }
            }
        }
    };
}

hex_word! {
    /// Which bus a sequence number counts in: new for each bus, unless it was reopened from an
    /// archive. 0 for none.
    BusEpoch
}

hex_word! {
    /// What a filter asks for, as a number: equal for equal criteria in every process.
    FilterFingerprint
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

/// A position in an archive: after the frame at `position`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ArchiveCursor {
    /// The archive.
    pub archive_id: ArchiveId,
    /// The position in it; 0 for before the first frame.
    pub position: u64,
}
