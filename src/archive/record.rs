//! A frame in bytes: the types that postcard writes and reads, borrowed from the event or from the
//! bytes.
//!
//! Kinds and classes are written as numbers. The test of the pinned bytes in `block/tests.rs` fails
//! when one of them, or the form, changes: then the form's version must change, too.

use crate::event::{
    EndpointKind, EntityKind, EntityRef, EnvelopeDetails, EventDeliverySemantics, EventKind,
    EventPayload, EventView, PayloadContent, PrivacyClass,
};
use serde::{Deserialize, Serialize};

/// The names of a block's runs and agents. Records refer to them by index.
#[derive(Serialize, Deserialize)]
pub(super) struct NameTable<'a> {
    #[serde(borrow)]
    pub(super) runs: Vec<&'a str>,
    #[serde(borrow)]
    pub(super) agents: Vec<&'a str>,
}

/// A frame, without its sequence number and without what its block holds once for all frames.
#[derive(Serialize, Deserialize)]
pub(super) struct Record<'a> {
    /// The index of its run in the block's name table.
    pub(super) run: u32,
    /// The index of its agent in the block's name table.
    pub(super) agent: u32,
    /// Microseconds after the block's first frame.
    pub(super) after: i64,
    pub(super) schema_version: u16,
    pub(super) kind: EventKind,
    pub(super) semantics: EventDeliverySemantics,
    pub(super) privacy: PrivacyClass,
    #[serde(borrow)]
    pub(super) journal: Journal<'a>,
    #[serde(borrow)]
    pub(super) details: Option<Details<'a>>,
    #[serde(borrow)]
    pub(super) payload: Payload<'a>,
}

/// A frame's journal cursor.
#[derive(Serialize, Deserialize)]
pub(super) enum Journal<'a> {
    /// It has none.
    None,
    /// This archive is the journal: the frame's own position.
    Here,
    /// A cursor of the host's journal.
    Elsewhere(&'a str),
}

/// An envelope's details.
#[derive(Serialize, Deserialize)]
pub(super) struct Details<'a> {
    /// The ids of event, session, turn, message, trace, span and parent event.
    #[serde(borrow)]
    ids: [Option<&'a str>; 7],
    subject: Option<(EntityKind, &'a str)>,
    related: Vec<(EntityKind, &'a str)>,
    tags: Vec<&'a str>,
    correlation: Vec<(&'a str, &'a str)>,
    source: Option<(EndpointKind, &'a str)>,
    destination: Option<(EndpointKind, &'a str)>,
}

/// What is stored of an event's payload.
#[derive(Serialize, Deserialize)]
pub(super) enum Payload<'a> {
    /// Nothing.
    None,
    /// The redacted summary and the references.
    Summary(&'a str, #[serde(borrow)] Vec<(EntityKind, &'a str)>),
    /// All of it.
    Content {
        media_type: &'a str,
        #[serde(serialize_with = "as_bytes")]
        bytes: &'a [u8],
        summary: Option<&'a str>,
        #[serde(borrow)]
        references: Vec<(EntityKind, &'a str)>,
    },
}

/// Writes bytes as one piece: serde would write a slice byte by byte, in the same form.
fn as_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn pairs(references: &[EntityRef]) -> Vec<(EntityKind, &str)> {
    references
        .iter()
        .map(|it| (it.kind, it.id.as_str()))
        .collect()
}

fn references<R: FromIterator<EntityRef>>(pairs: &[(EntityKind, &str)]) -> R {
    pairs.iter().map(|&pair| EntityRef::from(pair)).collect()
}

impl<'a> Payload<'a> {
    /// Returns what is stored of an event's payload, if content is kept up to the class `keeps`.
    pub(super) fn of(event: EventView<'a>, keeps: PrivacyClass) -> Self {
        let references = pairs(event.references());
        let may_keep = event.envelope().privacy <= keeps;
        match (event.content(), event.redacted_summary()) {
            (Some(content), summary) if may_keep => Payload::Content {
                media_type: &content.media_type,
                bytes: &content.bytes,
                summary,
                references,
            },
            (_, None) if references.is_empty() => Payload::None,
            (_, summary) => Payload::Summary(summary.unwrap_or_default(), references),
        }
    }

    /// Returns how many bytes its text or its content takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Summary(text, _) => text.len(),
            Payload::Content { bytes, .. } => bytes.len(),
        }
    }

    /// Returns the payload.
    pub(super) fn to_event(&self) -> EventPayload {
        match self {
            Payload::None => EventPayload::EnvelopeOnly,
            Payload::Summary(text, pairs) => EventPayload::RedactedSummary {
                text: (*text).into(),
                references: references(pairs),
            },
            Payload::Content {
                media_type,
                bytes,
                summary,
                references: pairs,
            } => EventPayload::Content(Box::new(PayloadContent {
                media_type: (*media_type).into(),
                bytes: (*bytes).into(),
                summary: summary.map(Into::into),
                references: references(pairs),
            })),
        }
    }
}

impl<'a> Details<'a> {
    /// Returns the details, borrowed.
    pub(super) fn of(details: &'a EnvelopeDetails) -> Self {
        let entity = |it: &'a EntityRef| (it.kind, it.id.as_str());
        Details {
            ids: [
                details.event_id.as_ref().map(|id| id.as_str()),
                details.session_id.as_ref().map(|id| id.as_str()),
                details.turn_id.as_ref().map(|id| id.as_str()),
                details.message_id.as_ref().map(|id| id.as_str()),
                details.trace_id.as_ref().map(|id| id.as_str()),
                details.span_id.as_ref().map(|id| id.as_str()),
                details.parent_event_id.as_ref().map(|id| id.as_str()),
            ],
            subject: details.subject.as_ref().map(entity),
            related: pairs(&details.related),
            tags: details.tags.iter().map(|tag| tag.as_str()).collect(),
            correlation: details
                .correlation
                .iter()
                .map(|pair| (pair.key.as_str(), pair.value.as_str()))
                .collect(),
            source: details.source.as_ref().map(|it| (it.kind, it.id.as_str())),
            destination: details
                .destination
                .as_ref()
                .map(|it| (it.kind, it.id.as_str())),
        }
    }

    /// Returns the details, owned.
    pub(super) fn to_details(&self) -> EnvelopeDetails {
        let [event, session, turn, message, trace, span, parent] = self.ids;
        EnvelopeDetails {
            event_id: event.map(Into::into),
            session_id: session.map(Into::into),
            turn_id: turn.map(Into::into),
            message_id: message.map(Into::into),
            trace_id: trace.map(Into::into),
            span_id: span.map(Into::into),
            parent_event_id: parent.map(Into::into),
            subject: self.subject.map(Into::into),
            related: references(&self.related),
            tags: self.tags.iter().map(|&tag| tag.into()).collect(),
            correlation: self.correlation.iter().map(|&pair| pair.into()).collect(),
            source: self.source.map(Into::into),
            destination: self.destination.map(Into::into),
        }
    }
}
