//! Writes a run down step by step, and sees to it that what was begun is ended, once.

use super::{Step, TraceRun};
use framebus::EventKind;
use std::sync::Arc;

/// A run in the making.
pub(super) struct Script {
    run: TraceRun,
    tokens_per_delta: usize,
    now: Option<i64>,
    turn: bool,
    attempt: bool,
    tools: Vec<String>,
}

impl Script {
    /// A run that has begun.
    pub(super) fn new(
        source: &'static str,
        run_id: String,
        agent: &str,
        tokens_per_delta: usize,
    ) -> Self {
        let agent_id = if agent.is_empty() { source } else { agent }.to_owned();
        let run = TraceRun {
            run_id,
            agent_id,
            source,
            steps: Vec::new(),
        };
        let mut script = Script {
            run,
            tokens_per_delta,
            now: None,
            turn: false,
            attempt: false,
            tools: Vec::new(),
        };
        script.step(EventKind::RunStarted);
        script
    }

    /// What follows happens at this time.
    pub(super) fn at(&mut self, micros: Option<i64>) {
        self.now = micros.or(self.now);
        if let [first] = self.run.steps.as_mut_slice() {
            first.at_micros = self.now;
        }
    }

    pub(super) fn step(&mut self, kind: EventKind) {
        self.push(kind, None, false);
    }

    /// A step with a word about it.
    pub(super) fn note(&mut self, kind: EventKind, text: &str) {
        self.push(kind, Some(text.into()), false);
    }

    /// A step with what was said.
    pub(super) fn say(&mut self, kind: EventKind, text: &str) {
        self.push(kind, Some(text.into()), true);
    }

    fn push(&mut self, kind: EventKind, text: Option<Arc<str>>, content: bool) {
        self.run.steps.push(Step {
            kind,
            text,
            content,
            at_micros: self.now,
        });
    }

    /// A message came in, and a turn begins with it; the turn before it is over.
    pub(super) fn begin_turn(&mut self, message: &str) {
        self.end_turn(EventKind::TurnCompleted);
        self.say(EventKind::MessageAccepted, message);
        self.step(EventKind::TurnStarted);
        self.turn = true;
    }

    pub(super) fn end_turn(&mut self, kind: EventKind) {
        self.end_attempt(EventKind::ModelMessageCompleted);
        if std::mem::take(&mut self.turn) {
            self.step(kind);
        }
    }

    pub(super) fn begin_attempt(&mut self) {
        if !std::mem::replace(&mut self.attempt, true) {
            self.step(EventKind::ModelAttemptStarted);
        }
    }

    pub(super) fn end_attempt(&mut self, kind: EventKind) {
        if std::mem::take(&mut self.attempt) {
            self.step(kind);
        }
    }

    pub(super) fn in_attempt(&self) -> bool {
        self.attempt
    }

    /// A whole text of the model, cut into deltas of a few tokens each.
    pub(super) fn deltas(&mut self, text: &str) {
        for delta in cut(text, self.tokens_per_delta) {
            self.say(EventKind::ModelStreamDelta, delta);
        }
    }

    pub(super) fn request_tool(&mut self, id: &str, call: &str) {
        self.say(EventKind::ToolRequested, call);
        self.tools.push(id.to_owned());
    }

    /// Whether a tool was begun under this id and has no end yet.
    pub(super) fn has_tool(&self, id: &str) -> bool {
        self.tools.iter().any(|open| open == id)
    }

    /// Ends a tool's call; what was not begun has no end.
    pub(super) fn end_tool(&mut self, id: &str, kind: EventKind, output: &str) {
        if let Some(at) = self.tools.iter().position(|open| open == id) {
            self.tools.remove(at);
            self.say(kind, output);
        }
    }

    /// The run as it is when its recording ends, completed or not.
    pub(super) fn finish(mut self, end: EventKind, why: &str) -> TraceRun {
        let good = end == EventKind::RunCompleted;
        for _ in std::mem::take(&mut self.tools) {
            self.note(
                EventKind::ToolRecoveryRequired,
                "the recording has no result",
            );
        }
        let (attempt, turn) = match good {
            true => (EventKind::ModelMessageCompleted, EventKind::TurnCompleted),
            false => (EventKind::ModelAttemptFailed, EventKind::TurnFailed),
        };
        self.end_attempt(attempt);
        self.end_turn(turn);
        self.note(end, why);
        self.run
    }
}

/// Cuts a text into pieces of `tokens` times white space and what follows it. Joined, the pieces are
/// the text.
pub(super) fn cut(text: &str, tokens: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = 0;
        for _ in 0..tokens {
            let token = &rest[end..];
            let begin = token
                .find(|c: char| !c.is_whitespace())
                .unwrap_or(token.len());
            let word = token[begin..]
                .find(char::is_whitespace)
                .unwrap_or(token.len() - begin);
            end += begin + word;
        }
        if rest[end..].trim_start().is_empty() {
            end = rest.len();
        }
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}
