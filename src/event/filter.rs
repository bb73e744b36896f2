//! Filters: which events a subscriber wants, by envelope alone.
//!
//! AND across fields, OR within a field; an empty field accepts every event. Compiling folds kinds,
//! families and `terminal_only` into one set of kinds, which is tested first, by one shift. Ids are
//! found by the hash that they hold, then compared exactly, however many are listed. An envelope's
//! details are looked at last, and only if a field needs them.

use super::cursor::EventStreamScope;
use super::envelope::{
    EndpointKind, EntityKind, EventDeliverySemantics, EventEnvelope, PrivacyClass,
};
use super::error::{AgentError, AgentErrorKind};
use super::hex::FilterFingerprint;
use super::id::{AgentId, EntityId, EventFilterId, EventTag, RunId, SessionId, TurnId};
use super::kind::{EventFamily, EventKind, KindClass, KindSet};
use super::overflow::SubscriberQueueConfig;
use super::payload::PayloadAccessMode;
use super::wanted::Wanted;
use xxhash_rust::xxh3::xxh3_64;

/// The most entries that a field of a filter can have: 4,096.
pub const MAX_FILTER_LIST: usize = 4_096;

/// Which events a subscriber wants: those that every field accepts. A list accepts what is listed;
/// an empty list accepts everything.
///
/// ```
/// # use framebus::{EventFamily, EventFilter, EventEnvelope, EventKind};
/// let filter = EventFilter {
///     families: vec![EventFamily::Tool],
///     terminal_only: true,
///     ..EventFilter::run("run-1")
/// };
/// let filter = filter.compile()?;
/// let envelope = |kind| EventEnvelope::new("run-1", "planner", kind);
/// assert!(filter.matches_envelope(&envelope(EventKind::ToolFailed)));
/// assert!(!filter.matches_envelope(&envelope(EventKind::ToolStarted)));
/// # Ok::<(), framebus::AgentError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EventFilter {
    /// Runs.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub run_ids: Vec<RunId>,
    /// Sessions.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub session_ids: Vec<SessionId>,
    /// Agents.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub agent_ids: Vec<AgentId>,
    /// Turns.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub turn_ids: Vec<TurnId>,
    /// Families of kinds.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub families: Vec<EventFamily>,
    /// Kinds.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub kinds: Vec<EventKind>,
    /// Tags. One of an event's tags is enough.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub tags: Vec<EventTag>,
    /// Kinds of sources.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub source_kinds: Vec<EndpointKind>,
    /// Kinds of destinations.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub destination_kinds: Vec<EndpointKind>,
    /// Kinds of subjects.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub subject_kinds: Vec<EntityKind>,
    /// Kinds of related entities. One of an event's is enough.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub related_kinds: Vec<EntityKind>,
    /// Keys of correlations. One of an event's is enough.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub correlation_keys: Vec<EntityId>,
    /// Privacy classes.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub privacy_classes: Vec<PrivacyClass>,
    /// Delivery semantics.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub delivery_semantics: Vec<EventDeliverySemantics>,
    /// Whether only terminal kinds are wanted.
    pub terminal_only: bool,
    /// How much of payloads a subscription with this filter may see.
    pub payload_access: PayloadAccessMode,
    /// The queue of a subscription with this filter.
    pub queue: SubscriberQueueConfig,
}

impl EventFilter {
    /// A filter for everything of one run.
    pub fn run(run_id: impl Into<RunId>) -> Self {
        EventFilter {
            run_ids: vec![run_id.into()],
            ..Self::default()
        }
    }

    /// A filter for everything of one agent.
    pub fn agent(agent_id: impl Into<AgentId>) -> Self {
        EventFilter {
            agent_ids: vec![agent_id.into()],
            ..Self::default()
        }
    }

    /// A filter for the ends of runs: completed, failed, cancelled.
    pub fn terminal_run_events() -> Self {
        EventFilter {
            families: vec![EventFamily::Run],
            terminal_only: true,
            ..Self::default()
        }
    }

    /// Checks the filter and prepares it for matching. Takes O(n log n) steps for n entries.
    ///
    /// # Errors
    /// [`AgentErrorKind::InvalidFilter`] if no event could match, or a list has more than
    /// [`MAX_FILTER_LIST`] entries.
    pub fn compile(self) -> Result<CompiledEventFilter, AgentError> {
        CompiledEventFilter::new(self)
    }

    /// Returns the kinds that `kinds`, `families` and `terminal_only` accept.
    fn kind_set(&self) -> KindSet {
        let mut kinds = match self.kinds.as_slice() {
            [] => KindSet::ALL,
            kinds => kinds.iter().copied().collect(),
        };
        if !self.families.is_empty() {
            let families = self
                .families
                .iter()
                .map(|&family| KindSet::of_family(family));
            kinds = kinds.and(families.fold(KindSet::EMPTY, KindSet::or));
        }
        if self.terminal_only {
            kinds = kinds.and(KindSet::of_class(KindClass::Terminal));
        }
        kinds
    }

    /// Returns the criteria as bytes, equal for equal criteria: each field's entries, sorted, each
    /// once, with their lengths; kinds, families and `terminal_only` as the set of kinds that they
    /// accept.
    fn canonical(&self) -> Vec<u8> {
        let mut bytes = vec![1]; // The version of this form.
        bytes.extend(self.kind_set().bits().to_le_bytes());
        let texts = |bytes: &mut Vec<u8>, mut list: Vec<&str>| {
            list.sort_unstable();
            list.dedup();
            bytes.extend((list.len() as u64).to_le_bytes());
            for text in list {
                bytes.extend((text.len() as u64).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
        };
        texts(&mut bytes, self.run_ids.iter().map(RunId::as_str).collect());
        texts(
            &mut bytes,
            self.session_ids.iter().map(SessionId::as_str).collect(),
        );
        texts(
            &mut bytes,
            self.agent_ids.iter().map(AgentId::as_str).collect(),
        );
        texts(
            &mut bytes,
            self.turn_ids.iter().map(TurnId::as_str).collect(),
        );
        texts(&mut bytes, self.tags.iter().map(EventTag::as_str).collect());
        texts(
            &mut bytes,
            self.correlation_keys.iter().map(EntityId::as_str).collect(),
        );
        let sets = [
            bits(&self.source_kinds, |&kind| kind as u8),
            bits(&self.destination_kinds, |&kind| kind as u8),
            bits(&self.subject_kinds, |&kind| kind as u8),
            bits(&self.related_kinds, |&kind| kind as u8),
            bits(&self.privacy_classes, |&class| class as u8),
            bits(&self.delivery_semantics, |&semantics| semantics as u8),
        ];
        bytes.extend(sets.iter().flat_map(|set| set.to_le_bytes()));
        bytes
    }

    /// Returns the length of the longest list.
    fn longest_list(&self) -> usize {
        let lengths = [
            self.run_ids.len(),
            self.session_ids.len(),
            self.agent_ids.len(),
            self.turn_ids.len(),
            self.families.len(),
            self.kinds.len(),
            self.tags.len(),
            self.source_kinds.len(),
            self.destination_kinds.len(),
            self.subject_kinds.len(),
            self.related_kinds.len(),
            self.correlation_keys.len(),
            self.privacy_classes.len(),
            self.delivery_semantics.len(),
        ];
        lengths.into_iter().max().unwrap_or(0)
    }
}

/// Returns the listed items as a set, one bit each. The empty set stands for any item.
fn bits<T>(list: &[T], bit: impl Fn(&T) -> u8) -> u32 {
    list.iter().fold(0, |set, item| set | 1 << bit(item))
}

/// Returns whether a set of bits allows this one.
fn bit_allows(set: u32, bit: u8) -> bool {
    set == 0 || set >> bit & 1 == 1
}

/// A filter that was checked and prepared: matching takes a few nanoseconds and looks at no
/// payload. Its JSON is that of its criteria.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "EventFilter", into = "EventFilter")
)]
pub struct CompiledEventFilter {
    /// The queue of a subscription with this filter.
    pub queue: SubscriberQueueConfig,
    /// How much of payloads a subscription with this filter may see.
    pub payload_access: PayloadAccessMode,
    /// What it was compiled from.
    criteria: EventFilter,
    filter_id: EventFilterId,
    fingerprint: FilterFingerprint,
    /// The kinds that can match.
    kinds: KindSet,
    runs: Wanted<RunId>,
    agents: Wanted<AgentId>,
    sessions: Wanted<SessionId>,
    turns: Wanted<TurnId>,
    tags: Wanted<EventTag>,
    correlation_keys: Wanted<EntityId>,
    /// The privacy classes that match, one bit each; 0 for any.
    privacy: u32,
    /// The delivery semantics that match, one bit each; 0 for any.
    semantics: u32,
    /// Whether a field is compared with an envelope's details.
    asks_details: bool,
}

impl CompiledEventFilter {
    fn new(criteria: EventFilter) -> Result<Self, AgentError> {
        let invalid = |message: String| AgentError::new(AgentErrorKind::InvalidFilter, message);
        let longest = criteria.longest_list();
        if longest > MAX_FILTER_LIST {
            return Err(invalid(format!(
                "a field lists {longest} entries, at most {MAX_FILTER_LIST} are allowed; use several \
                 subscriptions, or filter by a tag"
            )));
        }
        let kinds = criteria.kind_set();
        if kinds.is_empty() {
            return Err(invalid(
                "no kind is in its kinds, in its families and, where asked for, terminal; drop one \
                 of these fields"
                    .to_owned(),
            ));
        }
        let fingerprint = FilterFingerprint::from_bits(xxh3_64(&criteria.canonical()));
        Ok(CompiledEventFilter {
            queue: criteria.queue,
            payload_access: criteria.payload_access,
            filter_id: fingerprint.filter_id(),
            fingerprint,
            kinds,
            runs: Wanted::new(&criteria.run_ids),
            agents: Wanted::new(&criteria.agent_ids),
            sessions: Wanted::new(&criteria.session_ids),
            turns: Wanted::new(&criteria.turn_ids),
            tags: Wanted::new(&criteria.tags),
            correlation_keys: Wanted::new(&criteria.correlation_keys),
            privacy: bits(&criteria.privacy_classes, |&class| class as u8),
            semantics: bits(&criteria.delivery_semantics, |&semantics| semantics as u8),
            asks_details: !(criteria.session_ids.is_empty()
                && criteria.turn_ids.is_empty()
                && criteria.tags.is_empty()
                && criteria.source_kinds.is_empty()
                && criteria.destination_kinds.is_empty()
                && criteria.subject_kinds.is_empty()
                && criteria.related_kinds.is_empty()
                && criteria.correlation_keys.is_empty()),
            criteria,
        })
    }

    /// Returns whether an event with this envelope is wanted.
    #[inline]
    pub fn matches_envelope(&self, envelope: &EventEnvelope) -> bool {
        self.kinds.contains(envelope.event_kind)
            && self.runs.allows(&envelope.run_id)
            && self.agents.allows(&envelope.agent_id)
            && bit_allows(self.privacy, envelope.privacy as u8)
            && bit_allows(self.semantics, envelope.delivery_semantics as u8)
            && (!self.asks_details || self.matches_details(envelope))
    }

    /// Returns whether the fields that are compared with an envelope's details accept it.
    fn matches_details(&self, envelope: &EventEnvelope) -> bool {
        fn one<T: PartialEq>(wanted: &[T], found: Option<&T>) -> bool {
            wanted.is_empty() || found.is_some_and(|found| wanted.contains(found))
        }
        fn any<T: PartialEq>(wanted: &[T], mut found: impl Iterator<Item = T>) -> bool {
            wanted.is_empty() || found.any(|found| wanted.contains(&found))
        }
        let criteria = &self.criteria;
        let mut keys = envelope.correlation().iter().map(|pair| &pair.key);
        self.sessions.allows_one(envelope.session_id())
            && self.turns.allows_one(envelope.turn_id())
            && self.tags.allows_any(envelope.tags().iter())
            && self.correlation_keys.allows_any(&mut keys)
            && one(
                &criteria.source_kinds,
                envelope.source().map(|source| &source.kind),
            )
            && one(
                &criteria.destination_kinds,
                envelope.destination().map(|it| &it.kind),
            )
            && one(
                &criteria.subject_kinds,
                envelope.subject().map(|subject| &subject.kind),
            )
            && any(
                &criteria.related_kinds,
                envelope.related().iter().map(|related| related.kind),
            )
    }

    /// Returns the scope of a subscription with this filter, as its cursors name it.
    pub fn cursor_scope(&self) -> EventStreamScope {
        EventStreamScope::Filter {
            filter_id: self.filter_id.clone(),
            filter_fingerprint: self.fingerprint,
        }
    }

    /// Returns the filter's name, derived from its fingerprint.
    pub fn filter_id(&self) -> &EventFilterId {
        &self.filter_id
    }

    /// Returns the hash of the criteria: the same for equal criteria, whatever the order or
    /// repetition in their lists, in every process. Queue and payload access are not part of it.
    pub fn fingerprint(&self) -> FilterFingerprint {
        self.fingerprint
    }

    /// Returns the criteria that it was compiled from.
    pub fn criteria(&self) -> &EventFilter {
        &self.criteria
    }

    /// Returns the kinds that can match.
    pub fn kinds(&self) -> KindSet {
        self.kinds
    }
}

impl TryFrom<EventFilter> for CompiledEventFilter {
    type Error = AgentError;

    fn try_from(criteria: EventFilter) -> Result<Self, AgentError> {
        criteria.compile()
    }
}

impl From<CompiledEventFilter> for EventFilter {
    /// Returns the criteria, with the queue and the payload access as they are now.
    fn from(filter: CompiledEventFilter) -> Self {
        EventFilter {
            queue: filter.queue,
            payload_access: filter.payload_access,
            ..filter.criteria
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(filter: EventFilter) -> CompiledEventFilter {
        filter.compile().unwrap()
    }

    #[test]
    fn a_fingerprint_is_of_the_criteria_and_stable() {
        let ab = EventFilter {
            run_ids: vec!["a".into(), "b".into()],
            ..EventFilter::default()
        };
        let bab = EventFilter {
            run_ids: vec!["b".into(), "a".into(), "b".into()],
            payload_access: PayloadAccessMode::EnvelopeOnly,
            ..EventFilter::default()
        };
        assert_eq!(
            compile(ab.clone()).fingerprint(),
            compile(bab).fingerprint()
        );
        let agents = EventFilter {
            agent_ids: vec!["a".into(), "b".into()],
            ..EventFilter::default()
        };
        assert_ne!(
            compile(ab.clone()).fingerprint(),
            compile(agents).fingerprint()
        );
        let joined = EventFilter {
            run_ids: vec!["ab".into()],
            ..EventFilter::default()
        };
        assert_ne!(
            compile(ab.clone()).fingerprint(),
            compile(joined).fingerprint()
        );
        assert_eq!(compile(ab).fingerprint().to_string(), "2b74f3bce3bc1bd3");
        assert_eq!(
            compile(EventFilter::terminal_run_events())
                .filter_id()
                .as_str(),
            "flt-ad48a015835fe4f5"
        );
    }

    #[test]
    fn what_cannot_match_is_refused() {
        let never = EventFilter {
            kinds: vec![EventKind::ToolStarted],
            terminal_only: true,
            ..EventFilter::default()
        };
        assert_eq!(
            never.compile().unwrap_err().kind(),
            AgentErrorKind::InvalidFilter
        );
        let mut long = EventFilter {
            run_ids: (0..=MAX_FILTER_LIST)
                .map(|n| RunId::new(n.to_string()))
                .collect(),
            ..EventFilter::default()
        };
        let refused = long.clone().compile().unwrap_err().to_string();
        assert!(refused.contains("4097 entries"), "{refused}");
        long.run_ids.pop();
        assert!(long.compile().is_ok(), "4096 entries are allowed");
    }

    #[test]
    fn fields_are_anded_and_lists_are_ored() {
        let filter = compile(EventFilter {
            run_ids: (0..20).map(|n| RunId::new(format!("run-{n}"))).collect(),
            tags: vec!["x".into(), "y".into()],
            privacy_classes: vec![PrivacyClass::Content, PrivacyClass::Secret],
            ..EventFilter::agent("a")
        });
        let envelope = EventEnvelope::new("run-7", "a", EventKind::ModelStreamDelta)
            .with_privacy(PrivacyClass::Content)
            .with_tag("z")
            .with_tag("y");
        assert!(filter.matches_envelope(&envelope));
        for other in [
            EventEnvelope {
                run_id: "run-20".into(),
                ..envelope.clone()
            },
            EventEnvelope {
                agent_id: "b".into(),
                ..envelope.clone()
            },
            EventEnvelope {
                privacy: PrivacyClass::Metadata,
                ..envelope.clone()
            },
            EventEnvelope {
                details: None,
                ..envelope.clone()
            },
        ] {
            assert!(!filter.matches_envelope(&other), "{other:?}");
        }
    }
}
