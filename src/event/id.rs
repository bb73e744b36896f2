//! Ids: eight bytes, cheap to clone, compare and hash.
//!
//! An id is a shared text with its hash, which is computed once, when the id is made. The hash is
//! XXH3-64 of the text: specified, so the same in every process and version.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use triomphe::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What the clones of an id share.
struct IdText {
    hash: u64,
    text: Box<str>,
}

/// Defines id types, all of this shape.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Arc<IdText>);

        impl $name {
            /// An id with this text.
            pub fn new(text: impl Into<String>) -> Self {
                let text = text.into().into_boxed_str();
                $name(Arc::new(IdText { hash: xxh3_64(text.as_bytes()), text }))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0.text
            }

            /// Returns the text's XXH3-64, computed when the id was made.
            #[inline(always)]
            pub fn hash64(&self) -> u64 {
                self.0.hash
            }
        }

        impl PartialEq for $name {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0)
                    || self.0.hash == other.0.hash && self.0.text == other.0.text
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u64(self.0.hash);
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.text.cmp(&other.0.text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0.text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name::new(text)
            }
        }

        impl From<&$name> for $name {
            fn from(id: &$name) -> Self {
                id.clone()
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0.text)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map($name::new)
            }
        }
    )*};
}

ids! {
    /// Names a run.
    RunId,
    /// Names an agent.
    AgentId,
    /// Names an event, if the host names its events. The bus itself orders by sequence number.
    EventId,
    /// Names a turn of a run.
    TurnId,
    /// Names a session, which may span runs.
    SessionId,
    /// Names a message.
    MessageId,
    /// A W3C trace id. [`EventEnvelope::with_trace`](super::EventEnvelope::with_trace) and JSON
    /// accept 32 lower-case hexadecimal digits, not all zero.
    TraceId,
    /// A W3C span id. [`EventEnvelope::with_trace`](super::EventEnvelope::with_trace) and JSON
    /// accept 16 lower-case hexadecimal digits, not all zero.
    SpanId,
    /// Names an entity that an event is about.
    EntityId,
    /// A word that a host puts on its events to filter by.
    EventTag,
    /// A position in a host's journal.
    JournalCursor,
    /// Names a filter. Derived from its fingerprint.
    EventFilterId,
    /// Names an archive.
    ArchiveId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_id_is_its_text() {
        let (a, b) = (RunId::new("run-1"), RunId::from("run-1"));
        assert_eq!(
            (&a, a.as_str(), a.to_string()),
            (&b, "run-1", "run-1".to_owned())
        );
        assert_ne!(a, RunId::new("run-2"));
        assert!(a < RunId::new("run-2"));
        assert!(HashSet::from([a.clone()]).contains(&b));
        assert_eq!(
            a.hash64(),
            0x9065_911b_4ee5_3c08,
            "stable across processes and versions"
        );
        assert_eq!(format!("{a:?}"), "RunId(\"run-1\")");
    }

    #[test]
    fn an_id_is_one_word() {
        assert_eq!(size_of::<Option<RunId>>(), 8);
    }
}
