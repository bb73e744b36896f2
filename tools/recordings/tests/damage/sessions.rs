//! What may be wrong with a session: records cut, joined, repeated, or of a sub-agent.

use crate::*;

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
