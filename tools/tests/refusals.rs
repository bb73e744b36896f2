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

/// Each number out of its range gives the option, the range and an exit code of 2; never a panic,
/// or a value as the program's code has it.
#[test]
fn numbers_out_of_range_are_refused() {
    let number = "give a number from 0 up";
    let threads = "give a number from 1 to 1024";
    let mut refused = vec![
        ("replay", "--speed", "-1", number),
        ("replay", "--speed", "NaN", number),
        ("replay", "--speed", "inf", number),
        ("replay", "--speed", "fast", number),
        ("top", "--speed", "-0.5", number),
        ("top", "--speed", "nan", number),
        ("top", "--seconds", "-1", number),
        ("top", "--seconds", "NaN", number),
        ("replay", "--threads", "0", threads),
        ("replay", "--threads", "1000000", threads),
        ("top", "--threads", "1025", threads),
        ("replay", "--shards", "0", "zero"),
        ("top", "--ring-capacity", "0", "zero"),
        ("replay", "--tokens-per-delta", "0", "zero"),
        ("replay", "--runs", "many", "invalid digit"),
    ];
    if cfg!(feature = "serve") {
        refused.extend([
            ("serve", "--speed", "NaN", number),
            ("serve", "--port", "70000", "65535"),
        ]);
    }
    for (tool, option, value, reason) in refused {
        let output = framebus(&[tool, option, value]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{tool} {option} {value}: {errors}"
        );
        assert!(
            errors.contains(option) && errors.contains(reason),
            "{errors}"
        );
    }
}

#[test]
fn sizes_that_cannot_be_had_are_refused() {
    for arguments in [
        &["replay", "--runs", "99999999999"][..],
        &["replay", "--frames", "18446744073709551615"],
        &["replay", "--ring-capacity", "18446744073709551615"],
        &["replay", "--shards", "18446744073709551615"],
        &["replay", "--shards", "100000"],
        &["top", "--runs", "99999999999"],
    ] {
        let output = framebus(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
    }
}

/// A disk that is full, as `/dev/full` always is.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_said() {
    let sample = framebus_recordings::samples().join("vercel-ai-sse/xai");
    let sample = sample.to_str().unwrap();
    for arguments in [
        &["replay", sample][..],
        &["replay", sample, "--json"],
        &["--help"],
    ] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let mut framebus = Command::new(common::FRAMEBUS);
        let output = framebus.args(arguments).stdout(full).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.starts_with("the output: "), "{errors}");
    }
}

#[test]
fn the_help_states_the_exit_codes() {
    let tools = ["replay", "top", "serve", "archive"];
    let built = [
        true,
        true,
        cfg!(feature = "serve"),
        cfg!(feature = "archive"),
    ];
    let helps = tools.into_iter().zip(built).filter(|(_, built)| *built);
    let helps = helps.map(|(tool, _)| framebus(&[tool, "--help"]));
    for output in helps.chain([framebus(&["--help"])]) {
        assert_eq!(output.status.code(), Some(0));
        states_the_exit_codes(&String::from_utf8_lossy(&output.stdout));
    }
}

fn states_the_exit_codes(help: &str) {
    for code in [
        "0  done",
        "1  something went wrong",
        "2  the command line is wrong",
    ] {
        assert!(help.contains(code), "{help}");
    }
}

#[cfg(feature = "serve")]
#[test]
fn a_server_says_that_there_is_nothing_to_play() {
    let output = framebus(&["serve", "no-such-folder", "--port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.ends_with("nothing to play; name recordings or folders of them\n"),
        "{errors}"
    );
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
