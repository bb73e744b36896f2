//! The stores, behind one small trait.

mod fjall;
mod redb;
mod rows;
mod sqlite;

pub use fjall::Fjall;
pub use redb::Redb;
pub use rows::Rows;
pub use sqlite::Sqlite;

use crate::workload::Block;
use anyhow::Result;
use std::path::Path;

/// What is indexed of a block: the times of its first and its last frame, and its kinds.
type Meta = (i64, i64, u128);

/// A store of blocks, or of the frames in them.
pub trait Store: Sized {
    /// As it stands in the table.
    const NAME: &'static str;

    /// Opens the store in a folder, or makes it there.
    fn open(folder: &Path) -> Result<Self>;

    /// Appends blocks. They are durable when this returns.
    fn append(&mut self, blocks: &[Block]) -> Result<()>;

    /// Decodes what is stored with this sequence; returns how many frames that were.
    fn by_sequence(&self, sequence: u64) -> Result<u64>;

    /// Returns the sequences of what holds frames of a run.
    fn by_run(&self, run: u64) -> Result<Vec<u64>>;

    /// Returns the sequences of what holds frames of an agent, `most` at most.
    fn by_agent(&self, agent: u64, most: usize) -> Result<Vec<u64>>;

    /// Counts what holds frames of a kind.
    fn by_kind(&self, kind: u8) -> Result<usize>;

    /// Returns the sequence of the first that ends at this time or later.
    fn by_time(&self, time: i64) -> Result<Option<u64>>;

    /// Gives the bytes of all, from a sequence on.
    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()>;
}
