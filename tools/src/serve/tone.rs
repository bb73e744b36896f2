//! How each kind of event is shown: as good news, as bad news, as a warning, or plainly.
//!
//! The rule reads the words of a kind's name. It has to recognise good news: a kind that ends
//! something is a warning unless a word says what it is, so a new kind is never good by accident.

use framebus::EventKind;
use serde_json::{Map, Value, json};

/// The tone of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It came out as it should.
    Good,
    /// It went wrong, or was left in a state that somebody must repair.
    Bad,
    /// It was stopped, refused or made weaker, or somebody is asked to act.
    Warn,
    /// It is news, neither good nor bad.
    Plain,
}

/// A kind whose name ends so is bad.
const BAD_ENDS: [&str; 5] = [
    "Failed",
    "TimedOut",
    "Expired",
    "Unavailable",
    "RecoveryRequired",
];

/// A kind whose name ends so is good, unless it is bad.
const GOOD_ENDS: [&str; 3] = ["Completed", "Validated", "Recovered"];

/// A kind whose name has one of these is a warning, unless its end says more.
const WARNINGS: [&str; 12] = [
    "Cancel",
    "Denied",
    "Rejected",
    "Interrupted",
    "Intervention",
    "Detached",
    "Downgrade",
    "Backpressure",
    "Restart",
    "Repair",
    "RunResume",
    "ApprovalRequested",
];

/// A terminal kind whose name ends so is plain: it ends a wait, and does not say how it came out.
const PLAIN_ENDS: [&str; 5] = ["Responded", "Applied", "Closed", "Deduped", "Triggered"];

/// Returns the tone of a kind.
pub fn tone(kind: EventKind) -> Tone {
    let name = kind.as_str();
    let ends = |words: &[&str]| words.iter().any(|word| name.ends_with(word));
    let warns = WARNINGS.iter().any(|word| name.contains(word));
    let unclear = kind.is_terminal() && !ends(&PLAIN_ENDS);
    if ends(&BAD_ENDS) {
        Tone::Bad
    } else if ends(&GOOD_ENDS) {
        Tone::Good
    } else if warns || unclear {
        Tone::Warn
    } else {
        Tone::Plain
    }
}

/// Returns what the page knows of each kind, by its name.
pub fn kinds() -> Map<String, Value> {
    let shown = |kind: EventKind| {
        let tone = match tone(kind) {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Warn => "warn",
            Tone::Plain => "plain",
        };
        json!({ "family": kind.family(), "class": kind.class(), "tone": tone })
    };
    EventKind::ALL
        .iter()
        .map(|&kind| (kind.to_string(), shown(kind)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wanted: Tone) -> Vec<&'static str> {
        let kinds = EventKind::ALL.iter().filter(|&&kind| tone(kind) == wanted);
        kinds.map(|kind| kind.as_str()).collect()
    }

    /// Words that no good news has in its name. They are not those of the rule: a kind that the
    /// rule's lists forget is found by what it means.
    const NOT_GOOD: [&str; 17] = [
        "Fail",
        "Cancel",
        "Denied",
        "Deny",
        "Reject",
        "TimedOut",
        "Timeout",
        "Expire",
        "Unavailable",
        "Lost",
        "Required",
        "Interrupt",
        "Abort",
        "Detach",
        "Downgrade",
        "Backpressure",
        "Error",
    ];

    #[test]
    fn no_kind_that_says_something_failed_or_was_stopped_is_good() {
        for &kind in EventKind::ALL {
            if NOT_GOOD.iter().any(|word| kind.as_str().contains(word)) {
                assert!(
                    matches!(tone(kind), Tone::Bad | Tone::Warn),
                    "{kind} is shown as {:?}",
                    tone(kind)
                );
            }
        }
    }

    #[test]
    fn every_failure_is_bad_and_a_tool_that_needs_recovery_is_one() {
        assert_eq!(
            of(Tone::Bad),
            [
                "RunFailed",
                "RunResumeFailed",
                "TurnFailed",
                "ModelAttemptFailed",
                "ToolFailed",
                "ToolRecoveryRequired",
                "ApprovalDispatchUnavailable",
                "ApprovalTimedOut",
                "HookFailed",
                "HookTimedOut",
                "StreamRuleCompileFailed",
                "RealtimeRestartFailed",
                "IsolationCleanupFailed",
                "IsolationFailed",
                "ExtensionActionFailed",
                "OutputDispatchFailed",
                "StructuredOutputValidationFailed",
                "StructuredOutputFailed",
                "TelemetrySinkFailed",
                "ReplayFailed",
                "RunMessageFailed",
                "RunMessageTimedOut",
                "RunMessageExpired",
                "WakeConditionTimedOut",
                "WakeConditionFailed",
            ]
        );
    }

    #[test]
    fn good_is_what_came_out_as_it_should() {
        assert_eq!(
            of(Tone::Good),
            [
                "RunCompleted",
                "TurnCompleted",
                "ModelMessageCompleted",
                "ToolCompleted",
                "HookCompleted",
                "RealtimeRestartCompleted",
                "IsolationCleanupCompleted",
                "ChildLifecycleCompleted",
                "SubagentCompleted",
                "ExtensionActionCompleted",
                "OutputDispatchCompleted",
                "StructuredOutputValidated",
                "TelemetrySinkRecovered",
                "ReplayCompleted",
            ]
        );
    }

    #[test]
    fn a_warning_is_what_was_stopped_refused_or_made_weaker_or_asks_somebody_to_act() {
        assert_eq!(
            of(Tone::Warn),
            [
                "RunCancelled",
                "RunCancelRequested",
                "RunResumeRequested",
                "ToolDenied",
                "ApprovalRequested",
                "ApprovalDenied",
                "ApprovalCancelled",
                "HookCancelled",
                "HookResponseRejected",
                "StreamInterventionRequested",
                "StreamInterventionApplied",
                "RealtimeInterrupted",
                "RealtimeRestartRequested",
                "RealtimeRestartStarted",
                "RealtimeBackpressureApplied",
                "IsolationDowngradeDenied",
                "IsolationDowngradeApproved",
                "ChildLifecycleDetached",
                "ExtensionActionDenied",
                "StructuredOutputRepairRequested",
                "RunMessageCancelled",
                "WakeConditionCancelled",
            ]
        );
    }

    #[test]
    fn each_of_the_kinds_has_one_tone() {
        let tones = [Tone::Good, Tone::Bad, Tone::Warn, Tone::Plain];
        let counts = tones.map(|tone| of(tone).len());
        assert_eq!(counts.iter().sum::<usize>(), EventKind::ALL.len());
        assert_eq!(kinds().len(), EventKind::ALL.len());
        // The rest is plain, and of what ends something only what does not say how.
        let settled = EventKind::ALL
            .iter()
            .filter(|kind| kind.is_terminal() && tone(**kind) == Tone::Plain);
        assert_eq!(
            settled.map(|kind| kind.as_str()).collect::<Vec<_>>(),
            [
                "ApprovalResponded",
                "HookResponseApplied",
                "RealtimeClosed",
                "OutputDispatchDeduped",
                "RunMessageResponded",
                "WakeConditionTriggered",
            ]
        );
    }
}
