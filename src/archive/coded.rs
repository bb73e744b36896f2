//! Enumerations as numbers: a number that only a later version knows is kept.

use crate::event::{EndpointKind, EntityKind, EventDeliverySemantics, EventKind, PrivacyClass};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;

/// An enumeration whose values are stored as their places in this list, which only grows.
pub(super) trait Numbered: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    /// Returns its place in the list.
    fn number(self) -> u32;
}

macro_rules! numbered {
    ($type:ident: $($value:ident)*) => {
        impl Numbered for $type {
            const ALL: &'static [Self] = &[$($type::$value),*];

            fn number(self) -> u32 {
                self as u32
            }
        }
    };
}

impl Numbered for EventKind {
    const ALL: &'static [Self] = EventKind::ALL;

    fn number(self) -> u32 {
        self as u32
    }
}

numbered!(EventDeliverySemantics: BestEffortLive JournalBacked DerivedReplay DiagnosticOnly);
numbered!(PrivacyClass: Metadata Content Sensitive Secret);
numbered!(EntityKind: Run Turn Agent Session Message ModelAttempt ToolCall Approval Hook StreamRule
    Process Artifact Other);
numbered!(EndpointKind: Runtime Host User Model Tool Agent Hook Extension Sandbox Telemetry Other);

/// A value as it is stored. Its bytes are those of serde's enumerations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coded<T> {
    number: u32,
    of: PhantomData<T>,
}

impl<T: Numbered> Coded<T> {
    /// Returns the value; `None` if only a later version knows it.
    pub(super) fn get(self) -> Option<T> {
        T::ALL.get(self.number as usize).copied()
    }

    /// Returns its number.
    pub(super) fn number(self) -> u32 {
        self.number
    }
}

impl<T: Numbered> From<T> for Coded<T> {
    fn from(value: T) -> Self {
        Coded {
            number: value.number(),
            of: PhantomData,
        }
    }
}

impl<T> Serialize for Coded<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number)
    }
}

impl<'de, T> Deserialize<'de> for Coded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Coded {
            number: u32::deserialize(deserializer)?,
            of: PhantomData,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: Numbered + Serialize + std::fmt::Debug>() {
        for (place, &value) in T::ALL.iter().enumerate() {
            let coded = Coded::from(value);
            assert_eq!((coded.number(), coded.get()), (place as u32, Some(value)));
            let bytes = postcard::to_allocvec(&value).unwrap();
            assert_eq!(postcard::to_allocvec(&coded).unwrap(), bytes);
        }
        let number = T::ALL.len() as u32;
        let later: Coded<T> =
            postcard::from_bytes(&postcard::to_allocvec(&number).unwrap()).unwrap();
        assert_eq!((later.number(), later.get()), (number, None));
    }

    #[test]
    fn each_value_has_the_bytes_of_serde_s_and_later_ones_are_kept() {
        all::<EventKind>();
        all::<EventDeliverySemantics>();
        all::<PrivacyClass>();
        all::<EntityKind>();
        all::<EndpointKind>();
    }
}
