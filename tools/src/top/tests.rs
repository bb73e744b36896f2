//! What is on the screen at two sizes, once everything was played and read.

use super::readers::{self, Reader};
use super::view::{self, Screen};
use crate::play::{Pace, Play, publish};
use framebus::InMemoryAgentEventBus;
use framebus_recordings::{ReadOptions, read_paths, samples};
use indicatif::ProgressBar;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::num::NonZeroUsize;
use std::time::Duration;

/// What is on a screen of this size when all was played and read.
fn shown(width: u16, height: u16) -> Vec<String> {
    let size = |n| NonZeroUsize::new(n).unwrap();
    let sample = samples().join("vercel-ai-sse/xai");
    let (runs, _) = read_paths(&[sample], &ReadOptions::default());
    let play = Play::new(runs, 50, 0);
    let builder = InMemoryAgentEventBus::builder().shards(size(4));
    let bus = builder.ring_capacity(size(1_500)).build().unwrap();
    let readers = readers::start(&bus, &play).unwrap();
    let pace = Pace {
        threads: size(2),
        speed: 0.0,
        split_runs: false,
    };
    publish(&bus, &play, pace, &ProgressBar::hidden()).unwrap();
    let mut screen = Screen::new(play.frames() as u64, bus.stats());
    screen.bus(Duration::from_secs(1), bus.stats());
    drop(bus);
    while readers.iter().any(|it| it.look().ended.is_none()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    for seconds in 1..=3 {
        let looks = readers.iter().map(Reader::look);
        screen.readers(Duration::from_secs(seconds), looks);
    }
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, &screen)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(width.into());
    lines
        .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect())
        .collect()
}

fn has_all(screen: &[String], words: &[&str]) {
    for word in words {
        assert!(
            screen.iter().any(|line| line.contains(word)),
            "{word}:\n{}",
            screen.join("\n")
        );
    }
}

const EVERYWHERE: [&str; 16] = [
    "all played",
    "100 %",
    "q: quit",
    "frames a second",
    "shards",
    "delivered",
    "dropped",
    "archive",
    "screen, 60/s",
    "slow, 2 ms",
    "slow, 5 ms",
    "naps for 3 s",
    "ends only",
    "one run",
    "one agent",
    "failed",
];

#[test]
fn a_small_screen_has_every_shard_and_subscriber() {
    let screen = shown(80, 24);
    has_all(&screen, &EVERYWHERE);
    for shard in 0..4 {
        let line = screen
            .iter()
            .find(|line| line.starts_with(&format!("{shard}  ")));
        assert!(
            line.is_some_and(|line| line.contains("/s")),
            "{}",
            screen.join("\n")
        );
    }
}

#[test]
fn a_wide_screen_has_the_past_as_well() {
    let screen = shown(170, 40);
    has_all(&screen, &EVERYWHERE);
    has_all(
        &screen,
        &["policy", "SummarizeAndContinue", "behind, lately"],
    );
}
