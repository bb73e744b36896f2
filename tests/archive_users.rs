//! A reader that is another user and may not write to the folder: it sees each frame as soon as the
//! writer has it, and what it sees is whole, whoever opens, closes, writes and compacts meanwhile.
#![cfg(unix)]

mod common;

use common::{delta, not_run};
use framebus::archive::{Archive, ArchiveOptions, JournalOptions, JournaledBus, Retention};
use framebus::*;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const FOLDER: &str = "FRAMEBUS_READER_FOLDER";
const NOBODY: u32 = 65_534;

fn opened(folder: &Path) -> JournaledBus {
    let archive = Archive::open(folder, ArchiveOptions::default()).unwrap();
    let builder = InMemoryAgentEventBus::builder();
    JournaledBus::open(archive, builder, JournalOptions::default()).unwrap()
}

fn publish(bus: &JournaledBus, count: usize) {
    bus.publish_all((0..count).map(|_| delta("r"))).unwrap();
}

/// What the reader sees of an archive: what a check counts, and the archive's end. Reads it all.
fn seen(archive: &Archive) -> Result<String, AgentError> {
    let checked = archive.check()?;
    let all = EventFilter::default().compile()?;
    let mut frames = archive.replay_filtered_from_cursor(all, archive.start()?)?;
    let read = frames.by_ref().count();
    if let Some(StreamEnd::SourceFailed(error)) = frames.end() {
        return Err(error);
    }
    let lost = frames.pending_overflow().map(|it| it.dropped_count);
    assert!(read > 0 || lost > Some(0) || checked == 0);
    Ok(format!("{checked} {}", archive.end()?.position))
}

/// The other user: answers each line of its input with what it sees.
#[test]
fn the_other_user() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let mut archive = None;
    for line in std::io::stdin().lines() {
        let fresh = line.unwrap() == "open";
        let see = || {
            if fresh || archive.is_none() {
                archive = Some(Archive::open_for_reading(&folder)?);
            }
            archive.as_ref().map_or(Ok(String::new()), seen)
        };
        let answer = { see }().unwrap_or_else(|error| format!("{:?} {error}", error.kind()));
        let mut out = std::io::stdout();
        writeln!(out, "answer {answer}").unwrap();
        out.flush().unwrap();
    }
}

/// The process of another user that reads a folder.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _program: tempfile::TempDir,
}

impl Other {
    /// Starts it; `None` if this process may not be another user.
    fn start(folder: &Path) -> Option<Self> {
        let program = tempfile::tempdir().unwrap();
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(program.path(), open.clone()).unwrap();
        let path = program.path().join("other");
        fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        fs::set_permissions(&path, open).unwrap();
        let started = Command::new(&path)
            .args(["--exact", "the_other_user", "--nocapture", "--quiet"])
            .env(FOLDER, folder)
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            not_run("another user's reading: this process may not become one; run it as root");
            return None;
        };
        Some(Other {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            _program: program,
        })
    }

    /// Says a line, and returns the answer.
    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        let mut text = String::new();
        loop {
            text.clear();
            assert!(self.output.read_line(&mut text).unwrap() > 0, "it ended");
            if let Some((_, answer)) = text.split_once("answer ") {
                return answer.trim_end().to_owned();
            }
        }
    }

    /// Checks that it sees this many frames.
    fn sees(&mut self, frames: u64) {
        for line in ["again", "open", "again"] {
            assert_eq!(self.ask(line), format!("{frames} {frames}"), "{line}");
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// A folder that all may read, with an archive in it.
fn readable() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
    let folder = parent.path().join("archive");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    (parent, folder)
}

#[test]
fn another_user_is_never_stale() {
    let (_parent, folder) = readable();
    let Some(mut other) = Other::start(&folder) else {
        return;
    };
    let mut frames = 0;
    for round in 0..4 {
        let bus = opened(&folder);
        // A reader of before goes on, and one that opens now sees the same.
        if round > 0 {
            other.sees(frames);
        }
        for _ in 0..3 {
            publish(&bus, 100);
            frames += 100;
            other.sees(frames);
        }
        bus.archive().compact().unwrap();
        other.sees(frames);
        drop(bus);
        other.sees(frames);
    }
}

#[test]
fn another_user_never_cries_damage() {
    let (_parent, folder) = readable();
    let Some(mut other) = Other::start(&folder) else {
        return;
    };
    publish(&opened(&folder), 10);
    let done = std::sync::atomic::AtomicBool::new(false);
    let rounds = std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..30 {
                let bus = opened(&folder);
                (0..20).for_each(|n| publish(&bus, 1 + n * 5));
                let limits = Retention {
                    max_frames: Some(500),
                    ..Retention::default()
                };
                bus.archive().retain(&limits).unwrap();
                bus.archive().compact().unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let (mut rounds, mut before) = (0, 0);
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let answer = other.ask(["again", "open"][rounds % 2]);
            let last = answer
                .split_once(' ')
                .and_then(|it| it.1.parse::<u64>().ok());
            let last = last.unwrap_or_else(|| panic!("{answer}"));
            assert!(last >= before, "{answer} after {before}");
            before = last;
            rounds += 1;
        }
        rounds
    });
    assert!(rounds > 3, "{rounds}");
}

#[test]
fn another_user_reads_what_a_killed_writer_has_left() {
    let (_parent, folder) = readable();
    let Some(mut other) = Other::start(&folder) else {
        return;
    };
    let bus = opened(&folder);
    publish(&bus, 100);
    // As a kill leaves it.
    let left = folder.with_file_name("left");
    fs::create_dir(&left).unwrap();
    fs::set_permissions(&left, Permissions::from_mode(0o755)).unwrap();
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), left.join(file.file_name())).unwrap();
    }
    Other::start(&left).unwrap().sees(100);
    // Without the shared memory's file nobody can say what of the log counts.
    fs::remove_file(left.join("frames.sqlite-shm")).unwrap();
    let mut of_left = Other::start(&left).unwrap();
    let answer = of_left.ask("open");
    assert!(answer.contains("as a user who may write"), "{answer}");
    publish(&opened(&left), 1);
    of_left.sees(101);
    // What it may not read is no damage either.
    fs::set_permissions(folder.join("frames.sqlite"), Permissions::from_mode(0o600)).unwrap();
    let answer = other.ask("open");
    assert!(answer.starts_with("ArchiveUnavailable"), "{answer}");
}
