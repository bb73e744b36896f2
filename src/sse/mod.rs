//! The web feed: frames to browsers, as Server-Sent Events over one route for axum.
//!
//! `GET /events?run=R&agent=A&kind=K` streams the frames that match. Each parameter may be given
//! several times, where one match is enough, or not at all. A frame is a message whose data is the
//! frame's JSON and whose `id:` is its position: the text of an [`EventCursor`] without the
//! journal's part. A browser that reconnects sends it in the header `Last-Event-ID`, and goes on
//! after the last frame that it got; if the rings have lost frames since, the next frame reports
//! that. A page that kept a position itself gives it as `after=ID`; the header takes precedence.
//!
//! ```
//! use framebus::sse::{EventFeed, FeedGrant};
//! use framebus::{EventFilter, InMemoryAgentEventBus, PayloadAccessMode};
//!
//! let bus = InMemoryAgentEventBus::default();
//! let feed = EventFeed::new(&bus, |request| {
//!     // The host's own authentication, a middleware in front of this route, has set the header.
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
//! | (none) | the position after the frame | the frame; a gap before it as its notice |
//! | `gap` | the position after the gap | the notice of a gap that no frame follows yet |
//! | `end` | for `failed`, the position to resume from | `{"reason": ...}` |
//!
//! The reasons are `bus_closed`, `failed` (with the notice) and `refused`.
//!
//! Heartbeats are comments. The feed does not keep the bus open: when the bus's last other handle
//! is dropped, clients get the remaining frames, then `end`.
//!
//! # Refusals
//! Plain text that says what to do: 400 for a parameter or a position that can't be read, 403 for
//! what is not granted, 409 for a position of other parameters, or ahead of the bus, 410 for one of
//! another bus, 503 when there are too many clients or the bus is closed.
//!
//! # Over a journal
//! [`EventFeed::of`] serves streams of another kind of bus, such as those of a journaled bus, which
//! read what the rings lost from its journal:
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
//! A gap that was repaired is reported with a `dropped_count` of 0. The archive is read on the
//! server's thread, a block of about a thousand frames at a time.
//!
//! # Slow clients
//! A client's subscription is read when its connection takes more. Meanwhile the rings hold its
//! frames, and its queue's policy decides what it loses, as for any subscription. A slow client
//! delays neither publishers nor other clients.
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
use request::Query;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Decides what a request may see.
type Access = dyn Fn(&Parts) -> FeedGrant + Send + Sync;

/// Makes a client's stream; `None` once the bus is closed.
type Subscribe = dyn Fn(CompiledEventFilter, Option<EventCursor>) -> Option<Result<AgentEventStream, AgentError>>
    + Send
    + Sync;

/// The settings of a web feed: whose frames it serves, who may see them, and its limits.
#[must_use = "a feed serves no client until `into_router`"]
pub struct EventFeed {
    subscribe: Box<Subscribe>,
    access: Box<Access>,
    /// The queue of each client's subscription.
    queue: SubscriberQueueConfig,
    /// How long a connection is silent before it gets a comment.
    heartbeat: Duration,
    /// How long browsers wait before they reconnect.
    retry: Duration,
    /// How many clients are served at once.
    max_clients: usize,
}

impl EventFeed {
    /// A feed of a bus. `access` decides for each request what it may see. It is called on the
    /// server's thread and must not block: what needs I/O, such as a look into a session store,
    /// belongs into a middleware that leaves its result in the request's extensions.
    pub fn new(
        bus: &InMemoryAgentEventBus,
        access: impl Fn(&Parts) -> FeedGrant + Send + Sync + 'static,
    ) -> Self {
        let bus = bus.downgrade();
        let subscribe =
            move |filter, cursor| Some(bus.upgrade()?.subscribe_filtered(filter, cursor));
        Self::of(subscribe, access)
    }

    /// A feed of the streams that `subscribe` makes, for the filter and from the cursor of a
    /// request. `None` means that the bus is closed. If `subscribe` holds the bus, the feed keeps
    /// it open.
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

    /// Sets each client's queue: 1,024 frames by default, of which one is reserved for terminal
    /// ones. [`BackpressureCaller`](crate::SubscriberOverflowPolicy::BackpressureCaller) makes
    /// every request fail with 500.
    pub fn queue(mut self, queue: SubscriberQueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Sets how long a connection is silent before it gets a comment: 15 s by default.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets how long browsers wait before they reconnect: 1 s by default.
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how many clients are served at once: 1,000 by default. Further ones are answered 503.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Returns the route `/events`, to nest or merge into a host's router.
    pub fn into_router(self) -> Router {
        let clients = Arc::new(Semaphore::new(self.max_clients.min(Semaphore::MAX_PERMITS)));
        let feed = Arc::new(Feed {
            settings: self,
            clients,
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

/// The state of the route.
struct Feed {
    settings: EventFeed,
    /// One permit for each further client.
    clients: Arc<Semaphore>,
}

/// Answers `GET /events`.
async fn events(
    State(feed): State<Arc<Feed>>,
    request: Request,
) -> Result<
    Sse<impl futures_core::Stream<Item = Result<axum::response::sse::Event, axum::Error>>>,
    Refusal,
> {
    let (request, _) = request.into_parts();
    let query = Query::read(&request)?;
    let mut filter = (feed.settings.access)(&request).narrow(&query)?;
    filter.queue = feed.settings.queue;
    let filter = filter.compile()?;
    let permit = feed.clients.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Refusal::TooManyClients)?;
    let cursor = query.cursor(&filter)?;
    let scope = filter.cursor_scope();
    let stream = (feed.settings.subscribe)(filter, cursor).ok_or(Refusal::BusClosed)??;
    let connection = Connection::new(stream, scope, feed.settings.retry, permit);
    let keep_alive = KeepAlive::new().interval(feed.settings.heartbeat);
    Ok(Sse::new(connection).keep_alive(keep_alive))
}
