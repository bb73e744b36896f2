//! What the program says when it cannot do what was asked.

mod common;

use std::process::{Command, Output, Stdio};

fn framebus(arguments: &[&str]) -> Output {
    let mut framebus = Command::new(common::FRAMEBUS);
    framebus.args(arguments).output().unwrap()
}

#[test]
fn a_subcommand_that_is_not_built_says_how_to_get_it() {
    for (tool, built) in [
        ("serve", cfg!(feature = "serve")),
        ("archive", cfg!(feature = "archive")),
    ] {
        if built {
            continue;
        }
        // Whatever follows it: the arguments are those of the whole program.
        for arguments in [&[tool][..], &[tool, "record", "--port", "1"]] {
            let output = framebus(arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            let errors = String::from_utf8_lossy(&output.stderr);
            let command = format!("cargo run --release --features {tool} -- {tool}");
            assert!(errors.contains(&command), "{errors}");
        }
    }
}

#[test]
fn the_view_says_that_there_is_nothing_to_play() {
    let output = framebus(&["top", "no-such-folder"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("left out: no-such-folder: can't be read"),
        "{errors}"
    );
    assert!(
        errors.ends_with("nothing to play; name recordings or folders of them\n"),
        "{errors}"
    );
}

#[test]
fn the_view_says_that_it_needs_a_terminal() {
    let output = framebus(&["top"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    let asked = "the output is not a terminal; run `top` in one, or `replay` for a table\n";
    assert!(errors.ends_with(asked), "{errors}");
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
}

/// As under `framebus replay | head -1`.
#[test]
fn a_reader_that_closes_the_output_early_is_no_error() {
    let mut replay = Command::new(common::FRAMEBUS)
        .args(["replay", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(replay.stdout.take());
    let output = replay.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
}

#[cfg(feature = "serve")]
#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = framebus(&["serve", "no-such-folder", "--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains(&port) && errors.contains("give another --port"),
        "{errors}"
    );
}
