//! The runner's options, and the loop that runs the tests on the copy with one mutation on at a
//! time.

use super::catcher::{self, Bench, Outcome};
use super::copy;
use super::table::{Mutation, NOT_SHOWN, mutations};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Weakens the crate in one place at a time. A model or a test must fail each time.
#[derive(Parser)]
struct Options {
    /// Run only the mutations whose name contains one of these.
    names: Vec<String>,
    /// Only check that each edit of the table is found exactly once in the sources, and that each
    /// model and test that it names is there. Builds nothing.
    #[arg(long)]
    check: bool,
    /// Try all models, the cheapest first, then all tests, and not only the one that is known to
    /// fail.
    #[arg(long)]
    search: bool,
    /// Don't run all models and tests first without a mutation.
    #[arg(long)]
    no_baseline: bool,
    /// Write the table of mutations, each with the model or test that caught it, to this file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// How long a model or test may run, in seconds. One that takes longer did not fail.
    #[arg(long, default_value_t = 300)]
    limit: u64,
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
    let mutations = mutations();
    if options.check {
        return Ok(check(root, &mutations));
    }
    copy::make(root, &tree, &mutations)?;
    let chosen = |mutation: &&&Mutation| {
        let named = |name: &String| mutation.name.contains(&**name);
        options.names.is_empty() || options.names.iter().any(named)
    };
    let tests = if options.search || !options.no_baseline {
        catcher::all(&mutations)
    } else {
        let chosen = mutations.iter().filter(chosen).map(|it| it.caught_by);
        chosen.filter(|name| *name != NOT_SHOWN).collect()
    };
    eprintln!("building {} mutations", mutations.len());
    let limit = Duration::from_secs(options.limit);
    let bench = Bench {
        tree,
        target,
        limit,
    };
    bench.build(&tests)?;
    if !options.no_baseline {
        for test in &tests {
            let began = Instant::now();
            match bench.attempt(test, None)? {
                Outcome::Passed => println!("without: {test} passes, {:.1?}", began.elapsed()),
                Outcome::Failed(how) => return Err(format!("{test} fails unmutated: {how}")),
                Outcome::TimedOut => return Err(format!("{test} takes longer than the limit")),
            }
        }
    }
    let (mut caught, mut survived) = (Vec::new(), Vec::new());
    for (number, mutation) in mutations.iter().enumerate().filter(|it| chosen(&it.1)) {
        let tests = if options.search {
            &*tests
        } else if mutation.caught_by == NOT_SHOWN {
            println!(
                "!!!! NOT SHOWN: no model or test is known to catch {} !!!!",
                mutation.name
            );
            continue;
        } else {
            std::slice::from_ref(&mutation.caught_by)
        };
        let began = Instant::now();
        let mut by = None;
        for test in tests {
            if let Outcome::Failed(how) = bench.attempt(test, Some(number))? {
                by = Some((test, how));
                break;
            }
        }
        let place = format!("[{}/{}] {}", number + 1, mutations.len(), mutation.name);
        match by {
            Some((test, how)) => {
                caught.push((*mutation, *test));
                println!("{place}: caught by {test}, {:.1?}: {how}", began.elapsed());
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

/// Checks the table against the sources and prints what is wrong. Returns true if nothing is.
fn check(root: &Path, mutations: &[&Mutation]) -> bool {
    let mut wrong = copy::check(root, mutations);
    let tests = catcher::all(mutations).into_iter();
    wrong.extend(tests.filter_map(|test| catcher::check(root, test).err()));
    for error in &wrong {
        println!("{error}");
    }
    println!("{} mutations, {} errors", mutations.len(), wrong.len());
    wrong.is_empty()
}

/// The mutations that were caught, as a page.
fn table(caught: &[(&Mutation, &str)]) -> String {
    let mut page = "# Mutations\n\n\
        Each line is one weakening of the crate, and the model (`file::name` in `loom-tests/tests`) or\n\
        the test (`src::..` beside the code, `tests::..` of the public interface) that fails under it. Written by\n\
        `cargo run -p loom-tests --release -- --markdown docs/mutations.md`.\n\n\
        | mutation | what is weakened | fails |\n| --- | --- | --- |\n"
        .to_owned();
    for (mutation, test) in caught {
        page += &format!("| `{}` | {} | `{test}` |\n", mutation.name, mutation.what);
    }
    page
}
