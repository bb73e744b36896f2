//! The policies: what is done with an arriving frame.
//!
//! For capacity C, reserve R and N = C - min(R, C): a frame that is not terminal has room when the
//! queue holds fewer than C frames and fewer than N that are not terminal.
//!
//! | arriving | DropNonTerminal | DropProgress | SummarizeAndContinue | FailSubscriber |
//! | --- | --- | --- | --- | --- |
//! | terminal | [`make_room_for_terminal`](BoundedQueue::make_room_for_terminal), queued; if all C are terminal, the take-in ends before it | same | pending summary closed first | same |
//! | progress, room | queued | queued | joins the summary | queued |
//! | progress, none | dropped | dropped | joins the summary | dropped, [`fail`](BoundedQueue::fail) |
//! | normal, room | queued | queued | summary closed first, room judged after | queued |
//! | normal, none | dropped | oldest progress dropped for it, or itself | summary closed first, dropped | dropped, `fail` |

use super::fifo::{Entry, Fifo};
use super::notice::{Loss, Slot, Teller, append, prepend, terminal_lost};
use crate::event::{
    EventCursor, EventOverflowNotice, EventOverflowReason, EventStreamScope, JournalCursor,
    KindClass, SealedEvent, SubscriberOverflowPolicy, SubscriberQueueConfig,
};
use std::ops::ControlFlow;
use triomphe::Arc;

/// A frame that comes out, with the notice that rides on it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: Arc<SealedEvent>,
    pub(crate) overflow: Option<Box<EventOverflowNotice>>,
    /// Whether it stands for others, which the notice counts, and not for itself.
    pub(crate) summary: bool,
}

/// How a stream ended by [`SubscriberOverflowPolicy::FailSubscriber`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The position after the last frame that comes out: resuming there loses nothing more.
    pub(crate) resume_from: EventCursor,
    /// What was lost behind it, as far as no earlier frame told of it.
    pub(crate) notice: EventOverflowNotice,
}

/// A run of progress frames that one frame will stand for.
#[derive(Clone, Debug)]
struct Summary {
    count: u64,
    first: EventCursor,
    last: Arc<SealedEvent>,
    repair_from: Option<JournalCursor>,
}

/// The queue of one subscription: frames in order, and notices of what its policy dropped.
#[derive(Clone, Debug)]
pub(crate) struct BoundedQueue {
    teller: Teller,
    capacity: usize,
    non_terminal_capacity: usize,
    queue: Fifo,
    summary: Option<Summary>,
    /// The terminal frame that the last take-in ended before: the next one begins with it.
    next_terminal: Option<Arc<SealedEvent>>,
    /// What is lost behind the last queued frame.
    pending: Slot,
    /// The position after the last frame queued; the epoch is the bus's throughout.
    position: EventCursor,
    failure: Option<Box<Failure>>,
}

impl BoundedQueue {
    /// An empty queue for a subscription that starts at `start`, whose scope its notices bear.
    pub(crate) fn new(config: SubscriberQueueConfig, start: EventCursor) -> Self {
        let capacity = config.capacity.get();
        BoundedQueue {
            teller: Teller {
                policy: config.overflow,
                scope: start.scope.clone(),
                lost: Default::default(),
            },
            capacity,
            non_terminal_capacity: capacity - config.terminal_reserve.get().min(capacity),
            queue: Fifo::new(),
            summary: None,
            next_terminal: None,
            pending: None,
            position: start,
            failure: None,
        }
    }

    /// The scope of the subscription.
    pub(crate) fn scope(&self) -> &EventStreamScope {
        &self.teller.scope
    }

    /// Begins a take-in, with an empty queue: the frame that the last one ended before comes first.
    pub(crate) fn begin(&mut self) {
        debug_assert!(self.len() == 0);
        if let Some(event) = self.next_terminal.take() {
            let _ = self.offer(&event);
        }
    }

    /// Takes in the next frame of the scope. The event is shared only if it is kept.
    ///
    /// Breaks where the queue is full of terminal frames and `event` is another one: the take-in
    /// ends before it. The event is kept for the next take-in, and nothing else is offered until
    /// that [begins](Self::begin).
    #[inline]
    pub(crate) fn offer(&mut self, event: &Arc<SealedEvent>) -> ControlFlow<()> {
        use SubscriberOverflowPolicy as Policy;
        debug_assert!(self.next_terminal.is_none());
        let class = event.envelope().event_kind.class();
        if self.failure.is_some() {
            self.offer_after_failure(class == KindClass::Terminal);
            return ControlFlow::Continue(());
        }
        let policy = self.teller.policy;
        if policy == Policy::SummarizeAndContinue {
            if class == KindClass::Progress {
                self.join_summary(event);
                return ControlFlow::Continue(());
            }
            self.close_summary();
        }
        if class == KindClass::Terminal {
            if self.queue.count(KindClass::Terminal) >= self.capacity {
                self.next_terminal = Some(event.clone());
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
                    self.drop_arriving(event, EventOverflowReason::PolicyDroppedProgress);
                }
                (Policy::DropProgress, _) if self.queue.count(KindClass::Progress) > 0 => {
                    self.evict(
                        KindClass::Progress,
                        EventOverflowReason::PolicyDroppedProgress,
                    );
                    self.queue(event.clone(), None, 1);
                }
                (Policy::DropProgress | Policy::SummarizeAndContinue, _) => {
                    self.drop_arriving(event, EventOverflowReason::SubscriberQueueFull);
                }
                (Policy::DropNonTerminal | Policy::BackpressureCaller, _) => {
                    self.drop_arriving(event, EventOverflowReason::PolicyDroppedNonTerminal);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes note of frames that the rings lost behind what was offered.
    pub(crate) fn lose(&mut self, loss: &Loss) {
        if self.failure.is_some() {
            self.offer_after_failure(!loss.terminal_preserved);
            return;
        }
        // What was lost need not have been progress: the run of it ends here.
        self.close_summary();
        append(&mut self.pending, Some(Box::new(self.teller.loss(loss))));
    }

    /// Ends a take-in: nothing more is offered until the queue is empty and the next one
    /// [begins](Self::begin).
    pub(crate) fn settle(&mut self) {
        self.close_summary();
        self.ride_on_last();
    }

    /// The next frame.
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

    /// Takes the notice that rides on the next frame, to tell it before.
    pub(crate) fn take_first_notice(&mut self) -> Option<EventOverflowNotice> {
        self.queue.first_mut()?.notice.take().map(|notice| *notice)
    }

    /// How many frames are queued.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether a frame is there without a look at the rings: queued, or the first of the next
    /// take-in.
    pub(crate) fn has_frame(&self) -> bool {
        self.queue.len() > 0 || self.next_terminal.is_some()
    }

    /// The terminal frame that the last take-in ended before, if it has not begun the next one.
    pub(crate) fn next_terminal(&self) -> Option<&SealedEvent> {
        self.next_terminal.as_deref()
    }

    /// What was lost and has no frame to ride on yet.
    pub(crate) fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        self.pending.as_deref()
    }

    /// Takes what was lost and has no frame to ride on, to tell it without one.
    pub(crate) fn take_pending(&mut self) -> Option<EventOverflowNotice> {
        self.pending.take().map(|notice| *notice)
    }

    /// The notice of a loss in the rings, for a reader that does without the queue.
    pub(crate) fn tell(&mut self, loss: &Loss) -> EventOverflowNotice {
        self.teller.loss(loss)
    }

    /// How many frames were lost so far, by the number of the reason.
    pub(crate) fn lost(&self) -> &[u64; EventOverflowReason::ALL.len()] {
        &self.teller.lost
    }

    /// Whether and how the stream failed. It ends after what is queued.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// Says of a stream that failed in this take-in where it stood when that began: its reader
    /// may have passed the queue by, and come further than to the last frame queued.
    pub(crate) fn resume_behind(&mut self, position: &EventCursor) {
        if let Some(failure) = &mut self.failure
            && failure.resume_from.event_seq < position.event_seq
        {
            failure.resume_from = position.clone();
        }
    }

    fn has_room(&self) -> bool {
        let terminals = self.queue.count(KindClass::Terminal);
        self.queue.len() < self.capacity
            && self.queue.len() - terminals < self.non_terminal_capacity
    }

    #[inline(never)]
    fn queue(&mut self, event: Arc<SealedEvent>, own: Slot, weight: u64) {
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

    /// What is pending has no frame behind it: it rides on the last one, if there is one.
    fn ride_on_last(&mut self) {
        if let Some(last) = self.queue.last_mut() {
            append(&mut last.notice, self.pending.take());
        }
    }

    #[inline]
    fn drop_arriving(&mut self, event: &SealedEvent, reason: EventOverflowReason) {
        self.teller.add_drop(&mut self.pending, event, reason);
    }

    /// Drops the oldest frame of a class; the frame behind it tells.
    #[inline(never)]
    fn evict(&mut self, class: KindClass, reason: EventOverflowReason) {
        let Some((
            Entry {
                event,
                mut notice,
                weight,
            },
            behind,
        )) = self.queue.take_oldest(class)
        else {
            return;
        };
        if weight > 0 {
            self.teller.add_drop(&mut notice, &event, reason);
        }
        match behind {
            Some(behind) => prepend(&mut behind.notice, notice),
            None => prepend(&mut self.pending, notice),
        }
    }

    /// Not to be called where all that is queued is terminal.
    fn make_room_for_terminal(&mut self) {
        while self.queue.len() >= self.capacity
            && let Some(class) = self.queue.oldest_non_terminal()
        {
            self.evict(class, EventOverflowReason::PolicyDroppedNonTerminal);
        }
    }

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
                    first: envelope.cursor(self.teller.scope.clone()),
                    last: event.clone(),
                    repair_from: envelope.journal_cursor.clone(),
                });
            }
        }
    }

    /// Puts one frame for the run of progress frames into the queue: the frame itself if it was
    /// only one.
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
            match self.has_room() {
                true => self.queue(last, None, 1),
                false => self.drop_arriving(&last, EventOverflowReason::PolicyDroppedProgress),
            }
            return;
        }
        let end = last.envelope().cursor(self.teller.scope.clone());
        let reason = EventOverflowReason::PolicyDroppedProgress;
        self.teller.count(count, reason);
        let notice = self.teller.notice(count, first, end, true, reason);
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

    /// Ends the stream after what is queued, because there is no room for `event`.
    #[cold]
    fn fail(&mut self, event: &SealedEvent) {
        self.drop_arriving(event, EventOverflowReason::SubscriberQueueFull);
        self.failure = self.pending.as_deref().map(|notice| {
            Box::new(Failure {
                resume_from: self.position.clone(),
                notice: notice.clone(),
            })
        });
        self.ride_on_last();
    }

    /// Nothing behind a failure is kept; but that a terminal frame is among it becomes known.
    #[cold]
    fn offer_after_failure(&mut self, terminal: bool) {
        if !terminal {
            return;
        }
        let told = match self.queue.last_mut() {
            Some(last) => &mut last.notice,
            None => &mut self.pending,
        };
        if let Some(notice) = told {
            terminal_lost(notice);
        }
        if let Some(failure) = &mut self.failure {
            terminal_lost(&mut failure.notice);
        }
    }

    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.queue.steps
    }
}
