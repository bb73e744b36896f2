//! Streams of model responses as the provider sent them: one JSON chunk a server-sent event, or a
//! line.
//!
//! Each provider's dialect turns a chunk into a [`Chunk`], which says what happened in neutral
//! words; this module turns those into steps:
//!
//! | chunk | steps |
//! | --- | --- |
//! | first | `RunStarted`, `TurnStarted`, `ModelAttemptStarted` |
//! | text, reasoning or tool arguments | exactly one `ModelStreamDelta`, also for an empty one |
//! | tool call begins, is complete | `ToolRequested`, `ToolStarted` |
//! | result of a tool that the provider ran | `ToolCompleted`, `ToolFailed` if it says so |
//! | approval wanted | `ApprovalRequested` |
//! | usage | `UsageRecorded`, once for each model call and with its last report |
//! | end of the message, or `[DONE]` without one | `ModelMessageCompleted` |
//! | end of the file | `TurnCompleted`, `RunCompleted` |
//! | error, or no end | `ModelAttemptFailed`, `TurnFailed`, `RunFailed` |
//!
//! A message counts as ended only when the next one or the end of the file comes, since usage
//! often follows the end. A message that begins before the one before has ended replaces it: that
//! attempt has failed. Tools that the caller is to run have no result in such a stream; they end
//! with `ToolRecoveryRequired`. The format has no times.

mod anthropic;
mod google;
mod openai;
mod others;

use crate::builder::{Ending, Item, RunBuilder};
use crate::json::text;
use crate::reading::Reading;
use crate::records::{DONE, Records};
use crate::{Body, Problem, RecordedRun, Source};
use framebus::EventKind;
use serde_json::Value;
use std::io::BufRead;

/// What a chunk says.
#[derive(Default)]
struct Chunk {
    /// A message with this id begins.
    begins: Option<String>,
    /// The model that answers.
    model: Option<String>,
    /// Tool calls that begin.
    requested: Vec<ToolCall>,
    /// The next piece of what the model says.
    delta: Option<Delta>,
    /// The ids of tool calls whose request is complete.
    started: Vec<String>,
    /// Results of tools that the provider ran.
    results: Vec<ToolResult>,
    /// The id of an approval that is wanted, and for what.
    approval: Option<(String, String)>,
    /// Tokens used so far.
    usage: Option<Value>,
    /// The message is complete.
    ended: bool,
    /// The call failed, for this reason.
    error: Option<String>,
}

struct ToolCall {
    id: String,
    name: String,
}

struct ToolResult {
    id: String,
    failed: bool,
    output: String,
}

/// A piece of a message; one chunk may hold several kinds.
#[derive(Default)]
struct Delta {
    text: String,
    reasoning: bool,
    arguments: bool,
}

impl Chunk {
    fn say(&mut self, text: &str) {
        self.delta.get_or_insert_default().text.push_str(text);
    }

    fn think(&mut self, text: &str) {
        self.say(text);
        self.delta.get_or_insert_default().reasoning = true;
    }

    fn argue(&mut self, text: &str) {
        self.say(text);
        self.delta.get_or_insert_default().arguments = true;
    }

    fn request(&mut self, id: &str, name: &str) {
        self.requested.push(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
        });
    }

    fn result(&mut self, id: &str, failed: bool, output: String) {
        self.results.push(ToolResult {
            id: id.to_owned(),
            failed,
            output,
        });
    }

    fn report_usage(&mut self, usage: &Value) {
        if usage.is_object() {
            self.usage = Some(usage.clone());
        }
    }
}

/// The dialects, with what each must remember from one chunk to the next.
#[derive(Default)]
struct Dialects {
    messages: anthropic::Messages,
    chat: openai::Chat,
    responses: openai::Responses,
    candidates: google::Candidates,
    interactions: google::Interactions,
    converse: others::Converse,
    cohere: others::Cohere,
}

impl Dialects {
    /// Returns what `chunk` says; `None` if no dialect has such a chunk.
    fn read(&mut self, chunk: &Value) -> Option<Chunk> {
        if let Some(kind) = text(chunk, "/type") {
            return match kind {
                "error" => Some(failure(&chunk["error"])),
                _ if kind.starts_with("response.") => Some(self.responses.read(kind, chunk)),
                _ if kind.starts_with("session.") => Some(others::realtime(kind, chunk)),
                _ if anthropic::KINDS.contains(&kind) => Some(self.messages.read(kind, chunk)),
                _ if others::COHERE_KINDS.contains(&kind) => Some(self.cohere.read(kind, chunk)),
                _ => None,
            };
        }
        if chunk["choices"].is_array() {
            Some(self.chat.read(chunk))
        } else if chunk["candidates"].is_array() {
            Some(self.candidates.read(chunk))
        } else if let Some(kind) = text(chunk, "/event_type").filter(|kind| google::is_event(kind))
        {
            Some(self.interactions.read(kind, chunk))
        } else if google::LIVE_KEYS.iter().any(|key| chunk.get(key).is_some()) {
            Some(google::live(chunk))
        } else if others::CONVERSE_PATHS
            .iter()
            .any(|path| chunk.pointer(path).is_some())
        {
            Some(self.converse.read(chunk))
        } else if chunk["error"].is_object() {
            Some(failure(&chunk["error"]))
        } else {
            None
        }
    }
}

impl Dialects {
    /// Returns what the marker after the last chunk says: the message is complete, and with it the
    /// calls in it, also if no chunk said so.
    fn done(&mut self) -> Chunk {
        Chunk {
            started: self.chat.done(),
            ended: true,
            ..Chunk::default()
        }
    }
}

/// Tells whether a value is a chunk of a known dialect.
pub fn recognises(chunk: &Value) -> bool {
    Dialects::default().read(chunk).is_some()
}

/// Reads one stream, which is one run.
pub fn read(records: &mut Records<impl BufRead>, reading: &mut Reading<'_>) {
    let mut builder = reading.builder(Source::VercelSse);
    let provider = reading.folder().unwrap_or_default();
    builder.set_name(&format!("{provider}/{}", reading.stem()));
    builder.set_agent(&provider);
    builder.tag("provider", &provider);
    let mut stream = Stream {
        builder,
        message: None,
        model: None,
        state: State::Before,
    };
    let mut dialects = Dialects::default();
    while let Some((number, record)) = records.next() {
        match record {
            Ok(Value::String(mark)) if mark == DONE => stream.apply(dialects.done()),
            Ok(value) => {
                if let Some(chunk) = dialects.read(&value) {
                    stream.apply(chunk);
                } else if !value.is_object() {
                    let problem = "is not a chunk of a stream, which is a JSON object";
                    reading.error(Some(number), Problem::Malformed(problem.to_owned()));
                }
            }
            Err(problem) => reading.error(Some(number), problem),
        }
    }
    reading.runs.push(stream.finish());
}

fn failure(error: &Value) -> Chunk {
    let reason = text(error, "/message").or_else(|| text(error, "/code"));
    Chunk {
        error: Some(reason.unwrap_or("unknown error").to_owned()),
        ..Chunk::default()
    }
}

/// A stream under way.
struct Stream {
    builder: RunBuilder,
    /// The id of the message that is open, if the dialect has such ids.
    message: Option<String>,
    /// The model that was named first: it is the run's agent.
    model: Option<String>,
    state: State,
}

/// How far the stream's last message is.
enum State {
    /// No chunk has come.
    Before,
    /// A message is under way.
    Open,
    /// The message is complete.
    Ended,
    /// The call failed, for this reason.
    Failed(String),
}

impl Stream {
    fn apply(&mut self, chunk: Chunk) {
        if let (None, Some(model)) = (&self.model, &chunk.model) {
            self.builder.set_agent(model);
            self.model = chunk.model.clone();
        }
        self.begin(&chunk);
        if let Some(usage) = &chunk.usage {
            self.builder.set_usage(usage);
        }
        if matches!(self.state, State::Failed(_)) {
            return;
        }
        for call in chunk.requested {
            self.builder.request_tool(&call.id, Body::note(call.name));
        }
        if let Some(delta) = chunk.delta {
            let tags = [
                ("reasoning", delta.reasoning),
                ("arguments", delta.arguments),
            ];
            let tags: Vec<_> = tags.iter().filter(|tag| tag.1).map(|tag| tag.0).collect();
            self.builder.delta(delta.text, &tags);
        }
        for id in chunk.started {
            self.builder.start_tool(&id, Body::None);
        }
        for result in chunk.results {
            self.builder.start_tool(&result.id, Body::None);
            let kind = if result.failed {
                EventKind::ToolFailed
            } else {
                EventKind::ToolCompleted
            };
            let output = Body::text(result.output);
            self.builder.close(Item::Tool, &result.id, kind, output);
        }
        if let Some((id, action)) = chunk.approval {
            let kind = EventKind::ApprovalRequested;
            self.builder.step_about(kind, &id, Body::note(action));
        }
        if let Some(reason) = chunk.error {
            let note = Body::note(reason.clone());
            self.builder
                .close_attempt(EventKind::ModelAttemptFailed, note);
            self.state = State::Failed(reason);
        } else if chunk.ended {
            self.state = State::Ended;
        }
    }

    /// Opens the attempt that `chunk` belongs to, unless it is open.
    fn begin(&mut self, chunk: &Chunk) {
        match (&self.state, &chunk.begins) {
            (State::Before, _) => {
                self.builder.open_turn();
                self.builder.open_attempt(Body::None);
            }
            (State::Ended, Some(_)) => self.builder.open_attempt(Body::None),
            (State::Open, Some(id)) if self.message.as_ref().is_some_and(|open| open != id) => {
                let reason = Body::note("replaced by another message");
                self.builder
                    .close_attempt(EventKind::ModelAttemptFailed, reason);
                self.builder.open_attempt(Body::None);
            }
            _ => return,
        }
        self.state = State::Open;
        self.message.clone_from(&chunk.begins);
    }

    fn finish(mut self) -> RecordedRun {
        match self.state {
            State::Ended => {
                self.builder
                    .close_attempt(EventKind::ModelMessageCompleted, Body::None);
                self.builder.finish(Ending::Completed(String::new()))
            }
            State::Failed(reason) => {
                let note = Body::note(reason.clone());
                self.builder.close_turn(EventKind::TurnFailed, note);
                self.builder.finish(Ending::Failed(reason))
            }
            State::Before | State::Open => self.builder.finish(Ending::Truncated),
        }
    }
}
