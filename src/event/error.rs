//! The one error type of the bus.

use std::borrow::Cow;
use std::fmt;

/// What went wrong, to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AgentErrorKind {
    /// Something was used against its contract.
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
    /// The archive's folder, or its opening, lets nothing be written.
    ArchiveReadOnly,
    /// What the archive's files hold is not what was written.
    ArchiveDamaged,
    /// The folder's archive is of a later version, or no archive.
    ArchiveVersion,
    /// A frame whose number is not above those that the archive has of its bus.
    ArchiveOrder,
    /// An overflow policy that a live subscription can't have.
    InvalidOverflowPolicy,
    /// A filter that can't match, or is too large.
    InvalidFilter,
    /// A batch that is larger than the ring it would go into.
    BatchTooLarge,
    /// All ring space is held by readers or writers that don't move. Nothing of the frame was
    /// stored or shown.
    RingStuck,
    /// A journal has stored the frames, and shows them as soon as the rings take them. Do not
    /// publish them again.
    NotYetShown,
    /// The sequence is used up.
    SequenceExhausted,
    /// More subscriptions than the bus can hold.
    TooManySubscriptions,
    /// More labels for figures than the host allowed.
    TooManyLabels,
    /// A name that is not in the vocabulary.
    UnknownName,
    /// A value that does not have the form that it must have.
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

impl AgentError {
    /// An error of this kind.
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

    /// The kind.
    pub fn kind(&self) -> AgentErrorKind {
        self.kind
    }

    /// The message, without the kind's prefix.
    pub fn message(&self) -> &str {
        &self.message
    }
}
