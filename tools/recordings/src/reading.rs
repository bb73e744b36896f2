//! One file under way: what a format's reader is given, and what it adds to.

use crate::builder::RunBuilder;
use crate::{Problem, ReadOptions, RecordedRun, RecordingError, Source};
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

/// What one file was found to hold so far.
pub struct Reading<'a> {
    path: PathBuf,
    options: &'a ReadOptions,
    /// The runs that were read whole. The format's reader adds them.
    pub runs: Vec<RecordedRun>,
    /// What could not be used, in the order of the file.
    pub errors: Vec<RecordingError>,
}

impl<'a> Reading<'a> {
    pub fn new(path: &Path, options: &'a ReadOptions) -> Self {
        Self {
            path: path.to_owned(),
            options,
            runs: Vec::new(),
            errors: Vec::new(),
        }
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

    /// Adds an error about this file.
    pub fn error(&mut self, line: Option<u64>, problem: Problem) {
        let error = RecordingError::new(self.path.clone(), line, problem);
        self.errors.push(error);
    }

    /// Returns the builder of a run that is named after this file.
    pub fn builder(&self, source: Source) -> RunBuilder {
        RunBuilder::new(source, self.stem(), self.options.tokens_per_delta)
    }
}
