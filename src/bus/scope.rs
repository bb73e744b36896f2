//! Where a frame goes, and what a scope reads: the one module that knows what a tag means.
//!
//! A frame's shard is chosen by the upper half of its run's hash, so all frames of a run are in one
//! shard. Its tag is its kind, in the class bits, and above that bits of the lower half of the
//! hash. A tag only sorts out: a frame that it lets through is compared exactly.

use crate::bound::Loss;
use crate::event::{
    AgentError, AgentId, CompiledEventFilter, EventEnvelope, EventFilter, EventOverflowReason,
    EventStreamScope, KindClass, KindSet, PayloadAccessMode, RunId,
};
use crate::ring::{ANY_KEY, CLASS_BITS, Gap, Route, Select, TAG_BITS, TagFilter};

/// How many bits of a run's hash a tag has.
const RUN_BITS: u32 = TAG_BITS - CLASS_BITS;

/// Returns the bits of a tag that are the run's; those of the class are 0.
fn run_tag(run_id: &RunId) -> u32 {
    ((run_id.hash64() as u32) & ((1 << RUN_BITS) - 1)) << CLASS_BITS
}

/// Returns the shard of a run. The ring takes it modulo the number of shards.
fn shard(run_id: &RunId) -> usize {
    (run_id.hash64() >> 32) as usize
}

/// Returns the key under which readers wait for this run's frames.
fn run_key(run_id: &RunId) -> u64 {
    run_id.hash64()
}

/// Returns the key under which readers wait for this agent's frames. The hash is rotated, so that
/// a run and an agent of the same name have two keys.
fn agent_key(agent_id: &AgentId) -> u64 {
    agent_id.hash64().rotate_left(32)
}

/// Returns the keys of the readers to wake for this frame: its run's and its agent's.
#[inline]
pub(super) fn keys(envelope: &EventEnvelope) -> [u64; 2] {
    [run_key(&envelope.run_id), agent_key(&envelope.agent_id)]
}

/// Returns the lane that a frame is published to, and its tag.
#[inline]
pub(super) fn route(envelope: &EventEnvelope) -> Route {
    let kind = envelope.event_kind;
    Route {
        shard: shard(&envelope.run_id),
        terminal: kind.is_terminal(),
        tag: run_tag(&envelope.run_id) | kind as u32,
    }
}

/// What a subscription reads: a scope by itself, or a filter with its criteria.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// Everything, one run or one agent.
    Plain(EventStreamScope),
    /// What a filter lets through.
    Filtered(Box<CompiledEventFilter>),
}

impl Scope {
    /// Returns the scope that the subscription's cursors name.
    pub(super) fn of_cursors(&self) -> EventStreamScope {
        match self {
            Scope::Plain(scope) => scope.clone(),
            Scope::Filtered(filter) => filter.cursor_scope(),
        }
    }

    /// Returns whether a frame is of the scope, compared exactly.
    #[inline]
    pub(super) fn matches(&self, envelope: &EventEnvelope) -> bool {
        match self {
            Scope::Plain(EventStreamScope::Run(run_id)) => envelope.run_id == *run_id,
            Scope::Plain(EventStreamScope::Agent(agent_id)) => envelope.agent_id == *agent_id,
            Scope::Plain(_) => true,
            Scope::Filtered(filter) => filter.matches_envelope(envelope),
        }
    }

    /// Returns the lanes to read: no more than the scope needs.
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

    /// Returns the tags of the frames to read; `None` if every frame of the lanes is wanted.
    pub(super) fn tag_filter(&self) -> Option<TagFilter> {
        let kinds = match self {
            Scope::Plain(_) => KindSet::ALL,
            Scope::Filtered(filter) => filter.kinds(),
        };
        let kinds_in_lanes = match self.select() {
            Select::Terminals => KindSet::of_class(KindClass::Terminal),
            _ => KindSet::ALL,
        };
        match self.only_run() {
            None if kinds_in_lanes.is_within(kinds) => None,
            run_id => Some(TagFilter {
                mask: run_id.map_or(0, |_| ((1 << RUN_BITS) - 1) << CLASS_BITS),
                value: run_id.map_or(0, run_tag),
                classes: kinds.bits(),
            }),
        }
    }

    /// Returns the key under which a reader of the scope waits; [`ANY_KEY`] unless the scope is of
    /// one run or one agent.
    pub(super) fn key(&self) -> u64 {
        match (self.only_run(), self.only_agent()) {
            (Some(run_id), _) => run_key(run_id),
            (None, Some(agent_id)) => agent_key(agent_id),
            (None, None) => ANY_KEY,
        }
    }

    /// Returns the loss that a gap in the rings is for this scope.
    ///
    /// A gap counts sequence numbers, or bounds them. How many of those are frames of a narrower
    /// scope than everything is not known.
    pub(super) fn loss(&self, gap: Gap) -> Loss {
        Loss {
            count: gap.lost,
            exact: gap.lost == 0 || matches!(self, Scope::Plain(EventStreamScope::All)),
            first_seq: gap.first,
            last_seq: gap.last,
            terminal_preserved: !gap.terminals_lost,
            reason: if gap.expired {
                EventOverflowReason::LiveBufferExpired
            } else {
                EventOverflowReason::SubscriberLagged
            },
        }
    }

    /// Returns a filter that lets the same frames through, with this payload access: what an
    /// archive replays for the scope.
    ///
    /// # Errors
    /// As for [`EventFilter::compile`].
    pub(super) fn to_filter(
        &self,
        access: PayloadAccessMode,
    ) -> Result<CompiledEventFilter, AgentError> {
        let mut filter = match self {
            Scope::Plain(EventStreamScope::Run(run_id)) => EventFilter::run(run_id).compile()?,
            Scope::Plain(EventStreamScope::Agent(agent_id)) => {
                EventFilter::agent(agent_id).compile()?
            }
            Scope::Plain(_) => EventFilter::default().compile()?,
            Scope::Filtered(filter) => (**filter).clone(),
        };
        filter.payload_access = access;
        Ok(filter)
    }

    /// Returns the run, if the scope is of one run only.
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

    /// Returns the agent, if the scope is of one agent only.
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
        // Where every frame of the lanes is wanted, tags sort nothing out.
        let agent = Scope::Plain(EventStreamScope::Agent("a".into()));
        let all = Scope::Plain(EventStreamScope::All);
        for scope in [&all, &agent] {
            assert!(matches!(scope.select(), Select::All));
        }
        for scope in [all, agent, terminals] {
            assert!(scope.tag_filter().is_none(), "{scope:?}");
        }
    }

    /// Returns another run with the tag of `run`, which has 17 bits of its hash, in the same shard
    /// of two.
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
