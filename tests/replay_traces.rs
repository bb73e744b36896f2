//! The trace readers of the replay example, on the sample data and on what is none.

#[path = "../examples/replay/trace/mod.rs"]
#[allow(dead_code, reason = "the player reads the rest of it")]
mod trace;

use framebus::EventKind;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use trace::{TraceError, TraceRun, read};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data")
}

fn sample() -> (Vec<TraceRun>, Vec<TraceError>) {
    read(&[data()], 4, |_| {})
}

/// A file of its own for a test.
fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn said(run: &TraceRun, kind: EventKind) -> String {
    let steps = run.steps.iter().filter(|step| step.kind == kind);
    steps.filter_map(|step| step.text.as_deref()).collect()
}

fn run<'a>(runs: &'a [TraceRun], id: &str) -> &'a TraceRun {
    runs.iter()
        .find(|run| run.run_id == id)
        .unwrap_or_else(|| panic!("no run {id}"))
}

#[test]
fn every_source_is_read_and_counted() {
    let (runs, errors) = sample();
    let mut sources = BTreeMap::new();
    runs.iter()
        .for_each(|run| *sources.entry(run.source).or_insert(0) += 1);
    let expected = [
        ("claude-code-sessions", 4),
        ("mini-swe-agent-gemini3", 2),
        ("swe-agent-demos", 5),
        ("tau-bench-airline", 12),
        ("vercel-ai-sse", 25),
    ];
    assert_eq!(sources, BTreeMap::from(expected));
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].contains("parallel-tool-call-wrapper.1.chunks.txt:1: not JSON"));
    assert!(errors[1].contains("parallel-tool-call-wrapper.1.chunks.txt:6: not JSON"));
}

#[test]
fn every_run_begins_and_ends_once_and_so_does_all_in_it() {
    for run in sample().0 {
        let count = |kind| run.steps.iter().filter(|step| step.kind == kind).count();
        let id = &run.run_id;
        assert_eq!(run.steps[0].kind, EventKind::RunStarted, "{id}");
        let last = run.steps.last().unwrap().kind;
        assert!(
            [EventKind::RunCompleted, EventKind::RunFailed].contains(&last),
            "{id}: {last}"
        );
        assert_eq!(
            count(EventKind::RunCompleted) + count(EventKind::RunFailed),
            1,
            "{id}"
        );
        let ended = [
            EventKind::ToolCompleted,
            EventKind::ToolFailed,
            EventKind::ToolDenied,
            EventKind::ToolRecoveryRequired,
        ];
        let ended: usize = ended.map(count).iter().sum();
        assert_eq!(count(EventKind::ToolRequested), ended, "tools of {id}");
        let ended = count(EventKind::TurnCompleted) + count(EventKind::TurnFailed);
        assert_eq!(count(EventKind::TurnStarted), ended, "turns of {id}");
        assert_eq!(
            count(EventKind::HookInvoked),
            count(EventKind::HookCompleted),
            "hooks of {id}"
        );
        assert_eq!(
            count(EventKind::SubagentStarted),
            count(EventKind::SubagentCompleted),
            "sub-agents of {id}"
        );
    }
}

#[test]
fn texts_are_the_recorded_ones_byte_for_byte() {
    let (runs, _) = sample();
    let tau = data().join("tau-bench-airline");
    let tau = fs::read_dir(tau)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let tau = tau
        .into_iter()
        .find(|path| path.extension().is_some_and(|it| it == "jsonl"))
        .unwrap();
    for line in fs::read_to_string(&tau).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = tau.file_stem().unwrap().to_string_lossy();
        let id = format!(
            "tau-bench-airline/{name}#{}-{}",
            line["task_id"], line["trial"]
        );
        let messages = line["traj"].as_array().unwrap();
        let of = |role: &str| -> String {
            let messages = messages.iter().filter(|message| message["role"] == role);
            messages
                .filter_map(|message| message["content"].as_str())
                .collect()
        };
        let run = run(&runs, &id);
        assert_eq!(
            said(run, EventKind::ModelStreamDelta),
            of("assistant"),
            "{id}"
        );
        assert_eq!(said(run, EventKind::MessageAccepted), of("user"), "{id}");
        let tools = run
            .steps
            .iter()
            .filter(|step| matches!(step.kind, EventKind::ToolCompleted | EventKind::ToolFailed));
        assert_eq!(
            tools
                .filter_map(|step| step.text.as_deref())
                .collect::<String>(),
            of("tool")
        );
    }
    for entry in fs::read_dir(data().join("swe-agent-demos")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "traj") {
            continue;
        }
        let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let steps = whole["trajectory"].as_array().unwrap();
        let of = |field: &str| -> String {
            steps
                .iter()
                .filter_map(|step| step[field].as_str())
                .collect()
        };
        let id = format!(
            "swe-agent-demos/{}",
            path.file_stem().unwrap().to_string_lossy()
        );
        let run = run(&runs, &id);
        assert_eq!(
            said(run, EventKind::ModelStreamDelta),
            of("response"),
            "{id}"
        );
        assert_eq!(
            said(run, EventKind::ToolCompleted),
            of("observation"),
            "{id}"
        );
    }
}

#[test]
fn a_stream_chunk_is_one_delta_and_a_whole_text_is_several() {
    let (runs, _) = sample();
    let kimi = run(&runs, "vercel-ai-sse/moonshotai/moonshotai-stream.chunks");
    let deltas = kimi
        .steps
        .iter()
        .filter(|step| step.kind == EventKind::ModelStreamDelta)
        .count();
    let path = data().join("vercel-ai-sse/moonshotai/moonshotai-stream.chunks.txt");
    let chunks = fs::read_to_string(path).unwrap();
    assert_eq!(
        deltas,
        chunks
            .lines()
            .filter(|line| line.contains("content\":"))
            .count()
    );
    let (fine, _) = read(&[data().join("swe-agent-demos")], 1, |_| {});
    let (coarse, _) = read(&[data().join("swe-agent-demos")], 100, |_| {});
    assert!(fine[0].steps.len() > 2 * coarse[0].steps.len());
    let kind = EventKind::ModelStreamDelta;
    assert_eq!(said(&fine[0], kind), said(&coarse[0], kind));
}

#[test]
fn files_cut_anywhere_give_errors_or_failed_runs_and_no_panic() {
    let mut files = Vec::new();
    let mut folders = vec![data()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name == "LICENSE" || name.ends_with(".md") {
            continue;
        }
        let bytes = fs::read(&file).unwrap();
        let whole_json = name.ends_with(".json") || name.ends_with(".traj");
        for part in [0, 1, 3, 17, 41, 67, 99] {
            let cut = &bytes[..bytes.len() * part / 100];
            let path = written(&format!("cut-{name}"), cut);
            let (runs, errors) = read(std::slice::from_ref(&path), 4, |_| {});
            assert!(!runs.is_empty() || !errors.is_empty(), "{name} at {part} %");
            for error in &errors {
                assert!(error.to_string().contains(&name), "{error}");
                assert!(error.line.is_some(), "{error}");
            }
            if whole_json {
                assert!(
                    runs.is_empty(),
                    "{name} at {part} %: half a JSON file is no run"
                );
            }
        }
    }
}

#[test]
fn what_is_no_recording_is_named_and_the_others_are_read() {
    let paths = [
        written("foreign.json", br#"{"hello": "world"}"#),
        written("binary.bin", b"one line\nan\xffother"),
        written("prose.txt", b"Dear diary,\ntoday nothing happened."),
        written("empty.jsonl", b""),
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("not-there.jsonl"),
        data().join("vercel-ai-sse/xai"),
    ];
    let (runs, errors) = read(&paths, 4, |_| {});
    assert_eq!(runs.len(), 2);
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 5, "{errors:#?}");
    assert!(
        errors[0].contains("foreign.json:1: JSON, but no recording"),
        "{}",
        errors[0]
    );
    assert!(errors[0].contains("known are claude-code"), "{}", errors[0]);
    assert!(
        errors[1].contains("binary.bin:2: not text"),
        "{}",
        errors[1]
    );
    assert!(
        errors[2].contains("prose.txt:1: no recording"),
        "{}",
        errors[2]
    );
    assert!(
        errors[3].contains("empty.jsonl:1: the file is empty"),
        "{}",
        errors[3]
    );
    assert!(errors[4].contains("not-there.jsonl"), "{}", errors[4]);
}

#[test]
fn a_bad_line_is_named_and_the_run_goes_on() {
    let path = data().join("claude-code-sessions/short.jsonl");
    let mut lines: Vec<_> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let (whole, _) = read(&[path], 4, |_| {});
    lines.insert(3, "{ this is no JSON".to_owned());
    let bent = written("bent.jsonl", lines.join("\n").as_bytes());
    let (runs, errors) = read(&[bent], 4, |_| {});
    assert_eq!(errors[0].line, Some(4));
    assert_eq!(runs[0].steps.len(), whole[0].steps.len());
}

#[test]
fn a_recording_without_an_end_is_a_failed_run() {
    let path = data().join("vercel-ai-sse/xai/xai-text.chunks.txt");
    let text = fs::read_to_string(path).unwrap();
    let cut: Vec<_> = text.lines().take(2).collect();
    let (runs, errors) = read(
        &[written("endless.txt", cut.join("\n").as_bytes())],
        4,
        |_| {},
    );
    assert!(errors.is_empty());
    let last = runs[0].steps.last().unwrap();
    assert_eq!(
        (last.kind, last.text.as_deref()),
        (EventKind::RunFailed, Some("truncated"))
    );
}
