//! Gaps: how it is reported that frames were lost.

use super::cursor::EventCursor;
use super::overflow::{EventOverflowReason, SubscriberOverflowPolicy};
use std::fmt;

/// A position in the order of a bus's frames, as a subscription's cursors name it.
pub trait Position: Clone + fmt::Debug + Eq {
    /// A position in the host's journal, from which a gap can be repaired.
    type Journal: Clone + fmt::Debug + Eq;

    /// Returns the sequence number of its frame.
    fn sequence(&self) -> u64;

    /// Returns its frame's position in the host's journal, if it is known.
    fn journal(&self) -> Option<&Self::Journal>;

    /// Makes it the same subscription's position at another frame.
    fn move_to(&mut self, sequence: u64, journal: Option<&Self::Journal>);

    /// Returns the same subscription's position at another frame.
    #[must_use]
    fn at(&self, sequence: u64, journal: Option<&Self::Journal>) -> Self;
}

/// The notice of a subscription to an agents' bus.
pub type EventOverflowNotice = Gap<EventCursor>;

/// Reports what a subscription lost. Attached to the first frame after the gap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "C: serde::Serialize, C::Journal: serde::Serialize",
        deserialize = "C: serde::Deserialize<'de>, C::Journal: serde::Deserialize<'de>"
    ))
)]
pub struct Gap<C: Position> {
    /// The subscription's policy.
    pub policy: SubscriberOverflowPolicy,
    /// How many frames are gone; 0 where the gap was repaired from an archive.
    pub dropped_count: u64,
    /// Whether exactly `dropped_count` frames of the subscription's scope are gone. If not, the
    /// count is an upper bound: a scope narrower than all does not know which of the frames that
    /// the rings overwrote were its own. JSON without the field is read as not exact.
    #[cfg_attr(feature = "serde", serde(default))]
    pub exact: bool,
    /// The position of the first of them, if known.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub gap_start: Option<C>,
    /// The position of the last of them.
    pub gap_end: C,
    /// The first known position in the host's journal from which the gap can be repaired.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub repair_from: Option<C::Journal>,
    /// Whether no terminal frame is among them.
    pub terminal_preserved: bool,
    /// Why they are gone; for a notice of several gaps, the first one's reason.
    pub reason: EventOverflowReason,
}

impl<C: Position> Gap<C> {
    /// Makes this report another gap as well. Counts add up, and are exact if both were; the
    /// gap spans both; the earliest repair point stays. If the start of either gap is unknown, so
    /// is the start of both. The reason is [`EventOverflowReason::SubscriberQueueFull`] if a
    /// terminal frame was lost, otherwise this one's.
    #[inline(never)]
    pub fn merge(&mut self, other: Self) {
        self.dropped_count = self.dropped_count.saturating_add(other.dropped_count);
        self.exact &= other.exact;
        let other_is_earlier = match (&self.gap_start, &other.gap_start) {
            (Some(own), Some(other)) => other.sequence() < own.sequence(),
            _ => other.gap_end.sequence() < self.gap_end.sequence(),
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
        if other.gap_end.sequence() > self.gap_end.sequence() {
            self.gap_end = other.gap_end;
        }
        self.terminal_preserved &= other.terminal_preserved;
        if !self.terminal_preserved {
            self.reason = EventOverflowReason::SubscriberQueueFull;
        }
    }
}

impl<C: Position> fmt::Display for Gap<C> {
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
                start.sequence(),
                self.gap_end.sequence()
            )?,
            None => write!(f, ", up to sequence {}", self.gap_end.sequence())?,
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
    use crate::event::{BusEpoch, EventStreamScope, JournalCursor};

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
