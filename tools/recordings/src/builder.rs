//! Builds one run, and closes every item that it opens exactly once.
//!
//! The builder knows which items are open, in the order of their opening. Closing an item that is
//! not open does nothing, opening one that is open closes it first, and the end of the run closes
//! what is left, the last opened first. Therefore a run is well formed whatever its file holds.

use crate::{Body, RecordedRun, Source, Step, cut};
use framebus::EventKind;
use serde_json::Value;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What can be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A user's input and all that answers it.
    Turn,
    /// One model call.
    Attempt,
    /// A tool call, from its request on.
    Tool,
    /// A hook.
    Hook,
    /// A run that this one started.
    SubAgent,
    /// The delivery of a result.
    Output,
}

/// How a run ended.
pub enum Ending {
    /// Well, as the file says; with the file's word for that.
    Completed(String),
    /// Badly, as the file says; with the reason.
    Failed(String),
    /// The file stops before the run does.
    Truncated,
}

/// An item that is open.
struct Open {
    item: Item,
    id: Arc<str>,
    /// It is a tool call whose request is complete.
    started: bool,
}

/// A run in the making.
pub struct RunBuilder {
    run: RecordedRun,
    tokens_per_delta: NonZeroUsize,
    /// The time of the steps that follow, in microseconds since the Unix epoch.
    at: Option<i64>,
    /// The last opened is the last.
    open: Vec<Open>,
    /// How many turns, and model calls, were opened so far.
    turns: u32,
    attempts: u32,
    /// What was reported of the model call that is open, and is not recorded yet.
    usage: Option<Body>,
    cost: Option<Body>,
}

impl RunBuilder {
    /// Begins a run that is named after its file's `stem`.
    pub fn new(source: Source, stem: String, tokens_per_delta: NonZeroUsize) -> Self {
        Self {
            run: RecordedRun {
                run_id: format!("{source}/{stem}").into(),
                agent_id: stem.into(),
                source,
                parent: None,
                tags: vec![source.to_string()],
                steps: Vec::new(),
                session: None,
            },
            tokens_per_delta,
            at: None,
            open: Vec::new(),
            turns: 0,
            attempts: 0,
            usage: None,
            cost: None,
        }
    }

    /// Names the run; `name` follows the source.
    pub fn set_name(&mut self, name: &str) {
        self.run.run_id = format!("{}/{name}", self.run.source).into();
    }

    /// Returns the id of the run.
    pub fn run_id(&self) -> &str {
        &self.run.run_id
    }

    /// Names the agent.
    pub fn set_agent(&mut self, agent: &str) {
        self.run.agent_id = agent.into();
    }

    /// Names the session that the run belongs to.
    pub fn set_session(&mut self, session: &str) {
        self.run.session = Some(session.into());
    }

    /// Labels the run.
    pub fn tag(&mut self, name: &str, value: impl std::fmt::Display) {
        self.run.tags.push(format!("{name}:{value}"));
    }

    /// Sets the recorded time of the steps that follow, in microseconds since the Unix epoch.
    pub const fn set_time(&mut self, at: Option<i64>) {
        self.at = at;
    }

    /// Adds the first step, `RunStarted`, unless it is there. Every other step does so by itself.
    pub fn begin(&mut self) {
        if self.run.steps.is_empty() {
            self.run.steps.push(Step {
                kind: EventKind::RunStarted,
                item: None,
                body: Body::None,
                at: self.at,
                tags: Vec::new(),
            });
        }
    }

    /// Returns the number of steps so far.
    pub const fn len(&self) -> usize {
        self.run.steps.len()
    }

    /// Adds a step that opens and closes nothing.
    pub fn step(&mut self, kind: EventKind, body: Body) {
        self.push(kind, None, body, Vec::new());
    }

    /// Adds a step about `id` that opens and closes nothing.
    pub fn step_about(&mut self, kind: EventKind, id: &str, body: Body) {
        self.push(kind, Some(id.into()), body, Vec::new());
    }

    /// Begins a user's turn, after closing the one that is open.
    pub fn open_turn(&mut self) {
        self.close_turn(EventKind::TurnCompleted, Body::None);
        self.turns += 1;
        let id = format!("turn-{}", self.turns);
        self.open(Item::Turn, &id, EventKind::TurnStarted, Body::None);
    }

    /// Ends the turn that is open, if any, after the model call in it.
    pub fn close_turn(&mut self, kind: EventKind, body: Body) {
        self.close_attempt(EventKind::ModelMessageCompleted, Body::None);
        if let Some(id) = self.last(Item::Turn) {
            self.close(Item::Turn, &id, kind, body);
        }
    }

    /// Begins a model call, after closing the one that is open.
    pub fn open_attempt(&mut self, body: Body) {
        self.close_attempt(EventKind::ModelMessageCompleted, Body::None);
        self.attempts += 1;
        let id = format!("attempt-{}", self.attempts);
        self.open(Item::Attempt, &id, EventKind::ModelAttemptStarted, body);
    }

    /// Keeps the usage of the model call that is open. A later report replaces an earlier one:
    /// providers report running totals, and a call's usage is to be counted once.
    pub fn set_usage(&mut self, usage: &Value) {
        if usage.is_object() {
            self.usage = Some(Body::json(usage));
        }
    }

    /// Keeps the cost of the model call that is open.
    pub fn set_cost(&mut self, cost: &Value) {
        if cost.is_number() {
            self.cost = Some(Body::json(cost));
        }
    }

    /// Ends the model call that is open, if any, then records its usage and cost.
    pub fn close_attempt(&mut self, kind: EventKind, body: Body) {
        if let Some(id) = self.last(Item::Attempt) {
            self.close(Item::Attempt, &id, kind, body);
        }
        self.record_usage();
    }

    /// Records the usage and cost that are kept, if any.
    pub fn record_usage(&mut self) {
        if let Some(usage) = self.usage.take() {
            self.step(EventKind::UsageRecorded, usage);
        }
        if let Some(cost) = self.cost.take() {
            self.step(EventKind::CostEstimated, cost);
        }
    }

    /// Adds a whole text of the model, cut into deltas.
    pub fn message(&mut self, text: &str, tags: &[&'static str]) {
        for delta in cut::deltas(text, self.tokens_per_delta) {
            self.delta(delta.to_owned(), tags);
        }
    }

    /// Adds one recorded delta of the model, which may be empty.
    pub fn delta(&mut self, text: String, tags: &[&'static str]) {
        let attempt = self.last(Item::Attempt);
        let kind = EventKind::ModelStreamDelta;
        self.push(kind, attempt, Body::text(text), tags.to_vec());
    }

    /// Opens a tool call that the model asked for; `arguments` is empty if they were streamed.
    pub fn request_tool(&mut self, id: &str, arguments: Body) {
        self.open(Item::Tool, id, EventKind::ToolRequested, arguments);
    }

    /// Begins a requested tool call, unless it is not open or has begun.
    pub fn start_tool(&mut self, id: &str, name: Body) {
        let call = self
            .open
            .iter_mut()
            .rev()
            .find(|open| open.is(Item::Tool, id));
        if let Some(call) = call.filter(|call| !call.started) {
            call.started = true;
            let id = Arc::clone(&call.id);
            self.push(EventKind::ToolStarted, Some(id), name, Vec::new());
        }
    }

    /// Opens an item with a step of `kind`.
    pub fn open(&mut self, item: Item, id: &str, kind: EventKind, body: Body) {
        if self.is_open(item, id) {
            self.abandon(item, id);
        }
        let id: Arc<str> = id.into();
        self.open.push(Open {
            item,
            id: Arc::clone(&id),
            started: false,
        });
        self.push(kind, Some(id), body, Vec::new());
    }

    /// Opens an item that was opened earlier than the file tells of it: its step stands before the
    /// one at `index`, and has the time of the step before that.
    pub fn open_at(&mut self, index: usize, item: Item, id: &str, kind: EventKind) {
        self.open(item, id, kind, Body::None);
        if let Some(mut step) = self.run.steps.pop() {
            let index = index.clamp(1, self.len());
            step.at = self.run.steps[index - 1].at;
            self.run.steps.insert(index, step);
        }
    }

    /// Closes an item with a step of `kind` and says whether it was open.
    pub fn close(&mut self, item: Item, id: &str, kind: EventKind, body: Body) -> bool {
        self.close_tagged(item, id, kind, body, Vec::new())
    }

    /// Closes an item as [`close`](Self::close) does, with labels.
    pub fn close_tagged(
        &mut self,
        item: Item,
        id: &str,
        kind: EventKind,
        body: Body,
        tags: Vec<&'static str>,
    ) -> bool {
        let Some(index) = self.open.iter().rposition(|open| open.is(item, id)) else {
            return false;
        };
        let closed = self.open.remove(index);
        self.push(kind, Some(closed.id), body, tags);
        true
    }

    /// Tells whether an item is open.
    pub fn is_open(&self, item: Item, id: &str) -> bool {
        self.open.iter().any(|open| open.is(item, id))
    }

    /// Closes an item whose end the file doesn't tell.
    pub fn abandon(&mut self, item: Item, id: &str) {
        if let Some(index) = self.open.iter().rposition(|open| open.is(item, id)) {
            let left = self.open.remove(index);
            self.push_left(left, false);
        }
    }

    /// Closes all that is open, then the run, and returns it.
    pub fn finish(mut self, ending: Ending) -> RecordedRun {
        self.begin();
        let failed = matches!(ending, Ending::Truncated);
        while let Some(left) = self.open.pop() {
            self.push_left(left, !failed);
        }
        self.record_usage();
        let (kind, note) = match ending {
            Ending::Completed(note) => (EventKind::RunCompleted, note),
            Ending::Failed(reason) => (EventKind::RunFailed, reason),
            Ending::Truncated => (EventKind::RunFailed, "truncated".to_owned()),
        };
        self.step(kind, Body::note(note));
        self.run
    }

    /// Adds the step that closes `left`, in a run that went on to its end or one that did not.
    ///
    /// A tool call that had begun may have had effects. Its outcome is to be recovered, however the
    /// run ended. A call whose request never became complete has failed.
    fn push_left(&mut self, left: Open, ended: bool) {
        let (kind, note) = match (left.item, ended) {
            (Item::Tool, _) if left.started => (
                EventKind::ToolRecoveryRequired,
                "the recording has no result",
            ),
            (Item::Tool, _) => (EventKind::ToolFailed, "the request is not complete"),
            (Item::Turn, true) => (EventKind::TurnCompleted, ""),
            (Item::Turn, false) => (EventKind::TurnFailed, "truncated"),
            (Item::Attempt, true) => (EventKind::ModelMessageCompleted, ""),
            (Item::Attempt, false) => (EventKind::ModelAttemptFailed, "truncated"),
            (Item::Hook, true) => (EventKind::HookCompleted, ""),
            (Item::Hook, false) => (EventKind::HookCancelled, "truncated"),
            (Item::SubAgent, true) => (EventKind::SubagentCompleted, ""),
            (Item::SubAgent, false) => (EventKind::SubagentCompleted, "truncated"),
            (Item::Output, true) => (EventKind::OutputDispatchCompleted, ""),
            (Item::Output, false) => (EventKind::OutputDispatchFailed, "truncated"),
        };
        let body = if note.is_empty() {
            Body::None
        } else {
            Body::note(note)
        };
        self.push(kind, Some(left.id), body, Vec::new());
        if left.item == Item::Attempt {
            self.record_usage();
        }
    }

    /// Returns the id of the item of this sort that was opened last.
    fn last(&self, item: Item) -> Option<Arc<str>> {
        let open = self.open.iter().rev().find(|open| open.item == item)?;
        Some(Arc::clone(&open.id))
    }

    fn push(
        &mut self,
        kind: EventKind,
        item: Option<Arc<str>>,
        body: Body,
        tags: Vec<&'static str>,
    ) {
        self.begin();
        self.run.steps.push(Step {
            kind,
            item,
            body,
            at: self.at,
            tags,
        });
    }
}

impl Open {
    fn is(&self, item: Item, id: &str) -> bool {
        self.item == item && *self.id == *id
    }
}
