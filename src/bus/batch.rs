//! Frames as a subscription gives them: to keep, or borrowed in batches.

use super::memory::Event;
use crate::event::{
    EventEnvelope, EventFrame, EventOverflowNotice, EventStreamScope, EventView, PayloadAccessMode,
    SharedEvent,
};
use std::ops::ControlFlow;

/// What the borrowed batch form gives.
#[derive(Debug)]
pub enum BatchItem<'a> {
    /// A frame.
    Frame(FrameRef<'a>),
    /// Frames that were lost before the next one.
    Gap(EventOverflowNotice),
}

/// A frame that is borrowed from the bus: nothing was copied or counted for it.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    pub(super) event: &'a Event,
    pub(super) access: PayloadAccessMode,
    pub(super) scope: &'a EventStreamScope,
}

impl FrameRef<'_> {
    /// The envelope.
    #[inline]
    pub fn envelope(&self) -> &EventEnvelope {
        self.event.envelope()
    }

    /// What may be seen of the event.
    pub fn view(&self) -> EventView<'_> {
        EventView::new(self.event, self.access)
    }

    /// The frame, to keep: one step of the event's reference count.
    pub fn to_frame(&self) -> EventFrame {
        frame(self.event.clone(), None, self.access, self.scope)
    }
}

/// A frame as a subscription gets it.
pub(super) fn frame(
    event: Event,
    overflow: Option<Box<EventOverflowNotice>>,
    access: PayloadAccessMode,
    scope: &EventStreamScope,
) -> EventFrame {
    EventFrame {
        cursor: event.envelope().cursor(scope.clone()),
        archive_cursor: event.archive_cursor().cloned(),
        event: SharedEvent::new(event, access),
        overflow,
    }
}

/// Shows a frame that is out of its queue already, and before it the notice that rides on it: a
/// break at the notice takes effect behind the frame.
pub(super) fn show(
    frame: FrameRef<'_>,
    overflow: Option<Box<EventOverflowNotice>>,
    visit: &mut impl FnMut(BatchItem<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let told = overflow.map_or(ControlFlow::Continue(()), |notice| {
        visit(BatchItem::Gap(*notice))
    });
    visit(BatchItem::Frame(frame))?;
    told
}

/// Lends frames that `next` gives. Returns how many items it gave.
pub(super) fn lend(
    mut next: impl FnMut() -> Option<EventFrame>,
    visit: &mut impl FnMut(BatchItem<'_>) -> ControlFlow<()>,
) -> usize {
    let mut count = 0;
    while let Some(frame) = next() {
        let (event, access) = frame.event.into_parts();
        let shown = FrameRef {
            event: &event,
            access,
            scope: &frame.cursor.scope,
        };
        count += 1 + usize::from(frame.overflow.is_some());
        if show(shown, frame.overflow, visit).is_break() {
            break;
        }
    }
    count
}
