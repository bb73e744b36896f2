//! A stream: a subscription read through its policy.
//!
//! Each call takes in all that was published when it began, puts it through the queue and gives the
//! queue's oldest frame. Waiting is lie down, take in again, sleep (see the ring's `wait.rs`).

mod repair;

use self::repair::Repair;
use super::batch::{BatchItem, FrameRef, frame, lend, show};
use super::end::{RecvError, StreamEnd};
use super::memory::{Event, Shared};
use super::park;
use super::scope::Scope;
use super::source::{FrameSource, Reading};
use super::stats::{Counts, StreamStats};
use super::trace;
use crate::bound::{BoundedQueue, Loss, Queued};
use crate::event::{
    AgentError, BusEpoch, EventCursor, EventEnvelope, EventFrame, EventOverflowNotice,
    EventOverflowReason, PayloadAccessMode, SubscriptionOptions,
};
use crate::ring::{Delivery, Gap, Polled, Subscription};
use crate::sync::Arc;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How often one looks, lying down, for what an unfinished publish holds back before one sleeps and
/// is woken by any.
const LOOKS: u32 = 4;

/// A stream of frames: live from a bus, read from an archive, or a fixed list.
///
/// As an iterator it never blocks: `None` says that it is caught up, and more may come later unless
/// [`end`](Self::end) says otherwise. A clone is an independent stream at the same place.
#[derive(Clone, Debug)]
pub struct AgentEventStream {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Live(Box<Live>),
    List(VecDeque<EventFrame>),
    Read(Reading),
}

struct Live {
    shared: Arc<Shared>,
    subscription: Subscription<Event>,
    scope: Scope,
    queue: BoundedQueue,
    access: PayloadAccessMode,
    /// The position after the last frame given.
    position: EventCursor,
    /// A publish that began earlier held back what came after it at the last take-in.
    held_back: bool,
    /// What the bus, reopened since, had forgotten behind the cursor.
    unread: Option<Gap>,
    repair: Option<Box<Repair>>,
    counts: Counts,
}

impl AgentEventStream {
    /// A stream of a fixed list of frames.
    pub fn new(frames: impl IntoIterator<Item = EventFrame>) -> Self {
        AgentEventStream {
            source: Source::List(frames.into_iter().collect()),
        }
    }

    /// A stream of what a source gives, until it ends or fails.
    pub fn from_source(source: impl FrameSource + 'static) -> Self {
        AgentEventStream {
            source: Source::Read(Reading::new(Box::new(source))),
        }
    }

    pub(super) fn live(
        shared: Arc<Shared>,
        subscription: Subscription<Event>,
        scope: Scope,
        options: SubscriptionOptions,
        unread: Option<Gap>,
    ) -> Self {
        let position = EventCursor {
            scope: scope.of_cursors(),
            event_seq: unread.map_or(subscription.position(), |gap| gap.first - 1),
            bus_epoch: shared.epoch,
            journal_cursor: None,
        };
        let live = Live {
            shared,
            subscription,
            scope,
            queue: BoundedQueue::new(options.queue, position.clone()),
            access: options.payload_access,
            position,
            held_back: false,
            unread,
            repair: None,
            counts: Counts::default(),
        };
        AgentEventStream {
            source: Source::Live(Box::new(live)),
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// [`RecvError::Ended`].
    pub fn recv(&mut self) -> Result<EventFrame, RecvError> {
        self.recv_until(None)
    }

    /// Waits for the next frame, on any runtime.
    ///
    /// Cancel-safe: a future that is dropped has taken no frame, and is not woken any more.
    ///
    /// # Errors
    /// [`RecvError::Ended`].
    pub async fn recv_async(&mut self) -> Result<EventFrame, RecvError> {
        let waiting = Waiting(self);
        std::future::poll_fn(|context| waiting.0.poll_frame(context.waker())).await
    }

    /// Waits for the next frame, at most so long.
    ///
    /// # Errors
    /// [`RecvError::Ended`], [`RecvError::Timeout`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<EventFrame, RecvError> {
        // A deadline beyond the clock's end is none.
        self.recv_until(Instant::now().checked_add(timeout))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<EventFrame, RecvError> {
        loop {
            if let Poll::Ready(frame) = park::with_waker(|waker| self.poll_frame(waker)) {
                return frame;
            }
            let waited = park::park(deadline);
            self.rise();
            if !waited {
                return self.next().ok_or(RecvError::Timeout);
            }
        }
    }

    /// The next frame, or the end; else `waker` is woken when there may be one.
    fn poll_frame(&mut self, waker: &Waker) -> Poll<Result<EventFrame, RecvError>> {
        // What holds a frame back may be any other; mostly it is over by the next look.
        let (mut any, mut looks) = (false, 0);
        loop {
            if let Some(frame) = self.next() {
                self.rise();
                return Poll::Ready(Ok(frame));
            }
            if let Some(end) = self.end() {
                self.rise();
                return Poll::Ready(Err(RecvError::Ended(end)));
            }
            let Source::Live(live) = &mut self.source else {
                return Poll::Pending;
            };
            // The first look was before it lay down.
            if looks > 0 {
                if live.waits_for_archive() {
                    return Poll::Pending;
                }
                let behind = live.subscription.is_behind();
                if behind == any || any && looks == LOOKS {
                    return Poll::Pending;
                }
                any = behind;
            }
            looks += 1;
            live.counts.lay_down_at = live.shared.ring.next_sequence() - 1;
            if let Err(error) = live.lie_down(any, waker) {
                return Poll::Ready(Err(RecvError::Refused(error)));
            }
        }
    }

    /// What became of the subscription so far. For a list, only what is queued; for what is read from
    /// an archive, nothing.
    pub fn stats(&self) -> StreamStats {
        match &self.source {
            Source::Live(live) => live.stats(),
            Source::List(frames) => StreamStats {
                queued: frames.len() as u64,
                ..StreamStats::default()
            },
            Source::Read(_) => StreamStats::default(),
        }
    }

    fn rise(&mut self) {
        if let Source::Live(live) = &mut self.source {
            live.subscription.rise();
            if let Some(repair) = &mut live.repair {
                repair.waker = None;
            }
        }
    }

    /// How the stream ended, once it has: `None` while more may come.
    pub fn end(&mut self) -> Option<StreamEnd> {
        match &mut self.source {
            Source::List(frames) => frames.is_empty().then_some(StreamEnd::ListEnded),
            Source::Read(reading) => reading.end().cloned(),
            Source::Live(live) => live.end(),
        }
    }

    /// What was lost and has no frame to ride on yet: it rides on the next one.
    pub fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        match &self.source {
            Source::List(_) => None,
            Source::Read(reading) => reading.pending_overflow(),
            Source::Live(live) => {
                let repair = live.repair.as_ref().and_then(|it| it.notice.as_deref());
                repair.or(live.queue.pending_overflow())
            }
        }
    }

    /// Takes what was lost and has no frame to ride on yet, to tell it now: it rides on none then.
    pub fn take_pending_overflow(&mut self) -> Option<EventOverflowNotice> {
        match &mut self.source {
            Source::List(_) | Source::Read(_) => None,
            Source::Live(live) => live.take_pending(),
        }
    }

    /// The position after the last frame given, to resume from. `None` unless the stream is live.
    pub fn cursor(&self) -> Option<&EventCursor> {
        match &self.source {
            Source::List(_) | Source::Read(_) => None,
            Source::Live(live) => Some(&live.position),
        }
    }

    /// Lends what is there to `visit`, without a queue and without copying, until it breaks. Loses
    /// frames to the rings only. Returns how many items it gave; 0 says that nothing is there now.
    ///
    /// A visitor that takes long delays nobody; publishers pass over the few slots that it holds.
    /// Frames that [`next`](Iterator::next) had taken in come first.
    pub fn read_batch(&mut self, mut visit: impl FnMut(BatchItem<'_>) -> ControlFlow<()>) -> usize {
        match &mut self.source {
            Source::Live(live) if live.repair.is_some() => {
                let mut left = repair::AHEAD;
                let next = || {
                    left = left.checked_sub(1)?;
                    live.next_repaired()
                };
                lend(next, &mut visit)
            }
            Source::Live(live) => live.read_batch(visit),
            Source::List(frames) => lend(|| frames.pop_front(), &mut visit),
            Source::Read(reading) => lend(|| reading.next(), &mut visit),
        }
    }
}

/// Who waits for a stream: when it is gone, nobody does.
struct Waiting<'a>(&'a mut AgentEventStream);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.rise();
    }
}

impl Live {
    /// Takes in all that was published when the call began.
    fn take_in(&mut self) {
        self.tell_unread();
        let Live {
            subscription,
            scope,
            queue,
            shared,
            ..
        } = self;
        let failed = queue.failure().is_some();
        let polled = subscription.poll(|delivery| {
            match delivery {
                Delivery::Frame(_, event) => {
                    if scope.matches(event.envelope()) {
                        queue.offer(event);
                    }
                }
                Delivery::Gap(gap) => {
                    trace::lost(queue.scope(), &gap);
                    queue.lose(&loss(gap, shared.epoch));
                }
            }
            ControlFlow::Continue(())
        });
        queue.settle();
        self.held_back = polled == Polled::Unfinished;
        if !failed && let Some(failure) = queue.failure() {
            trace::failed(&failure.resume_from);
        }
    }

    fn tell_unread(&mut self) {
        if let Some(gap) = self.unread.take() {
            trace::lost(self.queue.scope(), &gap);
            self.queue.lose(&loss(gap, self.shared.epoch));
        }
    }

    fn next(&mut self) -> Option<EventFrame> {
        if self.repair.is_some() {
            return self.next_repaired();
        }
        self.take_in();
        let Queued {
            event, overflow, ..
        } = self.pop()?;
        Some(frame(event, overflow, self.access, self.queue.scope()))
    }

    fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop()?;
        let envelope = queued.event.envelope();
        move_past(&mut self.position, envelope);
        self.counts.notices += u64::from(queued.overflow.is_some());
        if !queued.summary {
            self.counts.deliver(envelope);
        }
        Some(queued)
    }

    fn take_pending(&mut self) -> Option<EventOverflowNotice> {
        let repair = self.repair.as_mut().and_then(|it| it.notice.take());
        let notice = repair.map(|it| *it).or_else(|| self.queue.take_pending());
        self.counts.notices += u64::from(notice.is_some());
        notice
    }

    fn stats(&self) -> StreamStats {
        let position = self.position.event_seq;
        let ahead = self.repair.as_ref().map_or(0, |it| it.ahead.len());
        let last = self.shared.ring.next_sequence() - 1;
        let Counts {
            lay_down_at,
            delivered,
            terminals,
            notices,
        } = self.counts;
        StreamStats {
            position,
            lag: last.saturating_sub(position.max(lay_down_at)),
            queued: (self.queue.len() + ahead) as u64,
            delivered,
            terminals,
            dropped: (*self.queue.lost()).into(),
            laps: self.subscription.laps(),
            notices,
        }
    }

    fn end(&mut self) -> Option<StreamEnd> {
        if self.queue.len() > 0 {
            return None;
        }
        if let Some(failure) = self.queue.failure() {
            let notice = Box::new(failure.notice.clone());
            return Some(StreamEnd::Failed {
                resume_from: failure.resume_from.clone(),
                notice,
            });
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
        (self.queue.len() == 0 && !self.held_back).then_some(StreamEnd::BusClosed)
    }

    fn lie_down(&mut self, any: bool, waker: &Waker) -> Result<(), AgentError> {
        if let Some(repair) = &mut self.repair {
            repair.waker = Some(waker.clone());
        }
        let key = (!any).then(|| self.scope.key());
        self.subscription
            .lie_down(key, waker)
            .map_err(super::memory::subscribe_error)
    }

    fn read_batch(&mut self, mut visit: impl FnMut(BatchItem<'_>) -> ControlFlow<()>) -> usize {
        self.tell_unread();
        let mut count = 0;
        let mut visit = |item: BatchItem<'_>| {
            count += 1;
            visit(item)
        };
        while let Some(Queued {
            event, overflow, ..
        }) = self.pop()
        {
            let shown = FrameRef {
                event: &event,
                access: self.access,
                scope: self.queue.scope(),
            };
            if show(shown, overflow, &mut visit).is_break() {
                return count;
            }
        }
        if let Some(notice) = self.take_pending()
            && visit(BatchItem::Gap(notice)).is_break()
        {
            return count;
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
            return count;
        }
        subscription.batch(|delivery| match delivery {
            Delivery::Gap(gap) => {
                trace::lost(queue.scope(), &gap);
                counts.notices += 1;
                visit(BatchItem::Gap(queue.tell(&loss(gap, shared.epoch))))
            }
            Delivery::Frame(_, event) if scope.matches(event.envelope()) => {
                move_past(position, event.envelope());
                counts.deliver(event.envelope());
                visit(BatchItem::Frame(FrameRef {
                    event,
                    access: *access,
                    scope: queue.scope(),
                }))
            }
            Delivery::Frame(..) => ControlFlow::Continue(()),
        });
        count
    }
}

fn move_past(position: &mut EventCursor, envelope: &EventEnvelope) {
    position.event_seq = envelope.event_seq;
    position.journal_cursor.clone_from(&envelope.journal_cursor);
}

fn loss(gap: Gap, epoch: BusEpoch) -> Loss {
    Loss {
        count: gap.lost,
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

impl Iterator for AgentEventStream {
    type Item = EventFrame;

    fn next(&mut self) -> Option<EventFrame> {
        match &mut self.source {
            Source::Live(live) => live.next(),
            Source::List(frames) => frames.pop_front(),
            Source::Read(reading) => reading.next(),
        }
    }
}

impl futures_core::Stream for AgentEventStream {
    type Item = EventFrame;

    /// The next frame; `None` when the stream ended, of which [`end`](AgentEventStream::end) says why.
    /// Cancel-safe: a dropped future has taken nothing.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventFrame>> {
        self.get_mut().poll_frame(context.waker()).map(Result::ok)
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
            access: self.access,
            position: self.position.clone(),
            held_back: self.held_back,
            unread: self.unread,
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
