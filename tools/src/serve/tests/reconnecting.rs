//! The connection breaks off in the middle of runs, and the host comes back as another one.

use super::browser::Browser;
use super::proxy::Proxy;
use super::{DRAWN, Server, frame, open, page, until};
use framebus::sse::{EventFeed, FeedGrant};
use framebus::{EventFilter, EventKind, InMemoryAgentEventBus};
use std::num::NonZeroUsize;
use std::time::Duration;

const RUNS: usize = 12;

/// Goes through the runs and returns the sequence numbers of the terminal frames that are shown.
fn ends(browser: &mut Browser) -> serde_json::Value {
    browser.ask(&format!(
        "(async () => {{
            const ends = [];
            for (const row of document.querySelectorAll('.row:not([hidden])')) {{
                row.click();
                await {DRAWN};
                for (const item of document.querySelectorAll('#items [data-sequence]'))
                    ends.push(...item.dataset.sequence.split(' ').map(Number));
            }}
            return ends.sort((one, other) => one - other);
        }})()"
    ))
}

/// Publishes a part of every run. Returns the sequence numbers of the terminal frames.
fn part(bus: &InMemoryAgentEventBus, deltas: usize, ends: &[EventKind]) -> Vec<u64> {
    let mut terminals = Vec::new();
    for run in 0..RUNS {
        let run = format!("run-{run}");
        (0..deltas).for_each(|_| {
            bus.publish(frame(&run, EventKind::ModelStreamDelta))
                .unwrap()
        });
        for &kind in ends {
            bus.publish(frame(&run, kind)).unwrap();
            terminals.push(bus.last_sequence());
        }
    }
    terminals
}

/// Plays runs to the page, a part of them while it is disconnected. Checks that every terminal
/// frame is on the page, and returns how many frames it shows as lost.
fn cut_off_in_the_middle(ring: usize, deltas_while_away: usize) -> Option<u64> {
    let size = |n| NonZeroUsize::new(n).unwrap();
    let bus = InMemoryAgentEventBus::builder()
        .shards(size(2))
        .ring_capacity(size(ring));
    let bus = bus.build().unwrap();
    let server = Server::start(&bus);
    let proxy = Proxy::to(server.address);
    let mut browser = open(proxy.address)?;
    let mut number = |id: &str| browser.number(&format!("#{id}"));

    let mut published = part(&bus, 5, &[EventKind::ToolCompleted]);
    until("the runs' begin", || {
        number("frames") == bus.last_sequence()
    });
    proxy.cut();
    published.extend(part(&bus, deltas_while_away, &[EventKind::ToolFailed]));
    until("an attempt to reconnect", || proxy.refused() > 0);
    proxy.mend();
    until("a reconnect", || number("reconnects") == 1);
    published.extend(part(
        &bus,
        5,
        &[EventKind::TurnCompleted, EventKind::RunCompleted],
    ));
    // Once more, with no frame missed.
    until("the runs' ends", || {
        number("terminals") == published.len() as u64
    });
    proxy.cut();
    until("another attempt", || proxy.refused() > 0);
    proxy.mend();
    until("another reconnect", || number("reconnects") == 2);
    let last = frame("run-0", EventKind::RunFailed);
    bus.publish(last).unwrap();
    published.push(bus.last_sequence());
    until("the last frame", || {
        number("terminals") == published.len() as u64
    });
    let (frames, lost) = (number("frames"), number("lost"));
    assert_eq!(frames + lost, bus.last_sequence(), "delivered and reported");

    assert_eq!(
        ends(&mut browser),
        serde_json::json!(published),
        "each terminal frame, once"
    );
    Some(lost)
}

#[test]
fn a_page_that_was_disconnected_resumes_at_its_position() {
    let lost = cut_off_in_the_middle(10_000, 20);
    assert!(lost.is_none_or(|lost| lost == 0), "{lost:?}");
}

#[test]
fn a_page_that_was_away_too_long_shows_the_gap_and_every_terminal_frame() {
    let lost = cut_off_in_the_middle(64, 200);
    assert!(lost.is_none_or(|lost| lost > 1_000), "{lost:?}");
}

#[test]
fn a_page_stays_over_ten_restarts_of_its_host_and_shows_every_end_that_the_bus_holds() {
    let mut bus = InMemoryAgentEventBus::default();
    let mut server = Server::start(&bus);
    let proxy = Proxy::to(server.address);
    let Some(mut browser) = open(proxy.address) else {
        return;
    };
    let mut published = part(&bus, 1, &[EventKind::ToolCompleted]);
    for restart in 0..10 {
        browser.shows_frames(bus.last_sequence());
        proxy.cut();
        drop(server);
        if restart % 2 == 0 {
            // Its bus knows no position of the one before.
            bus = InMemoryAgentEventBus::default();
            published.clear();
        }
        published.extend(part(&bus, 2, &[EventKind::ToolFailed]));
        server = Server::start(&bus);
        proxy.lead_to(server.address);
        proxy.mend();
        published.extend(part(&bus, 0, &[EventKind::RunFailed]));
        browser.shows_frames(bus.last_sequence());
        assert_eq!(
            ends(&mut browser),
            serde_json::json!(published),
            "{restart}"
        );
    }
    // Nothing was lost that anybody counted; what the hosts' ends cost, nobody knows.
    assert_eq!(browser.text("#lost"), "0+");
    assert!(browser.text("#losses-list").contains("restarted"));
}

#[test]
fn a_page_survives_answers_that_are_no_stream_and_gets_each_frame_once() {
    let bus = InMemoryAgentEventBus::default();
    let server = Server::start(&bus);
    let proxy = Proxy::to(server.address);
    let Some(mut browser) = open(proxy.address) else {
        return;
    };
    let mut published = part(&bus, 3, &[EventKind::ToolCompleted]);
    browser.shows_frames(bus.last_sequence());
    // What a proxy says while its host is restarted; a browser gives up at that.
    let bad_gateway = || async { axum::http::StatusCode::BAD_GATEWAY };
    let away = Server::of(axum::Router::new().fallback(bad_gateway));
    proxy.cut();
    proxy.lead_to(away.address);
    proxy.mend();
    until("a refusal", || browser.text("#state").contains("refused"));
    published.extend(part(&bus, 3, &[EventKind::RunCompleted]));
    proxy.cut();
    proxy.lead_to(server.address);
    proxy.mend();
    browser.shows_frames(bus.last_sequence());
    assert_eq!(ends(&mut browser), serde_json::json!(published));
    assert_eq!(browser.number("#lost"), 0);
}

#[test]
fn a_page_forgets_what_it_may_see_no_more() {
    let bus = InMemoryAgentEventBus::default();
    let server = Server::start(&bus);
    let proxy = Proxy::to(server.address);
    let Some(mut browser) = open(proxy.address) else {
        return;
    };
    part(&bus, 1, &[EventKind::RunStarted]);
    browser.shows_frames(bus.last_sequence());
    assert_eq!(browser.number("#shown [value=all]"), RUNS as u64);
    let grant = |_: &_| FeedGrant::to(EventFilter::run("run-3"));
    let feed = EventFeed::new(&bus, grant).retry(Duration::from_millis(20));
    let narrower = Server::of(page::router().merge(feed.into_router()));
    proxy.cut();
    proxy.lead_to(narrower.address);
    proxy.mend();
    until("the narrower grant", || {
        browser.number("#shown [value=all]") == 1
    });
    assert_eq!(browser.number("#frames"), 2);
    assert!(browser.text("#losses-list").contains("may see has changed"));
}
