//! What a subscription was given and told, and what is wrong with that.

use crate::play::Count;
use framebus::{EventEnvelope, EventFrame, EventOverflowNotice, Timestamp};
use hdrhistogram::Histogram;

/// One minute, the longest latency that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// What was seen of a subscription, or of several together.
pub struct Tally {
    /// Frames that stand for themselves.
    pub delivered: u64,
    /// The sum of what the notices told.
    pub dropped: u64,
    pub notices: u64,
    pub terminals: u64,
    /// A notice said that terminal frames are gone.
    pub terminals_told: bool,
    /// From publishing to reading, in microseconds.
    pub latency: Histogram<u64>,
    /// The last sequence number; 0 before the first.
    last: u64,
    /// The first two numbers that did not rise.
    disorder: Option<(u64, u64)>,
}

impl Tally {
    pub fn new() -> Self {
        Tally {
            delivered: 0,
            dropped: 0,
            notices: 0,
            terminals: 0,
            terminals_told: false,
            latency: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"),
            last: 0,
            disorder: None,
        }
    }

    /// Counts a frame and the notice on it.
    pub fn frame(&mut self, frame: &EventFrame) {
        // A summary stands for others. They are counted by the notice that it bears.
        let is_summary = frame.overflow.is_some()
            && frame
                .event
                .redacted_summary()
                .is_some_and(|text| text.ends_with("dropped progress frames"));
        if let Some(notice) = &frame.overflow {
            self.told(notice);
        }
        self.envelope(&frame.event.envelope);
        self.delivered -= u64::from(is_summary);
    }

    /// Counts a frame without looking for a notice.
    pub fn envelope(&mut self, envelope: &EventEnvelope) {
        let number = envelope.event_seq;
        if number <= self.last {
            self.disorder.get_or_insert((self.last, number));
        }
        self.last = number;
        self.delivered += 1;
        self.terminals += u64::from(envelope.event_kind.is_terminal());
        let age = Timestamp::now().as_micros() - envelope.timestamp.as_micros();
        self.latency.saturating_record(age.max(1) as u64);
    }

    /// Counts a notice.
    pub fn told(&mut self, notice: &EventOverflowNotice) {
        self.notices += 1;
        self.dropped += notice.dropped_count;
        self.terminals_told |= !notice.terminal_preserved;
    }

    /// Adds what another subscription saw. Numbers of different subscriptions are not compared.
    pub fn add(&mut self, other: &Tally) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.notices += other.notices;
        self.terminals += other.terminals;
        self.terminals_told |= other.terminals_told;
        // Both have the same bounds.
        self.latency += &other.latency;
        self.disorder = self.disorder.or(other.disorder);
    }

    /// Returns what is wrong with a drained subscription that was to be given `expected`. Losses
    /// are counted exactly, or at least as many as there were.
    pub fn violations(&self, who: &str, expected: Count, exact: bool) -> Vec<String> {
        let mut violations = Vec::new();
        if let Some((before, number)) = self.disorder {
            violations.push(format!("{who}: order: frame {number} came after {before}"));
        }
        let accounted = self.delivered + self.dropped;
        if exact && accounted != expected.frames || accounted < expected.frames {
            violations.push(format!(
                "{who}: conservation: {} delivered and {} told as dropped are not the {} published",
                self.delivered, self.dropped, expected.frames
            ));
        }
        if self.terminals > expected.terminals
            || self.terminals < expected.terminals && !self.terminals_told
        {
            violations.push(format!(
                "{who}: terminal frames: {} of {} delivered, and no notice says so",
                self.terminals, expected.terminals
            ));
        }
        violations
    }
}
