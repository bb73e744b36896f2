//! tau-bench: one run a line, chat messages with tool calls, and a reward.

use super::{Source, list, text};
use framebus::EventKind;

pub(super) const NAME: &str = "tau-bench-airline";

pub(super) fn read(source: &mut Source<'_>) {
    for (number, line) in source.json_lines() {
        if !line["traj"].is_array() {
            source.bad(
                number,
                "no list \"traj\", so no tau-bench run; the line is left out",
            );
            continue;
        }
        let suffix = format!("#{}-{}", line["task_id"], line["trial"]);
        let mut script = source.script(NAME, &suffix, "gpt-4o");
        for message in list(&line, "traj") {
            let content = text(message, "content");
            match text(message, "role") {
                "user" => script.begin_turn(content),
                "assistant" => {
                    script.begin_attempt();
                    script.deltas(content);
                    script.end_attempt(EventKind::ModelMessageCompleted);
                    let calls = list(message, "tool_calls");
                    for call in calls {
                        script.request_tool(text(call, "id"), &call["function"].to_string());
                        script.step(EventKind::ToolStarted);
                        if text(&call["function"], "name") == "transfer_to_human_agents" {
                            script.step(EventKind::ApprovalRequested);
                            script.step(EventKind::ApprovalDispatched);
                        }
                    }
                    if calls.is_empty() {
                        script.end_turn(EventKind::TurnCompleted);
                    }
                }
                "tool" => {
                    let kind = match content.starts_with("Error") {
                        true => EventKind::ToolFailed,
                        false => EventKind::ToolCompleted,
                    };
                    script.end_tool(text(message, "tool_call_id"), kind, content);
                }
                _ => {}
            }
        }
        if let Some(cost) = line["info"].get("user_cost") {
            script.note(EventKind::CostEstimated, &cost.to_string());
        }
        let run = match line["reward"].as_f64() {
            Some(1.0) => script.finish(EventKind::RunCompleted, "reward 1"),
            Some(reward) => script.finish(EventKind::RunFailed, &format!("reward {reward}")),
            None => script.finish(EventKind::RunFailed, "truncated"),
        };
        source.runs.push(run);
    }
}
