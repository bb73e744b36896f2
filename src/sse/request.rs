//! A request's parameters, and the position that it resumes from.
//!
//! A position is the text of an [`EventCursor`] of the request's filter. An open page that comes
//! back sends it in the header `Last-Event-ID`, a polyfill that can't set headers in the parameter
//! `lastEventId`. Neither can do anything about a position that is no good any more, so such a one
//! resets the page; that of `after`, which somebody wrote, is refused.
//!
//! Parameters that the feed does not know are the host's: a token, for instance, since an
//! `EventSource` can't set headers.

use super::refusal::Refusal;
use crate::event::{AgentId, EventKind, RunId, StreamStart};
use axum::http::request::Parts;

/// What a request asks for. An empty list leaves its field open.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) runs: Vec<RunId>,
    pub(super) agents: Vec<AgentId>,
    pub(super) kinds: Vec<EventKind>,
    /// Where it starts without a position.
    pub(super) start: StreamStart,
    pub(super) position: Option<Position>,
}

/// The position to resume from, as the request has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) text: String,
    /// Whether a client that comes back sent it by itself.
    pub(super) automatic: bool,
}

impl Query {
    /// Reads a request's address and headers.
    ///
    /// # Errors
    /// For a parameter that can't be read.
    pub(super) fn read(request: &Parts) -> Result<Self, Refusal> {
        type Pairs = axum::extract::Query<Vec<(String, String)>>;
        let pairs = Pairs::try_from_uri(&request.uri)
            .map_err(|error| Refusal::Malformed(error.body_text()))?;
        let mut query = Query::default();
        let (mut after, mut last) = (String::new(), String::new());
        for (name, value) in pairs.0 {
            match name.as_str() {
                "run" => query.runs.push(value.into()),
                "agent" => query.agents.push(value.into()),
                "kind" => query.kinds.push(value.parse()?),
                "start" => query.start = start(&value)?,
                "after" => after = value,
                "lastEventId" => last = value,
                _ => {}
            }
        }
        // The header is newest: a browser that comes back uses the address of its first request.
        let header = request.headers.get("last-event-id");
        let header = header.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let given = [
            (header.unwrap_or_default(), true),
            (last, true),
            (after, false),
        ];
        query.position = given
            .into_iter()
            .find(|(text, _)| !text.is_empty())
            .map(|(text, automatic)| Position { text, automatic });
        Ok(query)
    }

    /// Returns whether the request is of a page that was connected before, and knows no better than
    /// to come back.
    pub(super) fn comes_back(&self) -> bool {
        self.position.as_ref().is_some_and(|it| it.automatic)
    }
}

/// Reads where a stream starts: the names that it has in JSON.
fn start(name: &str) -> Result<StreamStart, Refusal> {
    match name {
        "oldest_held" => Ok(StreamStart::OldestHeld),
        "latest" => Ok(StreamStart::Latest),
        "beginning" => Ok(StreamStart::Beginning),
        _ => Err(Refusal::Malformed(format!(
            "{name:?} is no start; use oldest_held, latest or beginning"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn read(address: &str, header: Option<&str>) -> Query {
        let mut request = Request::builder().uri(address);
        if let Some(value) = header {
            request = request.header("Last-Event-ID", value);
        }
        Query::read(&request.body(()).unwrap().into_parts().0).unwrap()
    }

    #[test]
    fn a_position_is_taken_from_where_it_is_newest() {
        let position = |address, header| {
            let position = read(address, header).position;
            position.map(|it| (it.text, it.automatic))
        };
        let given = |text: &str, automatic| Some((text.to_owned(), automatic));
        let both = "/?after=a&lastEventId=b";
        assert_eq!(position(both, Some("c")), given("c", true));
        assert_eq!(position(both, Some("")), given("b", true));
        assert_eq!(position("/?after=a&lastEventId=", None), given("a", false));
        assert_eq!(position("/?after=&token=x", None), None);
        assert!(!read("/?after=a", None).comes_back());
        assert!(read("/?lastEventId=a", None).comes_back());
    }

    #[test]
    fn parameters_of_the_host_are_passed_over() {
        let query = read("/?token=a%20b%FF&&=&run=r&run=s&_=1&start=latest", None);
        assert_eq!(query.runs, ["r".into(), "s".into()]);
        assert_eq!(query.start, StreamStart::Latest);
    }
}
