//! Recorded agent runs: five formats, one neutral form.
//!
//! [`read`] walks files and folders, finds out what each file is by its content, and gives runs of
//! [`Step`]s in the order in which the recording has them. A file that can't be used gives a
//! [`TraceError`] that names it and the line; so does a bad line in an otherwise good file. The
//! others are still read.

mod claude_code;
mod mini_swe;
mod script;
mod swe_agent;
mod tau_bench;
mod vercel_sse;

use framebus::EventKind;
use script::Script;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KNOWN: &str = "claude-code JSON lines, mini-swe-agent JSON, tau-bench JSON lines, SWE-agent \
                     .traj, provider stream chunks";

/// The most bytes that a recording may have.
const MAX_FILE: u64 = 256 << 20;

/// A recorded run.
#[derive(Clone, Debug)]
pub struct TraceRun {
    /// `<source>/<file>`, with what tells the runs of one file apart.
    pub run_id: String,
    /// The model or sub-agent.
    pub agent_id: String,
    /// The recording's format.
    pub source: &'static str,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Step {
    /// What.
    pub kind: EventKind,
    /// What was said, if anything.
    pub text: Option<Arc<str>>,
    /// Whether that is what a model or a tool said, and not about it.
    pub content: bool,
    /// When, in microseconds since the Unix epoch.
    pub at_micros: Option<i64>,
}

/// What could not be read.
#[derive(Clone, Debug)]
pub struct TraceError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What a reader of one format gets.
struct Source<'a> {
    /// The file's path below its source's folder, without the ending.
    name: &'a str,
    text: &'a str,
    tokens_per_delta: usize,
    errors: Vec<(usize, String)>,
    runs: Vec<TraceRun>,
}

impl<'a> Source<'a> {
    fn script(&self, source: &'static str, suffix: &str, agent: &str) -> Script {
        let run_id = format!("{source}/{}{suffix}", self.name);
        Script::new(source, run_id, agent, self.tokens_per_delta)
    }

    /// The lines that are JSON objects, with their numbers; the others are reported.
    fn json_lines(&mut self) -> Vec<(usize, Value)> {
        let mut lines = Vec::new();
        for (number, line) in self.text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            match serde_json::from_str(line) {
                Ok(value @ Value::Object(_)) => lines.push((number + 1, value)),
                Ok(_) => self.bad(number + 1, "not a JSON object; the line is left out"),
                Err(error) => self.bad(
                    number + 1,
                    &format!("not JSON ({error}); the line is left out"),
                ),
            }
        }
        lines
    }

    fn bad(&mut self, line: usize, message: &str) {
        self.errors.push((line, message.to_owned()));
    }
}

/// Reads all recordings at or below `paths`, in the order of their names. `progress` is told of
/// each file before it is read.
pub fn read(
    paths: &[PathBuf],
    tokens_per_delta: usize,
    mut progress: impl FnMut(&Path),
) -> (Vec<TraceRun>, Vec<TraceError>) {
    let (mut runs, mut errors) = (Vec::new(), Vec::new());
    let mut files = Vec::new();
    for path in paths {
        walk(path, path, &mut files, &mut errors);
    }
    for (root, file) in &files {
        progress(file);
        let error = |line, message| TraceError {
            file: file.clone(),
            line,
            message,
        };
        let text = match read_text(file) {
            Ok(text) => text,
            Err((line, message)) => {
                errors.push(error(line, message));
                continue;
            }
        };
        let name = name_of(root, file);
        let mut source = Source {
            name: &name,
            text: &text,
            tokens_per_delta: tokens_per_delta.max(1),
            errors: Vec::new(),
            runs: Vec::new(),
        };
        if let Err((line, message)) = dispatch(&mut source) {
            source.errors.push((line, message));
        }
        runs.append(&mut source.runs);
        errors.extend(
            source
                .errors
                .into_iter()
                .map(|(line, message)| error(Some(line), message)),
        );
    }
    (runs, errors)
}

fn walk(
    root: &Path,
    path: &Path,
    files: &mut Vec<(PathBuf, PathBuf)>,
    errors: &mut Vec<TraceError>,
) {
    let mut fail = |error: std::io::Error| {
        errors.push(TraceError {
            file: path.to_owned(),
            line: None,
            message: error.to_string(),
        });
    };
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path == root || !(name == "LICENSE" || name.ends_with(".md") || name.starts_with('.')) {
            files.push((root.to_owned(), path.to_owned()));
        }
        return;
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return fail(error),
    };
    let mut below = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => below.push(entry.path()),
            Err(error) => fail(error),
        }
    }
    below.sort();
    below
        .iter()
        .for_each(|path| walk(root, path, files, errors));
}

/// A file as text, or the line at which it is none.
fn read_text(file: &Path) -> Result<String, (Option<usize>, String)> {
    let fail = |error: std::io::Error| (None, error.to_string());
    let size = std::fs::metadata(file).map_err(fail)?.len();
    if size > MAX_FILE {
        return Err((
            None,
            format!("{size} bytes are more than {MAX_FILE}; split the recording"),
        ));
    }
    let bytes = std::fs::read(file).map_err(fail)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        (
            Some(line),
            format!("not text in UTF-8, so no recording; known are {KNOWN}"),
        )
    })
}

/// The path below the folder that was asked for, without that folder's own source name twice.
fn name_of(root: &Path, file: &Path) -> String {
    let below = file
        .strip_prefix(root)
        .ok()
        .filter(|below| !below.as_os_str().is_empty());
    let name = below.unwrap_or_else(|| Path::new(file.file_name().unwrap_or_default()));
    let mut name = name.with_extension("").to_string_lossy().into_owned();
    for source in [
        claude_code::NAME,
        mini_swe::NAME,
        swe_agent::NAME,
        tau_bench::NAME,
        vercel_sse::NAME,
    ] {
        if let Some(rest) = name
            .strip_prefix(source)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            name = rest.to_owned();
        }
    }
    name
}

/// Finds out what a file is and reads it.
fn dispatch(source: &mut Source<'_>) -> Result<(), (usize, String)> {
    let lines = || {
        source
            .text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let Some(first) = lines().next() else {
        return Err((1, "the file is empty; record it again".to_owned()));
    };
    if let Ok(first) = serde_json::from_str::<Value>(first) {
        // A format by lines, unless the first line is all there is.
        if first.get("traj").is_some() {
            tau_bench::read(source);
            return Ok(());
        } else if claude_code::is_line(&first) {
            claude_code::read(source);
            return Ok(());
        } else if vercel_sse::is_chunk(&first) {
            vercel_sse::read(source);
            return Ok(());
        }
    }
    match serde_json::from_str::<Value>(source.text) {
        Ok(whole) if whole.get("trajectory").is_some_and(Value::is_array) => {
            swe_agent::read(source, &whole);
            Ok(())
        }
        Ok(whole) if whole.get("messages").is_some_and(Value::is_array) => {
            mini_swe::read(source, &whole);
            Ok(())
        }
        Ok(_) => Err((
            1,
            format!("JSON, but no recording of a known format; known are {KNOWN}"),
        )),
        Err(error) => {
            let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
            if lines()
                .filter_map(parsed)
                .any(|line| vercel_sse::is_chunk(&line))
            {
                vercel_sse::read(source);
                return Ok(());
            }
            let message = match error.is_eof() && first.starts_with('{') {
                true => format!("the file ends inside its JSON ({error}); copy it again"),
                false => format!("no recording ({error}); known are {KNOWN}"),
            };
            Err((error.line().max(1), message))
        }
    }
}

/// A field of an object as text; empty if it is none.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A field of an object as a list; empty if it is none.
fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
