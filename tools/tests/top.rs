//! The terminal after the view: as it was, whatever ended the view.

mod common;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// What a terminal gets that shows a screen of its own: what follows is drawn, what went before
/// is the shell's.
const OWN_SCREEN: &str = "\x1b[?1049h";

/// A word of the view. Drawn text has no spaces to look for: what is blank already is passed over.
const DRAWN: &str = "framebus";

/// Whether the view was drawn.
fn is_drawn(said: &str) -> bool {
    said.split_once(OWN_SCREEN)
        .is_some_and(|(_, screen)| screen.contains(DRAWN))
}

/// A command for a POSIX shell.
fn shell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_str().expect("UTF-8");
        format!("'{}'", word.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Runs the view in a terminal of its own, typing `keys`; what the terminal got, and after that
/// its settings. `None`, and a cry, where there is no `script` of Linux to make one.
fn in_a_terminal(arguments: &[&str], keys: &[u8]) -> Option<String> {
    let mut top = Command::new(common::FRAMEBUS);
    let top = shell(top.arg("top").args(arguments));
    let command = format!("stty rows 24 cols 80; {top}; stty -a");
    let script = Command::new("script")
        .args(["--quiet", "--flush", "--command", &command, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Some(mut script) = script.ok().filter(|_| cfg!(target_os = "linux")) else {
        common::not_run("the view in a terminal, there is no Linux `script` here");
        return None;
    };
    let mut keyboard = script.stdin.take().unwrap();
    let mut screen = script.stdout.take().unwrap();
    let (mut said, mut bytes) = (Vec::new(), [0; 4_096]);
    let mut typed = false;
    while let Ok(count @ 1..) = screen.read(&mut bytes) {
        said.extend(&bytes[..count]);
        // Before the view is there, a Ctrl-C would not be for it.
        if !typed && is_drawn(&String::from_utf8_lossy(&said)) {
            keyboard.write_all(keys).unwrap();
            typed = true;
        }
    }
    script.wait().unwrap();
    Some(String::from_utf8_lossy(&said).into_owned())
}

/// The terminal shows its own screen again, with its cursor, and talks to people.
fn is_as_it_was(said: &str) {
    let last = |sequence| {
        said.rfind(sequence)
            .unwrap_or_else(|| panic!("{sequence:?}: {said}"))
    };
    assert!(
        last("\x1b[?1049l") > last(OWN_SCREEN),
        "the other screen: {said}"
    );
    assert!(last("\x1b[?25h") > last("\x1b[?25l"), "no cursor: {said}");
    let settings = &said[last("speed ")..];
    for on in ["icanon", "echo", "isig"] {
        assert!(
            settings.split_whitespace().any(|it| it == on),
            "{on}: {settings}"
        );
    }
}

#[test]
fn the_terminal_is_as_it_was_after_the_end_a_key_and_a_panic() {
    let ways: [(&[&str], &[u8], &str); 4] = [
        (&["--seconds", "0.3"], b"", ""),
        (&[], b"q", ""),
        (&[], b"\x03", ""),
        (&["--seconds", "0.3", "--panic"], b"", "asked to"),
    ];
    for (arguments, keys, word) in ways {
        let Some(said) = in_a_terminal(arguments, keys) else {
            return;
        };
        assert!(is_drawn(&said), "{said}");
        assert!(said.contains(word), "{said}");
        is_as_it_was(&said);
    }
}
