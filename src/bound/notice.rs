//! Building notices: adding a dropped frame, or a loss in the rings, to a notice that may exist.

use super::frame::Frame;
use crate::event::{EventOverflowReason, Gap, KindClass, Position, SubscriberOverflowPolicy};

/// Frames of a subscription's scope that the rings lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// How many frames; an upper bound unless `exact`.
    pub(crate) count: u64,
    /// The first lost sequence number.
    pub(crate) first_seq: u64,
    /// The last lost sequence number, not below the first.
    pub(crate) last_seq: u64,
    /// Whether no terminal frame is among them.
    pub(crate) terminal_preserved: bool,
    /// Whether exactly `count` frames were lost; else `count` is an upper bound.
    pub(crate) exact: bool,
    /// Why the rings no longer held them.
    pub(crate) reason: EventOverflowReason,
}

/// A notice, if there is something to report.
pub(crate) type MaybeNotice<C> = Option<Box<Gap<C>>>;

/// Builds the notices of one subscription, and counts what they report.
#[derive(Clone, Debug)]
pub(super) struct NoticeBuilder<C> {
    /// The policy that every notice names.
    pub(super) policy: SubscriberOverflowPolicy,
    /// The position that the subscription started at. Every notice's positions are like it, at
    /// other frames.
    pub(super) start: C,
    /// How many frames were lost so far; the index is the reason as a number.
    pub(super) lost: [u64; EventOverflowReason::ALL.len()],
}

impl<C: Position> NoticeBuilder<C> {
    /// Counts lost frames under their reason.
    pub(super) fn count(&mut self, frames: u64, reason: EventOverflowReason) {
        let lost = &mut self.lost[reason as usize];
        *lost = lost.saturating_add(frames);
    }

    /// Adds a dropped frame of this class to `notice`. A backlog drops many frames in a row, each after the last:
    /// those are added in place.
    #[inline(always)]
    pub(super) fn add_drop<F: Frame<Position = C>>(
        &mut self,
        notice: &mut MaybeNotice<C>,
        frame: &F,
        class: KindClass,
        reason: EventOverflowReason,
    ) {
        self.count(1, reason);
        let sequence = frame.sequence();
        let preserved = class != KindClass::Terminal;
        if let Some(notice) = notice
            && preserved
            && notice.gap_end.sequence() < sequence
        {
            let journal = frame.journal();
            notice.dropped_count = notice.dropped_count.saturating_add(1);
            notice.gap_end.move_to(sequence, journal);
            if journal.is_some() && notice.repair_from.is_none() {
                notice.repair_from = journal.cloned();
            }
            if !notice.terminal_preserved {
                notice.reason = EventOverflowReason::SubscriberQueueFull;
            }
            return;
        }
        self.begin_drop(notice, frame, preserved, reason);
    }

    /// Adds a dropped frame that is not the next in a row.
    #[cold]
    fn begin_drop<F: Frame<Position = C>>(
        &self,
        notice: &mut MaybeNotice<C>,
        frame: &F,
        preserved: bool,
        reason: EventOverflowReason,
    ) {
        let at = self.position_of(frame);
        let drop = self.notice(1, at.clone(), at, preserved, reason);
        append(notice, Some(Box::new(drop)));
    }

    /// Returns a frame's position.
    pub(super) fn position_of<F: Frame<Position = C>>(&self, frame: &F) -> C {
        self.start.at(frame.sequence(), frame.journal())
    }

    /// Returns a notice of exactly `count` frames from `first` to `last`, to be repaired from the
    /// first one's position in the journal. Counts nothing.
    pub(super) fn notice(
        &self,
        count: u64,
        first: C,
        last: C,
        terminal_preserved: bool,
        reason: EventOverflowReason,
    ) -> Gap<C> {
        Gap {
            policy: self.policy,
            dropped_count: count,
            repair_from: first.journal().cloned(),
            gap_start: Some(first),
            gap_end: last,
            terminal_preserved,
            exact: true,
            reason,
        }
    }

    /// Returns the notice of a loss in the rings, and counts it. Only the sequence numbers of the
    /// frames are known.
    pub(super) fn loss(&mut self, loss: &Loss) -> Gap<C> {
        self.count(loss.count, loss.reason);
        let [first, last] = [loss.first_seq, loss.last_seq].map(|it| self.start.at(it, None));
        Gap {
            exact: loss.exact,
            ..self.notice(
                loss.count,
                first,
                last,
                loss.terminal_preserved,
                loss.reason,
            )
        }
    }
}

/// Makes a notice report that a terminal frame is among what was lost.
pub(super) fn add_lost_terminal<C: Position>(notice: &mut Gap<C>) {
    notice.terminal_preserved = false;
    notice.reason = EventOverflowReason::SubscriberQueueFull;
}

/// Makes `notice` report a later gap as well.
#[inline]
pub(crate) fn append<C: Position>(notice: &mut MaybeNotice<C>, later: MaybeNotice<C>) {
    match (notice.as_mut(), later) {
        (Some(notice), Some(later)) => notice.merge(*later),
        (None, later) => *notice = later,
        (Some(_), None) => {}
    }
}

/// Makes `notice` report an earlier gap as well.
pub(super) fn prepend<C: Position>(notice: &mut MaybeNotice<C>, mut earlier: MaybeNotice<C>) {
    append(&mut earlier, notice.take());
    *notice = earlier;
}
