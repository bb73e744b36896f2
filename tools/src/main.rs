//! The program `framebus`: plays recorded agent runs through a bus and shows what comes of it.
//!
//! `cargo run --release -- replay` plays the sample recordings; `-- help` names the rest.
#![forbid(unsafe_code)]

#[cfg(feature = "archive")]
mod archive;
mod digits;
mod output;
mod play;
mod progress;
mod replay;
#[cfg(feature = "serve")]
mod serve;
mod sources;
mod top;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Plays recorded agent runs through a framebus, an event bus for agent runtimes.
#[derive(Parser, Debug)]
#[command(name = "framebus", version, propagate_version = true)]
struct Options {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand, Debug)]
enum Tool {
    Replay(replay::Options),
    Top(top::Options),
    #[cfg(feature = "serve")]
    Serve(serve::Options),
    /// Shows the runs on a web page. Not in this build: it needs the feature `serve`.
    #[cfg(not(feature = "serve"))]
    Serve(Unread),
    #[cfg(feature = "archive")]
    Archive(archive::Options),
    /// Records, shows and moves archives. Not in this build: it needs the feature `archive`.
    #[cfg(not(feature = "archive"))]
    Archive(Unread),
}

/// The arguments of a subcommand that this build is without.
#[cfg(not(all(feature = "serve", feature = "archive")))]
#[derive(clap::Args, Debug)]
struct Unread {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    match Options::parse().tool {
        Tool::Replay(options) => replay::run(&options),
        Tool::Top(options) => top::run(&options),
        #[cfg(feature = "serve")]
        Tool::Serve(options) => serve::run(&options),
        #[cfg(not(feature = "serve"))]
        Tool::Serve(_) => not_built("serve"),
        #[cfg(feature = "archive")]
        Tool::Archive(options) => archive::run(options),
        #[cfg(not(feature = "archive"))]
        Tool::Archive(_) => not_built("archive"),
    }
}

/// Says how to get a subcommand that this build is without.
#[cfg(not(all(feature = "serve", feature = "archive")))]
fn not_built(tool: &str) -> ExitCode {
    eprintln!(
        "this build is without `{tool}`; build it with the feature of that name: \
         cargo run --release --features {tool} -- {tool}"
    );
    ExitCode::from(2)
}
