//! The example's page in a real browser, whose connection is broken in the middle of runs.

mod common;
#[path = "../examples/serve/page.rs"]
mod page;
mod web;

use common::{delta, frame, size};
use framebus::sse::{EventFeed, FeedGrant};
use framebus::*;
use std::time::Duration;
use web::browser::Browser;
use web::proxy::Proxy;
use web::{Server, until};

const RUNS: usize = 12;

/// Returns the sequence numbers of the terminal frames on the page.
const ENDS: &str = "[...document.querySelectorAll('.end')].map(end => Number(end.dataset.seq))\
                    .sort((a, b) => a - b)";

/// Publishes a part of every run. Returns the sequence numbers of the terminal frames.
fn part(bus: &InMemoryAgentEventBus, deltas: usize, ends: &[EventKind]) -> Vec<u64> {
    let mut terminals = Vec::new();
    for run in 0..RUNS {
        let run = format!("run-{run}");
        (0..deltas).for_each(|_| bus.publish(delta(&run)).unwrap());
        for &kind in ends {
            bus.publish(frame(&run, "agent", kind)).unwrap();
            terminals.push(bus.last_sequence());
        }
    }
    terminals
}

fn serve(bus: &InMemoryAgentEventBus) -> Server {
    let grant = |_: &_| FeedGrant::to(EventFilter::default());
    let feed = EventFeed::new(bus, grant).retry(Duration::from_millis(20));
    Server::start(page::router().merge(feed.into_router()))
}

/// Returns the text of one of the page's fields.
fn number(browser: &mut Browser, id: &str) -> u64 {
    let asked = browser.ask(&format!("document.getElementById('{id}')?.textContent"));
    let text = asked.as_str().unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// Plays runs to the page, a part of them while it is disconnected. Checks that every terminal
/// frame is on the page, and returns how many frames it shows as lost.
fn cut_off_in_the_middle(ring: usize, deltas_while_away: usize) -> Option<u64> {
    let bus = InMemoryAgentEventBus::builder()
        .shards(size(2))
        .ring_capacity(size(ring));
    let bus = bus.build().unwrap();
    let server = serve(&bus);
    let proxy = Proxy::to(server.address);
    let mut browser = Browser::open(&format!("http://{}/", proxy.address))?;
    let mut number = |id: &str| number(&mut browser, id);

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
    let last = frame("run-0", "agent", EventKind::RunFailed);
    bus.publish(last).unwrap();
    published.push(bus.last_sequence());
    until("the last frame", || {
        number("terminals") == published.len() as u64
    });
    let (frames, lost) = (number("frames"), number("lost"));
    assert_eq!(frames + lost, bus.last_sequence(), "delivered and reported");

    let found = browser.ask(
        "[...document.querySelectorAll('.end')].map(end => Number(end.dataset.seq)).sort((a, b) => a - b)",
    );
    assert_eq!(
        found,
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
fn a_page_starts_over_with_another_bus() {
    let [first, second] = [(); 2].map(|()| InMemoryAgentEventBus::default());
    let server = serve(&first);
    let proxy = Proxy::to(server.address);
    let Some(mut browser) = Browser::open(&format!("http://{}/", proxy.address)) else {
        return;
    };
    let ends = part(&first, 1, &[EventKind::RunCompleted]);
    until("the first bus", || {
        number(&mut browser, "terminals") == ends.len() as u64
    });
    // The server is restarted: its bus knows no position of the one before.
    proxy.cut();
    drop(server);
    let server = serve(&second);
    proxy.lead_to(server.address);
    proxy.mend();
    let ends = part(&second, 0, &[EventKind::RunFailed]);
    until("the second bus", || {
        browser.ask(ENDS) == serde_json::json!(ends)
    });
    assert_eq!(number(&mut browser, "frames"), ends.len() as u64);
}
