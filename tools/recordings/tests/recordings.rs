//! The readers of recorded runs: on the sample data, on each of its files cut off anywhere, and on
//! what is no recording at all.

mod checks;

use checks::{COUNTS, assert_well_formed, chunk_text, recorded_texts, sample_files};
use framebus::EventKind::{self, *};
use framebus_recordings::{
    Body, Problem, ReadOptions, RecordedRun, RecordingError, Source, cut, read_paths,
    read_recording, samples,
};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::path::Path;

fn read(path: &Path, bytes: &[u8]) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    read_recording(path, Cursor::new(bytes), &ReadOptions::default())
}

fn sample(name: &str) -> Vec<u8> {
    fs::read(samples().join(name)).unwrap()
}

/// Reads the sample data as a whole.
fn read_samples() -> (HashMap<String, RecordedRun>, Vec<RecordingError>) {
    let (runs, errors) = read_paths(&[samples()], &ReadOptions::default());
    let runs = runs.into_iter().map(|run| (run.run_id.to_string(), run));
    (runs.collect(), errors)
}

fn kinds(run: &RecordedRun) -> Vec<EventKind> {
    run.steps.iter().map(|step| step.kind).collect()
}

fn delta_text(run: &RecordedRun) -> String {
    let deltas = run
        .steps
        .iter()
        .filter(|step| step.kind == ModelStreamDelta);
    deltas.map(|step| step.body.as_str()).collect()
}

#[test]
fn the_samples_are_read_and_are_whole() {
    let (runs, errors) = read_samples();
    assert_eq!(runs.len(), 72);
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn every_sample_run_closes_what_it_opens_exactly_once() {
    for run in read_samples().0.values() {
        assert_well_formed(run);
    }
}

fn source_of(path: &Path) -> Source {
    let path = path.to_string_lossy();
    Source::ALL
        .into_iter()
        .find(|source| path.contains(source.as_str()))
        .unwrap()
}

#[test]
fn deltas_joined_are_the_recorded_text_byte_for_byte() {
    for tokens in [1, 4, 1000] {
        let options = ReadOptions {
            tokens_per_delta: NonZeroUsize::new(tokens).unwrap(),
        };
        for (path, bytes) in sample_files(&samples()) {
            let (runs, _) = read_recording(&path, Cursor::new(&bytes), &options);
            let texts: Vec<_> = runs.iter().map(delta_text).collect();
            let recorded = recorded_texts(source_of(&path), &bytes);
            assert_eq!(texts, recorded, "{}", path.display());
        }
    }
}

#[test]
fn a_stream_keeps_its_chunks_as_they_came() {
    for (path, bytes) in sample_files(&samples()) {
        if source_of(&path) != Source::VercelSse {
            continue;
        }
        let (runs, _) = read(&path, &bytes);
        let deltas: Vec<_> = runs[0]
            .steps
            .iter()
            .filter(|step| step.kind == ModelStreamDelta)
            .map(|step| step.body.as_str().to_owned())
            .collect();
        let text = String::from_utf8(bytes).unwrap();
        let chunks: Vec<_> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter_map(|chunk| chunk_text(&chunk))
            .collect();
        assert_eq!(deltas, chunks, "{}", path.display());
    }
}

#[test]
fn the_samples_hold_these_kinds_of_steps() {
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for run in read_samples().0.values() {
        let of_source = counts.entry(run.source.as_str()).or_default();
        for step in &run.steps {
            *of_source.entry(step.kind.as_str()).or_default() += 1;
        }
    }
    let table: String = counts
        .iter()
        .flat_map(|(source, kinds)| {
            let rows = kinds
                .iter()
                .map(|(kind, count)| format!("{kind} {count}\n"));
            std::iter::once(format!("# {source}\n")).chain(rows)
        })
        .collect();
    assert_eq!(table, COUNTS, "\n{table}");
}

#[test]
fn a_sub_agent_is_a_run_of_its_own_that_its_parent_names() {
    let (runs, _) = read_samples();
    let session = "claude-code-sessions/ae4a77f8-aedd-4bc1-888f-c94edc91af04";
    let parent = &runs[session];
    assert_eq!(&*parent.agent_id, "main");
    let sub_agent = &runs[&format!("{session}/agent-aac57f5")];
    assert_eq!(&*sub_agent.agent_id, "aac57f5");
    assert_eq!(sub_agent.parent.as_deref(), Some(session));
    let about: Vec<_> = parent
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.item.as_ref() == Some(&sub_agent.run_id))
        .collect();
    let (first, last) = (about[0], about[about.len() - 1]);
    assert_eq!(first.1.kind, SubagentStarted);
    assert_eq!(last.1.kind, SubagentCompleted);
    assert!(
        about[1..about.len() - 1]
            .iter()
            .all(|step| step.1.kind == SubagentEventWrapped)
    );
    // It begins right after the call that caused it, and ends before that call does.
    let cause = &parent.steps[first.0 - 1];
    assert_eq!((cause.kind, cause.body.as_str()), (ToolStarted, "Task"));
    let result = parent
        .steps
        .iter()
        .position(|step| step.kind == ToolCompleted && step.item == cause.item);
    assert!(last.0 < result.unwrap());
    // No line tells of the sub-agent that compacted the conversation; it stands at the boundary.
    let compaction = &runs[&format!("{session}/agent-acompact-946d2b")];
    assert_eq!(compaction.parent.as_deref(), Some(session));
    let boundary = kinds(parent)
        .iter()
        .position(|kind| *kind == RunCheckpointed)
        .unwrap();
    let before = &parent.steps[boundary - 2..boundary];
    assert_eq!(
        [before[0].kind, before[1].kind],
        [SubagentStarted, SubagentCompleted]
    );
    assert!(
        before
            .iter()
            .all(|step| step.item.as_ref() == Some(&compaction.run_id))
    );
    // The parent of this one was not read.
    let orphan = "claude-code-sessions/fa812bfe-b295-4cca-9c2f-fdf01028cb46/agent-acompact-70d8e7";
    assert_eq!(runs[orphan].parent, None);
}

#[test]
fn steps_keep_the_order_of_the_file_though_times_run_backwards() {
    let (runs, _) = read_samples();
    let run = &runs["claude-code-sessions/ae4a77f8-aedd-4bc1-888f-c94edc91af04"];
    let times: Vec<_> = run.steps.iter().filter_map(|step| step.at).collect();
    assert!(times.windows(2).any(|pair| pair[1] < pair[0]));
    let first: jiff::Timestamp = "2026-02-12T14:11:57.624Z".parse().unwrap();
    assert_eq!(times[0], first.as_microsecond());
}

#[test]
fn tools_may_run_side_by_side_and_end_in_any_order() {
    let run = &read_samples().0["claude-code-sessions/subagent"];
    let mut open = Vec::new();
    let (mut most, mut crossed) = (0, false);
    for step in &run.steps {
        match step.kind {
            ToolStarted => open.push(step.item.clone()),
            ToolCompleted => {
                crossed |= open.last() != Some(&step.item);
                open.retain(|item| *item != step.item);
            }
            _ => {}
        }
        most = most.max(open.len());
    }
    assert_eq!((most, crossed), (4, true));
}

#[test]
fn failures_are_told_as_what_they_are() {
    let (runs, _) = read_samples();
    let ending = |id: &str| {
        let last = runs[id].steps.last().unwrap();
        (last.kind, last.body.as_str().to_owned())
    };
    let denied = kinds(&runs["claude-code-sessions/short"]);
    assert_eq!(denied.iter().filter(|kind| **kind == ToolDenied).count(), 2);
    assert!(denied.contains(&TurnFailed), "the user stopped the turn");
    let timeout = &runs["mini-swe-agent-gemini3/psf__requests-2317"].steps;
    assert!(
        timeout
            .iter()
            .any(|step| step.kind == ToolFailed && step.tags == ["timeout"])
    );
    assert!(timeout.iter().any(|step| step.kind == ModelAttemptFailed));
    assert_eq!(ending("tau-bench-airline/gpt-4o-airline/1").0, RunFailed);
    assert_eq!(ending("tau-bench-airline/gpt-4o-airline/9").0, RunCompleted);
    let (kind, reason) = ending("vercel-ai-sse/openai/openai-error.1");
    assert_eq!(kind, RunFailed);
    assert!(reason.contains("exceeded your current quota"), "{reason}");
    let replaced = &runs["vercel-ai-sse/anthropic/spliced-message-start"];
    let attempts: Vec<_> = kinds(replaced)
        .into_iter()
        .filter(|kind| kind.is_terminal() && kind.as_str().starts_with("Model"))
        .collect();
    assert_eq!(attempts, [ModelAttemptFailed, ModelMessageCompleted]);
}

#[test]
fn every_sample_cut_off_anywhere_gives_an_error_or_a_well_formed_run() {
    const CUTS: usize = 40;
    for (path, bytes) in sample_files(&samples()) {
        let source = source_of(&path);
        for cut in (0..CUTS).map(|n| n * bytes.len() / CUTS) {
            let bytes = &bytes[..cut];
            let (runs, errors) = read(&path, bytes);
            let at = format!("{} cut at {cut}", path.display());
            runs.iter().for_each(assert_well_formed);
            let rest = bytes
                .rsplit(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            let whole = rest.is_empty() || serde_json::from_slice::<Value>(rest).is_ok();
            let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
            let document = matches!(source, Source::MiniSwe | Source::SweAgent);
            assert!(!document || runs.is_empty(), "{at}");
            if runs.is_empty() {
                assert!(!errors.is_empty(), "{at}");
            } else if !whole {
                let last = errors.last().unwrap_or_else(|| panic!("{at}: no error"));
                let cut_off = matches!(last.problem, Problem::Truncated);
                assert!(cut_off, "{at}: {last}");
                assert_eq!(last.line, Some(lines), "{at}");
            }
            let told = source != Source::ClaudeCode || whole || runs.is_empty();
            assert!(
                told || runs[0].steps.last().unwrap().kind == RunFailed,
                "{at}"
            );
        }
    }
}

#[test]
fn a_bad_line_costs_itself_alone() {
    let path = Path::new("claude-code-sessions/short.jsonl");
    let bytes = sample("claude-code-sessions/short.jsonl");
    let (good, none) = read(path, &bytes);
    assert!(none.is_empty());
    let long = format!("\"{}\"", "x".repeat(17 << 20)).into_bytes();
    for bad in [
        b"{\"type\": oops}".to_vec(),
        b"\xff\xfe".to_vec(),
        long,
        vec![b'['; 300],
    ] {
        let at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let spoiled = [&bytes[..at], &bad, b"\n", &bytes[at..]].concat();
        let (runs, errors) = read(path, &spoiled);
        assert_eq!(runs, good);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].line, Some(2), "{}", errors[0]);
    }
}

#[test]
fn what_is_no_recording_is_refused_with_the_known_formats() {
    let foreign: [&[u8]; 7] = [
        b"hello\nworld\n",
        b"{\"name\": \"x\"}\n{\"name\": \"y\"}\n",
        b"{\n  \"name\": \"x\"\n}\n",
        b"[1, 2, 3]",
        b"\x7fELF\x02\x01\x01\x00\x00",
        b"null",
        b"{\"messages\": 1, \"info\": {}}",
    ];
    for bytes in foreign {
        let (runs, errors) = read(Path::new("vercel-ai-sse/file.jsonl"), bytes);
        assert!(runs.is_empty());
        assert_eq!(errors.len(), 1);
        let message = errors[0].to_string();
        assert!(
            message.starts_with("vercel-ai-sse/file.jsonl:1: "),
            "{message}"
        );
        for source in Source::ALL {
            assert!(message.contains(source.as_str()), "{message}");
        }
    }
    for bytes in [&b""[..], b" \n\n "] {
        let (_, errors) = read(Path::new("empty"), bytes);
        assert!(matches!(errors[0].problem, Problem::Empty));
    }
}

#[test]
fn a_missing_path_is_told_and_the_others_are_read() {
    let short = samples().join("claude-code-sessions/short.jsonl");
    let missing = samples().join("no such file");
    let paths = [missing.clone(), short.clone(), short];
    let (runs, errors) = read_paths(&paths, &ReadOptions::default());
    assert_eq!(runs.len(), 1, "a file that is named twice is read once");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path, missing);
    assert!(errors[0].to_string().contains("check that it exists"));
}

#[test]
fn server_sent_events_are_read_like_their_payloads() {
    let path = Path::new("anthropic/anthropic-mcp.1.chunks.txt");
    let payloads = sample("vercel-ai-sse/anthropic/anthropic-mcp.1.chunks.txt");
    let payloads = String::from_utf8(payloads).unwrap();
    let events: String = payloads
        .lines()
        .map(|line| format!("event: chunk\ndata: {line}\n\n"))
        .collect();
    let (runs, errors) = read(path, (events + "data: [DONE]\n\n").as_bytes());
    assert!(errors.is_empty());
    assert_eq!(runs, read(path, payloads.as_bytes()).0);
}

#[test]
fn model_text_is_content_and_figures_are_not() {
    for run in read_samples().0.values() {
        for step in &run.steps {
            match step.kind {
                ModelStreamDelta => assert!(matches!(step.body, Body::Text(_))),
                UsageRecorded | CostEstimated => assert!(matches!(step.body, Body::Json(_))),
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn deltas_of_any_text_join_to_it(text in "(\\s{0,3}\\PC{0,3}){0,40}", tokens in 1..6_usize) {
        let tokens = NonZeroUsize::new(tokens).unwrap();
        let deltas: Vec<_> = cut::deltas(&text, tokens).collect();
        prop_assert_eq!(deltas.concat(), text.as_str());
        let words = text.split_whitespace().count();
        let expected = if text.is_empty() { 0 } else { words.div_ceil(tokens.get()).max(1) };
        prop_assert_eq!(deltas.len(), expected);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read(Path::new("noise"), &bytes).0.iter().for_each(assert_well_formed);
    }

    #[test]
    fn no_change_of_a_recording_makes_its_run_ill_formed(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        lines in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..8),
    ) {
        let files: Vec<_> = sample_files(&samples()).into_iter().filter(|file| file.1.len() < 60_000).collect();
        let (path, bytes) = file.get(&files);
        // Lines that come twice, too early or too late, and bytes that are wrong.
        let mut swapped: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        for (from, to) in lines {
            let line = swapped[from.index(swapped.len())];
            swapped.insert(to.index(swapped.len()), line);
        }
        let swapped = swapped.join(&b'\n');
        read(path, &swapped).0.iter().for_each(assert_well_formed);
        let mut changed = swapped;
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        read(path, &changed).0.iter().for_each(assert_well_formed);
    }
}
