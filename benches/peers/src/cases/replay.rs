//! Recorded agent runs, end to end: each recorded step becomes a new event, is published, and is
//! read on another thread. Sizes and kinds are those of real runs; the rest is as in `stream.rs`.

use super::stream::{Stream, stream};
use crate::case::{Case, Contender};
use crate::peer::Peer;
use crate::peers::{self, Visit};
use framebus::{
    AgentEvent, AgentId, EventEnvelope, EventFrame, EventKind, PrivacyClass, RunId, Timestamp,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use trace::Body;

#[allow(dead_code, unused_imports, reason = "the example uses the rest")]
#[path = "../../../../examples/replay/trace/mod.rs"]
mod trace;

/// A recorded step, ready to be published any number of times.
struct Step {
    run: RunId,
    agent: AgentId,
    kind: EventKind,
    said: Said,
}

enum Said {
    Nothing,
    About(String),
    /// Shared by all events that are made of it.
    Content(Arc<[u8]>),
}

/// Reads the recordings in a folder, run by run.
fn read(folder: &Path) -> Vec<Step> {
    let (runs, _left_out) = trace::read_folder(&[folder.into()], &trace::ReadOptions::default());
    let mut steps = Vec::new();
    for run in runs {
        let (id, agent) = (RunId::new(&*run.run_id), AgentId::new(&*run.agent_id));
        steps.extend(run.steps.into_iter().map(|step| Step {
            run: id.clone(),
            agent: agent.clone(),
            kind: step.kind,
            said: match step.body {
                Body::None => Said::Nothing,
                Body::Note(text) | Body::Json(text) => Said::About(text),
                Body::Text(text) => Said::Content(text.into_bytes().into()),
            },
        }));
    }
    assert!(!steps.is_empty(), "no recordings in {}", folder.display());
    steps
}

impl Step {
    fn event(&self, word: u64) -> EventFrame {
        let time = Timestamp::from_micros(word as i64);
        let envelope = EventEnvelope::new(&self.run, &self.agent, self.kind).with_timestamp(time);
        EventFrame::new(match &self.said {
            Said::Nothing => AgentEvent::envelope_only(envelope),
            Said::About(text) => AgentEvent::with_redacted_summary(envelope, text.as_str()),
            Said::Content(bytes) => {
                let envelope = envelope.with_privacy(PrivacyClass::Content);
                AgentEvent::with_content(envelope, "text/plain", bytes.clone())
            }
        })
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
