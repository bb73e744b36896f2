//! Measures the archive at work: the journal against a file of JSON lines, single publishes from
//! many threads, replay, and an archive of many frames.
//!
//! `cargo run --release -p framebus-stores --bin journal`; `-- --help` says what can be chosen.
//! Each group is durable before the next one: by `fdatasync` for the lines, by the archive's
//! default for the journal. Rounds of both alternate; the table has medians.
#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use framebus::archive::{Archive, ArchiveOptions, Durability, JournalOptions, JournaledBus};
use framebus::*;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Measures the archive at work")]
struct Cli {
    /// Frames that the journal and the lines take a round.
    #[arg(long, default_value_t = 200_000)]
    frames: u64,
    /// Rounds of the journal and of the lines.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Single publishes from all threads together, a round.
    #[arg(long, default_value_t = 4_000)]
    singles: u64,
    /// Frames of the archive that is opened, searched and replayed.
    #[arg(long, default_value_t = 2_000_000)]
    archived: u64,
    /// A folder on the disk that is measured [default: the one for temporary files].
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Frames as a runtime makes them: 50 runs at a time of 400 frames each, 8 agents, one end in 20, a
/// summary of 40 to 200 bytes.
fn frame(n: u64, text: &str) -> EventFrame {
    let mix = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    let run = n / 20_000 * 50 + mix % 50;
    let kind = match mix % 20 {
        0 => EventKind::ToolCompleted,
        _ => EventKind::ModelStreamDelta,
    };
    let names = (format!("run-{run:08}"), format!("agent-{}", run % 8));
    let envelope = EventEnvelope::new(names.0, names.1, kind);
    let text = &text[..40 + (mix % 160) as usize];
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
}

fn text() -> String {
    "The quick brown fox jumps over the lazy dog. ".repeat(8)
}

fn open(folder: &Path, durability: Durability) -> Result<Archive> {
    let options = ArchiveOptions {
        durability,
        ..ArchiveOptions::default()
    };
    Ok(Archive::open(folder, options)?)
}

fn journaled(archive: Archive) -> Result<JournaledBus> {
    let builder = InMemoryAgentEventBus::builder();
    Ok(JournaledBus::open(
        archive,
        builder,
        JournalOptions::default(),
    )?)
}

/// Publishes in batches from one thread. Returns the time.
fn journal(base: &Path, frames: u64, batch: u64) -> Result<Duration> {
    let folder = tempfile::tempdir_in(base)?;
    let bus = journaled(open(folder.path(), Durability::EachAppend)?)?;
    let text = text();
    let begin = Instant::now();
    for at in (0..frames).step_by(batch as usize) {
        bus.publish_all((at..(at + batch).min(frames)).map(|n| frame(n, &text)))?;
    }
    Ok(begin.elapsed())
}

/// Writes the same frames as JSON lines, a batch at a time.
fn lines(base: &Path, frames: u64, batch: u64) -> Result<Duration> {
    let folder = tempfile::tempdir_in(base)?;
    let mut file = File::create(folder.path().join("frames.jsonl"))?;
    let text = text();
    let mut buffer = Vec::new();
    let begin = Instant::now();
    for at in (0..frames).step_by(batch as usize) {
        buffer.clear();
        for n in at..(at + batch).min(frames) {
            serde_json::to_writer(&mut buffer, &frame(n, &text))?;
            buffer.push(b'\n');
        }
        file.write_all(&buffer)?;
        file.sync_data()?;
    }
    Ok(begin.elapsed())
}

/// Publishes single frames from these threads. Returns frames a second.
fn singles(base: &Path, frames: u64, threads: u64) -> Result<f64> {
    let folder = tempfile::tempdir_in(base)?;
    let bus = journaled(open(folder.path(), Durability::EachAppend)?)?;
    let text = text();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (bus, text) = (&bus, &text);
            scope.spawn(move || {
                for n in (thread..frames).step_by(threads as usize) {
                    bus.publish(frame(n, text)).expect("the disk has room");
                }
            });
        }
    });
    Ok(frames as f64 / begin.elapsed().as_secs_f64())
}

fn median<T: PartialOrd + Copy>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("no value is odd"));
    values[values.len() / 2]
}

/// What the process holds in memory, in KiB, where the system says it.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|it| it.parse().ok());
    pages.unwrap_or(0) * 4
}

/// The bytes of all files in a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

fn replayed(archive: &Archive, filter: EventFilter) -> Result<(usize, Duration)> {
    let begin = Instant::now();
    let frames = archive.replay_filtered_from_cursor(filter.compile()?, archive.start()?)?;
    Ok((frames.count(), begin.elapsed()))
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let base = cli.folder.unwrap_or_else(std::env::temp_dir);
    println!(
        "| batches of | journal frames/s | lines frames/s | ratio |\n| --- | --- | --- | --- |"
    );
    for batch in [100, 1_000, 4_000] {
        let frames = cli.frames.min(batch * 400);
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..cli.rounds {
            let one = journal(&base, frames, batch)?.as_secs_f64();
            let other = lines(&base, frames, batch)?.as_secs_f64();
            ours.push(frames as f64 / one);
            theirs.push(frames as f64 / other);
            ratios.push(other / one);
        }
        println!(
            "| {batch} | {:.0} | {:.0} | {:.2} |",
            median(&mut ours),
            median(&mut theirs),
            median(&mut ratios)
        );
    }
    println!("\n| single publishes, threads | frames/s | times one thread |\n| --- | --- | --- |");
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..cli.rounds {
        for (rates, (threads, share)) in rates.iter_mut().zip([(1, 4), (8, 1), (32, 1)]) {
            rates.push(singles(&base, cli.singles / share, threads)?);
        }
    }
    let one = median(&mut rates[0]);
    for (rates, threads) in rates.iter_mut().zip([1, 8, 32]) {
        let rate = median(rates);
        println!("| {threads} | {rate:.0} | {:.1} |", rate / one);
    }

    let folder = tempfile::tempdir_in(&base)?;
    let text = text();
    {
        let bus = journaled(open(folder.path(), Durability::SystemCache)?)?;
        for at in (0..cli.archived).step_by(4_000) {
            bus.publish_all((at..(at + 4_000).min(cli.archived)).map(|n| frame(n, &text)))?;
        }
    }
    println!(
        "\n{} frames archived: {:.1} bytes a frame",
        cli.archived,
        size(folder.path())? as f64 / cli.archived as f64
    );
    let begin = Instant::now();
    let archive = open(folder.path(), Durability::EachAppend)?;
    println!("  opened in {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    let middle = cli.archived / 40_000 * 50 + 25;
    let mut times = Vec::new();
    for n in 0..11 {
        let filter = EventFilter::run(format!("run-{:08}", middle.saturating_sub(n)).as_str());
        let (count, time) = replayed(&archive, filter)?;
        anyhow::ensure!(count > 0, "a run has no frames");
        times.push(time.as_secs_f64() * 1e3);
    }
    println!(
        "  one of {} runs: {:.1} ms",
        cli.archived / 400,
        median(&mut times)
    );
    let before = resident();
    let (count, time) = replayed(&archive, EventFilter::default())?;
    println!(
        "  replay of {count} frames: {:.0} frames/s, memory {:+} KiB",
        count as f64 / time.as_secs_f64(),
        resident() - before
    );
    Ok(())
}
