//! The archive as its holder has it: opened, appended to, asked for its extent.

use super::block::{BlockWriter, Entry};
use super::error::{Doing, Stored};
use super::holders::{Held, Holder, Holders};
use super::lost::LostRange;
use super::options::ArchiveOptions;
use super::origin;
use super::process::Local;
use super::progress::Progress;
use super::rows::{self, extent};
use super::store::{Store, identity};
use super::turns::Turns;
use super::writer::Writer;
use crate::event::{
    AgentError, AgentErrorKind, ArchiveCursor, ArchiveId, BusEpoch, EventFrame, JournalCursor,
    PrivacyClass,
};
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// Frames that a follower lost to the rings before it could archive them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveGap {
    /// The position of the first frame that was archived after the gap.
    pub before_position: u64,
    /// The bus that the sequence numbers count in.
    pub bus_epoch: BusEpoch,
    /// The sequence numbers among which the lost frames are.
    pub sequences: RangeInclusive<u64>,
    /// How many frames were lost.
    pub lost: u64,
    /// Whether no terminal frame is among them.
    pub terminal_preserved: bool,
}

/// An archive in a folder. Its clones and its replays share it; it is closed with the last of them.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(super) shared: Arc<Shared>,
    pub(super) held: Held,
}

/// What the clones of an archive share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    /// The archive's name. Never changes.
    pub(super) id: ArchiveId,
    /// The epoch of the bus that has the archive as its journal. Never changes.
    pub(super) journal_epoch: BusEpoch,
    /// The highest privacy class whose content is stored.
    content_up_to: PrivacyClass,
    /// Whether a bus of this process has the archive as its journal. Only `Journaling`, that bus's
    /// claim, changes it.
    pub(super) journaling: AtomicBool,
    /// How far this process's archivers have come.
    pub(super) progress: Progress,
    /// `None` if the archive was opened for reading.
    writer: Option<Local<Turns<Writer>>>,
    /// The first position of which the journal may have stored and not yet published the frame;
    /// `u64::MAX` if there is none.
    pub(super) unpublished_from: Mutex<u64>,
}

impl Archive {
    /// Opens the archive in this folder for writing. Creates the folder and the archive if they are
    /// missing, and migrates an archive of an earlier version.
    ///
    /// # Errors
    /// - [`AgentErrorKind::ArchiveInUse`] if it is open for writing already.
    /// - [`AgentErrorKind::ArchiveVersion`] if it is of a later version, or another program's file.
    /// - [`AgentErrorKind::ArchiveReadOnly`], [`AgentErrorKind::ArchiveDamaged`],
    ///   [`AgentErrorKind::ArchiveFull`], otherwise [`AgentErrorKind::ArchiveUnavailable`].
    pub fn open(folder: impl AsRef<Path>, options: ArchiveOptions) -> Result<Self, AgentError> {
        let (store, writer) = Store::open(folder.as_ref(), &options)?;
        let holders = Holders::of(folder.as_ref());
        Self::new(store, Some(writer), options.content_up_to, holders)
    }

    /// Opens the archive in this folder for reading, also while another process writes, or if this
    /// user may not write to the folder. One of an earlier version is read as it is.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_for_reading(folder: impl AsRef<Path>) -> Result<Self, AgentError> {
        Self::new(
            Store::open_for_reading(folder.as_ref())?,
            None,
            PrivacyClass::Metadata,
            Arc::default(),
        )
    }

    fn new(
        store: Store,
        writer: Option<Writer>,
        keeps: PrivacyClass,
        holders: Arc<Holders>,
    ) -> Stored<Self> {
        let (id, journal_epoch) = store.read(identity)?;
        Ok(Archive {
            shared: Arc::new(Shared {
                store,
                id,
                journal_epoch,
                content_up_to: keeps.min(PrivacyClass::Sensitive),
                journaling: AtomicBool::new(false),
                progress: Progress::default(),
                writer: writer.map(|writer| Local::new(Turns::new(writer))),
                unpublished_from: Mutex::new(u64::MAX),
            }),
            held: Held::new(holders, Holder::Handle),
        })
    }

    /// Returns a handle that counts as something else that holds the archive.
    pub(super) fn held_by(&self, holder: Holder) -> Self {
        Archive {
            shared: self.shared.clone(),
            held: self.held.by(holder),
        }
    }

    /// Returns its name, which its cursors have.
    pub fn id(&self) -> &ArchiveId {
        &self.shared.id
    }

    /// Returns the epoch of the bus that has it as its journal, the same in every process.
    pub fn journal_epoch(&self) -> BusEpoch {
        self.shared.journal_epoch
    }

    /// Returns the position before the first frame that is still held.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn start(&self) -> Result<ArchiveCursor, AgentError> {
        Ok(self.shared.at(self.shared.store.read(extent)?.0))
    }

    /// Returns the position after the last frame.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn end(&self) -> Result<ArchiveCursor, AgentError> {
        Ok(self.shared.at(self.shared.store.read(extent)?.1))
    }

    /// Returns how many frames are held.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn len(&self) -> Result<u64, AgentError> {
        let (before, last) = self.shared.store.read(extent)?;
        Ok(last - before)
    }

    /// Returns whether no frame is held.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn is_empty(&self) -> Result<bool, AgentError> {
        Ok(self.len()? == 0)
    }

    /// Returns the sequence number of the last frame that was archived of a bus, also if it was
    /// removed since; 0 if there is none.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn last_sequence(&self, epoch: BusEpoch) -> Result<u64, AgentError> {
        self.shared.store.read(|db| rows::last_sequence(db, epoch))
    }

    /// Appends published frames: all of them or none, durable when it returns. Returns their
    /// positions.
    ///
    /// Frames must come in the order of their sequence numbers, each once. What a frame's access
    /// mode hides of its payload isn't stored.
    ///
    /// # Errors
    /// - [`AgentErrorKind::ArchiveOrder`].
    /// - [`AgentErrorKind::InvalidValue`] for a frame of more than 256 MiB, or with a sequence
    ///   number that no bus gives: 2^62 or more.
    /// - [`AgentErrorKind::ArchiveReadOnly`], or an error of the disk.
    /// - [`AgentErrorKind::ArchiveUnavailable`] if the folder was removed, moved or replaced.
    pub fn append(&self, frames: &[EventFrame]) -> Result<Range<u64>, AgentError> {
        let mut blocks = self.shared.block_writer();
        for frame in frames {
            blocks.push(&Entry::published(frame.event.view()))?;
        }
        self.shared.append(blocks, &[])
    }

    /// Returns the gaps that followers recorded, oldest first.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn gaps(&self) -> Result<Vec<ArchiveGap>, AgentError> {
        let sql = "SELECT position, epoch, first_seq, last_seq, lost, terminal_preserved FROM gaps
                   ORDER BY id";
        self.shared.store.read(|db| {
            let mut select = db.prepare_cached(sql).doing("reading gaps")?;
            let gaps = select.query_map([], |row| {
                let unsigned = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
                Ok(ArchiveGap {
                    before_position: unsigned(0)?,
                    bus_epoch: BusEpoch::from_bits(unsigned(1)?),
                    sequences: unsigned(2)?..=unsigned(3)?,
                    lost: unsigned(4)?,
                    terminal_preserved: row.get(5)?,
                })
            });
            gaps.and_then(Iterator::collect).doing("reading gaps")
        })
    }

    /// Returns the position of a journal cursor of the bus that has this archive as its journal.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveCursor`] for a cursor of another journal, or malformed text.
    pub fn locate(&self, cursor: &JournalCursor) -> Result<ArchiveCursor, AgentError> {
        let parts = cursor.as_str().rsplit_once('@');
        let parsed = parts.and_then(|(id, position)| {
            let digits = position.bytes().all(|byte| byte.is_ascii_digit());
            Some(ArchiveCursor {
                archive_id: ArchiveId::new(id),
                position: position.parse().ok().filter(|_| digits)?,
            })
        });
        let inherited = parsed.map(|parsed| self.shared.inherited(parsed));
        let own = inherited.transpose()?;
        own.filter(|own| own.archive_id == self.shared.id)
            .ok_or_else(|| {
                AgentError::new(
                    AgentErrorKind::ArchiveCursor,
                    format!(
                        "{:?} is no position in the journal of archive {}; use one that its bus gave",
                        cursor.as_str(),
                        self.shared.id
                    ),
                )
            })
    }
}

/// Returns the journal cursor of a frame at this position of the archive that is its journal.
pub(super) fn journal_cursor(at: &ArchiveCursor) -> JournalCursor {
    JournalCursor::new(format!("{}@{}", at.archive_id, at.position))
}

impl Shared {
    /// Returns the position after a frame.
    pub(super) fn at(&self, position: u64) -> ArchiveCursor {
        ArchiveCursor {
            archive_id: self.id.clone(),
            position,
        }
    }

    /// Returns this archive's cursor for one of an archive that it was copied from; others as they
    /// are.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub(super) fn inherited(&self, cursor: ArchiveCursor) -> Stored<ArchiveCursor> {
        if cursor.archive_id == self.id {
            return Ok(cursor);
        }
        let copied = |db: &_| origin::copied_up_to(db, &cursor.archive_id);
        match self.store.read(copied)? {
            Some(last) if cursor.position <= last => Ok(self.at(cursor.position)),
            Some(last) => Err(AgentError::new(
                AgentErrorKind::ArchiveCursor,
                format!(
                    "the cursor is at {} of archive {}, of which this one, {}, is a copy up to \
                     {last}; what came there later is not here: start from {last}",
                    cursor.position, cursor.archive_id, self.id
                ),
            )),
            None => Ok(cursor),
        }
    }

    /// Returns a writer of blocks that keeps content as the archive's options say.
    pub(super) fn block_writer(&self) -> BlockWriter {
        BlockWriter::new(self.content_up_to)
    }

    /// Appends blocks and gaps in one transaction. Returns the frames' positions.
    pub(super) fn append(&self, mut blocks: BlockWriter, gaps: &[LostRange]) -> Stored<Range<u64>> {
        let blocks = blocks.finish();
        self.writer()?.lock().append(&blocks, gaps)
    }

    /// Returns the writer.
    ///
    /// # Errors
    /// If the archive was opened for reading, and in a forked child.
    pub(super) fn writer(&self) -> Stored<&Turns<Writer>> {
        let writer = self.writer.as_ref().ok_or_else(|| {
            AgentError::new(
                AgentErrorKind::ArchiveReadOnly,
                "the archive was opened for reading; open it for writing",
            )
        })?;
        writer.get()
    }
}
