//! The journal's thread: it stores a group, publishes it, and answers.
//!
//! Why the sequence numbers in the archive are those on the bus: only this thread publishes on that
//! bus, which takes sequence numbers one by one, in the order of the calls. Frames that are stored
//! under the sequence numbers after the bus's last one get these when they are published next. If
//! the rings refuse frames that are durable already (readers asleep in their batches pin a whole
//! lane), the journal keeps them, and stores nothing else until they are published. It asks the bus
//! how many of them are, whatever a publish returned.
//!
//! The wakers that a publish wakes are the host's code and run on this thread. [`crate::foreign`]
//! contains their panics.

use super::room::Place;
use crate::archive::block::{BlockWriter, Entry};
use crate::archive::error::Stored;
use crate::archive::handle::{Archive, journal_cursor};
use crate::archive::holders::Holder;
use crate::archive::turns::lock;
#[cfg(doc)]
use crate::bus::AgentEventStream;
use crate::bus::InMemoryAgentEventBus;
use crate::event::{
    AgentError, AgentErrorKind, ArchiveCursor, EventDeliverySemantics, EventFrame, SealedEvent,
};
use crate::ring::MAX_SEQUENCE;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use triomphe::UniqueArc;

/// How often frames that the rings refuse are published again before their submitters are answered.
const TRIES: u32 = 1_000;

/// How long the journal waits for a submission before it publishes refused frames again.
const RETRY: Duration = Duration::from_millis(5);

/// How submissions are gathered into groups. When a group is safe is up to the archive's
/// [`Durability`](crate::archive::Durability).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// The frames of a group, from which on it takes no more submissions.
    pub group: NonZeroUsize,
    /// The bytes of a group, as [`waiting_bytes`](Self::waiting_bytes) counts them, from which on
    /// it takes no more submissions.
    pub group_bytes: NonZeroUsize,
    /// How long a group waits for more submissions once it has one. With zero it takes those that
    /// came while the group before it was written.
    pub linger: Duration,
    /// How many submissions may wait for their group. Beyond that,
    /// [`submit`](crate::archive::JournaledBus::submit) waits for room.
    pub waiting: NonZeroUsize,
    /// How many frames may wait for their answer. A submission that has more waits until it is
    /// alone.
    pub waiting_frames: NonZeroUsize,
    /// How many bytes of memory these may take, about. A submission that takes more waits until it
    /// is alone.
    pub waiting_bytes: NonZeroUsize,
    /// Whether each subscription is [repaired](AgentEventStream::repaired_by) from the journal. It
    /// loses nothing then, whatever its policy.
    pub repair: bool,
}

impl Default for JournalOptions {
    /// Groups of 8,192 frames or 16 MiB; no lingering; 8,192 submissions waiting, with 65,536
    /// frames or 64 MiB; no repair.
    fn default() -> Self {
        const MANY: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
        const FRAMES: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
        const GROUP_BYTES: NonZeroUsize = NonZeroUsize::new(16 << 20).unwrap();
        const BYTES: NonZeroUsize = NonZeroUsize::new(64 << 20).unwrap();
        JournalOptions {
            group: MANY,
            group_bytes: GROUP_BYTES,
            linger: Duration::ZERO,
            waiting: MANY,
            waiting_frames: FRAMES,
            waiting_bytes: BYTES,
            repair: false,
        }
    }
}

/// Where frames are that are durable and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journaled {
    /// Their sequence numbers on the bus.
    pub sequences: Range<u64>,
    /// Their positions in the archive.
    pub positions: Range<u64>,
}

/// The claim of a bus to have an archive as its journal: one bus of a process at a time.
#[derive(Debug)]
pub(super) struct Journaling(Archive);

impl Journaling {
    /// Claims the archive.
    ///
    /// # Errors
    /// If another bus of this process has it as its journal.
    pub(super) fn begin(archive: &Archive) -> Stored<Self> {
        // E19: acquire. All that an earlier journal appended is seen.
        if archive.shared.journaling.swap(true, Ordering::Acquire) {
            return Err(AgentError::contract_violation(
                "the archive is the journal of another bus of this process; clone that bus",
            ));
        }
        Ok(Journaling(archive.held_by(Holder::Bus)))
    }
}

impl Drop for Journaling {
    fn drop(&mut self) {
        // E19: release.
        self.0.shared.journaling.store(false, Ordering::Release);
    }
}

/// The answer to a submission.
pub(super) type Reply = Result<Journaled, AgentError>;

/// Frames that were submitted together.
pub(super) struct Job {
    pub(super) frames: Vec<EventFrame>,
    /// Takes the answer, once.
    pub(super) reply: Sender<Reply>,
    /// What it takes of the room until it is answered.
    pub(super) place: Place,
}

/// The state of the journal's thread.
pub(super) struct Journal {
    bus: InMemoryAgentEventBus,
    options: JournalOptions,
    /// How many frames the rings take at once for sure.
    batch_limit: usize,
    unpublished: Unpublished,
    /// The position after the last frame that was stored and published. Retention keeps what is
    /// stored from there on while a group is stored and published.
    published_to: u64,
    /// Dropped last: another bus may claim the archive then.
    journaling: Journaling,
}

/// Frames of one group that are durable and not published yet, in the order of their sequence
/// numbers.
#[derive(Default)]
struct Unpublished {
    /// The sequence number of the first one; of the next frame to be stored if there is none.
    next_sequence: u64,
    events: VecDeque<UniqueArc<SealedEvent>>,
}

impl Journal {
    pub(super) fn new(
        journaling: Journaling,
        bus: InMemoryAgentEventBus,
        options: JournalOptions,
        batch_limit: usize,
    ) -> Self {
        Journal {
            bus,
            options,
            batch_limit,
            unpublished: Unpublished::default(),
            published_to: journaling.0.end().map_or(0, |end| end.position + 1),
            journaling,
        }
    }

    /// Commits what is submitted, until the last handle of the bus is gone and all is done.
    pub(super) fn run(mut self, waiting: &Receiver<Job>) {
        loop {
            let first = if self.unpublished.events.is_empty() {
                waiting.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                waiting.recv_timeout(RETRY)
            };
            match first {
                Ok(first) => self.commit(gather(waiting, first, &self.options)),
                Err(RecvTimeoutError::Timeout) => drop(self.publish_stored()),
                Err(RecvTimeoutError::Disconnected) => {
                    // What still can't be published is in the archive.
                    let _ = self.publish_stored_patiently();
                    return;
                }
            }
        }
    }

    /// Stores a group, publishes it and answers. If the rings refuse an earlier group, refuses this
    /// one.
    fn commit(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            if let Err(error) = self.publish_stored() {
                let message = format!(
                    "frames that were stored before these have to be published first: {}",
                    error.message()
                );
                return refuse(jobs, &AgentError::new(error.kind(), message));
            }
            let count: u64 = jobs.iter().map(|job| job.frames.len() as u64).sum();
            if self.bus.last_sequence() + 1 + count > MAX_SEQUENCE {
                let message = "the journal's sequence numbers are used up; begin a new archive";
                return refuse(
                    jobs,
                    &AgentError::new(AgentErrorKind::SequenceExhausted, message),
                );
            }
            match self.encode(&jobs) {
                Ok(blocks) => return self.store(jobs, blocks),
                Err((at, error)) => {
                    // The jobs before it are committed first, so they come first on the bus.
                    let rest = jobs.split_off(at.max(1));
                    let first = std::mem::replace(&mut jobs, rest);
                    if at == 0 {
                        self.publish_diagnostic(first, &error);
                    } else {
                        self.commit(first);
                    }
                }
            }
        }
    }

    /// Returns the frames of all jobs in blocks.
    ///
    /// # Errors
    /// The index of the first job that can't be stored, and why.
    fn encode(&self, jobs: &[Job]) -> Result<BlockWriter, (usize, AgentError)> {
        let mut blocks = self.journaling.0.shared.block_writer();
        let mut sequences = self.bus.last_sequence() + 1..;
        for (at, job) in jobs.iter().enumerate() {
            for (frame, sequence) in job.frames.iter().zip(&mut sequences) {
                let entry = Entry {
                    epoch: self.journaling.0.shared.journal_epoch,
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

    /// Appends a group, publishes it and answers. Called when no earlier frame is unpublished.
    fn store(&mut self, jobs: Vec<Job>, blocks: BlockWriter) {
        let begin = self.bus.last_sequence() + 1;
        self.keep_from(self.published_to);
        let positions = match self.journaling.0.shared.append(blocks, &[]) {
            Ok(positions) => positions,
            Err(error) => {
                self.keep_from(u64::MAX);
                return self.publish_diagnostic(jobs, &error);
            }
        };
        self.published_to = positions.end;
        self.unpublished.next_sequence = begin;
        let (mut sequence, mut position) = (begin, positions.start);
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            let count = job.frames.len() as u64;
            let cursors = (position..).map(|position| self.journaling.0.shared.at(position));
            let events = job.frames.into_iter().zip(cursors).map(journal_backed);
            self.unpublished.events.extend(events);
            let journaled = Journaled {
                sequences: sequence..sequence + count,
                positions: position..position + count,
            };
            (sequence, position) = (sequence + count, position + count);
            replies.push((job.reply, job.place, journaled));
        }
        let all_published = self.publish_stored_patiently();
        for (reply, place, journaled) in replies {
            let published = if journaled.sequences.end <= self.unpublished.next_sequence {
                Ok(journaled)
            } else {
                all_published.clone().map(|()| journaled)
            };
            answer(&reply, published.map_err(not_yet_published));
            drop(place);
        }
    }

    /// Publishes what is stored and not published yet, as far as the rings take it: rings that
    /// refuse a batch may take its first frame.
    fn publish_stored(&mut self) -> Result<(), AgentError> {
        let mut limit = self.batch_limit;
        while !self.unpublished.events.is_empty() {
            let size = limit.min(self.unpublished.events.len());
            let events: Vec<_> = self.unpublished.events.drain(..size).collect();
            let mut events = events.into_iter();
            let published = self.bus.publish_events(&mut events);
            let next = self.bus.last_sequence() + 1;
            if next == self.unpublished.next_sequence {
                // None of them was published.
                events
                    .rev()
                    .for_each(|event| self.unpublished.events.push_front(event));
                if size == 1 {
                    return published;
                }
                limit = 1;
                continue;
            }
            debug_assert_eq!(next, self.unpublished.next_sequence + size as u64);
            self.unpublished.next_sequence = next;
        }
        self.keep_from(u64::MAX);
        Ok(())
    }

    /// Tells retention from which position on frames may be stored and not published yet.
    fn keep_from(&self, position: u64) {
        *lock(&self.journaling.0.shared.unpublished_from) = position;
    }

    /// Does the same, and tries again a number of times, so that readers that pin the rings can go
    /// on.
    fn publish_stored_patiently(&mut self) -> Result<(), AgentError> {
        for _ in 0..TRIES {
            if self.publish_stored().is_ok() {
                return Ok(());
            }
            thread::yield_now();
        }
        self.publish_stored()
    }

    /// Publishes frames that could not be stored as diagnostic ones, and answers. Called when no
    /// earlier frame is unpublished.
    fn publish_diagnostic(&self, jobs: Vec<Job>, error: &AgentError) {
        let count: u64 = jobs.iter().map(|job| job.frames.len() as u64).sum();
        let last = self.bus.last_sequence() + count;
        let noted = match self.journaling.0.shared.writer() {
            Ok(writer) => writer.lock().note_shown(last),
            Err(_) => false,
        };
        for job in jobs {
            // Without the note, a later process could give the sequence numbers to other frames.
            for frame in job.frames.into_iter().filter(|_| noted) {
                let event = frame.event.with_envelope(|envelope| {
                    envelope.delivery_semantics = EventDeliverySemantics::DiagnosticOnly;
                    envelope.journal_cursor = None;
                });
                // The answer is the first error. That the frame was not published either adds
                // nothing.
                let _ = self.bus.publish(EventFrame::new(event));
            }
            answer(&job.reply, Err(error.clone()));
        }
    }
}

/// Returns the submissions that wait, up to a group.
fn gather(waiting: &Receiver<Job>, mut first: Job, options: &JournalOptions) -> Vec<Job> {
    let until = Instant::now().checked_add(options.linger);
    let mut count = first.frames.len();
    let mut bytes = first.place.leave_queue();
    let mut jobs = vec![first];
    while count < options.group.get() && bytes < options.group_bytes.get() {
        let remaining = until.map_or(Duration::MAX, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let next = if remaining.is_zero() {
            waiting.try_recv().ok()
        } else {
            waiting.recv_timeout(remaining).ok()
        };
        let Some(mut job) = next else { break };
        count += job.frames.len();
        bytes = bytes.saturating_add(job.place.leave_queue());
        jobs.push(job);
    }
    jobs
}

/// Answers for jobs that are neither stored nor published.
fn refuse(jobs: Vec<Job>, error: &AgentError) {
    jobs.iter()
        .for_each(|job| answer(&job.reply, Err(error.clone())));
}

fn answer(reply: &Sender<Reply>, answer: Reply) {
    // The receipt may have been dropped.
    let _ = reply.send(answer);
}

fn not_yet_published(error: AgentError) -> AgentError {
    AgentError::new(
        AgentErrorKind::NotYetPublished,
        format!(
            "the frames are stored, and will be published; do not publish them again: {}",
            error.message()
        ),
    )
}

/// Returns the event of a frame that is durable at this position.
fn journal_backed((frame, position): (EventFrame, ArchiveCursor)) -> UniqueArc<SealedEvent> {
    let event = frame.event.with_envelope(|envelope| {
        envelope.delivery_semantics = EventDeliverySemantics::JournalBacked;
        envelope.journal_cursor = Some(journal_cursor(&position));
    });
    event.into_unique(None)
}
