//! A request's parameters, and the position that it resumes from.
//!
//! A position is the text of an [`EventCursor`] of the request's filter.

use super::refusal::Refusal;
use crate::event::{AgentId, CompiledEventFilter, EventCursor, EventKind, RunId};
use axum::http::request::Parts;

/// What a request asks for. An empty list leaves its field open.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) runs: Vec<RunId>,
    pub(super) agents: Vec<AgentId>,
    pub(super) kinds: Vec<EventKind>,
    /// The position to resume from.
    pub(super) after: Option<EventCursor>,
}

impl Query {
    /// Reads a request's address and headers.
    ///
    /// # Errors
    /// For a parameter or a position that is unknown or malformed.
    pub(super) fn read(request: &Parts) -> Result<Self, Refusal> {
        type Pairs = axum::extract::Query<Vec<(String, String)>>;
        let pairs = Pairs::try_from_uri(&request.uri)
            .map_err(|error| Refusal::Malformed(error.body_text()))?;
        let mut query = Query::default();
        for (name, value) in pairs.0 {
            match name.as_str() {
                "run" => query.runs.push(value.into()),
                "agent" => query.agents.push(value.into()),
                "kind" => query.kinds.push(value.parse()?),
                "after" => query.after = Some(position(&value)?),
                _ => {
                    return Err(Refusal::Malformed(format!(
                        "there is no parameter {name:?}; use run, agent, kind and after"
                    )));
                }
            }
        }
        // A browser that reconnects sends its newest position in the header, with the address of
        // its first request.
        if let Some(last) = request
            .headers
            .get("last-event-id")
            .filter(|id| !id.is_empty())
        {
            let last = last.to_str().map_err(|_| Refusal::position("not ASCII"))?;
            query.after = Some(position(last)?);
        }
        Ok(query)
    }

    /// Returns the position to resume from, if there is one.
    ///
    /// # Errors
    /// [`Refusal::OtherScope`] if it is not a position of this filter.
    pub(super) fn cursor(
        self,
        filter: &CompiledEventFilter,
    ) -> Result<Option<EventCursor>, Refusal> {
        match self.after {
            Some(cursor) if cursor.scope != filter.cursor_scope() => Err(Refusal::OtherScope),
            after => Ok(after),
        }
    }
}

/// Reads a position.
fn position(text: &str) -> Result<EventCursor, Refusal> {
    text.parse().map_err(|_| Refusal::position(text))
}
