//! Looks into JSON values whose shape is not certain. Nothing here fails: a value of another type
//! reads as absent.

use serde_json::Value;

/// Returns the string at `path`, a JSON pointer.
pub fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str()
}

/// Returns the elements of the list at `path`, a JSON pointer; none if there is no list.
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    match value.pointer(path) {
        Some(Value::Array(elements)) => elements,
        _ => &[],
    }
}

/// Returns a string as it is, and any other value as compact JSON.
pub fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the text of a message's content, which is a string or a list of blocks with `text`.
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
