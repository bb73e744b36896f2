//! What a stream reads ahead whose gaps are filled from elsewhere.
//!
//! Such a stream keeps no backlog that a policy would have to thin out: it reads a few frames ahead
//! of its consumer and leaves the others in the rings. When the rings lap it, or had lost what its
//! cursor resumes from, the subscription reports which sequence numbers are missing, exactly where
//! they are missing: after the frames that it gave, and before those that it will give. The
//! [`GapFiller`] gives those, and only then the subscription is polled again. So whatever is
//! published meanwhile, frames come in the order of their sequence numbers and each once. If the
//! rings overwrite more during that, it is the next gap.

use super::scoped::{Found, ScopedReader};
use crate::bound::{BoundedQueue, Loss, append};
use crate::bus::batch::frame;
use crate::bus::shared::Event;
use crate::event::{
    AgentError, EventFrame, EventOverflowNotice, EventStreamScope, PayloadAccessMode,
};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::task::Waker;

/// How many frames are read ahead, and lent in a batch.
pub(super) const FRAMES_AHEAD: usize = 256;

/// Fills the gaps of one stream, one gap at a time.
pub(in crate::bus) trait GapFiller: Send + Sync {
    /// Begins to fill a gap. Called when none is open.
    fn open(&mut self, gap: Loss);

    /// Returns whether a gap is open.
    fn is_open(&self) -> bool;

    /// Returns the next frame of the open gap.
    fn step(&mut self, reports: &mut GapReports<'_>) -> Step;

    /// Keeps the waker of a task that waits for the next frame, to wake it when a gap that waits
    /// may be filled further.
    fn register_waker(&mut self, waker: &Waker);

    /// Drops the waker: no task waits any more.
    fn deregister_waker(&mut self);

    /// Returns why the last gap that was not filled was not.
    fn error(&self) -> Option<&AgentError>;

    /// Returns an independent filler at the same position.
    fn boxed_clone(&self) -> Box<dyn GapFiller>;
}

/// What became of the open gap.
pub(in crate::bus) enum Step {
    /// The next frame of it.
    Frame(EventFrame),
    /// It stays open, and what is missing may still come.
    Wait,
    /// It is closed: its frames were given, or reported as lost.
    Closed,
}

/// Where a filler reports what it filled and what stays lost.
pub(in crate::bus) struct GapReports<'a> {
    /// Counts losses, and knows the policy and the scope that notices name.
    queue: &'a mut BoundedQueue<Event>,
    /// The notice of the next frame.
    notice: &'a mut Option<Box<EventOverflowNotice>>,
}

impl GapReports<'_> {
    /// Returns the scope that the stream's cursors name.
    pub(in crate::bus) fn scope(&self) -> &EventStreamScope {
        &self.queue.start().scope
    }

    /// Returns whether the next frame reports frames as lost.
    pub(in crate::bus) fn has_loss(&self) -> bool {
        let count = self.notice.as_ref().map(|notice| notice.dropped_count);
        count.is_some_and(|count| count > 0)
    }

    /// Reports `loss` on the next frame, after what is reported there already, and lets `change`
    /// add to the notice. A loss takes the place of a report that nothing was lost: its bounds are
    /// those of what is missing.
    pub(in crate::bus) fn report(
        &mut self,
        loss: &Loss,
        change: impl FnOnce(&mut EventOverflowNotice),
    ) {
        let mut notice = self.queue.report(loss);
        change(&mut notice);
        if notice.dropped_count > 0 {
            self.notice.take_if(|earlier| earlier.dropped_count == 0);
        }
        append(self.notice, Some(Box::new(notice)));
    }
}

/// What a stream has read ahead of its consumer, and what fills its gaps.
pub(super) struct ReadAhead {
    /// What was read from the rings and not delivered yet.
    events: VecDeque<Event>,
    /// A frame that was delivered and taken back. It comes before all else.
    returned: Option<EventFrame>,
    /// What the next frame reports as lost or as filled.
    notice: Option<Box<EventOverflowNotice>>,
    filler: Box<dyn GapFiller>,
}

impl ReadAhead {
    /// Nothing read yet. The first frame reports what `notice` says.
    pub(super) fn new(filler: Box<dyn GapFiller>, notice: Option<EventOverflowNotice>) -> Self {
        ReadAhead {
            events: VecDeque::new(),
            returned: None,
            notice: notice.map(Box::new),
            filler,
        }
    }

    /// Returns how many frames were read from the rings and not delivered yet.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns whether nothing was read from the rings that is not delivered or filled yet.
    pub(super) fn is_idle(&self) -> bool {
        self.returned.is_none() && self.events.is_empty() && !self.filler.is_open()
    }

    /// Returns whether a gap is open, and so nothing to be had until the filler has more.
    pub(super) fn waits_for_filler(&self) -> bool {
        self.filler.is_open()
    }

    /// Returns what fills the gaps.
    pub(super) fn filler(&self) -> &dyn GapFiller {
        &*self.filler
    }

    /// Returns what fills the gaps, to change it.
    pub(super) fn filler_mut(&mut self) -> &mut dyn GapFiller {
        &mut *self.filler
    }

    /// Returns the notice that has no frame yet.
    pub(super) fn notice(&self) -> Option<&EventOverflowNotice> {
        self.notice.as_deref()
    }

    /// Takes the notice that has no frame yet.
    pub(super) fn take_notice(&mut self) -> Option<EventOverflowNotice> {
        self.notice.take().map(|notice| *notice)
    }

    /// Takes a frame back that was delivered last.
    pub(super) fn take_back(&mut self, frame: EventFrame) {
        self.returned = Some(frame);
    }

    /// Takes the frame that was taken back.
    pub(super) fn take_returned(&mut self) -> Option<EventFrame> {
        self.returned.take()
    }

    /// Returns the next frame in the order of sequence numbers, with the notice that it reports.
    /// `None` if there is none now.
    pub(super) fn next(
        &mut self,
        reader: &mut ScopedReader,
        queue: &mut BoundedQueue<Event>,
        access: PayloadAccessMode,
    ) -> Option<EventFrame> {
        let mut next = loop {
            // The rings' frames that were read before the gap: the gap is after them.
            if let Some(event) = self.events.pop_front() {
                break frame(event, None, access, &queue.start().scope);
            }
            if self.filler.is_open() {
                let mut reports = GapReports {
                    queue,
                    notice: &mut self.notice,
                };
                match self.filler.step(&mut reports) {
                    Step::Frame(next) => break next,
                    Step::Wait => return None,
                    Step::Closed => {}
                }
            }
            if !self.filler.is_open() && !self.read(reader) {
                return None;
            }
        };
        next.overflow = self.notice.take();
        Some(next)
    }

    /// Reads from the rings up to the next gap, or some frames. Returns whether there was
    /// something.
    pub(super) fn read(&mut self, reader: &mut ScopedReader) -> bool {
        let (events, filler) = (&mut self.events, &mut self.filler);
        reader.poll(|found| match found {
            Found::Lost(loss) => {
                filler.open(*loss);
                ControlFlow::Break(())
            }
            Found::Frame(event) => {
                events.push_back(event.clone());
                if events.len() < FRAMES_AHEAD {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            }
        });
        self.filler.is_open() || !self.events.is_empty()
    }
}

impl Clone for ReadAhead {
    fn clone(&self) -> Self {
        ReadAhead {
            events: self.events.clone(),
            returned: self.returned.clone(),
            notice: self.notice.clone(),
            filler: self.filler.boxed_clone(),
        }
    }
}
