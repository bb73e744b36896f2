//! Measures framebus against its peers.
//!
//! `cargo run --release -p framebus-bench -- all` measures every case, with progress, and writes
//! what PERF.md shows: its tables, the plots, the results as JSON lines, all tables. With names of
//! cases instead it measures those and prints their tables. `-- --help` has the rest.
//!
//! Imports go one way: `payload` <- `peer` <- `peers` (what carries the payloads) <- `case` <-
//! `cases` (what is measured) <- `round` (how runs are interleaved). `record` is what is kept of
//! them; `bar`, `report`, `matrix`, `plot` and `summary` say what it shows. `count` counts the
//! instructions of the peers.
#![forbid(unsafe_code)]

mod bar;
mod case;
mod cases;
mod count;
mod matrix;
mod payload;
mod peer;
mod peers;
mod plot;
mod record;
mod report;
mod round;
mod stopwatch;
mod summary;

use anyhow::{Result, ensure};
use case::Scale;
use clap::{Args, Parser, Subcommand};
use framebus_recordings::samples;
use record::{Machine, Results};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Measures framebus against its peers",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Args)]
struct Measure {
    /// `all`, or the beginning of a case's name: `stream`, `round-trip/u64`. `list` names them.
    cases: Vec<String>,
    /// Interleaved rounds.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// A quarter of the work, for a first look.
    #[arg(long)]
    quick: bool,
    /// Only contenders whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A folder of recorded agent runs [default: the samples of the project].
    #[arg(long)]
    recordings: Option<PathBuf>,
    #[command(flatten)]
    file: File,
}

#[derive(Args)]
struct File {
    /// Where the results are kept; a case that is measured again replaces itself.
    #[arg(long, default_value = "target/bench/results.jsonl")]
    results: PathBuf,
}

/// Fewer rounds say too little for PERF.md.
const ROUNDS: usize = 9;

#[derive(Subcommand)]
enum Command {
    /// Names the cases.
    List,
    /// Prints tables and bars of what was measured, as Markdown.
    Report(File),
    /// Writes what PERF.md shows, of what was measured.
    Write(File),
    /// Counts the instructions of each peer's round trip, under valgrind, or of one peer's without.
    Count {
        #[arg(hide = true)]
        peer: Option<String>,
        #[command(flatten)]
        file: File,
    },
}

fn main() -> ExitCode {
    match act(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(cli: Cli) -> Result<()> {
    match cli.command {
        Some(Command::List) => {
            for case in cases::all(&samples()) {
                println!("{:28} {}", case.name, case.about);
            }
        }
        Some(Command::Report(file)) => report(&Results::read(&file.results)?),
        Some(Command::Write(file)) => summary::write(&Results::read(&file.results)?, &project())?,
        Some(Command::Count {
            peer: Some(peer), ..
        }) => count::run(&peer)?,
        Some(Command::Count { peer: None, file }) => {
            let counts = count::peers()?;
            println!("{}", report::table(&counts));
            let mut results = read_or_new(&file.results)?;
            results.put(counts);
            results.write(&file.results)?;
        }
        None => measure(&cli.measure)?,
    }
    Ok(())
}

/// Prints the table of each case, and the bars.
fn report(results: &Results) {
    println!("{}\n", results.machine.line());
    for record in &results.records {
        println!("{}", report::table(record));
    }
    println!("{}\n{}", report::bars(results), report::losses(results));
}

/// The results that are kept there, if there are any yet.
fn read_or_new(path: &Path) -> Result<Results> {
    match path.exists() {
        true => Results::read(path),
        false => Ok(Results {
            machine: Machine::here(),
            records: Vec::new(),
        }),
    }
}

/// Where the project's files are.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn measure(measure: &Measure) -> Result<()> {
    let mut cases = cases::all(&measure.recordings.clone().unwrap_or_else(samples));
    let wanted = |name: &str| {
        let mut wanted = measure.cases.iter();
        wanted.any(|wanted| wanted == "all" || name.starts_with(wanted.as_str()))
    };
    cases.retain(|case| wanted(&case.name));
    ensure!(
        !cases.is_empty(),
        "no such case: `all`, or names from `list`"
    );
    if !measure.only.is_empty() {
        for case in &mut cases {
            let named = |name: &str| measure.only.iter().any(|part| name.contains(part.as_str()));
            case.contenders.retain(|contender| named(&contender.name));
        }
    }
    let path = &measure.file.results;
    let mut results = read_or_new(path)?;
    results.machine = Machine::here();
    let scale = match measure.quick {
        true => Scale::QUICK,
        false => Scale::FULL,
    };
    let progress = round::progress(&cases, measure.rounds);
    let mut measured = Results {
        machine: results.machine.clone(),
        records: Vec::new(),
    };
    for case in &mut cases {
        let record = round::run(case, measure.rounds, scale, &progress);
        progress.suspend(|| println!("{}", report::table(&record)));
        measured.put(record.clone());
        results.put(record);
        results.write(path)?;
    }
    progress.finish_and_clear();
    println!("{}", report::bars(&measured));
    println!("Results: {}", path.display());
    let all = measure.cases.iter().any(|wanted| wanted == "all");
    if all && !measure.quick && measure.rounds >= ROUNDS && measure.only.is_empty() {
        measured.put(count::peers()?);
        measured.write(path)?;
        summary::write(&measured, &project())?;
    }
    Ok(())
}
