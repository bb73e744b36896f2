//! OpenAI's two dialects, which most other providers speak as well: chat completions and
//! responses.

use super::{Chunk, failure};
use crate::json::{flat, list, text};
use serde_json::Value;
use std::collections::HashMap;

/// Chat completions (and plain completions): choices, each with a delta.
///
/// A tool call begins with its first fragment and is complete when the next one begins or the
/// choice is finished.
#[derive(Default)]
pub struct Chat {
    /// The calls of the message, by their index.
    calls: HashMap<u64, String>,
    unnamed: u32,
}

impl Chat {
    pub fn read(&mut self, value: &Value) -> Chunk {
        let mut chunk = match &value["error"] {
            error if error.is_object() => failure(error),
            _ => Chunk::default(),
        };
        chunk.model = text(value, "/model")
            .filter(|model| !model.is_empty())
            .map(str::to_owned);
        chunk.report_usage(&value["usage"]);
        for choice in list(value, "/choices") {
            self.choice(choice, &mut chunk);
        }
        chunk
    }

    fn choice(&mut self, choice: &Value, chunk: &mut Chunk) {
        let delta = &choice["delta"];
        for key in ["/reasoning", "/reasoning_content"] {
            if let Some(thought) = text(delta, key) {
                chunk.think(thought);
            }
        }
        let said = [
            choice.get("text"),
            delta.get("content"),
            delta.get("refusal"),
        ];
        for said in said.into_iter().flatten() {
            content(said, chunk);
        }
        for (position, call) in list(delta, "/tool_calls").iter().enumerate() {
            self.call(position as u64, call, chunk);
        }
        if choice["finish_reason"].is_string() {
            chunk.started.extend(self.done());
            chunk.ended = true;
        }
    }

    fn call(&mut self, position: u64, call: &Value, chunk: &mut Chunk) {
        let index = call["index"].as_u64().unwrap_or(position);
        let id = text(call, "/id").filter(|id| !id.is_empty());
        let known = self.calls.get(&index);
        if known.is_none() || id.is_some_and(|id| known.is_some_and(|known| known != id)) {
            chunk.started.extend(self.complete());
            let id = id.map(str::to_owned).unwrap_or_else(|| {
                self.unnamed += 1;
                format!("call-{}", self.unnamed)
            });
            chunk.request(&id, text(call, "/function/name").unwrap_or_default());
            self.calls.insert(index, id);
        }
        if let Some(arguments) = text(call, "/function/arguments") {
            chunk.argue(arguments);
        }
    }

    /// The calls of a message that is complete.
    pub fn done(&mut self) -> Vec<String> {
        let calls = self.complete();
        self.calls.clear();
        calls
    }

    /// The calls whose request is complete. One may be named again; it begins once.
    fn complete(&self) -> Vec<String> {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_unstable();
        calls.into_iter().map(|(_, id)| id.clone()).collect()
    }
}

/// A delta's content: a string, or blocks of text and thinking.
fn content(content: &Value, chunk: &mut Chunk) {
    if let Some(said) = content.as_str() {
        chunk.say(said);
    }
    for block in list(content, "") {
        if let Some(said) = text(block, "/text") {
            chunk.say(said);
        }
        for thought in list(block, "/thinking") {
            chunk.think(text(thought, "/text").unwrap_or_default());
        }
    }
}

/// Responses: a list of output items, each added, filled and done.
#[derive(Default)]
pub struct Responses {
    /// The id of the tool call at each output index: providers may change an item's own id.
    calls: HashMap<u64, String>,
    /// The last call of each kind, for outputs that don't name theirs.
    last: HashMap<String, String>,
}

/// Items of tools that the provider runs: when the item is done, the tool has run.
const HOSTED: [&str; 5] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
];

/// What the names of whole arguments end with. Calls without such are complete with their item.
const ARGUMENTS: [&str; 3] = ["_arguments", "_code", "_input"];

impl Responses {
    pub fn read(&mut self, kind: &str, value: &Value) -> Chunk {
        let index = value["output_index"].as_u64().unwrap_or_default();
        let response = &value["response"];
        let mut chunk = match kind {
            "response.failed" => failure(&response["error"]),
            _ => Chunk::default(),
        };
        chunk.model = text(response, "/model").map(str::to_owned);
        chunk.report_usage(&response["usage"]);
        match kind {
            "response.completed" | "response.incomplete" => chunk.ended = true,
            "response.output_item.added" => self.added(index, &value["item"], &mut chunk),
            "response.output_item.done" => self.done(index, &value["item"], &mut chunk),
            "response.output_text.delta" | "response.refusal.delta" => {
                chunk.say(text(value, "/delta").unwrap_or_default());
            }
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                chunk.think(text(value, "/delta").unwrap_or_default());
            }
            _ => self.call(kind, index, value, &mut chunk),
        }
        chunk
    }

    /// Takes a chunk of a tool call: a fragment of its arguments, whatever its name, or the mark
    /// that they are complete.
    fn call(&self, kind: &str, index: u64, value: &Value, chunk: &mut Chunk) {
        let (Some(id), Some(kind)) = (self.calls.get(&index), kind.strip_prefix("response."))
        else {
            return;
        };
        match kind.rsplit_once('.') {
            Some((_, "delta")) => {
                if let Some(arguments) = text(value, "/delta") {
                    chunk.argue(arguments);
                }
            }
            Some((what, "done")) if ARGUMENTS.iter().any(|end| what.ends_with(end)) => {
                chunk.started.push(id.clone());
            }
            _ => {}
        }
    }

    fn added(&mut self, index: u64, item: &Value, chunk: &mut Chunk) {
        self.calls.remove(&index);
        let kind = text(item, "/type").unwrap_or_default();
        let id = text(item, "/call_id").or_else(|| text(item, "/id"));
        let id = id.unwrap_or_default();
        if kind == "mcp_approval_request" {
            let action = text(item, "/name").unwrap_or_default();
            chunk.approval = Some((id.to_owned(), action.to_owned()));
        } else if kind.ends_with("_call") || kind == "program" {
            self.calls.insert(index, id.to_owned());
            self.last.insert(kind.to_owned(), id.to_owned());
            chunk.request(id, text(item, "/name").unwrap_or(kind));
        }
    }

    fn done(&mut self, index: u64, item: &Value, chunk: &mut Chunk) {
        let kind = text(item, "/type").unwrap_or_default();
        let failed = text(item, "/status") == Some("failed") || item["error"].is_object();
        if let Some(call) = kind.strip_suffix("_output") {
            let last = [format!("{call}_call"), call.to_owned()]
                .iter()
                .find_map(|kind| self.last.get(kind));
            let id = text(item, "/call_id").or(last.map(String::as_str));
            if let Some(id) = id {
                chunk.result(id, failed, output(item));
            }
        } else if let Some(id) = self.calls.remove(&index) {
            if HOSTED.contains(&kind) {
                chunk.result(&id, failed, output(item));
            }
            chunk.started.push(id);
        }
    }
}

/// Returns what a tool returned. Each kind of item keeps that under a name of its own.
fn output(item: &Value) -> String {
    ["output", "outputs", "result", "results", "tools", "action"]
        .iter()
        .filter_map(|key| item.get(key))
        .find(|value| !value.is_null())
        .map(flat)
        .unwrap_or_default()
}
