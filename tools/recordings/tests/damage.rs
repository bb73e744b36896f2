//! Recordings as they are found: each kind of damage costs what it must, and is named once, with
//! its file and line.

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

#[test]
fn half_a_character_costs_itself() {
    let mut lines = session();
    lines[3] = line("u4", None, &result("t1", r"a party \ud83d…"));
    let (runs, errors) = read("s.jsonl", file(&lines));
    let mut whole = session();
    whole[3] = line("u4", None, &result("t1", "a party \u{fffd}…"));
    assert_eq!(runs, read("s.jsonl", file(&whole)).0);
    assert_eq!(told(&errors), [(Some(4), Some(Mend::HalfCharacter))]);
}

#[test]
fn nuls_cost_nothing_but_what_they_stand_for() {
    let whole = read("s.jsonl", file(&session())).0;
    for (before, after) in [(0, 9_000), (300, 0), (2, 2)] {
        let mut lines = session();
        lines[3] = "\0".repeat(before) + &lines[3] + &"\0".repeat(after);
        let (runs, errors) = read("s.jsonl", file(&lines));
        assert_eq!(runs, whole);
        assert_eq!(told(&errors), [(Some(4), Some(Mend::Nuls))]);
        let event = STREAM.replacen("data:", &format!("{}data:", "\0".repeat(before + 1)), 3);
        let (runs, errors) = read("p/s.txt", event);
        assert_eq!(runs, read("p/s.txt", STREAM).0);
        assert_eq!(told(&errors), [(Some(1), Some(Mend::Nuls))]);
        assert!(
            errors[0].to_string().contains("2 more times"),
            "{}",
            errors[0]
        );
    }
    // A record that the crash cut off, NULs, and the next one, all on one line.
    let mut lines = session();
    lines[4] = format!("{}\0\0\0{}", &lines[4][..40], lines[4]);
    let (runs, errors) = read("s.jsonl", file(&lines));
    assert_eq!((runs, told(&errors)), (whole, vec![(Some(5), None)]));
}

#[test]
fn a_file_that_ends_in_nuls_was_cut_off() {
    for nuls in ["\0\0\0\0", "\0\0\n"] {
        let (runs, errors) = read("s.jsonl", file(&session()[..5]) + nuls);
        assert_eq!(end(&runs[0]), (RunFailed, "truncated"));
        assert!(
            matches!(errors[0].problem, Problem::Truncated),
            "{errors:?}"
        );
        assert_eq!(told(&errors), [(Some(6), None)]);
    }
    let name = "mini-swe-agent-gemini3/pydata__xarray-4629.traj.json";
    let document = fs::read(samples().join(name)).unwrap();
    let half = [&document[..document.len() / 2], &[0; 512]].concat();
    let (runs, errors) = read(name, half);
    assert!(runs.is_empty());
    assert!(matches!(
        errors[..],
        [RecordingError {
            problem: Problem::Truncated,
            ..
        }]
    ));
}

#[test]
fn records_that_share_a_line_are_all_read() {
    let whole = read("s.jsonl", file(&session())).0;
    assert_eq!(read("s.jsonl", session().concat()).0, whole);
    let (runs, errors) = read("s.jsonl", session().join(" "));
    assert_eq!((&runs, errors.len()), (&whole, 0));
    // A record that was cut off where the next begins costs itself: here the second time.
    for cut in 1..session()[4].len() {
        let mut lines = session();
        lines[4] = format!("{}{}", &lines[4][..cut], lines[4]);
        let (runs, errors) = read("s.jsonl", file(&lines));
        assert_eq!(runs, whole, "cut at {cut}");
        assert_eq!(told(&errors), [(Some(5), None)], "cut at {cut}");
    }
}

#[test]
fn a_record_inside_a_cut_one_is_none_of_its_own() {
    let inner = line("i1", None, &user("INNER"));
    let progress = line(
        "u9",
        None,
        &format!(
            r#""type":"progress","data":{{"message":{inner},"type":"agent_progress","agentId":"a"}}"#
        ),
    );
    for cut in 1..progress.len() {
        let mut lines = session();
        lines[4] = format!("{}{}", &progress[..cut], lines[4]);
        let (runs, _) = read("s.jsonl", file(&lines));
        assert_eq!(count(&runs[0], MessageAccepted), 1, "cut at {cut}");
        lines.truncate(4);
        lines.push(progress[..cut].to_owned());
        let (runs, _) = read("s.jsonl", lines.join("\n"));
        assert_eq!(
            count(&runs[0], MessageAccepted),
            1,
            "cut at {cut}, at the end"
        );
    }
}

#[test]
fn a_resumed_session_counts_its_records_once() {
    let whole = read("s.jsonl", file(&session())).0;
    let again = file(&session()) + &file(&session()[..4]);
    let (runs, errors) = read("s.jsonl", again);
    assert_eq!(runs, whole);
    assert_eq!(told(&errors), [(Some(7), Some(Mend::Repeated))]);
    assert!(
        errors[0].to_string().contains("3 more times"),
        "{}",
        errors[0]
    );

    // Resumed in another file, under another session's id.
    let folder = tempfile::tempdir().unwrap();
    let resumed: Vec<_> = session()
        .into_iter()
        .chain([line("u7", None, &assistant("m2", &says("As I said.")))])
        .chain([line("u8", None, &assistant("m3", &says("Done.")))])
        .map(|line| line.replace("s-1", "s-2"))
        .collect();
    fs::write(folder.path().join("one.jsonl"), file(&session())).unwrap();
    fs::write(folder.path().join("two.jsonl"), file(&resumed)).unwrap();
    let (runs, errors) = read_paths(&[folder.path().to_owned()], &ReadOptions::default());
    let usages: usize = runs.iter().map(|run| count(run, UsageRecorded)).sum();
    assert_eq!((runs.len(), usages), (2, 3), "{errors:?}");
    assert_eq!(said(&runs[1]), "As I said.Done.");
    assert_eq!(told(&errors), [(Some(1), Some(Mend::Repeated))]);
}

#[test]
fn sessions_that_share_ids_but_no_records_are_both_read() {
    let folder = tempfile::tempdir().unwrap();
    let other = session()
        .into_iter()
        .map(|line| line.replace("a.txt", "b.txt").replace("look", "see"));
    let other: Vec<_> = other
        .map(|line| line.replace("T00:00:00Z", "T00:01:00Z"))
        .collect();
    for (name, lines) in [("one", session()), ("two", other)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("s.jsonl"), file(&lines)).unwrap();
    }
    let (runs, errors) = read_paths(&[folder.path().to_owned()], &ReadOptions::default());
    assert!(errors.is_empty(), "{errors:?}");
    let ids: Vec<_> = runs.iter().map(|run| &*run.run_id).collect();
    assert_eq!(
        ids,
        ["claude-code-sessions/s", "claude-code-sessions/two/s"]
    );
    assert_eq!(
        count(&runs[0], UsageRecorded),
        count(&runs[1], UsageRecorded)
    );
}

#[test]
fn a_message_that_another_interrupts_counts_once() {
    let mut lines = session();
    lines.insert(5, line("u7", None, &assistant("m1", &says("I looked."))));
    let (runs, _) = read("s.jsonl", file(&lines));
    assert_eq!(count(&runs[0], UsageRecorded), 2);
}

#[test]
fn a_sub_agents_lines_are_its_own_run() {
    let lines = [
        line("u1", None, &user("Let somebody count.")),
        line(
            "u2",
            None,
            &assistant("m1", &calls("t0", "Bash", r#"{"command":"ls"}"#)),
        ),
        line(
            "u3",
            None,
            &assistant("m1", &calls("t1", "Task", r#"{"prompt":"count"}"#)),
        ),
        line("k1", Some("ag1"), &user("count")),
        line(
            "k2",
            Some("ag1"),
            &assistant("k-m1", &says("SUBAGENT SPEAKS")),
        ),
        line(
            "k3",
            Some("ag1"),
            &assistant("k-m1", &calls("k-t1", "Bash", "{}")),
        ),
        line("u4", None, &result("t0", "a.txt")),
        line("u5", None, &result("t1", "7 lines")),
        line("u6", None, &assistant("m2", &says("Seven."))),
    ];
    let (runs, errors) = read("s.jsonl", file(&lines));
    assert!(errors.is_empty(), "{errors:?}");
    let [main, sub] = &runs[..] else {
        panic!("{runs:?}")
    };
    assert_eq!(
        (&*main.run_id, &*main.agent_id),
        ("claude-code-sessions/s", "main")
    );
    assert_eq!(
        (&*sub.run_id, &*sub.agent_id),
        ("claude-code-sessions/s-1/agent-ag1", "ag1")
    );
    assert_eq!(
        (said(main), said(sub)),
        ("Seven.".into(), "SUBAGENT SPEAKS".into())
    );
    assert_eq!((end(main).0, end(sub).0), (RunCompleted, RunCompleted));
    let about: Vec<_> = main
        .steps
        .iter()
        .map(|step| (step.kind, step.item.as_deref()))
        .collect();
    let begins = about.iter().position(|it| it.0 == SubagentStarted).unwrap();
    assert_eq!(
        about[begins - 1],
        (ToolStarted, Some("t1")),
        "it is the call with its prompt"
    );
    let ends = about
        .iter()
        .position(|it| it.0 == SubagentCompleted)
        .unwrap();
    assert_eq!(about[ends + 1], (ToolCompleted, Some("t1")));
    // Old lines name no agent, but the line before theirs.
    let old = |line: &String| match line.split_once(r#""uuid":"k"#) {
        Some(_) => {
            let number: u32 = line[10..11].parse().unwrap();
            let parent = format!(r#""parentUuid":"k{}","isSidechain":true"#, number - 1);
            line.replace(r#""isSidechain":true,"agentId":"ag1""#, &parent)
        }
        None => line.clone(),
    };
    let (runs, _) = read("s.jsonl", file(&lines.iter().map(old).collect::<Vec<_>>()));
    assert_eq!(runs.len(), 2);
    assert_eq!(&runs[1].steps, &sub.steps);
    assert_eq!(&*runs[1].agent_id, "k1");
}

#[test]
fn a_lost_result_does_not_fail_a_session_that_went_on() {
    for lost in ["oops", &session()[3][..60]] {
        let mut lines = session();
        lines[3] = lost.to_owned();
        let (runs, errors) = read("s.jsonl", file(&lines));
        assert_eq!(end(&runs[0]).0, RunCompleted);
        assert_eq!(count(&runs[0], ToolRecoveryRequired), 1);
        assert_eq!(told(&errors), [(Some(4), None)]);
    }
    // Where nothing follows, the file was cut off.
    let (runs, _) = read("s.jsonl", file(&session()[..3]));
    assert_eq!(end(&runs[0]), (RunFailed, "truncated"));
}

#[test]
fn numbers_that_are_not_json_read_as_null() {
    for number in ["NaN", "-Infinity", "Infinity", "1e999"] {
        let mut lines = session();
        lines[4] = lines[4].replace(r#""usage":"#, &format!(r#""cost":{number},"usage":"#));
        let (runs, errors) = read("s.jsonl", file(&lines));
        assert_eq!(runs, read("s.jsonl", file(&session())).0);
        assert_eq!(told(&errors), [(Some(5), Some(Mend::NotANumber))]);
        let run = format!(
            r#"{{"task_id":1,"reward":{number},"info":{{"user_cost":{number}}},"traj":[]}}"#
        );
        let (runs, _) = read("agent-x.jsonl", run);
        assert_eq!(end(&runs[0]), (RunCompleted, "the reward is not a number"));
    }
}

#[test]
fn a_byte_order_mark_changes_nothing() {
    let document = r#"{"instance_id":"x","info":{"exit_status":"Submitted"},"messages":[]}"#;
    let named = STREAM.replacen("data:", "event: message_start\ndata:", 1);
    let session = file(&session());
    let files = [
        ("p/s.txt", STREAM),
        ("p/s.txt", &named),
        ("s.jsonl", &session),
        ("x.traj.json", document),
    ];
    for (name, text) in files {
        let (plain, none) = read(name, text);
        assert!(plain.len() == 1 && none.is_empty(), "{name}: {none:?}");
        let utf16 = |mark: &str| -> Vec<u16> { format!("{mark}{text}").encode_utf16().collect() };
        let little = utf16("\u{feff}").into_iter().flat_map(u16::to_le_bytes);
        let big = utf16("\u{feff}").into_iter().flat_map(u16::to_be_bytes);
        let marked = [
            format!("\u{feff}{text}").into_bytes(),
            format!("\u{feff}\u{feff}{text}").into_bytes(),
            format!("\u{feff}\r\n{}", text.replace('\n', "\r\n")).into_bytes(),
            little.collect(),
            big.collect(),
        ];
        for bytes in marked {
            let (runs, errors) = read(name, bytes);
            assert!(runs == plain && errors.is_empty(), "{name}: {errors:?}");
        }
    }
}

#[test]
fn files_of_one_name_are_runs_of_their_own() {
    let document = |status: &str| {
        format!(r#"{{"instance_id":"x","info":{{"exit_status":"{status}"}},"messages":[]}}"#)
    };
    let parent = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = parent.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    fs::write(folder("one").join("x.traj.json"), document("a")).unwrap();
    fs::write(folder("two").join("x.traj.json"), document("b")).unwrap();
    fs::write(folder("zwei/two").join("x.traj.json"), document("c")).unwrap();
    fs::write(folder("three").join("x.traj.json"), document("a")).unwrap();
    for (place, text) in [("a/p", "Hi "), ("b/p", "Ho "), ("c/p", "Ha ")] {
        fs::write(folder(place).join("s.txt"), STREAM.replace("Hi ", text)).unwrap();
    }
    let (runs, errors) = read_paths(&[parent.path().to_owned()], &ReadOptions::default());
    let mut ids: Vec<_> = runs.iter().map(|run| &*run.run_id).collect();
    ids.sort_unstable();
    let expected = [
        "mini-swe-agent-gemini3/two/x",
        "mini-swe-agent-gemini3/x",
        "mini-swe-agent-gemini3/zwei/two/x",
        "vercel-ai-sse/b/p/s",
        "vercel-ai-sse/c/p/s",
        "vercel-ai-sse/p/s",
    ];
    assert_eq!(ids, expected);
    assert_eq!(errors.len(), 1);
    let message = errors[0].to_string();
    assert!(
        message.contains("three") || message.contains("one"),
        "{message}"
    );
    assert!(
        message.contains("repeats the run mini-swe-agent-gemini3/x"),
        "{message}"
    );
}

#[test]
fn deep_nesting_costs_what_is_too_deep() {
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    let mut lines = session();
    lines[2] = line("u3", None, &assistant("m1", &calls("t1", "Bash", &deep)));
    let (runs, errors) = read("s.jsonl", file(&lines));
    assert_eq!(end(&runs[0]).0, RunCompleted);
    assert_eq!(count(&runs[0], ToolCompleted), 1);
    assert_eq!(told(&errors), [(Some(3), Some(Mend::Deep))]);
    // Brackets that never close, many of them objects.
    for endless in ["[".repeat(1 << 20), r#"{"a":"#.repeat(1 << 18)] {
        let mut lines = session();
        lines.insert(1, endless);
        let (runs, errors) = read("s.jsonl", file(&lines));
        assert_eq!(runs, read("s.jsonl", file(&session())).0);
        assert_eq!(told(&errors), [(Some(2), None)]);
    }
}

#[test]
fn leading_records_of_newer_versions_hide_no_session() {
    let newer: Vec<_> = (0..500)
        .map(|number| format!(r#"{{"type":"mode-{number}","mode":"x"}}"#))
        .collect();
    let (runs, errors) = read("s.jsonl", file(&newer) + &file(&session()));
    assert_eq!(said(&runs[0]), "I look.One file, a.txt.");
    assert_eq!(end(&runs[0]).0, RunCompleted);
    assert!(errors.is_empty(), "{errors:?}");
    let (runs, errors) = read("s.jsonl", file(&newer));
    assert!(runs.is_empty() && matches!(errors[0].problem, Problem::Foreign));
}

#[test]
fn several_documents_in_a_file_are_several_runs() {
    let document = |status: &str| {
        format!(r#"{{"instance_id":"x","info":{{"exit_status":"{status}"}},"messages":[]}}"#)
    };
    let text = format!(
        "{}\n{}{}",
        document("a"),
        &document("b")[..40],
        document("c")
    );
    let (runs, errors) = read("x.traj.json", text);
    let ids: Vec<_> = runs.iter().map(|run| (&*run.run_id, end(run).1)).collect();
    let expected = [
        ("mini-swe-agent-gemini3/x", "a"),
        ("mini-swe-agent-gemini3/x/2", "c"),
    ];
    assert_eq!(ids, expected);
    assert_eq!(told(&errors), [(Some(2), None)]);
}

#[test]
fn server_sent_events_are_read_as_their_specification_says() {
    let plain = read("p/s.txt", STREAM).0;
    assert_eq!(
        (said(&plain[0]), end(&plain[0]).0),
        ("Hi there".into(), RunCompleted)
    );
    let same = [
        // Any line end, and a last event that nothing follows.
        STREAM.replace('\n', "\r\n"),
        STREAM.replace('\n', "\r"),
        STREAM.trim_end().to_owned(),
        // Comments, other fields, no space, heads of a response in front.
        STREAM.replace(
            "data: ",
            ": keep-alive\nevent: x\nid: 7\nretry: 10\nfoo: bar\ndata:",
        ),
        format!("HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\n{STREAM}"),
        // Data of several lines are one payload; an event without data is none.
        STREAM.replace(",\"", ",\ndata: \""),
        STREAM.replace("data: ", "event: ping\n\ndata: "),
        // Blank lines were lost: one event holds all payloads.
        STREAM.replace("\n\n", "\n"),
    ];
    for text in same {
        let (runs, errors) = read("p/s.txt", &text);
        assert!(runs == plain && errors.is_empty(), "{text:?}: {errors:?}");
    }
    // What looks like a field is none: names are exact, and nothing may stand before them.
    let other = STREAM.replacen("data: ", "datum: {}\n DATA: {}\n data: oops\ndata: ", 1);
    let (runs, errors) = read("p/s.txt", other);
    assert!(runs == plain && errors.is_empty(), "{errors:?}");
    let stray = format!("{STREAM}{{\"error\": 1}}\n");
    assert_eq!(told(&read("p/s.txt", stray).1), [(Some(11), None)]);
}

#[test]
fn a_done_marker_ends_a_stream_without_a_finish_reason() {
    let chunk = r#"{"choices":[{"delta":{"content":"Hi","tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}"#;
    for (text, ending) in [
        (format!("data: {chunk}\n\ndata: [DONE]\n\n"), RunCompleted),
        (format!("data: {chunk}\n\ndata:[DONE]"), RunCompleted),
        (format!("{chunk}\n[DONE]\n"), RunCompleted),
        (format!("data: {chunk}\n\n"), RunFailed),
        (
            "data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n".to_owned(),
            RunFailed,
        ),
    ] {
        let (runs, errors) = read("p/s.txt", &text);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(end(&runs[0]).0, ending, "{text}");
        // The call's request is complete; its result is the caller's.
        let started = ending == RunCompleted;
        assert_eq!(count(&runs[0], ToolStarted), usize::from(started), "{text}");
    }
}

#[test]
fn a_reading_says_how_far_it_is() {
    let mut told: Vec<Progress> = Vec::new();
    let (runs, _) =
        read_paths_with_progress(&[samples()], &ReadOptions::default(), |it| told.push(it));
    assert_eq!(runs.len(), 72);
    let last = told.last().unwrap();
    assert_eq!((last.files_read, last.bytes_read), (last.files, last.bytes));
    assert!(
        told.windows(2)
            .all(|pair| pair[0].bytes_read <= pair[1].bytes_read)
    );
    assert!(
        told.iter()
            .all(|it| it.bytes == last.bytes && it.bytes_read <= it.bytes)
    );
}
