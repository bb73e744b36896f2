//! The sub-agents of sessions, after all files were read.

use super::{COMPACTION, MAIN};
use crate::{Body, RecordedRun, Source, Step};
use framebus::EventKind;
use std::collections::HashMap;
use std::sync::Arc;

/// Gives each sub-agent among `runs` its parent, if that was read as well.
///
/// No line tells of a sub-agent that compacted a conversation. Its steps are added to the parent,
/// before one of the parent's `RunCheckpointed` steps for each, in order.
pub fn link_sub_agents(runs: &mut [RecordedRun]) {
    // Of several runs of one session the first is the parent.
    let parents: HashMap<Arc<str>, usize> = runs
        .iter()
        .enumerate()
        .rev()
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
        let run_id = &runs[index].run_id;
        let named = |step: &Step| {
            step.kind == EventKind::SubagentStarted && step.item.as_ref() == Some(run_id)
        };
        let is_named = runs[parent].steps.iter().any(named);
        if runs[index].agent_id.starts_with(COMPACTION) && !is_named {
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
