//! Plays recorded agent runs through a bus, from several threads, to subscribers of every scope and
//! policy, and shows and checks what each of them got, lost and was told.
//!
//! `cargo run --release --example replay` plays the sample data; `--help` says what else it can do.

mod audience;
mod player;
mod progress;
mod report;
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests of the readers use the rest"
)]
mod trace;

use self::progress::progress;
use clap::Parser;
use framebus::InMemoryAgentEventBus;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Plays recorded agent runs through a framebus and checks what every subscriber got.
///
/// Ends with a table: what each subscriber was delivered, lost and was told, and how long after its
/// publish it read a frame. Exit code 0 if order, conservation and terminal frames held for all, 1
/// if not (it says what was violated), 2 if there was nothing to play. Files that cannot be read
/// are named, with the line, and left out.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Recordings, or folders of them [default: the sample data of the project].
    paths: Vec<PathBuf>,

    /// How many threads publish.
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,

    /// Play copies of the runs until there are at least so many.
    #[arg(long, default_value_t = 0)]
    runs: usize,

    /// Play copies of the runs until there are at least so many frames.
    #[arg(long, default_value_t = 0)]
    frames: usize,

    /// How fast, as a multiple of the recorded pace; 0 is flat out. Recordings without times get
    /// 5 ms a step.
    #[arg(long, default_value_t = 0.0, value_parser = speed)]
    speed: f64,

    /// How many tokens of a whole model text make one ModelStreamDelta.
    #[arg(long, default_value = "4")]
    tokens_per_delta: NonZeroUsize,

    /// Deal the frames of a run out to all threads instead of keeping a run on one.
    #[arg(long)]
    split_runs: bool,

    /// Shards of the bus [default: by the machine's processors].
    #[arg(long)]
    shards: Option<NonZeroUsize>,

    /// Frames that each shard of the bus holds.
    #[arg(long)]
    ring_capacity: Option<NonZeroUsize>,

    /// Print the result as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err("give a number from 0 up".to_owned()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let paths = if options.paths.is_empty() {
        vec![sample]
    } else {
        options.paths.clone()
    };

    let reading = progress(0, "{spinner} reading {wide_msg}");
    let (mut runs, mut errors) = (Vec::new(), Vec::new());
    let read = trace::ReadOptions {
        tokens_per_delta: options.tokens_per_delta,
    };
    for path in paths.chunks(1) {
        reading.set_message(path[0].display().to_string());
        reading.tick();
        let (more, failed) = trace::read_folder(path, &read);
        runs.extend(more);
        errors.extend(failed);
    }
    reading.finish_and_clear();
    for error in &errors {
        eprintln!("left out: {error}");
    }
    let play = player::Play::new(runs, options.runs, options.frames);
    if play.frames() == 0 {
        eprintln!(
            "nothing to play in {} path(s); name recordings or folders of them",
            paths.len()
        );
        return ExitCode::from(2);
    }

    let mut builder = InMemoryAgentEventBus::builder();
    if let Some(shards) = options.shards {
        builder = builder.shards(shards);
    }
    if let Some(capacity) = options.ring_capacity {
        builder = builder.ring_capacity(capacity);
    }
    let bus = match builder.build() {
        Ok(bus) => bus,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };

    let playing = progress(
        play.frames() as u64,
        "{wide_bar} {human_pos}/{human_len} frames, {per_sec}, {eta} left",
    );
    let readers = match audience::gather(&bus, &play) {
        Ok(readers) => readers,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let pace = player::Pace {
        threads: options.threads,
        speed: options.speed,
        split_runs: options.split_runs,
    };
    let over = AtomicBool::new(false);
    let (rows, published) = std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|reader| scope.spawn(|| reader.read(&play, &over)))
            .collect();
        let begin = Instant::now();
        let published = player::publish(&bus, &play, pace, &playing);
        let took = begin.elapsed();
        over.store(true, Ordering::Release);
        playing.finish_and_clear();
        let draining = progress(0, "{spinner} all published; the readers drain ({elapsed})");
        draining.enable_steady_tick(Duration::from_millis(100));
        // The last handle but those of readers that resume: streams end when they drained.
        drop(bus);
        let rows: Vec<_> = threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect();
        draining.finish_and_clear();
        (rows, published.map(|()| took))
    });

    let report = report::Report {
        rows,
        play: &play,
        published,
        left_out: &errors,
    };
    if options.json {
        println!("{:#}", report.json());
    } else {
        println!("{}", report.table());
    }
    let violations = report.violations();
    for violation in &violations {
        eprintln!("violation: {violation}");
    }
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
