//! The web feed, as clients that others wrote read it, through a proxy that others wrote: httpx-sse
//! in Python, npm's eventsource in Node and Chromium, through nginx.
//!
//! FRAMEBUS_FEED_KILLS is how often nginx is killed before each client (8 times),
//! FRAMEBUS_FEED_RESTARTS how often the host is restarted under an open page (4 times).

mod common;
mod web;

use axum::Router;
use common::{delta, end, frame, start};
use framebus::sse::{EventFeed, FeedGrant, LiveGrant};
use framebus::*;
use std::net::SocketAddr;
use std::time::Duration;
use tower_http::cors::CorsLayer;
use web::clients::page::Page;
use web::clients::{Client, Item, Seen};
use web::nginx::Nginx;
use web::{Server, bus, open, publish, until};

/// Returns a number that a variable may set.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |it| it.parse().unwrap())
}

/// A feed whose clients come back soon, and that pages of any origin may read.
fn routes(feed: EventFeed) -> Router {
    feed.retry(Duration::from_millis(20))
        .into_router()
        .layer(CorsLayer::permissive())
}

/// Publishes a run to a client whose connection is killed again and again, in the middle of what is
/// sent and while nothing is. It is to see each frame once, in order, and nothing else.
fn each_frame_once<C>(connect: impl FnOnce(SocketAddr) -> Option<C>, seen: impl Fn(&C) -> &Seen) {
    let bus = bus(1 << 16);
    let server = Server::start(routes(open(&bus)));
    let Some(nginx) = Nginx::before(server.address) else {
        return;
    };
    let Some(client) = connect(nginx.address) else {
        return;
    };
    let seen = seen(&client);
    publish(
        &bus,
        [start("run"), frame("other", "x", EventKind::RunStarted)],
    );
    for kill in 0..setting("FRAMEBUS_FEED_KILLS", 8) {
        publish(&bus, (0..20).map(|_| delta("run")));
        // Connected: some of it is there, or all.
        seen.until(bus.last_sequence() - 10 * (kill as u64 % 2));
        publish(&bus, (0..200).map(|_| delta("run")));
        nginx.kill();
        publish(&bus, (0..20).map(|_| delta("run")));
    }
    publish(&bus, [end("run")]);
    seen.until(bus.last_sequence());
    let items = seen.items();
    let others: Vec<_> = items.iter().filter(|it| it.event != "message").collect();
    assert!(others.is_empty(), "{others:?}");
    let published = (1..=bus.last_sequence()).filter(|&it| it != 2);
    assert!(items.iter().map(Item::sequence).eq(published));
    assert!(items.iter().all(|it| it.frame().get("overflow").is_none()));
}

#[test]
fn a_client_in_python_gets_each_frame_once_over_kills_of_nginx() {
    let connect = |nginx| Client::python(&format!("http://{nginx}/events?run=run"));
    each_frame_once(connect, |client: &Client| &client.seen);
}

#[test]
fn a_client_in_node_gets_each_frame_once_over_kills_of_nginx() {
    let connect = |nginx| Client::node(&format!("http://{nginx}/events?run=run"));
    each_frame_once(connect, |client: &Client| &client.seen);
}

#[test]
fn a_page_gets_each_frame_once_over_kills_of_nginx() {
    let connect = |nginx| Page::open(nginx, "/events?run=run");
    each_frame_once(connect, |page: &Page| &page.seen);
}

/// A host that is restarted, gracefully and not, under a page that stays open.
fn restarts(behind: impl Fn(SocketAddr) -> Option<(SocketAddr, Option<Nginx>)>) {
    let first = bus(256);
    let feed = open(&first);
    let mut handle = feed.handle();
    let mut server = Server::start(routes(feed));
    let address = server.address;
    let Some((front, _nginx)) = behind(address) else {
        return;
    };
    let Some(page) = Page::open(front, "/events") else {
        return;
    };
    publish(&first, [start("0"), end("0")]);
    page.seen.until(2);
    let mut held = first;
    for restart in 1..=setting("FRAMEBUS_FEED_RESTARTS", 4) {
        if restart % 2 == 0 {
            handle.close();
            let is_end = |it: &Item| it.event == "end" && it.data.contains("closing");
            until("the end", || page.seen.items().last().is_some_and(is_end));
        }
        drop(server);
        // A new process has a new bus. Its rings have lost some before the page is back.
        let bus = bus(256);
        let run = restart.to_string();
        publish(
            &bus,
            (0..1_000).map(|n| if n % 50 == 0 { end(&run) } else { delta(&run) }),
        );
        let feed = open(&bus);
        handle = feed.handle();
        server = Server::at(address, routes(feed));
        let ends = (1..=1_001).filter(|it| it % 50 == 1);
        let shows = |number| {
            let is_it = |it: &Item| it.event == "message" && it.of(&run) && it.sequence() == number;
            until("a frame", || page.seen.items().iter().any(is_it));
        };
        shows(1_000);
        publish(&bus, [end(&run)]);
        shows(1_001);
        let items = page.seen.items();
        let reset = items.iter().rposition(|it| it.event == "reset").unwrap();
        assert!(
            items[reset].data.contains("foreign_epoch"),
            "{:?}",
            items[reset]
        );
        let since = items[reset..].iter().filter(|it| it.event == "message");
        let shown = since.filter(|it| {
            assert!(it.of(&run), "of the bus that is gone: {it:?}");
            it.frame()["event"]["envelope"]["event_kind"] == "RunCompleted"
        });
        assert!(shown.map(Item::sequence).eq(ends), "restart {restart}");
        held = bus;
    }
    let resets = page
        .seen
        .items()
        .iter()
        .filter(|it| it.event == "reset")
        .count();
    assert_eq!(resets, setting("FRAMEBUS_FEED_RESTARTS", 4));
    drop(held);
}

#[test]
fn a_page_stays_open_over_restarts_of_its_host() {
    restarts(|host| Some((host, None)));
}

/// While the host is away, nginx answers 502, and a browser gives up: the page's lines do not.
#[test]
fn a_page_stays_open_over_restarts_of_its_host_behind_nginx() {
    restarts(|host| {
        let nginx = Nginx::before(host)?;
        Some((nginx.address, Some(nginx)))
    });
}

#[test]
fn a_page_that_loses_its_right_in_the_middle_of_a_run_gets_no_more_of_it() {
    let bus = bus(4_096);
    let runs = |runs: &[&str]| {
        let filter = EventFilter {
            run_ids: runs.iter().map(|&run| run.into()).collect(),
            ..EventFilter::default()
        };
        FeedGrant::to(filter).with_payload(PayloadAccessMode::RedactedSummary)
    };
    let grant = LiveGrant::new(runs(&["a", "b"]));
    let granted = grant.clone();
    let server = Server::start(routes(EventFeed::new(&bus, move |_| granted.clone())));
    let Some(page) = Page::open(server.address, "/events") else {
        return;
    };
    publish(&bus, [start("a"), start("b"), delta("a"), delta("b")]);
    page.seen.until(4);
    grant.set(runs(&["a"]));
    publish(&bus, [delta("b"), delta("a"), end("b"), delta("a")]);
    page.seen.until(8);
    grant.withdraw();
    publish(&bus, [delta("a"), end("a")]);
    let ended = |it: &Item| it.event == "end" && it.data.contains("withdrawn");
    until("the end", || page.seen.items().iter().any(ended));
    // It asks again and is refused, until it has its right back.
    grant.set(runs(&["a"]));
    publish(&bus, [start("a")]);
    page.seen.until(11);
    let messages = page
        .seen
        .items()
        .into_iter()
        .filter(|it| it.event == "message");
    let numbers: Vec<_> = messages.map(|it| it.sequence()).collect();
    // Its position is good again, and the right to what came after it as well.
    assert_eq!(numbers, [1, 2, 3, 4, 6, 8, 9, 10, 11]);
}
