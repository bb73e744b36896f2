//! A stream, as its holder has it: live from a bus, read from elsewhere, or a list.
//!
//! Waiting is lie down, look again, sleep (see the ring's `wait.rs`). `stream/task.rs` waits in
//! tasks.

mod live;
mod repair;
mod task;

pub(super) use self::live::Live;
pub use self::task::FrameStream;

use self::repair::SomeRepaired;
use super::batch::{BatchItem, Lender, lend};
use super::end::{RecvError, StreamEnd};
use super::park;
use super::source::{FrameSource, Reading};
use super::stats::StreamStats;
use crate::event::{EventCursor, EventFrame, EventOverflowNotice};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// How often one looks, lying down, for what an unfinished publish holds back before one sleeps and
/// is woken by any.
const LOOKS: u32 = 4;

/// A stream of frames: live from a bus, read from an archive, or a fixed list.
///
/// As an iterator it never blocks: `None` says that it is caught up, and more may come later unless
/// [`end`](Self::end) says otherwise. A clone is an independent stream at the same place.
///
/// | to wait for the next frame | |
/// | --- | --- |
/// | in a thread | [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout) |
/// | in a task, on any runtime | [`recv_async`](Self::recv_async) |
/// | as a `futures` stream | [`into_stream`](Self::into_stream), [`as_stream`](Self::as_stream) |
/// | in batches, borrowed, without waiting | [`read_batch`](Self::read_batch) |
#[derive(Clone, Debug)]
#[must_use = "a stream gives nothing unless it is read"]
pub struct AgentEventStream {
    source: Source,
    fairness: task::Fairness,
}

#[derive(Clone, Debug)]
enum Source {
    Live(Box<Live>),
    List(VecDeque<EventFrame>),
    Read(Reading),
}

impl AgentEventStream {
    /// A stream of a fixed list of frames.
    pub fn new(frames: impl IntoIterator<Item = EventFrame>) -> Self {
        Self::of(Source::List(frames.into_iter().collect()))
    }

    /// A stream of what a source gives, until it ends or fails.
    pub fn from_source(source: impl FrameSource + 'static) -> Self {
        Self::of(Source::Read(Reading::new(Box::new(source))))
    }

    pub(super) fn live(live: Live) -> Self {
        Self::of(Source::Live(Box::new(live)))
    }

    fn of(source: Source) -> Self {
        AgentEventStream {
            source,
            fairness: task::Fairness::default(),
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// [`RecvError::Ended`].
    pub fn recv(&mut self) -> Result<EventFrame, RecvError> {
        self.recv_until(None)
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
            self.deregister_waker();
            if !waited {
                let last = self.next();
                return last.ok_or_else(|| self.end().map_or(RecvError::Timeout, RecvError::Ended));
            }
        }
    }

    /// The next frame, or the end; else `waker` is woken when there may be one.
    fn poll_frame(&mut self, waker: &Waker) -> Poll<Result<EventFrame, RecvError>> {
        // What holds a frame back may be any other; mostly it is over by the next look.
        let (mut any, mut looks) = (false, 0);
        loop {
            if let Some(frame) = self.next() {
                self.deregister_waker();
                return Poll::Ready(Ok(frame));
            }
            if let Some(end) = self.end() {
                self.deregister_waker();
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
            if let Err(error) = live.register_waker(any, waker) {
                return Poll::Ready(Err(RecvError::Refused(error)));
            }
        }
    }

    /// What became of the subscription so far. For a list, only what is queued; for what is read
    /// from an archive, nothing.
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

    fn deregister_waker(&mut self) {
        if let Source::Live(live) = &mut self.source {
            live.deregister_waker();
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
            Source::Live(live) => live.pending_overflow(),
        }
    }

    /// Takes what was lost and has no frame to ride on yet, to tell it now: it rides on none then.
    pub fn take_pending_overflow(&mut self) -> Option<EventOverflowNotice> {
        match &mut self.source {
            Source::List(_) | Source::Read(_) => None,
            Source::Live(live) => live.take_pending(),
        }
    }

    /// The position to resume from: after all that the stream has given or told, or looked at and
    /// passed over. A reader of a quiet run that polls now and then, is dropped and resumes here,
    /// has missed nothing. `None` unless the stream is live.
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
                let left = repair::AHEAD;
                let count = lend(&mut SomeRepaired { live, left }, &mut visit);
                match (count == 0).then(|| live.take_pending()).flatten() {
                    // No frame came that it could ride on.
                    Some(notice) => {
                        let _ = visit(BatchItem::Gap(notice));
                        1
                    }
                    None => count,
                }
            }
            Source::Live(live) => live.read_batch(visit),
            Source::List(frames) => lend(frames, &mut visit),
            Source::Read(reading) => lend(reading, &mut visit),
        }
    }
}

impl Lender for VecDeque<EventFrame> {
    fn next(&mut self) -> Option<EventFrame> {
        self.pop_front()
    }

    fn take_back(&mut self, frame: EventFrame) {
        self.push_front(frame);
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
