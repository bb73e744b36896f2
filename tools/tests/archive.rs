//! `framebus archive` as a user runs it.

mod common;

use framebus::EventFrame;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs it in this folder.
fn tool(folder: &Path, arguments: &[&str]) -> Output {
    let mut framebus = Command::new(common::FRAMEBUS);
    framebus.arg("archive").args(arguments).current_dir(folder);
    framebus.output().unwrap()
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = tool(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = tool(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn frames(path: &Path) -> Vec<EventFrame> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn runs_are_recorded_listed_moved_and_tidied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let said = done(folder, &["record", "one"]);
    let count: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 1_000, "{said}");
    let runs = done(folder, &["runs", "one"]);
    let sum: usize = runs
        .lines()
        .map(|line| {
            line.split_whitespace()
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        })
        .sum();
    assert_eq!(sum, count);
    let tail = done(folder, &["tail", "one", "-n", "3"]);
    let positions: Vec<usize> = tail
        .lines()
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(positions, [count - 2, count - 1, count]);

    // There and back: the same frames, in another archive.
    done(folder, &["export", "one", "-o", "one.jsonl"]);
    let said = done(folder, &["import", "two", "one.jsonl"]);
    assert!(
        said.starts_with(&format!("{count} frames imported, 0 lines skipped")),
        "{said}"
    );
    done(folder, &["export", "two", "-o", "two.jsonl"]);
    let (one, two) = (
        frames(&folder.join("one.jsonl")),
        frames(&folder.join("two.jsonl")),
    );
    assert_eq!(one.len(), count);
    for (one, two) in one.iter().zip(&two) {
        assert_eq!((&one.event, &one.cursor), (&two.event, &two.cursor));
    }
    let ends = done(
        folder,
        &["export", "two", "--terminal", "--kind", "RunCompleted"],
    );
    let completed = runs.lines().filter(|line| line.contains("RunCompleted"));
    assert_eq!(ends.lines().count(), completed.count());

    assert!(done(folder, &["check", "two"]).starts_with(&format!("{count} frames, all")));
    let said = done(folder, &["tidy", "two", "--max-frames", "500"]);
    assert!(said.contains("frames are left"), "{said}");
    // What went is no longer exported; positions stay.
    done(folder, &["export", "two", "-o", "two.jsonl"]);
    let rest = frames(&folder.join("two.jsonl"));
    assert_eq!(rest.len(), 500);
    assert_eq!(
        rest.last()
            .unwrap()
            .archive_cursor
            .as_ref()
            .unwrap()
            .position,
        count as u64
    );
    let said = done(folder, &["record", "three", "--follow"]);
    assert!(
        said.starts_with(&format!("{count} frames")) && said.contains(" 0 lost"),
        "{said}"
    );
}

#[test]
fn a_damaged_line_is_named_and_skipped_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sample = framebus_recordings::samples().join("vercel-ai-sse/xai");
    done(folder, &["record", "one", sample.to_str().unwrap()]);
    done(folder, &["export", "one", "-o", "whole.jsonl"]);
    let whole = fs::read_to_string(folder.join("whole.jsonl")).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    // The third line is cut off, the sixth repeats the fifth.
    let (begin, third) = (lines[..2].join("\n"), &lines[2][..40]);
    let rest = [&lines[3..5], &lines[4..]].concat().join("\n");
    fs::write(
        folder.join("bad.jsonl"),
        format!("{begin}\n{third}\n{rest}\n"),
    )
    .unwrap();

    let said = refused(folder, &["import", "two", "bad.jsonl"]);
    assert!(
        said.contains("bad.jsonl:3: ") && said.contains("--skip-damaged"),
        "{said}"
    );
    assert!(done(folder, &["check", "two"]).starts_with("2 frames"));
    let said = refused(folder, &["import", "two", "bad.jsonl", "--from-line", "4"]);
    assert!(
        said.contains("bad.jsonl:6: ") && said.contains("cannot follow"),
        "{said}"
    );
    let said = done(folder, &["import", "three", "bad.jsonl", "--skip-damaged"]);
    let count = lines.len() - 1;
    assert!(
        said.starts_with(&format!("{count} frames imported, 2 lines skipped")),
        "{said}"
    );
}

#[test]
fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for command in ["runs", "tail", "export", "check"] {
        assert!(refused(folder, &[command, "no-archive"]).contains("no-archive"));
    }
    assert!(refused(folder, &["import", "a", "no-file"]).contains("no-file"));
    assert!(refused(folder, &["record", "a", "no-recording"]).contains("nothing to record"));
    fs::write(folder.join("file"), "").unwrap();
    assert!(refused(folder, &["tidy", "file"]).contains("file"));
}
