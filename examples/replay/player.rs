//! Publishes recorded runs from several threads: at their own pace, scaled, or flat out.

use crate::trace::{self, Body, TraceRun};
use framebus::{
    AgentError, AgentEvent, AgentId, EventEnvelope, EventFrame, EventKind, InMemoryAgentEventBus,
    PrivacyClass, RunId,
};
use indicatif::ProgressBar;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many runs a thread keeps going at once when it plays flat out.
const AT_ONCE: usize = 64;

/// What a step takes in a recording without times.
const STEP_MICROS: u64 = 5_000;

/// What is played: recorded runs, each perhaps several times.
pub struct Play {
    /// The steps of each recorded run.
    runs: Vec<Vec<Step>>,
    parts: Vec<Part>,
    frames: usize,
}

/// One run of the play.
pub struct Part {
    /// Its id: the recorded one, and the copy's number.
    pub run_id: RunId,
    /// Its agent's id, likewise.
    pub agent_id: AgentId,
    /// Its format.
    pub source: trace::Source,
    run: usize,
}

/// A recorded step, ready to be published any number of times.
struct Step {
    kind: EventKind,
    body: Said,
    at: Option<i64>,
}

enum Said {
    Nothing,
    /// A remark, or figures.
    About(String),
    /// What a model, a tool or a user said: shared by all copies.
    Content(Arc<[u8]>),
}

impl From<trace::Step> for Step {
    fn from(step: trace::Step) -> Self {
        let body = match step.body {
            Body::None => Said::Nothing,
            Body::Note(text) | Body::Json(text) => Said::About(text),
            Body::Text(text) => Said::Content(text.into_bytes().into()),
        };
        Step {
            kind: step.kind,
            body,
            at: step.at,
        }
    }
}

/// How many frames there are of something, and how many of them are terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub frames: u64,
    pub terminals: u64,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.frames += other.frames;
        self.terminals += other.terminals;
    }
}

impl Play {
    /// All runs, and as many copies of them as it takes for so many runs and frames.
    pub fn new(recorded: Vec<TraceRun>, least_runs: usize, least_frames: usize) -> Self {
        let mut play = Play {
            runs: Vec::new(),
            parts: Vec::new(),
            frames: 0,
        };
        let steps: usize = recorded.iter().map(|run| run.steps.len()).sum();
        let mut agents = HashMap::new();
        let mut copy = 0;
        while steps > 0
            && (copy == 0 || play.parts.len() < least_runs || play.frames < least_frames)
        {
            let suffix = if copy == 0 {
                String::new()
            } else {
                format!("~{copy}")
            };
            for (at, run) in recorded.iter().enumerate() {
                let agent = format!("{}{suffix}", run.agent_id);
                let agent_id = agents
                    .entry(agent.clone())
                    .or_insert_with(|| AgentId::new(agent));
                play.parts.push(Part {
                    run_id: RunId::new(format!("{}{suffix}", run.run_id)),
                    agent_id: agent_id.clone(),
                    source: run.source,
                    run: at,
                });
            }
            play.frames += steps;
            copy += 1;
        }
        let steps = |run: TraceRun| run.steps.into_iter().map(Step::from).collect();
        play.runs = recorded.into_iter().map(steps).collect();
        play
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

    /// What there is of one run.
    pub fn count(&self, part: usize) -> Count {
        let steps = self.steps(part);
        let terminals = steps.iter().filter(|step| step.kind.is_terminal()).count() as u64;
        Count {
            frames: steps.len() as u64,
            terminals,
        }
    }

    /// What there is in all.
    pub fn total(&self) -> Count {
        self.sum(|_| true)
    }

    /// What there is of the runs that `select` selects.
    pub fn sum(&self, select: impl Fn(&Part) -> bool) -> Count {
        let mut sum = Count::default();
        let selected = (0..self.parts.len()).filter(|&part| select(&self.parts[part]));
        selected.for_each(|part| sum.add(self.count(part)));
        sum
    }

    /// The agents, each once.
    pub fn agents(&self) -> Vec<(AgentId, Count)> {
        let mut counts: HashMap<AgentId, Count> = HashMap::new();
        for (at, part) in self.parts.iter().enumerate() {
            counts
                .entry(part.agent_id.clone())
                .or_default()
                .add(self.count(at));
        }
        let mut agents: Vec<_> = counts.into_iter().collect();
        agents.sort_by(|a, b| a.0.cmp(&b.0));
        agents
    }

    fn frame(&self, part: usize, step: &Step) -> EventFrame {
        let Part {
            run_id, agent_id, ..
        } = &self.parts[part];
        let envelope = EventEnvelope::new(run_id, agent_id, step.kind);
        EventFrame::new(match &step.body {
            Said::Nothing => AgentEvent::envelope_only(envelope),
            Said::About(text) => AgentEvent::with_redacted_summary(envelope, text.as_str()),
            Said::Content(bytes) => {
                let envelope = envelope.with_privacy(PrivacyClass::Content);
                AgentEvent::with_content(envelope, "text/plain", bytes.clone())
            }
        })
    }
}

/// How a play is published.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// On how many threads.
    pub threads: NonZeroUsize,
    /// As a multiple of the recorded pace; 0 is flat out.
    pub speed: f64,
    /// Whether a run's frames are dealt out to all threads.
    pub split_runs: bool,
}

/// Publishes the whole play. The first error ends it.
pub fn publish(
    bus: &InMemoryAgentEventBus,
    play: &Play,
    pace: Pace,
    progress: &ProgressBar,
) -> Result<(), AgentError> {
    let threads = pace.threads.get();
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..threads)
            .map(|thread| {
                // One run never is on two threads, unless that was asked for.
                let lines = match pace.split_runs {
                    true => (0..play.parts.len())
                        .map(|part| Line::new(part, thread, threads))
                        .collect(),
                    false => (thread..play.parts.len())
                        .step_by(threads)
                        .map(|part| Line::new(part, 0, 1))
                        .collect(),
                };
                scope.spawn(move || match pace.speed {
                    0.0 => flat_out(bus, play, lines, progress),
                    speed => paced(bus, play, lines, speed, progress),
                })
            })
            .collect();
        let failed = |_| AgentError::contract_violation("a publishing thread panicked");
        publishers
            .into_iter()
            .try_for_each(|it| it.join().unwrap_or_else(|panic| Err(failed(panic))))
    })
}

/// Where a thread is in a run.
struct Line {
    part: usize,
    next: usize,
    stride: usize,
}

impl Line {
    fn new(part: usize, next: usize, stride: usize) -> Self {
        Line { part, next, stride }
    }

    fn take<'a>(&mut self, play: &'a Play) -> Option<&'a Step> {
        let step = play.steps(self.part).get(self.next);
        self.next += self.stride;
        step
    }
}

fn flat_out(
    bus: &InMemoryAgentEventBus,
    play: &Play,
    lines: Vec<Line>,
    progress: &ProgressBar,
) -> Result<(), AgentError> {
    let mut waiting = lines.into_iter();
    let mut going: VecDeque<Line> = waiting.by_ref().take(AT_ONCE).collect();
    let mut published = 0;
    while let Some(mut line) = going.pop_front() {
        match line.take(play) {
            Some(step) => {
                bus.publish(play.frame(line.part, step))?;
                going.push_back(line);
                published += 1;
                if published % 1_024 == 0 {
                    progress.inc(1_024);
                }
            }
            None => going.extend(waiting.next()),
        }
    }
    progress.inc(published % 1_024);
    Ok(())
}

fn paced(
    bus: &InMemoryAgentEventBus,
    play: &Play,
    lines: Vec<Line>,
    speed: f64,
    progress: &ProgressBar,
) -> Result<(), AgentError> {
    let begin = Instant::now();
    let dues: Vec<Vec<u64>> = lines
        .iter()
        .map(|line| due(play.steps(line.part)))
        .collect();
    let mut agenda: BinaryHeap<_> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| Some(Reverse((*dues[at].get(line.next)?, at, line.next))))
        .collect();
    while let Some(Reverse((micros, at, step))) = agenda.pop() {
        let line = &lines[at];
        let due = Duration::from_micros((micros as f64 / speed) as u64);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        bus.publish(play.frame(line.part, &play.steps(line.part)[step]))?;
        progress.inc(1);
        let next = step + line.stride;
        agenda.extend(
            dues[at]
                .get(next)
                .map(|&micros| Reverse((micros, at, next))),
        );
    }
    Ok(())
}

/// When each step is due, in microseconds from the run's first. Recorded times run backwards at
/// times; the order is that of the recording.
fn due(steps: &[Step]) -> Vec<u64> {
    let first = steps.iter().find_map(|step| step.at);
    let mut latest = 0;
    steps
        .iter()
        .map(|step| {
            latest = match (first, step.at) {
                (Some(first), Some(at)) => latest.max(at.saturating_sub(first).max(0) as u64),
                (Some(_), None) => latest,
                (None, _) => latest + STEP_MICROS,
            };
            latest
        })
        .collect()
}
