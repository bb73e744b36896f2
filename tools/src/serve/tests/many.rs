//! A thousand runs: what they cost, in work done rather than in time.

use super::{DRAWN, Server, envelope, frame, open, publish, rows, saying, until};
use framebus::{EventKind, InMemoryAgentEventBus};
use std::num::NonZeroUsize;

const RUNS: usize = 1_000;

#[test]
fn a_thousand_runs_cost_a_layout_a_frame_and_no_more_elements_than_fifty() {
    let bus = InMemoryAgentEventBus::builder()
        .ring_capacity(NonZeroUsize::new(1 << 16).unwrap())
        .build()
        .unwrap();
    let server = Server::start(&bus);
    let Some(mut browser) = open(server.address) else {
        return;
    };
    let round = |runs: std::ops::Range<usize>| {
        for run in runs {
            let run = format!("folder/run-{run}");
            publish(&bus, frame(&run, EventKind::RunStarted));
            for _ in 0..8 {
                let delta = envelope(&run, EventKind::ModelStreamDelta);
                publish(&bus, saying(delta, "some words of a model, "));
            }
        }
    };
    let elements = "document.querySelectorAll('*').length";
    round(0..50);
    browser.shows_frames(bus.last_sequence());
    browser.choose("run-49");
    let few = browser.ask(elements).as_u64().unwrap();
    browser.ask(
        "window.mutations = 0;
        new MutationObserver(() => window.mutations += 1).observe(document, {
            subtree: true, childList: true, characterData: true, attributes: true,
        })",
    );
    let work = |browser: &mut super::Browser, name: &str| {
        browser
            .ask(&format!("framebus.work.{name}"))
            .as_u64()
            .unwrap()
    };
    let messages = work(&mut browser, "messages");
    let [batches, writes] = ["batches", "writes"].map(|name| work(&mut browser, name));
    let layouts = browser.count("LayoutCount");
    round(50..RUNS);
    round(0..RUNS);
    browser.shows_frames(bus.last_sequence());
    browser.ask(DRAWN);
    let messages = work(&mut browser, "messages") - messages;
    let batches = work(&mut browser, "batches") - batches;
    let writes = work(&mut browser, "writes") - writes;
    let layouts = browser.count("LayoutCount") - layouts;
    let mutations = browser.ask("window.mutations").as_u64().unwrap();
    assert_eq!(messages, 9 * (2 * RUNS as u64 - 50));
    // Whatever arrives between two frames is drawn, and laid out, once. A layout more may come from
    // the browser itself, and from the end of a run staying in sight.
    assert!(
        mutations <= batches + 8,
        "{mutations} mutations in {batches} batches"
    );
    assert!(
        layouts <= 2 * batches + 20,
        "{layouts} layouts in {batches} batches"
    );
    assert!(
        batches * 4 < messages,
        "{batches} batches of {messages} messages"
    );
    // A batch writes what is in sight: at most all parts of each row.
    assert!(
        writes <= batches * 30 * 14 + 1_000,
        "{writes} writes in {batches} batches"
    );
    let many = browser.ask(elements).as_u64().unwrap();
    assert!(many <= few + 300, "{few} elements before, {many} after");
    assert_eq!(browser.number("#shown [value=all]"), RUNS as u64);

    // From end to end by keys, with the same elements.
    browser.ask("document.getElementById('list').focus()");
    browser.press("End");
    browser.ask(DRAWN);
    assert!(
        rows(&mut browser).last().unwrap().contains("run-0"),
        "the oldest is last"
    );
    browser.press("Home");
    browser.ask(DRAWN);
    assert!(
        rows(&mut browser)[0].contains("run-999"),
        "the newest is first"
    );
    assert!(browser.ask(elements).as_u64().unwrap() <= few + 300);
    // The filter finds one of a thousand, and gives all back.
    browser.ask("document.getElementById('filter').focus()");
    for key in ["r", "u", "n", "-", "7", "7", "7"] {
        browser.press(key);
    }
    until("the one run", || rows(&mut browser).len() == 1);
    browser.press("Escape");
    until("all runs", || rows(&mut browser).len() > 10);
}

#[test]
fn of_more_runs_than_are_kept_ended_ones_go_first_and_are_counted() {
    let bus = InMemoryAgentEventBus::builder()
        .ring_capacity(NonZeroUsize::new(1 << 14).unwrap())
        .build()
        .unwrap();
    let server = Server::start(&bus);
    let Some(mut browser) = open(server.address) else {
        return;
    };
    publish(&bus, frame("goes-on", EventKind::RunStarted));
    for run in 0..2_500 {
        publish(&bus, frame(&format!("run-{run}"), EventKind::RunCompleted));
    }
    browser.shows_frames(bus.last_sequence());
    assert_eq!(browser.number("#shown [value=all]"), 2_000);
    assert_eq!(browser.number("#shown [value=running]"), 1);
    assert_eq!(browser.text("#gone"), "501 older runs not kept");
}
