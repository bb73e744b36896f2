//! The policies: what becomes of a frame that is offered.
//!
//! For capacity C, reserve R and N = C - min(R, C): a frame that is not terminal has room when the
//! queue holds fewer than C frames and fewer than N that are not terminal.
//!
//! | offered | DropNonTerminal | DropProgress | SummarizeAndContinue | FailSubscriber |
//! | --- | --- | --- | --- | --- |
//! | terminal | room made, queued | same | summary closed first | same |
//! | progress, room | queued | queued | joins the summary | queued |
//! | progress, none | dropped | dropped | joins the summary | dropped, fails |
//! | normal, room | queued | queued | summary closed first, room judged after | queued |
//! | normal, none | dropped | oldest progress, or it | summary closed, dropped | dropped, fails |
//!
//! Room for a terminal frame is made by
//! [`make_room_for_terminal`](BoundedQueue::make_room_for_terminal); if all C are terminal, the
//! refill stops before it. "Fails" is [`fail`](BoundedQueue::fail).

use super::fifo::{Entry, Fifo};
use super::notice::{Loss, MaybeNotice, NoticeBuilder, add_lost_terminal, append, prepend};
use crate::event::{
    EventCursor, EventOverflowNotice, EventOverflowReason, EventStreamScope, JournalCursor,
    KindClass, SealedEvent, SubscriberOverflowPolicy, SubscriberQueueConfig,
};
use std::ops::ControlFlow;
use triomphe::Arc;

/// A frame that was taken out of the queue.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: Arc<SealedEvent>,
    /// The notice that is attached to it.
    pub(crate) overflow: Option<Box<EventOverflowNotice>>,
    /// Whether it stands for other frames, which the notice counts, and not for itself.
    pub(crate) summary: bool,
}

/// How a stream ended by [`SubscriberOverflowPolicy::FailSubscriber`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The position after the last frame that was queued: resuming there loses nothing more.
    pub(crate) resume_from: EventCursor,
    /// What was lost after it, as far as no earlier frame reports it.
    pub(crate) notice: EventOverflowNotice,
}

/// A run of consecutive progress frames that one frame will stand for.
#[derive(Clone, Debug)]
struct Summary {
    /// How many frames, at least 1.
    count: u64,
    /// The cursor of the first frame.
    first: EventCursor,
    /// The last frame.
    last: Arc<SealedEvent>,
    /// The first known journal cursor of the run.
    repair_from: Option<JournalCursor>,
}

/// The queue of one subscription: frames in order, and notices of what its policy dropped.
#[derive(Clone, Debug)]
pub(crate) struct BoundedQueue {
    notices: NoticeBuilder,
    /// C: how many frames are queued at most.
    capacity: usize,
    /// N: how many of them are not terminal at most.
    non_terminal_capacity: usize,
    queue: Fifo,
    /// The run of progress frames that is not queued yet, with the policy that summarises.
    summary: Option<Summary>,
    /// The terminal frame that the last refill stopped before. The next refill begins with it.
    deferred_terminal: Option<Arc<SealedEvent>>,
    /// What was lost after the last queued frame.
    pending: MaybeNotice,
    /// The position after the last frame that was queued. Its epoch never changes.
    position: EventCursor,
    /// Set once, with the policy that fails.
    failure: Option<Box<Failure>>,
}

impl BoundedQueue {
    /// An empty queue for a subscription that starts at `start`, whose scope its notices name.
    pub(crate) fn new(config: SubscriberQueueConfig, start: EventCursor) -> Self {
        let capacity = config.capacity.get();
        BoundedQueue {
            notices: NoticeBuilder {
                policy: config.overflow,
                scope: start.scope.clone(),
                lost: Default::default(),
            },
            capacity,
            non_terminal_capacity: capacity - config.terminal_reserve.get().min(capacity),
            queue: Fifo::new(),
            summary: None,
            deferred_terminal: None,
            pending: None,
            position: start,
            failure: None,
        }
    }

    /// Returns the scope of the subscription.
    pub(crate) fn scope(&self) -> &EventStreamScope {
        &self.notices.scope
    }

    /// Begins a refill of an empty queue. The frame that the last refill stopped before comes
    /// first.
    pub(crate) fn begin_refill(&mut self) {
        debug_assert!(self.len() == 0);
        if let Some(event) = self.deferred_terminal.take() {
            let _ = self.offer(&event);
        }
    }

    /// Offers the next frame of the scope to the policy. The event is shared only if it is kept.
    ///
    /// Breaks where the queue is full of terminal frames and `event` is another one: the refill
    /// stops before it. The event is kept for the next refill, and nothing else may be offered
    /// until that [begins](Self::begin_refill).
    #[inline]
    pub(crate) fn offer(&mut self, event: &Arc<SealedEvent>) -> ControlFlow<()> {
        use SubscriberOverflowPolicy as Policy;
        debug_assert!(self.deferred_terminal.is_none());
        let class = event.envelope().event_kind.class();
        if self.failure.is_some() {
            self.offer_after_failure(class == KindClass::Terminal);
            return ControlFlow::Continue(());
        }
        let policy = self.notices.policy;
        if policy == Policy::SummarizeAndContinue {
            if class == KindClass::Progress {
                self.join_summary(event);
                return ControlFlow::Continue(());
            }
            self.close_summary();
        }
        if class == KindClass::Terminal {
            if self.queue.count(KindClass::Terminal) >= self.capacity {
                self.deferred_terminal = Some(event.clone());
                return ControlFlow::Break(());
            }
            self.make_room_for_terminal();
            self.queue(event.clone(), None, 1);
        } else if self.has_room() {
            self.queue(event.clone(), None, 1);
        } else {
            match (policy, class) {
                (Policy::FailSubscriber, _) => self.fail(event),
                (Policy::DropProgress, KindClass::Progress) => {
                    self.drop_offered(event, EventOverflowReason::PolicyDroppedProgress);
                }
                (Policy::DropProgress, _) if self.queue.count(KindClass::Progress) > 0 => {
                    self.evict(
                        KindClass::Progress,
                        EventOverflowReason::PolicyDroppedProgress,
                    );
                    self.queue(event.clone(), None, 1);
                }
                (Policy::DropProgress | Policy::SummarizeAndContinue, _) => {
                    self.drop_offered(event, EventOverflowReason::SubscriberQueueFull);
                }
                (Policy::DropNonTerminal | Policy::BackpressureCaller, _) => {
                    self.drop_offered(event, EventOverflowReason::PolicyDroppedNonTerminal);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Reports frames that the rings lost after those that were offered.
    pub(crate) fn lose(&mut self, loss: &Loss) {
        if self.failure.is_some() {
            self.offer_after_failure(!loss.terminal_preserved);
            return;
        }
        // What was lost need not have been progress frames, so the run ends here.
        self.close_summary();
        append(&mut self.pending, Some(Box::new(self.notices.loss(loss))));
    }

    /// Ends a refill. Nothing more may be offered until the queue is empty and the next refill
    /// [begins](Self::begin_refill).
    pub(crate) fn end_refill(&mut self) {
        self.close_summary();
        self.attach_to_last();
    }

    /// Takes the next frame out.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let Entry {
            event,
            notice: overflow,
            weight,
        } = self.queue.pop()?;
        Some(Queued {
            event,
            overflow,
            summary: weight == 0,
        })
    }

    /// Takes the notice that is attached to the next frame, to report it before the frame.
    pub(crate) fn take_first_notice(&mut self) -> Option<EventOverflowNotice> {
        self.queue.first_mut()?.notice.take().map(|notice| *notice)
    }

    /// Returns how many frames are queued.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns whether nothing is queued, and nothing waits for a frame to be reported on.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.len() == 0 && self.pending.is_none()
    }

    /// Returns whether a frame is there without a look at the rings: queued, or the first of the
    /// next refill.
    #[inline]
    pub(crate) fn has_frame(&self) -> bool {
        self.queue.len() > 0 || self.deferred_terminal.is_some()
    }

    /// Returns the terminal frame that the last refill stopped before, until the next one begins.
    pub(crate) fn deferred_terminal(&self) -> Option<&SealedEvent> {
        self.deferred_terminal.as_deref()
    }

    /// Returns the notice that is attached to no frame yet.
    pub(crate) fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        self.pending.as_deref()
    }

    /// Takes the notice that is attached to no frame yet, to report it without one.
    pub(crate) fn take_pending(&mut self) -> Option<EventOverflowNotice> {
        self.pending.take().map(|notice| *notice)
    }

    /// Returns the notice of a loss in the rings, and counts it, for a reader that goes past the
    /// queue.
    pub(crate) fn report(&mut self, loss: &Loss) -> EventOverflowNotice {
        self.notices.loss(loss)
    }

    /// Returns how many frames were lost so far; the index is the reason as a number.
    pub(crate) fn lost(&self) -> &[u64; EventOverflowReason::ALL.len()] {
        &self.notices.lost
    }

    /// Returns how the stream failed, if it has. It ends after the frames that are queued.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// Lets a stream that failed in this refill resume after `position`, where it stood when the
    /// refill began: its reader may have gone past the queue, and come further than the last frame
    /// that was queued.
    pub(crate) fn resume_after(&mut self, position: &EventCursor) {
        if let Some(failure) = &mut self.failure
            && failure.resume_from.event_seq < position.event_seq
        {
            failure.resume_from = position.clone();
        }
    }

    /// Returns whether a frame that is not terminal has room.
    fn has_room(&self) -> bool {
        let terminals = self.queue.count(KindClass::Terminal);
        self.queue.len() < self.capacity
            && self.queue.len() - terminals < self.non_terminal_capacity
    }

    /// Queues a frame. It reports what is pending, and then its own notice.
    #[inline(never)]
    fn queue(&mut self, event: Arc<SealedEvent>, own: MaybeNotice, weight: u64) {
        self.position.event_seq = event.envelope().event_seq;
        self.position
            .journal_cursor
            .clone_from(&event.envelope().journal_cursor);
        let mut notice = self.pending.take();
        append(&mut notice, own);
        self.queue.push(Entry {
            event,
            notice,
            weight,
        });
    }

    /// Attaches what is pending, which no frame comes after, to the last frame, if there is one.
    fn attach_to_last(&mut self) {
        if let Some(last) = self.queue.last_mut() {
            append(&mut last.notice, self.pending.take());
        }
    }

    /// Drops the frame that is offered.
    #[inline]
    fn drop_offered(&mut self, event: &SealedEvent, reason: EventOverflowReason) {
        self.notices.add_drop(&mut self.pending, event, reason);
    }

    /// Drops the oldest queued frame of a class. The frame after it reports that.
    #[inline(never)]
    fn evict(&mut self, class: KindClass, reason: EventOverflowReason) {
        let Some((
            Entry {
                event,
                mut notice,
                weight,
            },
            after,
        )) = self.queue.take_oldest(class)
        else {
            return;
        };
        if weight > 0 {
            self.notices.add_drop(&mut notice, &event, reason);
        }
        match after {
            Some(after) => prepend(&mut after.notice, notice),
            None => prepend(&mut self.pending, notice),
        }
    }

    /// Drops the oldest frames that are not terminal until the queue has room for a terminal frame.
    /// Not to be called when every queued frame is terminal.
    fn make_room_for_terminal(&mut self) {
        while self.queue.len() >= self.capacity
            && let Some(class) = self.queue.oldest_non_terminal()
        {
            self.evict(class, EventOverflowReason::PolicyDroppedNonTerminal);
        }
    }

    /// Adds a progress frame to the run that one frame will stand for.
    #[inline(never)]
    fn join_summary(&mut self, event: &Arc<SealedEvent>) {
        let envelope = event.envelope();
        match &mut self.summary {
            Some(summary) => {
                summary.count += 1;
                summary.last = event.clone();
                if summary.repair_from.is_none() {
                    summary.repair_from.clone_from(&envelope.journal_cursor);
                }
            }
            None => {
                self.summary = Some(Summary {
                    count: 1,
                    first: envelope.cursor(self.notices.scope.clone()),
                    last: event.clone(),
                    repair_from: envelope.journal_cursor.clone(),
                });
            }
        }
    }

    /// Queues one frame for the run of progress frames: the frame itself if it was only one. Drops
    /// them all if there is no room.
    #[inline(never)]
    fn close_summary(&mut self) {
        let Some(Summary {
            count,
            first,
            last,
            repair_from,
        }) = self.summary.take()
        else {
            return;
        };
        if count == 1 {
            if self.has_room() {
                self.queue(last, None, 1);
            } else {
                self.drop_offered(&last, EventOverflowReason::PolicyDroppedProgress);
            }
            return;
        }
        let end = last.envelope().cursor(self.notices.scope.clone());
        let reason = EventOverflowReason::PolicyDroppedProgress;
        self.notices.count(count, reason);
        let notice = self.notices.notice(count, first, end, true, reason);
        let notice = Some(Box::new(EventOverflowNotice {
            repair_from,
            ..notice
        }));
        if self.has_room() {
            let text = format!("{count} dropped progress frames");
            self.queue(Arc::new(last.summarised(text)), notice, 0);
        } else {
            append(&mut self.pending, notice);
        }
    }

    /// Ends the stream after the frames that are queued, because there is no room for `event`.
    #[cold]
    fn fail(&mut self, event: &SealedEvent) {
        self.drop_offered(event, EventOverflowReason::SubscriberQueueFull);
        self.failure = self.pending.as_deref().map(|notice| {
            Box::new(Failure {
                resume_from: self.position.clone(),
                notice: notice.clone(),
            })
        });
        self.attach_to_last();
    }

    /// Keeps nothing of what is offered after a failure, but reports if a terminal frame is among
    /// it.
    #[cold]
    fn offer_after_failure(&mut self, terminal: bool) {
        if !terminal {
            return;
        }
        let reported = match self.queue.last_mut() {
            Some(last) => &mut last.notice,
            None => &mut self.pending,
        };
        if let Some(notice) = reported {
            add_lost_terminal(notice);
        }
        if let Some(failure) = &mut self.failure {
            add_lost_terminal(&mut failure.notice);
        }
    }

    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.queue.steps
    }
}
