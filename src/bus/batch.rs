//! Frames as a subscription gives them: owned, or borrowed in batches.

use super::shared::Event;
use crate::event::{
    ArchiveCursor, EventEnvelope, EventFrame, EventOverflowNotice, EventStreamScope, EventView,
    PayloadAccessMode, SharedEvent,
};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a borrowed batch is made of.
#[derive(Debug)]
pub enum BatchItem<'a> {
    /// A frame.
    Frame(FrameRef<'a>),
    /// A notice of frames that were lost before the next one.
    Gap(EventOverflowNotice),
}

/// A frame that is borrowed from the bus. Nothing was copied, and no reference count stepped, to
/// lend it.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// The published event.
    pub(super) event: &'a Event,
    /// How much of its payload may be seen.
    pub(super) access: PayloadAccessMode,
    /// The scope that its cursor names.
    pub(super) scope: &'a EventStreamScope,
    /// Its position in an archive, where the event itself does not hold it.
    pub(super) archived: Option<&'a ArchiveCursor>,
}

impl FrameRef<'_> {
    /// Returns the envelope.
    #[inline]
    pub fn envelope(&self) -> &EventEnvelope {
        self.event.envelope()
    }

    /// Returns what the subscription may see of the event.
    pub fn view(&self) -> EventView<'_> {
        EventView::new(self.event, self.access)
    }

    /// Returns the frame, owned: one step of the event's reference count.
    pub fn to_frame(&self) -> EventFrame {
        let mut frame = frame(self.event.clone(), None, self.access, self.scope);
        if let Some(position) = self.archived {
            frame.archive_cursor = Some(position.clone());
        }
        frame
    }
}

/// Returns an event as a frame of a subscription.
#[inline]
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

/// A source of frames that are lent one by one.
pub(super) trait Lender {
    /// Takes the next frame out.
    fn next(&mut self) -> Option<EventFrame>;

    /// Takes a frame back that was not lent: it comes next.
    fn take_back(&mut self, frame: EventFrame);
}

/// Lends frames, each after the notice that is attached to it. A break at the notice takes effect
/// after the frame, a panic before it. Returns how many items were lent.
pub(super) fn lend(
    lender: &mut impl Lender,
    visit: &mut impl FnMut(BatchItem<'_>) -> ControlFlow<()>,
) -> usize {
    let mut count = 0;
    while let Some(mut frame) = lender.next() {
        count += 1;
        let mut at_notice = ControlFlow::Continue(());
        if let Some(notice) = frame.overflow.take() {
            count += 1;
            let lend_notice = AssertUnwindSafe(|| visit(BatchItem::Gap(*notice)));
            at_notice = catch_unwind(lend_notice).unwrap_or_else(|panic| {
                lender.take_back(frame.clone());
                resume_unwind(panic)
            });
        }
        let (event, access) = frame.event.into_parts();
        let lent = FrameRef {
            event: &event,
            access,
            scope: &frame.cursor.scope,
            archived: frame.archive_cursor.as_ref(),
        };
        if visit(BatchItem::Frame(lent)).is_break() || at_notice.is_break() {
            break;
        }
    }
    count
}
