//! The slots of a lane: their arithmetic, their words and their frames.

#[allow(unsafe_code, reason = "allocates")]
mod array;
#[allow(unsafe_code, reason = "writes and reads the cells of a slot")]
mod cells;
#[forbid(unsafe_code)]
mod filter;
#[forbid(unsafe_code)]
mod geometry;
#[allow(unsafe_code, reason = "holds frames inline")]
mod slots;
#[forbid(unsafe_code)]
mod stamp;

pub(crate) use array::{Array, pointers, words};
pub(crate) use cells::Order;
pub use filter::{CLASS_BITS, TagFilter};
pub use geometry::{Geometry, MAX_WINDOW};
pub(crate) use slots::Slots;
pub use stamp::TAG_BITS;
