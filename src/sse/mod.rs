//! The web feed: frames to browsers, as Server-Sent Events over one route for axum.
//!
//! `GET /events?run=R&agent=A&kind=K` streams the frames that match; each parameter may be given
//! several times (any of its values will do) or not at all. A frame is a message whose data is the
//! frame's JSON and whose `id:` is its position, the text of an [`EventCursor`] without the
//! journal's part, so that a browser that reconnects, with the header `Last-Event-ID`, goes on
//! behind the last frame that it got, or is told its gap on the next one. A page that kept a
//! position itself gives it as `after=ID`; the header goes first.
//!
//! ```
//! use framebus::sse::{EventFeed, FeedGrant};
//! use framebus::{EventFilter, InMemoryAgentEventBus, PayloadAccessMode};
//!
//! let bus = InMemoryAgentEventBus::default();
//! let feed = EventFeed::new(&bus, |request| {
//!     // Put there by the host's own authentication, a middleware in front of this route.
//!     match request.headers.get("x-user") {
//!         Some(user) if user == "operator" => FeedGrant::to(EventFilter::default())
//!             .with_payload(PayloadAccessMode::RedactedSummary),
//!         Some(_) => FeedGrant::to(EventFilter::run("run-1")),
//!         None => FeedGrant::nothing(),
//!     }
//! });
//! let app: axum::Router = feed.max_clients(500).into_router();
//! ```
//!
//! # Messages
//! | event | `id:` | data |
//! | --- | --- | --- |
//! | (none) | the position after the frame | the frame; with the notice of a gap before it, if any |
//! | `gap` | the position after the gap | the notice of a gap behind which no frame came yet |
//! | `end` | where to resume, if that helps | `{"reason": ...}`: `bus_closed`, `failed` (with the notice), `refused` |
//!
//! Heartbeats are comments. The feed does not keep the bus open: when its last other handle goes,
//! clients get what is left, then `end`.
//!
//! # Refusals
//! Plain text that says what to do: 400 for a parameter or a position that can't be read, 403 for
//! what was not granted, 409 for a position of other parameters, or ahead of the bus, 410 for one
//! of another bus, 503 when there are too many clients or the bus is closed.
//!
//! # Over a journal
//! [`EventFeed::of`] serves streams of another making, such as those of a journaled bus, which read
//! what the rings lost from its journal:
//!
//! ```
//! # #[cfg(feature = "archive")] {
//! use framebus::archive::JournaledBus;
//! use framebus::sse::{EventFeed, FeedGrant};
//! use framebus::{AgentEventBus, EventFilter};
//! use std::sync::{Arc, Weak};
//!
//! fn feed(bus: &Arc<JournaledBus>) -> EventFeed {
//!     let bus: Weak<JournaledBus> = Arc::downgrade(bus);
//!     EventFeed::of(
//!         move |filter, cursor| Some(bus.upgrade()?.subscribe_filtered(filter, cursor)),
//!         |_| FeedGrant::to(EventFilter::default()),
//!     )
//! }
//! # }
//! ```
//!
//! A gap that was repaired is told with a `dropped_count` of 0. The archive is read on the server's
//! thread, a block of about a thousand frames at a time.
//!
//! # Slow clients
//! A client is read for when its connection takes more. Meanwhile the rings hold its frames, and
//! its queue's policy decides what it loses, as for any subscription: it slows nobody.
#![forbid(unsafe_code)]

mod connection;
mod grant;
mod refusal;
mod request;

pub use grant::FeedGrant;

use crate::bus::{AgentEventBus, AgentEventStream, InMemoryAgentEventBus};
use crate::event::{AgentError, CompiledEventFilter, EventCursor, SubscriberQueueConfig};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::sse::{KeepAlive, Sse};
use axum::routing::get;
use connection::Connection;
use refusal::Refusal;
use request::Wish;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

type Access = dyn Fn(&Parts) -> FeedGrant + Send + Sync;

/// Makes a client's stream; `None` once the bus is closed.
type Subscribe = dyn Fn(CompiledEventFilter, Option<EventCursor>) -> Option<Result<AgentEventStream, AgentError>>
    + Send
    + Sync;

/// A bus's frames for the web. See the [module](self).
#[must_use = "a feed serves nobody until `into_router`"]
pub struct EventFeed {
    subscribe: Box<Subscribe>,
    access: Box<Access>,
    queue: SubscriberQueueConfig,
    heartbeat: Duration,
    retry: Duration,
    max_clients: usize,
}

impl EventFeed {
    /// A feed that asks `access` for each request what it may see. It is called on the server's
    /// thread and must not block: what needs I/O, like a look into a session store, belongs into a
    /// middleware that leaves its result in the request's extensions.
    pub fn new(
        bus: &InMemoryAgentEventBus,
        access: impl Fn(&Parts) -> FeedGrant + Send + Sync + 'static,
    ) -> Self {
        let bus = bus.downgrade();
        let subscribe =
            move |filter, cursor| Some(bus.upgrade()?.subscribe_filtered(filter, cursor));
        Self::of(subscribe, access)
    }

    /// A feed of streams that `subscribe` makes, for the filter and from the cursor of a request;
    /// `None` says that the bus is closed. If it holds the bus, the feed keeps that open.
    pub fn of(
        subscribe: impl Fn(
            CompiledEventFilter,
            Option<EventCursor>,
        ) -> Option<Result<AgentEventStream, AgentError>>
        + Send
        + Sync
        + 'static,
        access: impl Fn(&Parts) -> FeedGrant + Send + Sync + 'static,
    ) -> Self {
        const CAPACITY: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
        EventFeed {
            subscribe: Box::new(subscribe),
            access: Box::new(access),
            queue: SubscriberQueueConfig {
                capacity: CAPACITY,
                ..SubscriberQueueConfig::default()
            },
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(1),
            max_clients: 1_000,
        }
    }

    /// Each client's queue: 1,024 frames by default, of which one place is for terminal ones.
    /// [`BackpressureCaller`](crate::SubscriberOverflowPolicy::BackpressureCaller) makes every
    /// request fail with 500.
    pub fn queue(mut self, queue: SubscriberQueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Returns how long a connection is silent before it gets a comment: 15 s by default.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Returns how long browsers wait before they reconnect: 1 s by default.
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// Returns how many clients are served at once: 1,000 by default. More are answered 503.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Returns the route `/events`, to nest or merge into a host's router.
    pub fn into_router(self) -> Router {
        let places = Arc::new(Semaphore::new(self.max_clients.min(Semaphore::MAX_PERMITS)));
        let feed = Arc::new(Feed {
            settings: self,
            places,
        });
        Router::new().route("/events", get(events)).with_state(feed)
    }
}

impl std::fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventFeed")
            .field("queue", &self.queue)
            .field("heartbeat", &self.heartbeat)
            .field("retry", &self.retry)
            .field("max_clients", &self.max_clients)
            .finish_non_exhaustive()
    }
}

struct Feed {
    settings: EventFeed,
    places: Arc<Semaphore>,
}

async fn events(
    State(feed): State<Arc<Feed>>,
    request: Request,
) -> Result<
    Sse<impl futures_core::Stream<Item = Result<axum::response::sse::Event, axum::Error>>>,
    Refusal,
> {
    let (request, _) = request.into_parts();
    let wish = Wish::read(&request)?;
    let mut filter = (feed.settings.access)(&request).narrow(&wish)?;
    filter.queue = feed.settings.queue;
    let filter = filter.compile()?;
    let place = feed.places.clone().try_acquire_owned();
    let place = place.map_err(|_| Refusal::TooManyClients)?;
    let cursor = wish.cursor(&filter)?;
    let scope = filter.cursor_scope();
    let stream = (feed.settings.subscribe)(filter, cursor).ok_or(Refusal::BusClosed)??;
    let connection = Connection::new(stream, scope, feed.settings.retry, place);
    let keep_alive = KeepAlive::new().interval(feed.settings.heartbeat);
    Ok(Sse::new(connection).keep_alive(keep_alive))
}
