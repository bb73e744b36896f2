//! Where the recordings are that a tool plays or keeps.

use crate::{output, progress};
use clap::Args;
use framebus_recordings::{
    ReadOptions, RecordedRun, RecordingError, read_paths_with_progress, samples,
};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Sources {
    /// Recordings, or folders of them [default: the sample data of the project].
    paths: Vec<PathBuf>,
}

/// What the sources hold.
pub struct Recorded {
    pub runs: Vec<RecordedRun>,
    /// What could not be read, and what was read otherwise than it stands there. It was named on
    /// the standard error.
    pub left_out: Vec<RecordingError>,
}

impl Sources {
    /// Reads all of them, and names on the standard error what is left out.
    pub fn read(&self, options: &ReadOptions) -> Recorded {
        let samples = [samples()];
        let paths = match self.paths.as_slice() {
            [] => &samples,
            named => named,
        };
        let template = "{wide_bar} {bytes}/{total_bytes}, {msg} files read";
        let reading = progress::bar(0, template);
        let mut files = 0;
        let (runs, left_out) = read_paths_with_progress(paths, options, |progress| {
            if files != progress.files_read + 1 {
                files = progress.files_read + 1;
                reading.set_message(format!("{}/{}", progress.files_read, progress.files));
            }
            reading.set_length(progress.bytes);
            reading.set_position(progress.bytes_read);
        });
        reading.finish_and_clear();
        for error in &left_out {
            let what = if error.problem.is_loss() {
                "left out"
            } else {
                "noticed"
            };
            output::error(format_args!("{what}: {error}"));
        }
        Recorded { runs, left_out }
    }
}
