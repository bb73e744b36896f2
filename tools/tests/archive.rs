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
fn what_can_be_read_of_a_damaged_archive_is_exported_and_the_rest_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sample = framebus_recordings::samples().join("vercel-ai-sse");
    done(folder, &["record", "one", sample.to_str().unwrap()]);
    done(folder, &["export", "one", "-o", "whole.jsonl"]);
    let whole = frames(&folder.join("whole.jsonl"));
    // One byte of the name of a run in the middle.
    let run = whole[whole.len() / 2].event.envelope.run_id.as_str();
    let file = folder.join("one/frames.sqlite");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(run.len()).position(|it| it == run.as_bytes());
    bytes[at.unwrap()] ^= 1;
    fs::write(&file, bytes).unwrap();

    let said = refused(folder, &["export", "one", "-o", "rest.jsonl"]);
    assert!(
        said.contains("frames are missing") && said.contains("not as they were"),
        "{said}"
    );
    let rest = frames(&folder.join("rest.jsonl"));
    let missing = whole.len() - rest.len();
    assert!(
        missing > 0 && !rest.is_empty(),
        "{missing} of {}",
        whole.len()
    );
    assert!(said.contains(&format!("up to {missing} frames")), "{said}");
    let told: u64 = rest
        .iter()
        .filter_map(|it| it.overflow.as_ref())
        .map(|it| it.dropped_count)
        .sum();
    assert!(told == missing as u64 || rest.last().unwrap().sequence() < whole.len() as u64);
    // A time of a frame that can't be read is not answered with a later frame.
    let lost = whole
        .iter()
        .find(|it| rest.iter().all(|other| other.cursor != it.cursor));
    let time = lost.unwrap().event.envelope.timestamp.to_string();
    refused(folder, &["export", "one", "--since", &time]);
    let output = tool(folder, &["tail", "one", "-n", "100000"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("can't be read")
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

#[test]
fn a_wrong_index_is_named_and_rebuilt_and_a_number_that_no_bus_gives_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let frame = |number: u64| {
        format!(
            "{}\n",
            serde_json::to_string(&{
                let mut envelope =
                    framebus::EventEnvelope::new("r", "a", framebus::EventKind::RunStarted);
                (envelope.event_seq, envelope.bus_epoch) =
                    (number, framebus::BusEpoch::from_bits(7));
                framebus::EventFrame::new(framebus::AgentEvent::envelope_only(envelope))
            })
            .unwrap()
        )
    };
    let lines = [
        frame(1),
        frame(2),
        frame(1 << 62),
        frame(u64::MAX),
        frame(3),
    ];
    fs::write(folder.join("in.jsonl"), lines.concat()).unwrap();
    let said = refused(folder, &["import", "one", "in.jsonl"]);
    assert!(
        said.contains("in.jsonl:3: ") && said.contains("4611686018427387904"),
        "{said}"
    );
    let said = done(folder, &["import", "two", "in.jsonl", "--skip-damaged"]);
    assert!(
        said.starts_with("3 frames imported, 2 lines skipped"),
        "{said}"
    );
    done(folder, &["tidy", "two"]);
    assert!(done(folder, &["check", "two"]).starts_with("3 frames"));
    let file = folder.join("two/frames.sqlite");
    let db = rusqlite::Connection::open(file).unwrap();
    db.execute_batch("DELETE FROM block_runs").unwrap();
    drop(db);
    let said = refused(folder, &["check", "two"]);
    assert!(said.contains("findings of damage"), "{said}");
    assert!(done(folder, &["repair", "two"]).starts_with("3 frames"));
    assert!(done(folder, &["check", "two"]).starts_with("3 frames"));
}
