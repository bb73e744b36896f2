//! What a request asks for: parameters, and the position to resume from.
//!
//! A position is the text of an [`EventCursor`] of the request's filter.

use super::refusal::Refusal;
use crate::event::{AgentId, CompiledEventFilter, EventCursor, EventKind, RunId};
use axum::extract::Query;
use axum::http::request::Parts;

/// What a request asks for. An empty list asks nothing.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) runs: Vec<RunId>,
    pub(super) agents: Vec<AgentId>,
    pub(super) kinds: Vec<EventKind>,
    pub(super) after: Option<EventCursor>,
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
                "after" => wish.after = Some(position(&value)?),
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
            wish.after = Some(position(last)?);
        }
        Ok(wish)
    }

    /// Returns where to resume, if that is a position of this filter.
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

fn position(text: &str) -> Result<EventCursor, Refusal> {
    text.parse().map_err(|_| Refusal::position(text))
}
