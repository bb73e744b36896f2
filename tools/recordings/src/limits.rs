//! How much of a file is held in memory at once, and how much is looked at.

/// The longest line that is read, in bytes: 16 MiB.
pub const MAX_LINE: usize = 16 << 20;

/// The largest single document that is read, in bytes: 64 MiB.
pub const MAX_DOCUMENT: u64 = 64 << 20;

/// How deep a value may be nested: the parser reads a little deeper, 127 levels.
pub const MAX_DEPTH: usize = 120;

/// How much of a file is looked at for a record of a known format, in bytes: 64 MiB.
pub const MAX_LOOKED_AT: u64 = 64 << 20;
