//! One file under way: what a format's reader is given, and what it adds to.

use crate::builder::RunBuilder;
use crate::error::Mend;
use crate::{Problem, ReadOptions, RecordedRun, RecordingError, Source};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The endings that a recording's name may have. Longer ones come before their own endings.
const ENDINGS: [&str; 6] = [
    ".traj.json",
    ".chunks.txt",
    ".jsonl",
    ".json",
    ".traj",
    ".txt",
];

/// What was read of all files so far that must not count again: the records, by a hash of what a
/// copy of them has as well.
#[derive(Default)]
pub struct Seen(HashSet<u64>);

/// What one file was found to hold so far.
pub struct Reading<'a> {
    path: PathBuf,
    options: &'a ReadOptions,
    seen: &'a mut Seen,
    /// The ids of its records so far, and of its model messages.
    ids: HashSet<Box<str>>,
    messages: HashSet<Box<str>>,
    /// The runs that were read whole. The format's reader adds them.
    pub runs: Vec<RecordedRun>,
    /// What could not be used or was mended.
    errors: Vec<RecordingError>,
    /// Where in `errors` each kind of mend is told.
    mended: HashMap<Mend, usize>,
}

impl<'a> Reading<'a> {
    pub fn new(path: &Path, options: &'a ReadOptions, seen: &'a mut Seen) -> Self {
        Self {
            path: path.to_owned(),
            options,
            seen,
            ids: HashSet::new(),
            messages: HashSet::new(),
            runs: Vec::new(),
            errors: Vec::new(),
            mended: HashMap::new(),
        }
    }

    /// Returns the runs, and the errors in the order of the file.
    pub fn finish(mut self) -> (Vec<RecordedRun>, Vec<RecordingError>) {
        self.errors.sort_by_key(|error| error.line);
        (self.runs, self.errors)
    }

    /// Returns the file's name without its ending, if that is a known one.
    pub fn stem(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
        stem.unwrap_or(&name).to_owned()
    }

    /// Returns the name of the folder that holds the file.
    pub fn folder(&self) -> Option<String> {
        let folder = self.path.parent()?.file_name()?;
        Some(folder.to_string_lossy().into_owned())
    }

    /// Adds an error about this file. What was mended is told once for each kind, at its first
    /// place, and counted.
    pub fn error(&mut self, line: Option<u64>, problem: Problem) {
        if let Problem::Mended { what, .. } = problem
            && let Some(&index) = self.mended.get(&what)
        {
            if let Problem::Mended { times, .. } = &mut self.errors[index].problem {
                *times += 1;
            }
            return;
        }
        if let Problem::Mended { what, .. } = problem {
            self.mended.insert(what, self.errors.len());
        }
        let error = RecordingError::new(self.path.clone(), line, problem);
        self.errors.push(error);
    }

    /// Tells whether a record is read for the first time, and if not, adds an error.
    ///
    /// A session that was resumed repeats records: in its own file, where the `uuid` tells them, or
    /// in another, with the name of another session in them.
    pub fn is_new(&mut self, line: u64, record: &Value) -> bool {
        let mut hasher = DefaultHasher::new();
        let mut new = true;
        if let Some(id) = record["uuid"].as_str() {
            new = self.ids.insert(id.into());
            let copied = ["type", "timestamp", "message"].map(|key| record[key].to_string());
            (id, copied).hash(&mut hasher);
        } else {
            record.to_string().hash(&mut hasher);
        }
        new &= self.seen.0.insert(hasher.finish());
        if !new {
            let what = Mend::Repeated;
            self.error(Some(line), Problem::Mended { what, times: 1 });
        }
        new
    }

    /// Tells whether a model message is read for the first time in this file.
    pub fn is_new_message(&mut self, id: &str) -> bool {
        self.messages.insert(id.into())
    }

    /// Returns the builder of a run that is named after this file; a further one also after its
    /// number.
    pub fn builder(&self, source: Source) -> RunBuilder {
        let mut name = self.stem();
        if !self.runs.is_empty() {
            name = format!("{name}/{}", self.runs.len() + 1);
        }
        RunBuilder::new(source, name, self.options.tokens_per_delta)
    }
}
