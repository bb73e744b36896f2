//! What is on the screen, at any size.
//!
//! `BLESS=1 cargo test -p framebus-tools --bin framebus top` writes the golden screens anew; look
//! at the difference before it goes in.

use super::readers::{self, Look, Reader};
use super::screen::Screen;
use super::view;
use crate::play::{Pace, Play, publish};
use framebus::{InMemoryAgentEventBus, StreamStats, SubscriberOverflowPolicy as Policy};
use framebus_recordings::{ReadOptions, read_paths, samples};
use indicatif::ProgressBar;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// What is on a screen of this size when all was played and read.
fn shown(width: u16, height: u16) -> Vec<String> {
    let size = |n| NonZeroUsize::new(n).unwrap();
    let sample = samples().join("vercel-ai-sse/xai");
    let (runs, _) = read_paths(&[sample], &ReadOptions::default());
    let play = Play::new(runs, 50, 0).unwrap();
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
    drawn(&screen, width, height)
}

/// The lines of a screen of this size.
fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, screen)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width).max(1));
    lines
        .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect())
        .collect()
}

/// A screen of large figures, the same each time.
fn busy() -> Screen {
    let size = |n| NonZeroUsize::new(n).unwrap();
    let builder = InMemoryAgentEventBus::builder().shards(size(4));
    let bus = builder.ring_capacity(size(1_500)).build().unwrap();
    let mut stats = bus.stats();
    let mut screen = Screen::new(20_000_000, stats.clone());
    for second in 1..=90 {
        stats.published = 123_456 * second;
        stats.last_sequence = stats.published;
        stats.oldest_sequence = Some(stats.published - 8_191);
        stats.woken = 7 * second;
        for (shard, number) in stats.shards.iter_mut().zip(1..) {
            shard.frames.tail = 30_000 * number * second;
            shard.frames.wraps = 14 * second;
            shard.terminals.tail = 300 * number;
        }
        screen.bus(Duration::from_secs(second), stats.clone());
        let looks = ["archive", "screen, 60/s", "naps for 3 s", "fails, 20 ms"];
        let looks = looks.into_iter().zip(0..).map(|(name, number)| {
            let mut stats = StreamStats::default();
            stats.delivered = (123_456 - 30_000 * number) * second;
            stats.lag = 900 * number * (second % 7);
            stats.terminals = 5_000 * second;
            stats.dropped = [30_000 * number * second, 0, 0, 0, 0].into();
            Look {
                name,
                policy: Policy::SummarizeAndContinue,
                stats,
                napping: false,
                ended: (number == 3).then_some("failed"),
            }
        });
        screen.readers(Duration::from_secs(second), looks);
    }
    screen
}

#[test]
fn screens_are_as_they_were_blessed() {
    let screen = busy();
    for (width, height) in [(40, 10), (60, 20), (80, 24), (120, 30), (200, 60)] {
        let name = format!("src/top/golden/{width}x{height}.txt");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        let lines = drawn(&screen, width, height);
        let text: String = lines
            .iter()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, golden, "{name}:\n{text}");
    }
}

/// The headings, longer ones before their beginnings.
const HEADINGS: [&str; 12] = [
    "behind, lately (log scale)",
    "subscriber",
    "delivered",
    "behind",
    "dropped",
    "terminal",
    "laps",
    "policy",
    "rate",
    "notices",
    "q: quit",
    "framebus",
];

#[test]
fn no_size_cuts_a_heading_and_none_is_too_small() {
    let screen = busy();
    for height in [0, 1, 2, 3, 5, 8, 10, 11, 14, 17, 24, 60] {
        for width in [
            0, 1, 2, 5, 9, 20, 40, 41, 59, 60, 79, 80, 119, 120, 145, 200,
        ] {
            let lines = drawn(&screen, width, height);
            if width < 40 || height < 10 {
                continue;
            }
            let header = lines.iter().find(|line| line.contains("subscriber "));
            let mut rest = header.unwrap().clone();
            HEADINGS
                .iter()
                .for_each(|heading| rest = rest.replacen(heading, "", 1));
            assert_eq!(rest.trim(), "", "{width}x{height}: {header:?}");
            assert!(lines[0].starts_with("framebus ") && lines[0].ends_with("q: quit"));
            assert!(lines[0].contains(" 56 %"), "{width}x{height}: {}", lines[0]);
            // A title has some of its rule after it, so that it is whole.
            for line in lines.iter().filter(|line| line.contains('─')) {
                let titles = line.split('─').filter(|title| !title.trim().is_empty());
                assert!(
                    line.ends_with('─') && titles.count() <= 2,
                    "{width}x{height}: {line}"
                );
            }
        }
    }
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
