//! Providers' stream chunks: one JSON object a line, as many forms as there are providers.
//!
//! A chunk with text, reasoning or tool arguments is exactly one delta, whatever its size. What
//! begins and ends is read off the few places where providers say so.

use super::script::Script;
use super::{Source, list, text};
use framebus::EventKind;
use serde_json::Value;

pub(super) const NAME: &str = "vercel-ai-sse";

/// Where chunks keep what a model says, below the places that [`spoken`] looks at.
const TEXT_FIELDS: [&str; 12] = [
    "text",
    "content",
    "thinking",
    "reasoning",
    "reasoning_content",
    "partial_json",
    "arguments",
    "input",
    "tool_plan",
    "transcript",
    "diff",
    "reasoningContent",
];

const MARKS: [&str; 13] = [
    "type",
    "event_type",
    "choices",
    "candidates",
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
    "serverContent",
    "setupComplete",
    "sessionResumptionUpdate",
];

pub(super) fn is_chunk(line: &Value) -> bool {
    line.is_object() && MARKS.iter().any(|mark| line.get(mark).is_some())
}

pub(super) fn read(source: &mut Source<'_>) {
    let provider = source.name.split('/').next().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("data:").map_or(line, str::trim);
        match serde_json::from_str::<Value>(line) {
            _ if line.is_empty() => {}
            _ if line == "[DONE]" => lines.push(Value::Null),
            Ok(chunk) => lines.push(chunk),
            Err(error) => source.errors.push((
                number + 1,
                format!("not JSON ({error}); the chunk is left out"),
            )),
        }
    }
    let mut stream = Stream {
        script: source.script(NAME, "", &provider),
        requested: Vec::new(),
        ended: false,
        failed: None,
    };
    stream.script.step(EventKind::TurnStarted);
    stream.script.begin_attempt();
    lines.iter().for_each(|chunk| stream.take(chunk));
    let run = stream.finish();
    source.runs.push(run);
}

struct Stream {
    script: Script,
    /// Tools whose call is being dictated: the block that dictates, and the call's id.
    requested: Vec<(String, String)>,
    ended: bool,
    failed: Option<String>,
}

impl Stream {
    fn take(&mut self, chunk: &Value) {
        if chunk.is_null() {
            self.ended = true;
            return;
        }
        self.begin_tools(chunk);
        if let Some(delta) = spoken(chunk) {
            self.script.say(EventKind::ModelStreamDelta, &delta);
        }
        self.end_tools(chunk);
        let usage = ["usage", "usageMetadata", "x_groq"]
            .iter()
            .find_map(|field| chunk.get(field));
        let usage = usage.or_else(|| chunk["response"].get("usage"));
        let usage = usage.or_else(|| chunk["metadata"].get("usage"));
        if let Some(usage) = usage.filter(|usage| usage.is_object()) {
            self.script
                .note(EventKind::UsageRecorded, &usage.to_string());
        }
        let kind = kind(chunk);
        let error = chunk.get("error").filter(|error| !error.is_null());
        if kind == "error" || kind == "response.failed" || error.is_some() {
            self.failed = Some(error.unwrap_or(chunk).to_string());
        }
        let reasons = list(chunk, "choices")
            .iter()
            .map(|choice| &choice["finish_reason"]);
        let reasons = reasons.chain(
            list(chunk, "candidates")
                .iter()
                .map(|it| &it["finishReason"]),
        );
        self.ended |= reasons.into_iter().any(Value::is_string)
            || chunk.get("messageStop").is_some()
            || chunk["serverContent"]["turnComplete"] == Value::Bool(true)
            || matches!(
                kind,
                "message_stop"
                    | "response.completed"
                    | "response.incomplete"
                    | "message-end"
                    | "interaction.completed"
                    | "session.closed"
            );
    }

    /// A block begins to dictate a call. A call without an id of its own goes by its block.
    fn request(&mut self, block: String, call: &Value) {
        let id = match text(call, "id") {
            "" => block.clone(),
            id => id.to_owned(),
        };
        if !self.script.has_tool(&id) {
            self.script.request_tool(&id, &call.to_string());
            self.requested.push((block, id));
        }
    }

    /// The call that the block dictated is under way.
    fn dictated(&mut self, block: &str) {
        if let Some(at) = self.requested.iter().position(|(open, _)| open == block) {
            self.requested.remove(at);
            self.script.step(EventKind::ToolStarted);
        }
    }

    fn begin_tools(&mut self, chunk: &Value) {
        let (kind, block, item) = (kind(chunk), &chunk["content_block"], &chunk["item"]);
        let step = &chunk["step"];
        match kind {
            "content_block_start" if text(block, "type").ends_with("tool_use") => {
                self.request(block_id(chunk), block);
            }
            "content_block_start" if text(block, "type").ends_with("tool_result") => {
                let output = block["content"].to_string();
                self.script.end_tool(
                    text(block, "tool_use_id"),
                    EventKind::ToolCompleted,
                    &output,
                );
            }
            "response.output_item.added" if text(item, "type") == "mcp_approval_request" => {
                self.script.step(EventKind::ApprovalRequested);
            }
            "response.output_item.added" if text(item, "type").ends_with("_call") => {
                self.request(text(item, "id").to_owned(), item);
            }
            "tool-call-start" => self.request(block_id(chunk), &chunk["delta"]),
            "step.start" if text(step, "type").ends_with("_call") => {
                self.request(block_id(chunk), step);
            }
            "step.start" if text(step, "type").ends_with("_result") => {
                self.script
                    .end_tool(text(step, "call_id"), EventKind::ToolCompleted, "");
            }
            _ => {}
        }
        if chunk["contentBlockStart"]["start"].get("toolUse").is_some() {
            self.request(
                block_id(&chunk["contentBlockStart"]),
                &chunk["contentBlockStart"]["start"],
            );
        }
        for call in list(chunk, "choices")
            .iter()
            .flat_map(|it| list(&it["delta"], "tool_calls"))
        {
            if !text(&call["function"], "name").is_empty() {
                self.request(block_id(call), call);
            }
        }
        for part in parts(chunk) {
            if part.get("functionCall").is_some() {
                let id = format!("call-{}", text(&part["functionCall"], "name"));
                self.request(id.clone(), part);
                self.dictated(&id);
            }
        }
    }

    fn end_tools(&mut self, chunk: &Value) {
        let item = &chunk["item"];
        match kind(chunk) {
            "content_block_stop" | "tool-call-end" | "step.stop" => self.dictated(&block_id(chunk)),
            "response.output_item.done" if text(item, "type").ends_with("_call") => {
                let id = text(item, "id");
                self.dictated(id);
                // The provider runs these itself: its result is in the same stream.
                if !matches!(text(item, "type"), "function_call" | "custom_tool_call") {
                    let kind = match item.get("error").is_some_and(|error| !error.is_null()) {
                        true => EventKind::ToolFailed,
                        false => EventKind::ToolCompleted,
                    };
                    self.script.end_tool(id, kind, &item["output"].to_string());
                }
            }
            _ => {}
        }
        if chunk.get("contentBlockStop").is_some() {
            self.dictated(&block_id(&chunk["contentBlockStop"]));
        }
        if list(chunk, "choices")
            .iter()
            .any(|choice| choice["finish_reason"].is_string())
        {
            for (block, _) in self.requested.clone() {
                self.dictated(&block);
            }
        }
    }

    fn finish(mut self) -> super::TraceRun {
        let (attempt, turn, run, why) = match (&self.failed, self.ended) {
            (Some(error), _) => (
                EventKind::ModelAttemptFailed,
                EventKind::TurnFailed,
                EventKind::RunFailed,
                error.as_str(),
            ),
            (None, true) => (
                EventKind::ModelMessageCompleted,
                EventKind::TurnCompleted,
                EventKind::RunCompleted,
                "end of stream",
            ),
            (None, false) => (
                EventKind::ModelAttemptFailed,
                EventKind::TurnFailed,
                EventKind::RunFailed,
                "truncated",
            ),
        };
        self.script.end_attempt(attempt);
        self.script.step(turn);
        self.script.finish(run, why)
    }
}

fn kind(chunk: &Value) -> &str {
    match text(chunk, "type") {
        "" => text(chunk, "event_type"),
        kind => kind,
    }
}

/// The number of a block, call or step within its stream.
fn block_id(chunk: &Value) -> String {
    let index = chunk
        .get("index")
        .or(chunk.get("contentBlockIndex"))
        .unwrap_or(&Value::Null);
    format!("block-{index}")
}

fn parts(chunk: &Value) -> impl Iterator<Item = &Value> {
    let candidates = list(chunk, "candidates")
        .iter()
        .flat_map(|it| list(&it["content"], "parts"));
    candidates.chain(list(&chunk["serverContent"]["modelTurn"], "parts"))
}

/// What a chunk says: text, reasoning, tool arguments; `None` if it is of another kind.
fn spoken(chunk: &Value) -> Option<String> {
    if text(chunk, "type").ends_with("audio.delta") {
        return None;
    }
    let mut said = None;
    let places = [
        &chunk["delta"],
        &chunk["contentBlockDelta"]["delta"],
        &chunk["serverContent"]["outputTranscription"],
    ];
    let choices = list(chunk, "choices")
        .iter()
        .flat_map(|it| [&it["delta"], it]);
    for place in places.into_iter().chain(choices).chain(parts(chunk)) {
        collect(place, &mut said);
    }
    said
}

fn collect(place: &Value, said: &mut Option<String>) {
    match place {
        Value::String(text) => said.get_or_insert_default().push_str(text),
        Value::Array(items) => items
            .iter()
            .filter(|item| item.is_object())
            .for_each(|it| collect(it, said)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let holds_text = TEXT_FIELDS.contains(&name.as_str()) && value.is_string();
                let below = matches!(
                    name.as_str(),
                    "content"
                        | "thinking"
                        | "message"
                        | "toolUse"
                        | "tool_calls"
                        | "function"
                        | "reasoningContent"
                );
                if holds_text || below && (value.is_object() || value.is_array()) {
                    collect(value, said);
                }
            }
        }
        _ => {}
    }
}
