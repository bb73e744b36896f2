//! Reading a stream so that one which is not complete can't be taken for one that is.

use super::end::StreamEnd;
use super::stream::AgentEventStream;
use crate::event::{AgentError, EventFrame};

impl AgentEventStream {
    /// Returns the next frame, or why there is not a further one although there should be.
    /// `Ok(None)` says of a replay that it is complete, and of a live stream that it is caught up.
    ///
    /// Read what must not be taken for complete by mistake with this or with
    /// [`try_frames`](Self::try_frames): as a plain iterator, a replay that failed ends like one
    /// that came to its end, and only [`end`](Self::end) tells the two apart.
    ///
    /// # Errors
    /// After the last frame that can be read, and at each call from then on: the error of
    /// [`StreamEnd::SourceFailed`] or [`StreamEnd::SourceDamaged`].
    pub fn try_next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        if let Some(frame) = self.next() {
            return Ok(Some(frame));
        }
        match self.end() {
            Some(StreamEnd::SourceFailed(error) | StreamEnd::SourceDamaged(error)) => Err(error),
            _ => Ok(None),
        }
    }

    /// Returns the frames as results: as [`try_next`](Self::try_next) gives them, with an error as
    /// the last item if the stream is not complete.
    ///
    /// ```
    /// use framebus::*;
    ///
    /// # let archive = InMemoryEventArchive::new("archive-1");
    /// let filter = EventFilter::terminal_run_events().compile()?;
    /// let mut replay = archive.replay_filtered_from_cursor(filter, archive.start())?;
    /// for frame in replay.try_frames() {
    ///     println!("{}", frame?);
    /// }
    /// println!("these were all of them");
    /// # Ok::<(), AgentError>(())
    /// ```
    pub fn try_frames(&mut self) -> TryFrames<'_> {
        TryFrames {
            stream: self,
            failed: false,
        }
    }
}

/// The frames of a stream as results; see [`AgentEventStream::try_frames`].
#[derive(Debug)]
#[must_use = "an iterator gives nothing unless it is read"]
pub struct TryFrames<'a> {
    stream: &'a mut AgentEventStream,
    /// Whether the error was given. Set once.
    failed: bool,
}

impl Iterator for TryFrames<'_> {
    type Item = Result<EventFrame, AgentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.stream.try_next();
        self.failed = next.is_err();
        next.transpose()
    }
}
