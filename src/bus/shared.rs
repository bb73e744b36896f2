//! What a bus's handles and its streams share, and how the ring's errors become the bus's.

use crate::bound::Frame;
use crate::event::{
    AgentError, AgentErrorKind, BusEpoch, EventCursor, JournalCursor, KindClass, SealedEvent,
};
use crate::ring::{PublishError, Ring, SubscribeError};
use crate::sync::{AtomicBool, Ordering};

/// A published event, as the rings hold it and every reader of it shares it.
pub(super) type Event = triomphe::Arc<SealedEvent>;

impl Frame for Event {
    type Position = EventCursor;

    #[inline]
    fn sequence(&self) -> u64 {
        self.envelope().event_seq
    }

    #[inline]
    fn class(&self) -> KindClass {
        self.envelope().event_kind.class()
    }

    #[inline]
    fn journal(&self) -> Option<&JournalCursor> {
        self.envelope().journal_cursor.as_ref()
    }

    /// Replaces its payload by a text that says for how many frames it stands.
    fn standing_for(&self, count: u64) -> Self {
        triomphe::Arc::new(self.summarised(format!("{count} dropped progress frames")))
    }
}

/// The rings of one bus. Handles publish to them, streams read them.
pub(super) struct Shared {
    /// The lock-free core.
    pub(super) ring: Ring<Event>,
    /// The bus that its sequence numbers count in. Never changes.
    pub(super) epoch: BusEpoch,
    /// Whether the last handle is gone. Set once, by [`close`](Self::close).
    closed: AtomicBool,
}

impl Shared {
    /// An open bus with these rings.
    pub(super) fn new(ring: Ring<Event>, epoch: BusEpoch) -> Self {
        Shared {
            ring,
            epoch,
            closed: AtomicBool::new(false),
        }
    }

    /// Returns the sequence number of the last frame; before the first one, that of the frame
    /// before it.
    pub(super) fn last_sequence(&self) -> u64 {
        self.ring.next_sequence() - 1
    }

    /// Returns whether the last handle is gone. If so, all that was published is visible.
    pub(super) fn is_closed(&self) -> bool {
        // E17: acquire.
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the bus and wakes every stream that waits. Called when the last handle is dropped.
    pub(super) fn close(&self) {
        // E17: release.
        self.closed.store(true, Ordering::Release);
        self.ring.wake_all();
    }
}

/// Returns the bus's error for a publish that the ring refused.
pub(super) fn publish_error(error: PublishError) -> AgentError {
    let kind = match error {
        PublishError::Stuck => AgentErrorKind::RingStuck,
        PublishError::Exhausted => AgentErrorKind::SequenceExhausted,
        PublishError::BatchTooLarge { .. } => AgentErrorKind::BatchTooLarge,
    };
    AgentError::new(kind, error.to_string())
}

/// Returns the bus's error for a subscription, or a wait, that the ring refused.
pub(super) fn subscribe_error(error: SubscribeError) -> AgentError {
    let kind = match error {
        SubscribeError::Ahead { .. } => AgentErrorKind::CursorAhead,
        SubscribeError::TooMany => AgentErrorKind::TooManySubscriptions,
    };
    AgentError::new(kind, error.to_string())
}
