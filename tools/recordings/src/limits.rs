//! How much of a file is held in memory at once.

/// The longest line that is read, in bytes: 16 MiB.
pub const MAX_LINE: usize = 16 << 20;

/// The largest single document that is read, in bytes: 64 MiB.
pub const MAX_DOCUMENT: u64 = 64 << 20;
