//! Events: what is published, and how it is shared.
//!
//! A published event is sealed once and shared by all its readers. A [`SharedEvent`] is a reference
//! to it together with an access mode. The payload is reachable only through methods that check the
//! mode, and no method widens it.

use super::cursor::ArchiveCursor;
use super::envelope::{EntityRef, EventEnvelope, PrivacyClass};
use super::hex::BusEpoch;
use super::payload::{EventPayload, PayloadAccessMode, PayloadContent};
use std::fmt;
use std::ops::Deref;
use triomphe::{Arc, UniqueArc};

/// An event that a runtime makes, to publish it.
///
/// ```
/// # use framebus::{AgentEvent, EventEnvelope, EventKind};
/// let envelope = EventEnvelope::new("run-1", "planner", EventKind::ToolFailed);
/// let event = AgentEvent::with_redacted_summary(envelope, "the tool timed out");
/// assert_eq!(event.redacted_summary(), Some("the tool timed out"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AgentEvent {
    /// Everything but the payload.
    pub envelope: EventEnvelope,
    /// The payload.
    #[cfg_attr(feature = "serde", serde(default))]
    pub payload: EventPayload,
}

impl AgentEvent {
    /// An event without a payload.
    pub fn envelope_only(envelope: EventEnvelope) -> Self {
        AgentEvent {
            envelope,
            payload: EventPayload::EnvelopeOnly,
        }
    }

    /// An event with a redacted summary: a text fit for any reader.
    pub fn with_redacted_summary(envelope: EventEnvelope, text: impl Into<String>) -> Self {
        let text = text.into().into_boxed_str();
        let payload = EventPayload::RedactedSummary {
            text,
            references: Box::default(),
        };
        AgentEvent { envelope, payload }
    }

    /// An event with content: bytes of this media type, such as `text/plain`.
    pub fn with_content(
        envelope: EventEnvelope,
        media_type: impl Into<String>,
        bytes: impl Into<std::sync::Arc<[u8]>>,
    ) -> Self {
        let content = PayloadContent {
            media_type: media_type.into().into_boxed_str(),
            bytes: bytes.into(),
            summary: None,
            references: Box::default(),
        };
        AgentEvent {
            envelope,
            payload: EventPayload::Content(Box::new(content)),
        }
    }

    /// Returns the redacted summary.
    pub fn redacted_summary(&self) -> Option<&str> {
        self.payload.redacted_summary()
    }
}

/// The part of a shared event that every reader may read. A [`SharedEvent`] dereferences to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct EnvelopeView {
    /// The envelope.
    pub envelope: EventEnvelope,
}

/// An event as the rings hold it and its readers share it.
#[derive(Debug)]
pub(crate) struct SealedEvent {
    view: EnvelopeView,
    payload: EventPayload,
    /// Its position in an archive, if it was stored before it was published.
    archive_cursor: Option<ArchiveCursor>,
}

impl SealedEvent {
    pub(crate) fn envelope(&self) -> &EventEnvelope {
        &self.view.envelope
    }

    pub(crate) fn archive_cursor(&self) -> Option<&ArchiveCursor> {
        self.archive_cursor.as_ref()
    }

    /// Sets what publishing sets: the sequence number, its epoch, and the kind's family.
    #[inline]
    pub(crate) fn seal(&mut self, sequence: u64, epoch: BusEpoch) {
        let envelope = &mut self.view.envelope;
        envelope.event_seq = sequence;
        envelope.bus_epoch = epoch;
        envelope.event_family = envelope.event_kind.family();
    }

    /// Returns its text, if one pointer leads there: of content, whose summary is further away,
    /// none.
    pub(crate) fn own_text(&self) -> &str {
        match &self.payload {
            EventPayload::RedactedSummary { text, .. } => text,
            _ => "",
        }
    }

    /// The same event with its payload replaced by a text.
    pub(crate) fn summarised(&self, text: String) -> Self {
        let AgentEvent { envelope, payload } =
            AgentEvent::with_redacted_summary(self.view.envelope.clone(), text);
        SealedEvent {
            view: EnvelopeView { envelope },
            payload,
            archive_cursor: self.archive_cursor.clone(),
        }
    }
}

/// A shared event, with an access mode for its payload. Cloning it copies nothing.
///
/// `event.envelope` reads the envelope. Every method that reads the payload checks the access mode,
/// and no field gives it:
///
/// ```compile_fail,E0609
/// # use framebus::*;
/// # let envelope = EventEnvelope::new("r", "a", EventKind::RunStarted);
/// let event = SharedEvent::from(AgentEvent::with_redacted_summary(envelope, "secret"));
/// let payload = &event.restrict(PayloadAccessMode::EnvelopeOnly).payload;
/// ```
///
/// ```
/// # use framebus::*;
/// # let envelope = EventEnvelope::new("r", "a", EventKind::RunStarted);
/// let event = SharedEvent::from(AgentEvent::with_redacted_summary(envelope, "secret"));
/// let seen = event.restrict(PayloadAccessMode::EnvelopeOnly);
/// assert_eq!(seen.envelope.run_id.as_str(), "r");
/// assert_eq!(seen.redacted_summary(), None);
/// assert_eq!(seen.restrict(PayloadAccessMode::PayloadRefs).redacted_summary(), None);
/// ```
#[derive(Clone)]
pub struct SharedEvent {
    sealed: Arc<SealedEvent>,
    access: PayloadAccessMode,
}

impl SharedEvent {
    pub(crate) fn new(sealed: Arc<SealedEvent>, access: PayloadAccessMode) -> Self {
        SharedEvent { sealed, access }
    }

    pub(crate) fn into_parts(self) -> (Arc<SealedEvent>, PayloadAccessMode) {
        (self.sealed, self.access)
    }

    /// Returns what may be seen of the event, borrowed.
    #[inline]
    pub fn view(&self) -> EventView<'_> {
        EventView {
            sealed: &self.sealed,
            access: self.access,
        }
    }

    /// Returns the access mode: how much of the payload may be seen.
    pub fn access(&self) -> PayloadAccessMode {
        self.access
    }

    /// Returns the same event with at most this access. Access is never widened.
    #[must_use = "the event that it returns is restricted, not those that share it"]
    pub fn restrict(mut self, access: PayloadAccessMode) -> Self {
        self.access = self.access.min(access);
        self
    }

    /// Returns the redacted summary, if there is one and it may be seen.
    pub fn redacted_summary(&self) -> Option<&str> {
        self.view().redacted_summary()
    }

    /// Returns what the payload is about, if that may be seen.
    pub fn references(&self) -> &[EntityRef] {
        self.view().references()
    }

    /// Returns the content, if there is some and it may be seen.
    pub fn content(&self) -> Option<&PayloadContent> {
        self.view().content()
    }

    /// Returns a copy of what may be seen of the payload.
    pub fn payload(&self) -> EventPayload {
        if let Some(content) = self.content() {
            return EventPayload::Content(Box::new(content.clone()));
        }
        match (self.redacted_summary(), self.references()) {
            (None, []) => EventPayload::EnvelopeOnly,
            (text, references) => EventPayload::RedactedSummary {
                text: text.unwrap_or_default().into(),
                references: references.into(),
            },
        }
    }

    /// Returns a copy of what may be seen of the event.
    pub fn to_event(&self) -> AgentEvent {
        AgentEvent {
            envelope: self.envelope.clone(),
            payload: self.payload(),
        }
    }

    /// Returns the event to be published again: in its own allocation if it is not shared and all
    /// of it may be seen, otherwise a copy of what may be seen.
    #[inline]
    pub(crate) fn into_unique(
        self,
        archive_cursor: Option<ArchiveCursor>,
    ) -> UniqueArc<SealedEvent> {
        let access = self.access;
        let sealed = match Arc::try_unique(self.sealed) {
            Ok(mut unique) if access == PayloadAccessMode::FullPayloadIfPolicyAllows => {
                // Most often there is none, and nothing has to be written.
                if archive_cursor.is_some() || unique.archive_cursor.is_some() {
                    unique.archive_cursor = archive_cursor;
                }
                return unique;
            }
            Ok(unique) => unique.shareable(),
            Err(sealed) => sealed,
        };
        SharedEvent { sealed, access }.copy(archive_cursor)
    }

    /// Returns the same event with its envelope changed: in its own allocation if it is not shared.
    #[cfg(feature = "archive")]
    pub(crate) fn with_envelope(self, change: impl FnOnce(&mut EventEnvelope)) -> Self {
        let access = self.access;
        let mut unique = self.into_unique(None);
        change(&mut unique.view.envelope);
        SharedEvent {
            sealed: unique.shareable(),
            access,
        }
    }

    /// Returns a copy of what may be seen. With full access that includes secret content, which the
    /// copy's readers can't see either.
    #[cold]
    fn copy(&self, archive_cursor: Option<ArchiveCursor>) -> UniqueArc<SealedEvent> {
        let payload = match self.access {
            PayloadAccessMode::FullPayloadIfPolicyAllows => self.sealed.payload.clone(),
            _ => self.payload(),
        };
        let view = EnvelopeView {
            envelope: self.envelope.clone(),
        };
        UniqueArc::new(SealedEvent {
            view,
            payload,
            archive_cursor,
        })
    }
}

/// What may be seen of an event, borrowed. The only type that checks the access mode.
#[derive(Clone, Copy)]
pub struct EventView<'a> {
    sealed: &'a SealedEvent,
    access: PayloadAccessMode,
}

impl<'a> EventView<'a> {
    pub(crate) fn new(sealed: &'a SealedEvent, access: PayloadAccessMode) -> Self {
        EventView { sealed, access }
    }

    /// Returns the envelope.
    #[inline]
    pub fn envelope(self) -> &'a EventEnvelope {
        &self.sealed.view.envelope
    }

    /// Returns the redacted summary, if there is one and it may be seen.
    pub fn redacted_summary(self) -> Option<&'a str> {
        self.allows(PayloadAccessMode::RedactedSummary)?
            .redacted_summary()
    }

    /// Returns what the payload is about, if that may be seen.
    pub fn references(self) -> &'a [EntityRef] {
        self.allows(PayloadAccessMode::PayloadRefs)
            .map_or(&[], EventPayload::references)
    }

    /// Returns the content, if there is some and it may be seen.
    pub fn content(self) -> Option<&'a PayloadContent> {
        let secret = self.envelope().privacy == PrivacyClass::Secret;
        let payload = self.allows(PayloadAccessMode::FullPayloadIfPolicyAllows)?;
        payload.content().filter(|_| !secret)
    }

    /// Returns the payload if the access mode is at least `needed`.
    fn allows(self, needed: PayloadAccessMode) -> Option<&'a EventPayload> {
        (self.access >= needed).then_some(&self.sealed.payload)
    }
}

impl fmt::Debug for EventView<'_> {
    /// Shows what may be seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventView")
            .field("envelope", self.envelope())
            .field("redacted_summary", &self.redacted_summary())
            .field("references", &self.references())
            .field("content", &self.content())
            .field("access", &self.access)
            .finish()
    }
}

impl Deref for SharedEvent {
    type Target = EnvelopeView;

    #[inline(always)]
    fn deref(&self) -> &EnvelopeView {
        &self.sealed.view
    }
}

impl From<AgentEvent> for SharedEvent {
    fn from(event: AgentEvent) -> Self {
        let AgentEvent { envelope, payload } = event;
        let sealed = SealedEvent {
            view: EnvelopeView { envelope },
            payload,
            archive_cursor: None,
        };
        SharedEvent {
            sealed: Arc::new(sealed),
            access: PayloadAccessMode::default(),
        }
    }
}

impl PartialEq for SharedEvent {
    /// Compares what may be seen of both.
    fn eq(&self, other: &Self) -> bool {
        self.envelope == other.envelope
            && self.redacted_summary() == other.redacted_summary()
            && self.references() == other.references()
            && self.content() == other.content()
    }
}

impl Eq for SharedEvent {}

impl fmt::Debug for SharedEvent {
    /// Shows what may be seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for SharedEvent {
    /// Writes what may be seen.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_event().serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for SharedEvent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AgentEvent::deserialize(deserializer).map(SharedEvent::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    fn event(privacy: PrivacyClass) -> SharedEvent {
        let envelope = EventEnvelope::new("r", "a", EventKind::ToolCompleted).with_privacy(privacy);
        let mut event = AgentEvent::with_content(envelope, "text/plain", *b"all of it");
        if let EventPayload::Content(content) = &mut event.payload {
            content.summary = Some("some of it".into());
            content.references = [(crate::event::EntityKind::ToolCall, "t1").into()].into();
        }
        event.into()
    }

    #[test]
    fn each_mode_shows_what_it_may() {
        let seen = |mode| {
            let event = event(PrivacyClass::Content).restrict(mode);
            let text = format!("{event:?}");
            assert_eq!(
                text.contains("97, 108, 108"),
                event.content().is_some(),
                "{text}"
            );
            assert_eq!(
                text.contains("some of it"),
                event.redacted_summary().is_some(),
                "{text}"
            );
            let seen = (
                event.redacted_summary().is_some(),
                event.references().len(),
                event.content().is_some(),
            );
            let again = event.into_unique(None).shareable();
            let again = SharedEvent::new(again, PayloadAccessMode::default());
            assert_eq!(
                again.content().is_some(),
                seen.2,
                "publishing again widens nothing"
            );
            seen
        };
        assert_eq!(seen(PayloadAccessMode::EnvelopeOnly), (false, 0, false));
        assert_eq!(seen(PayloadAccessMode::RedactedSummary), (true, 0, false));
        assert_eq!(seen(PayloadAccessMode::PayloadRefs), (true, 1, false));
        assert_eq!(
            seen(PayloadAccessMode::FullPayloadIfPolicyAllows),
            (true, 1, true)
        );
        let secret = event(PrivacyClass::Secret);
        assert_eq!(
            (secret.content(), secret.redacted_summary()),
            (None, Some("some of it"))
        );
    }

    #[test]
    fn only_a_copy_with_full_access_keeps_a_secret() {
        let kept = |mode| {
            let event = event(PrivacyClass::Secret).restrict(mode);
            assert_eq!(event.access(), mode);
            // It is shared, so it is copied.
            let again = event.clone().into_unique(None);
            again.payload.content().is_some()
        };
        assert!(kept(PayloadAccessMode::FullPayloadIfPolicyAllows));
        assert!(!kept(PayloadAccessMode::PayloadRefs));
    }

    #[test]
    fn sizes() {
        assert_eq!(size_of::<SharedEvent>(), 16);
        assert!(
            size_of::<SealedEvent>() <= 120,
            "two cache lines with the count"
        );
    }

    #[test]
    fn an_unshared_event_keeps_its_allocation() {
        let event = event(PrivacyClass::Content);
        let address = &raw const *event.sealed;
        assert_eq!(&raw const *event.into_unique(None).shareable(), address);
    }
}
