//! One client's connection: its subscription as a stream of messages.
//!
//! It is polled when the connection takes more, and buffers nothing itself: frames that are not
//! sent yet are in the subscription's queue, or still in the rings.

use crate::bus::{AgentEventStream, StreamEnd};
use crate::event::{EventCursor, EventFrame, EventOverflowNotice, EventStreamScope};
use axum::Error;
use axum::response::sse::Event;
use futures_core::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// A client's messages, as a stream for axum.
pub(super) struct Connection {
    stream: AgentEventStream,
    /// The scope that the messages' positions name.
    scope: EventStreamScope,
    next: Next,
    /// The client's share of the limit on clients. Released when this is dropped.
    _permit: OwnedSemaphorePermit,
}

/// The next message.
enum Next {
    /// The first one: how long to wait before reconnecting.
    Hello(Duration),
    /// A frame, a gap, or the end.
    Frames,
    /// None: the end was sent.
    Nothing,
}

/// The data of the message `end`.
#[derive(serde::Serialize)]
struct End<'a> {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'a EventOverflowNotice>,
}

impl Connection {
    pub(super) fn new(
        stream: AgentEventStream,
        scope: EventStreamScope,
        retry: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Connection {
            stream,
            scope,
            next: Next::Hello(retry),
            _permit: permit,
        }
    }

    /// Returns the text of a cursor as a client's position: of the scope that the client asked for,
    /// and without the host's journal cursor.
    fn id(&self, cursor: &EventCursor) -> String {
        let position = EventCursor {
            scope: self.scope.clone(),
            journal_cursor: None,
            ..*cursor
        };
        position.to_string()
    }

    /// Returns the message of a frame.
    fn frame(&self, frame: &EventFrame) -> Result<Event, Error> {
        Event::default().id(self.id(&frame.cursor)).json_data(frame)
    }

    /// Returns the message of a gap that no frame follows yet.
    fn gap(&self, notice: &EventOverflowNotice) -> Result<Event, Error> {
        let id = self.id(&notice.gap_end);
        Event::default().event("gap").id(id).json_data(notice)
    }

    /// Returns the message of the stream's end.
    fn end(&mut self) -> Result<Event, Error> {
        let event = Event::default().event("end");
        let end = |reason, notice| End { reason, notice };
        match self.stream.end() {
            Some(StreamEnd::Failed {
                resume_from,
                notice,
            }) => event
                .id(self.id(&resume_from))
                .json_data(end("failed", Some(&notice))),
            Some(_) => event.json_data(end("bus_closed", None)),
            // Its waker could not be registered: too many subscriptions wait already.
            None => event.json_data(end("refused", None)),
        }
    }
}

impl Stream for Connection {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.next {
            Next::Hello(retry) => {
                this.next = Next::Frames;
                return Poll::Ready(Some(Ok(Event::default().retry(retry))));
            }
            Next::Frames => {}
            Next::Nothing => return Poll::Ready(None),
        }
        match Pin::new(&mut this.stream.as_stream()).poll_next(context) {
            Poll::Ready(Some(frame)) => Poll::Ready(Some(this.frame(&frame))),
            // A notice that no frame will report any more comes before the end. Polling again finds
            // the end again.
            ended_or_caught_up => match this.stream.take_pending_overflow() {
                Some(notice) => Poll::Ready(Some(this.gap(&notice))),
                None if ended_or_caught_up.is_pending() => Poll::Pending,
                None => {
                    this.next = Next::Nothing;
                    Poll::Ready(Some(this.end()))
                }
            },
        }
    }
}
