//! The web feed over real connections, spoken to in plain HTTP/1.0.

mod common;
mod web;

use common::{delta, end, frame, options, size, start};
use framebus::sse::{EventFeed, FeedGrant};
use framebus::*;
use std::time::Duration;
use web::{Message, Server, bus, connect, large, open, publish};

#[test]
fn frames_come_with_their_position_and_a_reconnect_goes_on_after_it() {
    let bus = bus(1_000);
    let server = Server::start(open(&bus).into_router());
    let mut first = connect(server.address, "/events", &[]).messages();
    let hello = first.next().unwrap();
    assert_eq!((hello.retry, hello.position()), (Some(1_000), 0));
    publish(&bus, [start("a"), delta("b"), end("a")]);
    let seen: Vec<_> = first.by_ref().take(3).collect();
    drop(first);
    publish(&bus, [end("b")]);
    let numbers =
        |messages: &[Message]| -> Vec<_> { messages.iter().map(Message::sequence).collect() };
    assert_eq!(numbers(&seen), [1, 2, 3]);
    assert_eq!(
        seen[2].frame()["event"]["envelope"]["event_kind"],
        "RunCompleted"
    );
    let id = seen[0].id.clone().unwrap();
    let by_header = connect(server.address, "/events", &[("Last-Event-ID", &id)]);
    let resumed: Vec<_> = by_header.messages().frames().take(3).collect();
    assert_eq!(numbers(&resumed), [2, 3, 4]);
    assert_eq!(resumed[0].id, seen[1].id);
    let by_parameter = connect(server.address, &format!("/events?after={id}"), &[]);
    assert_eq!(
        by_parameter.messages().frames().next().unwrap().sequence(),
        2
    );
    // A browser's address is older than its header.
    let newest = resumed[1].id.clone().unwrap();
    let path = format!("/events?after={id}");
    let both = connect(server.address, &path, &[("Last-Event-ID", &newest)]);
    assert_eq!(both.messages().frames().next().unwrap().sequence(), 4);
}

#[test]
fn the_head_keeps_what_is_on_the_way_from_buffering_and_the_socket_ends_with_the_stream() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    let head = connect(server.address, "/events", &[]).head.to_lowercase();
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "connection: close",
    ] {
        assert_eq!(
            head.matches(&format!("\r\n{line}\r\n")).count(),
            1,
            "{head}"
        );
    }
}

#[test]
fn parameters_select_and_one_matching_value_is_enough() {
    let bus = bus(1_000);
    let server = Server::start(open(&bus).into_router());
    publish(
        &bus,
        [
            frame("a", "x", EventKind::RunStarted),
            frame("a", "y", EventKind::RunFailed),
            frame("b", "x", EventKind::RunCompleted),
            frame("c", "x", EventKind::RunCompleted),
            frame("a", "x", EventKind::RunCompleted),
            frame("stop", "x", EventKind::RunCompleted),
        ],
    );
    let path = "/events?run=a&run=b&run=stop&agent=x&kind=RunCompleted&kind=RunFailed";
    let frames = connect(server.address, path, &[]).messages().frames();
    let numbers: Vec<_> = frames.map(|it| it.sequence()).take(3).collect();
    assert_eq!(numbers, [3, 5, 6]);
}

#[test]
fn frames_that_expired_while_a_client_was_away_are_reported_and_terminals_are_there() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    publish(&bus, [start("a")]);
    let id = connect(server.address, "/events", &[])
        .messages()
        .frames()
        .next()
        .unwrap()
        .id;
    publish(
        &bus,
        (0..1_000).map(|n| if n % 100 == 0 { end("a") } else { delta("a") }),
    );
    let again = connect(
        server.address,
        "/events",
        &[("Last-Event-ID", &id.unwrap())],
    );
    let (mut accounted, mut terminals, mut reasons) = (0, 0, Vec::new());
    for message in again.messages().frames() {
        let frame = message.frame();
        accounted += 1;
        terminals += usize::from(frame["event"]["envelope"]["event_kind"] == "RunCompleted");
        if let Some(notice) = frame.get("overflow") {
            accounted += notice["dropped_count"].as_u64().unwrap();
            assert_eq!(notice["terminal_preserved"], true);
            reasons.push(notice["reason"].as_str().unwrap().to_owned());
        }
        if message.sequence() == 1_001 {
            break;
        }
    }
    assert_eq!((accounted, terminals), (1_000, 10));
    assert_eq!(reasons[0], "live_buffer_expired");
}

#[test]
fn a_gap_that_no_frame_follows_is_a_message_of_its_own() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    publish(&bus, [start("a"), start("a")]);
    let first = connect(server.address, "/events?run=a", &[])
        .messages()
        .frames()
        .next();
    let id = first.unwrap().id.unwrap();
    // No more frames of that run, and the earlier ones are overwritten.
    publish(&bus, (0..1_000).map(|_| delta("b")));
    let path = format!("/events?run=a&after={id}");
    let gap = connect(server.address, &path, &[])
        .messages()
        .nth(1)
        .unwrap();
    assert_eq!(gap.event.as_deref(), Some("gap"));
    let notice: serde_json::Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(notice["reason"], "live_buffer_expired");
    assert!(notice["dropped_count"].as_u64().unwrap() >= 1);
    // The loss was reported: from there on, only later frames come.
    let path = format!("/events?run=a&after={}", gap.id.unwrap());
    let mut resumed = connect(server.address, &path, &[]).messages().frames();
    publish(&bus, [end("a")]);
    let next = resumed.next().unwrap();
    assert_eq!(
        (next.sequence(), next.frame().get("overflow")),
        (1_003, None)
    );
}

#[test]
fn a_quiet_connection_gets_heartbeats_and_then_what_is_published() {
    let bus = bus(64);
    let feed = open(&bus).heartbeat(Duration::from_millis(5));
    let server = Server::start(feed.into_router());
    let mut messages = connect(server.address, "/events", &[]).messages();
    assert_eq!(
        messages
            .by_ref()
            .filter(|it| it.is_comment())
            .take(3)
            .count(),
        3
    );
    publish(&bus, [end("a")]);
    assert_eq!(messages.frames().next().unwrap().sequence(), 1);
}

/// Large frames, of which every fiftieth is terminal.
fn numbered(n: u64) -> EventFrame {
    let terminal = n.is_multiple_of(50);
    large(
        "a",
        if terminal {
            EventKind::RunCompleted
        } else {
            EventKind::ToolStarted
        },
    )
}

#[test]
fn a_client_that_does_not_read_loses_by_its_policy_with_a_notice() {
    let bus = bus(512);
    let policy = SubscriberOverflowPolicy::DropNonTerminal;
    let server = Server::start(
        open(&bus)
            .queue(options(128, 8, policy).queue)
            .into_router(),
    );
    let client = connect(server.address, "/events", &[]);
    let published = 4_000;
    publish(&bus, (1..=published).map(numbered));
    let (mut delivered, mut dropped, mut terminals) = (0, 0, 0);
    for message in client.messages().frames() {
        let frame = message.frame();
        delivered += 1;
        terminals += u64::from(frame["event"]["envelope"]["event_kind"] == "RunCompleted");
        if let Some(notice) = frame.get("overflow") {
            dropped += notice["dropped_count"].as_u64().unwrap();
            assert_eq!(notice["terminal_preserved"], true, "{notice}");
        }
        // The last frame is terminal, so it is not lost.
        if message.sequence() == published {
            break;
        }
    }
    assert_eq!(
        (delivered + dropped, terminals),
        (published, published / 50)
    );
    assert!(
        dropped > published / 2,
        "no socket holds that much: {dropped}"
    );
}

/// Without its position it would come back to be told of a loss that was none.
#[test]
fn a_quiet_client_is_given_the_position_that_its_stream_has_looked_at() {
    let bus = bus(64);
    let feed = open(&bus).heartbeat(Duration::from_millis(5));
    let server = Server::start(feed.into_router());
    publish(&bus, [start("a")]);
    let mut messages = connect(server.address, "/events?run=a", &[]).messages();
    assert_eq!(
        messages
            .by_ref()
            .find(Message::is_frame)
            .unwrap()
            .sequence(),
        1
    );
    let mut last = String::new();
    for _ in 0..10 {
        publish(&bus, (0..50).map(|_| delta("b")));
        let caught_up = |it: &Message| it.id.is_some() && it.position() == bus.last_sequence();
        let message = messages.by_ref().find(caught_up).unwrap();
        assert!(
            message.event.is_none() && message.data.is_empty(),
            "{message:?}"
        );
        last = message.id.unwrap();
    }
    drop(messages);
    let back = connect(server.address, "/events?run=a", &[("Last-Event-ID", &last)]);
    publish(&bus, [end("a")]);
    let frame = back.messages().frames().next().unwrap().frame();
    assert_eq!(frame.get("overflow"), None, "nothing was lost");
}

#[test]
fn a_client_that_fails_gets_the_position_to_resume_from() {
    let bus = bus(512);
    let policy = SubscriberOverflowPolicy::FailSubscriber;
    let server = Server::start(open(&bus).queue(options(16, 4, policy).queue).into_router());
    let client = connect(server.address, "/events", &[]);
    publish(&bus, (1..=4_000).map(numbered));
    let messages: Vec<_> = client.messages().skip(1).collect();
    let end = messages.last().unwrap();
    assert_eq!(end.event.as_deref(), Some("end"));
    assert!(end.data.contains("\"failed\"") && end.data.contains("subscriber_queue_full"));
    let id = end.id.clone().unwrap();
    assert_eq!(messages[messages.len() - 2].id.as_ref(), Some(&id));
    let again = connect(server.address, "/events", &[("Last-Event-ID", &id)]);
    let next = again.messages().frames().next().unwrap();
    assert!(next.frame()["overflow"]["dropped_count"].as_u64().unwrap() > 0);
}

#[cfg(feature = "archive")]
#[test]
fn a_client_of_a_journaled_bus_gets_frames_that_the_rings_lost() {
    use framebus::archive::{Archive, ArchiveOptions, JournalOptions, JournaledBus};
    use std::sync::Arc;

    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path(), ArchiveOptions::default()).unwrap();
    let options = JournalOptions {
        repair: true,
        ..JournalOptions::default()
    };
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = JournaledBus::open(archive, builder.ring_capacity(size(64)), options).unwrap();
    let bus = Arc::new(bus);
    let weak = Arc::downgrade(&bus);
    let feed = EventFeed::of(
        move |filter, cursor, options| {
            let bus = weak.upgrade()?;
            Some(bus.subscribe_filtered_with_options(filter, cursor, options))
        },
        |_| FeedGrant::to(EventFilter::default()),
    );
    let server = Server::start(feed.into_router());
    bus.publish(start("a")).unwrap();
    let mut first = connect(server.address, "/events", &[]).messages().frames();
    let id = first.next().unwrap().id.unwrap();
    drop(first);
    bus.publish_all((0..2_000).map(|_| delta("a"))).unwrap();
    let back = connect(server.address, "/events", &[("Last-Event-ID", &id)]);
    let mut messages = back.messages().frames();
    let seen: Vec<_> = messages.by_ref().take(2_000).collect();
    let numbers: Vec<_> = seen.iter().map(Message::sequence).collect();
    assert_eq!(numbers, (2..=2_001).collect::<Vec<_>>());
    let notices: Vec<_> = seen
        .iter()
        .map(|it| it.frame()["overflow"]["dropped_count"].clone())
        .filter(|count| !count.is_null())
        .collect();
    assert_eq!(notices, [0], "one gap, reported as repaired");
    assert_eq!(bus.stats().last_sequence, 2_001);
    drop(bus);
    assert_eq!(connect(server.address, "/events", &[]).status, 503);
}
