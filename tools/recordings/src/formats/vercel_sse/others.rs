//! The smaller dialects: Bedrock's Converse, Cohere's chat and OpenAI's realtime sessions.

use super::Chunk;
use crate::json::text;
use serde_json::Value;
use std::collections::HashMap;

/// What a Converse stream's chunks are known by, as JSON pointers; each chunk has one.
pub const CONVERSE_PATHS: [&str; 6] = [
    "/messageStart",
    "/contentBlockStart",
    "/contentBlockDelta",
    "/contentBlockStop",
    "/messageStop",
    "/metadata/usage",
];

/// Converse: a message of numbered content blocks.
#[derive(Default)]
pub struct Converse {
    calls: HashMap<u64, String>,
}

impl Converse {
    pub fn read(&mut self, value: &Value) -> Chunk {
        let mut chunk = Chunk::default();
        let start = &value["contentBlockStart"];
        if let Some(call) = start.pointer("/start/toolUse") {
            let id = text(call, "/toolUseId").unwrap_or_default();
            let index = start["contentBlockIndex"].as_u64().unwrap_or_default();
            self.calls.insert(index, id.to_owned());
            chunk.request(id, text(call, "/name").unwrap_or_default());
        }
        let delta = &value["contentBlockDelta"]["delta"];
        if let Some(said) = text(delta, "/text") {
            chunk.say(said);
        }
        if let Some(thought) = text(delta, "/reasoningContent/text") {
            chunk.think(thought);
        }
        if let Some(arguments) = text(delta, "/toolUse/input") {
            chunk.argue(arguments);
        }
        let stop = &value["contentBlockStop"]["contentBlockIndex"];
        if let Some(index) = stop.as_u64() {
            chunk.started.extend(self.calls.remove(&index));
        }
        chunk.report_usage(&value["metadata"]["usage"]);
        chunk.ended = value["messageStop"].is_object();
        chunk
    }
}

/// The `type`s of Cohere's chunks.
pub const COHERE_KINDS: [&str; 9] = [
    "message-start",
    "content-start",
    "content-delta",
    "content-end",
    "tool-plan-delta",
    "tool-call-start",
    "tool-call-delta",
    "tool-call-end",
    "message-end",
];

/// Cohere: a message of numbered content blocks and tool calls.
#[derive(Default)]
pub struct Cohere {
    calls: HashMap<u64, String>,
}

impl Cohere {
    pub fn read(&mut self, kind: &str, value: &Value) -> Chunk {
        let mut chunk = Chunk::default();
        let index = value["index"].as_u64().unwrap_or_default();
        let message = &value["delta"]["message"];
        match kind {
            "message-start" => {
                let id = text(value, "/id").unwrap_or_default().to_owned();
                chunk.begins = Some(id);
            }
            "content-delta" => {
                if let Some(said) = text(message, "/content/text") {
                    chunk.say(said);
                }
                if let Some(thought) = text(message, "/content/thinking") {
                    chunk.think(thought);
                }
            }
            "tool-plan-delta" => chunk.think(text(message, "/tool_plan").unwrap_or_default()),
            "tool-call-start" => {
                let id = text(message, "/tool_calls/id").unwrap_or_default();
                let name = text(message, "/tool_calls/function/name");
                self.calls.insert(index, id.to_owned());
                chunk.request(id, name.unwrap_or_default());
            }
            "tool-call-delta" => {
                let arguments = text(message, "/tool_calls/function/arguments");
                chunk.argue(arguments.unwrap_or_default());
            }
            "tool-call-end" => chunk.started.extend(self.calls.remove(&index)),
            "message-end" => {
                chunk.report_usage(&value["delta"]["usage"]);
                chunk.ended = true;
            }
            _ => {}
        }
        chunk
    }
}

/// OpenAI's realtime sessions: what the model says is the transcript of its speech.
pub fn realtime(kind: &str, value: &Value) -> Chunk {
    let mut chunk = Chunk {
        model: text(value, "/session/model").map(str::to_owned),
        ..Chunk::default()
    };
    match kind {
        "session.output_transcript.delta" => {
            chunk.say(text(value, "/delta").unwrap_or_default());
        }
        "session.closed" => chunk.ended = true,
        _ => {}
    }
    chunk
}
