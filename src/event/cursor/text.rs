//! Cursors as text. Each value has exactly one text.
//!
//! | value | text |
//! | --- | --- |
//! | `EventCursor` | `EPOCH-SCOPE-SEQUENCE`, and `@JOURNAL` if it has a journal cursor |
//! | its scope | `all`, `run:ID`, `agent:ID`, a filter's `FINGERPRINT` |
//! | the scope of a filter with a name of its own | `filter:ID:FINGERPRINT` |
//! | `ArchiveCursor` | `ARCHIVE:POSITION` |
//! | `BusEpoch`, `FilterFingerprint` | 16 hexadecimal digits |
//!
//! Ids are percent-encoded: letters, digits and `-._~` stand for themselves, so a text fits in a
//! header, a file name and, where `%` and `:` are encoded once more, a query. Sequences end at the
//! last `-`, so ids may contain it.

use super::{ArchiveCursor, EventCursor, EventStreamScope};
use crate::event::{AgentError, ArchiveId, FilterFingerprint};
use std::fmt;
use std::str::FromStr;

/// Writes an id percent-encoded.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(byte))?,
                _ if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// Decodes percent-encoded text, also where [`Encoded`] would have written a byte as itself. `None`
/// if it is malformed.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut id = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        id.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            _ => byte,
        });
    }
    String::from_utf8(id).ok()
}

/// The text of a scope.
struct ScopeText<'a>(&'a EventStreamScope);

impl fmt::Display for ScopeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EventStreamScope::All => f.write_str("all"),
            EventStreamScope::Run(id) => write!(f, "run:{}", Encoded(id.as_str())),
            EventStreamScope::Agent(id) => write!(f, "agent:{}", Encoded(id.as_str())),
            EventStreamScope::Filter {
                filter_id: id,
                filter_fingerprint,
            } if *id == filter_fingerprint.filter_id() => filter_fingerprint.fmt(f),
            EventStreamScope::Filter {
                filter_id,
                filter_fingerprint,
            } => {
                let id = Encoded(filter_id.as_str());
                write!(f, "filter:{id}:{filter_fingerprint}")
            }
        }
    }
}

/// Reads a scope's text; `None` if it is malformed.
fn scope(text: &str) -> Option<EventStreamScope> {
    Some(match text.split_once(':') {
        None if text == "all" => EventStreamScope::All,
        None => {
            let filter_fingerprint: FilterFingerprint = text.parse().ok()?;
            EventStreamScope::Filter {
                filter_id: filter_fingerprint.filter_id(),
                filter_fingerprint,
            }
        }
        Some(("run", id)) => EventStreamScope::Run(decoded(id)?.into()),
        Some(("agent", id)) => EventStreamScope::Agent(decoded(id)?.into()),
        Some(("filter", filter)) => {
            let (id, fingerprint) = filter.split_once(':')?;
            EventStreamScope::Filter {
                filter_id: decoded(id)?.into(),
                filter_fingerprint: fingerprint.parse().ok()?,
            }
        }
        Some(_) => return None,
    })
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = ScopeText(&self.scope);
        write!(f, "{}-{scope}-{}", self.bus_epoch, self.event_seq)?;
        match &self.journal_cursor {
            Some(journal) => write!(f, "@{}", Encoded(journal.as_str())),
            None => Ok(()),
        }
    }
}

/// Reads a cursor's text, also in a form that it is not written in; `None` if it is malformed.
fn event_cursor(text: &str) -> Option<EventCursor> {
    let (position, journal) = match text.split_once('@') {
        Some((position, journal)) => (position, Some(decoded(journal)?.into())),
        None => (text, None),
    };
    let (epoch, rest) = position.split_once('-')?;
    let (scope_text, sequence) = rest.rsplit_once('-')?;
    Some(EventCursor {
        scope: scope(scope_text)?,
        event_seq: sequence.parse().ok()?,
        bus_epoch: epoch.parse().ok()?,
        journal_cursor: journal,
    })
}

impl FromStr for EventCursor {
    type Err = AgentError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, AgentError> {
        // Text in another form, such as with leading zeros, is refused: each cursor has one text.
        let cursor = event_cursor(text).filter(|cursor| cursor.to_string() == text);
        cursor.ok_or_else(|| {
            let form = "EPOCH-SCOPE-SEQUENCE as a cursor is written, such as \
                        00000000000000a7-run:run-1-17";
            AgentError::malformed(text, "a cursor", form)
        })
    }
}

impl fmt::Display for ArchiveCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Encoded(self.archive_id.as_str()), self.position)
    }
}

/// Reads a cursor's text, also in a form that it is not written in; `None` if it is malformed.
fn archive_cursor(text: &str) -> Option<ArchiveCursor> {
    let (id, position) = text.split_once(':')?;
    Some(ArchiveCursor {
        archive_id: ArchiveId::new(decoded(id)?),
        position: position.parse().ok()?,
    })
}

impl FromStr for ArchiveCursor {
    type Err = AgentError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, AgentError> {
        let cursor = archive_cursor(text).filter(|cursor| cursor.to_string() == text);
        cursor.ok_or_else(|| {
            let form = "ARCHIVE:POSITION as a cursor is written, such as archive-1:17";
            AgentError::malformed(text, "an archive's cursor", form)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AgentErrorKind, BusEpoch};
    use proptest::prelude::*;

    fn cursor(scope: EventStreamScope) -> EventCursor {
        EventCursor {
            scope,
            event_seq: 17,
            bus_epoch: BusEpoch::from_bits(0xabc),
            journal_cursor: None,
        }
    }

    fn filter(id: &str, fingerprint: u64) -> EventStreamScope {
        EventStreamScope::Filter {
            filter_id: id.into(),
            filter_fingerprint: FilterFingerprint::from_bits(fingerprint),
        }
    }

    #[test]
    fn a_cursor_has_one_text() {
        let texts = [
            (EventStreamScope::All, "0000000000000abc-all-17"),
            (
                EventStreamScope::Run("run-1".into()),
                "0000000000000abc-run:run-1-17",
            ),
            (
                EventStreamScope::Agent("a/b:ü%".into()),
                "0000000000000abc-agent:a%2Fb%3A%C3%BC%25-17",
            ),
            (
                filter("flt-ffffffffffffffff", u64::MAX),
                "0000000000000abc-ffffffffffffffff-17",
            ),
            (
                filter("mine", 5),
                "0000000000000abc-filter:mine:0000000000000005-17",
            ),
        ];
        for (scope, text) in texts {
            let cursor = cursor(scope);
            assert_eq!(cursor.to_string(), text);
            assert_eq!(text.parse::<EventCursor>().unwrap(), cursor);
            let durable = EventCursor {
                journal_cursor: Some("j@7".into()),
                ..cursor
            };
            assert_eq!(durable.to_string(), format!("{text}@j%407"));
            assert_eq!(durable.to_string().parse::<EventCursor>().unwrap(), durable);
        }
    }

    #[test]
    fn a_malformed_text_is_refused_with_the_expected_form() {
        let wrong = [
            "",
            "17",
            "-",
            "@",
            "0000000000000abc-ffffffffffffffff",
            "abc-ffffffffffffffff-17",
            "0000000000000abc-ffffffffffffffff-017",
            "0000000000000abc-ffffffffffffffff-+17",
            "0000000000000abc-ffffffffffffffff-17-1",
            "0000000000000ABC-ffffffffffffffff-17",
            "0000000000000abc-ffffffffffffffff-18446744073709551616",
            "0000000000000abc-filter:flt-0000000000000005:0000000000000005-17",
            "0000000000000abc-run:%7e-17",
            "0000000000000abc-run:%ff-17",
            "0000000000000abc-run:%-17",
            "0000000000000abc-run:a%4-17",
            "0000000000000abc-run:%41-17",
            "0000000000000abc-run:a b-17",
            "0000000000000abc-session:s-17",
            "0000000000000abc-all-17@j@k",
            "archive-1:17",
        ];
        for text in wrong {
            let error = text.parse::<EventCursor>().expect_err(text);
            assert_eq!(error.kind(), AgentErrorKind::InvalidValue);
            assert!(error.message().contains("EPOCH-SCOPE-SEQUENCE"), "{error}");
        }
        for text in ["", ":", "a", "a:", "a:-1", "a:01", "a b:1", "a:b:1"] {
            let error = text.parse::<ArchiveCursor>().expect_err(text);
            assert_eq!(error.kind(), AgentErrorKind::InvalidValue);
            assert!(error.message().contains("ARCHIVE:POSITION"), "{error}");
        }
        let long = "ü".repeat(100_000).parse::<EventCursor>().unwrap_err();
        assert!(long.message().len() < 400, "an error is short: {long}");
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_from_its_text(
            which in 0..5,
            id in any::<String>(),
            journal in proptest::option::of(any::<String>()),
            fingerprint in any::<u64>(),
            epoch in any::<u64>(),
            event_seq in any::<u64>(),
        ) {
            let scope = match which {
                0 => EventStreamScope::All,
                1 => EventStreamScope::Run(id.as_str().into()),
                2 => EventStreamScope::Agent(id.as_str().into()),
                3 => filter(&id, fingerprint),
                _ => filter(&format!("flt-{fingerprint:016x}"), fingerprint),
            };
            let cursor = EventCursor {
                scope,
                event_seq,
                bus_epoch: BusEpoch::from_bits(epoch),
                journal_cursor: journal.map(Into::into),
            };
            let text = cursor.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            prop_assert!(text.parse::<ArchiveCursor>().is_err(), "{text}");
            prop_assert_eq!(text.parse::<EventCursor>().unwrap(), cursor);
            let archived = ArchiveCursor { archive_id: id.into(), position: event_seq };
            prop_assert_eq!(archived.to_string().parse::<ArchiveCursor>().unwrap(), archived);
        }
    }
}
