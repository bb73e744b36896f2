//! How connections of the web feed end, and what bounds them.

mod common;
mod web;

use axum::serve::ListenerExt;
use common::{end, start};
use framebus::sse::{EventFeed, FeedGrant, FeedHandle};
use framebus::*;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use web::{Message, PATIENCE, Server, bus, connect, large, listen, open, publish, until};

#[test]
fn clients_are_bounded_and_one_that_leaves_makes_room() {
    let bus = bus(64);
    let feed = open(&bus)
        .max_clients(1)
        .heartbeat(Duration::from_millis(5));
    let server = Server::start(feed.into_router());
    let only = connect(server.address, "/events", &[]);
    let refused = connect(server.address, "/events", &[]);
    assert_eq!(refused.status, 503);
    assert!(refused.head.to_lowercase().contains("retry-after"));
    drop(only);
    // The server finds out by its next heartbeat.
    until("room for a client", || {
        connect(server.address, "/events", &[]).status == 200
    });
}

#[test]
fn when_the_bus_closes_clients_get_the_remaining_frames_and_the_end() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    let messages = connect(server.address, "/events", &[]).messages();
    publish(&bus, [start("a"), end("a")]);
    drop(bus);
    let rest: Vec<_> = messages.skip(1).collect();
    assert_eq!(rest.len(), 3, "{rest:?}");
    assert_eq!(rest[1].sequence(), 2);
    assert_eq!(rest[2].event.as_deref(), Some("end"));
    assert!(rest[2].data.contains("bus_closed"));
    assert_eq!(connect(server.address, "/events", &[]).status, 503);
}

/// A store of two frames, the second of which can't be read.
#[derive(Clone, Debug)]
struct Damaged {
    /// Whether the first was read.
    read: bool,
    /// Whether the store goes on after the second.
    goes_on: bool,
    error: AgentError,
}

impl FrameSource for Damaged {
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        match (std::mem::replace(&mut self.read, true), self.goes_on) {
            (false, _) => Ok(Some(end("a"))),
            (true, true) => Ok(None),
            (true, false) => Err(self.error.clone()),
        }
    }

    fn damage(&self) -> Option<&AgentError> {
        self.goes_on.then_some(&self.error)
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(self.clone())
    }
}

#[test]
fn streams_of_other_sources_say_how_they_ended() {
    let list = || AgentEventStream::new([end("a")]);
    let damaged = |goes_on| {
        AgentEventStream::from_source(Damaged {
            read: false,
            goes_on,
            error: AgentError::contract_violation("damaged"),
        })
    };
    let streams: [(Box<dyn Fn() -> _ + Send + Sync>, _); 3] = [
        (Box::new(list), "list_ended"),
        (Box::new(move || damaged(false)), "source_failed"),
        (Box::new(move || damaged(true)), "source_damaged"),
    ];
    for (stream, reason) in streams {
        let grant = |_: &_| FeedGrant::to(EventFilter::default());
        let feed = EventFeed::of(move |_, _, _| Some(Ok(stream())), grant);
        let server = Server::start(feed.into_router());
        let messages: Vec<_> = connect(server.address, "/events", &[]).messages().collect();
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert!(messages[1].is_frame() && messages[2].is("end", reason));
    }
}

#[test]
fn an_open_page_is_told_to_come_back_where_others_are_refused() {
    let bus = bus(64);
    let feed = open(&bus).max_clients(1);
    let handle = feed.handle();
    let server = Server::start(feed.into_router());
    publish(&bus, [start("a")]);
    let only = connect(server.address, "/events", &[]);
    let mut frames = only.messages().frames();
    let id = frames.next().unwrap().id.unwrap();
    // A browser gives up for good on any status but 200.
    let told = |reason| {
        let path = format!("/events?lastEventId={id}");
        for back in [
            connect(server.address, "/events", &[("Last-Event-ID", &id)]),
            connect(server.address, &path, &[]),
        ] {
            assert!(back.head.contains("text/event-stream"), "{}", back.head);
            let messages: Vec<_> = back.messages().collect();
            assert!(
                matches!(&messages[..], [end] if end.is("end", reason)),
                "{messages:?}"
            );
            assert_eq!(messages[0].retry, Some(5_000));
        }
        let first = connect(server.address, "/events", &[]);
        let after = connect(server.address, &format!("/events?after={id}"), &[]);
        for refused in [first, after] {
            assert_eq!(refused.status, 503);
            assert!(refused.head.to_lowercase().contains("retry-after: 5"));
        }
    };
    told("too_many_clients");
    drop(bus);
    assert!(frames.next().is_none());
    until("its place", || handle.clients() == 0);
    told("bus_closed");
    handle.close();
    told("closing");
}

#[test]
fn a_strict_feed_refuses_an_open_page_too() {
    let bus = bus(64);
    let feed = open(&bus).max_clients(0).strict_positions(true);
    let server = Server::start(feed.into_router());
    let back = connect(server.address, "/events", &[("Last-Event-ID", "x")]);
    assert_eq!(back.status, 503);
}

#[test]
fn clients_are_counted() {
    let bus = bus(64);
    let feed = open(&bus).heartbeat(Duration::from_millis(5));
    let handle = feed.handle();
    let server = Server::start(feed.into_router());
    let clients: Vec<_> = (0..3)
        .map(|_| connect(server.address, "/events", &[]))
        .collect();
    assert_eq!(handle.clients(), 3);
    assert_eq!(connect(server.address, "/events?kind=x", &[]).status, 400);
    assert_eq!(handle.clients(), 3);
    drop(clients);
    until("their ends", || handle.clients() == 0);
}

/// Heartbeats and frames fill the buffers on the way, and then nothing is taken any more.
#[test]
fn a_client_that_stops_reading_loses_its_place_after_the_write_timeout() {
    let bus = bus(4_096);
    let feed = open(&bus)
        .max_clients(1)
        .write_timeout(Duration::from_millis(300));
    let handle = feed.handle();
    let server = Server::start(feed.into_router());
    let stopped = connect(server.address, "/events", &[]);
    publish(&bus, (0..2_000).map(|_| large("a", EventKind::ToolStarted)));
    until("its end", || handle.clients() == 0);
    let next = connect(server.address, "/events", &[]);
    assert_eq!(next.status, 200);
    drop(next);
    // When it reads again it gets what was on the way, and the stream's end: it comes back.
    let got: Vec<_> = stopped.messages().frames().collect();
    assert!(!got.is_empty() && got.len() < 2_000);
    assert!(got.iter().map(Message::sequence).eq(1..=got.len() as u64));
    let id = got.last().unwrap().id.clone().unwrap();
    until("its place", || handle.clients() == 0);
    let back = connect(server.address, "/events", &[("Last-Event-ID", &id)]);
    let next = back.messages().frames().next().unwrap();
    assert_eq!(next.sequence(), got.len() as u64 + 1);
}

#[test]
fn a_client_that_waits_has_not_stopped() {
    let bus = bus(64);
    let feed = open(&bus)
        .heartbeat(Duration::from_millis(50))
        .write_timeout(Duration::from_millis(400));
    let server = Server::start(feed.into_router());
    let mut messages = connect(server.address, "/events", &[]).messages();
    let beats = messages.by_ref().filter(Message::is_comment);
    assert_eq!(beats.take(20).count(), 20, "longer than the write timeout");
    publish(&bus, [end("a")]);
    assert_eq!(messages.frames().next().unwrap().sequence(), 1);
}

/// A client that is stopped, or whose network is gone, looks like one that waits.
#[test]
fn a_quiet_connection_ends_when_it_is_old_and_its_client_goes_on() {
    let bus = bus(64);
    let feed = open(&bus).max_age(Duration::from_millis(100));
    let handle = feed.handle();
    let server = Server::start(feed.into_router());
    let stopped = connect(server.address, "/events?run=a", &[]);
    publish(&bus, [start("a"), start("b")]);
    until("its end", || handle.clients() == 0);
    let rest: Vec<_> = stopped.messages().collect();
    assert!(
        rest.iter().all(|it| it.event.is_none()),
        "no `end`: {rest:?}"
    );
    assert_eq!(rest.iter().filter(|it| it.is_frame()).count(), 1);
    let id = rest.last().unwrap().id.clone().unwrap();
    let back = connect(server.address, "/events?run=a", &[("Last-Event-ID", &id)]);
    publish(&bus, [end("a")]);
    let next = back.messages().frames().next().unwrap();
    assert_eq!((next.sequence(), next.frame().get("overflow")), (3, None));
}

#[test]
fn durations_of_any_length_are_served() {
    let bus = bus(64);
    for length in [Duration::ZERO, Duration::MAX] {
        let feed = open(&bus).heartbeat(length).write_timeout(length);
        let server = Server::start(feed.max_age(length).retry(length).into_router());
        let hello = connect(server.address, "/events", &[]).messages().next();
        assert!(hello.is_none_or(|it| it.retry.is_some()), "{length:?}");
    }
}

#[test]
fn a_graceful_end_with_500_clients_takes_less_than_2_seconds() {
    let bus = bus(64);
    let feed = open(&bus);
    let handle = feed.handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let closes = handle.clone();
    let (server, mut served) = Server::until(feed.into_router(), async move {
        let _ = stopped.await;
        closes.close();
    });
    publish(&bus, [start("a")]);
    let clients: Vec<_> = (0..500)
        .map(|_| connect(server.address, "/events", &[]))
        .collect();
    assert_eq!(handle.clients(), 500);
    let begin = Instant::now();
    stop.send(()).unwrap();
    let runtime = Runtime::new().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, &mut served).await });
    ended
        .expect("the server waits for its clients for ever")
        .unwrap();
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(handle.clients(), 0);
    for client in clients {
        let last = client.messages().last().unwrap();
        assert!(last.is("end", "closing"), "{last:?}");
        assert_eq!(last.position(), 1);
    }
}

/// Serves a feed with a bound on how long the system keeps a socket that nobody answers, as the
/// module's documentation has it.
#[cfg(target_os = "linux")]
fn bounded(at: Ipv4Addr, feed: EventFeed) -> (Runtime, SocketAddr, FeedHandle, BoundedEnd) {
    let (runtime, listener) = listen((at, 0).into());
    let address = listener.local_addr().unwrap();
    let listener = listener.tap_io(|socket| {
        let bound = Some(Duration::from_millis(500));
        let socket = socket2::SockRef::from(&*socket);
        socket.set_tcp_user_timeout(bound).unwrap();
    });
    let handle = feed.handle();
    let closes = handle.clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = axum::serve(listener, feed.into_router()).with_graceful_shutdown(async move {
        let _ = stopped.await;
        closes.close();
    });
    let served = runtime.spawn(async { served.await.unwrap() });
    (runtime, address, handle, (stop, served))
}

/// What ends a server, and its end.
#[cfg(target_os = "linux")]
type BoundedEnd = (oneshot::Sender<()>, JoinHandle<()>);

#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_nobody_reads_is_given_up_by_the_system_and_holds_up_no_graceful_end() {
    let bus = bus(4_096);
    let (runtime, address, handle, (stop, served)) = bounded(Ipv4Addr::LOCALHOST, open(&bus));
    let _stopped = connect(address, "/events", &[]);
    publish(&bus, (0..2_000).map(|_| large("a", EventKind::ToolStarted)));
    stop.send(()).unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, served).await });
    ended
        .expect("the server waits for its client for ever")
        .unwrap();
    assert_eq!(handle.clients(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_whose_network_is_gone_loses_its_place() {
    let Some(mut far) = web::far::Far::new() else {
        return;
    };
    let bus = bus(64);
    // The age alone.
    let aged = open(&bus).max_age(Duration::from_secs(2));
    let aged_handle = aged.handle();
    let aged = Server::at((far.here, 0).into(), aged.into_router());
    // The system's bound, which a heartbeat that is not answered sets off.
    let beating = open(&bus).heartbeat(Duration::from_millis(50));
    let (_runtime, beating, beating_handle, _end) = bounded(far.here, beating);
    far.connect(beating);
    until("the one", || beating_handle.clients() == 1);
    far.connect(aged.address);
    until("the other", || aged_handle.clients() == 1);
    far.vanish();
    until("the end by a heartbeat", || beating_handle.clients() == 0);
    until("the end by age", || aged_handle.clients() == 0);
}
