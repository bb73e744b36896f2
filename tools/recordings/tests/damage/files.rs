//! What may be wrong with any file: its bytes, its records, its name.

use crate::*;

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
