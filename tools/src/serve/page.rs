//! The page and what it asks for besides the feed: which kinds are terminal.

use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use framebus::EventKind;

/// The routes `/` and `/terminal-kinds`.
pub fn router() -> Router {
    let terminal = || EventKind::ALL.iter().filter(|kind| kind.is_terminal());
    Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route(
            "/terminal-kinds",
            get(move || async move { Json(terminal().collect::<Vec<_>>()) }),
        )
}
