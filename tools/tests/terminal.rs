//! What reaches a terminal: whatever ids, texts and paths hold, no character that it would obey,
//! and no line that is too wide.

mod common;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A name that clears the screen, colours it, retitles it and turns the text around.
const NASTY: &str = "a\u{1b}[2J\u{9b}31m\u{1b}]0;x\u{7}\u{202e}b\u{2066}\u{200f}\u{7f}漢";

fn framebus<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    let mut framebus = Command::new(common::FRAMEBUS);
    framebus.args(arguments).output().unwrap()
}

/// Checks that nothing of an output does anything but be seen, and returns it.
fn seen(output: &Output) -> (String, String) {
    let seen = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let obeyed = |char: char| {
            char != '\n' && (char.is_control() || "\u{202e}\u{2066}\u{200f}".contains(char))
        };
        assert!(!text.contains(obeyed), "{text:?}");
        text
    };
    (seen(&output.stdout), seen(&output.stderr))
}

/// A folder of recordings whose names, ids and texts are nasty: a session with a bad line and a
/// result for a call that is not there, and a stream.
fn recordings(folder: &Path) -> PathBuf {
    let recordings = folder.join(format!("recordings {NASTY}"));
    fs::create_dir(&recordings).unwrap();
    let nasty = serde_json::to_string(NASTY).unwrap();
    let result = format!(r#"{{"type":"tool_result","tool_use_id":{nasty},"content":"x"}}"#);
    let session = [
        format!(
            r#"{{"type":"user","uuid":"1","sessionId":{nasty},"message":{{"content":{nasty}}}}}"#
        ),
        format!(r#"{{"type":"user","uuid":"2","message":{{"content":[{result}]}}}}"#),
        format!("oops {NASTY}"),
    ];
    fs::write(
        recordings.join(format!("{NASTY}.jsonl")),
        session.join("\n") + "\n",
    )
    .unwrap();
    let stream = format!(
        r#"{{"choices":[{{"finish_reason":"x","delta":{{"content":{nasty}}}}}],"model":{nasty}}}"#
    );
    fs::write(recordings.join(format!("{NASTY}.txt")), stream).unwrap();
    recordings
}

#[test]
fn replay_and_refusals_show_only_what_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = recordings(folder.path());
    let recordings = recordings.to_str().unwrap();
    for more in [&[][..], &["--json"]] {
        let output = framebus(&[&["replay", recordings], more].concat());
        assert_eq!(output.status.code(), Some(0));
        let (shown, errors) = seen(&output);
        assert_eq!(errors.matches("left out: ").count(), 2, "{errors}");
        assert!(errors.contains(r"a\u{1b}[2J\u{9b}31m"), "{errors}");
        if !more.is_empty() {
            let report: Value = serde_json::from_str(&shown).unwrap();
            let left_out = report["left_out"][0].as_str().unwrap();
            assert!(
                left_out.contains(NASTY),
                "JSON holds the name itself: {left_out}"
            );
        }
    }
    for arguments in [
        &["replay", NASTY][..],
        &["top", NASTY],
        &["top", recordings],
        &[NASTY],
        &["replay", "--speed", NASTY],
        &["replay", NASTY, "--shards", NASTY],
        &["serve", NASTY, "--port", NASTY],
        &["archive", NASTY],
    ] {
        let output = framebus(arguments);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}");
        let (_, errors) = seen(&output);
        assert!(!errors.is_empty(), "{arguments:?}");
    }
}

#[cfg(feature = "archive")]
#[test]
fn archives_show_only_what_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = recordings(folder.path());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let archive = at(NASTY);
    let done = |arguments: &[&str]| {
        let output = framebus(&[&["archive"], arguments].concat());
        let (shown, errors) = seen(&output);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        shown
    };
    done(&["record", &archive, recordings.to_str().unwrap()]);
    for command in ["runs", "tail"] {
        let shown = done(&[command, &archive]);
        assert!(shown.contains(r"a\u{1b}[2J\u{9b}31m"), "{shown}");
    }
    // The lines hold the ids themselves, and come back as they were.
    let lines = done(&["export", &archive]);
    let ids = lines.lines().map(|line| {
        let frame: framebus::EventFrame = serde_json::from_str(line).unwrap();
        frame.run_id().to_string()
    });
    assert!(ids.filter(|id| id.contains(NASTY)).count() > 2, "{lines}");
    fs::write(at("lines"), &lines).unwrap();
    done(&["import", &at("again"), &at("lines")]);
    assert_eq!(
        done(&["export", &at("again")]).lines().count(),
        lines.lines().count()
    );
    done(&["check", &archive]);
    done(&["tidy", &archive, "--max-frames", "1"]);
    // What it names when it fails.
    let bad = at(&format!("{NASTY}.lines"));
    fs::write(&bad, format!("{{\"{NASTY}\": 1}}\n")).unwrap();
    for arguments in [
        &["import", &at("third"), &bad][..],
        &["check", &at(&format!("no {NASTY}"))],
        &["tail", &archive, "--kind", NASTY],
        &["record", &at("fourth"), NASTY],
    ] {
        let output = framebus(&[&["archive"], arguments].concat());
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}");
        assert!(!seen(&output).1.is_empty());
    }
    let skipped = ["archive", "import", &at("fifth"), &bad, "--skip-damaged"];
    assert!(seen(&framebus(&skipped)).1.contains("skipped: "));
}

#[test]
fn the_table_fits_80_columns_when_no_terminal_says_otherwise() {
    let sample = framebus_recordings::samples().join("vercel-ai-sse/xai");
    let sample = sample.to_str().unwrap();
    for more in [&[][..], &["--frames", "10000"]] {
        let output = framebus(&[&["replay", sample], more].concat());
        let (table, _) = seen(&output);
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{table}");
        }
        for head in ["subscriber", "policy", "delivered", "dropped", "terminal"] {
            assert!(table.contains(head), "{table}");
        }
    }
}

/// What a terminal gets of a command; `None`, and a cry, where there is no Linux `script`.
fn in_a_terminal(arguments: &[&str]) -> Option<String> {
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', r"'\''"));
    let words: Vec<_> = [common::FRAMEBUS]
        .iter()
        .chain(arguments)
        .map(quoted)
        .collect();
    let command = format!("stty rows 24 cols 80; {}", words.join(" "));
    let script = Command::new("script")
        .args(["--quiet", "--flush", "--command", &command, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .output();
    let Some(output) = script.ok().filter(|_| cfg!(target_os = "linux")) else {
        common::not_run("commands in a terminal, there is no Linux `script` here");
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The program draws with escape sequences of its own; what it draws holds none.
#[test]
fn a_terminal_is_told_nothing_by_an_id() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = recordings(folder.path());
    let recordings = recordings.to_str().unwrap();
    let archive = folder.path().join(NASTY);
    let archive = archive.to_str().unwrap();
    let mut commands = vec![
        vec!["replay", recordings],
        vec!["replay", recordings, "--json"],
        vec!["top", recordings, "--seconds", "0.3"],
        vec!["top", NASTY],
    ];
    if cfg!(feature = "archive") {
        commands.extend([
            vec!["archive", "record", archive, recordings],
            vec!["archive", "runs", archive],
            vec!["archive", "tail", archive],
            vec!["archive", "export", archive],
            vec!["archive", "import", archive, NASTY],
        ]);
    }
    for arguments in commands {
        let Some(shown) = in_a_terminal(&arguments) else {
            return;
        };
        let obeyed = [
            "\u{1b}]", "\u{9b}", "\u{7}", "\u{7f}", "\u{202e}", "\u{2066}", "\u{200f}",
        ];
        for obeyed in obeyed {
            assert!(!shown.contains(obeyed), "{arguments:?}: {shown:?}");
        }
        assert!(!shown.contains("panicked"), "{arguments:?}: {shown:?}");
        // Nothing is wider than the terminal but what no line can be.
        if arguments.contains(&"--json") || arguments[0] == "archive" || arguments[0] == "top" {
            continue;
        }
        let table = shown.rsplit("\u{1b}[2K").next().unwrap();
        let table = &table[table.find('─').unwrap()..];
        assert!(
            table.lines().all(|line| line.chars().count() <= 80),
            "{table}"
        );
    }
}
