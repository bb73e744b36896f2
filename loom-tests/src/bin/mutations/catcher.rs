//! What may fail under a mutation: a loom model, or an ordinary test of the crate.

use super::copy::SWITCH;
use super::table::{MODELS, Mutation, NOT_SHOWN};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A test, as the table names it.
#[derive(Clone, Copy)]
enum Test<'a> {
    /// `file::name`: a model of `loom-tests/tests`.
    Model(&'a str, &'a str),
    /// `src::module::tests::name`: a unit test of the crate.
    Unit(&'a str),
    /// `tests::file::name`: a test of the crate's public interface.
    Public(&'a str, &'a str),
}

impl<'a> Test<'a> {
    fn parse(name: &'a str) -> Result<Self, String> {
        let wrong =
            || format!("{name}: a test is file::name, src::module::name or tests::file::name");
        let (first, rest) = name.split_once("::").ok_or_else(wrong)?;
        Ok(match (first, rest.split_once("::")) {
            ("src", _) => Test::Unit(rest),
            ("tests", Some((file, name))) => Test::Public(file, name),
            ("tests", None) => return Err(wrong()),
            _ => Test::Model(first, rest),
        })
    }
}

/// How a test ended.
pub enum Outcome {
    Passed,
    /// With the message of its panic.
    Failed(String),
    /// It took longer than the limit.
    TimedOut,
}

/// Checks that a test is in the sources below `root`.
pub fn check(root: &Path, test: &str) -> Result<(), String> {
    let (files, name) = match Test::parse(test)? {
        Test::Model(file, name) => (vec![format!("loom-tests/tests/{file}.rs")], name),
        Test::Public(file, name) => (vec![format!("tests/{file}.rs")], name),
        Test::Unit(path) => {
            let (module, name) = path.rsplit_once("::").unwrap_or_default();
            let here = module.strip_suffix("::tests").unwrap_or(module);
            let files = [here, module].map(|module| module.replace("::", "/"));
            let files = files.iter();
            let files = files.flat_map(|it| [format!("src/{it}.rs"), format!("src/{it}/mod.rs")]);
            (files.collect(), name)
        }
    };
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(root.join(file)).ok());
    let function = format!("fn {name}()");
    if texts.into_iter().any(|text| text.contains(&function)) {
        Ok(())
    } else {
        Err(format!("there is no test {test}"))
    }
}

/// All tests that the table names: the models, the cheapest first, then the ordinary tests.
pub fn all(mutations: &[&Mutation]) -> Vec<&'static str> {
    let named: BTreeSet<_> = mutations.iter().map(|it| it.caught_by).collect();
    let others = named.into_iter();
    let others = others.filter(|name| !MODELS.contains(name) && *name != NOT_SHOWN);
    MODELS.iter().copied().chain(others).collect()
}

/// Builds and runs tests in the copy of the workspace.
pub struct Bench {
    /// Where the copy is.
    pub tree: PathBuf,
    /// Where the ordinary tests are built: the workspace's own, since they have its dependencies.
    pub target: PathBuf,
    /// How long a test may run.
    pub limit: Duration,
}

impl Bench {
    /// Builds the test files of these tests.
    pub fn build(&self, tests: &[&str]) -> Result<(), String> {
        let (mut models, mut ordinary) = (false, BTreeSet::new());
        for test in tests {
            match Test::parse(test)? {
                Test::Model(..) => models = true,
                Test::Unit(_) => drop(ordinary.insert(["--lib"].to_vec())),
                Test::Public(file, _) => drop(ordinary.insert(["--test", file].to_vec())),
            }
        }
        let mut builds = Vec::new();
        if models {
            builds.push(self.models(&["--tests", "--no-run"]));
        }
        if !ordinary.is_empty() {
            let mut arguments: Vec<_> = ordinary.into_iter().flatten().collect();
            arguments.push("--no-run");
            builds.push(self.ordinary(&arguments));
        }
        for mut build in builds {
            let built = build.status().map_err(|error| error.to_string())?;
            if !built.success() {
                return Err("the copy does not build: a mutation in the table is no Rust".into());
            }
        }
        Ok(())
    }

    fn models(&self, arguments: &[&str]) -> Command {
        let mut command = self.cargo(&self.tree.join("target"), "loom-tests", arguments);
        command
            .arg("--release")
            .env("RUSTFLAGS", "--cfg loom --cap-lints allow")
            // Each model stops where it fails, so they may be the long ones.
            .env("FRAMEBUS_DEEP_MODELS", "1");
        command
    }

    fn ordinary(&self, arguments: &[&str]) -> Command {
        let mut command = self.cargo(&self.target, "framebus", arguments);
        command
            .args(["--features", "archive"])
            .env_remove("RUSTFLAGS");
        command
    }

    fn cargo(&self, target: &Path, package: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", target)
            .env("RUST_BACKTRACE", "0")
            .args(["test", "--quiet", "-p", package])
            .args(arguments);
        command
    }

    /// Runs one test.
    pub fn attempt(&self, test: &str, mutation: Option<usize>) -> Result<Outcome, String> {
        let parsed = Test::parse(test)?;
        let mut inner = match parsed {
            Test::Model(file, name) => self.run(Self::models, &["--test", file], name),
            Test::Unit(name) => self.run(Self::ordinary, &["--lib"], name),
            Test::Public(file, name) => self.run(Self::ordinary, &["--test", file], name),
        };
        if let Some(mutation) = mutation {
            inner.env(SWITCH, mutation.to_string());
        }
        // `timeout` ends the test as well as cargo.
        let mut command = Command::new("timeout");
        command.arg(self.limit.as_secs().to_string());
        command.arg(inner.get_program()).args(inner.get_args());
        command.current_dir(&self.tree);
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run timeout(1): {error}"))?;
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(124) => Ok(Outcome::TimedOut),
            Some(0) if text.contains("1 passed") => Ok(Outcome::Passed),
            Some(0) => Err(format!("there is no test {test}")),
            _ => Ok(Outcome::Failed(complaint(&text, &parsed))),
        }
    }

    fn run(&self, kind: fn(&Self, &[&str]) -> Command, of: &[&str], name: &str) -> Command {
        let mut command = kind(self, of);
        command.args([name, "--", "--exact"]);
        command
    }
}

/// The line after "panicked at": of the first panic of a model, since later ones may follow from
/// it; of the last panic of a test, which may have caught those before.
fn complaint(output: &str, test: &Test<'_>) -> String {
    let lines: Vec<_> = output.lines().collect();
    let mut panics = lines.windows(2).filter(|it| it[0].contains("panicked at"));
    let panic = match test {
        Test::Model(..) => panics.next(),
        _ => panics.next_back(),
    };
    panic.map_or_else(
        || "the process died".into(),
        |panic| panic[1].chars().take(110).collect(),
    )
}
