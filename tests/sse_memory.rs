//! What clients of the web feed cost that stopped reading. A test program of its own, so that its
//! memory is theirs.
#![cfg(target_os = "linux")]

mod common;
mod web;

use framebus::*;
use std::time::Duration;
use web::{Server, bus, connect, large, open, publish, until};

/// Returns how much memory the process has in use, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes >> 10
}

/// Publishes this many frames of 16 KiB, slowly enough for the server to see each socket full.
fn flood(bus: &InMemoryAgentEventBus, frames: usize) {
    for _ in 0..frames / 100 {
        publish(bus, (0..100).map(|_| large("a", EventKind::ToolStarted)));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_hundred_clients_that_stopped_reading_cost_no_more_the_longer_they_stay() {
    let bus = bus(256);
    let feed = open(&bus)
        .queue(SubscriptionOptions::capacity(16).queue)
        .write_timeout(Duration::from_secs(3_600));
    let handle = feed.handle();
    let server = Server::start(feed.into_router());
    let stopped: Vec<_> = (0..100)
        .map(|_| connect(server.address, "/events", &[]))
        .collect();
    // Each socket's buffers, and the server's own, are full, and the rings turn over.
    flood(&bus, 2_000);
    let full = resident();
    flood(&bus, 20_000);
    let later = resident();
    println!("100 stopped clients: {full} MiB, after 20,000 frames more {later} MiB");
    assert!(later <= full + 20, "{full} MiB became {later} MiB");
    assert_eq!(handle.clients(), 100);
    drop(stopped);
    until("their ends", || handle.clients() == 0);
}
