//! Measures framebus beside its peers.
//!
//! `cargo run --release -p framebus-bench -- all` measures every case, with progress, writes the
//! results as JSON lines and ends with tables and the list of bars. `-- --help` has the rest.
//!
//! `case.rs` and its modules say what is measured, `peer.rs` and its modules beside whom, `round.rs`
//! how the runs are interleaved, `record.rs` what is kept of them, `report.rs`, `bar.rs` and
//! `plot.rs` what is told about it. `count.rs` counts instructions.
#![forbid(unsafe_code)]

mod bar;
mod case;
mod count;
mod payload;
mod peer;
mod plot;
mod record;
mod report;
mod round;

use anyhow::{Result, ensure};
use case::Scale;
use clap::{Args, Parser, Subcommand};
use record::{Machine, Results};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(
    about = "Measures framebus beside its peers",
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
    /// Interleaved rounds: a bar needs at least 9.
    #[arg(long, default_value_t = 9)]
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

#[derive(Subcommand)]
enum Command {
    /// Names the cases.
    List,
    /// Prints tables and bars of what was measured, as Markdown.
    Report(File),
    /// Draws plots of what was measured.
    Plot {
        #[command(flatten)]
        file: File,
        /// Where to.
        #[arg(long, default_value = "docs/perf")]
        folder: PathBuf,
    },
    /// Counts instructions and allocations a frame, under valgrind.
    #[command(subcommand)]
    Counts(Counts),
}

#[derive(Subcommand)]
enum Counts {
    /// Fails if something costs more than the baseline allows.
    Check(Baseline),
    /// Makes what is counted now the baseline.
    Bless(Baseline),
    /// Counts a round trip of each peer.
    Peers,
    /// Runs one job, which is what valgrind is given.
    #[command(hide = true)]
    Run { job: String },
}

#[derive(Args)]
struct Baseline {
    /// The baseline.
    #[arg(long, default_value = "bench/instructions.json")]
    baseline: PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::List) => {
            for case in case::all(&samples()) {
                println!("{:28} {}", case.name, case.about);
            }
        }
        Some(Command::Report(file)) => print!("{}", report::report(&Results::read(&file.results)?)),
        Some(Command::Plot { file, folder }) => {
            for path in plot::draw(&Results::read(&file.results)?, &folder)? {
                println!("{}", path.display());
            }
        }
        Some(Command::Counts(Counts::Check(at))) => print!("{}", count::check(&at.baseline)?),
        Some(Command::Counts(Counts::Bless(at))) => count::bless(&at.baseline)?,
        Some(Command::Counts(Counts::Peers)) => print!("{}", count::peers()?),
        Some(Command::Counts(Counts::Run { job })) => count::run(&job)?,
        None => measure(&cli.measure)?,
    }
    Ok(())
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data")
}

fn measure(measure: &Measure) -> Result<()> {
    let mut cases = case::all(&measure.recordings.clone().unwrap_or_else(samples));
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
    let mut results = match path.exists() {
        true => Results::read(path)?,
        false => Results::default(),
    };
    results.machine = Machine::here();
    let scale = Scale {
        quick: measure.quick,
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
    Ok(())
}
