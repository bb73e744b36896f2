//! Looks into JSON values whose shape is not certain. Nothing here fails: what is absent or of
//! another type reads as absent.

use serde_json::Value;

/// The string at `path`, a JSON pointer.
pub fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str()
}

/// The elements of the list at `path`, a JSON pointer; none if there is no list.
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    match value.pointer(path) {
        Some(Value::Array(elements)) => elements,
        _ => &[],
    }
}

/// A string as it is, any other value as compact JSON.
pub fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The texts of a message's content: a string, or a list of blocks that hold `text`.
pub fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}
