//! Values that belong to one process.
//!
//! A forked child has a copy of its parent's memory, and one of its threads. The journal's thread
//! and the archivers' are not there; a lock that one of the other threads held is never released;
//! SQLite forbids to use, and even to close, a connection that the parent opened; and both share
//! the folder's lock, so that the child would release its parent's. Therefore an archive holds
//! these as [`Local`]: in a child it can't be reached, and is leaked when it is dropped.

use super::error::Stored;
use crate::event::AgentError;
use std::process::id;
use std::sync::atomic::{AtomicU64, Ordering};

/// The error of every call in a child.
pub(super) fn forked() -> AgentError {
    AgentError::contract_violation(
        "the process was forked since this was opened, and only the parent can use it; open \
         archives in the process that uses them, or let the child execute a program",
    )
}

/// A value that only the process that made it can reach.
#[derive(Debug)]
pub(super) struct Local<T> {
    /// The process that made it.
    process: u32,
    /// `None` only while it is consumed or dropped.
    value: Option<T>,
}

impl<T> Local<T> {
    /// A value of the calling process.
    pub(super) fn new(value: T) -> Self {
        Local {
            process: id(),
            value: Some(value),
        }
    }

    /// Returns the value. Fails in a child.
    pub(super) fn get(&self) -> Stored<&T> {
        let value = self.value.as_ref().filter(|_| self.process == id());
        value.ok_or_else(forked)
    }

    /// Returns the value. Fails in a child, where the value is leaked.
    pub(super) fn into_inner(mut self) -> Stored<T> {
        if self.process != id() {
            return Err(forked());
        }
        self.value.take().ok_or_else(forked)
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if self.value.is_some() && self.process != id() {
            std::mem::forget(self.value.take());
        }
    }
}

/// How many [`Opened`] a process has: its id in the upper 32 bits, the count in the lower ones.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// Marks that this process has connections to an archive.
///
/// While one exists, SQLite has state in the process's memory that a forked child inherits: locks
/// that only its parent holds, and mutexes that are never released. Such a child opens no archive.
#[derive(Debug)]
pub(super) struct Opened;

impl Opened {
    /// Counts another one. Fails in a child whose parent had an archive open when it was forked.
    pub(super) fn begin() -> Stored<Self> {
        let process = u64::from(id()) << 32;
        // Relaxed: a child has its own copy, as its parent's memory was when it was forked; within
        // a process the word only counts.
        let begun = OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            match (open & !u64::from(u32::MAX) == process, open as u32) {
                (true, _) => Some(open + 1),
                (false, 0) => Some(process + 1),
                (false, _) => None,
            }
        });
        begun.map(|_| Opened).map_err(|_| forked())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Relaxed: as above. In a child this is never dropped: it is held by a `Local`.
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}
