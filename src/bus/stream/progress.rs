//! How far a stream has come, and what it has delivered.

use crate::bus::stats::Counts;
use crate::event::{EventCursor, EventEnvelope};

/// A live stream's position and counts. Only the stream moves them, with each frame that it
/// delivers.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The position to resume from: every frame of the scope up to here was delivered or reported
    /// as lost.
    position: EventCursor,
    /// What was delivered so far.
    pub(super) counts: Counts,
}

impl Progress {
    /// The progress of a stream that starts after this position.
    pub(super) fn new(start: EventCursor) -> Self {
        Progress {
            position: start,
            counts: Counts::default(),
        }
    }

    /// Returns the position to resume from.
    pub(super) fn position(&self) -> &EventCursor {
        &self.position
    }

    /// Moves after a frame, and counts it as delivered.
    #[inline]
    pub(super) fn deliver(&mut self, envelope: &EventEnvelope) {
        self.pass(envelope);
        self.counts.deliver(envelope);
    }

    /// Moves after a frame that stands for others, and does not count it.
    #[inline]
    pub(super) fn pass(&mut self, envelope: &EventEnvelope) {
        self.position.event_seq = envelope.event_seq;
        let journal = &mut self.position.journal_cursor;
        journal.clone_from(&envelope.journal_cursor);
    }

    /// Moves before a frame that was delivered last, and no longer counts it.
    pub(super) fn take_back(&mut self, envelope: &EventEnvelope) {
        self.counts.take_back(envelope);
        self.position.event_seq = envelope.event_seq - 1;
        // The journal cursor of the frame before it is not known.
        self.position.journal_cursor = None;
    }

    /// Moves up to this sequence number, of which nothing is left to deliver. Never moves back.
    pub(super) fn advance_to(&mut self, sequence: u64) {
        self.position.event_seq = self.position.event_seq.max(sequence);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::event::{EventKind, EventStreamScope};

    fn envelope(sequence: u64, kind: EventKind) -> EventEnvelope {
        let journal = format!("j{sequence}");
        let mut envelope = EventEnvelope::new("r", "a", kind).with_journal_cursor(journal);
        envelope.event_seq = sequence;
        envelope
    }

    #[test]
    fn a_frame_that_is_taken_back_was_never_delivered() {
        let first = envelope(7, EventKind::RunStarted);
        let second = envelope(9, EventKind::RunCompleted);
        let mut progress = Progress::new(first.cursor(EventStreamScope::All));
        progress.deliver(&first);
        progress.deliver(&second);
        assert_eq!(progress.position(), &second.cursor(EventStreamScope::All));
        assert_eq!(
            (progress.counts.delivered, progress.counts.terminals),
            (2, 1)
        );
        progress.take_back(&second);
        assert_eq!(
            (progress.counts.delivered, progress.counts.terminals),
            (1, 0)
        );
        assert_eq!(progress.position().event_seq, 8, "8 is of another scope");
        assert_eq!(progress.position().journal_cursor, None);
    }

    #[test]
    fn a_position_never_moves_back() {
        let summary = envelope(7, EventKind::ModelStreamDelta);
        let mut progress = Progress::new(summary.cursor(EventStreamScope::All));
        progress.pass(&summary);
        assert_eq!(progress.counts.delivered, 0);
        progress.advance_to(5);
        assert_eq!(progress.position().event_seq, 7);
        progress.advance_to(12);
        assert_eq!(progress.position().event_seq, 12);
    }
}
