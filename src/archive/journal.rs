//! Journal first: a bus whose frames are durable before anybody sees them.
//!
//! One thread, the committer, takes what was submitted since its last step as one group: it numbers
//! the frames, appends them in one transaction, publishes them, and only then answers. While the
//! disk works, the next group gathers; so one `fsync` serves all who publish meanwhile.
//!
//! What it does with a group is in `journal/commit.rs`.

mod commit;

use self::commit::{Job, Journal, Reply};
use super::Archive;
use super::error::Stored;
use super::process::Local;
use super::store::lock;
use super::worker::{self, Worker};
use crate::bus::{AgentEventBus, AgentEventStream, BusBuilder, InMemoryAgentEventBus};
use crate::event::{
    AgentError, AgentErrorKind, AgentId, CompiledEventFilter, EventCursor, EventFrame, RunId,
    SubscriptionOptions,
};
use crate::ring::RingStats;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

/// How frames are gathered into groups. When a group is safe is the archive's
/// [`Durability`](super::Durability).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// A group takes no more submissions once it has so many frames.
    pub group: NonZeroUsize,
    /// How long a group waits for more once it has a frame. Zero: it takes what came while the one
    /// before it was written.
    pub linger: Duration,
    /// How many submissions may wait for their group; [`submit`](JournaledBus::submit) waits for
    /// room.
    pub waiting: NonZeroUsize,
    /// Whether each subscription is [repaired](AgentEventStream::repaired_by) from the journal: it
    /// loses nothing then, whatever its policy.
    pub repair: bool,
}

impl Default for JournalOptions {
    /// Groups of 8,192 frames, no lingering, 8,192 submissions waiting, no repair.
    fn default() -> Self {
        const GROUP: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
        const WAITING: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
        JournalOptions {
            group: GROUP,
            linger: Duration::ZERO,
            waiting: WAITING,
            repair: false,
        }
    }
}

/// What became of frames that are durable and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journaled {
    /// Their numbers on the bus.
    pub sequences: Range<u64>,
    /// Their positions in the archive.
    pub positions: Range<u64>,
}

/// The promise of an answer to a [`submit`](JournaledBus::submit). Dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "it alone says whether the frames became durable"]
pub struct JournalReceipt(Local<Receiver<Reply>>);

impl JournalReceipt {
    /// Waits until the frames are durable and published.
    ///
    /// # Errors
    /// - [`AgentErrorKind::NotYetShown`]: they are durable, and are published as soon as the rings
    ///   take them.
    /// - [`AgentErrorKind::RingStuck`]: the rings have not taken earlier frames yet, and these were
    ///   neither stored nor shown. [`AgentErrorKind::SequenceExhausted`], too.
    /// - [`AgentErrorKind::ContractViolation`] in a child that was forked since, and in a waker
    ///   that runs on a thread of an archive, if the answer is not there yet: that thread waits for
    ///   none.
    /// - Else what kept them from being stored: then they went out as
    ///   [`DiagnosticOnly`](crate::EventDeliverySemantics::DiagnosticOnly) frames, and nothing of
    ///   them is in the archive. On a disk that cannot even note which numbers were shown, nobody
    ///   saw them.
    pub fn wait(self) -> Result<Journaled, AgentError> {
        let answer = self.0.into_inner()?;
        if worker::may_wait() {
            return answer.recv().unwrap_or_else(|_| Err(ended()));
        }
        match answer.try_recv() {
            Ok(reply) => reply,
            Err(TryRecvError::Empty) => Err(worker::must_not_wait()),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }
}

fn ended() -> AgentError {
    AgentError::new(
        AgentErrorKind::ArchiveUnavailable,
        "the journal's thread ended; open the bus again",
    )
}

/// A bus that appends each frame to an archive before it fans it out. Clones share it; dropping the
/// last one finishes what was submitted.
///
/// The wakers of its streams run on the journal's thread, and that waits for nobody: there,
/// publishing is a [`ContractViolation`](AgentErrorKind::ContractViolation) and
/// [`submit`](Self::submit) does not wait for room; the last drop returns at once, and what was
/// submitted is finished soon after. In a forked child there is no such thread: publishing is a
/// `ContractViolation`, and drops do nothing.
///
/// A published frame is [`JournalBacked`](crate::EventDeliverySemantics::JournalBacked) and bears
/// its place in the journal, which [`Archive::locate`] turns into a position. Subscribing is the
/// live bus's; with [`JournalOptions::repair`] its streams read from the journal what the rings
/// lost.
///
/// ```
/// use framebus::{archive::*, *};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let archive = Archive::open(folder, ArchiveOptions::default())?;
/// let builder = InMemoryAgentEventBus::builder();
/// let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default())?;
/// let mut all = bus.subscribe_all(None)?;
/// let envelope = EventEnvelope::new("run-1", "planner", EventKind::RunStarted);
/// bus.publish(EventFrame::new(AgentEvent::envelope_only(envelope)))?;
///
/// let frame = all.next().unwrap();
/// let place = frame.event.envelope.journal_cursor.as_ref().unwrap();
/// assert_eq!(archive.locate(place)?, archive.end()?);
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JournaledBus {
    bus: InMemoryAgentEventBus,
    /// What subscriptions are repaired from, if they are.
    repair: Option<Arc<Archive>>,
    committer: Arc<Committer>,
}

/// The way to the journal's thread, which ends with it.
#[derive(Debug)]
struct Committer {
    archive: Archive,
    /// Until it is dropped.
    jobs: Option<Local<SyncSender<Job>>>,
    worker: Option<Worker<()>>,
}

/// That a bus of this process has the archive as its journal.
#[derive(Debug)]
struct Journaling(Archive);

impl Journaling {
    fn begin(archive: &Archive) -> Stored<Self> {
        // Acquire: PAIR: the store in `drop`. All that the earlier journal appended is seen.
        if archive.shared.journaling.swap(true, Ordering::Acquire) {
            return Err(AgentError::contract_violation(
                "the archive is the journal of another bus of this process; clone that bus",
            ));
        }
        Ok(Journaling(archive.clone()))
    }
}

impl Drop for Journaling {
    fn drop(&mut self) {
        // Release: PAIR: the swap in `begin`.
        self.0.shared.journaling.store(false, Ordering::Release);
    }
}

impl JournaledBus {
    /// A bus with this archive as its journal. It goes on in the archive's epoch, behind the
    /// highest number there, or that was shown: cursors of an earlier run are good for it.
    ///
    /// # Errors
    /// [`AgentErrorKind::ContractViolation`] if the archive is some bus's journal already,
    /// [`AgentErrorKind::ArchiveReadOnly`] if it was opened for reading, those of
    /// [`BusBuilder::build`], or what is wrong with the disk.
    pub fn open(
        archive: Archive,
        bus: BusBuilder,
        options: JournalOptions,
    ) -> Result<Self, AgentError> {
        let shared = &archive.shared;
        let writer = shared.writer()?;
        // Before the last number is read: a journal that ends now may still append.
        let journaling = Journaling::begin(&archive)?;
        let most = bus.batch_limit();
        let epoch = shared.journal_epoch;
        let last = archive.last_sequence(epoch)?.max(lock(writer).lock.shown());
        let bus = bus.reopen(epoch, last).build()?;
        let journal = Journal::new(journaling, bus.clone(), options, most);
        let (jobs, waiting) = mpsc::sync_channel(options.waiting.get());
        let worker = Worker::start("framebus-journal", move || journal.run(&waiting))?;
        let committer = Committer {
            archive: archive.clone(),
            jobs: Some(Local::new(jobs)),
            worker: Some(worker),
        };
        Ok(JournaledBus {
            bus,
            repair: options.repair.then(|| Arc::new(archive)),
            committer: Arc::new(committer),
        })
    }

    /// Returns the journal.
    pub fn archive(&self) -> &Archive {
        &self.committer.archive
    }

    /// Returns what the live bus holds and who waits, now; see
    /// [`InMemoryAgentEventBus::stats`](crate::InMemoryAgentEventBus::stats).
    pub fn stats(&self) -> RingStats {
        self.bus.stats()
    }

    /// Hands in frames without waiting for the disk; waits only while too many submissions do. They
    /// get consecutive numbers, behind those of earlier submissions of the same thread, and are
    /// durable together or not at all.
    pub fn submit(&self, frames: impl IntoIterator<Item = EventFrame>) -> JournalReceipt {
        let (reply, receipt) = mpsc::channel();
        let job = Job {
            frames: frames.into_iter().collect(),
            reply: reply.clone(),
        };
        if let Err(error) = self.committer.send(job) {
            // Nobody takes it in: the receipt is the only one who can be told.
            let _ = reply.send(Err(error));
        }
        JournalReceipt(Local::new(receipt))
    }

    fn repaired(
        &self,
        stream: Result<AgentEventStream, AgentError>,
    ) -> Result<AgentEventStream, AgentError> {
        match &self.repair {
            Some(archive) => stream?.repaired_by(archive.clone()),
            None => stream,
        }
    }

    /// Publishes frames under consecutive numbers, durably: all of them, or none.
    ///
    /// # Errors
    /// As for [`JournalReceipt::wait`].
    pub fn publish_all(
        &self,
        frames: impl IntoIterator<Item = EventFrame>,
    ) -> Result<Journaled, AgentError> {
        match worker::may_wait() {
            true => self.submit(frames).wait(),
            false => Err(worker::must_not_wait()),
        }
    }
}

impl Committer {
    fn send(&self, job: Job) -> Stored<()> {
        let Some(jobs) = &self.jobs else {
            return Err(ended());
        };
        let jobs = jobs.get()?;
        if worker::may_wait() {
            return jobs.send(job).map_err(|_| ended());
        }
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => worker::must_not_wait(),
            TrySendError::Disconnected(_) => ended(),
        })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(worker) = self.worker.take() {
            // If it can't be waited for, it ends by itself. A panic was told to all who waited.
            let _ = worker.join();
        }
    }
}

impl AgentEventBus for JournaledBus {
    /// Waits until the frame is durable and published. Frames in flight share their `fsync`; for
    /// many of one thread use [`publish_all`](JournaledBus::publish_all) or
    /// [`submit`](JournaledBus::submit).
    fn publish(&self, frame: EventFrame) -> Result<(), AgentError> {
        self.publish_all([frame]).map(drop)
    }

    fn subscribe_all_with_options(
        &self,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        self.repaired(self.bus.subscribe_all_with_options(cursor, options))
    }

    fn subscribe_run_with_options(
        &self,
        run_id: RunId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        let stream = self.bus.subscribe_run_with_options(run_id, cursor, options);
        self.repaired(stream)
    }

    fn subscribe_agent_with_options(
        &self,
        agent_id: AgentId,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        let stream = self
            .bus
            .subscribe_agent_with_options(agent_id, cursor, options);
        self.repaired(stream)
    }

    fn subscribe_filtered(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
    ) -> Result<AgentEventStream, AgentError> {
        self.repaired(self.bus.subscribe_filtered(filter, cursor))
    }

    fn subscribe_filtered_with_options(
        &self,
        filter: CompiledEventFilter,
        cursor: Option<EventCursor>,
        options: SubscriptionOptions,
    ) -> Result<AgentEventStream, AgentError> {
        let stream = self
            .bus
            .subscribe_filtered_with_options(filter, cursor, options);
        self.repaired(stream)
    }
}
