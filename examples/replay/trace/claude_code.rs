//! Claude Code sessions: one JSON object a line, sub-agents in files of their own.
//!
//! Lines are taken in the order of the file; their timestamps run backwards at times. A sub-agent is
//! a run of its own; in its parent it shows from the tool call that caused it, which `agent_progress`
//! lines name, to that call's result.

use super::{Source, list, text};
use framebus::{EventKind, Timestamp};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

pub(super) const NAME: &str = "claude-code-sessions";

const TYPES: [&str; 7] = [
    "user",
    "assistant",
    "progress",
    "system",
    "file-history-snapshot",
    "queue-operation",
    "summary",
];

pub(super) fn is_line(line: &Value) -> bool {
    TYPES.contains(&text(line, "type"))
        && [
            "message",
            "data",
            "sessionId",
            "messageId",
            "subtype",
            "leafUuid",
        ]
        .iter()
        .any(|field| line.get(field).is_some())
}

pub(super) fn read(source: &mut Source<'_>) {
    let lines = source.json_lines();
    let sub_agent = lines
        .iter()
        .find_map(|(_, line)| line.get("agentId"))
        .and_then(Value::as_str);
    let mut script = source.script(NAME, "", sub_agent.unwrap_or("main"));
    // Which tool call caused which sub-agent.
    let mut sub_agents = HashMap::new();
    for (_, line) in &lines {
        let data = &line["data"];
        if text(data, "type") == "agent_progress" && !text(data, "agentId").is_empty() {
            sub_agents
                .entry(text(line, "parentToolUseID"))
                .or_insert(text(data, "agentId"));
        }
    }
    let mut message_id = "";
    let mut hooks = 0_u64;
    let mut started = HashSet::new();
    for (_, line) in &lines {
        script.at(moment(line));
        match (text(line, "type"), text(line, "subtype")) {
            ("user", _) => match &line["message"]["content"] {
                Value::String(message) => {
                    message_id = "";
                    script.begin_turn(message);
                }
                content => {
                    for block in content.as_array().map_or(&[][..], Vec::as_slice) {
                        match text(block, "type") {
                            "tool_result" => {
                                let id = text(block, "tool_use_id");
                                let output = plain(&block["content"]);
                                script.end_tool(id, outcome(block, &output), &output);
                                if started.remove(id) {
                                    script.note(EventKind::SubagentCompleted, sub_agents[id]);
                                }
                            }
                            "text" => script.say(EventKind::MessageAccepted, text(block, "text")),
                            _ => {}
                        }
                    }
                }
            },
            ("assistant", _) => {
                let message = &line["message"];
                if text(message, "id") != message_id || !script.in_attempt() {
                    script.end_attempt(EventKind::ModelMessageCompleted);
                    message_id = text(message, "id");
                    script.begin_attempt();
                    if message.get("usage").is_some_and(Value::is_object) {
                        script.note(EventKind::UsageRecorded, &message["usage"].to_string());
                    }
                }
                for block in list(message, "content") {
                    match text(block, "type") {
                        "text" => script.deltas(text(block, "text")),
                        "thinking" => script.deltas(text(block, "thinking")),
                        "tool_use" => {
                            let id = text(block, "id");
                            script.request_tool(id, &block.to_string());
                            script.step(EventKind::ToolStarted);
                            if let Some(agent) = sub_agents.get(id) {
                                started.insert(id);
                                script.note(EventKind::SubagentStarted, agent);
                            }
                        }
                        _ => {}
                    }
                }
            }
            ("progress", _) => match text(&line["data"], "type") {
                "hook_progress" => {
                    hooks += 1;
                    script.note(EventKind::HookInvoked, text(&line["data"], "hookName"));
                }
                "bash_progress" => {
                    script.say(
                        EventKind::IsolationProcessIoCaptured,
                        text(&line["data"], "output"),
                    );
                }
                "agent_progress" => {
                    script.note(
                        EventKind::SubagentEventWrapped,
                        text(&line["data"], "agentId"),
                    );
                }
                _ => script.note(
                    EventKind::IsolationProcessStatsRecorded,
                    text(&line["data"], "type"),
                ),
            },
            ("system", "stop_hook_summary") => {
                (0..std::mem::take(&mut hooks)).for_each(|_| script.step(EventKind::HookCompleted));
            }
            ("system", "compact_boundary") => script.step(EventKind::RunCheckpointed),
            ("system", "turn_duration") => script.end_turn(EventKind::TurnCompleted),
            ("file-history-snapshot" | "queue-operation", _) => {
                script.step(EventKind::ContextAssembled)
            }
            _ => {}
        }
    }
    (0..hooks).for_each(|_| script.step(EventKind::HookCompleted));
    for id in started {
        script.note(EventKind::SubagentCompleted, sub_agents[id]);
    }
    let run = script.finish(EventKind::RunCompleted, "the session's last line");
    source.runs.push(run);
}

fn moment(line: &Value) -> Option<i64> {
    text(line, "timestamp")
        .parse()
        .ok()
        .map(Timestamp::as_micros)
}

fn outcome(result: &Value, output: &str) -> EventKind {
    let refused = ["doesn't want to", "user rejected", "was rejected"];
    if refused.iter().any(|words| output.contains(words)) {
        EventKind::ToolDenied
    } else if result["is_error"] == Value::Bool(true) {
        EventKind::ToolFailed
    } else {
        EventKind::ToolCompleted
    }
}

/// The text of a result: a string, or blocks of which some are text.
fn plain(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().map(|block| text(block, "text")).collect(),
        _ => String::new(),
    }
}
