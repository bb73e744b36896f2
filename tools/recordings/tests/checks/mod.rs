//! What the tests of the readers check them against.

mod counts;
mod recorded;
mod well_formed;

pub use counts::COUNTS;
pub use recorded::{chunk_text, recorded_texts};
pub use well_formed::assert_well_formed;
