//! A live stream whose gaps are repaired from an archive, and which so loses nothing that the
//! archive has.
//!
//! `stream/read_ahead.rs` says when a gap is repaired; here is how. What the archive lacks is
//! reported as lost, on the first frame after it. When a gap is closed, a notice with the sequence
//! numbers of the gap and a `dropped_count` of 0 is attached to the next frame.

use super::archive::RepairArchive;
use super::end::StreamEnd;
use super::stream::{AgentEventStream, GapFiller, GapReports, Step};
use super::trace;
use crate::bound::Loss;
use crate::event::{AgentError, BusEpoch, CompiledEventFilter, EventFrame, JournalCursor};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

/// A gap that begins within this many sequence numbers of the last one is reached by reading on,
/// without opening the archive again.
const NEAR: u64 = 4_096;

impl AgentEventStream {
    /// The same live stream, repaired from an archive: it loses nothing that the archive has.
    ///
    /// Where the rings lost frames before the stream read them, it reads them from the archive, as
    /// [`DerivedReplay`](crate::EventDeliverySemantics::DerivedReplay) frames with their position
    /// there, and then goes on with the live frames: each frame once, in order, however fast
    /// publishing goes on. On the first frame after a repaired gap, a notice with a `dropped_count`
    /// of 0 says which sequence numbers were repaired; what the archive doesn't have either is
    /// reported as lost.
    ///
    /// Its policy drops nothing: the stream reads a little ahead and leaves the rest in the rings.
    /// A consumer that is slower than the publishers for good reads all from the archive's disk.
    /// Where an archiver of this process has not archived a gap yet, the stream waits for it.
    ///
    /// # Errors
    /// [`AgentErrorKind::ContractViolation`](crate::AgentErrorKind::ContractViolation) if the
    /// stream is not live, or has failed already.
    pub fn repaired_by(
        mut self,
        archive: Arc<dyn RepairArchive>,
    ) -> Result<AgentEventStream, AgentError> {
        let Some(live) = self.as_live_mut() else {
            return Err(AgentError::contract_violation(
                "only a live stream has gaps to repair; subscribe to a bus",
            ));
        };
        if live.has_failed() {
            return Err(AgentError::contract_violation(
                "the stream has failed; subscribe again where its end says",
            ));
        }
        live.fill_gaps(Box::new(Repair {
            archive,
            epoch: live.epoch(),
            filter: live.to_filter()?,
            gap: None,
            reader: None,
            error: None,
            waker: None,
        }));
        Ok(self)
    }

    /// Returns the archive's error, if the last gap that was not repaired was not because of one.
    pub fn repair_error(&self) -> Option<&AgentError> {
        self.as_live()?.gap_filler()?.error()
    }
}

/// Repairs the gaps of one stream from an archive.
#[derive(Clone)]
struct Repair {
    archive: Arc<dyn RepairArchive>,
    /// The stream's bus.
    epoch: BusEpoch,
    /// The stream's scope, as the archive's replay takes it.
    filter: CompiledEventFilter,
    /// The open gap.
    gap: Option<OpenGap>,
    /// The archive's frames where the last gap ended; `None` before the first gap and after an
    /// error.
    reader: Option<ArchiveReader>,
    /// Why the last gap that was not repaired was not.
    error: Option<AgentError>,
    /// Wakes the task that waits for the next frame. The archive refers to it weakly, so it is kept
    /// here as long as the task waits.
    waker: Option<Arc<Waker>>,
}

/// A gap that is being repaired.
#[derive(Clone)]
struct OpenGap {
    /// What the rings lost.
    lost: Loss,
    /// Whether the archive has what it will have of the gap. Set once.
    settled: bool,
    /// The lowest sequence number that was neither given nor reported.
    next: u64,
    /// The next sequence numbers that the archive lacks; known once the gap is settled.
    hole: Option<Range<u64>>,
    /// Whether a frame came out of the archive.
    repaired: bool,
    /// The journal cursor of the first of them.
    repair_from: Option<JournalCursor>,
}

impl OpenGap {
    fn new(lost: Loss) -> Self {
        OpenGap {
            next: lost.first_seq,
            lost,
            settled: false,
            hole: None,
            repaired: false,
            repair_from: None,
        }
    }

    /// Reports sequence numbers of the gap that stay lost.
    fn lose(&self, sequences: Range<u64>, reports: &mut GapReports<'_>) {
        if sequences.is_empty() {
            return;
        }
        let loss = Loss {
            first_seq: sequences.start,
            last_seq: sequences.end - 1,
            count: (sequences.end - sequences.start).min(self.lost.count),
            ..self.lost
        };
        trace::lost(reports.scope(), &loss);
        reports.report(&loss, |_| {});
    }

    /// Reports that the gap is closed, if a frame of it was repaired.
    fn report_repaired(self, reports: &mut GapReports<'_>) {
        if !self.repaired {
            return;
        }
        trace::repaired(reports.scope(), &self.lost);
        let loss = Loss {
            count: 0,
            exact: true,
            terminal_preserved: true,
            ..self.lost
        };
        reports.report(&loss, |notice| notice.repair_from = self.repair_from);
    }
}

/// The archive's frames of the scope, from some sequence number on.
#[derive(Clone)]
struct ArchiveReader {
    frames: AgentEventStream,
    /// A frame that was read and is after the gap it was read for.
    peeked: Option<EventFrame>,
    /// Every frame below this sequence number was read.
    next: u64,
    /// Whether it was opened for the gap that is being repaired, and so sees all that the archive
    /// has of it.
    fresh: bool,
}

impl ArchiveReader {
    /// Returns whether reading on reaches `sequence`, and soon.
    fn is_near(&self, sequence: u64) -> bool {
        (self.next..=self.next + NEAR).contains(&sequence)
    }
}

/// A gap on which the archive is at work. The archive is its host's code: if it panics, the gap
/// stays open.
struct AtWork<'a> {
    repair: &'a mut Repair,
    gap: Option<OpenGap>,
}

impl AtWork<'_> {
    fn step(&mut self, reports: &mut GapReports<'_>) -> Result<Step, AgentError> {
        match &mut self.gap {
            Some(gap) => self.repair.mend(gap, reports),
            None => Ok(Step::Closed),
        }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(gap) = self.gap.take() {
            self.repair.gap = Some(gap);
        }
    }
}

impl GapFiller for Repair {
    fn open(&mut self, lost: Loss) {
        self.gap = Some(OpenGap::new(lost));
    }

    fn is_open(&self) -> bool {
        self.gap.is_some()
    }

    fn step(&mut self, reports: &mut GapReports<'_>) -> Step {
        let Some(gap) = self.gap.take() else {
            return Step::Closed;
        };
        let mut work = AtWork {
            repair: self,
            gap: Some(gap),
        };
        let stepped = work.step(reports);
        let Some(gap) = work.gap.take() else {
            return Step::Closed;
        };
        drop(work);
        match stepped {
            Ok(Step::Closed) => {}
            Ok(step) => {
                self.gap = Some(gap);
                return step;
            }
            Err(error) => {
                // What was not read is lost to this stream, as without an archive.
                trace::unrepaired(reports.scope(), &error);
                gap.lose(gap.next..gap.lost.last_seq + 1, reports);
                (self.error, self.reader) = (Some(error), None);
            }
        }
        gap.report_repaired(reports);
        Step::Closed
    }

    fn register_waker(&mut self, waker: &Waker) {
        let known = self.waker.as_ref().is_some_and(|it| it.will_wake(waker));
        if !known {
            self.waker = Some(Arc::new(waker.clone()));
        }
    }

    fn deregister_waker(&mut self) {
        self.waker = None;
    }

    fn error(&self) -> Option<&AgentError> {
        self.error.as_ref()
    }

    fn boxed_clone(&self) -> Box<dyn GapFiller> {
        Box::new(self.clone())
    }
}

impl Repair {
    /// Asks the archive for the gap's next frame, and reports the holes before it. Where the
    /// archive fails or panics, `gap` knows what was given and reported by then.
    fn mend(
        &mut self,
        gap: &mut OpenGap,
        reports: &mut GapReports<'_>,
    ) -> Result<Step, AgentError> {
        let (epoch, last) = (self.epoch, gap.lost.last_seq);
        let end = last + 1;
        if !gap.settled {
            if !self.archive.is_settled(epoch, last, self.waker.as_ref()) {
                return Ok(Step::Wait);
            }
            gap.hole = self.archive.next_hole(epoch, gap.lost.first_seq..end)?;
            gap.settled = true;
            if let Some(reader) = &mut self.reader {
                reader.fresh = false;
            }
        }
        let frame = self.read(gap.next, end)?;
        let reached = frame.as_ref().map_or(end, |it| it.cursor.event_seq);
        while let Some(hole) = gap.hole.clone().filter(|hole| hole.start < reached) {
            let next = self.archive.next_hole(epoch, hole.end..end)?;
            (gap.hole, gap.next) = (next, hole.end);
            gap.lose(hole, reports);
        }
        gap.next = reached + 1;
        let Some(mut frame) = frame else {
            return Ok(Step::Closed);
        };
        if !gap.repaired {
            gap.repaired = true;
            gap.repair_from.clone_from(&frame.cursor.journal_cursor);
        }
        frame.cursor.scope = reports.scope().clone();
        Ok(Step::Frame(frame))
    }

    /// Returns the archive's next frame of the scope from sequence number `from` on, below `end`.
    fn read(&mut self, from: u64, end: u64) -> Result<Option<EventFrame>, AgentError> {
        loop {
            let near = |reader: &ArchiveReader| reader.is_near(from);
            let mut reader = match self.reader.take().filter(near) {
                Some(reader) => reader,
                None => ArchiveReader {
                    frames: self.archive.replay_filtered_from_cursor(
                        self.filter.clone(),
                        self.archive.before_sequence(self.epoch, from)?,
                    )?,
                    peeked: None,
                    next: from,
                    fresh: true,
                },
            };
            while let Some(frame) = reader.peeked.take().or_else(|| reader.frames.next()) {
                let sequence = frame.cursor.event_seq;
                if frame.cursor.bus_epoch != self.epoch || sequence < from {
                    continue;
                }
                if sequence >= end {
                    (reader.next, reader.peeked) = (end, Some(frame));
                    self.reader = Some(reader);
                    return Ok(None);
                }
                reader.next = sequence + 1;
                self.reader = Some(reader);
                return Ok(Some(frame));
            }
            if let Some(StreamEnd::SourceFailed(error)) = reader.frames.end() {
                return Err(error);
            }
            if reader.fresh {
                return Ok(None);
            }
            // It ended where the archive did when it was opened for an earlier gap: open it again.
        }
    }
}
