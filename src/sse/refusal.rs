//! Why a request is not served: a status and a sentence.

use crate::event::{AgentError, AgentErrorKind};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("nothing is granted to this request")]
    NothingGranted,
    #[error("{0} {1:?} is not granted to this request; ask for less")]
    NotGranted(&'static str, String),
    #[error(
        "cursor scope mismatch: the position is one of other parameters or another grant; \
         connect without it"
    )]
    OtherScope,
    #[error("as many clients as are allowed are connected; try again later")]
    TooManyClients,
    #[error("the bus is closed; nothing comes any more")]
    BusClosed,
    #[error(transparent)]
    Bus(#[from] AgentError),
}

impl Refusal {
    pub(super) fn position(text: &str) -> Self {
        Refusal::Malformed(format!(
            "{text:?} is not a position; use the id of a message as it came, or connect without it"
        ))
    }

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
