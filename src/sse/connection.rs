//! One client's connection: its subscription as a sequence of messages.
//!
//! It is polled when the connection takes more, and buffers nothing itself: frames that are not
//! sent yet are in the subscription's queue, or still in the rings.

use super::grant::FeedGrant;
use super::handle::Place;
use super::live_grant::LiveGrant;
use super::refusal::Refusal;
use super::request::Query;
use super::settings::{EventFeed, later};
use crate::bus::{AgentEventStream, StreamEnd};
use crate::event::{
    CompiledEventFilter, EventCursor, EventFrame, EventOverflowNotice, EventStreamScope,
    StreamStart,
};
use axum::Error;
use axum::response::sse::Event;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until};

/// A message, or why it could not be written.
pub(super) type Message = Result<Event, Error>;

/// A client's subscription, and what it needs to be made again under another grant.
pub(super) struct Connection {
    feed: Arc<EventFeed>,
    /// What the client asked for.
    query: Query,
    grant: LiveGrant,
    /// The grant that the subscription was made under.
    seen: Arc<FeedGrant>,
    stream: AgentEventStream,
    /// The scope that the messages' positions name.
    scope: EventStreamScope,
    /// The last position that the client was given, or would start at; `None` for a stream that has
    /// none, such as a list.
    position: Option<EventCursor>,
    next: Next,
    /// Fires after a silence.
    heartbeat: Pin<Box<Sleep>>,
    /// The client's share of the limit on clients.
    _place: Place,
}

/// The next message.
enum Next {
    /// How long to wait before reconnecting.
    Hello,
    /// The position was no good, for this reason: the client starts over.
    Reset(&'static str),
    /// A frame, a gap, or the end.
    Frames,
    /// None: the end was sent.
    Nothing,
}

/// What somebody else wants of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// That it goes on.
    GoOn,
    /// That it ends, so that the client comes back: it has lasted long enough.
    Retire,
    /// That it ends, since the feed does.
    Close,
}

/// The data of the message `reset`.
#[derive(serde::Serialize)]
struct Reset {
    reason: &'static str,
}

/// The data of the message `end`.
#[derive(serde::Serialize)]
struct End<'a> {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'a EventOverflowNotice>,
}

impl Connection {
    /// Subscribes to what a request asks for, by the filter that was made of the request and of the
    /// grant as it was `seen`.
    ///
    /// # Errors
    /// If the bus is closed or refuses, or the request's position is refused.
    pub(super) fn open(
        feed: Arc<EventFeed>,
        query: Query,
        filter: CompiledEventFilter,
        (grant, seen): (LiveGrant, Arc<FeedGrant>),
        place: Place,
    ) -> Result<Self, Refusal> {
        let scope = filter.cursor_scope();
        let (stream, reset) = start(&feed, filter, &query)?;
        let heartbeat = Box::pin(sleep_until(later(feed.heartbeat)));
        Ok(Connection {
            position: stream.cursor().cloned(),
            next: reset.map_or(Next::Hello, Next::Reset),
            feed,
            query,
            grant,
            seen,
            stream,
            scope,
            heartbeat,
            _place: place,
        })
    }

    /// Returns a receiver that sees each change of the grant from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.grant.changes()
    }

    /// Returns the next message; `None` after the last one.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, wish: Wish) -> Poll<Option<Message>> {
        let next = self.poll_message(context, wish);
        if next.is_ready() {
            let silent_until = later(self.feed.heartbeat);
            self.heartbeat.as_mut().reset(silent_until);
        }
        next
    }

    fn poll_message(&mut self, context: &mut Context<'_>, wish: Wish) -> Poll<Option<Message>> {
        let retry = self.feed.retry;
        match (&self.next, wish) {
            (Next::Nothing, _) => return Poll::Ready(None),
            (_, Wish::Close) => return self.end("closing", None),
            (_, Wish::Retire) => {
                self.next = Next::Nothing;
                return Poll::Ready(self.moved().map(Ok));
            }
            // The start is given at once: whoever is cut off before the first frame misses nothing.
            (Next::Hello, _) => {
                self.next = Next::Frames;
                return message(Ok(self.at_position(Event::default().retry(retry))));
            }
            // The position comes with the news: no cut falls between them.
            (&Next::Reset(reason), _) => {
                self.next = Next::Frames;
                let reset = Event::default().retry(retry).event("reset");
                return message(self.at_position(reset).json_data(Reset { reason }));
            }
            (Next::Frames, _) => {}
        }
        let polled = Pin::new(&mut self.stream.as_stream()).poll_next(context);
        // Looked at after the frame was taken: whoever changes the grant, then publishes, can rely
        // on it. The frame is dropped; the position is still before it.
        if let Some(now) = self.grant.other_than(&self.seen) {
            return self.change(now);
        }
        match polled {
            Poll::Ready(Some(frame)) => message(self.frame(&frame)),
            // A notice that no frame will report any more comes before the end. Polling again finds
            // the end again.
            ended_or_caught_up => match self.stream.take_pending_overflow() {
                Some(notice) => message(self.gap(&notice)),
                None if ended_or_caught_up.is_pending() => self.beat(context),
                None => self.ended(),
            },
        }
    }

    /// Reads on under another grant, from the same position.
    fn change(&mut self, now: Arc<FeedGrant>) -> Poll<Option<Message>> {
        let Ok(filter) = self.feed.filter(&now, &self.query) else {
            return self.end("withdrawn", None);
        };
        let scope = filter.cursor_scope();
        let position = self.position.clone().map(|it| EventCursor {
            scope: scope.clone(),
            ..it
        });
        match self
            .feed
            .subscribe(filter, position.clone(), self.query.start)
        {
            Ok(stream) => self.stream = stream,
            Err(refusal) => return self.end(refusal.that_passes().unwrap_or("refused"), None),
        }
        (self.seen, self.scope, self.position) = (now, scope, position);
        message(Ok(self.at_position(Event::default())))
    }

    /// Makes a cursor the position: of the scope that the client asked for, and without the host's
    /// journal cursor.
    fn move_to(&mut self, cursor: &EventCursor) {
        self.position = Some(EventCursor {
            scope: self.scope.clone(),
            journal_cursor: None,
            ..*cursor
        });
    }

    /// Gives a message the position.
    fn at_position(&self, event: Event) -> Event {
        match &self.position {
            Some(position) => event.id(position.to_string()),
            None => event,
        }
    }

    /// Returns the message of a frame.
    fn frame(&mut self, frame: &EventFrame) -> Message {
        self.move_to(&frame.cursor);
        self.at_position(Event::default()).json_data(frame)
    }

    /// Returns the message of a gap that no frame follows yet.
    fn gap(&mut self, notice: &EventOverflowNotice) -> Message {
        self.move_to(&notice.gap_end);
        self.at_position(Event::default().event("gap"))
            .json_data(notice)
    }

    /// Returns the position alone if it has moved with what the stream passed over.
    fn moved(&mut self) -> Option<Event> {
        let looked_at = self.stream.cursor()?;
        let given = self.position.as_ref().map_or(0, |it| it.event_seq);
        if looked_at.event_seq <= given {
            return None;
        }
        let looked_at = looked_at.clone();
        self.move_to(&looked_at);
        Some(self.at_position(Event::default()))
    }

    /// Waits for a frame, but not in silence.
    fn beat(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        if self.heartbeat.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let position = self.moved();
        message(Ok(position.unwrap_or_else(|| Event::default().comment(""))))
    }

    /// Returns the message of the stream's own end.
    fn ended(&mut self) -> Poll<Option<Message>> {
        match self.stream.end() {
            Some(StreamEnd::Failed {
                resume_from,
                notice,
            }) => {
                self.move_to(&resume_from);
                self.end("failed", Some(&notice))
            }
            Some(StreamEnd::BusClosed) => self.end("bus_closed", None),
            Some(StreamEnd::ListEnded) => self.end("list_ended", None),
            Some(StreamEnd::SourceFailed(_)) => self.end("source_failed", None),
            Some(StreamEnd::SourceDamaged(_)) => self.end("source_damaged", None),
            // Its waker could not be registered: too many subscriptions wait already.
            None => self.end("refused", None),
        }
    }

    /// Returns the last message.
    fn end(
        &mut self,
        reason: &'static str,
        notice: Option<&EventOverflowNotice>,
    ) -> Poll<Option<Message>> {
        self.next = Next::Nothing;
        let end = self.at_position(Event::default().event("end"));
        message(end.json_data(End { reason, notice }))
    }
}

/// Returns a message as what is polled.
fn message(message: Message) -> Poll<Option<Message>> {
    Poll::Ready(Some(message))
}

/// Opens a request's stream: at its position, or over again, and then why.
///
/// # Errors
/// If the bus refuses, or the position is no good and the request does not start over.
fn start(
    feed: &EventFeed,
    filter: CompiledEventFilter,
    query: &Query,
) -> Result<(AgentEventStream, Option<&'static str>), Refusal> {
    let Some(position) = &query.position else {
        return Ok((feed.subscribe(filter, None, query.start)?, None));
    };
    let refusal = match resume(feed, filter.clone(), &position.text, query.start) {
        Ok(stream) => return Ok((stream, None)),
        Err(refusal) => refusal,
    };
    let starts_over = position.automatic && !feed.strict_positions;
    let Some(reason) = refusal.of_position().filter(|_| starts_over) else {
        return Err(refusal);
    };
    // Everything that is held: what came since the client was cut off is not passed over.
    let start = match query.start {
        StreamStart::Latest => StreamStart::OldestHeld,
        start => start,
    };
    Ok((feed.subscribe(filter, None, start)?, Some(reason)))
}

/// Opens a stream at a position.
fn resume(
    feed: &EventFeed,
    filter: CompiledEventFilter,
    position: &str,
    start: StreamStart,
) -> Result<AgentEventStream, Refusal> {
    let cursor: EventCursor = position
        .parse()
        .map_err(|_| Refusal::Position(position.to_owned()))?;
    if cursor.scope != filter.cursor_scope() {
        return Err(Refusal::OtherScope);
    }
    feed.subscribe(filter, Some(cursor), start)
}
