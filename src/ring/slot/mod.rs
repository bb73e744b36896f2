//! The slots of a lane: their arithmetic, their words and their frames.

#[allow(unsafe_code, reason = "allocates")]
mod array;
mod filter;
mod geometry;
#[allow(unsafe_code, reason = "holds frames inline")]
mod slots;
mod stamp;

pub(crate) use array::{Array, pointers, words};
pub use filter::{CLASS_BITS, TagFilter};
pub use geometry::{Geometry, MAX_WINDOW};
pub(crate) use slots::{Order, Slots};
pub use stamp::TAG_BITS;
