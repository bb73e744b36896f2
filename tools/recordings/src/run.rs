//! What a recording becomes: a run, its steps, and what each step carries.

use framebus::{AgentEvent, EventEnvelope, EventKind, PrivacyClass};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

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

    /// Returns the name that the run ids of this source begin with.
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

/// One recorded run of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRun {
    /// `<source>/<file>` or `<source>/<file>/<line>`: unique among the runs of one reading.
    pub run_id: Arc<str>,
    /// The model; `main` or the sub-agent's id where the source names agents.
    pub agent_id: Arc<str>,
    /// The format that it was read from.
    pub source: Source,
    /// The run that started this one, if that was read as well.
    pub parent: Option<Arc<str>>,
    /// Labels of the whole run: the source, then task, trial or provider as `name:value`.
    pub tags: Vec<String>,
    /// What happened, in the order of the file.
    pub steps: Vec<Step>,
    /// The session that the recording names. A sub-agent names its parent's.
    pub(crate) session: Option<Arc<str>>,
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
    /// The recorded time in microseconds since the Unix epoch; `None` if the source has no times.
    pub at: Option<i64>,
    /// Labels of this step, such as `reasoning` or `timeout`.
    pub tags: Vec<&'static str>,
}

/// What a step carries. Texts are content; notes and figures are metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// A short remark: a tool's name, a reason. Holds no recorded content.
    Note(String),
    /// Recorded text of the model, the user or a tool. Arguments that were recorded as a JSON
    /// value are compact JSON with the keys in recorded order. All events of a step share it.
    Text(Arc<str>),
    /// Figures, as a compact JSON value.
    Json(String),
}

impl Body {
    pub(crate) fn note(remark: impl Into<String>) -> Self {
        Self::Note(remark.into())
    }

    pub(crate) fn text(content: impl Into<Arc<str>>) -> Self {
        Self::Text(content.into())
    }

    pub(crate) fn json(figures: &Value) -> Self {
        Self::Json(figures.to_string())
    }

    /// Returns the text, note or JSON; an empty string for an empty body.
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "",
            Self::Note(text) | Self::Json(text) => text,
            Self::Text(text) => text,
        }
    }

    /// Makes an event of this body: metadata becomes its redacted summary, a text its content,
    /// which is not copied.
    pub fn event(&self, envelope: EventEnvelope) -> AgentEvent {
        match self {
            Self::None => AgentEvent::envelope_only(envelope),
            Self::Note(text) | Self::Json(text) => {
                AgentEvent::with_redacted_summary(envelope, text.as_str())
            }
            Self::Text(text) => {
                let envelope = envelope.with_privacy(PrivacyClass::Content);
                AgentEvent::with_content(envelope, "text/plain", Arc::clone(text))
            }
        }
    }
}
