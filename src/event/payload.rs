//! What an event holds beside its envelope, and how much of it a subscription may see.

use super::envelope::EntityRef;
use std::sync::Arc;

/// How much of payloads a subscription may see. Each mode sees all that the ones before it see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PayloadAccessMode {
    /// Nothing.
    EnvelopeOnly,
    /// Redacted summaries.
    RedactedSummary,
    /// References as well.
    PayloadRefs,
    /// Content as well, unless the envelope's privacy is
    /// [`PrivacyClass::Secret`](super::PrivacyClass::Secret).
    #[default]
    FullPayloadIfPolicyAllows,
}

/// What an event holds beside its envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "type", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EventPayload {
    /// Nothing.
    #[default]
    EnvelopeOnly,
    /// A text fit for any reader, and what it is about.
    RedactedSummary {
        /// The text.
        text: Box<str>,
        /// The entities that it is about.
        #[cfg_attr(
            feature = "serde",
            serde(default, skip_serializing_if = "no_references")
        )]
        references: Box<[EntityRef]>,
    },
    /// Bytes.
    Content(Box<PayloadContent>),
}

/// Bytes with their media type. The bytes are shared by clones, never copied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "wire::Wire", into = "wire::Wire"))]
pub struct PayloadContent {
    /// What the bytes are, such as `text/plain`.
    pub media_type: Box<str>,
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// A text fit for any reader.
    pub summary: Option<Box<str>>,
    /// The entities that it is about.
    pub references: Box<[EntityRef]>,
}

impl PayloadContent {
    /// Returns the bytes as text, if they are UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

impl EventPayload {
    /// Returns the redacted summary, if there is one.
    pub fn redacted_summary(&self) -> Option<&str> {
        match self {
            EventPayload::EnvelopeOnly => None,
            EventPayload::RedactedSummary { text, .. } => Some(text),
            EventPayload::Content(content) => content.summary.as_deref(),
        }
    }

    /// Returns the entities that it is about.
    pub fn references(&self) -> &[EntityRef] {
        match self {
            EventPayload::EnvelopeOnly => &[],
            EventPayload::RedactedSummary { references, .. } => references,
            EventPayload::Content(content) => &content.references,
        }
    }

    /// Returns the content, if there is some.
    pub fn content(&self) -> Option<&PayloadContent> {
        match self {
            EventPayload::Content(content) => Some(content),
            _ => None,
        }
    }
}

#[cfg(feature = "serde")]
pub(super) fn no_references(references: &[EntityRef]) -> bool {
    references.is_empty()
}

#[cfg(feature = "serde")]
mod wire {
    //! Content in JSON: `text` where it is UTF-8, else `base64`.
    use super::{EntityRef, PayloadContent, no_references};
    use base64::prelude::{BASE64_STANDARD, Engine};

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Wire {
        media_type: Box<str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<Box<str>>,
        #[serde(default, skip_serializing_if = "no_references")]
        references: Box<[EntityRef]>,
    }

    impl From<PayloadContent> for Wire {
        fn from(content: PayloadContent) -> Self {
            let text = content.text().map(str::to_owned);
            let base64 = text
                .is_none()
                .then(|| BASE64_STANDARD.encode(&content.bytes));
            let PayloadContent {
                media_type,
                summary,
                references,
                ..
            } = content;
            Wire {
                media_type,
                text,
                base64,
                summary,
                references,
            }
        }
    }

    impl TryFrom<Wire> for PayloadContent {
        type Error = String;

        fn try_from(wire: Wire) -> Result<Self, String> {
            let bytes = match (wire.text, wire.base64) {
                (Some(text), None) => text.into_bytes(),
                (None, Some(base64)) => BASE64_STANDARD
                    .decode(base64)
                    .map_err(|error| format!("content is not base64: {error}"))?,
                _ => return Err("content has either text or base64".to_owned()),
            };
            let Wire {
                media_type,
                summary,
                references,
                ..
            } = wire;
            Ok(PayloadContent {
                media_type,
                bytes: bytes.into(),
                summary,
                references,
            })
        }
    }
}
