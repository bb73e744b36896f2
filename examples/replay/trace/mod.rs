//! Recorded agent runs in a neutral form: a list of steps, each named by an event kind.
//!
//! Five public recording formats are read, one module each. What a reader yields keeps these
//! invariants, whatever the file holds:
//! - a run begins with `RunStarted` and ends with exactly one terminal kind of the run family;
//! - every item that a step opens (a turn, a model attempt, a tool call, a hook, a sub-agent, an
//!   output dispatch) is closed exactly once, before the run's last step;
//! - the texts of a run's `ModelStreamDelta` steps, joined, are the recorded model text byte for
//!   byte;
//! - steps stand in the order of the file. Recorded times may run backwards; they are kept as
//!   they are and order nothing.
//!
//! The first two hold because only [`builder::RunBuilder`] makes steps, the third because
//! [`cut`] only ever splits.
//!
//! A file that can't be read costs that file alone: the error says where it is and what to do.

mod builder;
mod claude_code;
pub mod cut;
mod detect;
mod error;
mod files;
mod json;
mod lines;
mod mini_swe;
mod swe_agent;
mod tau_bench;
mod vercel_sse;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use framebus::EventKind;

pub use error::{TraceError, TraceProblem};
pub use files::{read_folder, read_trace};

/// Where a run was recorded, which is also its file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Claude Code session transcripts, one JSON object a line.
    ClaudeCode,
    /// mini-swe-agent trajectories, one JSON document a run.
    MiniSwe,
    /// tau-bench conversations, one run a line.
    TauBench,
    /// SWE-agent trajectories, one JSON document a run.
    SweAgent,
    /// Chunks of streamed model responses, one JSON object a line.
    VercelSse,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 5] = [
        Self::ClaudeCode,
        Self::MiniSwe,
        Self::TauBench,
        Self::SweAgent,
        Self::VercelSse,
    ];

    /// The name that run ids begin with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code-sessions",
            Self::MiniSwe => "mini-swe-agent-gemini3",
            Self::TauBench => "tau-bench-airline",
            Self::SweAgent => "swe-agent-demos",
            Self::VercelSse => "vercel-ai-sse",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One recorded run.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRun {
    /// `<source>/<file>` or `<source>/<file>/<line>`: unique among the runs of one reading.
    pub run_id: Arc<str>,
    /// The model, or `main` and the sub-agent's id where the source names agents.
    pub agent_id: Arc<str>,
    /// The format that it was read from.
    pub source: Source,
    /// The run that started this one, where it was read as well.
    pub parent: Option<Arc<str>>,
    /// Labels of the whole run: the source, then task, trial or provider as `name:value`.
    pub tags: Vec<String>,
    /// What happened, in the order of the file.
    pub steps: Vec<Step>,
    /// The session that the recording names (sub-agents share their parent's).
    session: Option<Arc<str>>,
}

/// One event of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What happened.
    pub kind: EventKind,
    /// The item that the step opens, closes or belongs to: a tool call's id, a turn, a model
    /// attempt. For the sub-agent kinds it is the run id of the sub-agent.
    pub item: Option<Arc<str>>,
    /// What was said or returned.
    pub body: Body,
    /// The recorded time in microseconds since the Unix epoch, where the source has one.
    pub at: Option<i64>,
    /// Labels of this step, such as `reasoning` or `timeout`.
    pub tags: Vec<&'static str>,
}

/// What a step carries. Texts are content, the rest is metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// A short remark: a tool's name, a reason. Holds no recorded content.
    Note(String),
    /// Recorded text: of the model, the user or a tool. Arguments that were recorded as a JSON
    /// value are compact JSON with the keys in recorded order.
    Text(String),
    /// Figures, as a compact JSON value.
    Json(String),
}

impl Body {
    /// The text, note or JSON; nothing for an empty body.
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "",
            Self::Note(text) | Self::Text(text) | Self::Json(text) => text,
        }
    }
}

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// How many tokens (pieces of the form `\s*\S+`) go into one delta when the source holds
    /// whole messages. Recorded stream chunks stay one delta each.
    pub tokens_per_delta: NonZeroUsize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            tokens_per_delta: cut::TOKENS_PER_DELTA,
        }
    }
}

/// What one format's reader is given and what it fills in.
struct Reading<'a> {
    path: PathBuf,
    options: &'a ReadOptions,
    runs: Vec<TraceRun>,
    errors: Vec<TraceError>,
}

impl<'a> Reading<'a> {
    fn new(path: PathBuf, options: &'a ReadOptions) -> Self {
        Self {
            path,
            options,
            runs: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The file's name up to its first known ending.
    fn stem(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        [
            ".traj.json",
            ".chunks.txt",
            ".jsonl",
            ".json",
            ".traj",
            ".txt",
        ]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name)
        .to_owned()
    }

    /// The name of the folder that holds the file.
    fn folder(&self) -> Option<String> {
        let folder = self.path.parent()?.file_name()?;
        Some(folder.to_string_lossy().into_owned())
    }

    fn error(&mut self, line: Option<u64>, problem: TraceProblem) {
        self.errors
            .push(TraceError::new(self.path.clone(), line, problem));
    }

    fn builder(&self, source: Source) -> builder::RunBuilder {
        builder::RunBuilder::new(source, self.stem(), self.options.tokens_per_delta)
    }
}
