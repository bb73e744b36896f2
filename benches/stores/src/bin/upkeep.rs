//! Measures how long publishers wait while an archive is kept up: two threads publish journal first
//! at full speed, another program's read transaction is open, and the archive is compacted, cut by
//! a tenth, checked and listed.
//!
//! `cargo run --release -p framebus-stores --bin upkeep`; `-- --frames` and `--text` say how large
//! the archive is, `--folder` on which disk.
#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use framebus::archive::{Archive, ArchiveOptions, JournalOptions, JournaledBus, Retention};
use framebus::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Measures how long publishers wait for upkeep")]
struct Cli {
    /// How many frames the archive has.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// How many bytes of text a frame has. It does not pack well.
    #[arg(long, default_value_t = 1_000)]
    text: usize,
    /// Publish frame by frame while it is measured, not in batches of ten.
    #[arg(long)]
    single: bool,
    /// A folder on the disk that is measured [default: the one for temporary files].
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Returns a frame of one of 50 runs, with text that hardly packs.
fn frame(state: &mut u64, length: usize) -> EventFrame {
    let mut text = String::with_capacity(length + 8);
    while text.len() < length {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        text.extend(state.to_le_bytes().map(|byte| char::from(32 + byte % 95)));
    }
    let run = format!("run-{}", *state % 50);
    let envelope = EventEnvelope::new(run, "a", EventKind::ModelStreamDelta);
    EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
}

/// What was measured of publishers while something was done.
struct Waits {
    took: Duration,
    /// How long each publish took, shortest first.
    publishes: Vec<Duration>,
    done: String,
}

/// Publishes at full speed from two threads while `job` is done.
fn beside(
    bus: &JournaledBus,
    (batch, text): (usize, usize),
    job: impl FnOnce() -> Result<String>,
) -> Result<Waits> {
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let publishers: Vec<_> = (1..=2)
            .map(|thread| {
                let done = &done;
                threads.spawn(move || {
                    let (mut state, mut took) = (thread * 0x9E37_79B9, Vec::new());
                    while !done.load(Ordering::Relaxed) {
                        let frames: Vec<_> = (0..batch).map(|_| frame(&mut state, text)).collect();
                        let begin = Instant::now();
                        bus.publish_all(frames).expect("the disk has room");
                        took.push(begin.elapsed());
                    }
                    took
                })
            })
            .collect();
        let begin = Instant::now();
        let job = job();
        let took = begin.elapsed();
        done.store(true, Ordering::Relaxed);
        let mut publishes = Vec::new();
        for publisher in publishers {
            publishes.extend(publisher.join().expect("a publisher panicked"));
        }
        publishes.sort_unstable();
        Ok(Waits {
            took,
            publishes,
            done: job?,
        })
    })
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let base = cli.folder.unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(base)?;
    let archive = Archive::open(folder.path(), ArchiveOptions::default())?;
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default())?;
    let mut state = 42;
    let text = cli.text;
    for _ in 0..cli.frames.div_ceil(1_000) {
        bus.publish_all((0..1_000).map(|_| frame(&mut state, text)))?;
    }
    let batch = if cli.single { 1 } else { 10 };
    let file = folder.path().join("frames.sqlite");
    // Another program in the middle of reading: a backup, a shell.
    let other = rusqlite::Connection::open(&file)?;
    let read = || -> Result<()> {
        other.execute_batch("BEGIN")?;
        other.query_row("SELECT count(*) FROM blocks", [], |_| Ok(()))?;
        Ok(())
    };
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "beside",
        "s",
        "publishes",
        "median ms",
        "99.9 % ms",
        "longest ms",
        "what was done",
    ]);
    let nothing = || {
        std::thread::sleep(Duration::from_secs(5));
        Ok(String::new())
    };
    let keep = |part: u64| {
        let limits = Retention {
            max_frames: Some(archive.len()? / 10 * part),
            ..Retention::default()
        };
        Ok(format!(
            "{} frames removed",
            archive.retain(&limits)?.frames
        ))
    };
    let compact = || Ok(format!("{:?}", archive.compact()?));
    type Job<'a> = &'a dyn Fn() -> Result<String>;
    let jobs: [(&str, bool, Job<'_>); 8] = [
        ("nothing", false, &nothing),
        ("nothing, and a reader", true, &nothing),
        ("compact", true, &compact),
        ("retain 9/10", true, &|| keep(9)),
        ("check", true, &|| {
            Ok(format!("{} frames", archive.check()?))
        }),
        ("100 pages of runs", true, &|| {
            (0..100).try_for_each(|_| archive.runs(0, 10).map(drop))?;
            Ok(String::new())
        }),
        ("retain 1/10", false, &|| keep(1)),
        ("compact", false, &compact),
    ];
    for (name, reader, job) in jobs {
        if reader {
            read()?;
        }
        let waits = beside(&bus, (batch, text), job)?;
        if reader {
            other.execute_batch("COMMIT")?;
        }
        let milliseconds = |of: usize| {
            let last = waits.publishes.len() - 1;
            let took = waits.publishes[(last * of / 1_000).min(last)];
            format!("{:.2}", took.as_secs_f64() * 1e3)
        };
        table.add_row([
            if reader && !name.contains("reader") {
                format!("{name}, and a reader")
            } else {
                name.to_owned()
            },
            format!("{:.2}", waits.took.as_secs_f64()),
            waits.publishes.len().to_string(),
            milliseconds(500),
            milliseconds(999),
            milliseconds(1_000),
            waits.done,
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let size = std::fs::metadata(&file)?.len();
    println!("{table}\n\nat the end the file has {size} bytes");
    Ok(())
}
