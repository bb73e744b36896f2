//! A terminal view of recorded agent runs on their way through a bus: shards, rates, and what each
//! subscriber lags, loses and is given.

mod readers;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use crate::output;
use crate::play::{Pace, Play, PlayError, from_zero, publish, threads};
use crate::sources::Sources;
use framebus::{AgentError, InMemoryAgentEventBus};
use framebus_recordings::ReadOptions;
use indicatif::ProgressBar;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use readers::Reader;
use screen::Screen;
use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the screen is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Shows recorded agent runs on their way through a bus, and how its subscribers keep up.
///
/// `q`, Esc or Ctrl-C ends it.
#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    sources: Sources,

    /// How fast, as a multiple of the recorded pace; 0 is flat out.
    #[arg(long, default_value_t = 10.0, value_parser = from_zero, allow_hyphen_values = true)]
    speed: f64,

    /// Play copies of the runs until there are at least this many.
    #[arg(long, default_value_t = 300)]
    runs: usize,

    /// How many threads publish, up to 1024.
    #[arg(long, default_value = "2", value_parser = threads)]
    threads: NonZeroUsize,

    /// Shards of the bus.
    #[arg(long, default_value = "4")]
    shards: NonZeroUsize,

    /// Frames that each shard of the bus holds: few, so that there is something to see.
    #[arg(long, default_value = "1500")]
    ring_capacity: NonZeroUsize,

    /// End after this many seconds.
    #[arg(long, value_parser = from_zero, allow_hyphen_values = true)]
    seconds: Option<f64>,

    /// Panic instead of ending: the terminal must survive it.
    #[arg(long, hide = true)]
    panic: bool,
}

/// Why the view ended without having been asked to.
#[derive(Debug, thiserror::Error)]
enum TopError {
    #[error(transparent)]
    Play(#[from] PlayError),
    #[error("the output is not a terminal; run `top` in one, or `replay` for a table")]
    NoTerminal,
    #[error(transparent)]
    Bus(#[from] AgentError),
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
    #[error("a reader panicked")]
    ReaderPanicked,
    #[error("the publisher panicked")]
    PublisherPanicked,
}

/// Shows the view until it is asked to end. The exit code is the one that the help states.
pub fn run(options: &Options) -> ExitCode {
    match top(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let asked_too_much =
                matches!(error, TopError::Bus(_) | TopError::Play(PlayError::TooMany));
            output::error(error);
            ExitCode::from(if asked_too_much { 2 } else { 1 })
        }
    }
}

fn top(options: &Options) -> Result<(), TopError> {
    let recorded = options.sources.read(&ReadOptions::default());
    let play = Play::new(recorded.runs, options.runs, 0)?;
    if !output::is_seen() {
        return Err(TopError::NoTerminal);
    }
    let bus = InMemoryAgentEventBus::builder()
        .shards(options.shards)
        .ring_capacity(options.ring_capacity)
        .build()?;
    let readers = readers::start(&bus, &play)?;
    let mut screen = Screen::new(play.frames() as u64, bus.stats());
    let pace = Pace {
        threads: options.threads,
        speed: options.speed,
        split_runs: false,
    };
    let weak = bus.downgrade();
    // Has the last handle: once everything is played, the streams end.
    let mut publisher = Some(thread::spawn(move || {
        publish(&bus, &play, pace, &ProgressBar::hidden())
    }));

    // Puts the terminal back also when a thread panics.
    let mut terminal = ratatui::try_init()?;
    let begin = Instant::now();
    let mut watch = || -> Result<(), TopError> {
        loop {
            if let Some(bus) = weak.upgrade() {
                screen.bus(begin.elapsed(), bus.stats());
            }
            screen.readers(begin.elapsed(), readers.iter().map(Reader::look));
            terminal.draw(|frame| view::draw(frame, &screen))?;
            if asked_to_end(TICK)? {
                return Ok(());
            }
            if readers.iter().any(Reader::panicked) {
                return Err(TopError::ReaderPanicked);
            }
            if publisher.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(publisher) = publisher.take()
            {
                publisher
                    .join()
                    .map_err(|_| TopError::PublisherPanicked)??;
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

/// Waits that long for a key, and says whether it was one that ends the view.
fn asked_to_end(within: Duration) -> io::Result<bool> {
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
