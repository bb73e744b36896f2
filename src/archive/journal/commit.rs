//! The journal's thread: it stores a group, shows it, and answers.
//!
//! Why the numbers in the archive are those on the bus: nobody else publishes on that bus, which
//! takes numbers one by one, in the order of the calls. What is appended under the numbers behind
//! the bus's last one gets these when it is published next. If the rings refuse frames that are
//! durable already (readers asleep in their batches hold a whole lane), the journal *owes* them: it
//! keeps them, and numbers nothing else until they are out. How many of them have their numbers it
//! asks the bus, whatever a publish said.
//!
//! Code of a host that runs on this thread is behind [`crate::foreign`]: the wakers that a publish
//! wakes. Its panics do not get here.

use super::super::block::{BlockWriter, Entry};
use super::super::journal_cursor;
use super::super::store::lock;
use super::{JournalOptions, Journaled, Journaling};
use crate::bus::InMemoryAgentEventBus;
use crate::event::{
    AgentError, AgentErrorKind, ArchiveCursor, EventDeliverySemantics, EventFrame, SealedEvent,
};
use crate::ring::MAX_SEQUENCE;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use triomphe::UniqueArc;

/// How often frames that the rings refused are tried again before their publishers are told.
const TRIES: u32 = 1_000;

/// How long the journal waits before it tries again unasked.
const RETRY: Duration = Duration::from_millis(5);

pub(super) type Reply = Result<Journaled, AgentError>;

/// Frames that were submitted together.
pub(super) struct Job {
    pub(super) frames: Vec<EventFrame>,
    pub(super) reply: Sender<Reply>,
}

/// What the journal's thread has.
pub(super) struct Journal {
    bus: InMemoryAgentEventBus,
    options: JournalOptions,
    /// The most frames that the rings take at once.
    most: usize,
    owed: Owed,
    /// Dropped last: then another bus may have the archive.
    journaling: Journaling,
}

/// Frames of one group that are durable and not shown yet, in the order of their numbers.
#[derive(Default)]
struct Owed {
    /// The number of the first one; of the next frame to be stored if there is none.
    number: u64,
    events: VecDeque<UniqueArc<SealedEvent>>,
}

impl Journal {
    pub(super) fn new(
        journaling: Journaling,
        bus: InMemoryAgentEventBus,
        options: JournalOptions,
        most: usize,
    ) -> Self {
        Journal {
            bus,
            options,
            most,
            owed: Owed::default(),
            journaling,
        }
    }

    /// Until nobody can submit any more, and all is done.
    pub(super) fn run(mut self, waiting: &Receiver<Job>) {
        loop {
            let first = match self.owed.events.is_empty() {
                true => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => waiting.recv_timeout(RETRY),
            };
            match first {
                Ok(first) => self.commit(gather(waiting, first, &self.options)),
                Err(RecvTimeoutError::Timeout) => drop(self.pay()),
                Err(RecvTimeoutError::Disconnected) => {
                    // What still can't be shown is in the archive.
                    let _ = self.pay_patiently();
                    return;
                }
            }
        }
    }

    fn commit(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            if let Err(error) = self.pay() {
                let message = format!(
                    "frames that were stored before these have to be shown first: {}",
                    error.message()
                );
                return refuse(jobs, &AgentError::new(error.kind(), message));
            }
            match self.encode(&jobs) {
                Ok(blocks) => return self.store(jobs, blocks),
                Err((at, error)) => {
                    // Those before it come first, also on the bus.
                    let rest = jobs.split_off(at.max(1));
                    let first = std::mem::replace(&mut jobs, rest);
                    match at {
                        0 => self.diagnose(first, &error),
                        _ => self.commit(first),
                    }
                }
            }
        }
    }

    /// Returns the frames of all jobs in blocks, or the first job that can't be stored.
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

    /// Appends, shows and answers. Nothing is owed.
    fn store(&mut self, jobs: Vec<Job>, blocks: BlockWriter) {
        let begin = self.bus.last_sequence() + 1;
        let count: u64 = jobs.iter().map(|job| job.frames.len() as u64).sum();
        if begin + count > MAX_SEQUENCE {
            let message = "the journal's numbers are used up; begin a new archive";
            return refuse(
                jobs,
                &AgentError::new(AgentErrorKind::SequenceExhausted, message),
            );
        }
        let positions = match self.journaling.0.shared.append(blocks, &[]) {
            Ok(positions) => positions,
            Err(error) => return self.diagnose(jobs, &error),
        };
        self.owed.number = begin;
        let (mut sequence, mut position) = (begin, positions.start);
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            let count = job.frames.len() as u64;
            let places = (position..).map(|position| self.journaling.0.shared.at(position));
            let events = job.frames.into_iter().zip(places).map(journal_backed);
            self.owed.events.extend(events);
            let journaled = Journaled {
                sequences: sequence..sequence + count,
                positions: position..position + count,
            };
            (sequence, position) = (sequence + count, position + count);
            replies.push((job.reply, journaled));
        }
        let paid = self.pay_patiently();
        for (reply, journaled) in replies {
            let shown = journaled.sequences.end <= self.owed.number;
            let told = if shown { Ok(()) } else { paid.clone() };
            answer(&reply, told.map(|()| journaled).map_err(not_yet_shown));
        }
    }

    /// Shows what is owed, as far as the rings take it: rings that refuse a batch may take its
    /// first frame.
    fn pay(&mut self) -> Result<(), AgentError> {
        let mut most = self.most;
        while !self.owed.events.is_empty() {
            let size = most.min(self.owed.events.len());
            let events: Vec<_> = self.owed.events.drain(..size).collect();
            let mut events = events.into_iter();
            let published = self.bus.publish_events(&mut events);
            let next = self.bus.last_sequence() + 1;
            if next == self.owed.number {
                // None of them has its number.
                events
                    .rev()
                    .for_each(|event| self.owed.events.push_front(event));
                if size == 1 {
                    return published;
                }
                most = 1;
                continue;
            }
            debug_assert_eq!(next, self.owed.number + size as u64);
            self.owed.number = next;
        }
        Ok(())
    }

    /// The same, while readers that hold the rings get a moment to go on.
    fn pay_patiently(&mut self) -> Result<(), AgentError> {
        for _ in 0..TRIES {
            if self.pay().is_ok() {
                return Ok(());
            }
            thread::yield_now();
        }
        self.pay()
    }

    /// Shows frames that could not be stored, and answers. Nothing is owed.
    fn diagnose(&self, jobs: Vec<Job>, error: &AgentError) {
        let count: u64 = jobs.iter().map(|job| job.frames.len() as u64).sum();
        let last = self.bus.last_sequence() + count;
        let noted = match self.journaling.0.shared.writer() {
            Ok(writer) => lock(writer).lock.note_shown(last).is_ok(),
            Err(_) => false,
        };
        for job in jobs {
            // Without the note, a later process could give the numbers again.
            for frame in job.frames.into_iter().filter(|_| noted) {
                let event = frame.event.with_envelope(|envelope| {
                    envelope.delivery_semantics = EventDeliverySemantics::DiagnosticOnly;
                    envelope.journal_cursor = None;
                });
                // The publisher is told of the first error; that nobody saw the frame adds nothing.
                let _ = self.bus.publish(EventFrame::new(event));
            }
            answer(&job.reply, Err(error.clone()));
        }
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

/// Answers for jobs that are neither stored nor shown.
fn refuse(jobs: Vec<Job>, error: &AgentError) {
    jobs.iter()
        .for_each(|job| answer(&job.reply, Err(error.clone())));
}

fn answer(reply: &Sender<Reply>, answer: Reply) {
    // Nobody need wait for it.
    let _ = reply.send(answer);
}

fn not_yet_shown(error: AgentError) -> AgentError {
    AgentError::new(
        AgentErrorKind::NotYetShown,
        format!(
            "the frames are stored, and will be shown; do not publish them again: {}",
            error.message()
        ),
    )
}

/// A frame that is durable at this place.
fn journal_backed((frame, place): (EventFrame, ArchiveCursor)) -> UniqueArc<SealedEvent> {
    let event = frame.event.with_envelope(|envelope| {
        envelope.delivery_semantics = EventDeliverySemantics::JournalBacked;
        envelope.journal_cursor = Some(journal_cursor(&place));
    });
    event.into_unique(None)
}
