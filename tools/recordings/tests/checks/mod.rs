//! What the tests of the readers check them against.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses some of it"
)]

mod counts;
mod recorded;
mod samples;
mod well_formed;

pub use counts::COUNTS;
pub use recorded::{chunk_text, recorded_texts};
pub use samples::sample_files;
pub use well_formed::assert_well_formed;
