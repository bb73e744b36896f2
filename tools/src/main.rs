//! The program `framebus`: plays recorded agent runs through a bus and shows what comes of it.
//!
//! `cargo run --release -- replay` plays the sample recordings; `-- help` names the rest.
#![forbid(unsafe_code)]
// The module `output` writes, and escapes what ids and texts may hold.
#![deny(clippy::print_stdout, clippy::print_stderr)]

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

/// What ends the help of the program and of each command.
const EXIT_CODES: &str = "\
Exit codes:
  0  done; also if the reader of the output closed it early
  1  something went wrong, or did not hold: the standard error says what
  2  the command line is wrong, asks for sizes that cannot be had, or names a command
     that this build is without; `replay` also if there is nothing to play";

/// Plays recorded agent runs through a framebus, an event bus for agent runtimes.
#[derive(Parser, Debug)]
#[command(name = "framebus", version, propagate_version = true, after_help = EXIT_CODES)]
struct Options {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand, Debug)]
enum Tool {
    #[command(after_help = EXIT_CODES)]
    Replay(replay::Options),
    #[command(after_help = EXIT_CODES)]
    Top(top::Options),
    #[cfg(feature = "serve")]
    #[command(after_help = EXIT_CODES)]
    Serve(serve::Options),
    /// Shows the runs on a web page. Not in this build: it needs the feature `serve`.
    #[cfg(not(feature = "serve"))]
    Serve(Unread),
    #[cfg(feature = "archive")]
    #[command(after_help = EXIT_CODES)]
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
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return not_parsed(&error),
    };
    match options.tool {
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

/// Prints the help that was asked for, or what is wrong with the command line, which may hold
/// anything.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let text = text.trim_end();
    if error.use_stderr() {
        output::errors(text);
    } else if let Err(error) = output::lines(text) {
        output::error(format_args!("the output: {error}"));
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Says how to get a subcommand that this build is without.
#[cfg(not(all(feature = "serve", feature = "archive")))]
fn not_built(tool: &str) -> ExitCode {
    output::error(format_args!(
        "this build is without `{tool}`; build it with the feature of that name: \
         cargo run --release --features {tool} -- {tool}"
    ));
    ExitCode::from(2)
}
