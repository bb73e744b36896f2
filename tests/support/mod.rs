//! What was published, what a stream gave, and whether the one can come of the other: the checks
//! of whole histories, used by the stress test and the property test of histories.
//!
//! The checks know nothing of rings, lanes or queues. They are the promises: order, each frame
//! once, every loss reported before the next frame, terminal frames delivered or reported as lost,
//! counts that add up, a resumed stream that goes on where the last one stopped.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use framebus::{
    AgentEvent, AgentEventBus, AgentEventStream, BatchItem, EventCursor, EventEnvelope,
    EventFilter, EventFrame, EventKind, EventOverflowNotice, EventStreamScope,
    InMemoryAgentEventBus, SubscriberQueueConfig, SubscriptionOptions, Timestamp,
};
use std::ops::ControlFlow;

/// The kinds that are published: progress, ordinary and terminal ones.
pub const KINDS: [EventKind; 6] = [
    EventKind::ModelStreamDelta,
    EventKind::ModelStreamDelta,
    EventKind::ToolStarted,
    EventKind::ToolRequested,
    EventKind::RunCompleted,
    EventKind::ToolFailed,
];

/// An event, in few bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// Unique, and rising for each publisher.
    pub id: u64,
    pub run: u8,
    pub agent: u8,
    pub kind: EventKind,
}

impl Published {
    /// The frame to publish. The id travels as the time of the event.
    pub fn frame(self) -> EventFrame {
        let envelope = EventEnvelope::new(run(self.run), agent(self.agent), self.kind)
            .with_timestamp(Timestamp::from_micros(self.id as i64));
        EventFrame::new(AgentEvent::envelope_only(envelope))
    }

    fn of(envelope: &EventEnvelope) -> Self {
        let number = |text: &str| text[1..].parse().expect("a name of this test");
        Published {
            id: envelope.timestamp.as_micros() as u64,
            run: number(envelope.run_id.as_str()),
            agent: number(envelope.agent_id.as_str()),
            kind: envelope.event_kind,
        }
    }
}

pub fn run(number: u8) -> String {
    format!("r{number}")
}

pub fn agent(number: u8) -> String {
    format!("a{number}")
}

/// What a subscription asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Run(u8),
    Agent(u8),
    /// A filter: the ends of runs.
    Ends,
    /// A filter: an agent, in either of two runs.
    AgentInRuns(u8, u8, u8),
}

impl Scope {
    pub fn matches(self, event: Published) -> bool {
        match self {
            Scope::All => true,
            Scope::Run(run) => event.run == run,
            Scope::Agent(agent) => event.agent == agent,
            Scope::Ends => event.kind == EventKind::RunCompleted,
            Scope::AgentInRuns(agent, first, second) => {
                event.agent == agent && (event.run == first || event.run == second)
            }
        }
    }

    /// A stream of this scope, from its own cursor or none.
    pub fn subscribe(
        self,
        bus: &InMemoryAgentEventBus,
        options: SubscriptionOptions,
        cursor: Option<EventCursor>,
    ) -> AgentEventStream {
        let stream = match (self, self.filter()) {
            (Scope::Run(number), _) => {
                bus.subscribe_run_with_options(run(number).into(), cursor, options)
            }
            (Scope::Agent(number), _) => {
                bus.subscribe_agent_with_options(agent(number).into(), cursor, options)
            }
            (_, Some(filter)) => {
                let filter = filter.compile().expect("a filter");
                bus.subscribe_filtered_with_options(filter, cursor, options)
            }
            _ => bus.subscribe_all_with_options(cursor, options),
        };
        stream.expect("its own cursor, of its own scope")
    }

    fn filter(self) -> Option<EventFilter> {
        match self {
            Scope::Ends => Some(EventFilter::terminal_run_events()),
            Scope::AgentInRuns(agent_number, first, second) => Some(EventFilter {
                run_ids: vec![run(first).into(), run(second).into()],
                ..EventFilter::agent(agent(agent_number))
            }),
            _ => None,
        }
    }
}

/// What was published. The event of a sequence number that no reader saw is unknown.
pub struct Record {
    /// The event at index `i` has the sequence number `i + 1`.
    frames: Vec<Option<Published>>,
}

impl Record {
    /// A record of `frames` frames, none known yet.
    pub fn of_length(frames: u64) -> Self {
        Record {
            frames: vec![None; frames as usize],
        }
    }

    pub fn push(&mut self, event: Published) {
        self.frames.push(Some(event));
    }

    pub fn len(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Records that this event has this sequence number. All readers that saw it must agree.
    pub fn learn(&mut self, sequence: u64, event: Published) {
        let known = &mut self.frames[sequence as usize - 1];
        assert!(
            known.is_none_or(|known| known == event),
            "two frames have the sequence number {sequence}"
        );
        *known = Some(event);
    }

    pub fn known(&self) -> impl Iterator<Item = (u64, Published)> {
        (1..)
            .zip(&self.frames)
            .filter_map(|(number, event)| Some((number, (*event)?)))
    }

    pub fn is_whole(&self) -> bool {
        self.frames.iter().all(Option::is_some)
    }

    /// Returns the event with this sequence number.
    pub fn event(&self, sequence: u64) -> Published {
        self.frames[sequence as usize - 1].expect("a known one")
    }

    /// Returns the known events after `after`, up to `to`, that are of a scope.
    fn matching(
        &self,
        scope: Scope,
        after: u64,
        to: u64,
    ) -> impl Iterator<Item = (u64, Published)> {
        (after + 1..)
            .zip(&self.frames[after as usize..to.max(after) as usize])
            .filter_map(move |(number, event)| Some((number, (*event)?)))
            .filter(move |it| scope.matches(it.1))
    }
}

/// What a stream gave, in order.
#[derive(Clone, Debug)]
pub enum Given {
    Frame {
        sequence: u64,
        event: Published,
        /// Whether it stands for other frames, which its notice counts.
        summary: bool,
    },
    Lost {
        count: u64,
        first: u64,
        last: u64,
        terminal_preserved: bool,
    },
}

impl Given {
    /// Returns the sequence number of a frame, and whether it stands for itself.
    pub fn shown(&self) -> Option<(u64, bool)> {
        match *self {
            Given::Frame {
                sequence, summary, ..
            } => Some((sequence, !summary)),
            Given::Lost { .. } => None,
        }
    }
}

/// How reading a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gave everything.
    Drained,
    /// It was dropped before; another one resumed at its cursor.
    Early,
    /// Its policy ended it.
    Failed,
}

/// The log of one stream.
#[derive(Clone, Debug)]
pub struct Log {
    pub scope: Scope,
    /// How it reads: shown when a check fails.
    pub queue: SubscriberQueueConfig,
    /// It gives frames after this sequence number.
    pub after: u64,
    pub given: Vec<Given>,
}

impl Log {
    pub fn new(scope: Scope, queue: SubscriberQueueConfig, stream: &AgentEventStream) -> Self {
        let cursor = stream.cursor().expect("a live stream");
        Log {
            scope,
            queue,
            after: cursor.event_seq,
            given: Vec::new(),
        }
    }

    /// Logs a frame that the stream gave. Returns its sequence number, and whether it stands for
    /// itself.
    pub fn frame(&mut self, frame: &EventFrame) -> (u64, bool) {
        if let Some(notice) = &frame.overflow {
            self.lost(notice);
        }
        let envelope = &frame.event.envelope;
        assert_eq!(frame.cursor.event_seq, envelope.event_seq);
        match &frame.cursor.scope {
            EventStreamScope::All => assert_eq!(self.scope, Scope::All),
            EventStreamScope::Run(id) => assert_eq!(*id, envelope.run_id),
            EventStreamScope::Agent(id) => assert_eq!(*id, envelope.agent_id),
            EventStreamScope::Filter { .. } => assert!(self.scope.filter().is_some()),
        }
        let summary = frame.event.redacted_summary().is_some();
        self.envelope(envelope, summary);
        (envelope.event_seq, !summary)
    }

    fn envelope(&mut self, envelope: &EventEnvelope, summary: bool) {
        self.given.push(Given::Frame {
            sequence: envelope.event_seq,
            event: Published::of(envelope),
            summary,
        });
    }

    /// Logs a notice.
    pub fn lost(&mut self, notice: &EventOverflowNotice) {
        let start = notice.gap_start.as_ref();
        self.given.push(Given::Lost {
            count: notice.dropped_count,
            first: start.map_or(0, |cursor| cursor.event_seq),
            last: notice.gap_end.event_seq,
            terminal_preserved: notice.terminal_preserved,
        });
    }

    /// Reads and logs a borrowed batch of at most `most` items.
    pub fn batch(&mut self, stream: &mut AgentEventStream, most: usize) -> usize {
        let mut remaining = most;
        stream.read_batch(|item| {
            match item {
                BatchItem::Frame(frame) => {
                    let summary = frame.view().redacted_summary().is_some();
                    self.envelope(frame.envelope(), summary);
                }
                BatchItem::Gap(notice) => self.lost(&notice),
            }
            // A frame comes after its notice, also if this breaks at the notice.
            remaining = remaining.saturating_sub(1);
            match remaining {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
    }

    pub fn teach(&self, record: &mut Record) {
        for given in &self.given {
            if let Given::Frame {
                sequence, event, ..
            } = *given
            {
                record.learn(sequence, event);
            }
        }
    }

    /// Checks the log against what was published. Returns how many frames were given as themselves
    /// and how many were reported as lost.
    pub fn check(&self, record: &Record, outcome: Outcome) -> (u64, u64) {
        let (mut as_themselves, mut lost, mut missing) = (0, 0, 0);
        let mut reported: Vec<(u64, u64, bool)> = Vec::new();
        let mut last = self.after;
        for given in &self.given {
            match *given {
                Given::Lost {
                    count,
                    first,
                    last,
                    terminal_preserved,
                } => {
                    assert!(count > 0 && first <= last, "a notice of nothing: {given:?}");
                    lost += count;
                    reported.push((first, last, terminal_preserved));
                }
                Given::Frame {
                    sequence,
                    event,
                    summary,
                } => {
                    assert!(sequence > last, "{sequence} after {last}: {self:?}");
                    assert!(self.scope.matches(event), "not asked for: {event:?}");
                    assert_eq!(record.frames[sequence as usize - 1], Some(event));
                    as_themselves += u64::from(!summary);
                    // A reader that saves its cursor here has had every missing frame below it
                    // reported.
                    self.check_reported(record, last, sequence - 1, &reported);
                    missing += record.matching(self.scope, last, sequence - 1).count() as u64;
                    missing += u64::from(summary);
                    assert!(
                        lost >= missing,
                        "at {sequence}: {missing} are missing, {lost} reported: {self:?}"
                    );
                    last = sequence;
                }
            }
        }
        if outcome == Outcome::Drained {
            self.check_reported(record, last, record.len(), &reported);
            let published = self.matching_count(record);
            let accounted = as_themselves + lost;
            let exact = self.scope == Scope::All;
            assert!(
                accounted >= published && (!exact || accounted == published),
                "{as_themselves} given, {lost} reported as lost, of {published}: {self:?}"
            );
            assert!(
                accounted <= record.len() - self.after,
                "more than all: {self:?}"
            );
        }
        (as_themselves, lost)
    }

    fn matching_count(&self, record: &Record) -> u64 {
        match self.scope {
            // Includes those that no reader saw.
            Scope::All => record.len() - self.after,
            scope => record.matching(scope, self.after, record.len()).count() as u64,
        }
    }

    /// Checks that every missing frame between two sequence numbers was reported, and terminal ones
    /// as such.
    fn check_reported(&self, record: &Record, after: u64, to: u64, reported: &[(u64, u64, bool)]) {
        for (sequence, event) in record.matching(self.scope, after, to) {
            let mut notices = reported
                .iter()
                .rev()
                .filter(|it| it.0 <= sequence && sequence <= it.1);
            let fine = if event.kind.is_terminal() {
                notices.any(|notice| !notice.2)
            } else {
                notices.next().is_some()
            };
            assert!(
                fine,
                "{sequence}, {event:?}, is missing and was not reported: {self:?}"
            );
        }
    }
}

/// Checks that each event was published once, and each publisher's events in their order.
pub fn check_publishers(record: &Record, publisher_of: impl Fn(u64) -> usize, publishers: usize) {
    let mut newest = vec![0; publishers];
    for (sequence, event) in record.known() {
        let newest = &mut newest[publisher_of(event.id)];
        assert!(event.id > *newest, "{sequence}: {event:?} after {newest}");
        *newest = event.id;
    }
}
