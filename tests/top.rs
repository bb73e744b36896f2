//! The terminal view: what is on it at two sizes, and the terminal after it.

mod common;
mod example;
#[path = "../examples/replay/player.rs"]
#[allow(dead_code, reason = "as in the example")]
mod player;
#[path = "../examples/top/readers.rs"]
#[allow(dead_code, reason = "as in the example")]
mod readers;
#[path = "../examples/replay/trace/mod.rs"]
#[allow(dead_code, unused_imports, reason = "as in the example")]
mod trace;
#[path = "../examples/top/view.rs"]
mod view;

use framebus::InMemoryAgentEventBus;
use indicatif::ProgressBar;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What is on a screen of this size when all was played and read.
fn shown(width: u16, height: u16) -> Vec<String> {
    let size = |n| NonZeroUsize::new(n).unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/vercel-ai-sse/xai");
    let read = trace::ReadOptions {
        tokens_per_delta: size(4),
    };
    let (runs, _) = trace::read_folder(&[sample], &read);
    let play = player::Play::new(runs, 50, 0);
    let builder = InMemoryAgentEventBus::builder().shards(size(4));
    let bus = builder.ring_capacity(size(1_500)).build().unwrap();
    let readers = readers::start(&bus, &play).unwrap();
    let pace = player::Pace {
        threads: size(2),
        speed: 0.0,
        split_runs: false,
    };
    player::publish(&bus, &play, pace, &ProgressBar::hidden()).unwrap();
    let mut screen = view::Screen::new(play.frames() as u64, bus.stats());
    screen.bus(Duration::from_secs(1), bus.stats());
    drop(bus);
    while readers.iter().any(|it| it.look().ended.is_none()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    for seconds in 1..=3 {
        let looks = readers.iter().map(readers::Reader::look);
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

/// What a terminal gets that shows a screen of its own: a program's output from here on is drawn,
/// and nothing that cargo or a shell said before.
const OWN_SCREEN: &str = "\x1b[?1049h";

/// A word of the view. Drawn text has no spaces to look for: what is blank already is passed over.
const DRAWN: &str = "framebus";

/// Whether the view was drawn.
fn is_drawn(said: &str) -> bool {
    said.split_once(OWN_SCREEN)
        .is_some_and(|(_, screen)| screen.contains(DRAWN))
}

/// A command for a POSIX shell.
fn shell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_str().expect("UTF-8");
        format!("'{}'", word.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Runs the view in a terminal of its own, typing `keys`; what the terminal got, and after that
/// its settings. `None`, and a cry, where there is no `script` of Linux to make one.
fn in_a_terminal(arguments: &[&str], keys: &[u8]) -> Option<String> {
    // Built before: what it says then is not a part of this.
    let built = example::cargo("build", "top").status();
    assert!(built.unwrap().success());
    let mut top = example::cargo("run", "top");
    let top = shell(top.arg("--").args(arguments));
    let command = format!("stty rows 24 cols 80; {top}; stty -a");
    let script = Command::new("script")
        .args(["--quiet", "--flush", "--command", &command, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Some(mut script) = script.ok().filter(|_| cfg!(target_os = "linux")) else {
        common::not_run("the view in a terminal, there is no Linux `script` here");
        return None;
    };
    let mut keyboard = script.stdin.take().unwrap();
    let mut screen = script.stdout.take().unwrap();
    let (mut said, mut bytes) = (Vec::new(), [0; 4_096]);
    let mut typed = false;
    while let Ok(count @ 1..) = screen.read(&mut bytes) {
        said.extend(&bytes[..count]);
        // Before the view is there, a Ctrl-C would not be for it.
        if !typed && is_drawn(&String::from_utf8_lossy(&said)) {
            keyboard.write_all(keys).unwrap();
            typed = true;
        }
    }
    script.wait().unwrap();
    Some(String::from_utf8_lossy(&said).into_owned())
}

/// The terminal shows its own screen again, with its cursor, and talks to people.
fn is_as_it_was(said: &str) {
    let last = |sequence| {
        said.rfind(sequence)
            .unwrap_or_else(|| panic!("{sequence:?}: {said}"))
    };
    assert!(
        last("\x1b[?1049l") > last(OWN_SCREEN),
        "the other screen: {said}"
    );
    assert!(last("\x1b[?25h") > last("\x1b[?25l"), "no cursor: {said}");
    let settings = &said[last("speed ")..];
    for on in ["icanon", "echo", "isig"] {
        assert!(
            settings.split_whitespace().any(|it| it == on),
            "{on}: {settings}"
        );
    }
}

#[test]
fn the_terminal_is_as_it_was_after_the_end_a_key_and_a_panic() {
    let ways: [(&[&str], &[u8], &str); 4] = [
        (&["--seconds", "0.3"], b"", ""),
        (&[], b"q", ""),
        (&[], b"\x03", ""),
        (&["--seconds", "0.3", "--panic"], b"", "asked to"),
    ];
    for (arguments, keys, word) in ways {
        let Some(said) = in_a_terminal(arguments, keys) else {
            return;
        };
        assert!(is_drawn(&said), "{said}");
        assert!(said.contains(word), "{said}");
        is_as_it_was(&said);
    }
}
