//! A subscription read through its policy: the live source of a stream.
//!
//! A call that finds the queue empty takes in what was published when it began and puts it through
//! the queue; while frames are queued, calls give those and the rings are the buffer. A complete
//! stream takes in a few frames at a time and drops none. With a repair, the queue is passed by:
//! see `repair.rs`.

use super::repair::Repair;
use crate::bound::{BoundedQueue, Loss, Queued};
use crate::bus::batch::{BatchItem, FrameRef, frame};
use crate::bus::end::StreamEnd;
use crate::bus::memory::{Event, Shared, subscribe_error};
use crate::bus::scope::Scope;
use crate::bus::stats::{Counts, StreamStats};
use crate::bus::trace;
use crate::event::{
    AgentError, BusEpoch, EventCursor, EventEnvelope, EventFrame, EventOverflowNotice,
    EventOverflowReason, EventStreamScope, PayloadAccessMode, SubscriberOverflowPolicy,
    SubscriberQueueConfig, SubscriptionOptions,
};
use crate::ring::{Delivery, Gap, Polled, Subscription};
use crate::sync::Arc;
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::task::Waker;

/// How many frames a complete stream takes in at once.
const AHEAD: usize = 64;

/// A live stream: a subscription to the rings, the queue that bounds it, and its position.
pub(in crate::bus) struct Live {
    pub(super) shared: Arc<Shared>,
    pub(super) subscription: Subscription<Event>,
    pub(super) scope: Scope,
    pub(super) queue: BoundedQueue,
    /// How many frames the queue takes in at once.
    most_queued: usize,
    pub(super) access: PayloadAccessMode,
    /// All of the scope up to here was given or told.
    pub(super) position: EventCursor,
    /// A publish that began earlier held back what came after it at the last take-in.
    pub(super) held_back: bool,
    pub(super) repair: Option<Box<Repair>>,
    pub(super) counts: Counts,
}

impl Live {
    /// A subscription that nothing was read of yet.
    pub(in crate::bus) fn new(
        shared: Arc<Shared>,
        subscription: Subscription<Event>,
        scope: Scope,
        options: SubscriptionOptions,
    ) -> Self {
        let position = EventCursor {
            scope: scope.of_cursors(),
            event_seq: subscription.position(),
            bus_epoch: shared.epoch,
            journal_cursor: None,
        };
        let (queue, most_queued) = match options.complete {
            // What has room for all drops nothing.
            true => (
                SubscriberQueueConfig {
                    capacity: NonZeroUsize::MAX,
                    overflow: SubscriberOverflowPolicy::default(),
                    ..options.queue
                },
                AHEAD,
            ),
            false => (options.queue, usize::MAX),
        };
        Live {
            shared,
            subscription,
            scope,
            queue: BoundedQueue::new(queue, position.clone()),
            most_queued,
            access: options.payload_access,
            position,
            held_back: false,
            repair: None,
            counts: Counts::default(),
        }
    }

    /// Takes in what was published when the call began, if nothing is queued.
    fn take_in(&mut self) {
        if self.queue.len() > 0 {
            return;
        }
        self.queue.begin();
        let Live {
            subscription,
            scope,
            queue,
            shared,
            most_queued,
            ..
        } = self;
        let failed = queue.failure().is_some();
        let polled = subscription.poll(|delivery| match delivery {
            Delivery::Frame(_, event) if scope.matches(event.envelope()) => {
                queue.offer(event)?;
                match queue.len() < *most_queued {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            }
            Delivery::Frame(..) => ControlFlow::Continue(()),
            Delivery::Gap(gap) => {
                trace::lost(queue.scope(), &gap);
                queue.lose(&loss(gap, shared.epoch, scope));
                ControlFlow::Continue(())
            }
        });
        queue.settle();
        self.held_back = polled == Polled::Unfinished;
        if !failed && queue.failure().is_some() {
            queue.resume_behind(&self.position);
            if let Some(failure) = queue.failure() {
                trace::failed(&failure.resume_from);
            }
        }
    }

    /// Moves the position to what was looked at, where all below was given and told.
    pub(super) fn settle_position(&mut self) {
        let all_said = self.queue.len() == 0
            && self.pending_overflow().is_none()
            && self.queue.failure().is_none()
            && self.repair.as_deref().is_none_or(Repair::is_idle);
        if all_said {
            let looked_at = match self.queue.next_terminal() {
                Some(event) => event.envelope().event_seq - 1,
                None => self.subscription.position(),
            };
            self.position.event_seq = self.position.event_seq.max(looked_at);
        }
    }

    pub(super) fn next(&mut self) -> Option<EventFrame> {
        let next = match self.repair.is_some() {
            true => self.next_repaired(),
            false => {
                self.take_in();
                self.next_taken()
            }
        };
        self.settle_position();
        next
    }

    /// The next frame that was taken in.
    pub(super) fn next_taken(&mut self) -> Option<EventFrame> {
        let Queued {
            event, overflow, ..
        } = self.pop()?;
        Some(frame(event, overflow, self.access, self.queue.scope()))
    }

    /// Takes out the next frame that was taken in, or that the last take-in ended before.
    fn pop(&mut self) -> Option<Queued> {
        if self.queue.len() == 0 {
            self.queue.begin();
        }
        let queued = self.queue.pop()?;
        let envelope = queued.event.envelope();
        move_past(&mut self.position, envelope);
        self.counts.notices += u64::from(queued.overflow.is_some());
        if !queued.summary {
            self.counts.deliver(envelope);
        }
        Some(queued)
    }

    /// Takes the notice that rides on the next frame that was taken in.
    fn take_first_notice(&mut self) -> Option<EventOverflowNotice> {
        let notice = self.queue.take_first_notice();
        self.counts.notices += u64::from(notice.is_some());
        notice
    }

    pub(super) fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        let repair = self.repair.as_ref().and_then(|it| it.notice.as_deref());
        repair.or(self.queue.pending_overflow())
    }

    pub(super) fn take_pending(&mut self) -> Option<EventOverflowNotice> {
        let repair = self.repair.as_mut().and_then(|it| it.notice.take());
        let notice = repair.map(|it| *it).or_else(|| self.queue.take_pending());
        self.counts.notices += u64::from(notice.is_some());
        if notice.is_some() {
            self.settle_position();
        }
        notice
    }

    pub(super) fn stats(&self) -> StreamStats {
        let position = self.position.event_seq;
        let ahead = self.repair.as_ref().map_or(0, |it| it.ahead.len());
        let last = self.shared.ring.next_sequence() - 1;
        let Counts {
            delivered,
            terminals,
            notices,
        } = self.counts;
        StreamStats {
            position,
            lag: last.saturating_sub(position),
            queued: (self.queue.len() + ahead) as u64,
            delivered,
            terminals,
            dropped: (*self.queue.lost()).into(),
            laps: self.subscription.times_lapped(),
            notices,
        }
    }

    pub(super) fn end(&mut self) -> Option<StreamEnd> {
        if self.queue.has_frame() {
            return None;
        }
        if let Some(failed) = self.failed() {
            return Some(failed);
        }
        if !self.shared.is_closed() {
            return None;
        }
        // Nothing is published any more: what this does not find is not there.
        if self.repair.is_some() {
            return self
                .is_repaired_to_the_end()
                .then_some(StreamEnd::BusClosed);
        }
        self.take_in();
        if self.queue.has_frame() {
            return None;
        }
        self.failed()
            .or_else(|| (!self.held_back).then_some(StreamEnd::BusClosed))
    }

    fn failed(&self) -> Option<StreamEnd> {
        let failure = self.queue.failure()?;
        Some(StreamEnd::Failed {
            resume_from: failure.resume_from.clone(),
            notice: Box::new(failure.notice.clone()),
        })
    }

    pub(super) fn register_waker(&mut self, any: bool, waker: &Waker) -> Result<(), AgentError> {
        if let Some(repair) = &mut self.repair {
            repair.register_waker(waker);
        }
        let key = (!any).then(|| self.scope.key());
        self.subscription
            .register_waker(key, waker)
            .map_err(subscribe_error)
    }

    pub(super) fn deregister_waker(&mut self) {
        self.subscription.deregister_waker();
        if let Some(repair) = &mut self.repair {
            repair.deregister_waker();
        }
    }

    pub(super) fn read_batch(
        &mut self,
        visit: impl FnMut(BatchItem<'_>) -> ControlFlow<()>,
    ) -> usize {
        let count = self.give_batch(visit);
        self.settle_position();
        count
    }

    fn give_batch(&mut self, mut visit: impl FnMut(BatchItem<'_>) -> ControlFlow<()>) -> usize {
        let count = Cell::new(0);
        let mut visit = |item: BatchItem<'_>| {
            count.set(count.get() + 1);
            visit(item)
        };
        loop {
            // Told while the frame is queued yet, which a visitor that panics then does not lose.
            let told = match self.take_first_notice() {
                Some(notice) => visit(BatchItem::Gap(notice)),
                None => ControlFlow::Continue(()),
            };
            let Some(Queued { event, .. }) = self.pop() else {
                break;
            };
            let shown = FrameRef {
                event: &event,
                access: self.access,
                scope: self.queue.scope(),
                archived: None,
            };
            if visit(BatchItem::Frame(shown)).is_break() || told.is_break() {
                return count.get();
            }
        }
        if let Some(notice) = self.take_pending()
            && visit(BatchItem::Gap(notice)).is_break()
        {
            return count.get();
        }
        let Live {
            subscription,
            scope,
            queue,
            shared,
            access,
            position,
            counts,
            ..
        } = self;
        if queue.failure().is_some() {
            return count.get();
        }
        let mut deliver = |delivery: Delivery<'_, Event>| match delivery {
            Delivery::Gap(gap) => {
                trace::lost(queue.scope(), &gap);
                counts.notices += 1;
                visit(BatchItem::Gap(queue.tell(&loss(gap, shared.epoch, scope))))
            }
            Delivery::Frame(_, event) if scope.matches(event.envelope()) => {
                move_past(position, event.envelope());
                counts.deliver(event.envelope());
                visit(BatchItem::Frame(FrameRef {
                    event,
                    access: *access,
                    scope: queue.scope(),
                    archived: None,
                }))
            }
            Delivery::Frame(..) => ControlFlow::Continue(()),
        };
        let given = subscription.batch(&mut deliver);
        if count.get() == 0 && (given > 0 || !subscription.reads_everything()) {
            // Nothing says yet that nothing is there: other frames may stand before those of the
            // scope. A poll looks at all that was published, and knows how far it has looked.
            subscription.poll(deliver);
        }
        count.get()
    }
}

pub(super) fn move_past(position: &mut EventCursor, envelope: &EventEnvelope) {
    position.event_seq = envelope.event_seq;
    position.journal_cursor.clone_from(&envelope.journal_cursor);
}

pub(super) fn loss(gap: Gap, epoch: BusEpoch, scope: &Scope) -> Loss {
    Loss {
        count: gap.lost,
        // A gap counts numbers, or bounds them: which of them are of a narrower scope nobody knows.
        exact: gap.lost == 0 || matches!(scope, Scope::Plain(EventStreamScope::All)),
        first_seq: gap.first,
        last_seq: gap.last,
        epoch,
        terminal_preserved: !gap.terminals_lost,
        reason: match gap.expired {
            true => EventOverflowReason::LiveBufferExpired,
            false => EventOverflowReason::SubscriberLagged,
        },
    }
}

impl Clone for Live {
    /// # Panics
    /// If some 2^30 subscriptions to one shard are alive.
    fn clone(&self) -> Self {
        let subscription = self.subscription.try_clone();
        Live {
            shared: self.shared.clone(),
            subscription: subscription.expect("fewer than 2^30 subscriptions are alive"),
            scope: self.scope.clone(),
            queue: self.queue.clone(),
            most_queued: self.most_queued,
            access: self.access,
            position: self.position.clone(),
            held_back: self.held_back,
            repair: self.repair.clone(),
            counts: self.counts,
        }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("scope", &self.position.scope)
            .field("position", &self.position.event_seq)
            .field("queued", &self.queue.len())
            .finish_non_exhaustive()
    }
}
