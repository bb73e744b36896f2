//! What a client of the web feed may see, also when that changes while it is connected.

mod common;
mod web;

use framebus::sse::{EventFeed, FeedGrant, LiveGrant};
use framebus::*;
use std::time::Duration;
use web::{Message, Server, bus, connect, large, publish};

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

/// A frame with a summary.
fn said(run: &str, text: &str) -> EventFrame {
    let envelope = EventEnvelope::new(run, "x", EventKind::RunStarted);
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
}

/// A grant of these runs, with summaries.
fn runs(runs: &[&str]) -> FeedGrant {
    let filter = EventFilter {
        run_ids: runs.iter().map(|&run| run.into()).collect(),
        ..EventFilter::default()
    };
    FeedGrant::to(filter).with_payload(PayloadAccessMode::RedactedSummary)
}

/// A server whose every request is under one grant, and that is woken by no heartbeat.
fn serve(bus: &InMemoryAgentEventBus, grant: &LiveGrant) -> Server {
    let grant = grant.clone();
    let feed = EventFeed::new(bus, move |_| grant.clone());
    Server::start(feed.heartbeat(Duration::from_secs(3_600)).into_router())
}

#[test]
fn a_grant_that_is_withdrawn_ends_a_quiet_connection_at_once_and_for_good() {
    let bus = bus(64);
    let grant = LiveGrant::new(runs(&["a"]));
    let server = serve(&bus, &grant);
    let mut messages = connect(server.address, "/events", &[]).messages();
    publish(&bus, [said("a", "before")]);
    let id = messages
        .by_ref()
        .find(Message::is_frame)
        .unwrap()
        .id
        .unwrap();
    grant.withdraw();
    // No frame wakes it.
    publish(&bus, [said("b", "not granted anyway")]);
    let rest: Vec<_> = messages.collect();
    assert!(
        matches!(&rest[..], [end] if end.is("end", "withdrawn")),
        "{rest:?}"
    );
    assert_eq!(rest[0].id.as_ref(), Some(&id));
    let back = connect(server.address, "/events", &[("Last-Event-ID", &id)]);
    assert_eq!(back.status, 403);
    // And given back.
    grant.set(runs(&["a"]));
    publish(&bus, [said("a", "after")]);
    let back = connect(server.address, "/events", &[("Last-Event-ID", &id)]);
    assert_eq!(back.messages().frames().next().unwrap().sequence(), 3);
}

#[test]
fn a_run_that_was_asked_for_by_name_and_is_granted_no_more_ends_the_connection() {
    let bus = bus(64);
    let grant = LiveGrant::new(runs(&["a", "b"]));
    let server = serve(&bus, &grant);
    let both = connect(server.address, "/events?run=a&run=b", &[]).messages();
    let one = connect(server.address, "/events?run=a", &[]).messages();
    grant.set(runs(&["a"]));
    assert!(both.last().unwrap().is("end", "withdrawn"));
    publish(&bus, [said("a", "still")]);
    assert_eq!(one.frames().next().unwrap().sequence(), 1);
}

#[test]
fn a_changed_grant_holds_from_the_next_frame_on_and_each_frame_comes_once() {
    let bus = bus(64);
    let grant = LiveGrant::new(runs(&["a", "b"]));
    let server = serve(&bus, &grant);
    let mut messages = connect(server.address, "/events", &[]).messages();
    let mut next = || messages.by_ref().find(Message::is_frame).unwrap();
    publish(&bus, [said("a", "1"), said("b", "2")]);
    assert_eq!([next().sequence(), next().sequence()], [1, 2]);
    grant.set(runs(&["a"]));
    publish(&bus, [said("b", "3"), said("a", "4")]);
    let narrowed = next();
    assert_eq!(narrowed.sequence(), 4);
    // Less of a payload.
    grant.set(FeedGrant::to(EventFilter::run("a")));
    publish(&bus, [said("a", "the fifth")]);
    let envelope = next();
    assert_eq!(envelope.sequence(), 5);
    assert!(!envelope.data.contains("the fifth"));
    // More again, of which the past stays past.
    grant.set(runs(&["a", "b", "c"]));
    publish(&bus, [said("c", "6"), said("b", "7"), said("a", "8")]);
    let wider: Vec<_> = (0..3).map(|_| next()).collect();
    let numbers: Vec<_> = wider.iter().map(Message::sequence).collect();
    assert_eq!(numbers, [6, 7, 8]);
    assert!(wider[0].data.contains("\"6\""));
    assert!(wider.iter().all(|it| it.frame().get("overflow").is_none()));
    // Each position is one of the grant that it was given under.
    let id = wider[0].id.as_ref().unwrap();
    let after = connect(server.address, &format!("/events?after={id}"), &[]);
    assert_eq!(after.messages().frames().next().unwrap().sequence(), 7);
}

#[test]
fn a_page_that_was_away_while_its_grant_changed_starts_over() {
    let bus = bus(64);
    let grant = LiveGrant::new(runs(&["a", "b"]));
    let server = serve(&bus, &grant);
    publish(&bus, [said("b", "1"), said("a", "2")]);
    let messages = connect(server.address, "/events", &[]).messages();
    let id = messages.frames().nth(1).unwrap().id.unwrap();
    grant.set(runs(&["a"]));
    let back = connect(server.address, "/events", &[("Last-Event-ID", &id)]);
    let mut messages = back.messages();
    assert!(messages.next().unwrap().is("reset", "scope_mismatch"));
    assert_eq!(messages.frames().next().unwrap().sequence(), 2);
}

/// The client takes nothing while frames of both runs wait for it: in its queue, in the rings, and
/// some, which were handed over before, in the buffers of its socket.
#[test]
fn what_was_queued_under_an_earlier_grant_is_not_sent() {
    let bus = bus(8_192);
    let all = FeedGrant::to(EventFilter::default())
        .with_payload(PayloadAccessMode::FullPayloadIfPolicyAllows);
    let grant = LiveGrant::new(all);
    let server = serve(&bus, &grant);
    let stopped = connect(server.address, "/events", &[]);
    let published = 4_000;
    publish(
        &bus,
        (0..published).map(|n| large(["secret", "open"][n % 2], EventKind::ToolStarted)),
    );
    grant.set(FeedGrant::to(EventFilter::run("open")));
    publish(&bus, [large("open", EventKind::RunCompleted)]);
    let mut messages = stopped.messages();
    let changed = |it: &Message| it.retry.is_none() && it.data.is_empty() && it.id.is_some();
    let before = messages.by_ref().take_while(|it| !changed(it)).count();
    assert!(
        before < published / 2,
        "no socket holds that much: {before}"
    );
    for message in messages.frames() {
        let frame = message.frame();
        assert_eq!(frame["event"]["envelope"]["run_id"], "open");
        assert_eq!(frame["event"]["payload"]["type"], "envelope_only");
        if message.sequence() == published as u64 + 1 {
            break;
        }
    }
}

#[test]
fn changes_beside_a_flood_lose_no_frame_and_double_none() {
    let bus = bus(65_536);
    let grant = LiveGrant::new(runs(&["a"]));
    let granted = grant.clone();
    let published = 5_000;
    let feed = EventFeed::new(&bus, move |_| granted.clone());
    let feed = feed.queue(SubscriptionOptions::capacity(2 * published).queue);
    let server = Server::start(feed.into_router());
    let messages = connect(server.address, "/events", &[]).messages();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..published {
                if n % 10 == 0 {
                    grant.set(runs(&["a", ["b", "c"][n / 10 % 2]]));
                }
                publish(&bus, [said("a", "x")]);
            }
        });
        let numbers = messages.frames().map(|it| it.sequence()).take(published);
        assert!(numbers.eq(1..=published as u64));
    });
}

/// Frames of a store whose second one the host withdraws while a connection is about to take it.
#[derive(Clone, Debug)]
struct Withdraws {
    grant: LiveGrant,
    given: u64,
}

impl FrameSource for Withdraws {
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        self.given += 1;
        if self.given == 2 {
            self.grant.withdraw();
        }
        Ok(Some(said("a", &format!("frame {}", self.given))))
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(self.clone())
    }
}

#[test]
fn a_frame_that_is_taken_while_its_grant_is_withdrawn_is_not_sent() {
    let grant = LiveGrant::new(runs(&["a"]));
    let source = Withdraws {
        grant: grant.clone(),
        given: 0,
    };
    let stream = move |_, _, _| Some(Ok(AgentEventStream::from_source(source.clone())));
    let server = Server::start(EventFeed::of(stream, move |_| grant.clone()).into_router());
    let messages = connect(server.address, "/events", &[]).messages();
    let rest: Vec<_> = messages.skip(1).collect();
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert!(rest[0].data.contains("frame 1"));
    assert!(rest[1].is("end", "withdrawn"));
}
