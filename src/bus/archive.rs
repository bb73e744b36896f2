//! Archives: published frames, kept to be read again.

use super::stream::AgentEventStream;
use crate::event::{
    AgentError, ArchiveCursor, ArchiveId, BusEpoch, CompiledEventFilter, EventDeliverySemantics,
    EventFrame, SharedEvent,
};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Waker;

/// Reads archived frames.
pub trait EventArchive: Send + Sync {
    /// Returns the archived frames after `cursor` that the filter lets through, in order, as
    /// [`EventDeliverySemantics::DerivedReplay`], each with its position in the archive and with
    /// what the filter's payload access allows.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveCursor`] for a cursor of another archive, or beyond the end.
    ///
    /// [`AgentErrorKind::ArchiveCursor`]: crate::event::AgentErrorKind::ArchiveCursor
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError>;
}

/// An archive that finds the frames of a bus by their sequence numbers, and so can repair the gaps
/// of its streams: see [`AgentEventStream::repaired_by`].
pub trait RepairArchive: EventArchive {
    /// Returns the position before the first frame of this bus with this sequence number or a
    /// higher one; the archive's end if there is none.
    ///
    /// # Errors
    /// If the archive can't be read.
    fn before_sequence(&self, epoch: BusEpoch, sequence: u64) -> Result<ArchiveCursor, AgentError>;

    /// Returns the first unbroken range of these sequence numbers of which the archive has no
    /// frame; `None` if it has a frame for each.
    ///
    /// # Errors
    /// If the archive can't be read.
    fn next_hole(
        &self,
        epoch: BusEpoch,
        sequences: Range<u64>,
    ) -> Result<Option<Range<u64>>, AgentError>;

    /// Returns whether the archive has all that it will have of this bus up to this sequence
    /// number. If not, it wakes `waker` when that may have changed. It keeps the waker weakly, so
    /// that a reader which is gone costs nothing; it wakes and drops wakers with no lock held,
    /// since a waker may do anything.
    fn is_settled(&self, epoch: BusEpoch, sequence: u64, waker: Option<&Arc<Waker>>) -> bool;
}

/// An archive in memory, for tests and small hosts: keeps every frame that is appended, in that
/// order, and so grows without bound. Clones share it.
///
/// ```
/// use framebus::*;
///
/// let archive = InMemoryEventArchive::new("archive-1");
/// let envelope = EventEnvelope::new("run-1", "planner", EventKind::RunCompleted);
/// archive.append(EventFrame::new(AgentEvent::envelope_only(envelope)));
/// let filter = EventFilter::terminal_run_events().compile()?;
/// let mut replay = archive.replay_filtered_from_cursor(filter, archive.start())?;
/// let frame = replay.next().unwrap();
/// assert_eq!(frame.archive_cursor.unwrap().position, 1);
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct InMemoryEventArchive {
    id: ArchiveId,
    /// The frame at index `i` has the position `i + 1`.
    frames: Arc<RwLock<Vec<EventFrame>>>,
}

impl InMemoryEventArchive {
    /// An empty archive.
    pub fn new(id: impl Into<ArchiveId>) -> Self {
        InMemoryEventArchive {
            id: id.into(),
            frames: Arc::default(),
        }
    }

    /// Returns the position before the first frame.
    pub fn start(&self) -> ArchiveCursor {
        ArchiveCursor {
            archive_id: self.id.clone(),
            position: 0,
        }
    }

    /// Appends a frame. Returns the position after it.
    pub fn append(&self, frame: EventFrame) -> ArchiveCursor {
        let mut frames = self.frames.write().unwrap_or_else(PoisonError::into_inner);
        frames.push(frame);
        ArchiveCursor {
            archive_id: self.id.clone(),
            position: frames.len() as u64,
        }
    }
}

impl EventArchive for InMemoryEventArchive {
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        let frames = self.frames.read().unwrap_or_else(PoisonError::into_inner);
        cursor.check(&self.id, frames.len() as u64)?;
        let scope = filter.cursor_scope();
        let positions = cursor.position + 1..;
        let kept = frames.iter().skip(cursor.position as usize).zip(positions);
        let matching = kept.filter(|(frame, _)| filter.matches_envelope(&frame.event.envelope));
        Ok(AgentEventStream::new(matching.map(|(frame, position)| {
            let mut event = frame.event.to_event();
            event.envelope.delivery_semantics = EventDeliverySemantics::DerivedReplay;
            EventFrame {
                cursor: event.envelope.cursor(scope.clone()),
                event: SharedEvent::from(event).restrict(filter.payload_access),
                archive_cursor: Some(ArchiveCursor {
                    archive_id: self.id.clone(),
                    position,
                }),
                overflow: None,
            }
        })))
    }
}
