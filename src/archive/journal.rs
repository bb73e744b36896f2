//! Journal first: a bus whose frames are durable before they are published.
//!
//! One thread, the committer, takes what was submitted since its last step as one group: it gives
//! the frames their sequence numbers, appends them in one transaction, publishes them, and only
//! then answers. While the disk works, the next group gathers, so one `fsync` serves all
//! submissions that come meanwhile. `journal/commit.rs` has that thread.

mod commit;
mod room;

pub use self::commit::{JournalOptions, Journaled};

use self::commit::{Job, Journal, Journaling, Reply};
use self::room::{Load, Room};
use super::error::Stored;
use super::handle::Archive;
use super::process::Local;
use super::worker::{self, Worker};
use crate::bus::{AgentEventBus, AgentEventStream, BusBuilder, InMemoryAgentEventBus};
use crate::event::{
    AgentError, AgentErrorKind, AgentId, CompiledEventFilter, EventCursor, EventFrame, RunId,
    SubscriptionOptions,
};
use crate::ring::RingStats;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};

/// Waits for the answer to a [`submit`](JournaledBus::submit). Dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "it alone says whether the frames became durable"]
pub struct JournalReceipt(Local<Receiver<Reply>>);

impl JournalReceipt {
    /// Waits until the frames are durable and published.
    ///
    /// # Errors
    /// - [`AgentErrorKind::NotYetPublished`]: they are durable, and are published as soon as the
    ///   rings take them.
    /// - [`AgentErrorKind::RingStuck`], [`AgentErrorKind::SequenceExhausted`]: the rings have not
    ///   taken earlier frames yet, or no sequence numbers are left. These frames were neither
    ///   stored nor published.
    /// - [`AgentErrorKind::ContractViolation`] in a child that was forked since, and in a waker
    ///   that runs on a thread of an archive, if the answer is not there yet: such a thread never
    ///   waits for another.
    /// - Otherwise why they could not be stored. They were then published as
    ///   [`DiagnosticOnly`](crate::EventDeliverySemantics::DiagnosticOnly) frames, and nothing of
    ///   them is in the archive. On a disk where not even the published sequence numbers can be
    ///   noted, they were not published.
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

/// The error when the journal's thread has ended.
fn ended() -> AgentError {
    AgentError::new(
        AgentErrorKind::ArchiveUnavailable,
        "the journal's thread ended; open the bus again",
    )
}

/// A bus that appends each frame to an archive before it publishes it. Clones share it; dropping
/// the last one finishes what was submitted.
///
/// The wakers of its streams run on the journal's thread, which never waits for itself. In such a
/// waker, publishing is a [`ContractViolation`](AgentErrorKind::ContractViolation),
/// [`submit`](Self::submit) does not wait for room, and the last drop returns at once; what was
/// submitted is finished soon after. In a forked child there is no such thread: publishing is a
/// `ContractViolation`, and drops do nothing.
///
/// A published frame is [`JournalBacked`](crate::EventDeliverySemantics::JournalBacked) and has its
/// journal cursor, which [`Archive::locate`] turns into a position. Subscribing is the live bus's;
/// with [`JournalOptions::repair`] its streams read from the journal what the rings lost.
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
/// let cursor = frame.event.envelope.journal_cursor.as_ref().unwrap();
/// assert_eq!(archive.locate(cursor)?, archive.end()?);
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JournaledBus {
    /// The live bus. Only the journal's thread publishes on it.
    bus: InMemoryAgentEventBus,
    /// The journal, if subscriptions are repaired from it.
    repair: Option<Arc<Archive>>,
    committer: Arc<Committer>,
}

/// What the clones of a journaled bus share. Dropping it ends the journal's thread.
#[derive(Debug)]
struct Committer {
    archive: Archive,
    /// Sends submissions to the thread. `None` only while this is dropped.
    door: Option<Local<Door>>,
    /// The thread. `None` only while this is dropped.
    worker: Option<Worker<()>>,
}

/// Where submissions enter.
#[derive(Debug)]
struct Door {
    room: Arc<Room>,
    jobs: Sender<Job>,
}

impl JournaledBus {
    /// A bus with this archive as its journal. It goes on in the archive's epoch, after the highest
    /// sequence number that was stored or published there: cursors of an earlier run are good for
    /// it.
    ///
    /// # Errors
    /// - [`AgentErrorKind::ContractViolation`] if the archive is the journal of a bus already.
    /// - [`AgentErrorKind::ArchiveReadOnly`] if it was opened for reading.
    /// - Those of [`BusBuilder::build`], or an error of the disk.
    pub fn open(
        archive: Archive,
        bus: BusBuilder,
        options: JournalOptions,
    ) -> Result<Self, AgentError> {
        let shared = &archive.shared;
        let writer = shared.writer()?;
        // The claim comes before the last sequence number is read: a journal that ends now may
        // still append.
        let journaling = Journaling::begin(&archive)?;
        let most = bus.batch_limit();
        let epoch = shared.journal_epoch;
        let last = archive
            .last_sequence(epoch)?
            .max(writer.lock().lock.published());
        let bus = bus.reopen(epoch, last).build()?;
        let journal = Journal::new(journaling, bus.clone(), options, most);
        let (jobs, waiting) = mpsc::channel();
        let room = Room::new(Load {
            submissions: options.waiting.get(),
            frames: options.waiting_frames.get(),
            bytes: options.waiting_bytes.get(),
        });
        let worker = Worker::start("framebus-journal", move || journal.run(&waiting))?;
        let committer = Committer {
            archive: archive.clone(),
            door: Some(Local::new(Door { room, jobs })),
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

    /// Returns what the live bus holds and which subscriptions wait, now; see
    /// [`InMemoryAgentEventBus::stats`](crate::InMemoryAgentEventBus::stats).
    pub fn stats(&self) -> RingStats {
        self.bus.stats()
    }

    /// Submits frames without waiting for the disk; waits only while as many
    /// [submissions](JournalOptions::waiting), [frames](JournalOptions::waiting_frames) or
    /// [bytes](JournalOptions::waiting_bytes) wait as may. The frames get consecutive sequence
    /// numbers, after those of earlier submissions of the same thread, and are durable together or
    /// not at all. A submission that is larger than what may wait waits until it is alone.
    pub fn submit(&self, frames: impl IntoIterator<Item = EventFrame>) -> JournalReceipt {
        let (reply, receipt) = mpsc::channel();
        let frames = frames.into_iter().collect();
        if let Err(error) = self.committer.send(frames, reply.clone()) {
            // The thread did not get it, so the receipt answers here.
            let _ = reply.send(Err(error));
        }
        JournalReceipt(Local::new(receipt))
    }

    /// Returns the stream, repaired from the journal if the options say so.
    fn repaired(
        &self,
        stream: Result<AgentEventStream, AgentError>,
    ) -> Result<AgentEventStream, AgentError> {
        match &self.repair {
            Some(archive) => stream?.repaired_by(archive.clone()),
            None => stream,
        }
    }

    /// Publishes frames under consecutive sequence numbers, durably: all of them, or none. Waits
    /// until they are.
    ///
    /// # Errors
    /// As for [`JournalReceipt::wait`].
    pub fn publish_all(
        &self,
        frames: impl IntoIterator<Item = EventFrame>,
    ) -> Result<Journaled, AgentError> {
        if worker::may_wait() {
            self.submit(frames).wait()
        } else {
            Err(worker::must_not_wait())
        }
    }
}

impl Committer {
    /// Sends a submission to the thread; waits for room if the calling thread may wait.
    fn send(&self, frames: Vec<EventFrame>, reply: Sender<Reply>) -> Stored<()> {
        let door = self.door.as_ref().ok_or_else(ended)?;
        let Door { room, jobs } = door.get()?;
        let load = Load::of(&frames);
        let place = if worker::may_wait() {
            room.enter(load)
        } else {
            room.try_enter(load).ok_or_else(worker::must_not_wait)?
        };
        let job = Job {
            frames,
            reply,
            place,
        };
        jobs.send(job).map_err(|_| ended())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.door = None;
        if let Some(worker) = self.worker.take() {
            // If it can't be waited for, it ends by itself. If it panicked, every receipt that
            // waited has failed.
            let _ = worker.join();
        }
    }
}

impl AgentEventBus for JournaledBus {
    /// Waits until the frame is durable and published. Frames in flight share an `fsync`; for many
    /// frames of one thread use [`publish_all`](JournaledBus::publish_all) or
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
