//! Records runs into archives, lists them, tails, exports and imports JSON lines, tidies up.

mod export;
mod failure;
mod import;
mod record;
mod show;
mod upkeep;

use crate::output;
use crate::sources::Sources;
use clap::{Args, Subcommand};
use failure::Outcome;
use framebus::archive::{AgeOf, Retention};
use framebus::{EventFilter, EventKind, Timestamp};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Records, shows and moves archives of event frames.
#[derive(Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Publish recorded runs journal first, so that each frame is archived before it is seen.
    Record {
        /// The archive's folder; it is made if it is missing.
        archive: PathBuf,
        #[command(flatten)]
        recordings: Sources,
        /// Publish them on a live bus that an archiver follows instead.
        #[arg(long)]
        follow: bool,
    },
    /// List the runs that it has frames of.
    Runs {
        /// The archive's folder.
        archive: PathBuf,
    },
    /// Show the last frames, one a line.
    Tail {
        /// The archive's folder.
        archive: PathBuf,
        /// How many positions back to begin.
        #[arg(short = 'n', long, default_value_t = 20)]
        last: u64,
        /// Go on with what other processes append, until the output is closed.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Write frames as JSON lines.
    Export {
        /// The archive's folder.
        archive: PathBuf,
        /// The file to write [default: the standard output].
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// Begin after this position.
        #[arg(long, conflicts_with = "since")]
        after: Option<u64>,
        /// Begin with the first frame that happened at this RFC 3339 time or later.
        #[arg(long)]
        since: Option<Timestamp>,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Append frames from JSON lines, with their buses and numbers.
    Import {
        /// The archive's folder; it is made if it is missing.
        archive: PathBuf,
        /// The file to read; `-` for the standard input.
        input: PathBuf,
        /// Name lines that are no frame, or that can't follow those before them, and go on.
        #[arg(long)]
        skip_damaged: bool,
        /// Begin with this line.
        #[arg(long, default_value_t = 1)]
        from_line: u64,
    },
    /// Read everything and check it.
    Check {
        /// The archive's folder.
        archive: PathBuf,
    },
    /// Remove what breaks a limit, join small blocks, give space back.
    Tidy {
        /// The archive's folder.
        archive: PathBuf,
        /// Remove frames that are older than this many days.
        #[arg(long)]
        max_days: Option<u32>,
        /// Count a frame's age from the time of its event, not from its arrival.
        #[arg(long, requires = "max_days")]
        by_event: bool,
        /// Keep no more than this many frames.
        #[arg(long)]
        max_frames: Option<u64>,
        /// Keep no more than this many bytes of frames.
        #[arg(long)]
        max_bytes: Option<u64>,
        /// Keep this many of the last frames in any case.
        #[arg(long, default_value_t = 0)]
        keep_frames: u64,
    },
}

/// Which frames; each option that can be repeated takes any of its values.
#[derive(Args, Debug)]
struct Wanted {
    /// Of this run.
    #[arg(long)]
    run: Vec<String>,
    /// Of this agent.
    #[arg(long)]
    agent: Vec<String>,
    /// Of this kind, such as ToolFailed.
    #[arg(long)]
    kind: Vec<EventKind>,
    /// Terminal kinds only.
    #[arg(long)]
    terminal: bool,
}

impl Wanted {
    fn filter(self) -> EventFilter {
        EventFilter {
            run_ids: self.run.into_iter().map(Into::into).collect(),
            agent_ids: self.agent.into_iter().map(Into::into).collect(),
            kinds: self.kind,
            terminal_only: self.terminal,
            ..EventFilter::default()
        }
    }
}

/// Does what was asked. The exit code is the one that the help states.
pub fn run(options: Options) -> ExitCode {
    match act(options.command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has enough of it.
        Err(failure) if failure.is_closed_output() => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(failure);
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> Outcome {
    match command {
        Command::Record {
            archive,
            recordings,
            follow,
        } => record::record(&archive, &recordings, follow),
        Command::Runs { archive } => show::runs(&archive),
        Command::Tail {
            archive,
            last,
            follow,
            wanted,
        } => show::tail(&archive, last, follow, wanted.filter()),
        Command::Export {
            archive,
            output,
            after,
            since,
            wanted,
        } => export::export(&archive, output, after, since, wanted.filter()),
        Command::Import {
            archive,
            input,
            skip_damaged,
            from_line,
        } => import::import(&archive, &input, skip_damaged, from_line),
        Command::Check { archive } => upkeep::check(&archive),
        Command::Tidy {
            archive,
            max_days,
            by_event,
            max_frames,
            max_bytes,
            keep_frames,
        } => {
            let day = Duration::from_secs(86_400);
            let limits = Retention {
                max_age: max_days.map(|days| day * days),
                age_of: if by_event {
                    AgeOf::Event
                } else {
                    AgeOf::Arrival
                },
                max_frames,
                max_bytes,
                keep_frames,
                keep_from: None,
            };
            upkeep::tidy(&archive, &limits)
        }
    }
}
