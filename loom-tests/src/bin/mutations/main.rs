//! Shows that the models and tests can fail: weakens the crate in one place at a time, and runs a
//! model or a test that must then fail.
//!
//! `cargo run -p loom-tests --release` copies the workspace below its target directory, puts every
//! mutation of [`table`] into the copy behind a switch of its own, builds the models once under
//! `--cfg loom` and the tests once without, and runs them with one switch on at a time. The sources
//! themselves have no switches. An edit that is not found exactly once is an error, so the table
//! does not go stale; `--check` looks for all of them and builds nothing.
#![cfg_attr(loom, allow(unused))]

#[cfg(not(loom))]
mod catcher;
#[cfg(not(loom))]
mod copy;
#[cfg(not(loom))]
mod run;
#[cfg(not(loom))]
mod table;

#[cfg(not(loom))]
fn main() -> std::process::ExitCode {
    run::main()
}

/// The models' build has no use for the runner.
#[cfg(loom)]
fn main() {}
