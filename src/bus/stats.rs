//! The figures of a subscription.

use crate::event::{EventEnvelope, EventOverflowReason};
#[cfg(feature = "serde")]
use std::collections::HashMap;
use std::fmt;

/// What became of a subscription so far, from
/// [`AgentEventStream::stats`](super::AgentEventStream::stats). A clone of a stream begins with the
/// figures of its original, as with its position.
///
/// ```
/// # use framebus::*;
/// let bus = InMemoryAgentEventBus::default();
/// let mut stream = bus.subscribe_all(None)?;
/// let envelope = |kind| EventEnvelope::new("r", "a", kind);
/// let frame = |kind| EventFrame::new(AgentEvent::envelope_only(envelope(kind)));
/// (0..100).try_for_each(|_| bus.publish(frame(EventKind::ModelStreamDelta)))?;
/// assert_eq!(stream.stats().lag, 100);
/// // The default queue has room for 63 of them.
/// assert_eq!(stream.by_ref().count(), 63);
/// let stats = stream.stats();
/// assert_eq!((stats.delivered, stats.dropped.total(), stats.notices), (63, 37, 1));
/// assert_eq!(stats.dropped.of(EventOverflowReason::PolicyDroppedNonTerminal), 37);
/// # Ok::<(), AgentError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct StreamStats {
    /// Every frame of its scope up to this sequence number was given or reported as lost. It moves
    /// with what the stream has looked at, so a quiet run's reader stands where the bus does.
    pub position: u64,
    /// How many sequence numbers were given out after that position: no more frames wait
    /// for the stream, in its queue and in the rings; fewer if its scope is narrow.
    pub lag: u64,
    /// How many frames are in its queue, or read ahead.
    pub queued: u64,
    /// How many frames were given as themselves: all frames given but summaries.
    pub delivered: u64,
    /// How many of them were terminal.
    pub terminals: u64,
    /// How many frames it lost.
    pub dropped: DropCounts,
    /// How often a lane of the rings was found overwritten beyond what the stream had read.
    pub laps: u64,
    /// How many notices were given.
    pub notices: u64,
}

/// The figures that a stream counts itself. The others are read where they are kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// As [`StreamStats::delivered`].
    pub(super) delivered: u64,
    /// As [`StreamStats::terminals`].
    pub(super) terminals: u64,
    /// As [`StreamStats::notices`].
    pub(super) notices: u64,
}

impl Counts {
    /// Counts a frame that was given as itself.
    #[inline]
    pub(super) fn deliver(&mut self, envelope: &EventEnvelope) {
        self.delivered += 1;
        self.terminals += u64::from(envelope.event_kind.is_terminal());
    }

    /// No longer counts a frame, which was taken back.
    pub(super) fn take_back(&mut self, envelope: &EventEnvelope) {
        self.delivered -= 1;
        self.terminals -= u64::from(envelope.event_kind.is_terminal());
    }
}

/// How many frames were lost, by reason. A notice that stands for several gaps names one reason;
/// here each frame counts under its own.
///
/// As text, the total, and in brackets the count of each reason that is not 0. In JSON, an object
/// with the count under each reason's name.
///
/// ```
/// # use framebus::{DropCounts, EventOverflowReason};
/// let mut counts = [0; EventOverflowReason::ALL.len()];
/// assert_eq!(DropCounts::from(counts).to_string(), "0");
/// counts[EventOverflowReason::SubscriberLagged as usize] = 30;
/// counts[EventOverflowReason::PolicyDroppedProgress as usize] = 7;
/// assert_eq!(
///     DropCounts::from(counts).to_string(),
///     "37 (subscriber_lagged 30, policy_dropped_progress 7)"
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; EventOverflowReason::ALL.len()]);

impl DropCounts {
    /// Returns how many frames were lost for this reason.
    pub fn of(&self, reason: EventOverflowReason) -> u64 {
        self.0[reason as usize]
    }

    /// Returns how many frames were lost in all; at most `u64::MAX`.
    pub fn total(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count))
    }
}

impl From<[u64; EventOverflowReason::ALL.len()]> for DropCounts {
    fn from(counts: [u64; EventOverflowReason::ALL.len()]) -> Self {
        DropCounts(counts)
    }
}

impl fmt::Display for DropCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        let lost = EventOverflowReason::ALL.map(|reason| (reason, self.of(reason)));
        let mut before = " (";
        for (reason, count) in lost.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{before}{} {count}", reason.as_str())?;
            before = ", ";
        }
        f.write_str(if before == ", " { ")" } else { "" })
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for DropCounts {
    /// A map from each reason to its count.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts = EventOverflowReason::ALL.map(|reason| (reason, self.of(reason)));
        serializer.collect_map(counts)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for DropCounts {
    /// An absent reason counts 0.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = HashMap::<EventOverflowReason, u64>::deserialize(deserializer)?;
        let of = |reason| counts.get(&reason).copied().unwrap_or(0);
        Ok(DropCounts(EventOverflowReason::ALL.map(of)))
    }
}
