//! Streams that read from elsewhere than a bus: an archive on disk, a host's own store.

use super::batch::Lender;
use super::end::StreamEnd;
use crate::event::{AgentError, EventFrame, EventOverflowNotice};
use std::fmt::Debug;

/// A source of frames that no bus holds. [`AgentEventStream::from_source`] makes a stream of one.
///
/// [`AgentEventStream::from_source`]: crate::AgentEventStream::from_source
pub trait FrameSource: Debug + Send + Sync {
    /// Returns the next frame; `None` at the end, after which it is not called again.
    ///
    /// # Errors
    /// If the frame can't be read. The stream ends with [`StreamEnd::SourceFailed`] then.
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError>;

    /// Returns the notice of what is missing before the next frame, if that is known before the
    /// frame comes. The default knows of nothing.
    fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        None
    }

    /// Returns why some of the frames so far could not be read, if reading went on after them and
    /// notices reported them. A stream that comes to its end with such an error ends with
    /// [`StreamEnd::SourceDamaged`]. The default knows of none.
    fn damage(&self) -> Option<&AgentError> {
        None
    }

    /// Returns an independent source at the same position.
    fn boxed_clone(&self) -> Box<dyn FrameSource>;
}

/// A source that a stream reads.
#[derive(Debug)]
pub(super) struct Reading {
    source: Box<dyn FrameSource>,
    /// A frame that was taken back. It comes next.
    returned: Option<EventFrame>,
    /// How reading ended. Set once.
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
            Ok(None) => {
                let damage = self.source.damage().cloned();
                self.end = Some(damage.map_or(StreamEnd::ListEnded, StreamEnd::SourceDamaged));
            }
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

    /// Returns why some of the frames so far could not be read.
    pub(super) fn damage(&self) -> Option<&AgentError> {
        self.source.damage()
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
