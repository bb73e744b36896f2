//! The page in a real browser: what it shows, what becomes of it when its connection breaks off,
//! and what it costs.

mod browser;
mod looks;
mod many;
mod proxy;
mod reconnecting;
mod shown;

use super::page;
use browser::Browser;
use framebus::{AgentEvent, EventEnvelope, EventFrame, EventKind, InMemoryAgentEventBus};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Longer than anything here takes: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves the page and its feed until it is dropped.
struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    fn start(bus: &InMemoryAgentEventBus) -> Self {
        let feed = super::feed(bus).retry(Duration::from_millis(20));
        Self::of(page::router().merge(feed.into_router()))
    }

    fn of(app: axum::Router) -> Self {
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

/// An event of a run, of the agent that is named like all of them.
fn envelope(run: &str, kind: EventKind) -> EventEnvelope {
    EventEnvelope::new(run, "agent", kind)
}

/// A frame without a payload.
fn frame(run: &str, kind: EventKind) -> EventFrame {
    EventFrame::new(AgentEvent::envelope_only(envelope(run, kind)))
}

/// A frame with a text for its content.
fn saying(envelope: EventEnvelope, text: &str) -> EventFrame {
    EventFrame::new(AgentEvent::with_content(
        envelope,
        "text/plain",
        text.as_bytes(),
    ))
}

/// Publishes a frame.
fn publish(bus: &InMemoryAgentEventBus, frame: EventFrame) {
    bus.publish(frame).unwrap();
}

impl Browser {
    /// Returns the text of an element; an empty one if it is not there.
    fn text(&mut self, selector: &str) -> String {
        let asked = self.ask(&format!(
            "document.querySelector({selector:?})?.textContent ?? ''"
        ));
        asked.as_str().unwrap().to_owned()
    }

    /// Returns the figure in an element.
    fn number(&mut self, selector: &str) -> u64 {
        let text = self.text(selector);
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }

    /// Waits until the page shows that many frames.
    fn shows_frames(&mut self, frames: u64) {
        until("the frames", || self.number("#frames") == frames);
    }

    /// Chooses the run whose row says this, and returns what is shown of it.
    fn choose(&mut self, text: &str) -> String {
        let shown = self.ask(&format!(
            "(async () => {{
                const rows = [...document.querySelectorAll('.row:not([hidden])')];
                rows.find(row => row.textContent.includes({text:?})).click();
                await {DRAWN};
                return document.getElementById('items').innerText;
            }})()"
        ));
        shown.as_str().unwrap().to_owned()
    }
}

/// A promise that the page was drawn.
const DRAWN: &str =
    "new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))";

/// Opens a server's page, 1280 by 1000 pixels.
fn open(address: SocketAddr) -> Option<Browser> {
    let mut browser = Browser::open(&format!("http://{address}/"))?;
    browser.resize(1280, 1000);
    until("the page", || {
        browser.ask("document.readyState") == "complete"
            && browser.ask("'framebus' in window") == true
    });
    Some(browser)
}

/// What the rows in sight say, from the top.
fn rows(browser: &mut Browser) -> Vec<String> {
    let rows: Value = browser.ask(
        "[...document.querySelectorAll('.row:not([hidden])')]
            .sort((one, other) => one.dataset.row - other.dataset.row)
            .map(row => row.innerText)",
    );
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row.as_str().unwrap().to_owned()).collect()
}
