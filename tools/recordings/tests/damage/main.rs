//! Recordings as they are found: each kind of damage costs what it must, and is named once, with
//! its file and line.

mod files;
mod sessions;

use framebus::EventKind::{self, *};
use framebus_recordings::{
    Mend, Problem, Progress, ReadOptions, RecordedRun, RecordingError, Step, read_paths,
    read_paths_with_progress, read_recording, samples,
};
use std::fs;
use std::io::Cursor;
use std::path::Path;

fn read(name: &str, bytes: impl AsRef<[u8]>) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    let input = Cursor::new(bytes.as_ref());
    read_recording(Path::new(name), input, &ReadOptions::default())
}

fn count(run: &RecordedRun, kind: EventKind) -> usize {
    run.steps.iter().filter(|step| step.kind == kind).count()
}

fn said(run: &RecordedRun) -> String {
    let deltas = run.steps.iter();
    let deltas = deltas.filter(|step| step.kind == ModelStreamDelta);
    deltas.map(|step| step.body.as_str()).collect()
}

fn end(run: &RecordedRun) -> (EventKind, &str) {
    let last: &Step = run.steps.last().unwrap();
    (last.kind, last.body.as_str())
}

/// The lines of the errors, and what was mended there; `None` for what is left out.
fn told(errors: &[RecordingError]) -> Vec<(Option<u64>, Option<Mend>)> {
    let told = errors.iter().map(|error| match error.problem {
        Problem::Mended { what, .. } => (error.line, Some(what)),
        _ => (error.line, None),
    });
    told.collect()
}

/// A line of a session, or of its sub-agent.
fn line(uuid: &str, agent: Option<&str>, rest: &str) -> String {
    let agent = agent.map_or(r#""isSidechain":false"#.to_owned(), |agent| {
        format!(r#""isSidechain":true,"agentId":"{agent}""#)
    });
    format!(
        r#"{{"uuid":"{uuid}","sessionId":"s-1",{agent},"timestamp":"2026-01-01T00:00:00Z",{rest}}}"#
    )
}

fn user(text: &str) -> String {
    format!(r#""type":"user","message":{{"role":"user","content":"{text}"}}"#)
}

fn result(id: &str, text: &str) -> String {
    format!(
        r#""type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"{id}","content":"{text}"}}]}}"#
    )
}

fn assistant(id: &str, block: &str) -> String {
    format!(
        r#""type":"assistant","message":{{"id":"{id}","model":"m","content":[{block}],"usage":{{"output_tokens":3}}}}"#
    )
}

fn says(text: &str) -> String {
    format!(r#"{{"type":"text","text":"{text}"}}"#)
}

fn calls(id: &str, name: &str, input: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{input}}}"#)
}

/// A session of one tool call, a line each.
fn session() -> Vec<String> {
    vec![
        line("u1", None, &user("Which files are here?")),
        line("u2", None, &assistant("m1", &says("I look."))),
        line(
            "u3",
            None,
            &assistant("m1", &calls("t1", "Bash", r#"{"command":"ls"}"#)),
        ),
        line("u4", None, &result("t1", "a.txt")),
        line("u5", None, &assistant("m2", &says("One file, a.txt."))),
        line("u6", None, r#""type":"system","subtype":"turn_duration""#),
    ]
}

fn file(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

const STREAM: &str = r#"data: {"type":"message_start","message":{"id":"a","model":"m"}}

data: {"type":"content_block_delta","index":0,"delta":{"text":"Hi "}}

data: {"type":"content_block_delta","index":0,"delta":{"text":"there"}}

data: {"type":"message_delta","usage":{"output_tokens":7}}

data: {"type":"message_stop"}

"#;
