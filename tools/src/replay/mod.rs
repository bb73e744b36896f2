//! Plays recorded agent runs through a bus, from several threads, to subscribers of every scope and
//! policy, and shows and checks what each of them got, lost and was told.

mod audience;
mod readers;
mod report;
mod tally;

use crate::play::{Pace, Play, PlayError, from_zero, publish, threads};
use crate::sources::Sources;
use crate::{output, progress};
use framebus::{AgentError, InMemoryAgentEventBus};
use framebus_recordings::ReadOptions;
use report::Report;
use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Plays recorded agent runs through a framebus and checks what every subscriber got.
///
/// Ends with a table: what each subscriber was delivered, lost and was told, and how long after its
/// publish it read a frame. The exit code is 0 if order, conservation and terminal frames held for
/// all. Files that cannot be read are named, with the line, and left out.
#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    sources: Sources,

    /// How many threads publish, up to 1024.
    #[arg(long, default_value = "2", value_parser = threads)]
    threads: NonZeroUsize,

    /// Play copies of the runs until there are at least this many.
    #[arg(long, default_value_t = 0)]
    runs: usize,

    /// Play copies of the runs until there are at least this many frames.
    #[arg(long, default_value_t = 0)]
    frames: usize,

    /// How fast, as a multiple of the recorded pace; 0 is flat out. Recordings without times get
    /// 5 ms a step.
    #[arg(long, default_value_t = 0.0, value_parser = from_zero, allow_hyphen_values = true)]
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

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Play(#[from] PlayError),
    #[error(transparent)]
    Bus(#[from] AgentError),
    #[error("the output: {0}")]
    Output(io::Error),
}

/// Plays, and prints the report. The exit code is the one that the help states.
pub fn run(options: &Options) -> ExitCode {
    match replay(options) {
        Ok(violations) if violations.is_empty() => ExitCode::SUCCESS,
        Ok(violations) => {
            for violation in violations {
                output::error(format_args!("violation: {violation}"));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            let code = if matches!(error, ReplayError::Output(_)) {
                1
            } else {
                2
            };
            output::error(error);
            ExitCode::from(code)
        }
    }
}

/// Returns what was violated.
fn replay(options: &Options) -> Result<Vec<String>, ReplayError> {
    let recorded = options.sources.read(&ReadOptions {
        tokens_per_delta: options.tokens_per_delta,
    });
    let play = Play::new(recorded.runs, options.runs, options.frames)?;
    let mut builder = InMemoryAgentEventBus::builder();
    if let Some(shards) = options.shards {
        builder = builder.shards(shards);
    }
    if let Some(capacity) = options.ring_capacity {
        builder = builder.ring_capacity(capacity);
    }
    let bus = builder.build()?;
    let readers = audience::gather(&bus, &play)?;
    let pace = Pace {
        threads: options.threads,
        speed: options.speed,
        split_runs: options.split_runs,
    };

    let playing = progress::bar(
        play.frames() as u64,
        "{wide_bar} {human_pos}/{human_len} frames, {per_sec}, {eta} left",
    );
    let over = AtomicBool::new(false);
    let (rows, published) = std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|reader| scope.spawn(|| reader.read(&play, &over)))
            .collect();
        let begin = Instant::now();
        let published = publish(&bus, &play, pace, &playing);
        let took = begin.elapsed();
        over.store(true, Ordering::Release);
        playing.finish_and_clear();
        let draining = progress::spinner("{spinner} all published; the readers drain ({elapsed})");
        // The last handle, but for those of readers that resume. A stream ends once it is drained.
        drop(bus);
        let rows: Vec<_> = threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect();
        draining.finish_and_clear();
        (rows, published.map(|()| took))
    });

    let report = Report {
        rows,
        play: &play,
        published,
        left_out: &recorded.left_out,
    };
    let printed = if options.json {
        output::lines(output::json(&format!("{:#}", report.json())))
    } else {
        output::lines(report.table(output::columns()))
    };
    printed.map_err(ReplayError::Output)?;
    Ok(report.violations())
}
