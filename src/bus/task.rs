//! Waiting in a task, on any runtime: a future for one frame, and the `futures` stream.

use super::end::RecvError;
use super::stream::AgentEventStream;
use crate::event::EventFrame;
use std::borrow::BorrowMut;
use std::pin::Pin;
use std::task::{Context, Poll};

impl AgentEventStream {
    /// Waits for the next frame, on any runtime.
    ///
    /// Cancel-safe: a future that is dropped has taken no frame, and its task is not woken for it
    /// any more. A stream with a backlog yields to its runtime every 32 frames, so timers and other
    /// tasks go on beside it.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub async fn recv_async(&mut self) -> Result<EventFrame, RecvError> {
        let waiting = Waiting(self);
        std::future::poll_fn(|context| waiting.0.poll_recv(context)).await
    }

    /// The same stream as a `futures` stream: for `StreamExt`, `select!` and combinators.
    ///
    /// The type itself does not implement `futures::Stream`, since it is an iterator: `next` would
    /// be ambiguous.
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

    /// Polls for the next frame in a task, which yields now and then.
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<EventFrame, RecvError>> {
        if self.fairness.yields(context.waker()) {
            return Poll::Pending;
        }
        let next = self.poll_frame(context.waker());
        self.fairness.polled(matches!(next, Poll::Ready(Ok(_))));
        next
    }
}

/// A reader that waits. When it is dropped, its waker is deregistered.
struct Waiting<'a>(&'a mut AgentEventStream);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.deregister_waker();
    }
}

/// An [`AgentEventStream`] as a `futures` stream: made by
/// [`into_stream`](AgentEventStream::into_stream) and [`as_stream`](AgentEventStream::as_stream).
///
/// It gives frames, and `None` when the stream has ended; [`AgentEventStream::end`] says how.
/// Cancel-safe: a `next` future that is dropped has taken no frame. A stream with a backlog yields
/// to its runtime every 32 frames.
#[derive(Clone, Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct FrameStream<S = AgentEventStream>(S);

impl<S: BorrowMut<AgentEventStream>> FrameStream<S> {
    /// Returns the stream.
    pub fn get_ref(&self) -> &AgentEventStream {
        self.0.borrow()
    }

    /// Returns the stream, to change it.
    pub fn get_mut(&mut self) -> &mut AgentEventStream {
        self.0.borrow_mut()
    }

    /// Returns the stream, or the borrow of it.
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
