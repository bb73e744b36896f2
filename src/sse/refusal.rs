//! Why a request is not served: a status and a sentence that says what to do.

use crate::event::{AgentError, AgentErrorKind};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// When a client that is refused for now is to come back.
pub(super) const LATER: Duration = Duration::from_secs(5);

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// A parameter can't be read.
    #[error("{0}")]
    Malformed(String),
    /// A position can't be read.
    #[error("{0:?} is not a position; use the id of a message as it came, or connect without it")]
    Position(String),
    /// The host grants nothing.
    #[error("nothing is granted to this request")]
    NothingGranted,
    /// This field asks for this value, which is not granted.
    #[error("{0} {1:?} is not granted to this request; ask for less")]
    NotGranted(&'static str, String),
    /// The position is of another filter.
    #[error(
        "cursor scope mismatch: the position is one of other parameters or another grant; \
         connect without it"
    )]
    OtherScope,
    /// The limit on clients is reached.
    #[error("as many clients as are allowed are connected; try again later")]
    TooManyClients,
    /// The bus's last handle is gone.
    #[error("the bus is closed; nothing comes any more")]
    BusClosed,
    /// The host closed the feed.
    #[error("the feed is closing; try again when its host is back")]
    Closing,
    /// The bus, or a filter, refused.
    #[error(transparent)]
    Bus(#[from] AgentError),
}

impl Refusal {
    /// Returns the response's status.
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Malformed(_) | Refusal::Position(_) => StatusCode::BAD_REQUEST,
            Refusal::NothingGranted | Refusal::NotGranted(..) => StatusCode::FORBIDDEN,
            Refusal::OtherScope => StatusCode::CONFLICT,
            Refusal::TooManyClients | Refusal::BusClosed | Refusal::Closing => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::Bus(error) => match error.kind() {
                AgentErrorKind::InvalidFilter
                | AgentErrorKind::InvalidValue
                | AgentErrorKind::UnknownName => StatusCode::BAD_REQUEST,
                AgentErrorKind::CursorScopeMismatch | AgentErrorKind::CursorAhead => {
                    StatusCode::CONFLICT
                }
                AgentErrorKind::CursorForeignEpoch => StatusCode::GONE,
                AgentErrorKind::TooManySubscriptions => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// Returns why the position is no good although the rest of the request is, as a `reset` names
    /// it; `None` if it is not the position that is refused.
    pub(super) fn of_position(&self) -> Option<&'static str> {
        match self {
            Refusal::Position(_) => Some("unreadable"),
            Refusal::OtherScope => Some("scope_mismatch"),
            Refusal::Bus(error) => match error.kind() {
                AgentErrorKind::CursorScopeMismatch => Some("scope_mismatch"),
                AgentErrorKind::CursorForeignEpoch => Some("foreign_epoch"),
                AgentErrorKind::CursorAhead => Some("ahead"),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the reason, as an `end` names it, of a refusal that passes with time.
    pub(super) fn that_passes(&self) -> Option<&'static str> {
        match self {
            Refusal::TooManyClients => Some("too_many_clients"),
            Refusal::BusClosed => Some("bus_closed"),
            Refusal::Closing => Some("closing"),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some("refused"),
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if self.that_passes().is_some() {
            let seconds = LATER.as_secs().into();
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
