//! A stream, as its holder has it: live from a bus, read from elsewhere, or a list.
//!
//! To wait is to register a waker, look again, and sleep (see the ring's `wait.rs`). Here a thread
//! waits; `task.rs` waits in a task.

mod fairness;
mod intake;
mod live;
mod progress;
mod read_ahead;
mod scoped;

pub(super) use self::live::Live;
pub(super) use self::read_ahead::{GapFiller, GapReports, Step};

use self::fairness::Fairness;
use super::batch::{BatchItem, Lender, lend};
use super::end::{RecvError, StreamEnd};
use super::park;
use super::source::{FrameSource, Reading};
use super::stats::StreamStats;
use crate::event::{AgentError, EventCursor, EventFrame, EventOverflowNotice};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// How often a reader whose waker is registered looks for what an unfinished publish holds back,
/// before it has any publish wake it and sleeps.
const LOOKS: u32 = 4;

/// A stream of frames: live from a bus, read from an archive, or a fixed list.
///
/// As an iterator it never blocks: `None` says that it is caught up, and more may come later unless
/// [`end`](Self::end) says otherwise. A clone is an independent stream at the same position.
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
    /// Only a task that reads the stream uses it.
    pub(super) fairness: Fairness,
}

/// Where a stream's frames come from.
#[derive(Clone, Debug)]
enum Source {
    /// The rings of a bus.
    Live(Box<Live>),
    /// A fixed list.
    List(VecDeque<EventFrame>),
    /// Elsewhere, such as an archive.
    Read(Reading),
}

impl AgentEventStream {
    /// A stream of a fixed list of frames.
    pub fn new(frames: impl IntoIterator<Item = EventFrame>) -> Self {
        Self::of(Source::List(frames.into_iter().collect()))
    }

    /// A stream of the frames that a source gives, until it ends or fails.
    pub fn from_source(source: impl FrameSource + 'static) -> Self {
        Self::of(Source::Read(Reading::new(Box::new(source))))
    }

    /// A stream of a subscription to a bus.
    pub(super) fn live(live: Live) -> Self {
        Self::of(Source::Live(Box::new(live)))
    }

    fn of(source: Source) -> Self {
        AgentEventStream {
            source,
            fairness: Fairness::default(),
        }
    }

    /// Returns why some of the frames so far could not be read.
    pub(super) fn damage(&self) -> Option<&AgentError> {
        match &self.source {
            Source::Read(reading) => reading.damage(),
            Source::Live(_) | Source::List(_) => None,
        }
    }

    /// Returns the subscription, if the stream is live.
    pub(super) fn as_live(&self) -> Option<&Live> {
        match &self.source {
            Source::Live(live) => Some(live),
            Source::List(_) | Source::Read(_) => None,
        }
    }

    /// Returns the subscription, if the stream is live, to change it.
    pub(super) fn as_live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.source {
            Source::Live(live) => Some(live),
            Source::List(_) | Source::Read(_) => None,
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// [`RecvError::Ended`]; [`RecvError::Refused`] if more readers wait than the rings can count.
    pub fn recv(&mut self) -> Result<EventFrame, RecvError> {
        self.recv_until(None)
    }

    /// Waits for the next frame, for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvError::Timeout`], and as for [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<EventFrame, RecvError> {
        // A deadline beyond the clock's end never comes.
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// Waits for the next frame until the deadline; without one, for ever.
    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<EventFrame, RecvError> {
        loop {
            if let Poll::Ready(frame) = park::with_waker(|waker| self.poll_frame(waker)) {
                return frame;
            }
            let in_time = park::park(deadline);
            self.deregister_waker();
            if !in_time {
                let last = self.next();
                return last.ok_or_else(|| self.end().map_or(RecvError::Timeout, RecvError::Ended));
            }
        }
    }

    /// Returns the next frame, or the end. Otherwise registers `waker`, which is woken when there
    /// may be one.
    pub(super) fn poll_frame(&mut self, waker: &Waker) -> Poll<Result<EventFrame, RecvError>> {
        // A frame may be held back by an unfinished publish of another scope, which only a wake by
        // any publish reveals. Mostly it is finished by the next look.
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
            let Some(live) = self.as_live_mut() else {
                return Poll::Pending;
            };
            // The first look was before the waker was registered.
            if looks > 0 {
                if live.waits_for_filler() {
                    return Poll::Pending;
                }
                let held_back = live.is_held_back();
                if held_back == any || any && looks == LOOKS {
                    return Poll::Pending;
                }
                any = held_back;
            }
            looks += 1;
            if let Err(error) = live.register_waker(any, waker) {
                return Poll::Ready(Err(RecvError::Refused(error)));
            }
        }
    }

    /// Returns what became of the subscription so far. For a list, only `queued` is set; for frames
    /// that are read from a source, such as an archive, nothing is.
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

    /// Deregisters the waker that [`poll_frame`](Self::poll_frame) registered.
    pub(super) fn deregister_waker(&mut self) {
        if let Some(live) = self.as_live_mut() {
            live.deregister_waker();
        }
    }

    /// Returns how the stream ended, once it has and every frame was given; `None` while more may
    /// come.
    pub fn end(&mut self) -> Option<StreamEnd> {
        match &mut self.source {
            Source::List(frames) => frames.is_empty().then_some(StreamEnd::ListEnded),
            Source::Read(reading) => reading.end().cloned(),
            Source::Live(live) => live.end(),
        }
    }

    /// Returns the notice of what was lost after the last frame. It is attached to the next frame.
    pub fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        match &self.source {
            Source::List(_) => None,
            Source::Read(reading) => reading.pending_overflow(),
            Source::Live(live) => live.pending_overflow(),
        }
    }

    /// Takes the notice of what was lost after the last frame, to report it now. It is attached to
    /// no frame then.
    pub fn take_pending_overflow(&mut self) -> Option<EventOverflowNotice> {
        match &mut self.source {
            Source::List(_) | Source::Read(_) => None,
            Source::Live(live) => live.take_pending(),
        }
    }

    /// Returns the position to resume from: after every frame that the stream gave, reported as
    /// lost, or looked at and passed over. A reader of a quiet run that polls now and then, is
    /// dropped and resumes here, has missed nothing. `None` unless the stream is live.
    pub fn cursor(&self) -> Option<&EventCursor> {
        self.as_live().map(Live::position)
    }

    /// Lends what is there to `visit`, without a queue and without copying, until it breaks. Loses
    /// frames to the rings only. Returns how many items it lent; 0 means that nothing is there now.
    ///
    /// A slow visitor delays nobody: publishers skip the few slots that its batch pins. Frames that
    /// [`next`](Iterator::next) had queued come first.
    pub fn read_batch(&mut self, mut visit: impl FnMut(BatchItem<'_>) -> ControlFlow<()>) -> usize {
        match &mut self.source {
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

    #[inline]
    fn next(&mut self) -> Option<EventFrame> {
        match &mut self.source {
            Source::Live(live) => live.next(),
            Source::List(frames) => frames.pop_front(),
            Source::Read(reading) => reading.next(),
        }
    }
}
