//! mini-swe-agent: one JSON file a run, messages with the provider's raw response.

use super::{Source, list, text};
use framebus::EventKind;
use serde_json::Value;

pub(super) const NAME: &str = "mini-swe-agent-gemini3";

const TOOL: &str = "bash";

pub(super) fn read(source: &mut Source<'_>, whole: &Value) {
    let messages = list(whole, "messages");
    let models = messages
        .iter()
        .map(|message| text(&message["extra"]["response"], "model"));
    let agent = models
        .into_iter()
        .find(|model| !model.is_empty())
        .unwrap_or("model");
    let mut script = source.script(NAME, "", agent);
    let mut begun = false;
    for message in messages {
        let content = text(message, "content");
        match text(message, "role") {
            "assistant" => {
                let response = &message["extra"]["response"];
                let created = response["created"].as_i64();
                script.at(created.and_then(|seconds| seconds.checked_mul(1_000_000)));
                script.begin_attempt();
                script.deltas(text(&response["choices"][0]["message"], "reasoning"));
                script.deltas(content);
                if content.contains("```bash") {
                    script.end_attempt(EventKind::ModelMessageCompleted);
                }
                if response["usage"].is_object() {
                    script.note(EventKind::UsageRecorded, &response["usage"].to_string());
                    script.note(
                        EventKind::CostEstimated,
                        &response["usage"]["cost"].to_string(),
                    );
                }
                if let Some(command) = content.split("```bash").nth(1) {
                    script
                        .request_tool(TOOL, command.split("```").next().unwrap_or(command).trim());
                    script.step(EventKind::ToolStarted);
                }
            }
            "user" if !begun => {
                begun = true;
                script.begin_turn(content);
            }
            "user" if content.starts_with("diff --git") => {
                script.end_tool(TOOL, EventKind::ToolCompleted, "");
                script.step(EventKind::OutputDispatchRequested);
                script.say(EventKind::OutputDispatchCompleted, content);
            }
            "user" if content.contains("EXACTLY ONE action") => {
                // The answer was no action: no tool ran.
                script.end_tool(TOOL, EventKind::ToolDenied, content);
                if script.in_attempt() {
                    script.end_attempt(EventKind::ModelAttemptFailed);
                } else {
                    script.note(EventKind::ModelAttemptFailed, "no single action");
                }
            }
            "user" => {
                let kind = match content.starts_with("<returncode>0</returncode>") {
                    true => EventKind::ToolCompleted,
                    false => EventKind::ToolFailed,
                };
                script.end_tool(TOOL, kind, content);
                script.end_attempt(EventKind::ModelMessageCompleted);
            }
            _ => {}
        }
    }
    let run = match whole["info"]["exit_status"].as_str() {
        Some(status) => {
            script.end_turn(EventKind::TurnCompleted);
            script.finish(EventKind::RunCompleted, status)
        }
        None => script.finish(EventKind::RunFailed, "truncated"),
    };
    source.runs.push(run);
}
