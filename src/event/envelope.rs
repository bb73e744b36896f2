//! The envelope: everything of an event but its payload. One cache line.
//!
//! Fields that most events lack (session, tags, trace, ...) are in boxed [`EnvelopeDetails`], which
//! cost a null pointer when all are absent. JSON is flat: details are beside the other fields, and
//! absent ones are left out.

use super::cursor::{EventCursor, EventStreamScope};
use super::error::{AgentError, AgentErrorKind};
use super::hex::BusEpoch;
use super::id::{
    AgentId, EntityId, EventId, EventTag, JournalCursor, MessageId, RunId, SessionId, SpanId,
    TraceId, TurnId,
};
use super::kind::{EventFamily, EventKind};
use super::timestamp::Timestamp;

/// The version of the envelope's JSON.
pub const SCHEMA_VERSION: u16 = 1;

/// How sure a frame's delivery is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum EventDeliverySemantics {
    /// From the live bus, which forgets.
    #[default]
    BestEffortLive,
    /// Durable in a journal before it was published.
    JournalBacked,
    /// Read back from an archive.
    DerivedReplay,
    /// For diagnosis only: the event that it is about is not durable.
    DiagnosticOnly,
}

/// What kind of data an event holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PrivacyClass {
    /// Names, counts and times.
    #[default]
    Metadata,
    /// What a model or a tool said.
    Content,
    /// Content that needs care.
    Sensitive,
    /// Content that no subscriber may see, whatever its payload access.
    Secret,
}

/// The kind of an entity that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[allow(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum EntityKind {
    Run,
    Turn,
    Agent,
    Session,
    Message,
    ModelAttempt,
    ToolCall,
    Approval,
    Hook,
    StreamRule,
    Process,
    Artifact,
    Other,
}

/// An entity that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EntityRef {
    /// The entity's kind.
    pub kind: EntityKind,
    /// The entity's id.
    pub id: EntityId,
}

/// The kind of a party that an event comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[allow(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum EndpointKind {
    Runtime,
    Host,
    User,
    Model,
    Tool,
    Agent,
    Hook,
    Extension,
    Sandbox,
    Telemetry,
    Other,
}

/// A party that an event comes from or goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EndpointRef {
    /// The party's kind.
    pub kind: EndpointKind,
    /// The party's id.
    pub id: EntityId,
}

/// A key and a value by which a host relates events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(missing_docs, reason = "the names say it")]
pub struct Correlation {
    pub key: EntityId,
    pub value: EntityId,
}

/// The fields of an envelope that most events lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[allow(missing_docs, reason = "the accessors of the envelope say it")]
pub struct EnvelopeDetails {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub event_id: Option<EventId>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub session_id: Option<SessionId>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub turn_id: Option<TurnId>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub message_id: Option<MessageId>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub trace_id: Option<TraceId>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub span_id: Option<SpanId>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub parent_event_id: Option<EventId>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub subject: Option<EntityRef>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub related: Vec<EntityRef>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub tags: Vec<EventTag>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub correlation: Vec<Correlation>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub source: Option<EndpointRef>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub destination: Option<EndpointRef>,
}

/// Everything of an event but its payload.
///
/// ```
/// # use framebus::{EventEnvelope, EventKind};
/// let envelope = EventEnvelope::new("run-1", "planner", EventKind::ToolStarted)
///     .with_tag("search")
///     .with_session("session-7");
/// assert_eq!(envelope.tags()[0].as_str(), "search");
/// assert_eq!(size_of::<EventEnvelope>(), 64);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "wire::Wire", into = "wire::Wire"))]
#[must_use = "`with_...` returns the envelope that is changed"]
pub struct EventEnvelope {
    /// The event's sequence number in its bus, from 1; 0 before it is published. Publishing sets
    /// it.
    pub event_seq: u64,
    /// The bus that the sequence number counts in. Publishing sets it.
    pub bus_epoch: BusEpoch,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The run that it belongs to.
    pub run_id: RunId,
    /// The agent that it belongs to.
    pub agent_id: AgentId,
    /// Its position in the host's journal, if it has one.
    pub journal_cursor: Option<JournalCursor>,
    /// The fields that most events lack; `None` if all are absent.
    pub details: Option<Box<EnvelopeDetails>>,
    /// The version of the envelope's JSON; [`SCHEMA_VERSION`] for a new envelope.
    pub schema_version: u16,
    /// What happened.
    pub event_kind: EventKind,
    /// The kind's family. Publishing sets it by the kind.
    pub event_family: EventFamily,
    /// How sure its delivery is.
    pub delivery_semantics: EventDeliverySemantics,
    /// What kind of data it holds.
    pub privacy: PrivacyClass,
}

impl EventEnvelope {
    /// An envelope for an event that happens now, everything else at its default.
    pub fn new(run_id: impl Into<RunId>, agent_id: impl Into<AgentId>, kind: EventKind) -> Self {
        EventEnvelope {
            event_seq: 0,
            bus_epoch: BusEpoch::default(),
            timestamp: Timestamp::now(),
            run_id: run_id.into(),
            agent_id: agent_id.into(),
            journal_cursor: None,
            details: None,
            schema_version: SCHEMA_VERSION,
            event_kind: kind,
            event_family: kind.family(),
            delivery_semantics: EventDeliverySemantics::default(),
            privacy: PrivacyClass::default(),
        }
    }

    /// Returns the position after this event, for a scope.
    #[inline]
    pub fn cursor(&self, scope: EventStreamScope) -> EventCursor {
        EventCursor {
            scope,
            event_seq: self.event_seq,
            bus_epoch: self.bus_epoch,
            journal_cursor: self.journal_cursor.clone(),
        }
    }

    /// Sets the time.
    pub fn with_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets the position in the host's journal.
    pub fn with_journal_cursor(mut self, cursor: impl Into<JournalCursor>) -> Self {
        self.journal_cursor = Some(cursor.into());
        self
    }

    /// Sets how sure its delivery is.
    pub fn with_delivery_semantics(mut self, semantics: EventDeliverySemantics) -> Self {
        self.delivery_semantics = semantics;
        self
    }

    /// Sets the privacy class.
    pub fn with_privacy(mut self, privacy: PrivacyClass) -> Self {
        self.privacy = privacy;
        self
    }

    /// Sets the W3C trace and span ids.
    ///
    /// # Errors
    /// [`AgentErrorKind::InvalidValue`] unless they are 32 and 16 lower-case hexadecimal digits,
    /// not all zero.
    pub fn with_trace(
        self,
        trace_id: impl Into<TraceId>,
        span_id: impl Into<SpanId>,
    ) -> Result<Self, AgentError> {
        let (trace_id, span_id) = (trace_id.into(), span_id.into());
        check_w3c("trace id", trace_id.as_str(), 32)?;
        check_w3c("span id", span_id.as_str(), 16)?;
        Ok(self.detailed(|details| {
            details.trace_id = Some(trace_id);
            details.span_id = Some(span_id);
        }))
    }

    /// Sets details.
    fn detailed(mut self, set: impl FnOnce(&mut EnvelopeDetails)) -> Self {
        set(self.details.get_or_insert_default());
        self
    }
}

/// Returns an error unless `text` is that many lower-case hexadecimal digits, not all zero.
fn check_w3c(what: &str, text: &str, digits: usize) -> Result<(), AgentError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == digits && text.bytes().all(is_digit) && text.bytes().any(|byte| byte != b'0') {
        return Ok(());
    }
    let message = format!("a {what} is {digits} lower-case hexadecimal digits, not all zero");
    Err(AgentError::new(AgentErrorKind::InvalidValue, message))
}

/// Defines an accessor and a setter for each optional detail.
macro_rules! details {
    ($(#[$doc:meta] $get:ident $with:ident $field:ident: $type:ty;)*) => {
        impl EventEnvelope {$(
            #[$doc]
            pub fn $get(&self) -> Option<&$type> {
                self.details.as_ref()?.$field.as_ref()
            }

            /// Sets it.
            pub fn $with(self, value: impl Into<$type>) -> Self {
                let value = value.into();
                self.detailed(|details| details.$field = Some(value))
            }
        )*}
    };
}

details! {
    /// The id that the host gave the event. The bus needs none: epoch and sequence number name it.
    event_id with_event_id event_id: EventId;
    /// The session, which may span runs.
    session_id with_session session_id: SessionId;
    /// The turn.
    turn_id with_turn turn_id: TurnId;
    /// The message.
    message_id with_message message_id: MessageId;
    /// The event that caused this one.
    parent_event_id with_parent_event parent_event_id: EventId;
    /// The entity that the event is about.
    subject with_subject subject: EntityRef;
    /// The party that it comes from.
    source with_source source: EndpointRef;
    /// The party that it goes to.
    destination with_destination destination: EndpointRef;
}

/// Defines an accessor and an adder for each list of details.
macro_rules! lists {
    ($(#[$doc:meta] $get:ident $with:ident $type:ty;)*) => {
        impl EventEnvelope {$(
            #[$doc]
            pub fn $get(&self) -> &[$type] {
                self.details.as_ref().map_or(&[], |details| &details.$get)
            }

            /// Adds one.
            pub fn $with(self, value: impl Into<$type>) -> Self {
                let value = value.into();
                self.detailed(|details| details.$get.push(value))
            }
        )*}
    };
}

lists! {
    /// Other entities that the event is about.
    related with_related EntityRef;
    /// Words to filter by.
    tags with_tag EventTag;
    /// Keys and values by which a host relates events.
    correlation with_correlation Correlation;
}

impl EventEnvelope {
    /// Returns the W3C trace id, if there is one.
    pub fn trace_id(&self) -> Option<&TraceId> {
        self.details.as_ref()?.trace_id.as_ref()
    }

    /// Returns the W3C span id, if there is one.
    pub fn span_id(&self) -> Option<&SpanId> {
        self.details.as_ref()?.span_id.as_ref()
    }
}

/// Lets a pair of a kind and an id stand for a reference.
macro_rules! references {
    ($($reference:ident $kind:ident,)*) => {$(
        impl<I: Into<EntityId>> From<($kind, I)> for $reference {
            fn from((kind, id): ($kind, I)) -> Self {
                $reference { kind, id: id.into() }
            }
        }
    )*};
}

references! { EntityRef EntityKind, EndpointRef EndpointKind, }

impl<K: Into<EntityId>, V: Into<EntityId>> From<(K, V)> for Correlation {
    fn from((key, value): (K, V)) -> Self {
        Correlation {
            key: key.into(),
            value: value.into(),
        }
    }
}

#[cfg(feature = "serde")]
mod wire {
    //! The envelope in JSON: flat.
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Wire {
        #[serde(default = "schema_version")]
        schema_version: u16,
        #[serde(default)]
        event_seq: u64,
        #[serde(default)]
        bus_epoch: BusEpoch,
        event_kind: EventKind,
        #[serde(default)]
        event_family: Option<EventFamily>,
        timestamp: Timestamp,
        run_id: RunId,
        agent_id: AgentId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        journal_cursor: Option<JournalCursor>,
        #[serde(default)]
        delivery_semantics: EventDeliverySemantics,
        #[serde(default)]
        privacy: PrivacyClass,
        #[serde(flatten)]
        details: EnvelopeDetails,
    }

    fn schema_version() -> u16 {
        SCHEMA_VERSION
    }

    impl From<EventEnvelope> for Wire {
        fn from(envelope: EventEnvelope) -> Self {
            Wire {
                schema_version: envelope.schema_version,
                event_seq: envelope.event_seq,
                bus_epoch: envelope.bus_epoch,
                event_kind: envelope.event_kind,
                event_family: Some(envelope.event_family),
                timestamp: envelope.timestamp,
                run_id: envelope.run_id,
                agent_id: envelope.agent_id,
                journal_cursor: envelope.journal_cursor,
                delivery_semantics: envelope.delivery_semantics,
                privacy: envelope.privacy,
                details: envelope
                    .details
                    .map_or_else(Default::default, |details| *details),
            }
        }
    }

    impl TryFrom<Wire> for EventEnvelope {
        type Error = AgentError;

        fn try_from(wire: Wire) -> Result<Self, AgentError> {
            let family = wire.event_kind.family();
            if wire.event_family.is_some_and(|given| given != family) {
                let message = format!("{} is of the family {family}", wire.event_kind);
                return Err(AgentError::new(AgentErrorKind::InvalidValue, message));
            }
            if let Some(trace_id) = &wire.details.trace_id {
                check_w3c("trace id", trace_id.as_str(), 32)?;
            }
            if let Some(span_id) = &wire.details.span_id {
                check_w3c("span id", span_id.as_str(), 16)?;
            }
            let details = wire.details;
            Ok(EventEnvelope {
                event_seq: wire.event_seq,
                bus_epoch: wire.bus_epoch,
                timestamp: wire.timestamp,
                run_id: wire.run_id,
                agent_id: wire.agent_id,
                journal_cursor: wire.journal_cursor,
                details: (details != EnvelopeDetails::default()).then(|| Box::new(details)),
                schema_version: wire.schema_version,
                event_kind: wire.event_kind,
                event_family: family,
                delivery_semantics: wire.delivery_semantics,
                privacy: wire.privacy,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_a_cache_line() {
        assert_eq!(size_of::<EventEnvelope>(), 64);
    }

    #[test]
    fn trace_ids_are_checked() {
        let envelope = EventEnvelope::new("r", "a", EventKind::RunStarted);
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let traced = envelope.clone().with_trace(trace, span).unwrap();
        assert_eq!(traced.trace_id().unwrap().as_str(), trace);
        assert_eq!(traced.span_id().unwrap().as_str(), span);
        for (trace, span) in [
            (span, span),
            (trace, "B7AD6B7169203331"),
            ("0".repeat(32).as_str(), span),
        ] {
            let error = envelope.clone().with_trace(trace, span).unwrap_err();
            assert_eq!(error.kind(), AgentErrorKind::InvalidValue);
        }
    }
}
