//! Anthropic's Messages stream: a message of numbered content blocks.

use super::Chunk;
use crate::json::{flat, text};
use serde_json::Value;
use std::collections::HashMap;

/// The `type`s of the dialect's chunks. A `ping` says nothing.
pub const KINDS: [&str; 7] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
];

/// The tool calls of the message under way, by the number of their block.
#[derive(Default)]
pub struct Messages {
    calls: HashMap<u64, String>,
}

impl Messages {
    pub fn read(&mut self, kind: &str, value: &Value) -> Chunk {
        let mut chunk = Chunk::default();
        let index = value["index"].as_u64().unwrap_or_default();
        match kind {
            "message_start" => {
                let message = &value["message"];
                let id = text(message, "/id").unwrap_or_default().to_owned();
                chunk.begins = Some(id);
                chunk.model = text(message, "/model").map(str::to_owned);
                chunk.report_usage(&message["usage"]);
            }
            "content_block_start" => self.start(index, &value["content_block"], &mut chunk),
            "content_block_delta" => delta(&value["delta"], &mut chunk),
            "content_block_stop" => chunk.started.extend(self.calls.remove(&index)),
            "message_delta" => chunk.report_usage(&value["usage"]),
            "message_stop" => chunk.ended = true,
            _ => {}
        }
        chunk
    }

    fn start(&mut self, index: u64, block: &Value, chunk: &mut Chunk) {
        let kind = text(block, "/type").unwrap_or_default();
        if kind.ends_with("tool_use") {
            let id = text(block, "/id").unwrap_or_default();
            self.calls.insert(index, id.to_owned());
            chunk.request(id, text(block, "/name").unwrap_or_default());
        } else if kind.ends_with("_tool_result") {
            let content = &block["content"];
            let failed = block["is_error"] == true
                || text(content, "/type").is_some_and(|kind| kind.ends_with("_error"));
            let id = text(block, "/tool_use_id").unwrap_or_default();
            chunk.result(id, failed, flat(content));
        }
    }
}

fn delta(delta: &Value, chunk: &mut Chunk) {
    if let Some(said) = text(delta, "/text").or_else(|| text(delta, "/content")) {
        chunk.say(said);
    }
    if let Some(thought) = text(delta, "/thinking") {
        chunk.think(thought);
    }
    if let Some(arguments) = text(delta, "/partial_json") {
        chunk.argue(arguments);
    }
}
