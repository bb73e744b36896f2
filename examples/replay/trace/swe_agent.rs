//! SWE-agent: one JSON file a run, steps of response, action and observation.

use super::{Source, list, text};
use framebus::EventKind;
use serde_json::Value;

pub(super) const NAME: &str = "swe-agent-demos";

const TOOL: &str = "action";

pub(super) fn read(source: &mut Source<'_>, whole: &Value) {
    let mut script = source.script(NAME, "", "swe-agent");
    for step in list(whole, "trajectory") {
        script.begin_attempt();
        script.deltas(text(step, "response"));
        script.end_attempt(EventKind::ModelMessageCompleted);
        script.request_tool(TOOL, text(step, "action"));
        script.step(EventKind::ToolStarted);
        script.end_tool(TOOL, EventKind::ToolCompleted, text(step, "observation"));
    }
    let info = &whole["info"];
    let stats = &info["model_stats"];
    if stats.is_object() {
        script.note(EventKind::UsageRecorded, &stats.to_string());
        let cost = stats.get("instance_cost").or(stats.get("total_cost"));
        script.note(
            EventKind::CostEstimated,
            &cost.unwrap_or(&Value::Null).to_string(),
        );
    }
    let run = match info["exit_status"].as_str() {
        Some("submitted") => script.finish(EventKind::RunCompleted, "submitted"),
        Some(status) => script.finish(EventKind::RunFailed, status),
        None => script.finish(EventKind::RunFailed, "truncated"),
    };
    source.runs.push(run);
}
