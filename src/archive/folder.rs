//! The lock of an archive's folder, and the sequence number in its file.

use super::error::{Doing, Stored};
use crate::event::{AgentError, AgentErrorKind};
use fs4::fs_std::FileExt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The right to be the folder's only writer. The system releases it when the process ends, however
/// it ends. Its file holds the highest sequence number that was published on the journal's bus
/// without being stored.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl FolderLock {
    /// Takes the lock of a folder, which exists.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveInUse`] if another writer has it, or an error of the disk.
    pub(super) fn take(folder: &Path, doing: &str) -> Stored<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join("lock"))
            .doing(doing)?;
        if !FileExt::try_lock_exclusive(&file).doing(doing)? {
            return Err(AgentError::new(
                AgentErrorKind::ArchiveInUse,
                format!("{doing}: another writer has it; close it there, or open it for reading"),
            ));
        }
        Ok(FolderLock(file))
    }

    /// Notes, before it publishes them, that frames up to this sequence number are published: no
    /// later process may give their sequence numbers to other frames. Writes in place, so that it
    /// works on a full disk.
    pub(super) fn note_published(&mut self, sequence: u64) -> io::Result<()> {
        let file = &mut self.0;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(format!("{sequence:020}\n").as_bytes())?;
        file.sync_data()
    }

    /// Returns the highest sequence number that was noted as published; 0 if there is none.
    pub(super) fn published(&mut self) -> u64 {
        let mut text = String::new();
        let file = &mut self.0;
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.take(20).read_to_string(&mut text));
        read.ok().and_then(|_| text.parse().ok()).unwrap_or(0)
    }
}

impl Drop for FolderLock {
    /// Releases it explicitly: a process that is just being started may still have a copy of the
    /// open file, which would keep the lock.
    fn drop(&mut self) {
        // If that fails, closing the file releases it.
        let _ = FileExt::unlock(&self.0);
    }
}
