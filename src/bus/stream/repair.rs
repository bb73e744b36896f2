//! A live stream that repairs its gaps from an archive, and so loses nothing.
//!
//! It keeps no backlog that a policy would have to thin out: it reads a little ahead of its
//! consumer, and leaves the rest in the rings. When they lap it, or had lost what its cursor
//! resumes from, the subscription says which numbers are missing, exactly where they are missing:
//! between what it gave before and what it will give next. Those are read from the archive, and
//! only then the subscription is asked for more. So whatever is published meanwhile, frames come in
//! the order of their numbers and each once; if the rings move on during a repair, that is the next
//! gap.
//!
//! What the archive lacks is told as lost, on the first frame behind it. When a gap is closed, a
//! notice with the numbers of the gap and a `dropped_count` of 0 rides on the next frame.

use super::live::{Live, loss, move_past};
use super::{AgentEventStream, Source};
use crate::bound::BoundedQueue;
use crate::bus::archive::RepairArchive;
use crate::bus::batch::{Lender, frame};
use crate::bus::end::StreamEnd;
use crate::bus::memory::Event;
use crate::bus::scope::Scope;
use crate::bus::trace;
use crate::event::{
    AgentError, BusEpoch, CompiledEventFilter, EventFilter, EventFrame, EventOverflowNotice,
    EventStreamScope, JournalCursor, PayloadAccessMode,
};
use crate::ring::{Delivery, Gap, Polled};
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::task::Waker;

/// How many frames it reads ahead, and lends in a batch.
pub(super) const AHEAD: usize = 256;

/// A gap that begins at most so many numbers behind the last one is reached by reading on.
const NEAR: u64 = 4_096;

#[derive(Clone)]
pub(super) struct Repair {
    archive: Arc<dyn RepairArchive>,
    /// The scope, as the archive's replay takes it.
    filter: CompiledEventFilter,
    /// What was read from the rings and not given yet.
    pub(super) ahead: VecDeque<Event>,
    /// What was given before and taken back; it comes before all else.
    returned: Option<EventFrame>,
    gap: Option<Mending>,
    reader: Option<Reader>,
    /// What the next frame tells.
    pub(super) notice: Option<Box<EventOverflowNotice>>,
    error: Option<AgentError>,
    /// Wakes the task that waits for the next frame. The archive has it as long as it is here.
    waker: Option<Arc<Waker>>,
}

/// A gap that is being repaired.
#[derive(Clone)]
struct Mending {
    gap: Gap,
    /// The archive was asked: it has what it will have.
    settled: bool,
    /// The lowest number that was not dealt with.
    next: u64,
    /// The next numbers that the archive lacks.
    hole: Option<Range<u64>>,
    /// Whether a frame came out of the archive, and the first one's place in the journal.
    repaired: bool,
    repair_from: Option<JournalCursor>,
}

/// The archive's frames from somewhere on.
#[derive(Clone)]
struct Reader {
    frames: AgentEventStream,
    /// One that belongs behind the gap it was read for.
    peeked: Option<EventFrame>,
    /// All below this number was read.
    at: u64,
    /// It was opened for the gap that is being repaired.
    fresh: bool,
}

/// A gap on which the archive is at work. The archive is its host's code: if it panics, the gap is
/// still to be repaired.
struct Open<'a> {
    repair: &'a mut Repair,
    mending: Option<Mending>,
}

impl Open<'_> {
    fn mend(&mut self, place: &mut Place<'_>) -> Result<Step, AgentError> {
        match &mut self.mending {
            Some(mending) => self.repair.mend(mending, place),
            None => Ok(Step::Done),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(mending) = self.mending.take() {
            self.repair.gap = Some(mending);
        }
    }
}

/// The stream that is repaired: its bus, and who counts and words its losses.
struct Place<'a> {
    epoch: BusEpoch,
    scope: &'a Scope,
    queue: &'a mut BoundedQueue,
}

enum Step {
    Frame(EventFrame),
    /// The archive may still get what is missing.
    Wait,
    Done,
}

impl AgentEventStream {
    /// The same live stream, repaired from an archive: it loses nothing that the archive has.
    ///
    /// Where the rings lost frames before it read them, it reads them from the archive, as
    /// [`DerivedReplay`](crate::EventDeliverySemantics::DerivedReplay) frames with their place
    /// there, and then joins the live frames: each frame once, in order, however fast publishing
    /// goes on. On the first frame behind a repaired gap, a notice with a `dropped_count` of 0 says
    /// which numbers were repaired; what the archive doesn't have either is told as lost.
    ///
    /// Its policy drops nothing: it reads a little ahead and leaves the rest where it is. A
    /// consumer that is slower than the publishers for good reads all from the archive's disk.
    /// Where an archiver of this process has not archived a gap yet, it waits for it.
    ///
    /// # Errors
    /// [`AgentErrorKind::ContractViolation`](crate::AgentErrorKind::ContractViolation) if it is no
    /// live stream, or has failed already.
    pub fn repaired_by(
        mut self,
        archive: Arc<dyn RepairArchive>,
    ) -> Result<AgentEventStream, AgentError> {
        let Source::Live(live) = &mut self.source else {
            return Err(AgentError::contract_violation(
                "only a live stream has gaps to repair; subscribe to a bus",
            ));
        };
        if live.queue.failure().is_some() {
            return Err(AgentError::contract_violation(
                "the stream has failed; subscribe again where its end says",
            ));
        }
        live.repair = Some(Box::new(Repair {
            archive,
            filter: filter_of(&live.scope, live.access)?,
            ahead: VecDeque::new(),
            returned: None,
            gap: None,
            reader: None,
            notice: live.queue.take_pending().map(Box::new),
            error: None,
            waker: None,
        }));
        Ok(self)
    }

    /// Why the last gap that could not be repaired was not: the archive's error.
    pub fn repair_error(&self) -> Option<&AgentError> {
        match &self.source {
            Source::Live(live) => live.repair.as_ref()?.error.as_ref(),
            _ => None,
        }
    }
}

fn filter_of(scope: &Scope, access: PayloadAccessMode) -> Result<CompiledEventFilter, AgentError> {
    let mut filter = match scope {
        Scope::Plain(EventStreamScope::Run(run_id)) => EventFilter::run(run_id).compile()?,
        Scope::Plain(EventStreamScope::Agent(agent_id)) => {
            EventFilter::agent(agent_id).compile()?
        }
        Scope::Plain(_) => EventFilter::default().compile()?,
        Scope::Filtered(filter) => (**filter).clone(),
    };
    filter.payload_access = access;
    Ok(filter)
}

/// A live stream that repairs itself, which lends some frames.
pub(super) struct SomeRepaired<'a> {
    pub(super) live: &'a mut Live,
    /// How many more.
    pub(super) left: usize,
}

impl Lender for SomeRepaired<'_> {
    fn next(&mut self) -> Option<EventFrame> {
        self.left = self.left.checked_sub(1)?;
        self.live.next_repaired()
    }

    fn take_back(&mut self, frame: EventFrame) {
        let envelope = &frame.event.envelope;
        self.live.counts.take_back(envelope);
        // All below it was given or told; which place in the journal is before it is not known.
        self.live.position.event_seq = envelope.event_seq - 1;
        self.live.position.journal_cursor = None;
        if let Some(repair) = &mut self.live.repair {
            repair.returned = Some(frame);
        }
    }
}

impl Live {
    /// The next frame of a stream that repairs itself.
    pub(super) fn next_repaired(&mut self) -> Option<EventFrame> {
        if let Some(frame) = self.repair.as_mut()?.returned.take() {
            move_past(&mut self.position, &frame.event.envelope);
            self.counts.deliver(&frame.event.envelope);
            return Some(frame);
        }
        // What its policy had let through before.
        if let Some(taken) = self.next_taken() {
            return Some(taken);
        }
        let mut next = loop {
            let repair = self.repair.as_mut()?;
            if let Some(event) = repair.ahead.pop_front() {
                break frame(event, None, self.access, self.queue.scope());
            }
            let mut place = Place {
                epoch: self.shared.epoch,
                scope: &self.scope,
                queue: &mut self.queue,
            };
            match repair.step(&mut place) {
                Step::Frame(next) => break next,
                Step::Wait => return None,
                Step::Done if !self.read_ahead() => return None,
                Step::Done => {}
            }
        };
        next.overflow = self.repair.as_mut()?.notice.take();
        let envelope = &next.event.envelope;
        move_past(&mut self.position, envelope);
        self.counts.notices += u64::from(next.overflow.is_some());
        self.counts.deliver(envelope);
        Some(next)
    }

    /// Whether a gap is open, and so nothing to be had until the archive has more.
    pub(super) fn waits_for_archive(&self) -> bool {
        self.repair.as_ref().is_some_and(|it| it.gap.is_some())
    }

    /// Reads from the rings up to the next gap, or some frames; whether there was something.
    fn read_ahead(&mut self) -> bool {
        let Some(repair) = &mut self.repair else {
            return false;
        };
        let (scope, mut found) = (&self.scope, None);
        let polled = self.subscription.poll(|delivery| {
            match delivery {
                Delivery::Gap(gap) => {
                    found = Some(gap);
                    return ControlFlow::Break(());
                }
                Delivery::Frame(_, event) if scope.matches(event.envelope()) => {
                    repair.ahead.push_back(event.clone());
                }
                Delivery::Frame(..) => {}
            }
            match repair.ahead.len() < AHEAD {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        self.held_back = polled == Polled::Unfinished;
        repair.gap = found.map(Mending::new);
        repair.gap.is_some() || !repair.ahead.is_empty()
    }

    /// Whether nothing is left to give, now that nothing is published any more.
    pub(super) fn is_repaired_to_the_end(&mut self) -> bool {
        self.repair.as_deref().is_none_or(Repair::is_idle) && !self.read_ahead() && !self.held_back
    }
}

impl Mending {
    fn new(gap: Gap) -> Self {
        Mending {
            gap,
            settled: false,
            next: gap.first,
            hole: None,
            repaired: false,
            repair_from: None,
        }
    }
}

impl Repair {
    /// A task waits for the next frame: the archive is to wake it, too.
    pub(super) fn register_waker(&mut self, waker: &Waker) {
        let known = self.waker.as_ref().is_some_and(|it| it.will_wake(waker));
        if !known {
            self.waker = Some(Arc::new(waker.clone()));
        }
    }

    /// No task waits any more.
    pub(super) fn deregister_waker(&mut self) {
        self.waker = None;
    }

    /// Whether nothing was read from the rings that is not given or repaired yet.
    pub(super) fn is_idle(&self) -> bool {
        self.returned.is_none() && self.ahead.is_empty() && self.gap.is_none()
    }

    /// The next frame of the gap that is being repaired, if there is one.
    ///
    /// The ring's frames that were read before the gap come out first: the gap is found behind
    /// them.
    fn step(&mut self, place: &mut Place<'_>) -> Step {
        let Some(mending) = self.gap.take() else {
            return Step::Done;
        };
        let mut open = Open {
            repair: self,
            mending: Some(mending),
        };
        let mended = open.mend(place);
        let Some(mending) = open.mending.take() else {
            return Step::Done;
        };
        drop(open);
        match mended {
            Ok(Step::Done) => {}
            Ok(step) => {
                self.gap = Some(mending);
                return step;
            }
            Err(error) => {
                // What was not read is lost to this stream, as without an archive.
                trace::unrepaired(place.queue.scope(), &error);
                self.lose(&mending.gap, mending.next..mending.gap.last + 1, place);
                (self.error, self.reader) = (Some(error), None);
            }
        }
        if mending.repaired {
            trace::repaired(place.queue.scope(), &mending.gap);
            let gap = Gap {
                lost: 0,
                terminals_lost: false,
                ..mending.gap
            };
            let mut notice = place.queue.tell(&loss(gap, place.epoch, place.scope));
            notice.repair_from = mending.repair_from;
            self.tell(notice);
        }
        Step::Done
    }

    /// Asks the archive, and gives what it has next. Where it may fail or panic, `mending` says
    /// what was given and told by then.
    fn mend(&mut self, mending: &mut Mending, place: &mut Place<'_>) -> Result<Step, AgentError> {
        let epoch = place.epoch;
        let numbers = mending.gap.first..mending.gap.last + 1;
        if !mending.settled {
            if !self
                .archive
                .is_settled(epoch, mending.gap.last, self.waker.as_ref())
            {
                return Ok(Step::Wait);
            }
            mending.hole = self.archive.next_hole(epoch, numbers.clone())?;
            mending.settled = true;
            if let Some(reader) = &mut self.reader {
                reader.fresh = false;
            }
        }
        let frame = self.read(epoch, mending.next, numbers.end)?;
        let reached = frame.as_ref().map_or(numbers.end, |it| it.cursor.event_seq);
        while let Some(hole) = mending.hole.clone().filter(|hole| hole.start < reached) {
            let next = self.archive.next_hole(epoch, hole.end..numbers.end)?;
            (mending.hole, mending.next) = (next, hole.end);
            self.lose(&mending.gap, hole, place);
        }
        mending.next = reached + 1;
        let Some(mut frame) = frame else {
            return Ok(Step::Done);
        };
        if !mending.repaired {
            mending.repaired = true;
            mending.repair_from.clone_from(&frame.cursor.journal_cursor);
        }
        frame.cursor.scope = place.queue.scope().clone();
        Ok(Step::Frame(frame))
    }

    /// The archive's next frame of the scope from number `from` on, below `end`.
    fn read(
        &mut self,
        epoch: BusEpoch,
        from: u64,
        end: u64,
    ) -> Result<Option<EventFrame>, AgentError> {
        loop {
            let near = |reader: &Reader| (reader.at..=reader.at + NEAR).contains(&from);
            let mut reader = match self.reader.take().filter(near) {
                Some(reader) => reader,
                None => Reader {
                    frames: self.archive.replay_filtered_from_cursor(
                        self.filter.clone(),
                        self.archive.before_sequence(epoch, from)?,
                    )?,
                    peeked: None,
                    at: from,
                    fresh: true,
                },
            };
            while let Some(frame) = reader.peeked.take().or_else(|| reader.frames.next()) {
                let number = frame.cursor.event_seq;
                if frame.cursor.bus_epoch != epoch || number < from {
                    continue;
                }
                if number >= end {
                    (reader.at, reader.peeked) = (end, Some(frame));
                    self.reader = Some(reader);
                    return Ok(None);
                }
                reader.at = number + 1;
                self.reader = Some(reader);
                return Ok(Some(frame));
            }
            if let Some(StreamEnd::SourceFailed(error)) = reader.frames.end() {
                return Err(error);
            }
            if reader.fresh {
                return Ok(None);
            }
            // It ended where the archive did when it was opened, for an earlier gap: once more.
        }
    }

    /// Tells of numbers that stay lost.
    fn lose(&mut self, gap: &Gap, numbers: Range<u64>, place: &mut Place<'_>) {
        if numbers.is_empty() {
            return;
        }
        let gap = Gap {
            first: numbers.start,
            last: numbers.end - 1,
            lost: (numbers.end - numbers.start).min(gap.lost),
            ..*gap
        };
        trace::lost(place.queue.scope(), &gap);
        let notice = place.queue.tell(&loss(gap, place.epoch, place.scope));
        self.tell(notice);
    }

    /// Puts a later notice behind what is to be told.
    fn tell(&mut self, notice: EventOverflowNotice) {
        match &mut self.notice {
            Some(earlier) => earlier.merge(notice),
            None => self.notice = Some(Box::new(notice)),
        }
    }
}
