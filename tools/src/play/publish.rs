//! Publishes a play from several threads: at the recorded pace, scaled, or flat out.

use super::Play;
use framebus::{AgentError, InMemoryAgentEventBus};
use framebus_recordings::Step;
use indicatif::ProgressBar;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// How many runs a thread interleaves when it plays flat out.
const INTERLEAVED: usize = 64;

/// What a step takes in a recording without times.
const STEP_MICROS: u64 = 5_000;

/// How often the progress is told, in frames.
const TOLD_EVERY: u64 = 1_024;

/// The most threads that publish.
const MOST_THREADS: usize = 1_024;

/// How a play is published.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// On how many threads.
    pub threads: NonZeroUsize,
    /// As a multiple of the recorded pace; 0 is flat out.
    pub speed: f64,
    /// Deals a run's frames out to all threads, instead of keeping a run on one.
    pub split_runs: bool,
}

/// Reads a command line's speed or time: a number from 0 up.
pub fn from_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("give a number from 0 up".to_owned()),
    }
}

/// Reads a command line's number of threads.
pub fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= MOST_THREADS => Ok(threads),
        _ => Err(format!("give a number from 1 to {MOST_THREADS}")),
    }
}

/// Publishes the whole play. The first error ends the thread that meets it, and is returned.
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
                // A run is on one thread alone, unless it is to be split.
                let scripts = if pace.split_runs {
                    (0..play.parts.len())
                        .map(|part| Script::new(part, thread, threads))
                        .collect()
                } else {
                    (thread..play.parts.len())
                        .step_by(threads)
                        .map(|part| Script::new(part, 0, 1))
                        .collect()
                };
                scope.spawn(move || match pace.speed {
                    0.0 => flat_out(bus, play, scripts, progress),
                    speed => paced(bus, play, scripts, speed, progress),
                })
            })
            .collect();
        let panicked = || AgentError::contract_violation("a publishing thread panicked");
        publishers
            .into_iter()
            .try_for_each(|it| it.join().unwrap_or_else(|_| Err(panicked())))
    })
}

/// The steps of one part that one thread publishes: every `stride`-th from `next` on.
struct Script {
    part: usize,
    next: usize,
    stride: usize,
}

impl Script {
    fn new(part: usize, next: usize, stride: usize) -> Self {
        Script { part, next, stride }
    }

    fn take<'a>(&mut self, play: &'a Play) -> Option<&'a Step> {
        let step = play.steps(self.part).get(self.next);
        self.next += self.stride;
        step
    }
}

/// Publishes without a pause, a step of each of the interleaved runs in turn.
fn flat_out(
    bus: &InMemoryAgentEventBus,
    play: &Play,
    scripts: Vec<Script>,
    progress: &ProgressBar,
) -> Result<(), AgentError> {
    let mut waiting = scripts.into_iter();
    let mut going: VecDeque<Script> = waiting.by_ref().take(INTERLEAVED).collect();
    let mut published = 0;
    while let Some(mut script) = going.pop_front() {
        match script.take(play) {
            Some(step) => {
                bus.publish(play.frame(script.part, step))?;
                going.push_back(script);
                published += 1;
                if published % TOLD_EVERY == 0 {
                    progress.inc(TOLD_EVERY);
                }
            }
            None => going.extend(waiting.next()),
        }
    }
    progress.inc(published % TOLD_EVERY);
    Ok(())
}

/// Publishes each step when it is due.
fn paced(
    bus: &InMemoryAgentEventBus,
    play: &Play,
    scripts: Vec<Script>,
    speed: f64,
    progress: &ProgressBar,
) -> Result<(), AgentError> {
    let begin = Instant::now();
    let dues: Vec<Vec<u64>> = scripts
        .iter()
        .map(|script| due(play.steps(script.part)))
        .collect();
    // The next step of each script, the earliest first.
    let mut agenda: BinaryHeap<_> = scripts
        .iter()
        .enumerate()
        .filter_map(|(at, script)| Some(Reverse((*dues[at].get(script.next)?, at, script.next))))
        .collect();
    while let Some(Reverse((micros, at, step))) = agenda.pop() {
        let script = &scripts[at];
        let due = Duration::from_micros((micros as f64 / speed) as u64);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        bus.publish(play.frame(script.part, &play.steps(script.part)[step]))?;
        progress.inc(1);
        let next = step + script.stride;
        agenda.extend(
            dues[at]
                .get(next)
                .map(|&micros| Reverse((micros, at, next))),
        );
    }
    Ok(())
}

/// Returns when each step is due, in microseconds after the run's first. Recorded times may run
/// backwards; a step is never due before the one that it follows in the recording.
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
