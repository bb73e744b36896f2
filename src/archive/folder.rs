//! The lock of an archive's folder, and what stands in its file.

use super::error::{Doing, Stored};
use crate::event::{AgentError, AgentErrorKind};
use fs4::fs_std::FileExt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Whoever has it is the folder's only writer. The system takes it back when the process ends,
/// however it ends. Its file holds the highest number that was shown on the journal's bus without
/// being stored.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl FolderLock {
    /// Takes the lock of a folder that is there.
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

    /// Notes that numbers up to this one were shown, before they are: no later process may give
    /// them to other frames. In place, so that it can be done on a full disk.
    pub(super) fn note_shown(&mut self, number: u64) -> io::Result<()> {
        let file = &mut self.0;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(format!("{number:020}\n").as_bytes())?;
        file.sync_data()
    }

    /// Returns the highest number that was noted as shown.
    pub(super) fn shown(&mut self) -> u64 {
        let mut text = String::new();
        let file = &mut self.0;
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.take(20).read_to_string(&mut text));
        read.ok().and_then(|_| text.parse().ok()).unwrap_or(0)
    }
}

impl Drop for FolderLock {
    /// Gives it back by name: a process that is just being started may still have a copy of the
    /// file, which would hold it.
    fn drop(&mut self) {
        // If it can't be, closing the file does it.
        let _ = FileExt::unlock(&self.0);
    }
}
