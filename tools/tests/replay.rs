//! `framebus replay` as a user runs it.

mod common;

use framebus_recordings::samples;
use serde_json::Value;
use std::process::{Command, Output};

fn replay(arguments: &[&str]) -> Output {
    let mut framebus = Command::new(common::FRAMEBUS);
    framebus.arg("replay").args(arguments).output().unwrap()
}

#[test]
fn the_sample_data_plays_and_every_check_holds() {
    let output = replay(&["--json", "--runs", "100"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "", "the samples are whole");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["runs"].as_u64().unwrap() >= 100);
    assert_eq!(report["violations"], Value::Array(Vec::new()));
    let subscribers = report["subscribers"].as_array().unwrap();
    let of = |name: &str| {
        subscribers
            .iter()
            .find(|it| it["subscriber"] == name)
            .unwrap()
    };
    assert_eq!(
        of("all, in full")["terminals_delivered"],
        report["terminal_frames"]
    );
    assert_eq!(
        of("terminal frames")["delivered"],
        report["terminal_frames"]
    );
    let policies: Vec<_> = subscribers
        .iter()
        .map(|it| it["policy"].as_str().unwrap())
        .collect();
    for policy in [
        "drop_non_terminal",
        "drop_progress",
        "summarize_and_continue",
        "fail_subscriber",
    ] {
        assert!(policies.contains(&policy), "{policies:?}");
    }
}

#[test]
fn one_run_can_be_split_and_paced() {
    let sample = samples().join("vercel-ai-sse/xai");
    let sample = sample.to_str().unwrap();
    let output = replay(&[sample, "--split-runs", "--threads", "3", "--speed", "20"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("0 violation(s)") && table.contains("SummarizeAndContinue"),
        "{table}"
    );
}

#[test]
fn nothing_to_play_and_wrong_arguments_are_said() {
    let output = replay(&["no-such-folder"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-folder"));
    assert_eq!(replay(&["--threads", "0"]).status.code(), Some(2));
    assert_eq!(replay(&["--speed", "-1"]).status.code(), Some(2));
}
