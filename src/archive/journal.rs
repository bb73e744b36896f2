//! Journal first: a bus whose frames are durable before anybody sees them.
//!
//! One thread, the committer, takes what was submitted since its last step as one group: it numbers
//! the frames, appends them in one transaction, publishes them, and only then answers. While the disk
//! works, the next group gathers; so one `fsync` serves all who publish meanwhile.
//!
//! Why the numbers in the archive are those on the bus: nobody but the committer publishes on the bus
//! within, which takes numbers one by one, in the order of the calls; so what it appends under the
//! numbers behind the bus's last one gets these when it is published next. If the rings refuse a frame
//! that is durable already (readers asleep in their batches hold a whole lane), the committer *owes*
//! it: nothing else is numbered until it is out.

use super::block::{BlockWriter, Entry};
use super::store::lock;
use super::{Archive, journal_cursor};
use crate::bus::{
    AgentEventBus, AgentEventStream, BusBuilder, EventArchive, InMemoryAgentEventBus,
};
use crate::event::{
    AgentError, AgentErrorKind, AgentId, ArchiveCursor, CompiledEventFilter, EventCursor,
    EventDeliverySemantics, EventFilter, EventFrame, JournalCursor, RunId, SubscriptionOptions,
};
use crate::ring::RingStats;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often frames that the rings refused are tried again before their publishers are told.
const TRIES: u32 = 1_000;

/// How long the committer waits before it tries again unasked.
const RETRY: Duration = Duration::from_millis(5);

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

type Reply = Result<Journaled, AgentError>;

/// The promise of an answer to a [`submit`](JournaledBus::submit). Dropping it takes nothing back.
#[derive(Debug)]
pub struct JournalReceipt(Receiver<Reply>);

impl JournalReceipt {
    /// Waits until the frames are durable and published.
    ///
    /// # Errors
    /// What kept them from being stored: then they went out as
    /// [`DiagnosticOnly`](EventDeliverySemantics::DiagnosticOnly) frames, and nothing of them is in
    /// the archive. With [`AgentErrorKind::RingStuck`] they are durable, and are published as soon as
    /// the rings take them.
    pub fn wait(self) -> Reply {
        self.0.recv().unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> AgentError {
    AgentError::new(
        AgentErrorKind::ArchiveUnavailable,
        "the journal's thread ended; open the bus again",
    )
}

struct Job {
    frames: Vec<EventFrame>,
    reply: mpsc::Sender<Reply>,
}

/// A bus that appends each frame to an archive before it fans it out. Clones share it; dropping the
/// last one finishes what was submitted.
///
/// A published frame is [`JournalBacked`](EventDeliverySemantics::JournalBacked) and bears its place in
/// the journal, which [`Archive::locate`] turns into a position. Subscribing is the live bus's; with
/// [`JournalOptions::repair`] its streams read from the journal what the rings lost.
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

/// The way to the committer's thread, which ends with it.
#[derive(Debug)]
struct Committer {
    archive: Archive,
    jobs: Option<SyncSender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl JournaledBus {
    /// A bus with this archive as its journal. It goes on in the archive's epoch, behind the highest
    /// number there, or that was shown: cursors of an earlier run are good for it.
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
        let most = bus.batch_limit();
        let epoch = shared.journal_epoch;
        let last = archive
            .last_sequence(epoch)?
            .max(lock(shared.writer()?).shown());
        let bus = bus.reopen(epoch, last).build()?;
        if std::mem::replace(&mut *lock(&shared.journaling), true) {
            return Err(AgentError::contract_violation(
                "the archive is the journal of another bus of this process; clone that bus",
            ));
        }
        let repair = options.repair.then(|| Arc::new(archive.clone()));
        let (jobs, waiting) = mpsc::sync_channel(options.waiting.get());
        let journal = Journal {
            archive: archive.clone(),
            bus: bus.clone(),
            options,
            most,
            owed: 0..0,
        };
        let committer = Committer {
            archive,
            jobs: Some(jobs),
            thread: Mutex::default(),
        };
        let thread = thread::Builder::new()
            .name("framebus-journal".to_owned())
            .spawn(move || journal.run(&waiting))
            .map_err(|error| {
                AgentError::new(
                    AgentErrorKind::ArchiveUnavailable,
                    format!("the journal's thread could not be started: {error}"),
                )
            })?;
        *lock(&committer.thread) = Some(thread);
        Ok(JournaledBus {
            bus,
            repair,
            committer: Arc::new(committer),
        })
    }

    /// The journal.
    pub fn archive(&self) -> &Archive {
        &self.committer.archive
    }

    /// What the live bus holds and who waits, now; see
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
            reply,
        };
        if let Some(jobs) = &self.committer.jobs
            && let Err(unsent) = jobs.send(job)
        {
            // Nobody takes it in: the receipt is the only one who can be told.
            let _ = unsent.0.reply.send(Err(ended()));
        }
        JournalReceipt(receipt)
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
        self.submit(frames).wait()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the committer was told to all who waited for it.
            let _ = thread.join();
        }
        *lock(&self.archive.shared.journaling) = false;
    }
}

/// What the committer's thread has.
struct Journal {
    archive: Archive,
    bus: InMemoryAgentEventBus,
    options: JournalOptions,
    /// The most frames that the rings take at once.
    most: usize,
    /// The positions of frames that are durable and not published yet.
    owed: Range<u64>,
}

impl Journal {
    fn run(mut self, waiting: &Receiver<Job>) {
        loop {
            let first = match self.owed.is_empty() {
                true => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => waiting.recv_timeout(RETRY),
            };
            match first {
                Ok(first) => self.commit(gather(waiting, first, &self.options)),
                // What still can't be published is in the archive.
                Err(RecvTimeoutError::Timeout) => drop(self.pay()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn commit(&mut self, mut jobs: Vec<Job>) {
        if let Err(error) = self.pay() {
            jobs.into_iter()
                .for_each(|job| answer(&job.reply, Err(error.clone())));
            return;
        }
        let blocks = loop {
            match self.encode(&jobs) {
                Ok(blocks) => break blocks,
                Err((at, error)) => {
                    let job = jobs.remove(at);
                    self.diagnose(job, error);
                }
            }
        };
        let sequence = self.bus.last_sequence() + 1;
        match self.archive.shared.append(blocks, &[]) {
            Ok(positions) => self.fan_out(jobs, sequence, positions),
            Err(error) => {
                for job in jobs {
                    self.diagnose(job, error.clone());
                }
            }
        }
    }

    /// The frames of all jobs in blocks, or the first job that can't be stored.
    fn encode(&self, jobs: &[Job]) -> Result<BlockWriter, (usize, AgentError)> {
        let mut blocks = self.archive.shared.block_writer();
        let mut sequences = self.bus.last_sequence() + 1..;
        for (at, job) in jobs.iter().enumerate() {
            for (frame, sequence) in job.frames.iter().zip(&mut sequences) {
                let entry = Entry {
                    epoch: self.archive.shared.journal_epoch,
                    sequence,
                    semantics: EventDeliverySemantics::JournalBacked,
                    journal_here: true,
                    event: frame.event.view(),
                };
                blocks.push(&entry).map_err(|error| (at, error))?;
            }
        }
        Ok(blocks)
    }

    /// Publishes what was appended at these positions, and answers.
    fn fan_out(&mut self, jobs: Vec<Job>, mut sequence: u64, positions: Range<u64>) {
        let mut position = positions.start;
        self.owed = positions.clone();
        let mut replies = Vec::with_capacity(jobs.len());
        let mut going = true;
        for job in jobs {
            let count = job.frames.len() as u64;
            let places = (position..).map(|position| self.archive.shared.at(position));
            let mut frames = job.frames.into_iter().zip(places).map(journal_backed);
            while going {
                let chunk: Vec<_> = frames.by_ref().take(self.most).collect();
                let size = chunk.len() as u64;
                if size == 0 {
                    break;
                }
                going = self.bus.publish_all(chunk).is_ok();
                self.owed.start += if going { size } else { 0 };
            }
            let journaled = Journaled {
                sequences: sequence..sequence + count,
                positions: position..position + count,
            };
            (sequence, position) = (sequence + count, position + count);
            replies.push((job.reply, journaled));
        }
        let mut paid = self.pay();
        for _ in 0..TRIES {
            if paid.is_ok() {
                break;
            }
            thread::yield_now();
            paid = self.pay();
        }
        for (reply, journaled) in replies {
            let seen = journaled.positions.end <= self.owed.start || self.owed.is_empty();
            answer(
                &reply,
                if seen {
                    Ok(journaled)
                } else {
                    paid.clone().map(|()| journaled)
                },
            );
        }
    }

    /// Publishes what is owed, read back from the archive.
    fn pay(&mut self) -> Result<(), AgentError> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let cursor = self.archive.shared.at(self.owed.start - 1);
        let all = EventFilter::default().compile()?;
        let frames = self.archive.replay_filtered_from_cursor(all, cursor)?;
        for frame in frames.take((self.owed.end - self.owed.start) as usize) {
            let place = self.archive.shared.at(self.owed.start);
            self.bus.publish(journal_backed((frame, place)))?;
            self.owed.start += 1;
        }
        Ok(())
    }

    /// Fans out frames that could not be stored, and answers.
    fn diagnose(&self, job: Job, error: AgentError) {
        let last = self.bus.last_sequence() + job.frames.len() as u64;
        if let Ok(writer) = self.archive.shared.writer() {
            // On a disk that takes not even this, a later process may give the numbers again.
            let _ = lock(writer).note_shown(last);
        }
        for frame in job.frames {
            let event = frame.event.with_envelope(|envelope| {
                envelope.delivery_semantics = EventDeliverySemantics::DiagnosticOnly;
                envelope.journal_cursor = None;
            });
            // The publisher is told of the first error; that nobody saw the frame adds nothing.
            let _ = self.bus.publish(EventFrame::new(event));
        }
        answer(&job.reply, Err(error));
    }
}

/// All that waits, up to a group.
fn gather(waiting: &Receiver<Job>, first: Job, options: &JournalOptions) -> Vec<Job> {
    let until = Instant::now().checked_add(options.linger);
    let mut count = first.frames.len();
    let mut jobs = vec![first];
    while count < options.group.get() {
        let left = until.map_or(Duration::MAX, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let next = match left.is_zero() {
            true => waiting.try_recv().ok(),
            false => waiting.recv_timeout(left).ok(),
        };
        let Some(job) = next else { break };
        count += job.frames.len();
        jobs.push(job);
    }
    jobs
}

fn answer(reply: &mpsc::Sender<Reply>, answer: Reply) {
    // Nobody need wait for it.
    let _ = reply.send(answer);
}

/// A frame that is durable at this place.
fn journal_backed((frame, place): (EventFrame, ArchiveCursor)) -> EventFrame {
    let cursor: JournalCursor = journal_cursor(&place);
    EventFrame::new(frame.event.with_envelope(|envelope| {
        envelope.delivery_semantics = EventDeliverySemantics::JournalBacked;
        envelope.journal_cursor = Some(cursor);
    }))
}

impl AgentEventBus for JournaledBus {
    /// Waits until the frame is durable and published. Frames in flight share their `fsync`; for
    /// many of one thread use [`publish_all`](JournaledBus::publish_all) or
    /// [`submit`](JournaledBus::submit).
    fn publish(&self, frame: EventFrame) -> Result<(), AgentError> {
        self.submit([frame]).wait().map(drop)
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
