//! What a request asks for: parameters, and the position to resume from.
//!
//! A position in text is `EPOCH-FILTER-NUMBER`: the bus, the fingerprint of what was asked for, and
//! the number of the last frame. It is an [`EventCursor`] without the journal's part.

use super::refusal::Refusal;
use crate::event::{
    AgentId, BusEpoch, CompiledEventFilter, EventCursor, EventKind, FilterFingerprint, RunId,
};
use axum::extract::Query;
use axum::http::request::Parts;
use std::fmt;
use std::str::FromStr;

/// What a request asks for. An empty list asks nothing.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) runs: Vec<RunId>,
    pub(super) agents: Vec<AgentId>,
    pub(super) kinds: Vec<EventKind>,
    pub(super) after: Option<Position>,
}

impl Wish {
    pub(super) fn read(request: &Parts) -> Result<Self, Refusal> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&request.uri)
            .map_err(|error| Refusal::Malformed(error.body_text()))?;
        let mut wish = Wish::default();
        for (name, value) in query.0 {
            match name.as_str() {
                "run" => wish.runs.push(value.into()),
                "agent" => wish.agents.push(value.into()),
                "kind" => wish.kinds.push(value.parse()?),
                "after" => wish.after = Some(value.parse()?),
                _ => {
                    return Err(Refusal::Malformed(format!(
                        "there is no parameter {name:?}; use run, agent, kind and after"
                    )));
                }
            }
        }
        // A browser sends the newest position in the header; the address is that of its first try.
        if let Some(last) = request
            .headers
            .get("last-event-id")
            .filter(|id| !id.is_empty())
        {
            let last = last.to_str().map_err(|_| Refusal::position("not ASCII"))?;
            wish.after = Some(last.parse()?);
        }
        Ok(wish)
    }
}

/// The position after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) epoch: BusEpoch,
    pub(super) filter: FilterFingerprint,
    pub(super) sequence: u64,
}

impl Position {
    /// The position of a cursor for what bears this fingerprint.
    pub(super) fn of(cursor: &EventCursor, filter: FilterFingerprint) -> Self {
        Position {
            epoch: cursor.bus_epoch,
            filter,
            sequence: cursor.event_seq,
        }
    }

    /// The cursor, if it is one for this filter.
    pub(super) fn cursor(self, filter: &CompiledEventFilter) -> Result<EventCursor, Refusal> {
        if self.filter != filter.fingerprint() {
            return Err(Refusal::OtherScope);
        }
        Ok(EventCursor {
            scope: filter.cursor_scope(),
            event_seq: self.sequence,
            bus_epoch: self.epoch,
            journal_cursor: None,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.epoch, self.filter, self.sequence)
    }
}

impl FromStr for Position {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::position(text);
        let mut parts = text.split('-');
        let mut word = || parts.next().ok_or_else(malformed);
        let (epoch, filter, sequence) = (word()?, word()?, word()?);
        let position = Position {
            epoch: BusEpoch::from_bits(u64::from_str_radix(epoch, 16).map_err(|_| malformed())?),
            filter: FilterFingerprint::from_bits(
                u64::from_str_radix(filter, 16).map_err(|_| malformed())?,
            ),
            sequence: sequence.parse().map_err(|_| malformed())?,
        };
        // One text for each position.
        if position.to_string() == text {
            Ok(position)
        } else {
            Err(malformed())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_text() {
        let position = Position {
            epoch: BusEpoch::from_bits(0xabc),
            filter: FilterFingerprint::from_bits(u64::MAX),
            sequence: 17,
        };
        let text = "0000000000000abc-ffffffffffffffff-17";
        assert_eq!(position.to_string(), text);
        assert_eq!(text.parse::<Position>().unwrap(), position);
        let wrong = [
            "",
            "17",
            "0000000000000abc-ffffffffffffffff",
            "abc-ffffffffffffffff-17",
            "0000000000000abc-ffffffffffffffff-017",
            "0000000000000abc-ffffffffffffffff-+17",
            "0000000000000abc-ffffffffffffffff-17-1",
            "0000000000000ABC-ffffffffffffffff-17",
            "0000000000000abc-ffffffffffffffff-18446744073709551616",
        ];
        for text in wrong {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
