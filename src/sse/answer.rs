//! The route, and what a request for it is answered.

use super::body::{Body, Limits};
use super::connection::Connection;
use super::live_grant::LiveGrant;
use super::refusal::{LATER, Refusal};
use super::request::Query;
use super::settings::EventFeed;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Version, header};
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

impl EventFeed {
    /// Returns the route `/events`, to nest or merge into a host's router.
    pub fn into_router(self) -> Router {
        Router::new()
            .route("/events", get(events))
            .with_state(Arc::new(self))
    }
}

/// Answers `GET /events`.
async fn events(State(feed): State<Arc<EventFeed>>, request: Request) -> Result<Response, Refusal> {
    let (request, _) = request.into_parts();
    let query = Query::read(&request)?;
    let grant = feed.grant(&request);
    let comes_back = query.comes_back() && !feed.strict_positions;
    match open(feed, query, grant) {
        Ok(body) => Ok(stream(request.version, Sse::new(body))),
        // An open page would give up for good: it is told to come back later.
        Err(refusal) => match refusal.that_passes().filter(|_| comes_back) {
            Some(reason) => Ok(stream(request.version, only_end(reason))),
            None => Err(refusal),
        },
    }
}

/// Opens a connection.
fn open(feed: Arc<EventFeed>, query: Query, grant: LiveGrant) -> Result<Body, Refusal> {
    let seen = grant.now();
    // What is not granted is refused as such, also when there is no place.
    let filter = feed.filter(&seen, &query)?;
    let place = feed.take_place()?;
    let limits = Limits {
        write_timeout: feed.write_timeout,
        retires_at: feed.retires_at(),
    };
    let handle = feed.handle();
    let connection = Connection::open(feed, query, filter, (grant, seen), place)?;
    Ok(Body::start(connection, limits, &handle))
}

/// Returns an answer that ends at once.
fn only_end(reason: &str) -> Response {
    let retry = LATER.as_millis();
    let text = format!("retry: {retry}\nevent: end\ndata: {{\"reason\":\"{reason}\"}}\n\n");
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

/// Returns a response as a stream of messages that nothing on the way is to buffer, transform or
/// keep, and whose socket ends with it.
fn stream(version: Version, messages: impl IntoResponse) -> Response {
    const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
    let mut response = messages.into_response();
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, "no-cache, no-transform");
    set(BUFFERING, "no");
    // HTTP/2 has no such header: its clients share a socket.
    if version < Version::HTTP_2 {
        set(header::CONNECTION, "close");
    }
    response
}
