//! An archive's folder: its lock, the files that it is expected to hold, and whether they are still
//! the ones that are open.

use super::error::{Doing, Stored, damaged};
use super::origin::OPENED;
use super::schema::{FILE, PAGE};
use crate::event::{AgentError, AgentErrorKind};
use fs4::fs_std::FileExt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Returns the path of the database's write-ahead log.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join(format!("{FILE}-wal"))
}

/// The right to be the folder's only writer. The system releases it when the process ends, however
/// it ends.
///
/// What is locked is the folder that the database is in, so removing the lock's file lets nobody in.
/// Where folders can't be locked, the file alone is.
#[derive(Debug)]
pub(super) struct FolderLock {
    /// The file `lock`. Its text is the number of the process that has it.
    file: File,
    /// The folder, where the system can lock it.
    folder: Option<File>,
}

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
        let real = fs::canonicalize(folder.join(FILE));
        let real = real
            .as_deref()
            .ok()
            .and_then(Path::parent)
            .unwrap_or(folder);
        let mut lock = FolderLock { file, folder: None };
        // A folder that can't be opened or locked is guarded by the file.
        if let Ok(folder) = File::open(real) {
            match FileExt::try_lock_exclusive(&folder) {
                Ok(true) => lock.folder = Some(folder),
                Ok(false) => return Err(lock.in_use(doing)),
                Err(_) => {}
            }
        }
        if FileExt::try_lock_exclusive(&lock.file).doing(doing)? {
            return Ok(lock);
        }
        Err(lock.in_use(doing))
    }

    /// The error for a folder that another writer has.
    fn in_use(&mut self, doing: &str) -> AgentError {
        let holder = match self.text().trim().parse::<u32>() {
            Ok(process) if process == std::process::id() => "this process".to_owned(),
            Ok(process) if process > 0 => format!("process {process}"),
            _ => "another process".to_owned(),
        };
        AgentError::new(
            AgentErrorKind::ArchiveInUse,
            format!(
                "{doing}: another writer has it, in {holder}; close it there, or open it for reading"
            ),
        )
    }

    /// Returns the first 20 bytes of the file, which are all. Before version 3 of the schema they
    /// were the highest sequence number that was shown without being stored.
    pub(super) fn text(&mut self) -> String {
        let mut text = String::new();
        let read = self.file.rewind();
        // What can't be read says nothing.
        let _ = read.and_then(|()| (&self.file).take(20).read_to_string(&mut text));
        text
    }

    /// Writes into the file which process has the lock, for the errors of others.
    pub(super) fn name_holder(&mut self) {
        let process = std::process::id();
        // It only makes errors better.
        let _ = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(format!("{process:020}\n").as_bytes()));
    }
}

impl Drop for FolderLock {
    /// Releases it explicitly: a process that is just being started may still have a copy of the
    /// open files, which would keep the lock.
    fn drop(&mut self) {
        // If that fails, closing the files releases it.
        let _ = FileExt::unlock(&self.file);
        let _ = self.folder.as_ref().map(FileExt::unlock);
    }
}

/// Refuses a folder whose database was lost or cut off, which SQLite would take for a new one: a
/// new database has neither a log nor a file that says that it was opened before.
///
/// # Errors
/// [`AgentErrorKind::ArchiveDamaged`].
pub(super) fn refuse_loss(folder: &Path, doing: &str) -> Stored<()> {
    let length = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    let bytes = length(folder.join(FILE));
    // SQLite rolls back what was begun to be created.
    let is_begun = bytes > 0 && folder.join(format!("{FILE}-journal")).exists();
    if bytes >= PAGE || is_begun {
        return Ok(());
    }
    let witness = if bytes > 0 {
        "it has a page's beginning".to_owned()
    } else if length(log(folder)) > 0 {
        "its log has frames".to_owned()
    } else if folder.join(OPENED).exists() {
        format!("the file {OPENED} says that it was there")
    } else {
        return Ok(());
    };
    Err(damaged(format!(
        "{doing}: {FILE} is gone or was cut off after {bytes} bytes, but {witness}; restore the \
         folder from a backup, or choose an empty one"
    )))
}

/// Which file it is, for as long as it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// The numbers of its disk and inode; on systems without these, 0.
    inode: (u64, u64),
    born: Option<std::time::SystemTime>,
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt;
            (file.dev(), file.ino())
        };
        #[cfg(not(unix))]
        let inode = (0, 0);
        Identity {
            inode,
            born: file.created().ok(),
        }
    }
}

/// The files that are open, as the folder shows them.
#[derive(Debug)]
pub(super) struct Home {
    files: Vec<(PathBuf, Identity)>,
}

impl Home {
    /// The files of a folder that are there now. Called right after they were opened.
    pub(super) fn of(files: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let identified = files.into_iter().map(|path| {
            let identity = Identity::of(&fs::metadata(&path)?);
            Ok((path, identity))
        });
        Ok(Home {
            files: identified.collect::<io::Result<_>>()?,
        })
    }

    /// Checks that the folder still shows the files that are open: what is written or read is what
    /// others find there. Takes a microsecond a file.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveUnavailable`] if one was removed, moved or replaced.
    pub(super) fn check(&self) -> Stored<()> {
        for (path, identity) in &self.files {
            let is_there = fs::metadata(path).is_ok_and(|file| Identity::of(&file) == *identity);
            if !is_there {
                return Err(AgentError::new(
                    AgentErrorKind::ArchiveUnavailable,
                    format!(
                        "{} was removed, moved or replaced since it was opened; put the archive's \
                         folder back, or drop the archive and open the folder again",
                        path.display()
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// A file that nobody writes: what was read from it is whole if it is still the same afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Still {
    database: Identity,
    bytes: u64,
    modified: Option<std::time::SystemTime>,
}

impl Still {
    /// The folder's database; `None` if it has a log, which a writer that is at work has, or one
    /// that was killed has left.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let before = fs::metadata(folder.join(FILE)).ok()?;
        let has_log = fs::metadata(log(folder)).is_ok_and(|log| log.len() > 0);
        (!has_log).then(|| Still {
            database: Identity::of(&before),
            bytes: before.len(),
            modified: before.modified().ok(),
        })
    }
}
