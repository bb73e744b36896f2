//! Reads recorded agent runs into a neutral form: a list of steps, each named by an event kind.
//!
//! Five public recording formats are read ([`Source`]). [`read_paths`] reads files and folders,
//! [`read_recording`] one file; [`samples`] names the recordings that come with the project.
//! [`Body::event`] makes an event of a step.
//!
//! # What a run keeps
//!
//! Whatever its file holds,
//! - a run begins with `RunStarted` and ends with exactly one terminal kind of the run family;
//! - every item that a step opens (a turn, a model attempt, a tool call, a hook, a sub-agent, an
//!   output dispatch) is closed exactly once, before the run's last step;
//! - the texts of a run's `ModelStreamDelta` steps, joined, are the recorded model text byte for
//!   byte;
//! - steps stand in the order of the file. Recorded times may run backwards; they are kept as
//!   they are and order nothing.
//!
//! The first two hold because only one type, the builder of runs, makes steps; the third because
//! [`cut`] only ever splits.
//!
//! # Errors
//!
//! A file that can't be read costs itself alone, and a bad record of a format of records costs
//! itself alone, wherever lines begin and end. Each [`RecordingError`] names the file and the line,
//! and says what to do. What costs nothing but itself, such as half a character or a record that is
//! repeated, is told once a file for each [`Mend`]; [`Problem::is_loss`] tells it from the others.
#![forbid(unsafe_code)]

mod builder;
pub mod cut;
mod detect;
mod error;
mod files;
mod formats;
mod json;
mod limits;
mod lines;
mod mend;
mod reading;
mod records;
mod run;
mod values;

pub use error::{Mend, Problem, RecordingError};
pub use files::{Progress, read_paths, read_paths_with_progress, read_recording};
pub use run::{Body, RecordedRun, Source, Step};

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// How many tokens (pieces of the form `\s*\S+`) make one delta where the source holds whole
    /// messages. Recorded stream chunks stay one delta each.
    pub tokens_per_delta: NonZeroUsize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            tokens_per_delta: cut::TOKENS_PER_DELTA,
        }
    }
}

/// Returns the folder of the sample recordings, as it was when this crate was compiled.
///
/// Each source's folder holds their licence and says where they are from.
pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}
