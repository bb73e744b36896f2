//! A live stream whose gaps are repaired from an archive, and which so loses nothing that the
//! archive has.
//!
//! `stream/read_ahead.rs` says when a gap is repaired; here is how. What the archive lacks is
//! reported as lost, on the first frame after it. When a gap is closed, a notice with the sequence
//! numbers of the gap and a `dropped_count` of 0 is attached to the next frame.
//!
//! Why nothing is missing without a notice: between two frames that a replay gives, sequence
//! numbers of the gap are missing because the archive never had them, or because the replay reports
//! that they were removed or can't be read. The first are found by [`RepairArchive::next_hole`],
//! which is asked after the replay was opened: what was removed before that is a hole, what is
//! removed later is reported by the replay. Where the two overlap, a number is reported once.

use super::archive::RepairArchive;
use super::end::StreamEnd;
use super::stream::{AgentEventStream, GapFiller, GapReports, Step};
use super::trace;
use crate::bound::{Loss, append};
use crate::event::{
    AgentError, BusEpoch, CompiledEventFilter, EventCursor, EventFrame, EventOverflowNotice,
    JournalCursor,
};
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
    /// of 0 says which sequence numbers were repaired; what the archive doesn't have either, or
    /// removes before it is read, or can't read, is reported as lost.
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

    /// Returns the archive's error, if it was because of one that the last gap which was not wholly
    /// repaired was not.
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
    /// Why the last gap that was not wholly repaired was not, if because of an error.
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
    /// Whether `hole` is known.
    asked: bool,
    /// The next sequence numbers that the archive lacks.
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
            asked: false,
            hole: None,
            repaired: false,
            repair_from: None,
        }
    }

    /// Reports those of these sequence numbers that were neither given nor reported yet as lost.
    fn lose(&mut self, sequences: Range<u64>, reports: &mut GapReports<'_>) {
        let sequences = sequences.start.max(self.next)..sequences.end;
        if sequences.is_empty() {
            return;
        }
        let loss = Loss {
            first_seq: sequences.start,
            last_seq: sequences.end - 1,
            count: (sequences.end - sequences.start).min(self.lost.count),
            ..self.lost
        };
        self.next = sequences.end;
        trace::lost(reports.scope(), &loss);
        reports.report(&loss, |_| {});
    }

    /// Reports that the gap is closed, if a frame of it was repaired. A loss that the same frame
    /// reports keeps its bounds to itself.
    fn report_repaired(self, reports: &mut GapReports<'_>) {
        if !self.repaired {
            return;
        }
        trace::repaired(reports.scope(), &self.lost);
        if reports.has_loss() {
            return;
        }
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

/// What an archive gives of a gap in one step.
struct Found {
    /// The next frame of the gap; `None` if no further one is there.
    frame: Option<EventFrame>,
    /// What the replay reports as missing before the frame, or at the gap's end.
    missing: Option<Box<EventOverflowNotice>>,
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
        let Some(mut gap) = work.gap.take() else {
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
                let end = gap.lost.last_seq + 1;
                gap.lose(gap.next..end, reports);
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
    /// Asks the archive for the gap's next frame, and reports what is missing before it. Where the
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
            gap.settled = true;
            if let Some(reader) = &mut self.reader {
                reader.fresh = false;
            }
        }
        let Found { frame, missing } = self.read(gap, end)?;
        let reached = frame.as_ref().map_or(end, |it| it.cursor.event_seq);
        let missing = missing.map(|it| self.sequences_of(&it, gap.next..reached));
        self.lose_holes(
            gap,
            missing.as_ref().map_or(reached, |it| it.start),
            reports,
        )?;
        if let Some(missing) = missing {
            gap.lose(missing, reports);
            if let Some(error) = &self.error {
                trace::unrepaired(reports.scope(), error);
            }
            self.lose_holes(gap, reached, reports)?;
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

    /// Reports the archive's holes below `reached` as lost. A hole may reach further: what was
    /// removed since it was read may still be given.
    fn lose_holes(
        &self,
        gap: &mut OpenGap,
        reached: u64,
        reports: &mut GapReports<'_>,
    ) -> Result<(), AgentError> {
        let end = gap.lost.last_seq + 1;
        while let Some(hole) = gap.hole.clone().filter(|hole| hole.start < reached) {
            let rest = if hole.end > reached {
                Some(reached..hole.end)
            } else {
                self.archive.next_hole(self.epoch, hole.end..end)?
            };
            gap.hole = rest;
            gap.lose(hole.start..hole.end.min(reached), reports);
        }
        Ok(())
    }

    /// Returns which of these sequence numbers a notice of the archive's replay reports.
    fn sequences_of(&self, notice: &EventOverflowNotice, among: Range<u64>) -> Range<u64> {
        let own = |cursor: &&EventCursor| cursor.bus_epoch == self.epoch;
        let start = notice.gap_start.as_ref().filter(own);
        let end = Some(&notice.gap_end).filter(own);
        let start = start.map_or(among.start, |it| it.event_seq.max(among.start));
        let end = end.map_or(among.end, |it| (it.event_seq + 1).min(among.end));
        start..end
    }

    /// Adds a notice of the archive's replay to those before it, if it reports frames of this bus.
    fn add_missing(
        &mut self,
        missing: &mut Option<Box<EventOverflowNotice>>,
        notice: Option<Box<EventOverflowNotice>>,
        reader: &ArchiveReader,
    ) {
        let concerns = |notice: &EventOverflowNotice| {
            let start = notice.gap_start.as_ref().map(|it| it.bus_epoch);
            let end = notice.gap_end.bus_epoch;
            notice.dropped_count > 0 && (start != Some(end) || end == self.epoch)
        };
        if let Some(notice) = notice.filter(|it| concerns(it)) {
            self.error = reader.frames.damage().cloned();
            append(missing, Some(notice));
        }
    }

    /// Returns the archive's next frame of the gap from its next sequence number on, below `end`.
    fn read(&mut self, gap: &mut OpenGap, end: u64) -> Result<Found, AgentError> {
        let from = gap.next;
        loop {
            let near = |reader: &ArchiveReader| reader.is_near(from);
            let mut reader = match self.reader.take().filter(near) {
                Some(reader) => reader,
                None => {
                    gap.asked = false;
                    ArchiveReader {
                        frames: self.archive.replay_filtered_from_cursor(
                            self.filter.clone(),
                            self.archive.before_sequence(self.epoch, from)?,
                        )?,
                        peeked: None,
                        next: from,
                        fresh: true,
                    }
                }
            };
            if !gap.asked {
                gap.hole = self.archive.next_hole(self.epoch, from..end)?;
                gap.asked = true;
            }
            let mut missing = None;
            while let Some(mut frame) = reader.peeked.take().or_else(|| reader.frames.next()) {
                self.add_missing(&mut missing, frame.overflow.take(), &reader);
                let sequence = frame.cursor.event_seq;
                if frame.cursor.bus_epoch != self.epoch || sequence < from {
                    continue;
                }
                let frame = if sequence < end {
                    reader.next = sequence + 1;
                    Some(frame)
                } else {
                    // It may report frames of the next gap, too.
                    frame.overflow.clone_from(&missing);
                    (reader.next, reader.peeked) = (end, Some(frame));
                    None
                };
                self.reader = Some(reader);
                return Ok(Found { frame, missing });
            }
            if let Some(StreamEnd::SourceFailed(error)) = reader.frames.end() {
                return Err(error);
            }
            if reader.fresh {
                self.add_missing(
                    &mut missing,
                    reader.frames.pending_overflow().cloned().map(Box::new),
                    &reader,
                );
                return Ok(Found {
                    frame: None,
                    missing,
                });
            }
            // It ended where the archive did when it was opened for an earlier gap: open it again.
        }
    }
}
