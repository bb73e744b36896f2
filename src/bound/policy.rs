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
use super::frame::Frame;
use super::notice::{Loss, MaybeNotice, NoticeBuilder, add_lost_terminal, append, prepend};
use crate::event::{
    EventOverflowReason, Gap, KindClass, Position, SubscriberOverflowPolicy, SubscriberQueueConfig,
};
use std::ops::ControlFlow;

/// A frame that was taken out of the queue.
#[derive(Debug)]
pub(crate) struct Queued<F: Frame> {
    pub(crate) frame: F,
    /// The notice that is attached to it.
    pub(crate) overflow: MaybeNotice<F::Position>,
    /// Whether it stands for other frames, which the notice counts, and not for itself.
    pub(crate) summary: bool,
}

/// How a stream ended by [`SubscriberOverflowPolicy::FailSubscriber`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure<C: Position> {
    /// The position after the last frame that was queued: resuming there loses nothing more.
    pub(crate) resume_from: C,
    /// What was lost after it, as far as no earlier frame reports it.
    pub(crate) notice: Gap<C>,
}

/// A run of consecutive progress frames that one frame will stand for.
#[derive(Clone, Debug)]
struct Summary<F: Frame> {
    /// How many frames, at least 1.
    count: u64,
    /// The position of the first frame.
    first: F::Position,
    /// The last frame.
    last: F,
    /// The first known position of the run in the host's journal.
    repair_from: Option<<F::Position as Position>::Journal>,
}

/// The queue of one subscription: frames in order, and notices of what its policy dropped.
#[derive(Clone, Debug)]
pub(crate) struct BoundedQueue<F: Frame> {
    notices: NoticeBuilder<F::Position>,
    /// C: how many frames are queued at most.
    capacity: usize,
    /// N: how many of them are not terminal at most.
    non_terminal_capacity: usize,
    queue: Fifo<F>,
    /// The run of progress frames that is not queued yet, with the policy that summarises.
    summary: Option<Summary<F>>,
    /// The terminal frame that the last refill stopped before. The next refill begins with it.
    deferred_terminal: Option<F>,
    /// What was lost after the last queued frame.
    pending: MaybeNotice<F::Position>,
    /// The position after the last frame that was queued.
    position: F::Position,
    /// Set once, with the policy that fails.
    failure: Option<Box<Failure<F::Position>>>,
}

impl<F: Frame> BoundedQueue<F> {
    /// An empty queue for a subscription that starts at `start`.
    pub(crate) fn new(config: SubscriberQueueConfig, start: F::Position) -> Self {
        let capacity = config.capacity.get();
        BoundedQueue {
            notices: NoticeBuilder {
                policy: config.overflow,
                start: start.clone(),
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

    /// Returns the position that the subscription started at.
    pub(crate) fn start(&self) -> &F::Position {
        &self.notices.start
    }

    /// Begins a refill of an empty queue. The frame that the last refill stopped before comes
    /// first.
    pub(crate) fn begin_refill(&mut self) {
        debug_assert!(self.len() == 0);
        if let Some(frame) = self.deferred_terminal.take() {
            let _ = self.offer(&frame);
        }
    }

    /// Offers the next frame of the scope to the policy. It is shared only if it is kept.
    ///
    /// Breaks where the queue is full of terminal frames and `frame` is another one: the refill
    /// stops before it. The frame is kept for the next refill, and nothing else may be offered
    /// until that [begins](Self::begin_refill).
    #[inline]
    pub(crate) fn offer(&mut self, frame: &F) -> ControlFlow<()> {
        use SubscriberOverflowPolicy as Policy;
        debug_assert!(self.deferred_terminal.is_none());
        let class = frame.class();
        if self.failure.is_some() {
            self.offer_after_failure(class == KindClass::Terminal);
            return ControlFlow::Continue(());
        }
        let policy = self.notices.policy;
        if policy == Policy::SummarizeAndContinue {
            if class == KindClass::Progress {
                self.join_summary(frame);
                return ControlFlow::Continue(());
            }
            self.close_summary();
        }
        if class == KindClass::Terminal {
            if self.queue.count(KindClass::Terminal) >= self.capacity {
                self.deferred_terminal = Some(frame.clone());
                return ControlFlow::Break(());
            }
            self.make_room_for_terminal();
            self.queue(frame.clone(), None, 1);
        } else if self.has_room() {
            self.queue(frame.clone(), None, 1);
        } else {
            match (policy, class) {
                (Policy::FailSubscriber, _) => self.fail(frame, class),
                (Policy::DropProgress, KindClass::Progress) => {
                    self.drop_offered(frame, class, EventOverflowReason::PolicyDroppedProgress);
                }
                (Policy::DropProgress, _) if self.queue.count(KindClass::Progress) > 0 => {
                    self.evict(
                        KindClass::Progress,
                        EventOverflowReason::PolicyDroppedProgress,
                    );
                    self.queue(frame.clone(), None, 1);
                }
                (Policy::DropProgress | Policy::SummarizeAndContinue, _) => {
                    self.drop_offered(frame, class, EventOverflowReason::SubscriberQueueFull);
                }
                (Policy::DropNonTerminal | Policy::BackpressureCaller, _) => {
                    self.drop_offered(frame, class, EventOverflowReason::PolicyDroppedNonTerminal);
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
    pub(crate) fn pop(&mut self) -> Option<Queued<F>> {
        let Entry {
            frame,
            notice: overflow,
            weight,
        } = self.queue.pop()?;
        Some(Queued {
            frame,
            overflow,
            summary: weight == 0,
        })
    }

    /// Takes the notice that is attached to the next frame, to report it before the frame.
    pub(crate) fn take_first_notice(&mut self) -> Option<Gap<F::Position>> {
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
    pub(crate) fn deferred_terminal(&self) -> Option<&F> {
        self.deferred_terminal.as_ref()
    }

    /// Returns the notice that is attached to no frame yet.
    pub(crate) fn pending_overflow(&self) -> Option<&Gap<F::Position>> {
        self.pending.as_deref()
    }

    /// Takes the notice that is attached to no frame yet, to report it without one.
    pub(crate) fn take_pending(&mut self) -> Option<Gap<F::Position>> {
        self.pending.take().map(|notice| *notice)
    }

    /// Returns the notice of a loss in the rings, and counts it, for a reader that goes past the
    /// queue.
    pub(crate) fn report(&mut self, loss: &Loss) -> Gap<F::Position> {
        self.notices.loss(loss)
    }

    /// Returns how many frames were lost so far; the index is the reason as a number.
    pub(crate) fn lost(&self) -> &[u64; EventOverflowReason::ALL.len()] {
        &self.notices.lost
    }

    /// Returns how the stream failed, if it has. It ends after the frames that are queued.
    pub(crate) fn failure(&self) -> Option<&Failure<F::Position>> {
        self.failure.as_deref()
    }

    /// Lets a stream that failed in this refill resume after `position`, where it stood when the
    /// refill began: its reader may have gone past the queue, and come further than the last frame
    /// that was queued.
    pub(crate) fn resume_after(&mut self, position: &F::Position) {
        if let Some(failure) = &mut self.failure
            && failure.resume_from.sequence() < position.sequence()
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
    fn queue(&mut self, frame: F, own: MaybeNotice<F::Position>, weight: u64) {
        self.position.move_to(frame.sequence(), frame.journal());
        let mut notice = self.pending.take();
        append(&mut notice, own);
        self.queue.push(Entry {
            frame,
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
    fn drop_offered(&mut self, frame: &F, class: KindClass, reason: EventOverflowReason) {
        self.notices
            .add_drop(&mut self.pending, frame, class, reason);
    }

    /// Drops the oldest queued frame of a class. The frame after it reports that.
    #[inline(never)]
    fn evict(&mut self, class: KindClass, reason: EventOverflowReason) {
        let Some((
            Entry {
                frame,
                mut notice,
                weight,
            },
            after,
        )) = self.queue.take_oldest(class)
        else {
            return;
        };
        if weight > 0 {
            self.notices.add_drop(&mut notice, &frame, class, reason);
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
    fn join_summary(&mut self, frame: &F) {
        match &mut self.summary {
            Some(summary) => {
                summary.count += 1;
                summary.last = frame.clone();
                if summary.repair_from.is_none() {
                    summary.repair_from = frame.journal().cloned();
                }
            }
            None => {
                self.summary = Some(Summary {
                    count: 1,
                    first: self.notices.position_of(frame),
                    last: frame.clone(),
                    repair_from: frame.journal().cloned(),
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
                self.drop_offered(
                    &last,
                    KindClass::Progress,
                    EventOverflowReason::PolicyDroppedProgress,
                );
            }
            return;
        }
        let end = self.notices.position_of(&last);
        let reason = EventOverflowReason::PolicyDroppedProgress;
        self.notices.count(count, reason);
        let notice = self.notices.notice(count, first, end, true, reason);
        let notice = Some(Box::new(Gap {
            repair_from,
            ..notice
        }));
        if self.has_room() {
            self.queue(last.standing_for(count), notice, 0);
        } else {
            append(&mut self.pending, notice);
        }
    }

    /// Ends the stream after the frames that are queued, because there is no room for `frame`.
    #[cold]
    fn fail(&mut self, frame: &F, class: KindClass) {
        self.drop_offered(frame, class, EventOverflowReason::SubscriberQueueFull);
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
