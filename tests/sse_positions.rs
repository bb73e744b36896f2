//! Positions of the web feed's clients: where they start, resume, and start over.

mod common;
mod web;

use common::{delta, end, start};
use framebus::sse::{EventFeed, FeedGrant};
use framebus::*;
use web::{Server, bus, connect, open, publish};

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
    let encoded = cursor.to_string().replace('%', "%25");
    let begin = connect(server.address, &format!("/events?after={encoded}"), &[]);
    assert_eq!(begin.messages().frames().next().unwrap().sequence(), 2);
    let all = bus.subscribe_all(None).unwrap().next().unwrap().cursor;
    let all = all.to_string().replace('%', "%25");
    let other = connect(server.address, &format!("/events?after={all}"), &[]);
    assert_eq!(other.status, 409);
}

/// Returns the position after the second frame.
fn second(server: &Server, path: &str) -> String {
    let messages = connect(server.address, path, &[]).messages();
    messages.frames().nth(1).unwrap().id.unwrap()
}

/// Two feeds of two buses with two frames each.
fn two_feeds(strict: bool) -> [(InMemoryAgentEventBus, Server); 2] {
    [(); 2].map(|()| {
        let bus = bus(64);
        let feed = open(&bus).strict_positions(strict);
        publish(&bus, [start("a"), end("a")]);
        (bus, Server::start(feed.into_router()))
    })
}

/// Positions that are no good: the path, the position, and what is said of it.
fn no_good(
    server: &Server,
    others: &Server,
) -> [(&'static str, String, u16, &'static str, &'static str); 5] {
    let own = second(server, "/events");
    let ahead = own.strip_suffix("-2").unwrap().to_owned() + "-3";
    let of_a_run = second(server, "/events?run=a");
    let of_another = second(others, "/events");
    [
        (
            "/events?",
            "nonsense".to_owned(),
            400,
            "is not a position",
            "unreadable",
        ),
        (
            "/events?",
            of_a_run,
            409,
            "cursor scope mismatch",
            "scope_mismatch",
        ),
        (
            "/events?",
            of_another,
            410,
            "cursor of another bus",
            "foreign_epoch",
        ),
        ("/events?", ahead, 409, "cursor ahead of the bus", "ahead"),
        (
            "/events?run=b&",
            own,
            409,
            "connect without it",
            "scope_mismatch",
        ),
    ]
}

#[test]
fn a_position_that_somebody_wrote_is_refused_if_it_is_no_good() {
    let [(_bus, server), (_other, others)] = two_feeds(false);
    for (path, position, status, sentence, _) in no_good(&server, &others) {
        let answer = connect(server.address, &format!("{path}after={position}"), &[]);
        assert_eq!(answer.status, status, "{path} {position}");
        let text = answer.text();
        assert!(text.contains(sentence), "{path} {position}: {text}");
    }
}

#[test]
fn an_open_page_whose_position_is_no_good_starts_over_with_all_that_is_held() {
    let [(_bus, server), (_other, others)] = two_feeds(false);
    for (path, position, _, _, reason) in no_good(&server, &others) {
        let by_header = connect(server.address, path, &[("Last-Event-ID", &position)]);
        let by_parameter = format!("{path}lastEventId={position}&start=latest");
        let by_parameter = connect(server.address, &by_parameter, &[]);
        for answer in [by_header, by_parameter] {
            let mut messages = answer.messages();
            let reset = messages.next().unwrap();
            assert!(reset.is("reset", reason), "{path} {position}: {reset:?}");
            assert_eq!((reset.retry, reset.position()), (Some(1_000), 0));
            if path == "/events?" {
                let numbers: Vec<_> = messages.frames().map(|it| it.sequence()).take(2).collect();
                assert_eq!(numbers, [1, 2]);
            }
            // The position that came with it is good.
            let id = reset.id.unwrap();
            let after = connect(server.address, &format!("{path}after={id}"), &[]);
            assert_eq!(after.status, 200);
        }
    }
}

#[test]
fn a_strict_feed_refuses_each_position_that_is_no_good() {
    let [(_bus, server), (_other, others)] = two_feeds(true);
    for (path, position, status, sentence, _) in no_good(&server, &others) {
        let by_parameter = format!("{path}lastEventId={position}");
        for answer in [
            connect(server.address, path, &[("Last-Event-ID", &position)]),
            connect(server.address, &by_parameter, &[]),
        ] {
            assert_eq!(answer.status, status, "{path} {position}");
            assert!(answer.text().contains(sentence));
        }
    }
}

#[test]
fn parameters_that_cannot_be_read_are_answered_with_a_reason() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    for (path, reason) in [
        ("/events?kind=Nothing", "Nothing"),
        ("/events?start=now", "use oldest_held, latest or beginning"),
        ("/events?kind=", "\"\""),
    ] {
        let answer = connect(server.address, path, &[]);
        assert_eq!(answer.status, 400, "{path}");
        let text = answer.text();
        assert!(text.contains(reason), "{path}: {text}");
    }
}

#[test]
fn a_polyfill_s_parameter_is_newer_than_after_and_older_than_the_header() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    publish(&bus, [start("a"), start("b"), end("a"), end("b")]);
    let messages = connect(server.address, "/events", &[]).messages();
    let ids: Vec<_> = messages.frames().take(3).map(|it| it.id.unwrap()).collect();
    let next = |path: String, headers: &[(&str, &str)]| {
        let messages = connect(server.address, &path, headers).messages();
        messages.frames().next().unwrap().sequence()
    };
    assert_eq!(next(format!("/events?lastEventId={}", ids[1]), &[]), 3);
    let both = format!("/events?after={}&lastEventId={}", ids[0], ids[1]);
    assert_eq!(next(both.clone(), &[]), 3);
    assert_eq!(next(both, &[("Last-Event-ID", &ids[2])]), 4);
    // A page that has none yet sends none, in as many words.
    assert_eq!(next("/events?after=&lastEventId=".to_owned(), &[]), 1);
}

#[test]
fn a_start_at_the_latest_frame_is_kept_by_a_page_that_is_cut_off_before_the_first() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    publish(&bus, [start("a"), start("b")]);
    let path = "/events?start=latest";
    let hello = connect(server.address, path, &[])
        .messages()
        .next()
        .unwrap();
    assert_eq!(hello.position(), 2);
    publish(&bus, [end("a")]);
    let id = hello.id.unwrap();
    let back = connect(server.address, path, &[("Last-Event-ID", &id)]);
    assert_eq!(back.messages().frames().next().unwrap().sequence(), 3);
}

#[test]
fn a_start_at_the_beginning_reports_what_is_gone() {
    let bus = bus(64);
    let server = Server::start(open(&bus).into_router());
    publish(&bus, (0..1_000).map(|_| delta("a")));
    let first = |path| {
        let messages = connect(server.address, path, &[]).messages();
        messages.frames().next().unwrap().frame()
    };
    assert_eq!(first("/events").get("overflow"), None);
    let notice = first("/events?start=beginning")["overflow"].clone();
    assert_eq!(notice["reason"], "live_buffer_expired");
}

/// An `EventSource` can't set headers, so a token or a cache-buster is in the address.
#[test]
fn the_host_s_own_parameters_are_the_host_s() {
    let bus = bus(64);
    let feed = EventFeed::new(&bus, |request| match request.uri.query() {
        Some(query) if query.split('&').any(|it| it == "token=t") => {
            FeedGrant::to(EventFilter::default())
        }
        _ => FeedGrant::nothing(),
    });
    let server = Server::start(feed.into_router());
    for (path, status) in [
        ("/events?token=t&run=r", 200),
        ("/events?run=r&_=17&token=t&x", 200),
        ("/events?run=r&token=u", 403),
        ("/events?run=r", 403),
    ] {
        assert_eq!(connect(server.address, path, &[]).status, status, "{path}");
    }
}
