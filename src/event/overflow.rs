//! What a slow subscriber may lose, and how that is reported.

use super::cursor::EventCursor;
use super::id::JournalCursor;
use super::payload::PayloadAccessMode;
use std::fmt;
use std::num::NonZeroUsize;

/// What a subscription's queue does when it has no room. Under every policy, a terminal frame is
/// queued in place of the oldest frame that is not terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SubscriberOverflowPolicy {
    /// Drops the arriving frame that is not terminal.
    #[default]
    DropNonTerminal,
    /// Drops an arriving progress frame; for another frame, the oldest queued progress frame.
    DropProgress,
    /// Lets the last of a run of progress frames stand for the whole run, whether or not there is
    /// room. A run of one frame is that frame.
    SummarizeAndContinue,
    /// Refused for live subscriptions: no subscriber may hold up a publisher.
    BackpressureCaller,
    /// Ends the stream, and says where to resume.
    FailSubscriber,
}

/// The bounds of a subscription's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SubscriberQueueConfig {
    /// How many frames it holds at most.
    pub capacity: NonZeroUsize,
    /// How many of them are reserved for terminal frames.
    pub terminal_reserve: NonZeroUsize,
    /// What it does when it has no room.
    pub overflow: SubscriberOverflowPolicy,
}

impl Default for SubscriberQueueConfig {
    /// 64 frames, 1 of them for terminal ones, [`SubscriberOverflowPolicy::DropNonTerminal`].
    fn default() -> Self {
        const CAPACITY: NonZeroUsize = NonZeroUsize::new(64).unwrap();
        SubscriberQueueConfig {
            capacity: CAPACITY,
            terminal_reserve: NonZeroUsize::MIN,
            overflow: SubscriberOverflowPolicy::default(),
        }
    }
}

/// Where a subscription without a cursor starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StreamStart {
    /// At the oldest frame that the bus still holds. Frames that it no longer holds are not
    /// reported as lost.
    #[default]
    OldestHeld,
    /// After everything published so far.
    Latest,
    /// At the bus's first frame. If that is gone, the first frame given reports the lost ones, with
    /// the reason [`EventOverflowReason::LiveBufferExpired`].
    Beginning,
}

/// How a subscription reads.
///
/// ```
/// # use framebus::*;
/// // All that the rings hold, and nothing dropped but by them.
/// let archive = SubscriptionOptions::complete().beginning();
/// // A queue of 1,024 frames that lets progress go first, for what is published from now on.
/// let screen = SubscriptionOptions::capacity(1_024)
///     .policy(SubscriberOverflowPolicy::DropProgress)
///     .latest();
/// # let _ = (archive, screen);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SubscriptionOptions {
    /// Its queue.
    pub queue: SubscriberQueueConfig,
    /// How much of payloads it may see.
    pub payload_access: PayloadAccessMode,
    /// Where it starts when it has no cursor.
    pub start: StreamStart,
    /// Whether it reads without a queue and its policy, and gives every frame that the rings still
    /// hold.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub complete: bool,
}

impl SubscriptionOptions {
    /// Complete reading: no queue, and so no policy that drops. Frames are lost to the rings only,
    /// and reported. Costs least. For readers that are not slow for long.
    #[must_use]
    pub fn complete() -> Self {
        SubscriptionOptions {
            complete: true,
            ..Self::default()
        }
    }

    /// A queue of `frames` frames, at least 1; everything else at its default.
    #[must_use]
    pub fn capacity(frames: usize) -> Self {
        let mut options = Self::default();
        options.queue.capacity = NonZeroUsize::new(frames).unwrap_or(NonZeroUsize::MIN);
        options
    }

    /// Sets the policy of a queue that has no room.
    #[must_use]
    pub fn policy(mut self, policy: SubscriberOverflowPolicy) -> Self {
        self.queue.overflow = policy;
        self
    }

    /// Sets how many of the queue's frames, at least 1, are reserved for terminal ones.
    #[must_use]
    pub fn terminal_reserve(mut self, frames: usize) -> Self {
        self.queue.terminal_reserve = NonZeroUsize::new(frames).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Sets how much of payloads the subscription may see.
    #[must_use]
    pub fn payload(mut self, access: PayloadAccessMode) -> Self {
        self.payload_access = access;
        self
    }

    /// Starts [after everything published so far](StreamStart::Latest).
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.start = StreamStart::Latest;
        self
    }

    /// Starts [at the bus's first frame](StreamStart::Beginning).
    #[must_use]
    pub fn beginning(mut self) -> Self {
        self.start = StreamStart::Beginning;
        self
    }
}

/// Why frames were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum EventOverflowReason {
    /// The subscription's queue had no room, and the policy made none.
    SubscriberQueueFull,
    /// The rings overwrote frames that this live subscription had not read.
    SubscriberLagged,
    /// Frames after the cursor were gone when it subscribed. In an archive's replay: they were
    /// removed before they were read, or can't be read.
    LiveBufferExpired,
    /// The policy dropped progress frames.
    PolicyDroppedProgress,
    /// The policy dropped frames that are not terminal.
    PolicyDroppedNonTerminal,
}

impl EventOverflowReason {
    /// All reasons.
    pub const ALL: [EventOverflowReason; 5] = [
        EventOverflowReason::SubscriberQueueFull,
        EventOverflowReason::SubscriberLagged,
        EventOverflowReason::LiveBufferExpired,
        EventOverflowReason::PolicyDroppedProgress,
        EventOverflowReason::PolicyDroppedNonTerminal,
    ];

    /// Returns the reason's name, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventOverflowReason::SubscriberQueueFull => "subscriber_queue_full",
            EventOverflowReason::SubscriberLagged => "subscriber_lagged",
            EventOverflowReason::LiveBufferExpired => "live_buffer_expired",
            EventOverflowReason::PolicyDroppedProgress => "policy_dropped_progress",
            EventOverflowReason::PolicyDroppedNonTerminal => "policy_dropped_non_terminal",
        }
    }
}

/// Reports what a subscription lost. Attached to the first frame after the gap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventOverflowNotice {
    /// The subscription's policy.
    pub policy: SubscriberOverflowPolicy,
    /// How many frames are gone; 0 where the gap was repaired from an archive.
    pub dropped_count: u64,
    /// Whether exactly `dropped_count` frames of the subscription's scope are gone. If not, the
    /// count is an upper bound: a scope narrower than all does not know which of the frames that
    /// the rings overwrote were its own. JSON without the field is read as not exact.
    #[cfg_attr(feature = "serde", serde(default))]
    pub exact: bool,
    /// The cursor of the first of them, if known.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub gap_start: Option<EventCursor>,
    /// The cursor of the last of them.
    pub gap_end: EventCursor,
    /// The first known position in the host's journal from which the gap can be repaired.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub repair_from: Option<JournalCursor>,
    /// Whether no terminal frame is among them.
    pub terminal_preserved: bool,
    /// Why they are gone; for a notice of several gaps, the first one's reason.
    pub reason: EventOverflowReason,
}

impl EventOverflowNotice {
    /// Makes this notice report another gap as well. Counts add up, and are exact if both were; the
    /// gap spans both; the earliest repair point stays. If the start of either gap is unknown, so
    /// is the start of both. The reason is [`EventOverflowReason::SubscriberQueueFull`] if a
    /// terminal frame was lost, otherwise this notice's.
    pub fn merge(&mut self, other: EventOverflowNotice) {
        self.dropped_count = self.dropped_count.saturating_add(other.dropped_count);
        self.exact &= other.exact;
        let other_is_earlier = match (&self.gap_start, &other.gap_start) {
            (Some(own), Some(other)) => other.event_seq < own.event_seq,
            _ => other.gap_end.event_seq < self.gap_end.event_seq,
        };
        if other_is_earlier {
            self.repair_from = other.repair_from.or(self.repair_from.take());
        } else {
            self.repair_from = self.repair_from.take().or(other.repair_from);
        }
        if other_is_earlier || other.gap_start.is_none() {
            // An unknown start stays unknown.
            self.gap_start = self.gap_start.take().and(other.gap_start);
        }
        if other.gap_end.event_seq > self.gap_end.event_seq {
            self.gap_end = other.gap_end;
        }
        self.terminal_preserved &= other.terminal_preserved;
        if !self.terminal_preserved {
            self.reason = EventOverflowReason::SubscriberQueueFull;
        }
    }
}

impl fmt::Display for EventOverflowNotice {
    /// `37 frames lost, sequences 12 to 48 (policy_dropped_non_terminal)`, with `up to` before a
    /// count that is not exact, and `terminal frames among them` if some may be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped_count == 0 {
            f.write_str("repaired, nothing lost")?;
        } else {
            let bound = if self.exact { "" } else { "up to " };
            let frames = if self.dropped_count == 1 {
                "frame"
            } else {
                "frames"
            };
            write!(f, "{bound}{} {frames} lost", self.dropped_count)?;
        }
        match &self.gap_start {
            Some(start) => write!(
                f,
                ", sequences {} to {}",
                start.event_seq, self.gap_end.event_seq
            )?,
            None => write!(f, ", up to sequence {}", self.gap_end.event_seq)?,
        }
        if !self.terminal_preserved {
            f.write_str(", terminal frames among them")?;
        }
        write!(f, " ({})", self.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BusEpoch, EventStreamScope};

    fn gap(start: Option<u64>, end: u64, repair: Option<&str>) -> EventOverflowNotice {
        let cursor = |event_seq| EventCursor {
            scope: EventStreamScope::All,
            event_seq,
            bus_epoch: BusEpoch::default(),
            journal_cursor: None,
        };
        EventOverflowNotice {
            policy: SubscriberOverflowPolicy::DropNonTerminal,
            dropped_count: 2,
            exact: true,
            gap_start: start.map(cursor),
            gap_end: cursor(end),
            repair_from: repair.map(JournalCursor::from),
            terminal_preserved: true,
            reason: EventOverflowReason::SubscriberLagged,
        }
    }

    /// Merging two gaps gives this one, whichever comes first.
    fn together(a: EventOverflowNotice, b: EventOverflowNotice, both: EventOverflowNotice) {
        for (mut one, other) in [(a.clone(), b.clone()), (b, a)] {
            one.merge(other);
            let dropped_count = 4;
            assert_eq!(
                one,
                EventOverflowNotice {
                    dropped_count,
                    ..both.clone()
                }
            );
        }
    }

    #[test]
    fn of_two_gaps_with_the_same_start_or_end_the_first_repair_point_stays() {
        let own = gap(Some(3), 5, Some("own"));
        let mut both = own.clone();
        both.merge(gap(Some(3), 4, Some("other")));
        assert_eq!(both.repair_from, own.repair_from);
        let mut unknown = gap(None, 5, Some("own"));
        unknown.merge(gap(Some(3), 5, Some("other")));
        assert_eq!(unknown.repair_from, own.repair_from);
        let mut other = gap(Some(4), 5, None);
        other.gap_end.journal_cursor = Some("other".into());
        both.merge(other);
        assert_eq!(both.gap_end, own.gap_end);
    }

    #[test]
    fn reasons_are_numbered_as_they_are_listed_and_named_as_in_json() {
        for (number, reason) in EventOverflowReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            #[cfg(feature = "serde")]
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }

    #[test]
    fn a_merged_gap_spans_both() {
        let early = gap(Some(3), 5, Some("j3"));
        let late = gap(Some(10), 12, Some("j10"));
        together(early, late.clone(), gap(Some(3), 12, Some("j3")));
        let unrepaired = gap(Some(3), 5, None);
        together(unrepaired, late, gap(Some(3), 12, Some("j10")));
        let (outer, inner) = (gap(Some(3), 12, None), gap(Some(5), 7, None));
        together(outer.clone(), inner, outer);
    }

    #[test]
    fn a_merged_count_is_exact_if_both_were() {
        for (one, other) in [(true, true), (true, false), (false, true), (false, false)] {
            let counted = |exact| EventOverflowNotice {
                exact,
                ..gap(Some(1), 2, None)
            };
            let mut both = counted(one);
            both.merge(counted(other));
            assert_eq!(both.exact, one && other);
        }
    }

    #[test]
    fn a_notice_reads_as_a_sentence() {
        let mut notice = gap(Some(3), 5, None);
        assert_eq!(
            notice.to_string(),
            "2 frames lost, sequences 3 to 5 (subscriber_lagged)"
        );
        (
            notice.exact,
            notice.terminal_preserved,
            notice.dropped_count,
        ) = (false, false, 1);
        notice.gap_start = None;
        assert_eq!(
            notice.to_string(),
            "up to 1 frame lost, up to sequence 5, terminal frames among them (subscriber_lagged)"
        );
        notice = gap(Some(3), 5, None);
        notice.dropped_count = 0;
        assert_eq!(
            notice.to_string(),
            "repaired, nothing lost, sequences 3 to 5 (subscriber_lagged)"
        );
    }

    #[test]
    fn an_unknown_start_stays_unknown() {
        let early = gap(None, 5, Some("j?"));
        let late = gap(Some(10), 12, Some("j10"));
        together(early.clone(), late, gap(None, 12, Some("j?")));
        together(early, gap(None, 9, None), gap(None, 9, Some("j?")));
    }

    #[test]
    fn a_lost_terminal_decides_the_reason_and_counts_saturate() {
        let mut notice = gap(Some(3), 5, None);
        notice.dropped_count = u64::MAX;
        let terminal_preserved = false;
        notice.merge(EventOverflowNotice {
            terminal_preserved,
            ..gap(Some(6), 6, None)
        });
        assert_eq!(
            (
                notice.dropped_count,
                notice.terminal_preserved,
                notice.reason
            ),
            (u64::MAX, false, EventOverflowReason::SubscriberQueueFull)
        );
    }
}
