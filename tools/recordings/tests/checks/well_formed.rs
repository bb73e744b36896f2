//! Checks what every run must keep, whatever file it was read from.

use framebus::EventKind::{self, *};
use framebus_recordings::RecordedRun;
use std::collections::HashSet;

/// What opens an item and what may close it.
const ITEMS: [(EventKind, &[EventKind]); 6] = [
    (TurnStarted, &[TurnCompleted, TurnFailed]),
    (
        ModelAttemptStarted,
        &[ModelMessageCompleted, ModelAttemptFailed],
    ),
    (
        ToolRequested,
        &[ToolCompleted, ToolFailed, ToolDenied, ToolRecoveryRequired],
    ),
    (HookInvoked, &[HookCompleted, HookCancelled]),
    (SubagentStarted, &[SubagentCompleted]),
    (
        OutputDispatchRequested,
        &[OutputDispatchCompleted, OutputDispatchFailed],
    ),
];

/// Checks that the run begins and ends once and that every item in it is closed exactly once.
pub fn assert_well_formed(run: &RecordedRun) {
    let mut open = HashSet::new();
    let mut started = HashSet::new();
    for (index, step) in run.steps.iter().enumerate() {
        let at = format!(
            "{} step {index}: {:?} {:?}",
            run.run_id, step.kind, step.item
        );
        let item = step.item.clone();
        let last = index + 1 == run.steps.len();
        assert_eq!(step.kind == RunStarted, index == 0, "{at}");
        assert_eq!(matches!(step.kind, RunCompleted | RunFailed), last, "{at}");
        for (opens, closes) in ITEMS {
            if step.kind == opens {
                assert!(open.insert((opens, item.clone())), "{at} is open");
                started.remove(&item);
            }
            if closes.contains(&step.kind) {
                assert!(open.remove(&(opens, item.clone())), "{at} is not open");
            }
        }
        match step.kind {
            ToolStarted => {
                assert!(open.contains(&(ToolRequested, item.clone())), "{at}");
                assert!(started.insert(item), "{at} began before");
            }
            ModelStreamDelta => assert!(open.contains(&(ModelAttemptStarted, item)), "{at}"),
            _ => {}
        }
        assert!(!last || open.is_empty(), "{at}: left open: {open:?}");
    }
}
