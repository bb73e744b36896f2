//! Follow mode: a subscriber like any other that archives all of a bus, on a thread of its own.
//!
//! It costs publishers as little as any reader: it borrows frames in batches and encodes them into
//! blocks where they are, without stepping reference counts. It registers its waker only after a
//! pause that brought nothing, so under load no publisher wakes it. When the rings lap it, the gap
//! is stored with its sequence numbers, in the same transaction as the frames after it.

use super::block::{Block, BlockWriter, Entry};
use super::error::Stored;
use super::handle::{Archive, Shared};
use super::worker::Worker;
use super::writer::LostRange;
use crate::bus::{AgentEventBus, AgentEventStream, BatchItem, InMemoryAgentEventBus};
use crate::event::{
    AgentError, AgentErrorKind, BusEpoch, EventCursor, EventStreamScope, SubscriptionOptions,
};
use futures_core::Stream;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// How long an archiver waits before it tries again to write what the disk refused.
const RETRY: Duration = Duration::from_millis(100);

/// How an [`Archiver`] gathers what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    /// How long the archiver pauses between groups: frames are durable later by this, plus the time
    /// of an `fsync`. The rings must hold what is published meanwhile.
    pub linger: Duration,
    /// How many frames a group has at most.
    pub group: NonZeroUsize,
}

impl Default for FollowOptions {
    /// 5 ms, 8,192 frames.
    fn default() -> Self {
        const GROUP: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
        FollowOptions {
            linger: Duration::from_millis(5),
            group: GROUP,
        }
    }
}

/// What an [`Archiver`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it alone says what was lost, and why it ended"]
#[non_exhaustive]
pub struct FollowReport {
    /// How many frames it archived.
    pub frames: u64,
    /// How many frames it lost. Each is in a gap that the archive has recorded.
    pub lost: u64,
    /// Why it ended before the bus was closed and without [`stop`](Archiver::stop), or why it could
    /// not be waited for; otherwise the last error of the disk, which it got over.
    pub error: Option<AgentError>,
}

/// Archives all of a bus in the background, until the bus is closed or it is stopped. Dropping it
/// stops it.
///
/// Wakers that it wakes run on its thread. There, [`finish`](Self::finish), [`stop`](Self::stop)
/// and drops do not wait; what was read is archived soon after all the same. In a forked child,
/// which has no archiver, they do not wait either, and the parent's archiver goes on. Their reports
/// say so.
///
/// ```
/// use framebus::{archive::*, *};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let archive = Archive::open(folder, ArchiveOptions::default())?;
/// let bus = InMemoryAgentEventBus::default();
/// let archiver = Archiver::follow(&archive, &bus, FollowOptions::default())?;
/// let envelope = EventEnvelope::new("run-1", "planner", EventKind::RunStarted);
/// bus.publish(EventFrame::new(AgentEvent::envelope_only(envelope)))?;
/// drop(bus);
/// let report = archiver.finish();
/// assert_eq!((report.frames, report.lost, archive.len()?), (1, 0, 1));
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Debug)]
pub struct Archiver {
    /// Whether the thread is to stop. Set once.
    stop: Arc<AtomicBool>,
    /// The thread; `None` once it was waited for.
    worker: Option<Worker<FollowReport>>,
}

impl Archiver {
    /// Follows a bus from the last frame on that the archive has of it, or from the oldest frame
    /// that the bus holds.
    ///
    /// # Errors
    /// - [`AgentErrorKind::ContractViolation`] if another archiver follows the bus into this
    ///   archive.
    /// - [`AgentErrorKind::CursorAhead`] if the archive has later frames of the bus than the bus
    ///   itself.
    /// - [`AgentErrorKind::ArchiveReadOnly`], or if the archive can't be read.
    pub fn follow(
        archive: &Archive,
        bus: &InMemoryAgentEventBus,
        options: FollowOptions,
    ) -> Result<Self, AgentError> {
        let shared = archive.shared.clone();
        shared.writer()?;
        let epoch = bus.epoch();
        // This comes before the last sequence number is read: an archiver that ends now may still
        // append.
        if !shared.progress.begin(epoch)? {
            return Err(AgentError::contract_violation(
                "an archiver follows this bus into this archive already; keep that one",
            ));
        }
        let following = Following { shared, epoch };
        let last = archive.last_sequence(epoch)?;
        let cursor = (last > 0).then_some(EventCursor {
            scope: EventStreamScope::All,
            event_seq: last,
            bus_epoch: epoch,
            journal_cursor: None,
        });
        let stream = bus.subscribe_all_with_options(cursor, SubscriptionOptions::complete())?;
        following.shared.progress.reached(epoch, last);
        let stop = Arc::new(AtomicBool::new(false));
        let follower = Follower {
            blocks: following.shared.block_writer(),
            gaps: Vec::new(),
            report: FollowReport::default(),
            stop: stop.clone(),
            options,
            stream,
            following,
        };
        let worker = Worker::start("framebus-archiver", move || follower.run())?;
        Ok(Archiver {
            stop,
            worker: Some(worker),
        })
    }

    /// Waits until the bus is closed and all of it is archived. While the disk refuses frames, the
    /// archiver tries them again and again, until the disk takes them or it is
    /// [stopped](Self::stop).
    pub fn finish(mut self) -> FollowReport {
        self.join()
    }

    /// Ends the archiver once what it has read is durable. What it had not read by then is not
    /// archived.
    pub fn stop(mut self) -> FollowReport {
        self.halt();
        self.join()
    }

    /// Tells the thread to stop.
    fn halt(&self) {
        // E18: release. All before the stop is visible to the thread.
        self.stop.store(true, Ordering::Release);
        if let Some(worker) = &self.worker {
            worker.unpark();
        }
    }

    /// Waits for the thread, once.
    fn join(&mut self) -> FollowReport {
        let joined = self.worker.take().map(Worker::join);
        joined.map_or_else(FollowReport::default, |joined| {
            joined.unwrap_or_else(|error| FollowReport {
                error: Some(error),
                ..FollowReport::default()
            })
        })
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        if self.worker.is_some() {
            self.halt();
            let _ = self.join();
        }
    }
}

/// Marks a bus as followed. Dropping it ends that, also when the thread panics.
struct Following {
    shared: Arc<Shared>,
    epoch: BusEpoch,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.shared.progress.end(self.epoch);
    }
}

/// Wakes the archiver's thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The state of the archiver's thread.
struct Follower {
    /// Everything of the bus, completely.
    stream: AgentEventStream,
    /// Frames that were read and are not stored yet.
    blocks: BlockWriter,
    /// Gaps that were found and are not stored yet.
    gaps: Vec<LostRange>,
    options: FollowOptions,
    /// What was done so far.
    report: FollowReport,
    /// As [`Archiver::stop`].
    stop: Arc<AtomicBool>,
    following: Following,
}

impl Follower {
    /// Archives until the bus is closed, the archiver is stopped or the archive refuses frames.
    fn run(mut self) -> FollowReport {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            let count = self.gather();
            if let Err(error) = self.write() {
                self.report.error = Some(error);
                return self.report;
            }
            if self.is_stopped() {
                return self.report;
            }
            if count >= self.options.group.get() {
                continue;
            }
            if count > 0 {
                thread::park_timeout(self.options.linger);
                continue;
            }
            match Pin::new(&mut self.stream.as_stream()).poll_next(&mut context) {
                Poll::Ready(Some(frame)) => {
                    self.gaps
                        .extend(frame.overflow.as_deref().map(LostRange::of));
                    self.take(&Entry::published(frame.event.view()));
                    thread::park_timeout(self.options.linger);
                }
                Poll::Ready(None) => return self.report,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Returns whether the thread is to stop.
    fn is_stopped(&self) -> bool {
        // E18: acquire.
        self.stop.load(Ordering::Acquire)
    }

    /// Reads what is there, up to a group. Returns how many frames and gaps it read.
    fn gather(&mut self) -> usize {
        let mut count = 0;
        while count < self.options.group.get() {
            let Follower {
                stream,
                blocks,
                gaps,
                report,
                ..
            } = self;
            let read = stream.read_batch(|item| {
                match item {
                    BatchItem::Frame(frame) => {
                        let entry = Entry::published(frame.view());
                        put(blocks, gaps, report, &entry);
                    }
                    BatchItem::Gap(notice) => gaps.push(LostRange::of(&notice)),
                }
                ControlFlow::Continue(())
            });
            if read == 0 {
                break;
            }
            count += read;
        }
        count
    }

    /// Gathers a frame.
    fn take(&mut self, entry: &Entry<'_>) {
        put(&mut self.blocks, &mut self.gaps, &mut self.report, entry);
    }

    /// Stores what was gathered. While the disk refuses it, nothing more is read: frames that the
    /// rings lose meanwhile are the next gap.
    fn write(&mut self) -> Stored<()> {
        let blocks: Vec<Block> = self.blocks.finish();
        let Following { shared, epoch } = &self.following;
        if !blocks.is_empty() || !self.gaps.is_empty() {
            loop {
                let written = shared.writer()?.lock().append(&blocks, &self.gaps);
                match written {
                    Ok(positions) => {
                        self.report.frames += positions.end - positions.start;
                        break;
                    }
                    Err(error) if error.kind() == AgentErrorKind::ArchiveOrder => {
                        return Err(error);
                    }
                    Err(error) if self.is_stopped() => return Err(error),
                    Err(error) => self.report.error = Some(error),
                }
                thread::park_timeout(RETRY);
            }
        }
        let read = self.stream.cursor().map_or(0, |cursor| cursor.event_seq);
        let lost = self.gaps.last().map_or(0, |gap| gap.sequences.end - 1);
        shared.progress.reached(*epoch, read.max(lost));
        self.report.lost += self.gaps.drain(..).map(|gap| gap.lost).sum::<u64>();
        Ok(())
    }
}

/// Puts a frame into the blocks. A frame that is too large to be stored becomes a gap.
fn put(
    blocks: &mut BlockWriter,
    gaps: &mut Vec<LostRange>,
    report: &mut FollowReport,
    entry: &Entry<'_>,
) {
    if let Err(error) = blocks.push(entry) {
        gaps.push(LostRange {
            epoch: entry.epoch,
            sequences: entry.sequence..entry.sequence + 1,
            lost: 1,
            terminal_preserved: !entry.event.envelope().event_kind.is_terminal(),
        });
        report.error = Some(error);
    }
}
