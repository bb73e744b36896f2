//! Counts the instructions and allocations of a frame and compares them with the baseline.
//!
//! `cargo run --release -p framebus-counts` exits with 1 if something costs more than the baseline
//! allows; `-- --bless` makes what is counted now the baseline. valgrind has to be installed.
#![forbid(unsafe_code)]

mod job;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use framebus_counts::{Baseline, Verdict, count};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Counts instructions and allocations a frame, and compares with the baseline")]
struct Cli {
    /// Make what is counted now the baseline.
    #[arg(long)]
    bless: bool,
    /// The baseline [default: the one in this crate].
    #[arg(long)]
    baseline: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one job, which is what valgrind is given.
    #[command(hide = true)]
    Run { job: String },
}

fn main() -> ExitCode {
    match act(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(cli: &Cli) -> Result<()> {
    if let Some(Command::Run { job }) = &cli.command {
        return job::run(job);
    }
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json");
    let path = cli.baseline.clone().unwrap_or_else(default);
    let mut now = Baseline::new();
    for (at, (name, _)) in job::JOBS.iter().enumerate() {
        eprintln!("{} of {}: {name}", at + 1, job::JOBS.len());
        now.jobs
            .insert((*name).into(), count(&["run", name], job::FRAMES)?);
    }
    if cli.bless {
        now.write(&path)?;
    }
    let base = Baseline::read(&path)?;
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header([
        "a frame",
        "instructions",
        "baseline",
        "allocations",
        "baseline",
        "",
    ]);
    let mut verdicts = Vec::new();
    for (name, count) in &now.jobs {
        let verdict = base.verdict(name, *count);
        let was = |of: fn(&framebus_counts::Count) -> f64| {
            base.jobs
                .get(name)
                .map_or("-".into(), |it| format!("{:.2}", of(it)))
        };
        table.add_row([
            name.clone(),
            format!("{:.2}", count.instructions),
            was(|it| it.instructions),
            format!("{:.2}", count.allocations),
            was(|it| it.allocations),
            verdict.to_string(),
        ]);
        verdicts.push(verdict);
    }
    println!("{table}");
    if verdicts.contains(&Verdict::Better) {
        println!("Something became cheaper: bless it, so that it stays so.");
    }
    let bad = verdicts.iter().filter(|it| it.is_bad()).count();
    ensure!(
        bad == 0,
        "{bad} of {} cost more than {} allows ({} % more instructions, or an allocation){}.\n\
         If that is wanted: cargo run --release -p framebus-counts -- --bless, and say why in the commit.",
        verdicts.len(),
        path.display(),
        base.tolerance_percent,
        base.other_compiler(),
    );
    Ok(())
}
