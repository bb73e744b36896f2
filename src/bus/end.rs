//! Why a stream gives nothing: for good, or for now.

use crate::event::{AgentError, EventCursor, EventOverflowNotice};

/// How a stream ended: nothing comes any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The last handle of the bus is gone, and the stream drained.
    BusClosed,
    /// The list, or the part of an archive, that the stream was made from is used up.
    ListEnded,
    /// What the stream reads, such as an archive, could not be read further.
    SourceFailed(AgentError),
    /// The policy [`FailSubscriber`](crate::SubscriberOverflowPolicy::FailSubscriber) ended it.
    Failed {
        /// Where to resume.
        resume_from: EventCursor,
        /// What was lost by then. Its last word on terminal frames may come later.
        notice: Box<EventOverflowNotice>,
    },
}

/// Why [`AgentEventStream::recv`](super::AgentEventStream::recv) gave no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The stream ended.
    #[error("the stream ended: {0:?}")]
    Ended(StreamEnd),
    /// No frame came in time.
    #[error("no frame came in time")]
    Timeout,
    /// The thread could not be put to sleep.
    #[error(transparent)]
    Refused(AgentError),
}
