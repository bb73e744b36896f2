//! What is played, and how it is published.

mod publish;

pub use publish::{Pace, from_zero, publish, threads};

use framebus::{AgentId, EntityKind, EventEnvelope, EventFamily, EventFrame, EventKind, RunId};
use framebus_recordings::{RecordedRun, Source, Step};
use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;

/// Recorded runs, each perhaps several times. A copy has ids of its own and shares the texts.
pub struct Play {
    /// The steps of each recorded run.
    runs: Vec<Vec<Step>>,
    parts: Vec<Part>,
    /// The frames of all parts.
    frames: usize,
    /// Events say what they are about.
    detailed: bool,
}

/// One run of the play: a recorded one, or a copy.
pub struct Part {
    /// The recorded id, and `~` with the copy's number.
    pub run_id: RunId,
    /// The recorded id, and `~` with the copy's number.
    pub agent_id: AgentId,
    /// The format that it was read from.
    pub source: Source,
    /// The run that started it, if that is played too.
    parent: Option<RunId>,
    /// What follows each id of this copy; empty for a recorded run.
    suffix: String,
    /// Its index in `Play::runs`.
    run: usize,
}

/// How many frames there are of something, and how many of them are terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub frames: u64,
    pub terminals: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.frames += other.frames;
        self.terminals += other.terminals;
    }
}

/// The most runs of a play. Each takes some hundred bytes, and a subscription in some tools.
const MOST_RUNS: usize = 1_000_000;

/// Why there is no play.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error("nothing to play; name recordings or folders of them")]
    Nothing,
    #[error("that would be more than {MOST_RUNS} runs; ask for fewer --runs or --frames")]
    TooMany,
}

impl Play {
    /// Takes all runs, and copies all of them until there are at least this many runs and frames.
    ///
    /// Fails if there are none, or if there would be more than [`MOST_RUNS`].
    pub fn new(
        recorded: Vec<RecordedRun>,
        least_runs: usize,
        least_frames: usize,
    ) -> Result<Self, PlayError> {
        let mut play = Play {
            runs: Vec::new(),
            parts: Vec::new(),
            frames: 0,
            detailed: false,
        };
        let frames: usize = recorded.iter().map(|run| run.steps.len()).sum();
        if frames == 0 {
            return Err(PlayError::Nothing);
        }
        let for_runs = least_runs.div_ceil(recorded.len());
        let copies = for_runs.max(least_frames.div_ceil(frames)).max(1);
        if copies.saturating_mul(recorded.len()) > MOST_RUNS {
            return Err(PlayError::TooMany);
        }
        let mut agents = HashMap::new();
        for copy in 0..copies {
            let suffix = match copy {
                0 => String::new(),
                copy => format!("~{copy}"),
            };
            for (index, run) in recorded.iter().enumerate() {
                let agent = format!("{}{suffix}", run.agent_id);
                let agent_id = agents
                    .entry(agent.clone())
                    .or_insert_with(|| AgentId::new(agent));
                play.parts.push(Part {
                    run_id: RunId::new(format!("{}{suffix}", run.run_id)),
                    agent_id: agent_id.clone(),
                    source: run.source,
                    parent: run
                        .parent
                        .as_ref()
                        .map(|id| RunId::new(format!("{id}{suffix}"))),
                    suffix: suffix.clone(),
                    run: index,
                });
            }
            play.frames += frames;
        }
        play.runs = recorded.into_iter().map(|run| run.steps).collect();
        Ok(play)
    }

    /// Has each event say what it is about: its subject, its tags, and the run that started its
    /// run. That takes allocations, which halve the rate at which a play is published flat out.
    #[cfg(feature = "serve")]
    pub fn in_detail(mut self) -> Self {
        self.detailed = true;
        self
    }

    /// How many frames are published in all.
    pub fn frames(&self) -> usize {
        self.frames
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn steps(&self, part: usize) -> &[Step] {
        &self.runs[self.parts[part].run]
    }

    /// Counts one part.
    pub fn count(&self, part: usize) -> Count {
        let steps = self.steps(part);
        Count {
            frames: steps.len() as u64,
            terminals: steps.iter().filter(|step| step.kind.is_terminal()).count() as u64,
        }
    }

    /// Counts all parts.
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        (0..self.parts.len()).for_each(|part| total += self.count(part));
        total
    }

    /// Returns each agent once, in the order of their ids, and counts its parts.
    pub fn agents(&self) -> BTreeMap<AgentId, Count> {
        let mut counts: BTreeMap<_, Count> = BTreeMap::new();
        for (index, part) in self.parts.iter().enumerate() {
            *counts.entry(part.agent_id.clone()).or_default() += self.count(index);
        }
        counts
    }

    /// Makes a new frame of a step of this part.
    fn frame(&self, part: usize, step: &Step) -> EventFrame {
        let part = &self.parts[part];
        let mut envelope = EventEnvelope::new(&part.run_id, &part.agent_id, step.kind);
        if self.detailed {
            envelope = part.detail(step, envelope);
        }
        EventFrame::new(step.body.event(envelope))
    }
}

impl Part {
    /// Has a step's event say what it is about. Its subject is the step's item; a run that another
    /// one started names that one as related when it starts.
    fn detail(&self, step: &Step, mut envelope: EventEnvelope) -> EventEnvelope {
        if let Some(item) = &step.item {
            let kind = entity(step.kind.family());
            envelope = match kind {
                EntityKind::Run => envelope.with_subject((kind, format!("{item}{}", self.suffix))),
                _ => envelope.with_subject((kind, &**item)),
            };
        }
        if let (EventKind::RunStarted, Some(parent)) = (step.kind, &self.parent) {
            envelope = envelope.with_related((EntityKind::Run, parent.as_str()));
        }
        for tag in &step.tags {
            envelope = envelope.with_tag(*tag);
        }
        envelope
    }
}

/// Returns what kind of item a step of this family is about.
fn entity(family: EventFamily) -> EntityKind {
    match family {
        EventFamily::Turn => EntityKind::Turn,
        EventFamily::Model => EntityKind::ModelAttempt,
        EventFamily::Tool | EventFamily::Isolation => EntityKind::ToolCall,
        EventFamily::Hook => EntityKind::Hook,
        EventFamily::Subagent => EntityKind::Run,
        _ => EntityKind::Other,
    }
}
