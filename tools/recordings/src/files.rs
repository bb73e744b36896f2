//! Walks folders and hands each file to the reader of its format.
//!
//! Files are read in the order of their paths, so that a reading is the same on every machine.
//! Memory holds one line or one document at a time, beside the steps that it became.

use crate::detect::{Detected, detect};
use crate::formats::{claude_code, mini_swe, swe_agent, tau_bench, vercel_sse};
use crate::lines::Lines;
use crate::reading::Reading;
use crate::{Problem, ReadOptions, RecordedRun, RecordingError};
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads every recording in `paths`: files, and folders with all they hold.
///
/// Licences (`LICENSE`) and notes (`*.md`) are passed over. A file that can't be used gives an
/// error and the others are still read; a bad line gives an error and the rest of its file is
/// still read. Sub-agents are runs of their own, with `parent` set where the parent was read too.
pub fn read_paths(
    paths: &[PathBuf],
    options: &ReadOptions,
) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    let mut runs = Vec::new();
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for path in find_files(paths, &mut errors) {
        let (found, problems) = match File::open(&path) {
            Ok(file) => read_recording(&path, BufReader::new(file), options),
            Err(error) => {
                errors.push(unreadable(&path, error));
                continue;
            }
        };
        errors.extend(problems);
        for run in found {
            if seen.insert(Arc::clone(&run.run_id)) {
                runs.push(run);
            } else {
                let problem = Problem::DuplicateRun(run.run_id.to_string());
                errors.push(RecordingError::new(path.clone(), None, problem));
            }
        }
    }
    claude_code::link_sub_agents(&mut runs);
    (runs, errors)
}

/// Reads one recording from `input`. `path` names it in run ids and errors.
///
/// The content tells the format. A recording may hold several runs, and errors beside them.
pub fn read_recording(
    path: &Path,
    mut input: impl BufRead + Seek,
    options: &ReadOptions,
) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    let mut reading = Reading::new(path, options);
    let detected = detect(&mut input).and_then(|detected| match input.rewind() {
        Ok(()) => Ok(detected),
        Err(error) => Err((None, Problem::Unreadable(error))),
    });
    match detected {
        Ok(Detected::ClaudeCode) => claude_code::read(&mut Lines::new(input), &mut reading),
        Ok(Detected::TauBench) => tau_bench::read(&mut Lines::new(input), &mut reading),
        Ok(Detected::VercelSse) => vercel_sse::read(&mut Lines::new(input), &mut reading),
        Ok(Detected::MiniSwe(document)) => mini_swe::read(&document, &mut reading),
        Ok(Detected::SweAgent(document)) => swe_agent::read(&document, &mut reading),
        Err((line, problem)) => reading.error(line, problem),
    }
    (reading.runs, reading.errors)
}

/// Returns the files below `paths` that may be recordings, each once, in the order of their paths.
fn find_files(paths: &[PathBuf], errors: &mut Vec<RecordingError>) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    // What the caller names may be a link; links inside a folder lead to files only, so that no
    // walk runs in circles.
    let mut folders = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => folders.push(path.clone()),
            Ok(found) if found.is_file() => drop(files.insert(path.clone())),
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
                Ok(_) if path.is_file() => drop(files.insert(path)),
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
