//! Frames as a subscription gives them: to keep, or borrowed in batches.

use super::memory::Event;
use crate::event::{
    ArchiveCursor, EventEnvelope, EventFrame, EventOverflowNotice, EventStreamScope, EventView,
    PayloadAccessMode, SharedEvent,
};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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
    /// Its place in an archive, where the event does not bear it.
    pub(super) archived: Option<&'a ArchiveCursor>,
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
        let mut frame = frame(self.event.clone(), None, self.access, self.scope);
        if let Some(place) = self.archived {
            frame.archive_cursor = Some(place.clone());
        }
        frame
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

/// Where frames come from that are lent one by one.
pub(super) trait Lender {
    fn next(&mut self) -> Option<EventFrame>;

    /// Takes a frame back that was not shown: it comes next.
    fn take_back(&mut self, frame: EventFrame);
}

/// Lends frames, each behind the notice that rides on it: a break at the notice takes effect
/// behind the frame, a panic before it. Returns how many items it gave.
pub(super) fn lend(
    lender: &mut impl Lender,
    visit: &mut impl FnMut(BatchItem<'_>) -> ControlFlow<()>,
) -> usize {
    let mut count = 0;
    while let Some(mut frame) = lender.next() {
        count += 1;
        let mut told = ControlFlow::Continue(());
        if let Some(notice) = frame.overflow.take() {
            count += 1;
            let tell = AssertUnwindSafe(|| visit(BatchItem::Gap(*notice)));
            told = catch_unwind(tell).unwrap_or_else(|panic| {
                lender.take_back(frame.clone());
                resume_unwind(panic)
            });
        }
        let (event, access) = frame.event.into_parts();
        let shown = FrameRef {
            event: &event,
            access,
            scope: &frame.cursor.scope,
            archived: frame.archive_cursor.as_ref(),
        };
        if visit(BatchItem::Frame(shown)).is_break() || told.is_break() {
            break;
        }
    }
    count
}
