//! Words of 64 bits that name things: a bus's epoch, a filter's fingerprint.

use super::error::AgentError;
use super::id::EventFilterId;
use std::fmt;
use std::str::FromStr;

/// Defines a word that JSON shows as 16 hexadecimal digits, since a reader of JSON may round a
/// number of 64 bits.
macro_rules! hex_word {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            /// A value with these bits.
            pub const fn from_bits(bits: u64) -> Self {
                $name(bits)
            }

            /// Returns its bits.
            pub const fn bits(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = AgentError;

            /// Reads 16 hexadecimal digits.
            ///
            /// # Errors
            /// [`AgentErrorKind::InvalidValue`](crate::AgentErrorKind::InvalidValue).
            fn from_str(text: &str) -> Result<Self, AgentError> {
                let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                match u64::from_str_radix(text, 16) {
                    Ok(bits) if digits => Ok($name(bits)),
                    _ => Err(AgentError::malformed(text, $what, "16 hexadecimal digits")),
                }
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

hex_word! {
    /// The bus that a sequence number counts in. Each bus has a new one, unless it was reopened
    /// from an archive. 0 means no bus.
    BusEpoch, "the epoch of a bus"
}

hex_word! {
    /// The hash of a filter's criteria: equal for equal criteria in every process.
    FilterFingerprint, "the fingerprint of a filter"
}

impl FilterFingerprint {
    /// Returns the name of a filter with this fingerprint.
    pub(super) fn filter_id(self) -> EventFilterId {
        EventFilterId::new(format!("flt-{self}"))
    }
}
