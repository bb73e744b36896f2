//! tau-bench conversations: one finished run a line, in OpenAI's chat form.
//!
//! | message | steps |
//! | --- | --- |
//! | start | `RunStarted` |
//! | `system` | none |
//! | `user` | `MessageAccepted`, `TurnStarted` |
//! | `assistant` | `ModelAttemptStarted`, `ModelStreamDelta`s, `ModelMessageCompleted` |
//! | … without a tool call | `TurnCompleted` |
//! | … with tool calls | `ToolRequested`, `ToolStarted` each |
//! | … handing over to a human | `ApprovalRequested`, `ApprovalDispatched` as well |
//! | `tool` | `ToolCompleted`, or `ToolFailed` where it begins with `Error` |
//! | end | `CostEstimated`, then `RunCompleted` for a reward of 1, `RunFailed` for another |
//! | … with a reward that is no number | `RunCompleted` |
//!
//! The format has no times. The agent is what the file's name says before its last `-`.

use crate::builder::{Ending, Item, RunBuilder};
use crate::json::{content, flat, list, text};
use crate::reading::Reading;
use crate::records::Records;
use crate::{Body, Problem, Source};
use framebus::EventKind;
use serde_json::Value;
use std::io::BufRead;

/// The tool that hands a customer over to a human.
const HAND_OVER: &str = "transfer_to_human_agents";

/// Tells whether a value is such a run.
pub fn recognises(value: &Value) -> bool {
    value["traj"].is_array() && value.get("task_id").is_some()
}

/// Reads the runs of one file.
pub fn read(records: &mut Records<impl BufRead>, reading: &mut Reading<'_>) {
    let stem = reading.stem();
    let agent = stem.rsplit_once('-').map_or(&*stem, |(agent, _)| agent);
    // Two runs may stand on one line, where a line feed was lost.
    let (mut last_line, mut on_line) = (0, 0);
    while let Some((number, record)) = records.next() {
        let run = match record {
            Ok(run) if run["traj"].is_array() => run,
            Ok(_) => {
                let problem = Problem::Malformed("has no list `traj`".to_owned());
                reading.error(Some(number), problem);
                continue;
            }
            Err(problem) => {
                reading.error(Some(number), problem);
                continue;
            }
        };
        if !reading.is_new(number, &run) {
            continue;
        }
        on_line = if last_line == number { on_line + 1 } else { 1 };
        last_line = number;
        let mut builder = reading.builder(Source::TauBench);
        builder.set_name(&match on_line {
            1 => format!("{stem}/{number}"),
            _ => format!("{stem}/{number}.{on_line}"),
        });
        builder.set_agent(agent);
        for label in ["task_id", "trial"] {
            if let Some(value) = run.get(label) {
                builder.tag(label.trim_end_matches("_id"), flat(value));
            }
        }
        builder.begin();
        for message in list(&run, "/traj") {
            self::message(message, &mut builder);
        }
        builder.close_turn(EventKind::TurnCompleted, Body::None);
        builder.set_cost(&run["info"]["user_cost"]);
        builder.record_usage();
        let ending = match run["reward"].as_f64() {
            Some(1.0) => Ending::Completed("reward 1".to_owned()),
            Some(reward) => Ending::Failed(format!("reward {reward}")),
            // The run came to its end, but for a reward such as NaN nothing says how well.
            None if run.get("reward").is_some() => {
                Ending::Completed("the reward is not a number".to_owned())
            }
            None => Ending::Truncated,
        };
        reading.runs.push(builder.finish(ending));
    }
}

fn message(message: &Value, builder: &mut RunBuilder) {
    match message["role"].as_str() {
        Some("user") => {
            builder.close_turn(EventKind::TurnCompleted, Body::None);
            let text = Body::text(content(&message["content"]));
            builder.step(EventKind::MessageAccepted, text);
            builder.open_turn();
        }
        Some("assistant") => {
            let calls = list(message, "/tool_calls");
            builder.open_attempt(Body::None);
            builder.message(&content(&message["content"]), &[]);
            builder.close_attempt(EventKind::ModelMessageCompleted, Body::None);
            for call in calls {
                tool_call(call, builder);
            }
            if calls.is_empty() {
                builder.close_turn(EventKind::TurnCompleted, Body::None);
            }
        }
        Some("tool") => {
            let output = content(&message["content"]);
            let kind = if output.starts_with("Error") {
                EventKind::ToolFailed
            } else {
                EventKind::ToolCompleted
            };
            let id = text(message, "/tool_call_id").unwrap_or_default();
            builder.close(Item::Tool, id, kind, Body::text(output));
        }
        _ => {}
    }
}

fn tool_call(call: &Value, builder: &mut RunBuilder) {
    let id = text(call, "/id").unwrap_or_default();
    let name = text(call, "/function/name").unwrap_or_default();
    let arguments = text(call, "/function/arguments").unwrap_or_default();
    builder.request_tool(id, Body::text(arguments));
    builder.start_tool(id, Body::note(name));
    if name == HAND_OVER {
        let approval = Body::note("hand-over to a human");
        builder.step_about(EventKind::ApprovalRequested, id, approval);
        builder.step_about(EventKind::ApprovalDispatched, id, Body::None);
    }
}
