//! A tool for archives: records runs, lists them, tails, exports and imports JSON lines, tidies up.
//!
//! `cargo run --release --features archive --example archive -- record my-archive` records the
//! sample runs of the project; `-- --help` says what else it can do.

#[path = "archive/import.rs"]
mod import;
#[path = "replay/progress.rs"]
mod progress;
#[allow(dead_code, unused_imports, reason = "the replay example uses the rest")]
#[path = "replay/trace/mod.rs"]
mod trace;

use clap::{Args, Parser, Subcommand};
use framebus::archive::{
    Archive, ArchiveOptions, Archiver, FollowOptions, JournalOptions, JournaledBus, Retention,
};
use framebus::{
    AgentError, AgentEvent, ArchiveCursor, EventArchive, EventEnvelope, EventFilter, EventFrame,
    EventKind, InMemoryAgentEventBus, PrivacyClass, StreamEnd, Timestamp,
};
use progress::progress;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use trace::{Body, Step, TraceRun};

/// Records, shows and moves archives of event frames.
///
/// Exit code 0 if all went well, 1 if not: what went wrong is said, with the line where there is
/// one.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Publish recorded runs journal first, so that each frame is archived before it is seen.
    Record {
        /// The archive's folder; it is made if it is missing.
        archive: PathBuf,
        /// Recordings, or folders of them [default: the sample data of the project].
        recordings: Vec<PathBuf>,
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
        /// Begin behind this position.
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
        /// Remove frames that are older than so many days.
        #[arg(long)]
        max_days: Option<u32>,
        /// Keep the last so many frames, and less than a block beyond them.
        #[arg(long)]
        max_frames: Option<u64>,
        /// Keep no more than so many bytes of frames.
        #[arg(long)]
        max_bytes: Option<u64>,
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

/// What ends the tool, in words for its user.
enum Failure {
    Archive(AgentError),
    File(PathBuf, io::Error),
    Output(io::Error),
    Line(PathBuf, u64, String),
    Nothing,
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        Failure::Archive(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Archive(error) => error.fmt(f),
            Failure::File(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::Output(error) => write!(f, "the output: {error}"),
            Failure::Line(path, line, what) => write!(
                f,
                "{}:{line}: {what}; the lines before it are in the archive: mend it and go on with \
                 --from-line {line}, or pass over such lines with --skip-damaged",
                path.display()
            ),
            Failure::Nothing => {
                f.write_str("nothing to record; name recordings or folders of them")
            }
        }
    }
}

type Outcome = Result<(), Failure>;

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Command::Record {
            archive,
            recordings,
            follow,
        } => record(&archive, recordings, follow),
        Command::Runs { archive } => runs(&archive),
        Command::Tail {
            archive,
            last,
            follow,
            wanted,
        } => tail(&archive, last, follow, wanted),
        Command::Export {
            archive,
            output,
            after,
            since,
            wanted,
        } => export(&archive, output, after, since, wanted),
        Command::Import {
            archive,
            input,
            skip_damaged,
            from_line,
        } => import::import(&archive, &input, skip_damaged, from_line),
        Command::Check { archive } => Archive::open_for_reading(archive)
            .and_then(|archive| archive.check())
            .map(|count| println!("{count} frames, all as they were written"))
            .map_err(Failure::from),
        Command::Tidy {
            archive,
            max_days,
            max_frames,
            max_bytes,
        } => {
            let day = Duration::from_secs(86_400);
            let limits = Retention {
                max_age: max_days.map(|days| day * days),
                max_frames,
                max_bytes,
            };
            tidy(&archive, &limits)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads the output has enough of it.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn record(folder: &Path, mut recordings: Vec<PathBuf>, follow: bool) -> Outcome {
    if recordings.is_empty() {
        recordings.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data"));
    }
    let (runs, errors) = trace::read_folder(&recordings, &trace::ReadOptions::default());
    for error in &errors {
        eprintln!("left out: {error}");
    }
    let count: usize = runs.iter().map(|run| run.steps.len()).sum();
    if count == 0 {
        return Err(Failure::Nothing);
    }
    let archive = Archive::open(folder, ArchiveOptions::default())?;
    let bar = progress(
        count as u64,
        "{wide_bar} {human_pos}/{human_len} frames, {per_sec}",
    );
    let frames = |run: &TraceRun| run.steps.iter().map(|step| frame(run, step)).collect();
    if follow {
        let bus = InMemoryAgentEventBus::default();
        let archiver = Archiver::follow(&archive, &bus, FollowOptions::default())?;
        for run in &runs {
            let frames: Vec<EventFrame> = frames(run);
            bar.inc(frames.len() as u64);
            frames
                .into_iter()
                .try_for_each(|frame| bus.publish(frame))?;
        }
        drop(bus);
        let report = archiver.finish();
        bar.finish_and_clear();
        report.error.map_or(Ok(()), Err)?;
        println!(
            "{} frames of {} runs, {} lost",
            report.frames,
            runs.len(),
            report.lost
        );
        return Ok(());
    }
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default())?;
    for run in &runs {
        let frames: Vec<EventFrame> = frames(run);
        bar.inc(frames.len() as u64);
        bus.publish_all(frames)?;
    }
    bar.finish_and_clear();
    println!(
        "{count} frames of {} runs; the archive has {}",
        runs.len(),
        archive.len()?
    );
    Ok(())
}

/// A recorded step as a frame.
fn frame(run: &TraceRun, step: &Step) -> EventFrame {
    let mut envelope = EventEnvelope::new(&*run.run_id, &*run.agent_id, step.kind);
    if let Some(at) = step.at {
        envelope = envelope.with_timestamp(Timestamp::from_micros(at));
    }
    for tag in &step.tags {
        envelope = envelope.with_tag(*tag);
    }
    EventFrame::new(match &step.body {
        Body::None => AgentEvent::envelope_only(envelope),
        Body::Note(text) | Body::Json(text) => {
            AgentEvent::with_redacted_summary(envelope, text.as_str())
        }
        Body::Text(text) => {
            let envelope = envelope.with_privacy(PrivacyClass::Content);
            AgentEvent::with_content(envelope, "text/plain", text.as_bytes())
        }
    })
}

fn runs(folder: &Path) -> Outcome {
    let archive = Archive::open_for_reading(folder)?;
    let mut out = io::stdout().lock();
    let mut after = 0;
    loop {
        let page = archive.runs(after, 1_000)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.last_position;
        for run in &page {
            let ended = run.ended.map_or("going", EventKind::as_str);
            let (first, last) = (run.first_time, run.last_time);
            writeln!(
                out,
                "{:>9} {ended:<12} {first} {last} {}",
                run.frames, run.run_id
            )
            .map_err(Failure::Output)?;
        }
    }
}

fn tail(folder: &Path, last: u64, follow: bool, wanted: Wanted) -> Outcome {
    let archive = Archive::open_for_reading(folder)?;
    let filter = wanted.filter().compile()?;
    let end = archive.end()?;
    let mut cursor = ArchiveCursor {
        position: end
            .position
            .saturating_sub(last)
            .max(archive.start()?.position),
        ..end
    };
    let mut out = io::stdout().lock();
    loop {
        let end = archive.end()?;
        let mut frames = archive.replay_filtered_from_cursor(filter.clone(), cursor)?;
        for frame in frames.by_ref() {
            show(&mut out, &frame).map_err(Failure::Output)?;
        }
        finish(frames.end())?;
        cursor = end;
        if !follow {
            return Ok(());
        }
        out.flush().map_err(Failure::Output)?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Shows a frame on a line of its own.
fn show(out: &mut impl Write, frame: &EventFrame) -> io::Result<()> {
    let envelope = &frame.event.envelope;
    let position = frame.archive_cursor.as_ref().map_or(0, |it| it.position);
    let content = frame.event.content().and_then(|content| content.text());
    let text = frame
        .event
        .redacted_summary()
        .or(content)
        .unwrap_or_default();
    let line: String = text
        .chars()
        .take(80)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if let Some(notice) = &frame.overflow {
        writeln!(
            out,
            "{position:>9} (up to {} frames were removed before)",
            notice.dropped_count
        )?;
    }
    let (time, kind) = (envelope.timestamp, envelope.event_kind);
    writeln!(
        out,
        "{position:>9} {time} {} {} {kind} {line}",
        envelope.run_id, envelope.agent_id
    )
}

/// A replay that did not come to its end is a failure.
fn finish(end: Option<StreamEnd>) -> Outcome {
    match end {
        Some(StreamEnd::SourceFailed(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn export(
    folder: &Path,
    output: Option<PathBuf>,
    after: Option<u64>,
    since: Option<Timestamp>,
    wanted: Wanted,
) -> Outcome {
    let archive = Archive::open_for_reading(folder)?;
    let filter = wanted.filter().compile()?;
    let start = archive.start()?;
    let cursor = match (after, since) {
        (Some(position), _) => ArchiveCursor { position, ..start },
        (None, Some(time)) => archive.before_time(time)?,
        (None, None) => start,
    };
    let length = archive.end()?.position.saturating_sub(cursor.position);
    let mut out: Box<dyn Write> = match &output {
        Some(path) => {
            let file = File::create(path).map_err(|error| Failure::File(path.clone(), error))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let written = |error| match &output {
        Some(path) => Failure::File(path.clone(), error),
        None => Failure::Output(error),
    };
    let bar = progress(length, "{wide_bar} {percent} %, {eta} left");
    let begin = cursor.position;
    let mut frames = archive.replay_filtered_from_cursor(filter, cursor)?;
    let mut count = 0;
    for frame in frames.by_ref() {
        let position = frame.archive_cursor.as_ref().map_or(0, |it| it.position);
        serde_json::to_writer(&mut out, &frame).map_err(|error| written(error.into()))?;
        out.write_all(b"\n").map_err(written)?;
        bar.set_position(position - begin);
        count += 1;
    }
    out.flush().map_err(written)?;
    bar.finish_and_clear();
    eprintln!("{count} frames exported");
    finish(frames.end())
}

fn tidy(folder: &Path, limits: &Retention) -> Outcome {
    let archive = Archive::open(folder, ArchiveOptions::default())?;
    let removed = archive.retain(limits)?;
    let done = archive.compact()?;
    println!(
        "{} frames of {} bytes removed, {} blocks joined into {}; {} frames are left",
        removed.frames,
        removed.bytes,
        done.joined,
        done.into,
        archive.len()?
    );
    Ok(())
}
