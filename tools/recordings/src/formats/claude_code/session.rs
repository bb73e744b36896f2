//! One session, or one sub-agent, under way: what each of its lines becomes.

use super::{MAIN, malformed};
use crate::builder::{Ending, Item, RunBuilder};
use crate::json::{content, flat, list, text};
use crate::reading::Reading;
use crate::{Body, Problem, RecordedRun, Source};
use framebus::EventKind;
use serde_json::Value;
use std::collections::HashMap;

/// What the client answers for a user who did not let a tool run.
const REFUSAL: &str = "The user doesn't want to proceed with this tool use";

/// What the client writes for a user who stopped a turn.
const INTERRUPTION: &str = "[Request interrupted by user";

/// A transcript under way.
pub struct Session {
    builder: RunBuilder,
    /// The file's name, for a transcript that names no session.
    stem: String,
    pub session_id: Option<String>,
    /// The sub-agent whose transcript it is; `None` for the session's own.
    pub agent_id: Option<String>,
    /// It is a sub-agent, and the call that caused it has its result.
    pub over: bool,
    /// The run ids of the sub-agents whose calls got their results with the last line.
    pub over_sub_agents: Vec<String>,
    /// The message of the model call that is open.
    message_id: Option<String>,
    /// The usage of that message was not recorded before.
    counts: bool,
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
    /// What a sub-agent is asked to do, if the call starts one.
    prompt: Option<String>,
    /// The run ids of the sub-agents that it caused.
    sub_agents: Vec<String>,
    /// The conversation went on without its result, so that it is not the file's end that took it.
    passed: bool,
}

/// A hook that is open.
struct Hook {
    id: String,
    /// The tool call that it belongs to, or another id for the end of a turn.
    tool_use_id: String,
}

impl Session {
    /// Begins a transcript in the file with this `stem`.
    pub fn new(builder: RunBuilder, stem: String) -> Self {
        Self {
            builder,
            stem,
            session_id: None,
            agent_id: None,
            over: false,
            over_sub_agents: Vec::new(),
            message_id: None,
            counts: true,
            tools: HashMap::new(),
            hooks: Vec::new(),
            invoked: 0,
        }
    }

    /// Names the session, and the sub-agent if it is not the session's own transcript.
    pub fn identify(&mut self, session_id: &str, agent_id: Option<String>) {
        self.session_id = Some(session_id.to_owned());
        self.builder.set_session(session_id);
        match &agent_id {
            Some(agent) => {
                let name = sub_agent_name(session_id, agent);
                self.builder.set_name(&name);
                self.builder.set_agent(agent);
            }
            None => self.builder.set_agent(MAIN),
        }
        self.agent_id = agent_id;
    }

    pub fn run_id(&self) -> &str {
        self.builder.run_id()
    }

    /// Takes the next line.
    pub fn line(&mut self, line: &Value, reading: &mut Reading<'_>) -> Result<(), Problem> {
        let recorded = text(line, "/timestamp").or_else(|| text(line, "/snapshot/timestamp"));
        self.builder.set_time(recorded.and_then(micros));
        match line["type"].as_str() {
            Some("user") => self.user(line),
            Some("assistant") => self.assistant(line, reading),
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
        self.go_on();
        self.builder.close_turn(kind, body);
    }

    /// Notes that the conversation goes on, whatever results are missing.
    fn go_on(&mut self) {
        self.tools.values_mut().for_each(|tool| tool.passed = true);
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
        for sub_agent in &tool.sub_agents {
            let kind = EventKind::SubagentCompleted;
            self.builder
                .close(Item::SubAgent, sub_agent, kind, Body::None);
        }
        self.over_sub_agents.extend(tool.sub_agents);
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

    fn assistant(&mut self, line: &Value, reading: &mut Reading<'_>) -> Result<(), Problem> {
        let message = &line["message"];
        let id = text(message, "/id")
            .or_else(|| text(line, "/uuid"))
            .ok_or_else(|| malformed("has no `message.id`"))?;
        self.close_loose_hooks();
        if self.message_id.as_deref() != Some(id) {
            self.message_id = Some(id.to_owned());
            self.counts = reading.is_new_message(id);
            self.go_on();
            let model = text(message, "/model").unwrap_or_default();
            self.builder.open_attempt(Body::note(model));
        }
        if self.counts {
            self.builder.set_usage(&message["usage"]);
        }
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
            prompt: text(block, "/input/prompt").map(str::to_owned),
            sub_agents: Vec::new(),
            passed: false,
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
        let caused_by = text(line, "/parentToolUseID").unwrap_or_default();
        self.start_sub_agent(&run_id, caused_by);
        let kind = text(line, "/data/message/type").unwrap_or_default();
        let body = Body::note(kind);
        self.builder
            .step_about(EventKind::SubagentEventWrapped, &run_id, body);
        Ok(())
    }

    /// Begins a sub-agent whose first line stands among those of this session. It is caused by the
    /// open call that has this prompt, or by the only one that has any.
    pub fn open_sub_agent(&mut self, run_id: &str, prompt: &str) {
        let asks = |(id, tool): (&String, &Tool)| Some((id.clone(), tool.prompt.clone()?));
        let calls: Vec<_> = self.tools.iter().filter_map(asks).collect();
        let same = calls.iter().find(|(_, asked)| asked == prompt);
        let only = calls.first().filter(|_| calls.len() == 1);
        let caused_by = same.or(only).map(|(id, _)| &**id);
        self.start_sub_agent(run_id, caused_by.unwrap_or_default());
    }

    /// Opens a sub-agent that is not open, where the call began that caused it, if that is known.
    fn start_sub_agent(&mut self, run_id: &str, caused_by: &str) {
        if self.builder.is_open(Item::SubAgent, run_id) {
            return;
        }
        let kind = EventKind::SubagentStarted;
        let Some(tool) = self.tools.get_mut(caused_by) else {
            self.builder.open(Item::SubAgent, run_id, kind, Body::None);
            return;
        };
        tool.sub_agents.push(run_id.to_owned());
        let index = tool.after_start;
        self.builder.open_at(index, Item::SubAgent, run_id, kind);
        for tool in self.tools.values_mut() {
            tool.after_start += usize::from(tool.after_start >= index);
        }
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

    /// Ends the transcript; `cut` if its file ends in the middle of a line.
    pub fn finish(mut self, cut: bool) -> RecordedRun {
        if self.session_id.is_none() {
            self.builder.set_agent(MAIN);
        }
        let open = self.tools.values().any(|tool| !tool.passed);
        let ending = if !self.over && (cut || open) {
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
