//! SWE-agent trajectories: one JSON document a run, with a list of steps.
//!
//! The run is one turn. Each step becomes `ModelAttemptStarted`, the `ModelStreamDelta`s of its
//! `response`, `ModelMessageCompleted`, `ToolRequested` (its `action`), `ToolStarted` and
//! `ToolCompleted` (its `observation`). At the end `info.model_stats` gives `UsageRecorded` and
//! `CostEstimated`; `info.exit_status` gives `RunCompleted` if it is `submitted`, else
//! `RunFailed`. The format has no times.

use crate::builder::{Ending, Item};
use crate::json::{list, text};
use crate::reading::Reading;
use crate::{Body, Problem, Source};
use framebus::EventKind;
use serde_json::Value;

/// Tells whether a value is such a trajectory.
pub fn recognises(value: &Value) -> bool {
    value["trajectory"].is_array() && value["info"].is_object()
}

/// Reads one trajectory.
pub fn read(document: &Value, reading: &mut Reading<'_>) {
    let mut builder = reading.builder(Source::SweAgent);
    builder.set_agent("swe-agent");
    if let Some(environment) = text(document, "/environment") {
        builder.tag("environment", environment);
    }
    builder.begin();
    builder.open_turn();
    for (index, step) in list(document, "/trajectory").iter().enumerate() {
        let (Some(response), Some(action)) = (text(step, "/response"), text(step, "/action"))
        else {
            let problem = format!("has no `response` or no `action` in `trajectory[{index}]`");
            reading.error(None, Problem::Malformed(problem));
            continue;
        };
        builder.open_attempt(Body::None);
        builder.message(response, &[]);
        builder.close_attempt(EventKind::ModelMessageCompleted, Body::None);
        let id = format!("action-{}", index + 1);
        let name = action.split_whitespace().next().unwrap_or_default();
        builder.request_tool(&id, Body::text(action));
        builder.start_tool(&id, Body::note(name));
        if let Some(observation) = text(step, "/observation") {
            let output = Body::text(observation);
            builder.close(Item::Tool, &id, EventKind::ToolCompleted, output);
        }
    }
    let stats = &document["info"]["model_stats"];
    builder.set_usage(stats);
    builder.set_cost(&stats["instance_cost"]);
    let ending = match text(document, "/info/exit_status") {
        Some("submitted") => Ending::Completed("submitted".to_owned()),
        Some(status) => Ending::Failed(status.to_owned()),
        None => Ending::Truncated,
    };
    if !matches!(ending, Ending::Truncated) {
        builder.close_turn(EventKind::TurnCompleted, Body::None);
    }
    reading.runs.push(builder.finish(ending));
}
