//! Waiting in a task, on any runtime: a future for one frame, and the `futures` stream.
//!
//! A stream with a backlog is ready at each poll. On a runtime whose tasks give way by themselves,
//! as most do, a task that reads one would keep its thread: no timer fires there and no other task
//! runs. So a stream that was ready [`MOST_IN_A_ROW`] times says once that it is not, and has its
//! task woken at once: the runtime gets a turn. That costs a wake-up for so many frames, 12
//! instructions a frame on tokio.

use super::AgentEventStream;
use crate::bus::end::RecvError;
use crate::event::EventFrame;
use std::borrow::BorrowMut;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// How many frames a stream gives in a row, before it lets its task's runtime have a turn.
const MOST_IN_A_ROW: u32 = 32;

/// How many frames a stream gave to a task since the task last had to wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fairness {
    in_a_row: u32,
}

impl Fairness {
    /// Whether the task gives way now: its waker was woken then.
    fn gives_way(&mut self, waker: &Waker) -> bool {
        let gives_way = self.in_a_row >= MOST_IN_A_ROW;
        if gives_way {
            self.in_a_row = 0;
            waker.wake_by_ref();
        }
        gives_way
    }

    fn gave(&mut self, frame: bool) {
        self.in_a_row = if frame { self.in_a_row + 1 } else { 0 };
    }
}

impl AgentEventStream {
    /// Waits for the next frame, on any runtime.
    ///
    /// Cancel-safe: a future that is dropped has taken no frame, and is not woken any more. A
    /// stream with a backlog gives its runtime a turn every 32 frames, so timers and other tasks go
    /// on beside it.
    ///
    /// # Errors
    /// [`RecvError::Ended`].
    pub async fn recv_async(&mut self) -> Result<EventFrame, RecvError> {
        let waiting = Waiting(self);
        std::future::poll_fn(|context| waiting.0.poll_recv(context)).await
    }

    /// The same stream as a `futures` stream: for `StreamExt`, `select!` and combinators.
    ///
    /// The stream itself is none, since it is an iterator: `next` would be ambiguous.
    ///
    /// ```
    /// use framebus::*;
    /// use futures_util::StreamExt;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let bus = InMemoryAgentEventBus::default();
    /// let mut frames = bus.subscribe_run("run-1".into(), None)?.into_stream();
    /// let done = EventEnvelope::new("run-1", "planner", EventKind::RunCompleted);
    /// bus.publish(AgentEvent::envelope_only(done).into())?;
    /// let frame = frames.next().await.unwrap();
    /// assert_eq!(frame.event.envelope.event_kind, EventKind::RunCompleted);
    /// # Ok::<(), AgentError>(())
    /// # }).unwrap();
    /// ```
    pub fn into_stream(self) -> FrameStream {
        FrameStream(self)
    }

    /// This stream, borrowed as a `futures` stream; see [`into_stream`](Self::into_stream).
    pub fn as_stream(&mut self) -> FrameStream<&mut AgentEventStream> {
        FrameStream(self)
    }

    /// The next frame for a task, which gives way now and then.
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<EventFrame, RecvError>> {
        if self.fairness.gives_way(context.waker()) {
            return Poll::Pending;
        }
        let next = self.poll_frame(context.waker());
        self.fairness.gave(matches!(next, Poll::Ready(Ok(_))));
        next
    }
}

/// A reader that waits: when it is gone, nobody is woken for it.
struct Waiting<'a>(&'a mut AgentEventStream);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.deregister_waker();
    }
}

/// An [`AgentEventStream`] as a `futures` stream: made by
/// [`into_stream`](AgentEventStream::into_stream) and [`as_stream`](AgentEventStream::as_stream).
///
/// It gives frames, and `None` when the stream ended, of which [`AgentEventStream::end`] says why.
/// Cancel-safe: a `next` future that is dropped has taken no frame. A stream with a backlog gives
/// its runtime a turn every 32 frames.
#[derive(Clone, Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct FrameStream<S = AgentEventStream>(S);

impl<S: BorrowMut<AgentEventStream>> FrameStream<S> {
    /// The stream that it was made of.
    pub fn get_ref(&self) -> &AgentEventStream {
        self.0.borrow()
    }

    /// The stream that it was made of, to change.
    pub fn get_mut(&mut self) -> &mut AgentEventStream {
        self.0.borrow_mut()
    }

    /// The stream that it was made of, or the borrow.
    pub fn into_inner(self) -> S {
        self.0
    }
}

impl<S: BorrowMut<AgentEventStream> + Unpin> futures_core::Stream for FrameStream<S> {
    type Item = EventFrame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventFrame>> {
        let stream = self.get_mut().0.borrow_mut();
        stream.poll_recv(context).map(Result::ok)
    }
}
