//! A feed's settings: whose frames it serves, who may see them, and its limits.

use super::grant::FeedGrant;
use super::handle::FeedHandle;
use super::live_grant::LiveGrant;
use super::refusal::Refusal;
use super::request::Query;
use crate::bus::{AgentEventBus, AgentEventStream, InMemoryAgentEventBus};
use crate::event::{
    AgentError, CompiledEventFilter, EventCursor, StreamStart, SubscriberQueueConfig,
    SubscriptionOptions,
};
use axum::http::request::Parts;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;

/// Decides what a request may see.
type Access = dyn Fn(&Parts) -> LiveGrant + Send + Sync;

/// Makes a client's stream; `None` once the bus is closed.
type Subscribe = dyn Fn(
        CompiledEventFilter,
        Option<EventCursor>,
        SubscriptionOptions,
    ) -> Option<Result<AgentEventStream, AgentError>>
    + Send
    + Sync;

/// The shortest time that a connection may be silent or stopped.
const SHORTEST: Duration = Duration::from_millis(1);

/// The settings of a web feed: whose frames it serves, who may see them, and its limits.
#[must_use = "a feed serves no client until `into_router`"]
pub struct EventFeed {
    subscribe: Box<Subscribe>,
    access: Box<Access>,
    handle: FeedHandle,
    /// The queue of each client's subscription.
    queue: SubscriberQueueConfig,
    /// How long a connection is silent before it gets a heartbeat.
    pub(super) heartbeat: Duration,
    /// How long browsers wait before they reconnect.
    pub(super) retry: Duration,
    /// How many clients are served at once.
    max_clients: usize,
    /// How long a client may take nothing while there is something for it.
    pub(super) write_timeout: Duration,
    /// How long a connection lasts at most.
    max_age: Duration,
    /// Whether every position that is no good is refused.
    pub(super) strict_positions: bool,
}

impl EventFeed {
    /// A feed of a bus. `access` decides for each request what it may see: it returns a
    /// [`FeedGrant`], or a [`LiveGrant`] that the host keeps and can change later. It is called on
    /// the server's thread and must not block: what needs I/O, such as a look into a session store,
    /// belongs into a middleware that leaves its result in the request's extensions.
    pub fn new<G: Into<LiveGrant>>(
        bus: &InMemoryAgentEventBus,
        access: impl Fn(&Parts) -> G + Send + Sync + 'static,
    ) -> Self {
        let bus = bus.downgrade();
        let subscribe = move |filter, cursor, options| {
            let bus = bus.upgrade()?;
            Some(bus.subscribe_filtered_with_options(filter, cursor, options))
        };
        Self::of(subscribe, access)
    }

    /// A feed of the streams that `subscribe` makes, for the filter of a request, from its cursor,
    /// and with the feed's options, as for
    /// [`subscribe_filtered_with_options`](AgentEventBus::subscribe_filtered_with_options). `None`
    /// means that the bus is closed. If `subscribe` holds the bus, the feed keeps it open.
    pub fn of<G: Into<LiveGrant>>(
        subscribe: impl Fn(
            CompiledEventFilter,
            Option<EventCursor>,
            SubscriptionOptions,
        ) -> Option<Result<AgentEventStream, AgentError>>
        + Send
        + Sync
        + 'static,
        access: impl Fn(&Parts) -> G + Send + Sync + 'static,
    ) -> Self {
        const CAPACITY: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
        EventFeed {
            subscribe: Box::new(subscribe),
            access: Box::new(move |request| access(request).into()),
            handle: FeedHandle::new(),
            queue: SubscriberQueueConfig {
                capacity: CAPACITY,
                ..SubscriberQueueConfig::default()
            },
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(1),
            max_clients: 1_000,
            write_timeout: Duration::from_secs(10),
            max_age: Duration::from_secs(600),
            strict_positions: false,
        }
    }

    /// Sets each client's queue: 1,024 frames by default, of which one is reserved for terminal
    /// ones. [`BackpressureCaller`](crate::SubscriberOverflowPolicy::BackpressureCaller) makes
    /// every request fail with 500.
    pub fn queue(mut self, queue: SubscriberQueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Sets how long a connection is silent before it gets a heartbeat: 15 s by default, at least
    /// 1 ms. Proxies cut connections that are silent for long: nginx after 60 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat.max(SHORTEST);
        self
    }

    /// Sets how long browsers wait before they reconnect: 1 s by default, a day at most.
    pub fn retry(mut self, retry: Duration) -> Self {
        const LONGEST: Duration = Duration::from_secs(24 * 3_600);
        self.retry = retry.min(LONGEST);
        self
    }

    /// Sets how many clients are served at once: 1,000 by default. Further ones are answered 503.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Sets how long a client may take nothing while there is something for it, a heartbeat
    /// included: 10 s by default, at least 1 ms. After that it loses its place, its subscription
    /// and what was queued for it.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout.max(SHORTEST);
        self
    }

    /// Sets how long a connection lasts at most: 10 minutes by default, at least 1 ms, less up to a
    /// tenth that is drawn at random. Its response ends then without the message `end`, and the
    /// client reconnects and goes on after its position. A client that is gone without a word has
    /// its place until then at most.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age.max(SHORTEST);
        self
    }

    /// Refuses also a client that comes back with a position that is no good any more, such as that
    /// of a bus before a restart, in place of resetting it. Browsers give up for good then. Also
    /// refuses those that come back while there is no place, or no bus, for them.
    pub fn strict_positions(mut self, strict: bool) -> Self {
        self.strict_positions = strict;
        self
    }

    /// Returns a handle on the feed, to count its clients and to close it.
    pub fn handle(&self) -> FeedHandle {
        self.handle.clone()
    }

    /// Returns the grant of a request.
    pub(super) fn grant(&self, request: &Parts) -> LiveGrant {
        (self.access)(request)
    }

    /// Takes a place for a client.
    ///
    /// # Errors
    /// If all are taken, or the feed was closed.
    pub(super) fn take_place(&self) -> Result<super::handle::Place, Refusal> {
        if self.handle.is_closed() {
            return Err(Refusal::Closing);
        }
        let place = self.handle.take_place(self.max_clients);
        place.ok_or(Refusal::TooManyClients)
    }

    /// Returns the filter of the part of a grant that a request asks for.
    ///
    /// # Errors
    /// If the request asks for what is not granted.
    pub(super) fn filter(
        &self,
        grant: &FeedGrant,
        query: &Query,
    ) -> Result<CompiledEventFilter, Refusal> {
        let mut filter = grant.narrow(query)?;
        filter.queue = self.queue;
        Ok(filter.compile()?)
    }

    /// Subscribes to what a filter lets through.
    ///
    /// # Errors
    /// If the bus is closed or refuses.
    pub(super) fn subscribe(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
        start: StreamStart,
    ) -> Result<AgentEventStream, Refusal> {
        let options = SubscriptionOptions {
            queue: filter.queue,
            payload_access: filter.payload_access,
            start,
            complete: false,
        };
        (self.subscribe)(filter, cursor, options)
            .ok_or(Refusal::BusClosed)?
            .map_err(Refusal::Bus)
    }

    /// Returns when a connection that begins now is to end: up to a tenth earlier than it may last,
    /// so that clients that came together do not come back together.
    pub(super) fn retires_at(&self) -> Instant {
        let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
        later(self.max_age - (self.max_age / 10).mul_f64(share))
    }
}

impl std::fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventFeed")
            .field("queue", &self.queue)
            .field("heartbeat", &self.heartbeat)
            .field("retry", &self.retry)
            .field("max_clients", &self.max_clients)
            .field("write_timeout", &self.write_timeout)
            .field("max_age", &self.max_age)
            .field("strict_positions", &self.strict_positions)
            .finish_non_exhaustive()
    }
}

/// Returns the time after this duration; a time that nobody sees if the clock does not go so far.
pub(super) fn later(duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + CENTURY)
}
