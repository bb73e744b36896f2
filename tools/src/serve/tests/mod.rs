//! The page in a real browser, its connection broken off in the middle of runs.

mod browser;
mod proxy;

use super::page;
use browser::Browser;
use framebus::sse::{EventFeed, FeedGrant};
use framebus::{
    AgentEvent, EventEnvelope, EventFilter, EventFrame, EventKind, InMemoryAgentEventBus,
};
use proxy::Proxy;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Longer than anything here takes: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(60);

const RUNS: usize = 12;

/// Returns the sequence numbers of the terminal frames on the page.
const ENDS: &str = "[...document.querySelectorAll('.end')].map(end => Number(end.dataset.seq))\
                    .sort((a, b) => a - b)";

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

/// Serves the page and its feed until it is dropped.
struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    fn start(bus: &InMemoryAgentEventBus) -> Self {
        let grant = |_: &_| FeedGrant::to(EventFilter::default());
        let feed = EventFeed::new(bus, grant).retry(Duration::from_millis(20));
        let app = page::router().merge(feed.into_router());
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async { axum::serve(listener, app).await });
        Server {
            address,
            runtime: Some(runtime),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for something to become so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn frame(run: &str, kind: EventKind) -> EventFrame {
    let envelope = EventEnvelope::new(run, "agent", kind);
    EventFrame::new(AgentEvent::envelope_only(envelope))
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
    let size = |n| NonZeroUsize::new(n).unwrap();
    let bus = InMemoryAgentEventBus::builder()
        .shards(size(2))
        .ring_capacity(size(ring));
    let bus = bus.build().unwrap();
    let server = Server::start(&bus);
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
    let last = frame("run-0", EventKind::RunFailed);
    bus.publish(last).unwrap();
    published.push(bus.last_sequence());
    until("the last frame", || {
        number("terminals") == published.len() as u64
    });
    let (frames, lost) = (number("frames"), number("lost"));
    assert_eq!(frames + lost, bus.last_sequence(), "delivered and reported");

    assert_eq!(
        browser.ask(ENDS),
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
    let server = Server::start(&first);
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
    let server = Server::start(&second);
    proxy.lead_to(server.address);
    proxy.mend();
    let ends = part(&second, 0, &[EventKind::RunFailed]);
    until("the second bus", || {
        browser.ask(ENDS) == serde_json::json!(ends)
    });
    assert_eq!(number(&mut browser, "frames"), ends.len() as u64);
}
