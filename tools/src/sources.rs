//! Where the recordings are that a tool plays or keeps.

use crate::progress;
use clap::Args;
use framebus_recordings::{ReadOptions, RecordedRun, RecordingError, read_paths, samples};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Sources {
    /// Recordings, or folders of them [default: the sample data of the project].
    paths: Vec<PathBuf>,
}

/// What the sources hold.
pub struct Recorded {
    pub runs: Vec<RecordedRun>,
    /// What could not be read. It was named on the standard error.
    pub left_out: Vec<RecordingError>,
}

impl Sources {
    /// How many paths are read.
    pub fn count(&self) -> usize {
        self.paths.len().max(1)
    }

    /// Reads all of them, and names on the standard error what is left out.
    pub fn read(&self, options: &ReadOptions) -> Recorded {
        let samples = [samples()];
        let paths = match self.paths.as_slice() {
            [] => &samples,
            named => named,
        };
        let reading = progress::spinner("{spinner} reading recordings ({elapsed})");
        let (runs, left_out) = read_paths(paths, options);
        reading.finish_and_clear();
        for error in &left_out {
            eprintln!("left out: {error}");
        }
        Recorded { runs, left_out }
    }
}
