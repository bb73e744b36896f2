//! A subscription read through its policy: the live source of a stream.
//!
//! A call that finds nothing that was taken in takes in what was published when it began: see
//! `intake.rs`. While some of that is left, calls deliver it, and the rings are the buffer. With a
//! [`GapFiller`], the stream reads ahead past the policy: see `read_ahead.rs`.

use super::intake::Intake;
use super::progress::Progress;
use super::read_ahead::{FRAMES_AHEAD, GapFiller, ReadAhead};
use super::scoped::{Found, ScopedReader};
use crate::bound::Queued;
use crate::bus::batch::{BatchItem, FrameRef, Lender, frame, lend};
use crate::bus::end::StreamEnd;
use crate::bus::scope::Scope;
use crate::bus::shared::{Event, Shared};
use crate::bus::stats::{Counts, StreamStats};
use crate::bus::trace;
use crate::event::{
    AgentError, BusEpoch, CompiledEventFilter, EventCursor, EventFrame, EventOverflowNotice,
    EventStreamScope, PayloadAccessMode, SubscriptionOptions,
};
use crate::ring::Subscription;
use crate::sync::Arc;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::task::Waker;

/// A live stream: a reader of the rings, what it took in, and its progress.
pub(in crate::bus) struct Live {
    reader: ScopedReader,
    intake: Intake,
    /// How much of a payload the consumer may see.
    access: PayloadAccessMode,
    progress: Progress,
    /// Present if something fills the stream's gaps. Nothing is taken in then.
    ahead: Option<Box<ReadAhead>>,
}

impl Live {
    /// A stream of a subscription that nothing was read of yet.
    pub(in crate::bus) fn new(
        shared: Arc<Shared>,
        subscription: Subscription<Event>,
        scope: Scope,
        options: SubscriptionOptions,
    ) -> Self {
        let start = EventCursor {
            scope: scope.of_cursors(),
            event_seq: subscription.position(),
            bus_epoch: shared.epoch,
            journal_cursor: None,
        };
        Live {
            reader: ScopedReader::new(shared, subscription, scope),
            intake: Intake::new(&options, start.clone()),
            access: options.payload_access,
            progress: Progress::new(start),
            ahead: None,
        }
    }

    /// Lets `filler` fill the stream's gaps from now on.
    pub(in crate::bus) fn fill_gaps(&mut self, filler: Box<dyn GapFiller>) {
        let ahead = ReadAhead::new(filler, self.intake.queue.take_pending());
        self.ahead = Some(Box::new(ahead));
    }

    /// Returns what fills the stream's gaps.
    pub(in crate::bus) fn gap_filler(&self) -> Option<&dyn GapFiller> {
        self.ahead.as_deref().map(ReadAhead::filler)
    }

    /// Returns the bus that is read.
    pub(in crate::bus) fn epoch(&self) -> BusEpoch {
        self.reader.shared.epoch
    }

    /// Returns the stream's scope and payload access as a filter.
    ///
    /// # Errors
    /// If the filter does not compile.
    pub(in crate::bus) fn to_filter(&self) -> Result<CompiledEventFilter, AgentError> {
        self.reader.scope.to_filter(self.access)
    }

    /// Returns the scope that its cursors name.
    #[inline]
    fn scope(&self) -> &EventStreamScope {
        &self.intake.queue.start().scope
    }

    /// Returns whether the policy has ended the stream. Queued frames are delivered yet.
    pub(in crate::bus) fn has_failed(&self) -> bool {
        self.intake.queue.failure().is_some()
    }

    /// Returns the position to resume from.
    pub(in crate::bus) fn position(&self) -> &EventCursor {
        self.progress.position()
    }

    /// Returns whether an unfinished publish may hold back frames after it.
    pub(in crate::bus) fn is_held_back(&self) -> bool {
        self.reader.subscription.is_behind()
    }

    /// Returns whether a gap is open, and so nothing to be had until its filler has more.
    pub(in crate::bus) fn waits_for_filler(&self) -> bool {
        self.ahead
            .as_deref()
            .is_some_and(ReadAhead::waits_for_filler)
    }

    /// Takes in what was published when the call began, if nothing that was taken in is left.
    fn refill(&mut self) {
        let position = self.progress.position();
        self.intake.refill(&mut self.reader, position);
    }

    /// Moves the position to what was looked at, if all of the scope up to there was delivered or
    /// reported.
    fn settle_position(&mut self) {
        let all_delivered = self.intake.len() == 0
            && self.pending_overflow().is_none()
            && !self.has_failed()
            && self.ahead.as_deref().is_none_or(ReadAhead::is_idle);
        if all_delivered {
            let looked_at = match self.intake.queue.deferred_terminal() {
                Some(event) => event.envelope().event_seq - 1,
                None => self.reader.subscription.position(),
            };
            self.progress.advance_to(looked_at);
        }
    }

    /// Returns the next frame; `None` if there is none now.
    #[inline]
    pub(in crate::bus) fn next(&mut self) -> Option<EventFrame> {
        let (event, overflow) = match self.pop_ready() {
            Some(event) => (event, None),
            None if self.ahead.is_some() => return self.next_gapless(),
            None if !self.intake.has_frame() && self.reader.is_caught_up() => return None,
            None => self.next_taken_in()?,
        };
        // Made at one place, which is inlined into the caller: a frame is large to move.
        Some(frame(event, overflow, self.access, self.scope()))
    }

    /// Returns the next event and its notice, of what is taken in now or before.
    #[inline(never)]
    fn next_taken_in(&mut self) -> Option<(Event, Option<Box<EventOverflowNotice>>)> {
        self.refill();
        let next = self.pop();
        self.settle_position();
        next.map(|queued| (queued.frame, queued.overflow))
    }

    /// Returns the next frame of a stream whose gaps are filled.
    #[cold]
    fn next_gapless(&mut self) -> Option<EventFrame> {
        let next = self.next_filled();
        self.settle_position();
        next
    }

    /// Returns the same, and leaves the position where it is.
    fn next_filled(&mut self) -> Option<EventFrame> {
        if let Some(frame) = self.ahead.as_mut()?.take_returned() {
            self.progress.deliver(&frame.event.envelope);
            return Some(frame);
        }
        // What was taken in before the gaps were filled.
        if let Some(Queued {
            frame: event,
            overflow,
            ..
        }) = self.pop()
        {
            return Some(frame(event, overflow, self.access, self.scope()));
        }
        let ahead = self.ahead.as_mut()?;
        let next = ahead.next(&mut self.reader, &mut self.intake.queue, self.access)?;
        self.progress.counts.notices += u64::from(next.overflow.is_some());
        self.progress.deliver(&next.event.envelope);
        Some(next)
    }

    /// Takes the next frame out that nothing was lost before.
    #[inline]
    fn pop_ready(&mut self) -> Option<Event> {
        let event = self.intake.pop_ready()?;
        self.progress.deliver(event.envelope());
        if self.intake.len() == 0 {
            self.settle_position();
        }
        Some(event)
    }

    /// Takes the next frame out that was taken in.
    fn pop(&mut self) -> Option<Queued<Event>> {
        let queued = self.intake.pop()?;
        let envelope = queued.frame.envelope();
        self.progress.counts.notices += u64::from(queued.overflow.is_some());
        if queued.summary {
            self.progress.pass(envelope);
        } else {
            self.progress.deliver(envelope);
        }
        Some(queued)
    }

    /// Takes the notice that is attached to the next frame.
    fn take_first_notice(&mut self) -> Option<EventOverflowNotice> {
        let notice = self.intake.take_first_notice();
        self.progress.counts.notices += u64::from(notice.is_some());
        notice
    }

    /// Returns the notice that is attached to no frame yet.
    pub(in crate::bus) fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        let ahead = self.ahead.as_deref().and_then(ReadAhead::notice);
        ahead.or(self.intake.queue.pending_overflow())
    }

    /// Takes the notice that is attached to no frame yet.
    pub(in crate::bus) fn take_pending(&mut self) -> Option<EventOverflowNotice> {
        let ahead = self.ahead.as_deref_mut().and_then(ReadAhead::take_notice);
        let notice = ahead.or_else(|| self.intake.queue.take_pending())?;
        self.progress.counts.notices += 1;
        self.settle_position();
        Some(notice)
    }

    /// Returns what became of the subscription so far.
    pub(in crate::bus) fn stats(&self) -> StreamStats {
        let position = self.position().event_seq;
        let ahead = self.ahead.as_deref().map_or(0, ReadAhead::len);
        let last = self.reader.shared.last_sequence();
        let Counts {
            delivered,
            terminals,
            notices,
        } = self.progress.counts;
        StreamStats {
            position,
            lag: last.saturating_sub(position),
            queued: (self.intake.len() + ahead) as u64,
            delivered,
            terminals,
            dropped: (*self.intake.queue.lost()).into(),
            laps: self.reader.subscription.times_lapped(),
            notices,
        }
    }

    /// Returns how the stream ended, once it has and everything was delivered.
    pub(in crate::bus) fn end(&mut self) -> Option<StreamEnd> {
        if self.intake.has_frame() {
            return None;
        }
        if let Some(failed) = self.failed() {
            return Some(failed);
        }
        if !self.reader.shared.is_closed() {
            return None;
        }
        // Nothing is published any more: what the following does not find is not there.
        if let Some(ahead) = self.ahead.as_deref_mut() {
            let nothing_left =
                ahead.is_idle() && !ahead.read(&mut self.reader) && !self.reader.unfinished;
            return nothing_left.then_some(StreamEnd::BusClosed);
        }
        self.refill();
        if self.intake.has_frame() {
            return None;
        }
        self.failed()
            .or_else(|| (!self.reader.unfinished).then_some(StreamEnd::BusClosed))
    }

    /// Returns the end of a stream whose policy ended it.
    fn failed(&self) -> Option<StreamEnd> {
        let failure = self.intake.queue.failure()?;
        Some(StreamEnd::Failed {
            resume_from: failure.resume_from.clone(),
            notice: Box::new(failure.notice.clone()),
        })
    }

    /// Registers the waker to be woken when there may be something: by a publish for this scope, or
    /// by any publish if `any`.
    ///
    /// # Errors
    /// If more readers wait than the rings can count.
    pub(in crate::bus) fn register_waker(
        &mut self,
        any: bool,
        waker: &Waker,
    ) -> Result<(), AgentError> {
        if let Some(ahead) = &mut self.ahead {
            ahead.filler_mut().register_waker(waker);
        }
        self.reader.register_waker(any, waker)
    }

    /// Registers no waker any more.
    pub(in crate::bus) fn deregister_waker(&mut self) {
        self.reader.deregister_waker();
        if let Some(ahead) = &mut self.ahead {
            ahead.filler_mut().deregister_waker();
        }
    }

    /// Lends what is there to `visit` until it breaks. Returns how many items it lent.
    pub(in crate::bus) fn read_batch(
        &mut self,
        mut visit: impl FnMut(BatchItem<'_>) -> ControlFlow<()>,
    ) -> usize {
        if self.ahead.is_none() {
            let count = self.lend_batch(visit);
            self.settle_position();
            return count;
        }
        let mut batch = GaplessBatch {
            live: self,
            remaining: FRAMES_AHEAD,
        };
        let count = lend(&mut batch, &mut visit);
        if count == 0
            && let Some(notice) = self.take_pending()
        {
            // No frame came that it could be attached to.
            let _ = visit(BatchItem::Gap(notice));
            return 1;
        }
        count
    }

    fn lend_batch(&mut self, mut visit: impl FnMut(BatchItem<'_>) -> ControlFlow<()>) -> usize {
        let count = Cell::new(0);
        let mut visit = |item: BatchItem<'_>| {
            count.set(count.get() + 1);
            visit(item)
        };
        loop {
            // The notice is lent while its frame is still here: a visitor that panics at the notice
            // does not lose the frame.
            let at_notice = match self.take_first_notice() {
                Some(notice) => visit(BatchItem::Gap(notice)),
                None => ControlFlow::Continue(()),
            };
            let Some(Queued { frame: event, .. }) = self.pop() else {
                break;
            };
            let lent = FrameRef {
                event: &event,
                access: self.access,
                scope: self.scope(),
                archived: None,
            };
            if visit(BatchItem::Frame(lent)).is_break() || at_notice.is_break() {
                return count.get();
            }
        }
        if let Some(notice) = self.take_pending()
            && visit(BatchItem::Gap(notice)).is_break()
        {
            return count.get();
        }
        if self.has_failed() {
            return count.get();
        }
        let Live {
            reader,
            intake: Intake { queue, .. },
            access,
            progress,
            ..
        } = self;
        let mut deliver = |found: Found<'_>| match found {
            Found::Lost(loss) => {
                trace::lost(&queue.start().scope, loss);
                progress.counts.notices += 1;
                visit(BatchItem::Gap(queue.report(loss)))
            }
            Found::Frame(event) => {
                progress.deliver(event.envelope());
                visit(BatchItem::Frame(FrameRef {
                    event,
                    access: *access,
                    scope: &queue.start().scope,
                    archived: None,
                }))
            }
        };
        let looked_at_all = reader.batch(&mut deliver);
        if count.get() == 0 && !looked_at_all {
            reader.poll(deliver);
        }
        count.get()
    }
}

/// One batch of a stream whose gaps are filled.
struct GaplessBatch<'a> {
    live: &'a mut Live,
    /// How many more frames it lends.
    remaining: usize,
}

impl Lender for GaplessBatch<'_> {
    fn next(&mut self) -> Option<EventFrame> {
        self.remaining = self.remaining.checked_sub(1)?;
        self.live.next_gapless()
    }

    fn take_back(&mut self, frame: EventFrame) {
        self.live.progress.take_back(&frame.event.envelope);
        if let Some(ahead) = &mut self.live.ahead {
            ahead.take_back(frame);
        }
    }
}

impl Clone for Live {
    /// # Panics
    /// If some 2^30 subscriptions to one shard are alive.
    fn clone(&self) -> Self {
        let reader = self.reader.try_clone();
        Live {
            reader: reader.expect("fewer than 2^30 subscriptions are alive"),
            intake: self.intake.clone(),
            access: self.access,
            progress: self.progress.clone(),
            ahead: self.ahead.clone(),
        }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("scope", &self.position().scope)
            .field("position", &self.position().event_seq)
            .field("queued", &self.intake.len())
            .finish_non_exhaustive()
    }
}
