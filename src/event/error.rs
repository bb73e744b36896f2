//! The one error type of the bus.

use std::borrow::Cow;
use std::fmt;

/// What went wrong, to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AgentErrorKind {
    /// A call against the contract of what it was made on.
    ContractViolation,
    /// A cursor of another scope.
    CursorScopeMismatch,
    /// A cursor of another bus.
    CursorForeignEpoch,
    /// A cursor of a frame that was not published yet.
    CursorAhead,
    /// A cursor that does not belong to this archive, or lies beyond its end.
    ArchiveCursor,
    /// An archive that could not be opened, read or written.
    ArchiveUnavailable,
    /// The archive's disk is full. What was stored before is whole.
    ArchiveFull,
    /// The archive is open for writing elsewhere.
    ArchiveInUse,
    /// The archive's folder can't be written to, or the archive was opened for reading only.
    ArchiveReadOnly,
    /// The archive's files do not hold what was written to them.
    ArchiveDamaged,
    /// The folder holds an archive of a later version, or files that are no archive.
    ArchiveVersion,
    /// A frame whose sequence number is not above those that the archive has of its bus.
    ArchiveOrder,
    /// An overflow policy that a live subscription can't have.
    InvalidOverflowPolicy,
    /// A filter that can't match, or is too large.
    InvalidFilter,
    /// A batch that is larger than the ring that it would go into.
    BatchTooLarge,
    /// Every slot is held by a suspended reader or publisher. Nothing of the frame was stored or
    /// published.
    RingStuck,
    /// A journal has stored the frames, and publishes them as soon as the rings take them. Do not
    /// publish them again.
    NotYetPublished,
    /// All sequence numbers are used up.
    SequenceExhausted,
    /// More subscriptions than the bus can hold.
    TooManySubscriptions,
    /// More labels for figures than the host allowed.
    TooManyLabels,
    /// A name that is not in the vocabulary.
    UnknownName,
    /// A value of the wrong form, or out of its bounds.
    InvalidValue,
}

/// An error of the bus: a [kind](AgentErrorKind) and a message that says what to do.
///
/// ```
/// # use framebus::{AgentError, AgentErrorKind};
/// let error = AgentError::contract_violation("a run has one agent");
/// assert_eq!(error.kind(), AgentErrorKind::ContractViolation);
/// assert_eq!(error.to_string(), "contract violation: a run has one agent");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{prefix}{message}", prefix = Prefix(*kind))]
pub struct AgentError {
    kind: AgentErrorKind,
    message: Box<str>,
}

/// What an error of a kind begins with.
struct Prefix(AgentErrorKind);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            AgentErrorKind::ContractViolation => "contract violation: ",
            AgentErrorKind::CursorScopeMismatch => "cursor scope mismatch: ",
            AgentErrorKind::CursorForeignEpoch => "cursor of another bus: ",
            AgentErrorKind::CursorAhead => "cursor ahead of the bus: ",
            AgentErrorKind::InvalidOverflowPolicy => "InvalidOverflowPolicy: ",
            AgentErrorKind::InvalidFilter => "invalid filter: ",
            _ => "",
        })
    }
}

/// The most characters of a refused text that an error shows.
const SHOWN: usize = 80;

impl AgentError {
    /// An error of this kind, with a message that says what to do.
    pub fn new(kind: AgentErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        AgentError {
            kind,
            message: message.into().into_owned().into_boxed_str(),
        }
    }

    /// An error of the kind [`AgentErrorKind::ContractViolation`].
    pub fn contract_violation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(AgentErrorKind::ContractViolation, message)
    }

    /// The error for a text that is not `what`, which looks like `form`.
    pub(super) fn malformed(text: &str, what: &str, form: &str) -> Self {
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        let message = format!("{shown:?}{more} is not {what}; expected {form}");
        Self::new(AgentErrorKind::InvalidValue, message)
    }

    /// Returns the kind.
    pub fn kind(&self) -> AgentErrorKind {
        self.kind
    }

    /// Returns the message, without the kind's prefix.
    pub fn message(&self) -> &str {
        &self.message
    }
}
