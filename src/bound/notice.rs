//! Notices in the making: adding a dropped frame, or a loss in the rings, to what is already told.

use crate::event::{
    BusEpoch, EventCursor, EventEnvelope, EventOverflowNotice, EventOverflowReason,
    EventStreamScope, JournalCursor, SealedEvent, SubscriberOverflowPolicy,
};

/// Frames of a subscription's scope that the rings lost.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) count: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) epoch: BusEpoch,
    pub(crate) terminal_preserved: bool,
    /// Whether exactly `count` frames were lost, and not at most so many.
    pub(crate) exact: bool,
    pub(crate) reason: EventOverflowReason,
}

/// A notice that may not be there yet.
pub(super) type Slot = Option<Box<EventOverflowNotice>>;

/// What all notices of a subscription have in common.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    pub(super) policy: SubscriberOverflowPolicy,
    pub(super) scope: EventStreamScope,
    /// How many frames were lost, by the number of the reason.
    pub(super) lost: [u64; EventOverflowReason::ALL.len()],
}

impl Teller {
    /// Counts lost frames.
    pub(super) fn count(&mut self, frames: u64, reason: EventOverflowReason) {
        let lost = &mut self.lost[reason as usize];
        *lost = lost.saturating_add(frames);
    }

    /// Adds a dropped frame to what `slot` tells of. A backlog drops many in a row, each behind the
    /// last: that is done in place.
    #[inline(always)]
    pub(super) fn add_drop(
        &mut self,
        slot: &mut Slot,
        event: &SealedEvent,
        reason: EventOverflowReason,
    ) {
        self.count(1, reason);
        let envelope = event.envelope();
        let preserved = !envelope.event_kind.is_terminal();
        if let Some(notice) = slot
            && preserved
            && notice.gap_end.event_seq < envelope.event_seq
        {
            notice.dropped_count = notice.dropped_count.saturating_add(1);
            notice.gap_end.event_seq = envelope.event_seq;
            if envelope.journal_cursor.is_some() || notice.gap_end.journal_cursor.is_some() {
                pass_journal(notice, envelope.journal_cursor.as_ref());
            }
            if !notice.terminal_preserved {
                notice.reason = EventOverflowReason::SubscriberQueueFull;
            }
            return;
        }
        self.begin_drop(slot, envelope, preserved, reason);
    }

    /// The same where it is not the next of a row.
    #[cold]
    fn begin_drop(
        &self,
        slot: &mut Slot,
        envelope: &EventEnvelope,
        preserved: bool,
        reason: EventOverflowReason,
    ) {
        let cursor = envelope.cursor(self.scope.clone());
        let notice = self.notice(1, cursor.clone(), cursor, preserved, reason);
        append(slot, Some(Box::new(notice)));
    }

    /// A notice of `count` frames from `first` to `last`.
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

    /// The notice of a loss in the rings. Nothing is known of the frames but their numbers.
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

/// Makes a notice's gap end at this place of the host's journal.
fn pass_journal(notice: &mut EventOverflowNotice, cursor: Option<&JournalCursor>) {
    notice.gap_end.journal_cursor = cursor.cloned();
    if notice.repair_from.is_none() {
        notice.repair_from = cursor.cloned();
    }
}

/// Makes a notice say that a terminal frame is among what was lost.
pub(super) fn terminal_lost(notice: &mut EventOverflowNotice) {
    notice.terminal_preserved = false;
    notice.reason = EventOverflowReason::SubscriberQueueFull;
}

/// Makes `slot` tell of a later gap as well.
pub(super) fn append(slot: &mut Slot, later: Slot) {
    match (slot.as_mut(), later) {
        (Some(notice), Some(later)) => notice.merge(*later),
        (None, later) => *slot = later,
        (Some(_), None) => {}
    }
}

/// Makes `slot` tell of an earlier gap as well.
pub(super) fn prepend(slot: &mut Slot, mut earlier: Slot) {
    append(&mut earlier, slot.take());
    *slot = earlier;
}
