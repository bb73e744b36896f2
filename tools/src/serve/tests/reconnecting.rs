//! The connection breaks off in the middle of runs, and the host comes back as another one.

use super::browser::Browser;
use super::proxy::Proxy;
use super::{DRAWN, Server, frame, open, until};
use framebus::{EventKind, InMemoryAgentEventBus};
use std::num::NonZeroUsize;

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
