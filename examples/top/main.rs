//! A terminal view of recorded agent runs on their way through a bus: shards, rates, and what each
//! subscriber lags, loses and is given.
//!
//! `cargo run --release --example top`; `--help` says what else it can play. `q` or Ctrl-C ends it.

#[path = "../replay/player.rs"]
#[allow(dead_code, reason = "the replay counts what it plays")]
mod player;
mod readers;
mod recorded;
#[path = "../replay/trace/mod.rs"]
#[allow(dead_code, unused_imports, reason = "as in the replay")]
mod trace;
mod view;

use clap::Parser;
use framebus::InMemoryAgentEventBus;
use indicatif::ProgressBar;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use view::Screen;

/// How often the screen is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Shows recorded agent runs on their way through a bus, and how its subscribers keep up.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Recordings, or folders of them [default: the sample data of the project].
    paths: Vec<PathBuf>,

    /// How fast, as a multiple of the recorded pace; 0 is flat out.
    #[arg(long, default_value_t = 10.0)]
    speed: f64,

    /// Play copies of the runs until there are at least so many.
    #[arg(long, default_value_t = 300)]
    runs: usize,

    /// How many threads publish.
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,

    /// Shards of the bus.
    #[arg(long, default_value = "4")]
    shards: NonZeroUsize,

    /// Frames that each shard of the bus holds: few, so that there is something to see.
    #[arg(long, default_value = "1500")]
    ring_capacity: NonZeroUsize,

    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<f64>,

    /// Panic instead of ending: the terminal must survive it.
    #[arg(long, hide = true)]
    panic: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let play = recorded::recorded(options.paths, options.runs);
    if play.frames() == 0 {
        return Err("nothing to play; name recordings or folders of them".into());
    }

    let bus = InMemoryAgentEventBus::builder()
        .shards(options.shards)
        .ring_capacity(options.ring_capacity)
        .build()?;
    let readers = readers::start(&bus, &play)?;
    let mut screen = Screen::new(play.frames() as u64, bus.stats());
    let pace = player::Pace {
        threads: options.threads,
        speed: options.speed.max(0.0),
        split_runs: false,
    };
    let weak = bus.downgrade();
    // Has the last handle: when all is played, the streams end.
    let mut publisher = Some(thread::spawn(move || {
        player::publish(&bus, &play, pace, &ProgressBar::hidden())
    }));

    // Puts the terminal back also when a thread panics.
    let mut terminal = ratatui::init();
    let begin = Instant::now();
    let mut watch = || -> Result<(), Box<dyn Error>> {
        loop {
            if let Some(bus) = weak.upgrade() {
                screen.bus(begin.elapsed(), bus.stats());
            }
            screen.readers(begin.elapsed(), readers.iter().map(readers::Reader::look));
            terminal.draw(|frame| view::draw(frame, &screen))?;
            if asked_to_end(TICK)? {
                return Ok(());
            }
            if readers.iter().any(readers::Reader::panicked) {
                return Err("a reader panicked".into());
            }
            if publisher.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(publisher) = publisher.take()
            {
                publisher.join().map_err(|_| "the publisher panicked")??;
            }
            if options
                .seconds
                .is_some_and(|most| begin.elapsed().as_secs_f64() > most)
            {
                assert!(!options.panic, "asked to");
                return Ok(());
            }
        }
    };
    let watched = watch();
    ratatui::restore();
    watched
}

/// Whether a key said so within that time.
fn asked_to_end(within: Duration) -> std::io::Result<bool> {
    let until = Instant::now() + within;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                KeyCode::Char('c') if control => return Ok(true),
                _ => {}
            }
        }
    }
    Ok(false)
}
