//! The subscribers of the replay: who reads what, how, and what they count and check of it.

use crate::player::{Count, Play};
use framebus::{
    AgentError, AgentEventBus, AgentEventStream, BatchItem, EventCursor, EventEnvelope,
    EventFilter, EventFrame, EventOverflowNotice, EventOverflowReason, InMemoryAgentEventBus,
    StreamEnd, SubscriberOverflowPolicy as Policy, SubscriberQueueConfig, SubscriptionOptions,
    Timestamp,
};
use hdrhistogram::Histogram;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A queue that only the rings bound.
const WIDE: NonZeroUsize = NonZeroUsize::new(1 << 24).unwrap();

/// What one reader, or several of a kind together, were given.
pub struct Row {
    pub name: String,
    pub policy: Policy,
    pub streams: usize,
    pub expected: Count,
    /// Whether what the rings lost is counted by an upper bound, as for every narrow scope.
    pub dropped_at_most: bool,
    pub seen: Tally,
    pub note: String,
    pub violations: Vec<String>,
}

/// What was seen of a subscription, or of several.
pub struct Tally {
    /// Frames that stand for themselves, and all of them.
    pub delivered: u64,
    pub dropped: u64,
    pub notices: u64,
    pub terminals: u64,
    /// Whether a notice said that terminal frames are gone.
    pub terminals_told: bool,
    /// From publishing to reading, in microseconds.
    pub latency: Histogram<u64>,
    last: u64,
    disorder: Option<(u64, u64)>,
}

impl Tally {
    fn new() -> Self {
        Tally {
            delivered: 0,
            dropped: 0,
            notices: 0,
            terminals: 0,
            terminals_told: false,
            // One minute at most, to three digits.
            latency: Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order"),
            last: 0,
            disorder: None,
        }
    }

    fn frame(&mut self, frame: &EventFrame) {
        // A summary is counted by the notice that it bears.
        let stands_for_others = frame.overflow.is_some()
            && frame
                .event
                .redacted_summary()
                .is_some_and(|text| text.ends_with("dropped progress frames"));
        if let Some(notice) = &frame.overflow {
            self.told(notice);
        }
        self.envelope(&frame.event.envelope);
        self.delivered -= u64::from(stands_for_others);
    }

    fn envelope(&mut self, envelope: &EventEnvelope) {
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

    fn told(&mut self, notice: &EventOverflowNotice) {
        self.notices += 1;
        self.dropped += notice.dropped_count;
        self.terminals_told |= !notice.terminal_preserved;
    }

    fn add(&mut self, other: &Tally) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.notices += other.notices;
        self.terminals += other.terminals;
        self.terminals_told |= other.terminals_told;
        // Both have the same bounds.
        self.latency += &other.latency;
        self.disorder = self.disorder.or(other.disorder);
    }

    /// What is wrong with a drained subscription that should have been given `expected`.
    fn violations(&self, who: &str, expected: Count, exact: bool) -> Vec<String> {
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

/// A reader that has subscribed.
pub struct Reader {
    name: String,
    policy: Policy,
    way: Way,
}

/// How a reader reads.
enum Way {
    /// Everything, blocking.
    Follow(AgentEventStream),
    /// Everything, in borrowed batches.
    Batches(AgentEventStream),
    /// Everything, with long pauses while publishing goes on.
    Slowly(AgentEventStream),
    /// Everything, until the policy ends it.
    UntilItFails(AgentEventStream),
    /// Everything, leaving now and then and coming back with its cursor.
    Resuming(InMemoryAgentEventBus),
    /// The terminal frames.
    Terminals(AgentEventStream),
    /// Many narrow streams in turn.
    Narrow(Vec<(AgentEventStream, Count)>),
}

fn queue(policy: Policy, capacity: Option<NonZeroUsize>) -> SubscriberQueueConfig {
    let default = SubscriberQueueConfig::default();
    SubscriberQueueConfig {
        overflow: policy,
        capacity: capacity.unwrap_or(default.capacity),
        ..default
    }
}

/// Subscribes everybody, before anything is published.
pub fn gather(bus: &InMemoryAgentEventBus, play: &Play) -> Result<Vec<Reader>, AgentError> {
    let options = |policy, capacity| SubscriptionOptions {
        queue: queue(policy, capacity),
        ..SubscriptionOptions::default()
    };
    let all = |policy, capacity| bus.subscribe_all_with_options(None, options(policy, capacity));
    let narrow = options(Policy::DropNonTerminal, NonZeroUsize::new(4_096));
    let reader = |name: &str, policy, way| Reader {
        name: name.to_owned(),
        policy,
        way,
    };
    let wide = Some(WIDE);
    let mut readers = vec![
        reader(
            "all, in full",
            Policy::DropNonTerminal,
            Way::Follow(all(Policy::DropNonTerminal, wide)?),
        ),
        reader(
            "all, batches",
            Policy::DropNonTerminal,
            Way::Batches(all(Policy::DropNonTerminal, wide)?),
        ),
    ];
    for policy in [
        Policy::DropNonTerminal,
        Policy::DropProgress,
        Policy::SummarizeAndContinue,
    ] {
        readers.push(reader("all", policy, Way::Follow(all(policy, None)?)));
    }
    let fail = Policy::FailSubscriber;
    readers.push(reader("all", fail, Way::UntilItFails(all(fail, None)?)));
    let slow = Policy::DropNonTerminal;
    readers.push(reader("all, slow", slow, Way::Slowly(all(slow, None)?)));
    readers.push(reader("all, resuming", slow, Way::Resuming(bus.clone())));
    let ends = EventFilter {
        terminal_only: true,
        queue: queue(slow, wide),
        ..EventFilter::default()
    };
    let ends = bus.subscribe_filtered(ends.compile()?, None)?;
    readers.push(reader("terminal frames", slow, Way::Terminals(ends)));
    let mut runs = Vec::new();
    for (at, part) in play.parts().iter().enumerate() {
        let stream = bus.subscribe_run_with_options(part.run_id.clone(), None, narrow)?;
        runs.push((stream, play.count(at)));
    }
    readers.push(reader("each run", slow, Way::Narrow(runs)));
    let mut agents = Vec::new();
    for (agent_id, count) in play.agents() {
        agents.push((
            bus.subscribe_agent_with_options(agent_id, None, narrow)?,
            count,
        ));
    }
    readers.push(reader("each agent", slow, Way::Narrow(agents)));
    Ok(readers)
}

impl Reader {
    /// Reads until all was published and read; `over` says when publishing is done.
    pub fn read(self, play: &Play, over: &AtomicBool) -> Row {
        let Reader { name, policy, way } = self;
        let who = format!("{name} ({policy:?})");
        let all = play.total();
        let mut seen = Tally::new();
        let mut note = String::new();
        let mut streams = 1;
        let mut expected = all;
        let mut violations = Vec::new();
        let mut exact = true;
        match way {
            Way::Follow(stream) => follow(stream, &mut seen),
            Way::Batches(stream) => batches(stream, &mut seen),
            Way::Slowly(stream) => slowly(stream, &mut seen, over),
            Way::Resuming(bus) => match resuming(bus, &mut seen, over) {
                Ok(times) => note = format!("resumed {times} times"),
                Err(error) => violations.push(format!("{who}: {error}")),
            },
            Way::Terminals(stream) => {
                expected.frames = all.terminals;
                follow(stream, &mut seen);
            }
            Way::UntilItFails(stream) => {
                if let Some(resume_from) = until_it_fails(stream, &mut seen) {
                    note = format!("failed, resumes after {}", resume_from.event_seq);
                    // What it was given up to there is all that it owes.
                    expected = Count {
                        frames: resume_from.event_seq,
                        terminals: seen.terminals,
                    };
                }
            }
            Way::Narrow(narrow) => {
                (streams, exact) = (narrow.len(), false);
                for (tally, count) in sweep(narrow) {
                    violations.extend(tally.violations(&who, count, false).into_iter().take(3));
                    seen.add(&tally);
                }
            }
        }
        if exact {
            violations.extend(seen.violations(&who, expected, true));
        }
        Row {
            name,
            dropped_at_most: !exact,
            policy,
            streams,
            expected,
            seen,
            note,
            violations,
        }
    }
}

fn follow(mut stream: AgentEventStream, seen: &mut Tally) {
    while let Ok(frame) = stream.recv() {
        seen.frame(&frame);
    }
    rest(&stream, seen);
}

/// What was lost behind the last frame.
fn rest(stream: &AgentEventStream, seen: &mut Tally) {
    if let Some(notice) = stream.pending_overflow() {
        seen.told(notice);
    }
}

fn batches(mut stream: AgentEventStream, seen: &mut Tally) {
    loop {
        let given = stream.read_batch(|item| {
            match item {
                BatchItem::Frame(frame) => seen.envelope(frame.envelope()),
                BatchItem::Gap(notice) => seen.told(&notice),
            }
            ControlFlow::Continue(())
        });
        if given == 0 {
            // Sleeps until there is something, and takes one frame that way.
            match stream.recv() {
                Ok(frame) => seen.frame(&frame),
                Err(_) => break,
            }
        }
    }
    rest(&stream, seen);
}

fn slowly(mut stream: AgentEventStream, seen: &mut Tally, over: &AtomicBool) {
    while let Ok(frame) = stream.recv() {
        seen.frame(&frame);
        if seen.delivered.is_multiple_of(16) && !over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    rest(&stream, seen);
}

fn until_it_fails(mut stream: AgentEventStream, seen: &mut Tally) -> Option<EventCursor> {
    while let Ok(frame) = stream.recv() {
        seen.frame(&frame);
    }
    match stream.end() {
        Some(StreamEnd::Failed {
            resume_from,
            notice,
        }) => {
            // What was lost behind the resume point is not lost if one resumes there.
            let behind = notice
                .gap_end
                .event_seq
                .saturating_sub(resume_from.event_seq);
            let full = notice.reason == EventOverflowReason::SubscriberQueueFull;
            seen.dropped -= if full {
                notice.dropped_count.min(behind)
            } else {
                0
            };
            Some(resume_from)
        }
        _ => {
            rest(&stream, seen);
            None
        }
    }
}

fn resuming(
    bus: InMemoryAgentEventBus,
    seen: &mut Tally,
    over: &AtomicBool,
) -> Result<u64, AgentError> {
    let options = SubscriptionOptions {
        queue: queue(Policy::DropNonTerminal, Some(WIDE)),
        ..Default::default()
    };
    let mut cursor = None;
    let mut times = 0;
    loop {
        let last_time = over.load(Ordering::Acquire);
        let mut stream = bus.subscribe_all_with_options(cursor, options)?;
        let before = seen.delivered;
        while let Ok(frame) = stream.recv_timeout(Duration::from_millis(1)) {
            seen.frame(&frame);
            if seen.delivered - before >= 20_000 && !last_time {
                break;
            }
        }
        if last_time {
            rest(&stream, seen);
            return Ok(times);
        }
        cursor = stream.cursor().cloned();
        drop(stream);
        std::thread::sleep(Duration::from_millis(3));
        times += 1;
    }
}

/// Reads many streams in turn until all have ended.
fn sweep(streams: Vec<(AgentEventStream, Count)>) -> Vec<(Tally, Count)> {
    let mut open: Vec<_> = streams
        .into_iter()
        .map(|(stream, count)| (stream, Tally::new(), count))
        .collect();
    let mut closed = Vec::new();
    while !open.is_empty() {
        let mut given = 0;
        let mut still_open = Vec::with_capacity(open.len());
        for (mut stream, mut seen, count) in open {
            for frame in stream.by_ref() {
                seen.frame(&frame);
                given += 1;
            }
            if stream.end().is_some() {
                rest(&stream, &mut seen);
                closed.push((seen, count));
            } else {
                still_open.push((stream, seen, count));
            }
        }
        open = still_open;
        if given == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    closed
}
