//! Building notices: adding a dropped frame, or a loss in the rings, to a notice that may exist.

use crate::event::{
    BusEpoch, EventCursor, EventEnvelope, EventOverflowNotice, EventOverflowReason,
    EventStreamScope, JournalCursor, SealedEvent, SubscriberOverflowPolicy,
};

/// Frames of a subscription's scope that the rings lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// How many frames; an upper bound unless `exact`.
    pub(crate) count: u64,
    /// The first lost sequence number.
    pub(crate) first_seq: u64,
    /// The last lost sequence number, not below the first.
    pub(crate) last_seq: u64,
    /// The bus that the sequence numbers count in.
    pub(crate) epoch: BusEpoch,
    /// Whether no terminal frame is among them.
    pub(crate) terminal_preserved: bool,
    /// Whether exactly `count` frames were lost; else `count` is an upper bound.
    pub(crate) exact: bool,
    /// Why the rings no longer held them.
    pub(crate) reason: EventOverflowReason,
}

/// A notice, if there is something to report.
pub(crate) type MaybeNotice = Option<Box<EventOverflowNotice>>;

/// Builds the notices of one subscription, and counts what they report.
#[derive(Clone, Debug)]
pub(super) struct NoticeBuilder {
    /// The policy that every notice names.
    pub(super) policy: SubscriberOverflowPolicy,
    /// The scope that the cursors of every notice name.
    pub(super) scope: EventStreamScope,
    /// How many frames were lost so far; the index is the reason as a number.
    pub(super) lost: [u64; EventOverflowReason::ALL.len()],
}

impl NoticeBuilder {
    /// Counts lost frames under their reason.
    pub(super) fn count(&mut self, frames: u64, reason: EventOverflowReason) {
        let lost = &mut self.lost[reason as usize];
        *lost = lost.saturating_add(frames);
    }

    /// Adds a dropped frame to `notice`. A backlog drops many frames in a row, each after the last:
    /// those are added in place.
    #[inline(always)]
    pub(super) fn add_drop(
        &mut self,
        notice: &mut MaybeNotice,
        event: &SealedEvent,
        reason: EventOverflowReason,
    ) {
        self.count(1, reason);
        let envelope = event.envelope();
        let preserved = !envelope.event_kind.is_terminal();
        if let Some(notice) = notice
            && preserved
            && notice.gap_end.event_seq < envelope.event_seq
        {
            notice.dropped_count = notice.dropped_count.saturating_add(1);
            notice.gap_end.event_seq = envelope.event_seq;
            if envelope.journal_cursor.is_some() || notice.gap_end.journal_cursor.is_some() {
                end_in_journal(notice, envelope.journal_cursor.as_ref());
            }
            if !notice.terminal_preserved {
                notice.reason = EventOverflowReason::SubscriberQueueFull;
            }
            return;
        }
        self.begin_drop(notice, envelope, preserved, reason);
    }

    /// Adds a dropped frame that is not the next in a row.
    #[cold]
    fn begin_drop(
        &self,
        notice: &mut MaybeNotice,
        envelope: &EventEnvelope,
        preserved: bool,
        reason: EventOverflowReason,
    ) {
        let cursor = envelope.cursor(self.scope.clone());
        let drop = self.notice(1, cursor.clone(), cursor, preserved, reason);
        append(notice, Some(Box::new(drop)));
    }

    /// Returns a notice of exactly `count` frames from `first` to `last`, to be repaired from the
    /// first one's journal cursor. Counts nothing.
    pub(super) fn notice(
        &self,
        count: u64,
        first: EventCursor,
        last: EventCursor,
        terminal_preserved: bool,
        reason: EventOverflowReason,
    ) -> EventOverflowNotice {
        EventOverflowNotice {
            policy: self.policy,
            dropped_count: count,
            repair_from: first.journal_cursor.clone(),
            gap_start: Some(first),
            gap_end: last,
            terminal_preserved,
            exact: true,
            reason,
        }
    }

    /// Returns the notice of a loss in the rings, and counts it. Only the sequence numbers of the
    /// frames are known.
    pub(super) fn loss(&mut self, loss: &Loss) -> EventOverflowNotice {
        self.count(loss.count, loss.reason);
        let cursor = |event_seq| EventCursor {
            scope: self.scope.clone(),
            event_seq,
            bus_epoch: loss.epoch,
            journal_cursor: None::<JournalCursor>,
        };
        let (first, last) = (cursor(loss.first_seq), cursor(loss.last_seq));
        let preserved = loss.terminal_preserved;
        EventOverflowNotice {
            exact: loss.exact,
            ..self.notice(loss.count, first, last, preserved, loss.reason)
        }
    }
}

/// Makes a notice's gap end at this journal cursor.
fn end_in_journal(notice: &mut EventOverflowNotice, cursor: Option<&JournalCursor>) {
    notice.gap_end.journal_cursor = cursor.cloned();
    if notice.repair_from.is_none() {
        notice.repair_from = cursor.cloned();
    }
}

/// Makes a notice report that a terminal frame is among what was lost.
pub(super) fn add_lost_terminal(notice: &mut EventOverflowNotice) {
    notice.terminal_preserved = false;
    notice.reason = EventOverflowReason::SubscriberQueueFull;
}

/// Makes `notice` report a later gap as well.
pub(crate) fn append(notice: &mut MaybeNotice, later: MaybeNotice) {
    match (notice.as_mut(), later) {
        (Some(notice), Some(later)) => notice.merge(*later),
        (None, later) => *notice = later,
        (Some(_), None) => {}
    }
}

/// Makes `notice` report an earlier gap as well.
pub(super) fn prepend(notice: &mut MaybeNotice, mut earlier: MaybeNotice) {
    append(&mut earlier, notice.take());
    *notice = earlier;
}
