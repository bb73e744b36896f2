//! The subscribers of the replay: what each reads, in which way, and what came of it.

use super::readers;
use super::tally::Tally;
use crate::play::{Count, Play};
use framebus::{
    AgentError, AgentEventBus, AgentEventStream, EventFilter, InMemoryAgentEventBus,
    SubscriberOverflowPolicy as Policy, SubscriberQueueConfig, SubscriptionOptions,
};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

/// The capacity of a queue that only the rings bound.
const WIDE: NonZeroUsize = NonZeroUsize::new(1 << 24).unwrap();

/// What one reader, or several of a kind together, were given.
pub struct Row {
    pub name: String,
    pub policy: Policy,
    /// How many subscriptions it was.
    pub streams: usize,
    pub expected: Count,
    /// What the rings lost is counted by an upper bound, as for every narrow scope.
    pub dropped_at_most: bool,
    pub seen: Tally,
    pub note: String,
    pub violations: Vec<String>,
}

/// A reader that has subscribed.
pub struct Reader {
    name: &'static str,
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

fn options(policy: Policy, capacity: Option<NonZeroUsize>) -> SubscriptionOptions {
    SubscriptionOptions {
        queue: queue(policy, capacity),
        ..SubscriptionOptions::default()
    }
}

/// Subscribes everybody, before anything is published.
pub fn gather(bus: &InMemoryAgentEventBus, play: &Play) -> Result<Vec<Reader>, AgentError> {
    use Policy::{DropNonTerminal, DropProgress, FailSubscriber, SummarizeAndContinue};
    let all = |policy, capacity| bus.subscribe_all_with_options(None, options(policy, capacity));
    let mut readers = Vec::new();
    let mut add = |name, policy, way| readers.push(Reader { name, policy, way });

    let full = all(DropNonTerminal, Some(WIDE))?;
    add("all, in full", DropNonTerminal, Way::Follow(full));
    let full = all(DropNonTerminal, Some(WIDE))?;
    add("all, batches", DropNonTerminal, Way::Batches(full));
    for policy in [DropNonTerminal, DropProgress, SummarizeAndContinue] {
        add("all", policy, Way::Follow(all(policy, None)?));
    }
    let fails = all(FailSubscriber, None)?;
    add("all", FailSubscriber, Way::UntilItFails(fails));
    let slow = all(DropNonTerminal, None)?;
    add("all, slow", DropNonTerminal, Way::Slowly(slow));
    add("all, resuming", DropNonTerminal, Way::Resuming(bus.clone()));
    let terminals = EventFilter {
        terminal_only: true,
        queue: queue(DropNonTerminal, Some(WIDE)),
        ..EventFilter::default()
    };
    let terminals = bus.subscribe_filtered(terminals.compile()?, None)?;
    add(
        "terminal frames",
        DropNonTerminal,
        Way::Terminals(terminals),
    );

    let narrow = options(DropNonTerminal, NonZeroUsize::new(4_096));
    let mut runs = Vec::new();
    for (part, run) in play.parts().iter().enumerate() {
        let stream = bus.subscribe_run_with_options(run.run_id.clone(), None, narrow)?;
        runs.push((stream, play.count(part)));
    }
    add("each run", DropNonTerminal, Way::Narrow(runs));
    let mut agents = Vec::new();
    for (agent_id, count) in play.agents() {
        let stream = bus.subscribe_agent_with_options(agent_id, None, narrow)?;
        agents.push((stream, count));
    }
    add("each agent", DropNonTerminal, Way::Narrow(agents));
    Ok(readers)
}

impl Reader {
    /// Reads until everything was published and read. `over` is set once publishing is done.
    pub fn read(self, play: &Play, over: &AtomicBool) -> Row {
        let who = format!("{} ({:?})", self.name, self.policy);
        let mut row = Row {
            name: self.name.to_owned(),
            policy: self.policy,
            streams: 1,
            expected: play.total(),
            dropped_at_most: false,
            seen: Tally::new(),
            note: String::new(),
            violations: Vec::new(),
        };
        let seen = &mut row.seen;
        match self.way {
            Way::Follow(stream) => readers::follow(stream, seen),
            Way::Batches(stream) => readers::batches(stream, seen),
            Way::Slowly(stream) => readers::slowly(stream, seen, over),
            Way::Resuming(bus) => {
                let options = options(self.policy, Some(WIDE));
                match readers::resuming(&bus, options, seen, over) {
                    Ok(times) => row.note = format!("resumed {times} time(s)"),
                    Err(error) => row.violations.push(format!("{who}: {error}")),
                }
            }
            Way::Terminals(stream) => {
                row.expected.frames = row.expected.terminals;
                readers::follow(stream, seen);
            }
            Way::UntilItFails(stream) => {
                if let Some(resume_from) = readers::until_it_fails(stream, seen) {
                    row.note = format!("failed, resumes after {}", resume_from.event_seq);
                    // It owes what it was given up to there, and no more.
                    row.expected = Count {
                        frames: resume_from.event_seq,
                        terminals: seen.terminals,
                    };
                }
            }
            Way::Narrow(streams) => {
                row.streams = streams.len();
                row.dropped_at_most = true;
                for (tally, count) in readers::sweep(streams) {
                    let violations = tally.violations(&who, count, false);
                    row.violations.extend(violations.into_iter().take(3));
                    seen.add(&tally);
                }
            }
        }
        if !row.dropped_at_most {
            let violations = row.seen.violations(&who, row.expected, true);
            row.violations.extend(violations);
        }
        row
    }
}
