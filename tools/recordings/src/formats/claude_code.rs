//! Claude Code session transcripts: one JSON object a line, with the transcripts of sub-agents in
//! files of their own.
//!
//! | line | steps |
//! | --- | --- |
//! | first line | `RunStarted` |
//! | `user` with a text | `MessageAccepted`, `TurnStarted` |
//! | `user`, interruption by the user | `TurnFailed` |
//! | `user`, text injected by the client | `ContextAssembled` |
//! | `assistant` text, thinking | `ModelAttemptStarted` once per message, `ModelStreamDelta`s |
//! | next message, end of the turn | `ModelMessageCompleted`, `UsageRecorded` |
//! | `tool_use` | `ToolRequested`, `ToolStarted`, `SubagentStarted` if it caused one |
//! | `tool_result` | `ToolCompleted`, `ToolFailed` or `ToolDenied` |
//! | `hook_progress` | `HookInvoked` |
//! | `bash_progress`, `waiting_for_task` | `IsolationProcessIoCaptured` |
//! | `agent_progress` | `SubagentEventWrapped` |
//! | `stop_hook_summary` | `HookCompleted` of the stop hooks |
//! | `compact_boundary` | `RunCheckpointed` |
//! | `turn_duration` | `TurnCompleted` |
//! | `file-history-snapshot`, `queue-operation` | `ContextAssembled` |
//! | last line | `RunCompleted` |
//!
//! A transcript has no ending of its own, so its last line is its end, unless it was visibly cut:
//! the last line is not whole, or a tool call has no result. Hooks of a tool call are over when
//! its result comes, hooks of a session's start when the conversation goes on. A sub-agent is
//! over when the call that caused it is. Kinds of line that are not in the table are passed over.

use crate::builder::{Ending, Item, RunBuilder};
use crate::json::{content, flat, list, text};
use crate::lines::{Lines, whole};
use crate::reading::Reading;
use crate::{Body, Problem, RecordedRun, Source, Step};
use framebus::EventKind;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What the client answers for a user who did not let a tool run.
const REFUSAL: &str = "The user doesn't want to proceed with this tool use";

/// What the client writes for a user who stopped a turn.
const INTERRUPTION: &str = "[Request interrupted by user";

/// What the ids of sub-agents that compact a conversation begin with.
const COMPACTION: &str = "acompact";

/// Tells whether a line is one of a transcript.
pub fn recognises(line: &Value) -> bool {
    let kind = line["type"].as_str().unwrap_or_default();
    match kind {
        "user" | "assistant" | "system" | "progress" => line["uuid"].is_string(),
        "file-history-snapshot" => line["snapshot"].is_object(),
        "queue-operation" => line["sessionId"].is_string(),
        "summary" => line["leafUuid"].is_string(),
        _ => false,
    }
}

/// Reads one transcript, which is one run.
pub fn read(lines: &mut Lines<impl std::io::BufRead>, reading: &mut Reading<'_>) {
    let mut session = Session {
        builder: reading.builder(Source::ClaudeCode),
        stem: reading.stem(),
        session_id: None,
        agent_id: None,
        message_id: None,
        tools: HashMap::new(),
        hooks: Vec::new(),
        invoked: 0,
    };
    let mut cut = false;
    while let Some((number, line)) = lines.next_json(whole) {
        // Only what stands at the end was cut off by the end.
        cut = matches!(line, Err(Problem::Truncated));
        match line.and_then(|line| session.line(&line)) {
            Ok(()) => {}
            Err(problem) => reading.error(Some(number), problem),
        }
    }
    reading.runs.push(session.finish(cut));
}

/// Gives each sub-agent among `runs` its parent, if that was read as well.
///
/// No line tells of a sub-agent that compacted a conversation. Its steps are added to the parent,
/// before one of the parent's `RunCheckpointed` steps for each, in order.
pub fn link_sub_agents(runs: &mut [RecordedRun]) {
    let parents: HashMap<Arc<str>, usize> = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.source == Source::ClaudeCode && &*run.agent_id == MAIN)
        .filter_map(|(index, run)| Some((Arc::clone(run.session.as_ref()?), index)))
        .collect();
    let mut compactions: HashMap<usize, Vec<Arc<str>>> = HashMap::new();
    for index in 0..runs.len() {
        let session = runs[index].session.as_ref();
        let Some(&parent) = session.and_then(|id| parents.get(id)) else {
            continue;
        };
        if parent == index {
            continue;
        }
        runs[index].parent = Some(Arc::clone(&runs[parent].run_id));
        if runs[index].agent_id.starts_with(COMPACTION) {
            let children = compactions.entry(parent).or_default();
            children.push(Arc::clone(&runs[index].run_id));
        }
    }
    for (parent, children) in compactions {
        insert_compactions(&mut runs[parent].steps, children);
    }
}

fn insert_compactions(steps: &mut Vec<Step>, children: Vec<Arc<str>>) {
    let mut from = 0;
    for child in children {
        let Some(offset) = steps[from..]
            .iter()
            .position(|step| step.kind == EventKind::RunCheckpointed)
        else {
            return;
        };
        let boundary = from + offset;
        let at = steps[boundary].at;
        for (index, kind) in [EventKind::SubagentStarted, EventKind::SubagentCompleted]
            .into_iter()
            .enumerate()
        {
            let step = Step {
                kind,
                item: Some(Arc::clone(&child)),
                body: Body::None,
                at,
                tags: vec!["compaction"],
            };
            steps.insert(boundary + index, step);
        }
        from = boundary + 3;
    }
}

/// The agent id of a session's own run.
const MAIN: &str = "main";

/// A transcript under way.
struct Session {
    builder: RunBuilder,
    /// The file's name, for a transcript that names no session.
    stem: String,
    session_id: Option<String>,
    /// The sub-agent whose transcript it is; `None` for the session's own.
    agent_id: Option<String>,
    /// The message of the model call that is open.
    message_id: Option<String>,
    /// The calls that have no result yet, by their ids.
    tools: HashMap<String, Tool>,
    /// The hooks that are open, in the order of their opening.
    hooks: Vec<Hook>,
    /// How many hooks were opened so far.
    invoked: u32,
}

/// A tool call that has no result yet.
struct Tool {
    /// The index of the step after its `ToolStarted`.
    after_start: usize,
    /// The run ids of the sub-agents that it caused.
    sub_agents: Vec<String>,
}

/// A hook that is open.
struct Hook {
    id: String,
    /// The tool call that it belongs to, or another id for the end of a turn.
    tool_use_id: String,
}

impl Session {
    fn line(&mut self, line: &Value) -> Result<(), Problem> {
        self.identify(line);
        let recorded = text(line, "/timestamp").or_else(|| text(line, "/snapshot/timestamp"));
        self.builder.set_time(recorded.and_then(micros));
        self.builder.begin();
        match line["type"].as_str() {
            Some("user") => self.user(line),
            Some("assistant") => self.assistant(line),
            Some("progress") => self.progress(line),
            Some("system") => {
                self.system(line);
                Ok(())
            }
            Some(kind @ ("file-history-snapshot" | "queue-operation")) => {
                let note = Body::note(kind);
                self.builder.step(EventKind::ContextAssembled, note);
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(malformed("has no `type`")),
        }
    }

    /// Takes the session and the sub-agent from the first line that names them.
    fn identify(&mut self, line: &Value) {
        if self.session_id.is_none()
            && let Some(id) = text(line, "/sessionId")
        {
            self.session_id = Some(id.to_owned());
            self.builder.set_session(id);
            if line["isSidechain"] == true {
                self.agent_id = text(line, "/agentId").map(str::to_owned);
            }
        }
    }

    /// Returns the run id of a sub-agent of this session.
    fn sub_agent(&self, agent_id: &str) -> String {
        let name = sub_agent_name(self.session_id.as_deref().unwrap_or(&self.stem), agent_id);
        format!("{}/{name}", Source::ClaudeCode)
    }

    fn user(&mut self, line: &Value) -> Result<(), Problem> {
        let message = line
            .pointer("/message/content")
            .ok_or_else(|| malformed("has no `message.content`"))?;
        let mut unknown = None;
        for block in list(message, "") {
            if block["type"] == "tool_result" {
                unknown = self.tool_result(block).err().or(unknown);
            }
        }
        self.user_text(message, line["isMeta"] == true);
        unknown.map_or(Ok(()), Err)
    }

    fn user_text(&mut self, message: &Value, injected: bool) {
        let text = content(message);
        if text.is_empty() {
            return;
        }
        self.close_loose_hooks();
        if text.starts_with(INTERRUPTION) {
            let reason = Body::note("interrupted by the user");
            self.end_turn(EventKind::TurnFailed, reason);
        } else if injected && message.is_array() {
            self.builder
                .step(EventKind::ContextAssembled, Body::text(text));
        } else {
            self.end_turn(EventKind::TurnCompleted, Body::None);
            self.builder
                .step(EventKind::MessageAccepted, Body::text(text));
            self.builder.open_turn();
        }
    }

    fn end_turn(&mut self, kind: EventKind, body: Body) {
        self.message_id = None;
        self.builder.close_turn(kind, body);
    }

    fn tool_result(&mut self, block: &Value) -> Result<(), Problem> {
        let id = text(block, "/tool_use_id")
            .ok_or_else(|| malformed("has a `tool_result` without `tool_use_id`"))?;
        let Some(tool) = self.tools.remove(id) else {
            return Err(malformed(&format!(
                "has a result for the tool call `{id}`, which is not open"
            )));
        };
        self.close_hooks(id);
        for sub_agent in tool.sub_agents {
            let kind = EventKind::SubagentCompleted;
            self.builder
                .close(Item::SubAgent, &sub_agent, kind, Body::None);
        }
        let output = content(&block["content"]);
        let kind = if block["is_error"] != true {
            EventKind::ToolCompleted
        } else if output.starts_with(REFUSAL) {
            EventKind::ToolDenied
        } else {
            EventKind::ToolFailed
        };
        self.builder.close(Item::Tool, id, kind, Body::text(output));
        Ok(())
    }

    fn assistant(&mut self, line: &Value) -> Result<(), Problem> {
        let message = &line["message"];
        let id = text(message, "/id")
            .or_else(|| text(line, "/uuid"))
            .ok_or_else(|| malformed("has no `message.id`"))?;
        self.close_loose_hooks();
        if self.message_id.as_deref() != Some(id) {
            self.message_id = Some(id.to_owned());
            let model = text(message, "/model").unwrap_or_default();
            self.builder.open_attempt(Body::note(model));
        }
        self.builder.set_usage(&message["usage"]);
        if let Some(text) = message["content"].as_str() {
            self.builder.message(text, &[]);
        }
        for block in list(message, "/content") {
            match block["type"].as_str() {
                Some("text") => self
                    .builder
                    .message(text(block, "/text").unwrap_or_default(), &[]),
                Some("thinking") => self
                    .builder
                    .message(text(block, "/thinking").unwrap_or_default(), &["reasoning"]),
                Some("tool_use") => self.tool_use(block)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn tool_use(&mut self, block: &Value) -> Result<(), Problem> {
        let id = text(block, "/id").ok_or_else(|| malformed("has a `tool_use` without `id`"))?;
        let name = text(block, "/name").unwrap_or_default().to_owned();
        self.builder
            .request_tool(id, Body::text(flat(&block["input"])));
        self.builder.start_tool(id, Body::note(name));
        let tool = Tool {
            after_start: self.builder.len(),
            sub_agents: Vec::new(),
        };
        self.tools.insert(id.to_owned(), tool);
        Ok(())
    }

    fn progress(&mut self, line: &Value) -> Result<(), Problem> {
        let data = &line["data"];
        match data["type"].as_str() {
            Some("hook_progress") => self.hook(line),
            Some(kind @ ("bash_progress" | "waiting_for_task")) => {
                let output = text(data, "/output").or_else(|| text(data, "/taskDescription"));
                let body = output.map_or_else(|| Body::note(kind), Body::text);
                let tool = text(line, "/parentToolUseID").unwrap_or_default();
                self.builder
                    .step_about(EventKind::IsolationProcessIoCaptured, tool, body);
            }
            Some("agent_progress") => self.sub_agent_progress(line)?,
            _ => {}
        }
        Ok(())
    }

    fn hook(&mut self, line: &Value) {
        self.invoked += 1;
        let hook = Hook {
            id: format!("hook-{}", self.invoked),
            tool_use_id: text(line, "/toolUseID").unwrap_or_default().to_owned(),
        };
        let name = text(line, "/data/hookName").unwrap_or_default();
        let body = Body::note(name);
        self.builder
            .open(Item::Hook, &hook.id, EventKind::HookInvoked, body);
        self.hooks.push(hook);
    }

    /// Closes the hooks of one tool call or of the end of a turn.
    fn close_hooks(&mut self, tool_use_id: &str) {
        self.close_hooks_if(|hook, _| hook.tool_use_id == tool_use_id);
    }

    /// Closes the hooks that belong to no open tool call: the conversation has gone on.
    fn close_loose_hooks(&mut self) {
        self.close_hooks_if(|hook, tools| !tools.contains_key(&hook.tool_use_id));
    }

    fn close_hooks_if(&mut self, over: impl Fn(&Hook, &HashMap<String, Tool>) -> bool) {
        let tools = &self.tools;
        for hook in self.hooks.extract_if(.., |hook| over(hook, tools)) {
            self.builder
                .close(Item::Hook, &hook.id, EventKind::HookCompleted, Body::None);
        }
    }

    /// Takes a sub-agent's progress. The first one names the tool call that caused the sub-agent,
    /// so its start goes back to where that call began.
    fn sub_agent_progress(&mut self, line: &Value) -> Result<(), Problem> {
        let agent = text(line, "/data/agentId")
            .ok_or_else(|| malformed("has an `agent_progress` without `agentId`"))?;
        let run_id = self.sub_agent(agent);
        if !self.builder.is_open(Item::SubAgent, &run_id) {
            let caused_by = text(line, "/parentToolUseID").unwrap_or_default();
            let kind = EventKind::SubagentStarted;
            match self.tools.get_mut(caused_by) {
                Some(tool) => {
                    tool.sub_agents.push(run_id.clone());
                    let index = tool.after_start;
                    self.builder.open_at(index, Item::SubAgent, &run_id, kind);
                    for tool in self.tools.values_mut() {
                        tool.after_start += usize::from(tool.after_start >= index);
                    }
                }
                None => self.builder.open(Item::SubAgent, &run_id, kind, Body::None),
            }
        }
        let kind = text(line, "/data/message/type").unwrap_or_default();
        let body = Body::note(kind);
        self.builder
            .step_about(EventKind::SubagentEventWrapped, &run_id, body);
        Ok(())
    }

    fn system(&mut self, line: &Value) {
        match line["subtype"].as_str() {
            Some("stop_hook_summary") => {
                self.close_hooks(text(line, "/toolUseID").unwrap_or_default());
            }
            Some("turn_duration") => self.end_turn(EventKind::TurnCompleted, Body::None),
            Some("compact_boundary") => {
                let figures = Body::json(&line["compactMetadata"]);
                self.builder.step(EventKind::RunCheckpointed, figures);
            }
            _ => {}
        }
    }

    fn finish(mut self, cut: bool) -> RecordedRun {
        match (&self.agent_id, &self.session_id) {
            (Some(agent), session) => {
                let session = session.as_deref().unwrap_or(&self.stem);
                self.builder.set_name(&sub_agent_name(session, agent));
                self.builder.set_agent(agent);
            }
            (None, _) => self.builder.set_agent(MAIN),
        }
        let ending = if cut || !self.tools.is_empty() {
            Ending::Truncated
        } else {
            Ending::Completed("end of the transcript".to_owned())
        };
        self.builder.finish(ending)
    }
}

fn sub_agent_name(session: &str, agent_id: &str) -> String {
    format!("{session}/agent-{agent_id}")
}

fn micros(timestamp: &str) -> Option<i64> {
    let timestamp: jiff::Timestamp = timestamp.parse().ok()?;
    Some(timestamp.as_microsecond())
}

fn malformed(problem: &str) -> Problem {
    Problem::Malformed(problem.to_owned())
}
