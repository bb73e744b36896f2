//! Follow mode: a subscriber like any other that archives all of a bus, on a thread of its own.
//!
//! It costs publishers as little as any reader: it borrows frames in batches and encodes them into
//! blocks where they are, without stepping reference counts. It registers its waker only after a
//! pause that brought nothing, so under load no publisher wakes it.
//!
//! When the rings lap it, the gap is stored with its sequence numbers, in the same transaction as
//! the frames after it. A reader that is lapped and goes on with the oldest frame that is left is
//! lapped again at once, and loses a few frames here and there for as long as it is too slow.
//! Therefore the archiver skips half of what it is behind: it takes note of these frames as lost,
//! but for the terminal ones, and has room in the rings again for as many. So it loses few long
//! ranges, and between them archives whole ones.

use super::block::{Block, BlockWriter, Entry};
use super::error::Stored;
use super::handle::{Archive, Shared};
use super::holders::{Held, Holder};
use super::lost::LostRange;
use super::worker::Worker;
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
    /// The frames of a group, from which on it takes no more.
    pub group: NonZeroUsize,
    /// The bytes of a group's frames, as they are stored, from which on it takes no more.
    pub group_bytes: NonZeroUsize,
}

impl Default for FollowOptions {
    /// 5 ms; 32,768 frames or 16 MiB: about what the rings hold, so that an archiver that is late
    /// pays one `fsync` for all of it.
    fn default() -> Self {
        const GROUP: NonZeroUsize = NonZeroUsize::new(32_768).unwrap();
        const BYTES: NonZeroUsize = NonZeroUsize::new(16 << 20).unwrap();
        FollowOptions {
            linger: Duration::from_millis(5),
            group: GROUP,
            group_bytes: BYTES,
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
        let following = Following {
            shared,
            epoch,
            _held: archive.held.by(Holder::Archiver),
        };
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
            gathering: Gathering {
                blocks: following.shared.block_writer(),
                gaps: Vec::new(),
                lapped: None,
                report: FollowReport::default(),
            },
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
    _held: Held,
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

/// What an archiver does that was lapped: it skips frames.
struct Lapped {
    /// What was lost so far, to the rings and by skipping.
    gap: LostRange,
    /// The sequence number from which on no frame is skipped.
    until: u64,
}

impl Lapped {
    /// Skips a frame if it is one to be skipped. Terminal ones are not.
    fn skips(&mut self, entry: &Entry<'_>) -> bool {
        let skips = entry.sequence < self.until && !is_terminal(entry);
        if skips {
            if self.gap.lost == 0 {
                self.gap.sequences.start = entry.sequence;
            }
            self.gap.sequences.end = entry.sequence + 1;
            self.gap.lost += 1;
        }
        skips
    }

    /// Adds what the rings lost meanwhile.
    fn add(&mut self, lost: LostRange) {
        if self.gap.lost == 0 {
            self.gap = lost;
            return;
        }
        self.gap.sequences.end = lost.sequences.end;
        self.gap.lost += lost.lost;
        self.gap.terminal_preserved &= lost.terminal_preserved;
    }

    /// Takes out what was lost by now; the gap goes on after it.
    fn rest(&mut self) -> Option<LostRange> {
        let end = self.gap.sequences.end;
        let rest = LostRange {
            epoch: self.gap.epoch,
            sequences: end..end,
            lost: 0,
            terminal_preserved: true,
        };
        Some(std::mem::replace(&mut self.gap, rest)).filter(|gap| gap.lost > 0)
    }
}

fn is_terminal(entry: &Entry<'_>) -> bool {
    entry.event.envelope().event_kind.is_terminal()
}

/// What was read and is not stored yet.
struct Gathering {
    blocks: BlockWriter,
    gaps: Vec<LostRange>,
    /// The gap that grows.
    lapped: Option<Lapped>,
    /// What was done so far.
    report: FollowReport,
}

impl Gathering {
    /// Takes a frame. A frame that is too large to be stored becomes a gap.
    fn take(&mut self, entry: &Entry<'_>) {
        if self.lapped.as_mut().is_some_and(|it| it.skips(entry)) {
            return;
        }
        if !is_terminal(entry) {
            let lapped = self.lapped.take();
            self.gaps.extend(lapped.and_then(|mut it| it.rest()));
        }
        if let Err(error) = self.blocks.push(entry) {
            self.gaps.push(LostRange {
                epoch: entry.epoch,
                sequences: entry.sequence..entry.sequence + 1,
                lost: 1,
                terminal_preserved: !is_terminal(entry),
            });
            self.report.error = Some(error);
        }
    }

    /// Takes note of frames that the rings lost. Frames up to `until` are skipped.
    fn lose(&mut self, lost: LostRange, until: u64) {
        match &mut self.lapped {
            Some(lapped) => {
                lapped.add(lost);
                lapped.until = until;
            }
            None => self.lapped = Some(Lapped { gap: lost, until }),
        }
    }

    /// Returns what is to be stored: the frames, and the gaps, also the part of one that grows.
    fn finish(&mut self) -> (Vec<Block>, &[LostRange]) {
        if let Some(lapped) = &mut self.lapped {
            let rest = lapped.rest();
            self.gaps.extend(rest);
        }
        (self.blocks.finish(), &self.gaps)
    }
}

/// The state of the archiver's thread.
struct Follower {
    /// Everything of the bus, completely.
    stream: AgentEventStream,
    gathering: Gathering,
    options: FollowOptions,
    /// As [`Archiver::stop`].
    stop: Arc<AtomicBool>,
    following: Following,
}

/// How much was gathered.
enum Gathered {
    Nothing,
    /// All that is there.
    All,
    /// A group, or what comes before a gap. There may be more.
    Some,
}

impl Follower {
    /// Archives until the bus is closed, the archiver is stopped or the archive refuses frames.
    fn run(mut self) -> FollowReport {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            let gathered = self.gather();
            if let Err(error) = self.write() {
                self.gathering.report.error = Some(error);
                return self.gathering.report;
            }
            if self.is_stopped() {
                return self.gathering.report;
            }
            match gathered {
                Gathered::Some => continue,
                Gathered::All => {
                    thread::park_timeout(self.options.linger);
                    continue;
                }
                Gathered::Nothing => {}
            }
            match Pin::new(&mut self.stream.as_stream()).poll_next(&mut context) {
                Poll::Ready(Some(frame)) => {
                    if let Some(notice) = frame.overflow.as_deref() {
                        self.lose(LostRange::of(notice));
                    }
                    self.gathering.take(&Entry::published(frame.event.view()));
                    thread::park_timeout(self.options.linger);
                }
                Poll::Ready(None) => return self.gathering.report,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Returns whether the thread is to stop.
    fn is_stopped(&self) -> bool {
        // E18: acquire.
        self.stop.load(Ordering::Acquire)
    }

    /// Reads what is there, up to a group. Frames that are skipped count too, so that a skip does
    /// not keep the thread from its other work.
    fn gather(&mut self) -> Gathered {
        let mut count = 0;
        loop {
            let (mut lost, gathering) = (None, &mut self.gathering);
            let read = self.stream.read_batch(|item| match item {
                BatchItem::Frame(frame) => {
                    gathering.take(&Entry::published(frame.view()));
                    ControlFlow::Continue(())
                }
                BatchItem::Gap(notice) => {
                    lost = Some(LostRange::of(&notice));
                    ControlFlow::Break(())
                }
            });
            if let Some(lost) = lost {
                self.lose(lost);
            }
            count += read;
            if read == 0 && count == 0 {
                return Gathered::Nothing;
            }
            if read == 0 {
                return Gathered::All;
            }
            let bytes = self.gathering.blocks.size();
            if count >= self.options.group.get() || bytes >= self.options.group_bytes.get() {
                return Gathered::Some;
            }
        }
    }

    /// Takes note of frames that the rings lost, and skips half of what it is behind.
    fn lose(&mut self, lost: LostRange) {
        let lag = self.stream.stats().lag;
        let until = lost.sequences.end.saturating_add(lag / 2);
        self.gathering.lose(lost, until);
    }

    /// Stores what was gathered. While the disk refuses it, nothing more is read: frames that the
    /// rings lose meanwhile are the next gap.
    fn write(&mut self) -> Stored<()> {
        let Following { shared, epoch, .. } = &self.following;
        let (blocks, gaps) = self.gathering.finish();
        let lost = gaps.last().map_or(0, |gap| gap.sequences.end - 1);
        if !blocks.is_empty() || !gaps.is_empty() {
            let mut refused = None;
            let positions = loop {
                let written = shared.writer()?.lock().append(&blocks, gaps);
                match written {
                    Ok(positions) => break positions,
                    Err(error) if error.kind() == AgentErrorKind::ArchiveOrder => {
                        return Err(error);
                    }
                    Err(error) if self.stop.load(Ordering::Acquire) => return Err(error),
                    Err(error) => refused = Some(error),
                }
                thread::park_timeout(RETRY);
            };
            let report = &mut self.gathering.report;
            report.frames += positions.end - positions.start;
            report.error = refused.or(report.error.take());
        }
        let read = self.stream.cursor().map_or(0, |cursor| cursor.event_seq);
        shared.progress.reached(*epoch, read.max(lost));
        let gathering = &mut self.gathering;
        gathering.report.lost += gathering.gaps.drain(..).map(|gap| gap.lost).sum::<u64>();
        Ok(())
    }
}
