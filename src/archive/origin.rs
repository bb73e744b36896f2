//! Whether a folder's archive is the one that was last opened there or a copy, and the sequence
//! numbers that were shown without being stored.
//!
//! Each opening for writing puts a new file `opened` in place of the one before, and records in the
//! database which file it is. So these are told from the original: a copy of the folder, whose
//! `opened` is another file; a database that was put back without it; and an older copy that was
//! written over the files, whose database knows an earlier `opened`. A file is the same if its
//! inode and its time of birth are, whoever owns it now, or if the time of its last change is,
//! which no copy can have: some disks that containers share number their inodes anew at each start.
//!
//! Not told, since all of it is as it was: a disk that was rolled back to a snapshot. That is what
//! [`JournalEpoch::New`] is for.
//!
//! The new file and its record cannot come in one step. So the database knows both files between
//! the two, and an opening that is cut off is none.

use super::error::{Doing, Stored};
use super::rows::extent;
use super::schema::{new_epoch, new_id};
use crate::event::{AgentErrorKind, ArchiveId};
use rusqlite::{Connection, OptionalExtension, params};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of the file that each opening for writing renews.
pub(super) const OPENED: &str = "opened";

/// Which epoch the journal's bus has from an opening on.
///
/// A bus that goes on in the epoch of a copy would give sequence numbers to frames that other
/// frames had, and a reader that resumes would miss the new ones. In a new epoch its cursors
/// are [foreign](AgentErrorKind::CursorForeignEpoch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalEpoch {
    /// The same one, unless the folder is a copy: it was restored from a backup, or moved to
    /// another disk. Then it becomes an archive of its own: with a new epoch and a new
    /// [id](super::Archive::id). Its frames stay, and cursors of the archive that it was copied
    /// from are good up to the copy's end.
    #[default]
    Detect,
    /// A new one, and a new id, whatever the folder is. For a disk that was rolled back to a
    /// snapshot, which nothing in the folder shows.
    New,
    /// The same one, also in a copy. For an archive that was moved to another disk while it was
    /// closed, if nobody goes on with the original.
    Same,
}

/// Which file it is, as far as that outlives the system's restart.
#[derive(Clone, Copy, Debug)]
struct Mark {
    inode: u64,
    /// Nanoseconds; 0 where the disk does not know it.
    born: i64,
    /// Nanoseconds; 0 where the system does not know it.
    changed: i64,
}

impl Mark {
    fn of(file: &Metadata) -> Self {
        #[cfg(unix)]
        let (inode, changed) = {
            use std::os::unix::fs::MetadataExt;
            let seconds = file.ctime().saturating_mul(1_000_000_000);
            (file.ino(), seconds.saturating_add(file.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (inode, changed) = (0, 0);
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        let born = file.created().ok().and_then(since);
        Mark {
            inode,
            born: born.map_or(0, |it| i64::try_from(it.as_nanos()).unwrap_or(0)),
            changed,
        }
    }

    /// Returns whether the two are one file.
    fn is(self, other: Mark) -> bool {
        let unchanged = self.changed != 0 && self.changed == other.changed;
        unchanged || (self.inode, self.born) == (other.inode, other.born)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('.');
        let mark = Mark {
            inode: words.next()?.parse().ok()?,
            born: words.next()?.parse().ok()?,
            changed: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(mark)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.inode, self.born, self.changed)
    }
}

/// The file `opened`. It holds the highest sequence number that was shown on the journal's bus
/// without being stored.
#[derive(Debug)]
pub(super) struct Shown {
    file: File,
    /// What the file says.
    sequence: u64,
}

impl Shown {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).open(path)?;
        let mut text = String::new();
        (&mut file).take(20).read_to_string(&mut text)?;
        let sequence = text.parse().unwrap_or(0);
        Ok(Shown { file, sequence })
    }

    fn create(path: &Path, sequence: u64) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let mut shown = Shown { file, sequence: 0 };
        shown.note(sequence)?;
        shown.file.sync_all()?;
        Ok(shown)
    }

    fn mark(&self) -> io::Result<Mark> {
        Ok(Mark::of(&self.file.metadata()?))
    }

    /// Returns the highest sequence number that was noted; 0 if there is none.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Notes a sequence number, durably. Writes in place, so that it works on a full disk.
    pub(super) fn note(&mut self, sequence: u64) -> io::Result<()> {
        self.file.rewind()?;
        self.file
            .write_all(format!("{sequence:020}\n").as_bytes())?;
        self.file.sync_data()?;
        self.sequence = sequence;
        Ok(())
    }
}

/// Finds out whether the folder is a copy, begins a new epoch if it is to have one, and renews the
/// file `opened`. `earlier` is a sequence number that a file of an earlier version noted.
pub(super) fn begin(
    db: &mut Connection,
    folder: &Path,
    epoch: JournalEpoch,
    earlier: u64,
    doing: &str,
) -> Stored<Shown> {
    let state = db.query_row("SELECT marks, shown FROM state", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    });
    let (marks, stored) = state.doing(doing)?;
    let path = folder.join(OPENED);
    let found = match Shown::open(&path) {
        Ok(found) => Some((found.mark().doing(doing)?, found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).doing(doing),
    };
    let is_known = |mark: Mark| {
        let mut known = marks.split(' ').filter_map(Mark::parse);
        known.any(|known| known.is(mark))
    };
    let is_copy = !marks.is_empty() && !found.as_ref().is_some_and(|(mark, _)| is_known(*mark));
    let is_new = match epoch {
        JournalEpoch::Detect => is_copy,
        JournalEpoch::New => true,
        JournalEpoch::Same => false,
    };
    let noted = found.as_ref().map_or(0, |(_, shown)| shown.sequence);
    let earlier = if marks.is_empty() { earlier } else { 0 };
    let sequence = match is_new {
        true => 0,
        false => stored.cast_unsigned().max(noted).max(earlier),
    };
    let current = found.as_ref().map(|(mark, _)| *mark).filter(|_| !is_new);
    match renew(db, folder, current, is_new, sequence, doing) {
        Ok(shown) => Ok(shown),
        // A full disk can be opened, so that room can be made. The file of before is as good, but
        // for copies that were made since it was renewed.
        Err(error) if error.kind() == AgentErrorKind::ArchiveFull && !is_new => {
            let (_, shown) = found.filter(|(mark, _)| is_known(*mark)).ok_or(error)?;
            Ok(shown)
        }
        Err(error) => Err(error),
    }
}

/// Puts a new file in place of the one before, which is `current`.
fn renew(
    db: &mut Connection,
    folder: &Path,
    current: Option<Mark>,
    is_new: bool,
    sequence: u64,
    doing: &str,
) -> Stored<Shown> {
    let (path, new) = (folder.join(OPENED), folder.join(format!("{OPENED}.new")));
    let shown = Shown::create(&new, sequence).doing(doing)?;
    let mark = shown.mark().doing(doing)?;
    let both = match current {
        Some(current) => format!("{current} {mark}"),
        None => mark.to_string(),
    };
    let transaction = db.transaction().doing(doing)?;
    if is_new {
        let (_, last) = extent(&transaction)?;
        transaction
            .execute(
                "INSERT OR REPLACE INTO ancestors SELECT archive_id, ? FROM state",
                [last.cast_signed()],
            )
            .doing(doing)?;
        transaction
            .execute(
                "UPDATE state SET archive_id = ?, journal_epoch = ?",
                params![new_id(), new_epoch()],
            )
            .doing(doing)?;
    }
    transaction
        .execute(
            "UPDATE state SET marks = ?, shown = ?",
            params![both, sequence.cast_signed()],
        )
        .doing(doing)?;
    transaction.commit().doing(doing)?;
    fs::rename(&new, &path).doing(doing)?;
    sync_folder(folder).doing(doing)?;
    // Renaming has changed it.
    let mark = shown.mark().doing(doing)?;
    db.execute("UPDATE state SET marks = ?", [mark.to_string()])
        .doing(doing)?;
    Ok(shown)
}

/// Makes the folder's entries durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// Returns up to which position this archive is a copy of another one; `None` if it is none.
pub(super) fn copied_up_to(db: &Connection, of: &ArchiveId) -> Stored<Option<u64>> {
    let last: Option<i64> = db
        .prepare_cached("SELECT last_position FROM ancestors WHERE archive_id = ?")
        .and_then(|mut select| select.query_row([of.as_str()], |row| row.get(0)).optional())
        .doing("looking for the archive's origin")?;
    Ok(last.map(i64::cast_unsigned))
}
