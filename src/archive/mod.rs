//! The archive on disk: durable frames, in a folder, to be found and read again.
//!
//! The live bus forgets; an [`Archive`] remembers. Frames come into it in order, by
//! [`append`](Archive::append), through a [`JournaledBus`] before anybody sees them, or from an
//! [`Archiver`] that follows a bus like any other subscriber. They are read back as
//! [`DerivedReplay`](crate::EventDeliverySemantics::DerivedReplay), by what a filter asks for, from
//! any position.
//!
//! ```
//! use framebus::{archive::*, *};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let archive = Archive::open(folder, ArchiveOptions::default())?;
//! let bus = InMemoryAgentEventBus::default();
//! let mut all = bus.subscribe_all(None)?;
//! let envelope = EventEnvelope::new("run-1", "planner", EventKind::RunCompleted);
//! bus.publish(EventFrame::new(AgentEvent::with_redacted_summary(envelope, "3 files changed")))?;
//! archive.append(&all.by_ref().collect::<Vec<_>>())?;
//!
//! let filter = EventFilter::terminal_run_events().compile()?;
//! let frame = archive.replay_filtered_from_cursor(filter, archive.start()?)?.next().unwrap();
//! assert_eq!(frame.event.redacted_summary(), Some("3 files changed"));
//! assert_eq!(frame.archive_cursor.unwrap().position, 1);
//! # Ok::<(), AgentError>(())
//! ```
//!
//! # What is promised
//! - **Durability** is what [`Durability`] says: by default, what was acknowledged survives a
//!   killed process and a machine without power.
//! - **All or nothing**: frames that were appended together are there together. After a crash the
//!   archive holds everything up to some append, in order, each frame once.
//! - **Order**: positions rise by one from frame to frame and are never given twice; in each bus's
//!   epoch, numbers rise with them.
//! - **Privacy**: content of the class [`Secret`](crate::PrivacyClass::Secret) is never written;
//!   above which class the rest is left out is an [option](ArchiveOptions::content_up_to).
//!   Summaries and references are kept.
//! - **Readers** hold up neither the writer nor each other, and may be other processes
//!   ([`Archive::open_for_reading`]). One process writes.
//! - **Forks**: an archive belongs to the process that opened it. In a child that was forked since,
//!   everything of it answers [`ContractViolation`](crate::AgentErrorKind::ContractViolation),
//!   drops do nothing, and no archive can be opened; a child that executes a program is free of it.
//!   One that lives on holds the folder's lock of a parent that was killed.
//!
//! # The files
//! `frames.sqlite` with its log beside it, and `lock`. Copy the folder while nobody writes, or with
//! SQLite's own backup.
#![forbid(unsafe_code)]

mod block;
mod error;
mod folder;
mod follow;
mod journal;
mod keep;
mod process;
mod record;
mod repair;
mod replay;
mod runs;
mod schema;
mod store;
mod worker;

pub use self::follow::{Archiver, FollowOptions, FollowReport};
pub use self::journal::{JournalOptions, JournalReceipt, Journaled, JournaledBus};
pub use self::keep::{Compacted, Removed, Retention};
pub use self::runs::ArchivedRun;

use self::block::{BlockWriter, Entry};
use self::error::{Doing, Stored};
use self::process::Local;
use self::repair::Progress;
use self::replay::Replay;
use self::store::{LostRange, Store, Writer, extent, identity, lock};
use crate::bus::{AgentEventStream, EventArchive};
use crate::event::{
    AgentError, AgentErrorKind, ArchiveCursor, ArchiveId, BusEpoch, CompiledEventFilter,
    EventFrame, JournalCursor, PrivacyClass, Timestamp,
};
use rusqlite::OptionalExtension;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// When what was appended is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Each append waits until the disk has it: one `fsync` an append, however many frames it has.
    /// What was acknowledged survives the machine.
    #[default]
    EachAppend,
    /// The system writes in its own time. What was acknowledged survives the process, however it
    /// ends; a machine without power may lose the last appends, never part of one.
    SystemCache,
}

/// How an archive is opened.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveOptions {
    /// When what was appended is safe.
    pub durability: Durability,
    /// Content is stored of events up to this privacy class, and never of
    /// [`PrivacyClass::Secret`]. Of the others, summary and references are.
    pub content_up_to: PrivacyClass,
}

impl Default for ArchiveOptions {
    /// An `fsync` for each append; all content but secrets.
    fn default() -> Self {
        ArchiveOptions {
            durability: Durability::default(),
            content_up_to: PrivacyClass::Sensitive,
        }
    }
}

/// Frames that a follower lost to the rings before it could archive them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveGap {
    /// The frames archived before it have positions below this.
    pub before_position: u64,
    /// The bus that the numbers count in.
    pub bus_epoch: BusEpoch,
    /// The numbers between which they are missing.
    pub sequences: RangeInclusive<u64>,
    /// How many frames are missing.
    pub lost: u64,
    /// Whether no terminal frame is among them.
    pub terminal_preserved: bool,
}

/// An archive in a folder. Clones share it, and so do its replays; it is closed with the last of
/// them.
#[derive(Clone, Debug)]
pub struct Archive {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    id: ArchiveId,
    /// The epoch of the bus that this is the journal of.
    journal_epoch: BusEpoch,
    content_up_to: PrivacyClass,
    /// Whether a bus of this process has it as its journal.
    journaling: AtomicBool,
    progress: Progress,
    /// Nobody, where it was opened for reading.
    writer: Option<Local<Mutex<Writer>>>,
}

impl Archive {
    /// Opens the archive in this folder for writing, and makes both where they are missing. An
    /// archive of an earlier version is brought up to date.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveInUse`] if it is open for writing already,
    /// [`AgentErrorKind::ArchiveReadOnly`], [`AgentErrorKind::ArchiveDamaged`],
    /// [`AgentErrorKind::ArchiveVersion`] for one of a later version, or another program's file,
    /// [`AgentErrorKind::ArchiveFull`], else [`AgentErrorKind::ArchiveUnavailable`].
    pub fn open(folder: impl AsRef<Path>, options: ArchiveOptions) -> Result<Self, AgentError> {
        let every_append = options.durability == Durability::EachAppend;
        let (store, writer) = Store::open(folder.as_ref(), every_append)?;
        Self::new(store, Some(writer), options.content_up_to)
    }

    /// Opens the archive in this folder for reading, also while another process writes, or where
    /// nothing can be written.
    ///
    /// # Errors
    /// As for [`open`](Self::open); also [`AgentErrorKind::ArchiveVersion`] if it must be brought
    /// up to date first.
    pub fn open_for_reading(folder: impl AsRef<Path>) -> Result<Self, AgentError> {
        Self::new(
            Store::open_for_reading(folder.as_ref())?,
            None,
            PrivacyClass::Metadata,
        )
    }

    fn new(store: Store, writer: Option<Writer>, keeps: PrivacyClass) -> Stored<Self> {
        let (id, journal_epoch) = store.read(identity)?;
        Ok(Archive {
            shared: Arc::new(Shared {
                store,
                id,
                journal_epoch,
                content_up_to: keeps.min(PrivacyClass::Sensitive),
                journaling: AtomicBool::new(false),
                progress: Progress::default(),
                writer: writer.map(|writer| Local::new(Mutex::new(writer))),
            }),
        })
    }

    /// Returns its name, which its cursors bear.
    pub fn id(&self) -> &ArchiveId {
        &self.shared.id
    }

    /// Returns the epoch of the bus that has it as its journal, in every process.
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

    /// Returns the number of the last frame that it has of a bus, 0 for none. Removed frames count.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn last_sequence(&self, epoch: BusEpoch) -> Result<u64, AgentError> {
        self.shared.store.read(|db| store::last_sequence(db, epoch))
    }

    /// Appends published frames: all of them or none, durable when it returns. Gives their
    /// positions.
    ///
    /// Frames must come in the order of their numbers, each once; what a frame's holder may not see
    /// of its payload isn't stored.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveOrder`], [`AgentErrorKind::InvalidValue`] for a frame of more than
    /// 256 MiB, [`AgentErrorKind::ArchiveReadOnly`], or what is wrong with the disk.
    pub fn append(&self, frames: &[EventFrame]) -> Result<Range<u64>, AgentError> {
        let mut blocks = self.shared.block_writer();
        for frame in frames {
            blocks.push(&Entry::published(frame.event.view()))?;
        }
        self.shared.append(blocks, &[])
    }

    /// Returns the position before the first frame, in the order of positions, that happened at
    /// this time or later. Takes O(blocks) steps.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn before_time(&self, time: Timestamp) -> Result<ArchiveCursor, AgentError> {
        let position = self.shared.store.read(|db| {
            let sql = "SELECT first FROM blocks WHERE max_time >= ? ORDER BY first LIMIT 1";
            let first: Option<i64> = db
                .prepare_cached(sql)
                .and_then(|mut select| {
                    select
                        .query_row([time.as_micros()], |row| row.get(0))
                        .optional()
                })
                .doing("finding a time")?;
            match first {
                Some(first) => Ok(first.cast_unsigned() - 1),
                None => Ok(extent(db)?.1),
            }
        })?;
        let all = crate::EventFilter::default().compile()?;
        let mut frames = self.replay_filtered_from_cursor(all, self.shared.at(position))?;
        let found = frames.find(|frame| frame.event.envelope.timestamp >= time);
        match found.and_then(|frame| frame.archive_cursor) {
            Some(cursor) => Ok(self.shared.at(cursor.position - 1)),
            None => self.end(),
        }
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

    /// Returns the position that a frame's place in the journal stands for, where this archive is
    /// the journal.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveCursor`] for a place in another journal, or what is none.
    pub fn locate(&self, cursor: &JournalCursor) -> Result<ArchiveCursor, AgentError> {
        let parts = cursor.as_str().rsplit_once('@');
        let position = parts.and_then(|(id, position)| {
            let digits = position.bytes().all(|byte| byte.is_ascii_digit());
            let position = position.parse().ok().filter(|_| digits)?;
            (id == self.shared.id.as_str()).then_some(position)
        });
        position
            .map(|position| self.shared.at(position))
            .ok_or_else(|| {
                AgentError::new(
                    AgentErrorKind::ArchiveCursor,
                    format!(
                        "{:?} is no place in the journal of archive {}; use one that its bus gave",
                        cursor.as_str(),
                        self.shared.id
                    ),
                )
            })
    }
}

/// Returns the place of a frame in the journal that the archive is.
fn journal_cursor(at: &ArchiveCursor) -> JournalCursor {
    JournalCursor::new(format!("{}@{}", at.archive_id, at.position))
}

impl Shared {
    fn block_writer(&self) -> BlockWriter {
        BlockWriter::new(self.content_up_to)
    }

    fn append(&self, mut blocks: BlockWriter, gaps: &[LostRange]) -> Stored<Range<u64>> {
        let blocks = blocks.finish();
        lock(self.writer()?).append(&blocks, gaps)
    }

    fn writer(&self) -> Stored<&Mutex<Writer>> {
        let writer = self.writer.as_ref().ok_or_else(|| {
            AgentError::new(
                AgentErrorKind::ArchiveReadOnly,
                "the archive was opened for reading; open it for writing",
            )
        })?;
        writer.get()
    }
}

impl EventArchive for Archive {
    /// Returns the frames up to the end that the archive has now. Frames that retention removed
    /// behind the cursor are told of by a notice, with an upper bound of how many they are. Content
    /// is what was stored; filters for delivery semantics match what a frame had when it was
    /// archived.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveCursor`] for a cursor of another archive, or beyond the end; what
    /// is wrong with the disk. What goes wrong later ends the stream with
    /// [`StreamEnd::SourceFailed`](crate::StreamEnd::SourceFailed).
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        let refused = |message| Err(AgentError::new(AgentErrorKind::ArchiveCursor, message));
        if cursor.archive_id != self.shared.id {
            return refused(format!(
                "the cursor is of archive {}, this is {}; start from this archive's own",
                cursor.archive_id, self.shared.id
            ));
        }
        let (_, end) = self.shared.store.read(extent)?;
        if cursor.position > end {
            return refused(format!(
                "the cursor is at {}, the archive ends at {end}; start from a position that it gave",
                cursor.position
            ));
        }
        let replay = Replay::new(self.shared.clone(), filter, cursor.position, end);
        Ok(AgentEventStream::from_source(replay))
    }
}
