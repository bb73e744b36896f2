//! Why a request is not served: a status and a sentence that says what to do.

use crate::event::{AgentError, AgentErrorKind};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// A parameter or a position can't be read.
    #[error("{0}")]
    Malformed(String),
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
    /// The bus, or a filter, refused.
    #[error(transparent)]
    Bus(#[from] AgentError),
}

impl Refusal {
    /// The refusal of a position that can't be read.
    pub(super) fn position(text: &str) -> Self {
        Refusal::Malformed(format!(
            "{text:?} is not a position; use the id of a message as it came, or connect without it"
        ))
    }

    /// Returns the response's status.
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::NothingGranted | Refusal::NotGranted(..) => StatusCode::FORBIDDEN,
            Refusal::OtherScope => StatusCode::CONFLICT,
            Refusal::TooManyClients | Refusal::BusClosed => StatusCode::SERVICE_UNAVAILABLE,
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
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, format!("{self}\n")).into_response();
        if let Refusal::TooManyClients = self {
            let value = header::HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}
