//! Runs the models on the copy, with one mutation on at a time.

use super::copy::{self, SWITCH};
use super::table::{MODELS, MUTATIONS, Mutation, NOT_SHOWN};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Weakens the core in one place at a time; a model must fail each time.
#[derive(Parser)]
struct Options {
    /// Only mutations whose name contains one of these.
    names: Vec<String>,
    /// Try all models, cheapest first, and not only the one that is known to fail.
    #[arg(long)]
    search: bool,
    /// Don't check first that all models pass while no mutation is on.
    #[arg(long)]
    no_baseline: bool,
    /// Write the table of what was caught by which model to this file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// The longest that a model may run, in seconds. One that takes longer did not fail.
    #[arg(long, default_value_t = 300)]
    limit: u64,
}

enum Outcome {
    Passed,
    Failed(String),
    TimedOut,
}

pub fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("no workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let tree = target.join("mutations");
    copy::make(root, &tree, MUTATIONS)?;
    eprintln!("building the models with {} mutations", MUTATIONS.len());
    let built = cargo(&tree, &["--no-run"]).status();
    if !built.map_err(|error| error.to_string())?.success() {
        return Err("the copy does not build: a mutation in the table is no Rust".into());
    }
    let limit = Duration::from_secs(options.limit);
    if !options.no_baseline {
        for model in MODELS {
            let began = Instant::now();
            match attempt(&tree, model, None, limit)? {
                Outcome::Passed => println!("without: {model} passes, {:.1?}", began.elapsed()),
                Outcome::Failed(how) => return Err(format!("{model} fails unmutated: {how}")),
                Outcome::TimedOut => return Err(format!("{model} takes longer than the limit")),
            }
        }
    }
    let chosen = |mutation: &Mutation| {
        options.names.is_empty()
            || options
                .names
                .iter()
                .any(|name| mutation.name.contains(&**name))
    };
    let (mut caught, mut survived) = (Vec::new(), Vec::new());
    for (number, mutation) in MUTATIONS.iter().enumerate().filter(|it| chosen(it.1)) {
        let models = match options.search {
            true => MODELS,
            false if mutation.caught_by == NOT_SHOWN => {
                println!(
                    "!!!! NOT SHOWN: no model is known to catch {} !!!!",
                    mutation.name
                );
                continue;
            }
            false => std::slice::from_ref(&mutation.caught_by),
        };
        let began = Instant::now();
        let mut by = None;
        for model in models {
            if let Outcome::Failed(how) = attempt(&tree, model, Some(number), limit)? {
                by = Some((model, how));
                break;
            }
        }
        let place = format!("[{}/{}] {}", number + 1, MUTATIONS.len(), mutation.name);
        match by {
            Some((model, how)) => {
                caught.push((mutation, *model));
                println!("{place}: caught by {model}, {:.1?}: {how}", began.elapsed());
            }
            None => {
                survived.push(mutation.name);
                println!("{place}: SURVIVED, {:.1?}", began.elapsed());
            }
        }
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, table(&caught))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!(
        "{} caught, {} survived: {survived:?}",
        caught.len(),
        survived.len()
    );
    Ok(survived.is_empty())
}

/// What was caught, as a page.
fn table(caught: &[(&Mutation, &str)]) -> String {
    let mut page = "# Mutations\n\n\
        Each line is one weakening of the core, and the model that fails under it. Written by\n\
        `cargo run -p loom-tests --release -- --markdown docs/mutations.md`.\n\n\
        | mutation | what is weakened | fails |\n| --- | --- | --- |\n"
        .to_owned();
    for (mutation, model) in caught {
        page += &format!("| `{}` | {} | `{model}` |\n", mutation.name, mutation.what);
    }
    page
}

fn cargo(tree: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree.join("target"))
        .env("RUSTFLAGS", "--cfg loom --cap-lints allow")
        .env("RUST_BACKTRACE", "0")
        // Each model stops where it fails, so they may be the long ones.
        .env("FRAMEBUS_DEEP_MODELS", "1")
        .args([
            "test",
            "--quiet",
            "-p",
            "loom-tests",
            "--release",
            "--tests",
        ])
        .args(arguments);
    command
}

/// Runs one model, `file::name`.
fn attempt(
    tree: &Path,
    model: &str,
    mutation: Option<usize>,
    limit: Duration,
) -> Result<Outcome, String> {
    let (file, name) = model.split_once("::").ok_or("a model is file::name")?;
    let seconds = limit.as_secs().to_string();
    let mut inner = cargo(tree, &["--test", file, name, "--", "--exact"]);
    if let Some(mutation) = mutation {
        inner.env(SWITCH, mutation.to_string());
    }
    // `timeout` ends the model too, and not only cargo.
    let mut command = Command::new("timeout");
    command.arg(&seconds).arg(inner.get_program());
    command.args(inner.get_args()).current_dir(tree);
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run timeout(1): {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(124) => Ok(Outcome::TimedOut),
        Some(0) if text.contains("1 passed") => Ok(Outcome::Passed),
        Some(0) => Err(format!("there is no model {model}")),
        _ => Ok(Outcome::Failed(first_complaint(&text))),
    }
}

/// The line after the first panic's place.
fn first_complaint(output: &str) -> String {
    let mut lines = output.lines();
    match lines.find(|line| line.contains("panicked at")) {
        Some(_) => lines.next().unwrap_or("").chars().take(110).collect(),
        None => "the process died".into(),
    }
}
