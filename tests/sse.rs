//! The web feed over real connections, spoken to in plain HTTP/1.0.

mod common;
mod web;

use common::{delta, end, frame, options, size, start};
use framebus::sse::{EventFeed, FeedGrant};
use framebus::*;
use std::time::Duration;
use web::{Message, Server, connect};

fn bus(ring: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    builder.ring_capacity(size(ring)).build().unwrap()
}

/// A feed that grants everything.
fn open(bus: &InMemoryAgentEventBus) -> EventFeed {
    EventFeed::new(bus, |_| {
        FeedGrant::to(EventFilter::default())
            .with_payload(PayloadAccessMode::FullPayloadIfPolicyAllows)
    })
}

fn publish(bus: &InMemoryAgentEventBus, frames: impl IntoIterator<Item = EventFrame>) {
    frames.into_iter().for_each(|it| bus.publish(it).unwrap());
}

#[test]
fn frames_come_with_their_position_and_a_reconnect_goes_on_after_it() {
    let bus = bus(1_000);
    let server = Server::start(open(&bus).into_router());
    let mut first = connect(server.address, "/events", &[]).messages();
    assert_eq!(first.next().unwrap().retry, Some(1_000));
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
fn a_position_is_the_text_of_a_cursor_without_the_journal_s_part() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    let durable = |frame: EventFrame| {
        let envelope = frame.event.envelope.clone();
        EventFrame::new(AgentEvent::envelope_only(
            envelope.with_journal_cursor("j/1"),
        ))
    };
    publish(&bus, [durable(start("a")), durable(end("a"))]);
    let filter = EventFilter::default().compile().unwrap();
    let frame = bus.subscribe_filtered(filter, None).unwrap().next();
    let cursor = frame.unwrap().cursor;
    let first = connect(server.address, "/events", &[]);
    let id = first.messages().frames().next().unwrap().id.unwrap();
    assert_eq!(cursor.to_string(), format!("{id}@j%2F1"));
    // A host's page may begin at the position of the host's own stream.
    let begin = connect(
        server.address,
        "/events",
        &[("Last-Event-ID", &cursor.to_string())],
    );
    assert_eq!(begin.messages().frames().next().unwrap().sequence(), 2);
    let all = bus.subscribe_all(None).unwrap().next().unwrap().cursor;
    let other = connect(
        server.address,
        "/events",
        &[("Last-Event-ID", &all.to_string())],
    );
    assert_eq!(other.status, 409);
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
fn wrong_positions_and_parameters_are_answered_with_a_status_and_a_reason() {
    let (bus, other) = (bus(64), bus(64));
    let server = Server::start(open(&bus).into_router());
    let others = Server::start(open(&other).into_router());
    for bus in [&bus, &other] {
        publish(bus, [start("a"), end("a")]);
    }
    let id = |server: &Server, path| {
        let message = connect(server.address, path, &[])
            .messages()
            .frames()
            .nth(1);
        message.unwrap().id.unwrap()
    };
    let own = id(&server, "/events");
    let ahead = own.strip_suffix("-2").unwrap().to_owned() + "-3";
    let cases = [
        ("/events", "nonsense", 400, "\"nonsense\" is not a position"),
        (
            "/events",
            &id(&server, "/events?run=a"),
            409,
            "cursor scope mismatch",
        ),
        (
            "/events",
            &id(&others, "/events"),
            410,
            "cursor of another bus",
        ),
        ("/events", &ahead, 409, "cursor ahead of the bus"),
        ("/events?run=b", &own, 409, "connect without it"),
        ("/events?runs=a", "", 400, "no parameter \"runs\""),
        ("/events?kind=Nothing", "", 400, "Nothing"),
    ];
    for (path, last, status, reason) in cases {
        let answer = connect(server.address, path, &[("Last-Event-ID", last)]);
        assert_eq!(answer.status, status, "{path} {last}");
        let text = answer.text();
        assert!(text.contains(reason), "{path} {last}: {text}");
    }
}

#[test]
fn a_request_sees_what_the_host_granted_and_nothing_else() {
    let bus = bus(64);
    let feed = EventFeed::new(&bus, |request| match request.headers.get("x-user") {
        Some(user) if user == "ann" => {
            FeedGrant::to(EventFilter::run("a")).with_payload(PayloadAccessMode::RedactedSummary)
        }
        Some(_) => FeedGrant::to(EventFilter::run("a")),
        None => FeedGrant::nothing(),
    });
    let server = Server::start(feed.into_router());
    let ending = |run: &str| {
        let envelope = EventEnvelope::new(run, "x", EventKind::RunCompleted);
        EventFrame::new(AgentEvent::with_redacted_summary(envelope, "the summary"))
    };
    publish(&bus, [ending("b"), ending("a")]);
    let get = |path, user| connect(server.address, path, &[("x-user", user)]);
    let summary = |user| {
        let message = get("/events", user).messages().frames().next().unwrap();
        assert_eq!(message.sequence(), 2, "only what was granted");
        message.data.contains("the summary")
    };
    assert!(summary("ann"));
    assert!(!summary("bob"), "envelopes, unless more is granted");
    assert_eq!(connect(server.address, "/events", &[]).status, 403);
    let refused = get("/events?run=a&run=b", "ann");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("run \"b\" is not granted"));
}

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
    web::until("room for a client", || {
        connect(server.address, "/events", &[]).status == 200
    });
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

/// Frames so large that no socket's buffer holds many of them.
fn large(n: u64) -> EventFrame {
    let kind = if n.is_multiple_of(50) {
        EventKind::RunCompleted
    } else {
        EventKind::ToolStarted
    };
    let envelope = EventEnvelope::new("a", "x", kind).with_privacy(PrivacyClass::Content);
    EventFrame::new(AgentEvent::with_content(
        envelope,
        "text/plain",
        vec![b'x'; 16 << 10],
    ))
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
    publish(&bus, (1..=published).map(large));
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

#[test]
fn a_client_that_fails_gets_the_position_to_resume_from() {
    let bus = bus(512);
    let policy = SubscriberOverflowPolicy::FailSubscriber;
    let server = Server::start(open(&bus).queue(options(16, 4, policy).queue).into_router());
    let client = connect(server.address, "/events", &[]);
    publish(&bus, (1..=4_000).map(large));
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
        move |filter, cursor| Some(weak.upgrade()?.subscribe_filtered(filter, cursor)),
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
