//! Walks folders and hands each file to the reader of its format.
//!
//! Files are read in the order of their paths, so that a reading is the same on every machine.
//! Memory holds one line or one document at a time, beside the steps that it became.

use crate::detect::{Detected, Fault, Format, detect};
use crate::formats::{claude_code, mini_swe, swe_agent, tau_bench, vercel_sse};
use crate::reading::{Reading, Seen};
use crate::records::{Records, decoded};
use crate::{Problem, ReadOptions, RecordedRun, RecordingError};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How far a reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The files that there are.
    pub files: usize,
    /// Of these, how many were read.
    pub files_read: usize,
    /// The bytes in all files.
    pub bytes: u64,
    /// Of these, how many were read.
    pub bytes_read: u64,
}

/// Reads every recording in `paths`: files, and folders with all they hold.
///
/// Licences (`LICENSE`) and notes (`*.md`) are passed over. A file that can't be used gives an
/// error and the others are still read; a bad line gives an error and the rest of its file is
/// still read. Sub-agents are runs of their own, with `parent` set where the parent was read too.
///
/// A record that was read before counts once, also where a resumed session repeats it in another
/// file. A run that was read before gives an error; where only its id was, as for two files of one
/// name, the folders of the later one become part of its id.
pub fn read_paths(
    paths: &[PathBuf],
    options: &ReadOptions,
) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    read_paths_with_progress(paths, options, |_| {})
}

/// Reads as [`read_paths`] does, and says after each piece of a file how far it is.
pub fn read_paths_with_progress(
    paths: &[PathBuf],
    options: &ReadOptions,
    mut tell: impl FnMut(Progress),
) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    let mut errors = Vec::new();
    let files = find_files(paths, &mut errors);
    let mut progress = Progress {
        files: files.len(),
        bytes: files.values().sum(),
        ..Progress::default()
    };
    tell(progress);
    let mut all = Runs::default();
    let mut seen = Seen::default();
    for (path, length) in files {
        let before = progress.bytes_read;
        match File::open(&path) {
            Ok(file) => {
                let file = Metered {
                    inner: file,
                    at: 0,
                    tell: |at: u64| {
                        // The leading records are read twice. A file may grow meanwhile.
                        progress.bytes_read = progress.bytes_read.max(before + at.min(length));
                        tell(progress);
                    },
                };
                let mut reading = Reading::new(&path, options, &mut seen);
                read(&mut reading, file);
                let (runs, problems) = reading.finish();
                errors.extend(problems);
                for run in runs {
                    all.add(run, &path, &mut errors);
                }
            }
            Err(error) => errors.push(unreadable(&path, error)),
        }
        progress.files_read += 1;
        progress.bytes_read = before + length;
        tell(progress);
    }
    claude_code::link_sub_agents(&mut all.runs);
    (all.runs, errors)
}

/// Runs with ids of their own.
#[derive(Default)]
struct Runs {
    runs: Vec<RecordedRun>,
    /// Where in `runs` each id is.
    ids: HashMap<Arc<str>, usize>,
}

impl Runs {
    /// Adds a run of the file at `path`, under another id if its own is another run's.
    fn add(&mut self, mut run: RecordedRun, path: &Path, errors: &mut Vec<RecordingError>) {
        let id = Arc::clone(&run.run_id);
        let mut ids = longer_ids(&run, path);
        while let Some(&index) = self.ids.get(&run.run_id) {
            let other = &self.runs[index];
            if other.steps == run.steps && other.agent_id == run.agent_id {
                let problem = Problem::DuplicateRun(id.to_string());
                errors.push(RecordingError::new(path.to_owned(), None, problem));
                return;
            }
            run.run_id = ids.next().unwrap_or_else(|| Arc::clone(&id));
        }
        self.ids.insert(Arc::clone(&run.run_id), self.runs.len());
        self.runs.push(run);
    }
}

/// Returns ids for a run whose own is taken: with more and more of the folders that hold its file,
/// then with numbers.
fn longer_ids(run: &RecordedRun, path: &Path) -> impl Iterator<Item = Arc<str>> + use<> {
    let source = run.source;
    let prefix = format!("{source}/");
    let name = run.run_id.strip_prefix(&prefix).unwrap_or(&run.run_id);
    let mut name = name.to_owned();
    let folders = path.parent().into_iter().flat_map(Path::ancestors);
    let folders = folders.filter_map(|folder| Some(folder.file_name()?.to_string_lossy()));
    let mut folders: Vec<String> = folders.map(Into::into).collect();
    // Some names hold the file's own folder.
    if folders
        .first()
        .is_some_and(|folder| name.starts_with(&format!("{folder}/")))
    {
        folders.remove(0);
    }
    let plain = name.clone();
    let longer: Vec<_> = folders
        .into_iter()
        .map(|folder| {
            name.insert_str(0, &format!("{folder}/"));
            format!("{prefix}{name}")
        })
        .collect();
    let numbered = (2..).map(move |number: u64| format!("{source}/{plain}/{number}"));
    longer.into_iter().chain(numbered).map(Into::into)
}

/// A file that says how far it was read.
struct Metered<T> {
    inner: File,
    at: u64,
    tell: T,
}

impl<T: FnMut(u64)> Read for Metered<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        (self.tell)(self.at);
        Ok(count)
    }
}

impl<T> Seek for Metered<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.inner.seek(to)?;
        Ok(self.at)
    }
}

/// Reads one recording from `input`. `path` names it in run ids and errors.
///
/// The content tells the format. A recording may hold several runs, and errors beside them.
pub fn read_recording(
    path: &Path,
    input: impl Read + Seek,
    options: &ReadOptions,
) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    let mut seen = Seen::default();
    let mut reading = Reading::new(path, options, &mut seen);
    read(&mut reading, input);
    reading.finish()
}

/// Reads one recording.
fn read(reading: &mut Reading<'_>, mut input: impl Read + Seek) {
    let detected = detect(&mut input).and_then(|found| {
        input.rewind()?;
        Ok(found)
    });
    match detected {
        Ok(Detected::Records(format, framing)) => {
            let mut records = Records::new(decoded(input), framing, format.is_record());
            match format {
                Format::ClaudeCode => claude_code::read(&mut records, reading),
                Format::TauBench => tau_bench::read(&mut records, reading),
                Format::VercelSse => vercel_sse::read(&mut records, reading),
            }
        }
        Ok(Detected::Documents(documents)) => {
            for (line, document) in documents {
                match document {
                    Ok(it) if mini_swe::recognises(&it) => mini_swe::read(&it, reading),
                    Ok(it) if swe_agent::recognises(&it) => swe_agent::read(&it, reading),
                    Ok(_) => reading.error(Some(line), Problem::Foreign),
                    Err(problem) => reading.error(Some(line), problem),
                }
            }
        }
        Err(Fault { line, problem }) => reading.error(line, problem),
    }
}

/// Returns the files below `paths` that may be recordings, each once, in the order of their paths,
/// with their lengths.
fn find_files(paths: &[PathBuf], errors: &mut Vec<RecordingError>) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    // What the caller names may be a link; links inside a folder lead to files only, so that no
    // walk runs in circles.
    let mut folders = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => folders.push(path.clone()),
            Ok(found) if found.is_file() => drop(files.insert(path.clone(), found.len())),
            Ok(_) => errors.push(RecordingError::new(path.clone(), None, Problem::NotAFile)),
            Err(error) => errors.push(unreadable(path, error)),
        }
    }
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                errors.push(unreadable(&folder, error));
                continue;
            }
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    errors.push(unreadable(&folder, error));
                    break;
                }
            };
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => folders.push(path),
                Ok(_) if is_note(&path) => {}
                Ok(_) if path.is_dir() => {}
                Ok(_) if path.is_file() => {
                    let length = fs::metadata(&path).map_or(0, |found| found.len());
                    files.insert(path, length);
                }
                Ok(_) => errors.push(RecordingError::new(path, None, Problem::NotAFile)),
                Err(error) => errors.push(unreadable(&path, error)),
            }
        }
    }
    files
}

/// Tells whether a file accompanies the recordings: a licence or a Markdown note.
fn is_note(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "LICENSE")
        || path.extension().is_some_and(|ending| ending == "md")
}

fn unreadable(path: &Path, error: std::io::Error) -> RecordingError {
    RecordingError::new(path.to_owned(), None, Problem::Unreadable(error))
}
