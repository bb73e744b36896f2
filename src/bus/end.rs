//! Why a stream gives nothing: for good, or for now.

use crate::event::{AgentError, EventCursor, EventOverflowNotice};
use std::fmt;

/// How a stream ended. Nothing comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The last handle of the bus is gone, and the stream is drained.
    BusClosed,
    /// The list, or the part of an archive, that the stream was made from is used up.
    ListEnded,
    /// What the stream reads, such as an archive, could not be read further.
    SourceFailed(AgentError),
    /// What the stream reads, such as an archive, is damaged in places. All else was given, and
    /// notices reported what is missing.
    SourceDamaged(AgentError),
    /// The policy [`FailSubscriber`](crate::SubscriberOverflowPolicy::FailSubscriber) ended it.
    Failed {
        /// The position to resume from.
        resume_from: EventCursor,
        /// What was lost by then. Its `terminal_preserved` may still become false, when a terminal
        /// frame is found after the failure.
        notice: Box<EventOverflowNotice>,
    },
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamEnd::BusClosed => f.write_str("the bus is closed"),
            StreamEnd::ListEnded => f.write_str("its frames are used up"),
            StreamEnd::SourceFailed(error) => write!(f, "its source can't be read: {error}"),
            StreamEnd::SourceDamaged(error) => {
                write!(f, "its source can't be read in places: {error}")
            }
            StreamEnd::Failed {
                resume_from,
                notice,
            } => write!(
                f,
                "its policy FailSubscriber ended it: {notice}; resume from the cursor {resume_from}"
            ),
        }
    }
}

/// Why [`AgentEventStream::recv`](super::AgentEventStream::recv) gave no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The stream ended.
    #[error("the stream ended: {0}")]
    Ended(StreamEnd),
    /// No frame came in time.
    #[error("no frame came in time")]
    Timeout,
    /// The thread could not be put to sleep.
    #[error(transparent)]
    Refused(AgentError),
}
