//! The kinds of events, their families and their classes: one table, and sets of kinds.
//!
//! A kind as a number is its index in the table, below 128, so a set of kinds is a `u128` and a
//! kind fits the class bits of a ring's tag.

use super::error::{AgentError, AgentErrorKind};
use std::fmt;
use std::str::FromStr;

/// How overflow policies treat a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum KindClass {
    /// Ends something. No queue drops it.
    Terminal,
    /// One of many in a row, each superseding the last. May be summarised.
    Progress,
    /// Everything else.
    Normal,
}

/// Defines the families and the kinds from one table.
macro_rules! vocabulary {
    (
        families { $($family:ident: $family_doc:literal,)* }
        kinds { $($kind:ident $of:ident $class:ident,)* }
    ) => {
        /// The part of a runtime that an event is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum EventFamily {
            $(#[doc = $family_doc] $family,)*
        }

        impl EventFamily {
            /// All families.
            pub const ALL: &'static [EventFamily] = &[$(EventFamily::$family),*];

            /// Returns the family's name, as in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(EventFamily::$family => stringify!($family),)* }
            }
        }

        /// What happened. Each kind is documented by its family and its class.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum EventKind {
            $(#[doc = concat!(stringify!($of), ", ", stringify!($class), ".")] $kind,)*
        }

        impl EventKind {
            /// All kinds, in the order of the table.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$kind),*];

            const FAMILIES: &'static [EventFamily] = &[$(EventFamily::$of),*];
            const CLASSES: &'static [KindClass] = &[$(KindClass::$class),*];

            /// Returns the kind's name, as in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(EventKind::$kind => stringify!($kind),)* }
            }
        }
    };
}

vocabulary! {
    families {
        Run: "A run as a whole.",
        Turn: "One input until the model stops calling tools.",
        Message: "Messages of a conversation.",
        Model: "Calls of a model.",
        Tool: "Calls of a tool.",
        Approval: "Questions to a human or a policy.",
        Hook: "Hooks of the host.",
        Context: "What a model gets to see.",
        StreamRule: "Rules over a model's stream.",
        Realtime: "Realtime sessions.",
        Isolation: "Sandboxes and processes.",
        ChildLifecycle: "Children that a run starts.",
        Subagent: "Agents that work for an agent.",
        Extension: "Actions of extensions.",
        OutputDelivery: "Delivery of results.",
        StructuredOutput: "Results that must fit a schema.",
        Telemetry: "Usage, cost and sinks.",
        Recovery: "Replays.",
        AgentPool: "Agents that talk to each other.",
    }
    kinds {
        RunStarted Run Normal,
        RunCompleted Run Terminal,
        RunFailed Run Terminal,
        RunCancelled Run Terminal,
        RunCheckpointed Run Normal,
        RunCancelRequested Run Normal,
        RunResumeRequested Run Normal,
        RunResumeFailed Run Normal,
        TurnStarted Turn Normal,
        TurnCompleted Turn Terminal,
        TurnFailed Turn Terminal,
        MessageAccepted Message Normal,
        MessageCommitted Message Normal,
        ProviderRequestProjected Model Normal,
        ModelAttemptStarted Model Normal,
        ModelStreamDelta Model Progress,
        ModelMessageCompleted Model Terminal,
        ModelAttemptFailed Model Terminal,
        ToolRequested Tool Normal,
        ToolStarted Tool Normal,
        ToolCompleted Tool Terminal,
        ToolFailed Tool Terminal,
        ToolDenied Tool Terminal,
        ToolRecoveryRequired Tool Terminal,
        ApprovalRequested Approval Normal,
        ApprovalDispatched Approval Normal,
        ApprovalDispatchUnavailable Approval Terminal,
        ApprovalResponded Approval Terminal,
        ApprovalDenied Approval Terminal,
        ApprovalTimedOut Approval Terminal,
        ApprovalCancelled Approval Terminal,
        HookRegistered Hook Normal,
        HookInvoked Hook Normal,
        HookCompleted Hook Terminal,
        HookFailed Hook Terminal,
        HookTimedOut Hook Terminal,
        HookCancelled Hook Terminal,
        HookResponseApplied Hook Terminal,
        HookResponseRejected Hook Terminal,
        ContextAssembled Context Normal,
        StreamRuleRegistered StreamRule Normal,
        StreamRuleCompileFailed StreamRule Normal,
        StreamRuleMatched StreamRule Normal,
        StreamInterventionRequested StreamRule Normal,
        StreamInterventionApplied StreamRule Normal,
        StreamRuleRepeatStateRecorded StreamRule Progress,
        RealtimeConnectRequested Realtime Normal,
        RealtimeConnected Realtime Normal,
        RealtimeInputSendRequested Realtime Normal,
        RealtimeInputSent Realtime Progress,
        RealtimeOutputReceiveRequested Realtime Normal,
        RealtimeOutputReceived Realtime Progress,
        RealtimeInterrupted Realtime Normal,
        RealtimeRestartRequested Realtime Normal,
        RealtimeRestartStarted Realtime Normal,
        RealtimeRestartCompleted Realtime Normal,
        RealtimeRestartFailed Realtime Terminal,
        RealtimeCloseRequested Realtime Normal,
        RealtimeClosed Realtime Terminal,
        RealtimeBackpressureApplied Realtime Progress,
        IsolationRequested Isolation Normal,
        IsolationAdapterHealthChecked Isolation Normal,
        IsolationCapabilityMatched Isolation Normal,
        IsolationDowngradeDenied Isolation Normal,
        IsolationDowngradeApproved Isolation Normal,
        IsolationEnvironmentPrepared Isolation Normal,
        IsolationProcessStarted Isolation Normal,
        IsolationProcessIoCaptured Isolation Progress,
        IsolationProcessStatsRecorded Isolation Progress,
        IsolationCleanupStarted Isolation Normal,
        IsolationCleanupCompleted Isolation Terminal,
        IsolationCleanupFailed Isolation Terminal,
        IsolationFailed Isolation Terminal,
        ChildLifecycleRequested ChildLifecycle Normal,
        ChildLifecycleCompleted ChildLifecycle Terminal,
        ChildLifecycleDetached ChildLifecycle Terminal,
        SubagentStarted Subagent Normal,
        SubagentHandoff Subagent Normal,
        SubagentEventWrapped Subagent Normal,
        SubagentUsageRolledUp Subagent Normal,
        SubagentCompleted Subagent Terminal,
        ExtensionActionSubmitted Extension Normal,
        ExtensionActionStarted Extension Normal,
        ExtensionActionCompleted Extension Terminal,
        ExtensionActionFailed Extension Terminal,
        ExtensionActionDenied Extension Terminal,
        OutputDispatchRequested OutputDelivery Normal,
        OutputDispatchCompleted OutputDelivery Terminal,
        OutputDispatchFailed OutputDelivery Terminal,
        OutputDispatchDeduped OutputDelivery Terminal,
        StructuredOutputRequested StructuredOutput Normal,
        StructuredOutputValidationStarted StructuredOutput Normal,
        StructuredOutputValidationFailed StructuredOutput Normal,
        StructuredOutputRepairRequested StructuredOutput Normal,
        StructuredOutputValidated StructuredOutput Terminal,
        StructuredOutputFailed StructuredOutput Terminal,
        TelemetrySinkFailed Telemetry Normal,
        TelemetrySinkRecovered Telemetry Normal,
        UsageRecorded Telemetry Progress,
        CostEstimated Telemetry Progress,
        CostCorrected Telemetry Progress,
        ReplayStarted Recovery Normal,
        ReplayCompleted Recovery Terminal,
        ReplayFailed Recovery Terminal,
        AgentPoolCreated AgentPool Normal,
        AgentPoolRunJoined AgentPool Normal,
        AgentPoolRunLeft AgentPool Normal,
        RunMessageAccepted AgentPool Normal,
        RunMessageDelivered AgentPool Normal,
        RunMessageResponded AgentPool Terminal,
        RunMessageFailed AgentPool Terminal,
        RunMessageTimedOut AgentPool Terminal,
        RunMessageExpired AgentPool Terminal,
        RunMessageCancelled AgentPool Terminal,
        WakeConditionRegistered AgentPool Normal,
        WakeConditionTriggered AgentPool Terminal,
        WakeConditionTimedOut AgentPool Terminal,
        WakeConditionCancelled AgentPool Terminal,
        WakeConditionFailed AgentPool Terminal,
    }
}

impl EventKind {
    /// Returns the family.
    #[inline]
    pub const fn family(self) -> EventFamily {
        Self::FAMILIES[self as usize]
    }

    /// Returns the class.
    #[inline]
    pub const fn class(self) -> KindClass {
        Self::CLASSES[self as usize]
    }

    /// Returns whether it ends something.
    ///
    /// ```
    /// # use framebus::EventKind;
    /// assert!(EventKind::RunCompleted.is_terminal());
    /// assert!(EventKind::ModelStreamDelta.is_progress());
    /// ```
    #[inline]
    pub const fn is_terminal(self) -> bool {
        matches!(self.class(), KindClass::Terminal)
    }

    /// Returns whether it is one of many, each superseding the last.
    #[inline]
    pub const fn is_progress(self) -> bool {
        matches!(self.class(), KindClass::Progress)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = AgentError;

    fn from_str(name: &str) -> Result<Self, AgentError> {
        let kind = Self::ALL.iter().find(|kind| kind.as_str() == name).copied();
        kind.ok_or_else(|| unknown("event kind", name))
    }
}

impl fmt::Display for EventFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventFamily {
    type Err = AgentError;

    fn from_str(name: &str) -> Result<Self, AgentError> {
        let family = Self::ALL
            .iter()
            .find(|family| family.as_str() == name)
            .copied();
        family.ok_or_else(|| unknown("event family", name))
    }
}

/// The error for a name that is not in the table.
fn unknown(what: &str, name: &str) -> AgentError {
    let name: String = name.chars().take(64).collect();
    AgentError::new(
        AgentErrorKind::UnknownName,
        format!("{name:?} is no {what}"),
    )
}

/// A set of kinds, one bit each.
///
/// ```
/// # use framebus::{EventKind, KindSet};
/// let ends: KindSet = [EventKind::RunCompleted, EventKind::RunFailed].into_iter().collect();
/// assert!(ends.contains(EventKind::RunFailed) && !ends.contains(EventKind::RunStarted));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct KindSet(u128);

impl KindSet {
    /// No kind.
    pub const EMPTY: KindSet = KindSet(0);
    /// Every kind.
    pub const ALL: KindSet = KindSet((1 << EventKind::ALL.len()) - 1);

    /// Returns the kinds of a class.
    pub const fn of_class(class: KindClass) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < EventKind::ALL.len() {
            if EventKind::CLASSES[at] as u8 == class as u8 {
                set |= 1 << at;
            }
            at += 1;
        }
        KindSet(set)
    }

    /// Returns the kinds of a family.
    pub fn of_family(family: EventFamily) -> Self {
        EventKind::ALL
            .iter()
            .copied()
            .filter(|kind| kind.family() == family)
            .collect()
    }

    /// Returns whether the kind is in the set.
    #[inline(always)]
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }

    /// Returns the kinds in both sets.
    pub const fn and(self, other: Self) -> Self {
        KindSet(self.0 & other.0)
    }

    /// Returns the kinds in either set.
    pub const fn or(self, other: Self) -> Self {
        KindSet(self.0 | other.0)
    }

    /// Returns whether no kind is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether every kind in this set is in the other.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Returns the kinds in the set, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = EventKind> {
        EventKind::ALL
            .iter()
            .copied()
            .filter(move |&kind| self.contains(kind))
    }

    /// Returns the set with these bits; bits of no kind are left out.
    pub const fn from_bits(bits: u128) -> Self {
        KindSet(bits & KindSet::ALL.0)
    }

    /// Returns the set with one bit for each kind, at its index in the table.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl FromIterator<EventKind> for KindSet {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        KindSet(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_contract_s() {
        let rows = include_str!("../../tests/data/event_kinds.tsv")
            .lines()
            .skip(1);
        let mut count = 0;
        for (row, &kind) in rows.zip(EventKind::ALL) {
            let class = format!("{:?}", kind.class()).to_lowercase();
            assert_eq!(row, format!("{kind}\t{}\t{class}", kind.family()));
            assert_eq!(kind.is_terminal(), class == "terminal");
            assert_eq!(kind.is_progress(), class == "progress");
            assert_eq!(kind.as_str().parse::<EventKind>().unwrap(), kind);
            count += 1;
        }
        assert_eq!((count, EventKind::ALL.len()), (119, 119));
        assert!("RunImagined".parse::<EventKind>().is_err());
    }

    #[test]
    fn a_set_holds_its_kinds_once() {
        assert_eq!(KindSet::ALL.iter().count(), 119);
        let run = KindSet::of_family(EventFamily::Run);
        assert_eq!(run.iter().count(), 8);
        let terminal = KindSet::of_class(KindClass::Terminal);
        assert!(run.and(terminal).is_within(run) && !run.is_within(terminal));
        assert!(KindSet::EMPTY.is_empty());
        let twice = [EventKind::RunStarted, EventKind::RunStarted];
        let set: KindSet = twice.into_iter().collect();
        assert!(set.iter().eq([EventKind::RunStarted]));
    }

    #[test]
    fn families_are_read_by_their_names() {
        for &family in EventFamily::ALL {
            assert_eq!(family.as_str().parse::<EventFamily>().unwrap(), family);
        }
        assert!("imagined".parse::<EventFamily>().is_err());
    }
}
