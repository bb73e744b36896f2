//! Google's three dialects: candidates (Gemini), interactions and live sessions.

use super::{Chunk, failure};
use crate::json::{flat, list, text};
use serde_json::Value;
use std::collections::HashMap;

/// Gemini: candidates, each with parts. Function calls have no ids; they are numbered.
///
/// A call comes whole, or as a name with `willContinue` and then fragments of arguments until a
/// part without it.
#[derive(Default)]
pub struct Candidates {
    calls: u32,
    open: bool,
}

impl Candidates {
    pub fn read(&mut self, value: &Value) -> Chunk {
        let mut chunk = Chunk {
            model: text(value, "/modelVersion").map(str::to_owned),
            ..Chunk::default()
        };
        if value.pointer("/usageMetadata/totalTokenCount").is_some() {
            chunk.report_usage(&value["usageMetadata"]);
        }
        for candidate in list(value, "/candidates") {
            for part in list(candidate, "/content/parts") {
                self.part(part, &mut chunk);
            }
            if candidate["finishReason"].is_string() {
                self.close(&mut chunk);
                chunk.ended = true;
            }
        }
        chunk
    }

    fn part(&mut self, part: &Value, chunk: &mut Chunk) {
        match text(part, "/text") {
            Some(thought) if part["thought"] == true => chunk.think(thought),
            Some(said) => chunk.say(said),
            None => {}
        }
        let call = &part["functionCall"];
        if !call.is_object() {
            return;
        }
        if let Some(name) = text(call, "/name") {
            self.close(chunk);
            self.calls += 1;
            self.open = true;
            chunk.request(&self.id(), name);
        }
        let arguments = [call.get("args"), call.get("partialArgs")];
        for arguments in arguments.into_iter().flatten() {
            chunk.argue(&flat(arguments));
        }
        if call["willContinue"] != true {
            self.close(chunk);
        }
    }

    fn close(&mut self, chunk: &mut Chunk) {
        if self.open {
            self.open = false;
            chunk.started.push(self.id());
        }
    }

    fn id(&self) -> String {
        format!("call-{}", self.calls)
    }
}

/// Tells whether `kind` is an `event_type` of an interaction.
pub fn is_event(kind: &str) -> bool {
    kind.starts_with("interaction.") || kind.starts_with("step.") || kind == "error"
}

/// Interactions: numbered steps, each started, filled and stopped.
#[derive(Default)]
pub struct Interactions {
    /// The tool call of each step that is one.
    calls: HashMap<u64, String>,
    /// The tool call that each step is the result of.
    results: HashMap<u64, String>,
}

impl Interactions {
    pub fn read(&mut self, kind: &str, value: &Value) -> Chunk {
        let mut chunk = Chunk::default();
        let index = value["index"].as_u64().unwrap_or_default();
        let interaction = &value["interaction"];
        chunk.model = text(interaction, "/model").map(str::to_owned);
        chunk.report_usage(&interaction["usage"]);
        match kind {
            "step.start" => self.start(index, &value["step"], &mut chunk),
            "step.delta" => self.delta(index, &value["delta"], &mut chunk),
            "step.stop" => chunk.started.extend(self.calls.remove(&index)),
            "error" => chunk.error = failure(&value["error"]).error,
            _ => match text(interaction, "/status") {
                Some("completed" | "requires_action" | "incomplete") => chunk.ended = true,
                Some(status @ ("failed" | "cancelled")) => chunk.error = Some(status.to_owned()),
                _ => {}
            },
        }
        chunk
    }

    fn start(&mut self, index: u64, step: &Value, chunk: &mut Chunk) {
        let kind = text(step, "/type").unwrap_or_default();
        if kind.ends_with("_call") {
            let id = text(step, "/id").unwrap_or_default();
            self.calls.insert(index, id.to_owned());
            chunk.request(id, text(step, "/name").unwrap_or(kind));
        } else if let Some(id) = text(step, "/call_id") {
            self.results.insert(index, id.to_owned());
        }
    }

    fn delta(&mut self, index: u64, delta: &Value, chunk: &mut Chunk) {
        if let Some(said) = text(delta, "/text") {
            chunk.say(said);
        }
        if let Some(thought) = text(delta, "/content/text") {
            chunk.think(thought);
        }
        if let Some(arguments) = delta.get("arguments") {
            chunk.argue(&flat(arguments));
        }
        if let Some(result) = delta.get("result")
            && let Some(id) = self.results.remove(&index)
        {
            chunk.result(&id, delta["is_error"] == true, flat(result));
        }
    }
}

/// The keys by which a live session's chunks are known.
pub const LIVE_KEYS: [&str; 3] = ["setupComplete", "serverContent", "sessionResumptionUpdate"];

/// A live session: what the model says is the transcript of its speech. What the user says and
/// the sound itself are not model text.
pub fn live(value: &Value) -> Chunk {
    let mut chunk = Chunk::default();
    let content = &value["serverContent"];
    if let Some(said) = text(content, "/outputTranscription/text") {
        chunk.say(said);
    }
    for part in list(content, "/modelTurn/parts") {
        if let Some(said) = text(part, "/text") {
            chunk.say(said);
        }
    }
    chunk.report_usage(&value["usageMetadata"]);
    chunk.ended = content["turnComplete"] == true;
    chunk
}
