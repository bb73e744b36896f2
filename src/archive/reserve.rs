//! A full disk has a way out: what an archive allows itself on a disk of this size, and the
//! reserve.
//!
//! Removing frames takes room first: the log of the change, and the file's growth when the log is
//! applied. So a part of the disk is taken when the archive is opened, by a file that holds
//! nothing, and is given up when retention or compaction finds the disk full. They take it again
//! afterwards.
//!
//! Why that is enough: the log holds at most [`Limits::log`] pages, or one append, that are not yet
//! applied to the file, and the reserve has room for both. An append that is large compared to it
//! begins only with room for its log and for its growth. What another program wrote until the disk
//! was full can't change that.

use super::error::{Doing, Stored};
use super::schema::PAGE;
#[cfg(doc)]
use crate::event::AgentErrorKind;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file's name in the archive's folder.
const FILE: &str = "reserve";

/// How many bytes the reserve has: a sixteenth of the disk, within these bounds.
const RESERVE: std::ops::RangeInclusive<u64> = 384 << 10..=2 << 20;

/// How many pages of log wait at most to be applied to the file, on a disk with room.
const LOG: u64 = 4_000;

/// A part of the disk that is kept for removing frames.
#[derive(Debug)]
pub(super) struct Reserve {
    folder: PathBuf,
    size: u64,
    /// The disk's size.
    disk: u64,
}

/// What an archive allows itself on its disk, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// How many pages of log wait at most to be applied to the file.
    pub(super) log: u64,
    /// How many bytes the pieces of the tail have together before they are closed.
    pub(super) tail: u64,
}

impl Reserve {
    /// The reserve of an archive's folder, on its disk; it is not taken yet.
    pub(super) fn of(folder: &Path) -> Self {
        let disk = fs4::total_space(folder).unwrap_or(u64::MAX);
        Reserve {
            folder: folder.to_owned(),
            size: (disk / 16).clamp(*RESERVE.start(), *RESERVE.end()),
            disk,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Takes the reserve, unless it is there or the disk has no room for it and for as much again.
    pub(super) fn take(&self) {
        if !self.is_there() && self.room() >= 2 * self.size {
            // An archive without a reserve works until the disk is full.
            let written = File::create(self.path()).and_then(|file| self.fill(file));
            if written.is_err() {
                self.give();
            }
        }
    }

    /// Returns whether it is taken.
    pub(super) fn is_there(&self) -> bool {
        fs::metadata(self.path()).is_ok_and(|file| file.len() == self.size)
    }

    /// Fills the file, so that the disk has no other use for its blocks. Some disks store no zeros.
    fn fill(&self, mut file: File) -> io::Result<()> {
        let mut word: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut part = [0; 8_192];
        for _ in 0..self.size / part.len() as u64 {
            for bytes in part.chunks_exact_mut(8) {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            file.write_all(&part)?;
        }
        file.sync_data()
    }

    /// Gives the reserve up. Returns whether there was one.
    pub(super) fn give(&self) -> bool {
        fs::remove_file(self.path()).is_ok()
    }

    /// Returns how many bytes the disk has room for.
    fn room(&self) -> u64 {
        fs4::available_space(&self.folder).unwrap_or(u64::MAX)
    }

    /// Returns what the archive may allow itself now.
    pub(super) fn limits(&self) -> Limits {
        let log = (self.room() / 64).max(self.size / 4) / PAGE;
        Limits {
            log: log.min(LOG),
            tail: (self.disk / 64).min(super::block::BLOCK_BYTES as u64),
        }
    }

    /// Checks that there is room for an append of this many bytes.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveFull`] for one that is large compared to the reserve, and for which
    /// the disk has not twice the room.
    pub(super) fn check(&self, bytes: u64, doing: &str) -> Stored<()> {
        let room = if bytes > self.size / 4 {
            self.room()
        } else {
            u64::MAX
        };
        if room / 2 >= bytes {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::StorageFull)).doing(doing)
    }
}
