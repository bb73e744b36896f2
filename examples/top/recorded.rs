//! What is played: recordings that were named, or the project's samples.

use crate::player::Play;
use crate::trace;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// What these folders hold, in so many runs; says on the terminal what is left out of it.
pub fn recorded(mut paths: Vec<PathBuf>, runs: usize) -> Play {
    if paths.is_empty() {
        paths.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data"));
    }
    let read = trace::ReadOptions {
        tokens_per_delta: NonZeroUsize::MIN.saturating_add(3),
    };
    let (recorded, errors) = trace::read_folder(&paths, &read);
    for error in &errors {
        eprintln!("left out: {error}");
    }
    Play::new(recorded, runs, 0)
}
