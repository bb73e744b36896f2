//! The web feed: frames to browsers, as Server-Sent Events over one route for axum.
//!
//! `GET /events?run=R&agent=A&kind=K` streams the frames that match. Each parameter may be given
//! several times, where one match is enough, or not at all. So a page follows several runs over one
//! connection; browsers allow six to a host. Parameters that the feed does not know are the host's,
//! such as a token: an `EventSource` can't set headers.
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
//! What a client may see can change while it is connected: see [`LiveGrant`]. How many there are,
//! and how a server ends with clients connected, is up to the feed's [`FeedHandle`].
//!
//! # Messages
//! | event | `id:` | data |
//! | --- | --- | --- |
//! | (none) | the position after the frame | the frame; a gap before it as its notice |
//! | `gap` | the position after the gap | the notice of a gap that no frame follows yet |
//! | `reset` | the position at which it starts over | `{"reason": ...}` |
//! | `end` | the position to resume from | `{"reason": ...}` |
//!
//! After a silence comes a heartbeat: a comment, or an `id:` alone if the position has moved with
//! what the client's subscription passed over. The first block has an `id:` alone as well, so a
//! client that is cut off before its first frame misses nothing.
//!
//! A response that ends without `end` is to be asked for again, as browsers do by themselves. The
//! feed ends one so when it is old: see [`max_age`](EventFeed::max_age). The reasons of an `end`:
//!
//! | reason | |
//! | --- | --- |
//! | `bus_closed` | the bus's last other handle is gone; the remaining frames came before |
//! | `failed` | the policy `FailSubscriber` ended the subscription; the data has the `notice` |
//! | `withdrawn` | the grant does not cover any more what the client asked for |
//! | `closing` | the host [closed](FeedHandle::close) the feed |
//! | `too_many_clients`, `refused` | there is no place for the client, or for its subscription |
//! | `list_ended` | a stream of [`EventFeed::of`] that is not live ended |
//! | `source_failed` | it can't be read further |
//! | `source_damaged` | it ended, and some of it can't be read; frames bear the notices |
//!
//! # Positions
//! A position is the text of an [`EventCursor`](crate::EventCursor) without the journal's part. The
//! newest that a request has counts:
//!
//! 1. the header `Last-Event-ID`, which a browser sends when it reconnects;
//! 2. the parameter `lastEventId`, which polyfills send that can't set the header, and pages that
//!    make a new `EventSource`;
//! 3. the parameter `after`, for a position that somebody wrote or stored.
//!
//! The client goes on after it; if the rings have lost frames since, the next frame reports that.
//! Without a position it starts at the oldest frame held, or as `start=latest` or `start=beginning`
//! says (see [`StreamStart`](crate::StreamStart)).
//!
//! An open page can't do anything about a position that is no good any more, and a browser gives up
//! for good on any status but 200. So a position of the first two kinds is never refused: the
//! client gets `reset`, forgets what it has, and gets all that the bus holds. The reason is
//! `foreign_epoch` (the host was restarted), `scope_mismatch` (its parameters or its grant have
//! changed), `ahead` or `unreadable`. For the same reason such a client is answered an `end`, and
//! asked to come back after 5 s, where others are answered 503.
//! [`strict_positions`](EventFeed::strict_positions) refuses these clients like all others.
//!
//! # Refusals
//! Plain text that says what to do: 400 for a parameter or a position that can't be read, 403 for
//! what is not granted, 409 for a position of other parameters, or ahead of the bus, 410 for one of
//! another bus, 503 when there are too many clients or the bus or the feed is closed.
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
//!         move |filter, cursor, options| {
//!             Some(bus.upgrade()?.subscribe_filtered_with_options(filter, cursor, options))
//!         },
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
//!
//! A client that takes nothing any more, once the buffers on the way are full, loses its place, its
//! subscription and its queue after [`write_timeout`](EventFeed::write_timeout), 10 s by default. A
//! quiet connection fills no buffer: a client that is stopped there, or whose network is gone, has
//! its place until [`max_age`](EventFeed::max_age), 10 minutes by default.
//!
//! What is left then is the socket, with at most what the server and the system have buffered for
//! it (axum's server: about 400 KiB), and the system decides how long it keeps that: Linux about a
//! quarter of an hour without an answer, and for ever where the other end answers that it has no
//! room. A host bounds both, here to 30 s, where it accepts the connection:
//!
//! ```
//! use axum::serve::ListenerExt;
//! use std::time::Duration;
//! # async fn serve(app: axum::Router) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! # #[cfg(target_os = "linux")]
//! let listener = listener.tap_io(|socket| {
//!     let bound = Some(Duration::from_secs(30));
//!     let _ = socket2::SockRef::from(&*socket).set_tcp_user_timeout(bound);
//! });
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! A graceful shutdown waits for such a socket, too. With that bound, a client whose network is
//! gone loses its place 30 s after the first heartbeat that is not answered.
//!
//! # Proxies and other origins
//! The response asks proxies neither to buffer nor to transform it, so nginx needs no settings of
//! its own. A proxy in front of a host that restarts answers 502, where a browser gives up; the
//! lines for a page in `docs/web-feed.md` come back all the same.
//!
//! Pages of another origin need the host's leave, by the layer of tower-http:
//!
//! ```
//! use tower_http::cors::CorsLayer;
//! # fn of(feed: framebus::sse::EventFeed) -> axum::Router {
//! let origin = axum::http::HeaderValue::from_static("https://app.example");
//! feed.into_router().layer(CorsLayer::new().allow_origin(origin).allow_credentials(true))
//! # }
//! ```
#![forbid(unsafe_code)]

mod answer;
mod body;
mod connection;
mod grant;
mod handle;
mod live_grant;
mod refusal;
mod request;
mod settings;

pub use grant::FeedGrant;
pub use handle::FeedHandle;
pub use live_grant::LiveGrant;
pub use settings::EventFeed;
