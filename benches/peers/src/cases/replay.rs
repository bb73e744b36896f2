//! Recorded agent runs, end to end: each recorded step becomes a new event, is published, and is
//! read on another thread. Sizes and kinds are those of real runs; the rest is as in `stream.rs`.

use super::stream::{Stream, stream};
use crate::case::{Case, Contender};
use crate::peer::Peer;
use crate::peers::{self, Visit};
use framebus::{AgentId, EventEnvelope, EventFrame, EventKind, RunId, Timestamp};
use framebus_recordings::{Body, ReadOptions, read_paths};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A recorded step, ready to be published any number of times.
struct Step {
    run: RunId,
    agent: AgentId,
    kind: EventKind,
    body: Body,
}

/// Reads the recordings in a folder, run by run.
fn read(folder: &Path) -> Vec<Step> {
    let (runs, _left_out) = read_paths(&[folder.into()], &ReadOptions::default());
    let mut steps = Vec::new();
    for run in runs {
        let (id, agent) = (RunId::new(&*run.run_id), AgentId::new(&*run.agent_id));
        steps.extend(run.steps.into_iter().map(|step| Step {
            run: id.clone(),
            agent: agent.clone(),
            kind: step.kind,
            body: step.body,
        }));
    }
    assert!(!steps.is_empty(), "no recordings in {}", folder.display());
    steps
}

impl Step {
    fn event(&self, word: u64) -> EventFrame {
        let time = Timestamp::from_micros(word as i64);
        let envelope = EventEnvelope::new(&self.run, &self.agent, self.kind).with_timestamp(time);
        EventFrame::new(self.body.event(envelope))
    }
}

/// What is read once, when it is first needed.
struct Recorded {
    folder: PathBuf,
    steps: OnceLock<Vec<Step>>,
}

/// The recordings of a folder, to one subscriber and to four.
pub fn cases(folder: &Path) -> Vec<Case> {
    let recorded = Arc::new(Recorded {
        folder: folder.into(),
        steps: OnceLock::new(),
    });
    [1, 4]
        .map(|subscribers| case(&recorded, subscribers))
        .into()
}

fn case(recorded: &Arc<Recorded>, subscribers: usize) -> Case {
    struct All {
        recorded: Arc<Recorded>,
        subscribers: usize,
        contenders: Vec<Contender>,
    }
    impl Visit<EventFrame> for All {
        fn visit<P: Peer<EventFrame>>(&mut self) {
            let (recorded, subscribers) = (self.recorded.clone(), self.subscribers);
            self.contenders
                .push(Contender::peer::<EventFrame, P>(move |scale| {
                    let steps = recorded.steps.get_or_init(|| read(&recorded.folder));
                    stream::<EventFrame, P, _>(scale, Stream::new(1, subscribers, 1), |_| {
                        let mut steps = steps.iter().cycle();
                        move |word| match steps.next() {
                            Some(step) => step.event(word),
                            None => unreachable!("there is a step, and they go round"),
                        }
                    })
                }));
        }
    }
    let mut all = All {
        recorded: recorded.clone(),
        subscribers,
        contenders: Vec::new(),
    };
    peers::each::<EventFrame>(&mut all);
    Case {
        name: format!("replay/1-to-{subscribers}"),
        about: "recorded runs, each step a new event: frames delivered in a second, nothing lost",
        contenders: all.contenders,
    }
}
