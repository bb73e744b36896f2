//! Streams that read from elsewhere than a bus: an archive on disk, a host's own store.

use super::batch::Lender;
use super::end::StreamEnd;
use crate::event::{AgentError, EventFrame, EventOverflowNotice};
use std::fmt::Debug;

/// Where a stream reads frames that no bus holds. [`AgentEventStream::from_source`] makes a stream
/// of one.
///
/// [`AgentEventStream::from_source`]: crate::AgentEventStream::from_source
pub trait FrameSource: Debug + Send + Sync {
    /// The next frame; `None` at the end, after which it is not asked again.
    ///
    /// # Errors
    /// If it can't be read. The stream ends with [`StreamEnd::SourceFailed`] then.
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError>;

    /// What is missing before the next frame, if that is known before it comes.
    fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        None
    }

    /// An independent source at the same place.
    fn boxed_clone(&self) -> Box<dyn FrameSource>;
}

/// A source that is being read, and how that ended.
#[derive(Debug)]
pub(super) struct Reading {
    source: Box<dyn FrameSource>,
    /// A frame that came from it and was taken back.
    returned: Option<EventFrame>,
    end: Option<StreamEnd>,
}

impl Lender for Reading {
    fn next(&mut self) -> Option<EventFrame> {
        Reading::next(self)
    }

    fn take_back(&mut self, frame: EventFrame) {
        self.returned = Some(frame);
    }
}

impl Reading {
    pub(super) fn new(source: Box<dyn FrameSource>) -> Self {
        Reading {
            source,
            returned: None,
            end: None,
        }
    }

    pub(super) fn next(&mut self) -> Option<EventFrame> {
        if let Some(frame) = self.returned.take() {
            return Some(frame);
        }
        if self.end.is_some() {
            return None;
        }
        let next = self.source.next();
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.end = Some(StreamEnd::ListEnded),
            Err(error) => self.end = Some(StreamEnd::SourceFailed(error.clone())),
        }
        next.ok().flatten()
    }

    pub(super) fn end(&self) -> Option<&StreamEnd> {
        self.end.as_ref()
    }

    pub(super) fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        self.source.pending_overflow()
    }
}

impl Clone for Reading {
    fn clone(&self) -> Self {
        Reading {
            source: self.source.boxed_clone(),
            returned: self.returned.clone(),
            end: self.end.clone(),
        }
    }
}
