//! mini-swe-agent trajectories: one JSON document a run, a plain conversation with one tool, bash.
//!
//! | message | steps |
//! | --- | --- |
//! | start | `RunStarted` |
//! | system and first user | `MessageAccepted`, `TurnStarted` |
//! | assistant | `ModelAttemptStarted`, `ModelStreamDelta`s (reasoning, then content) |
//! | | `ModelMessageCompleted`, `UsageRecorded`, `CostEstimated` |
//! | | `ToolRequested`, `ToolStarted` for its bash block |
//! | user, `<returncode>0` | `ToolCompleted` |
//! | user, another return code or `timed out` | `ToolFailed` |
//! | user, `Please always provide EXACTLY ONE action` | `ModelAttemptFailed`, and no tool |
//! | user, last of a submitted run | `ToolCompleted` |
//! | | `OutputDispatchRequested`, `OutputDispatchCompleted` |
//! | end | `TurnCompleted`, then `RunCompleted` for a submitted run, else `RunFailed` |
//!
//! Model calls have times in whole seconds; their answers have none.

use crate::builder::{Ending, Item, RunBuilder};
use crate::json::{content, list, text};
use crate::reading::Reading;
use crate::{Body, Source};
use framebus::EventKind;
use serde_json::Value;

const FORMAT_ERROR: &str = "Please always provide EXACTLY ONE action";
const RETURN_CODE: &str = "<returncode>";
const SUCCESS: &str = "<returncode>0</returncode>";
const TIMEOUT: &str = "The last command <command>";
const BLOCK_START: &str = "```bash";
const BLOCK_END: &str = "\n```";

/// What the one tool of the agent is called.
const TOOL: &str = "bash";

/// Tells whether a value is such a trajectory.
pub fn recognises(value: &Value) -> bool {
    value["messages"].is_array() && value["info"].is_object()
}

/// Reads one trajectory.
pub fn read(document: &Value, reading: &mut Reading<'_>) {
    let mut builder = reading.builder(Source::MiniSwe);
    if let Some(model) = text(document, "/info/config/model/model_name") {
        builder.set_agent(model);
    }
    if let Some(task) = text(document, "/instance_id") {
        builder.tag("task", task);
    }
    builder.begin();
    let status = text(document, "/info/exit_status").unwrap_or_default();
    let messages = list(document, "/messages");
    let mut calls = 0;
    let mut submitted = false;
    for (index, message) in messages.iter().enumerate() {
        let last = index + 1 == messages.len();
        match message["role"].as_str() {
            Some("assistant") => {
                calls += 1;
                let answer = messages.get(index + 1);
                let refused = answer
                    .is_some_and(|answer| content(&answer["content"]).starts_with(FORMAT_ERROR));
                assistant(message, refused, &tool_id(calls), &mut builder);
            }
            Some("user") if calls == 0 => {
                let task = Body::text(content(&message["content"]));
                builder.step(EventKind::MessageAccepted, task);
                builder.open_turn();
            }
            Some("user") => {
                builder.set_time(None);
                let output = content(&message["content"]);
                submitted = last && status == "Submitted" && !is_answer(&output);
                if submitted {
                    dispatch(output, &tool_id(calls), &mut builder);
                } else {
                    answer(output, &tool_id(calls), &mut builder);
                }
            }
            _ => {}
        }
    }
    let ending = if submitted {
        Ending::Completed(status.to_owned())
    } else if status.is_empty() || status == "Submitted" {
        Ending::Truncated
    } else {
        Ending::Failed(status.to_owned())
    };
    if !matches!(ending, Ending::Truncated) {
        builder.close_turn(EventKind::TurnCompleted, Body::None);
    }
    reading.runs.push(builder.finish(ending));
}

/// Returns the id of the tool call that the `calls`-th model call made.
fn tool_id(calls: usize) -> String {
    format!("{TOOL}-{calls}")
}

fn assistant(message: &Value, refused: bool, tool: &str, builder: &mut RunBuilder) {
    let response = &message["extra"]["response"];
    let created = response["created"].as_i64();
    builder.set_time(created.and_then(|seconds| seconds.checked_mul(1_000_000)));
    builder.open_attempt(Body::None);
    if let Some(reasoning) = text(response, "/choices/0/message/reasoning") {
        builder.message(reasoning, &["reasoning"]);
    }
    let text = content(&message["content"]);
    builder.message(&text, &[]);
    builder.set_usage(&response["usage"]);
    builder.set_cost(&response["usage"]["cost"]);
    builder.set_cost(&message["extra"]["cost"]);
    if refused {
        let reason = Body::note("not exactly one action");
        builder.close_attempt(EventKind::ModelAttemptFailed, reason);
        return;
    }
    builder.close_attempt(EventKind::ModelMessageCompleted, Body::None);
    if let Some(script) = bash_block(&text) {
        builder.request_tool(tool, Body::text(script));
        builder.start_tool(tool, Body::note(TOOL));
    }
}

/// Returns the script in the first bash block of `text`.
fn bash_block(text: &str) -> Option<&str> {
    let (_, block) = text.split_once(BLOCK_START)?;
    let (_, script) = block.split_once('\n')?;
    Some(
        script
            .split_once(BLOCK_END)
            .map_or(script, |(script, _)| script),
    )
}

/// Tells whether a user message is the agent's own reply to the model.
fn is_answer(output: &str) -> bool {
    [RETURN_CODE, TIMEOUT, FORMAT_ERROR]
        .iter()
        .any(|start| output.starts_with(start))
}

fn answer(output: String, tool: &str, builder: &mut RunBuilder) {
    let (kind, tags) = if output.starts_with(SUCCESS) {
        (EventKind::ToolCompleted, Vec::new())
    } else if output.starts_with(TIMEOUT) {
        (EventKind::ToolFailed, vec!["timeout"])
    } else {
        (EventKind::ToolFailed, Vec::new())
    };
    builder.close_tagged(Item::Tool, tool, kind, Body::text(output), tags);
}

/// Hands over the result, which the last tool call printed.
fn dispatch(output: String, tool: &str, builder: &mut RunBuilder) {
    let kind = EventKind::ToolCompleted;
    builder.close(Item::Tool, tool, kind, Body::None);
    let kind = EventKind::OutputDispatchRequested;
    builder.open(Item::Output, "submission", kind, Body::text(output));
    let kind = EventKind::OutputDispatchCompleted;
    builder.close(Item::Output, "submission", kind, Body::None);
}
