//! Where a frame goes, and where a scope reads: the one place that knows what a tag means.
//!
//! A frame's shard is chosen by the upper half of its run's hash, so all of a run is in one shard.
//! Its tag is the number of its kind, in the class bits, and above it bits of the lower half of
//! the hash. A tag only sorts out: what it lets through is compared exactly.

use crate::event::{
    AgentId, CompiledEventFilter, EventEnvelope, EventStreamScope, KindClass, KindSet, RunId,
};
use crate::ring::{ANY_KEY, CLASS_BITS, Route, Select, TAG_BITS, TagFilter};

const RUN_BITS: u32 = TAG_BITS - CLASS_BITS;

fn run_tag(run_id: &RunId) -> u32 {
    ((run_id.hash64() as u32) & ((1 << RUN_BITS) - 1)) << CLASS_BITS
}

/// The shard of a run; taken modulo the number of shards by the ring.
fn shard(run_id: &RunId) -> usize {
    (run_id.hash64() >> 32) as usize
}

/// The key by which those who wait for this run's frames are woken.
fn run_key(run_id: &RunId) -> u64 {
    run_id.hash64()
}

/// The key by which those who wait for this agent's frames are woken. Turned about, so that a run
/// and an agent of one name have two.
fn agent_key(agent_id: &AgentId) -> u64 {
    agent_id.hash64().rotate_left(32)
}

/// The keys by which those who wait for this frame are woken.
#[inline]
pub(super) fn keys(envelope: &EventEnvelope) -> [u64; 2] {
    [run_key(&envelope.run_id), agent_key(&envelope.agent_id)]
}

/// Where a frame goes.
#[inline]
pub(super) fn route(envelope: &EventEnvelope) -> Route {
    let kind = envelope.event_kind;
    Route {
        shard: shard(&envelope.run_id),
        terminal: kind.is_terminal(),
        tag: run_tag(&envelope.run_id) | kind as u32,
    }
}

/// What a subscription reads, and which of it is meant.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    Plain(EventStreamScope),
    Filtered(Box<CompiledEventFilter>),
}

impl Scope {
    /// The scope that cursors bear.
    pub(super) fn of_cursors(&self) -> EventStreamScope {
        match self {
            Scope::Plain(scope) => scope.clone(),
            Scope::Filtered(filter) => filter.cursor_scope(),
        }
    }

    /// Whether a frame is meant, exactly.
    #[inline]
    pub(super) fn matches(&self, envelope: &EventEnvelope) -> bool {
        match self {
            Scope::Plain(EventStreamScope::Run(run_id)) => envelope.run_id == *run_id,
            Scope::Plain(EventStreamScope::Agent(agent_id)) => envelope.agent_id == *agent_id,
            Scope::Plain(_) => true,
            Scope::Filtered(filter) => filter.matches_envelope(envelope),
        }
    }

    /// The lanes to read.
    pub(super) fn select(&self) -> Select {
        match (self.only_run(), self) {
            (Some(run_id), _) => Select::Shard(shard(run_id)),
            (None, Scope::Filtered(filter))
                if filter
                    .kinds()
                    .is_within(KindSet::of_class(KindClass::Terminal)) =>
            {
                Select::Terminals
            }
            _ => Select::All,
        }
    }

    /// What tags sort out.
    pub(super) fn tag_filter(&self) -> Option<TagFilter> {
        let kinds = match self {
            Scope::Plain(_) => KindSet::ALL,
            Scope::Filtered(filter) => filter.kinds(),
        };
        let all_of_lanes = match self.select() {
            Select::Terminals => KindSet::of_class(KindClass::Terminal),
            _ => KindSet::ALL,
        };
        match self.only_run() {
            None if all_of_lanes.is_within(kinds) => None,
            run_id => Some(TagFilter {
                mask: run_id.map_or(0, |_| ((1 << RUN_BITS) - 1) << CLASS_BITS),
                value: run_id.map_or(0, run_tag),
                classes: kinds.bits(),
            }),
        }
    }

    /// The key of those who may have published something for this scope.
    pub(super) fn key(&self) -> u64 {
        match (self.only_run(), self.only_agent()) {
            (Some(run_id), _) => run_key(run_id),
            (None, Some(agent_id)) => agent_key(agent_id),
            (None, None) => ANY_KEY,
        }
    }

    fn only_agent(&self) -> Option<&AgentId> {
        match self {
            Scope::Plain(EventStreamScope::Agent(agent_id)) => Some(agent_id),
            Scope::Plain(_) => None,
            Scope::Filtered(filter) => match filter.criteria().agent_ids.as_slice() {
                [agent_id] => Some(agent_id),
                _ => None,
            },
        }
    }

    fn only_run(&self) -> Option<&RunId> {
        match self {
            Scope::Plain(EventStreamScope::Run(run_id)) => Some(run_id),
            Scope::Plain(_) => None,
            Scope::Filtered(filter) => match filter.criteria().run_ids.as_slice() {
                [run_id] => Some(run_id),
                _ => None,
            },
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::Scope;
    use crate::event::{
        AgentEvent, EventEnvelope, EventFilter, EventFrame, EventKind, EventStreamScope, RunId,
    };
    use crate::ring::Select;
    use crate::{AgentEventBus, InMemoryAgentEventBus};
    use std::collections::BTreeSet;

    fn filtered(filter: EventFilter) -> Scope {
        Scope::Filtered(Box::new(filter.compile().unwrap()))
    }

    #[test]
    fn runs_are_spread_over_shards_tags_and_keys() {
        let runs: Vec<_> = (0..256).map(|n| RunId::new(format!("run-{n}"))).collect();
        let shards: BTreeSet<_> = runs.iter().map(|run| super::shard(run) % 8).collect();
        assert_eq!(shards.len(), 8);
        let tags: BTreeSet<_> = runs.iter().map(super::run_tag).collect();
        assert!(tags.len() > 250, "{} of 2^17", tags.len());
        let keys: BTreeSet<_> = runs.iter().map(super::run_key).collect();
        assert_eq!(keys.len(), 256);
        let [run, agent] = super::keys(&EventEnvelope::new("r", "r", EventKind::RunStarted));
        assert_ne!(run, agent, "a run and an agent of one name");
    }

    #[test]
    fn a_scope_reads_no_more_lanes_than_it_must() {
        let run = || Scope::Plain(EventStreamScope::Run("r".into()));
        let shard = super::shard(&RunId::new("r"));
        for scope in [run(), filtered(EventFilter::run("r"))] {
            assert!(matches!(scope.select(), Select::Shard(at) if at == shard));
            let tags = scope.tag_filter().expect("of one run");
            assert_eq!(tags.value, super::run_tag(&RunId::new("r")));
        }
        let ends = filtered(EventFilter::terminal_run_events());
        assert!(matches!(ends.select(), Select::Terminals));
        let terminals = filtered(EventFilter {
            terminal_only: true,
            ..EventFilter::default()
        });
        assert!(matches!(terminals.select(), Select::Terminals));
        // Nothing is to be sorted out where all of the lanes is wanted, by its tag.
        let agent = Scope::Plain(EventStreamScope::Agent("a".into()));
        let all = Scope::Plain(EventStreamScope::All);
        for scope in [&all, &agent] {
            assert!(matches!(scope.select(), Select::All));
        }
        for scope in [all, agent, terminals] {
            assert!(scope.tag_filter().is_none(), "{scope:?}");
        }
    }

    /// A tag has 17 bits of a run's hash: a run that has those of `run`, and is in its shard of
    /// two.
    fn another_of_its_tag(run: &RunId) -> RunId {
        let like = |other: &RunId| {
            super::run_tag(other) == super::run_tag(run)
                && (super::shard(other) ^ super::shard(run)) & 1 == 0
        };
        let others = (0..).map(|n| RunId::new(format!("another-{n}")));
        others.into_iter().find(like).unwrap()
    }

    #[test]
    fn two_runs_of_one_tag_are_told_apart() {
        let run = RunId::new("run");
        let other = another_of_its_tag(&run);
        for shards in [1, 2] {
            let builder = InMemoryAgentEventBus::builder();
            let bus = builder.shards(shards.try_into().unwrap()).build().unwrap();
            let filter = EventFilter::run(run.clone()).compile().unwrap();
            let mut streams = [
                bus.subscribe_run(run.clone(), None),
                bus.subscribe_filtered(filter, None),
            ]
            .map(Result::unwrap);
            for own in [&other, &run, &run, &other, &run, &other, &other] {
                for kind in [EventKind::RunStarted, EventKind::RunCompleted] {
                    let envelope = EventEnvelope::new(own.clone(), "agent", kind);
                    let event = AgentEvent::envelope_only(envelope);
                    bus.publish(EventFrame::new(event)).unwrap();
                }
            }
            for stream in &mut streams {
                let frames: Vec<_> = stream.collect();
                assert_eq!(frames.len(), 6);
                assert!(
                    frames
                        .iter()
                        .all(|frame| frame.event.envelope.run_id == run)
                );
            }
            // The same in borrowed batches.
            let mut stream = bus.subscribe_run(run.clone(), None).unwrap();
            let mut given = 0;
            let mut batch = || {
                stream.read_batch(|item| {
                    if let crate::BatchItem::Frame(frame) = item {
                        assert_eq!(frame.envelope().run_id, run);
                        given += 1;
                    }
                    std::ops::ControlFlow::Continue(())
                })
            };
            while batch() > 0 {}
            assert_eq!(given, 6);
        }
    }
}
