//! Measures the stores that the archive's was chosen among, on the archive's workload, with the
//! same bytes in the same blocks: append durably, look up by sequence, run, agent, kind and time,
//! scan, open again.
//!
//! `cargo run --release -p framebus-stores`; `-- --frames` says how many frames, `--folder` on
//! which disk. Each store makes each group of frames durable before the next one.
#![forbid(unsafe_code)]

mod store;
mod workload;

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::{Fjall, Redb, Rows, Sqlite, Store};
use workload::{AGENTS, GROUP, KINDS};

#[derive(Parser)]
#[command(about = "Measures the stores that the archive's was chosen among")]
struct Cli {
    /// Frames, rounded up to whole groups of 2,048.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// A folder on the disk that is measured [default: the one for temporary files].
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.frames > 0, "there is nothing to store: --frames 0");
    let folder = cli.folder.unwrap_or_else(std::env::temp_dir);
    let frames = cli.frames.next_multiple_of(GROUP);
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "store",
        "append frames/s",
        "bytes a frame",
        "replay frames/s",
        "open ms",
        "by sequence µs",
        "run µs",
        "agent µs",
        "kind µs",
        "time µs",
    ]);
    for measure in [
        measure::<Sqlite>,
        measure::<Redb>,
        measure::<Fjall>,
        measure::<Rows>,
    ] {
        table.add_row(measure(frames, &folder)?);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{frames} frames, durable in groups of {GROUP}\n\n{table}");
    Ok(())
}

/// Fills a store in a new folder below `base`, and returns its row of the table.
fn measure<S: Store>(frames: u64, base: &Path) -> Result<Vec<String>> {
    let folder = tempfile::tempdir_in(base)?;
    let text = workload::text();
    let mut store = S::open(folder.path())?;
    let mut appending = Duration::ZERO;
    for first in (0..frames).step_by(GROUP as usize) {
        let blocks = workload::blocks(first..first + GROUP, &text);
        let begin = Instant::now();
        store.append(&blocks)?;
        appending += begin.elapsed();
    }
    drop(store);
    let bytes = size(folder.path()) as f64 / frames as f64;
    let begin = Instant::now();
    let store = S::open(folder.path())?;
    let opening = begin.elapsed();
    let begin = Instant::now();
    let mut replayed = 0;
    store.scan(0, &mut |bytes| replayed += workload::frames(bytes))?;
    let replaying = begin.elapsed();
    ensure!(
        replayed == frames,
        "{}: {replayed} of {frames} frames replayed",
        S::NAME
    );
    let some = |n: u64| n.wrapping_mul(7_919_777) % frames;
    let lookups = [
        median(|n| Ok(store.by_sequence(some(n))? > 0))?,
        median(|n| Ok(!store.by_run(workload::run_at(some(n), n))?.is_empty()))?,
        median(|n| Ok(!store.by_agent(n % AGENTS, 100)?.is_empty()))?,
        median(|n| Ok(store.by_kind(KINDS[n as usize % 2])? > 0))?,
        median(|n| Ok(store.by_time(workload::time_of(some(n)))?.is_some()))?,
    ];
    let a_second = |time: Duration| format!("{:.0}", frames as f64 / time.as_secs_f64());
    let mut row = vec![
        S::NAME.into(),
        a_second(appending),
        format!("{bytes:.0}"),
        a_second(replaying),
        format!("{:.1}", opening.as_secs_f64() * 1e3),
    ];
    row.extend(lookups.map(|time| format!("{:.0}", time.as_secs_f64() * 1e6)));
    Ok(row)
}

/// The bytes of all files below a path.
fn size(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size(&entry.path())).sum(),
        Err(_) => path.metadata().map_or(0, |metadata| metadata.len()),
    }
}

/// The median time of 21 lookups, each of which has to find something.
fn median(mut look_up: impl FnMut(u64) -> Result<bool>) -> Result<Duration> {
    let mut times = Vec::new();
    for n in 0..21 {
        let begin = Instant::now();
        let found = look_up(n)?;
        times.push(begin.elapsed());
        ensure!(found, "look-up {n} found nothing");
    }
    times.sort_unstable();
    Ok(times[10])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_gives_back_what_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let frames = 20_480;
        measure::<Sqlite>(frames, folder.path()).unwrap();
        measure::<Redb>(frames, folder.path()).unwrap();
        measure::<Fjall>(frames, folder.path()).unwrap();
        measure::<Rows>(frames, folder.path()).unwrap();
    }
}
