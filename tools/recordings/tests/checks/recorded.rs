//! Takes the model text out of recordings by other means than the readers, to compare with them.

use framebus_recordings::Source;
use serde_json::Value;

/// The model text of each run of a file, taken from the JSON without any of the readers.
pub fn recorded_texts(source: Source, bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    let lines = || {
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
    };
    let document = || serde_json::from_str::<Value>(text).unwrap();
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let each = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match source {
        Source::ClaudeCode => vec![
            lines()
                .filter(|line: &Value| line["type"] == "assistant")
                .flat_map(|line| each(&line["message"]["content"]))
                .map(|block| string(&block["text"]) + &string(&block["thinking"]))
                .collect(),
        ],
        Source::TauBench => lines()
            .map(|run: Value| {
                each(&run["traj"])
                    .iter()
                    .filter(|message| message["role"] == "assistant")
                    .map(|message| string(&message["content"]))
                    .collect()
            })
            .collect(),
        Source::MiniSwe => vec![
            each(&document()["messages"])
                .iter()
                .filter(|message| message["role"] == "assistant")
                .map(|message| {
                    let answer = &message["extra"]["response"]["choices"][0]["message"];
                    string(&answer["reasoning"]) + &string(&message["content"])
                })
                .collect(),
        ],
        Source::SweAgent => vec![
            each(&document()["trajectory"])
                .iter()
                .map(|step| string(&step["response"]))
                .collect(),
        ],
        Source::VercelSse => vec![lines().filter_map(|chunk| chunk_text(&chunk)).collect()],
    }
}

/// The text, reasoning or tool arguments in a chunk of any provider; `None` if it has none.
pub fn chunk_text(chunk: &Value) -> Option<String> {
    const PATHS: [&str; 16] = [
        "/delta/text",
        "/delta/thinking",
        "/delta/partial_json",
        "/delta/content",
        "/delta/arguments",
        "/delta/message/tool_plan",
        "/delta/message/content/text",
        "/delta/message/content/thinking",
        "/delta/message/tool_calls/function/arguments",
        "/contentBlockDelta/delta/text",
        "/contentBlockDelta/delta/toolUse/input",
        "/contentBlockDelta/delta/reasoningContent/text",
        "/serverContent/outputTranscription/text",
        "/choices/0/text",
        "/choices/0/delta/reasoning",
        "/choices/0/delta/reasoning_content",
    ];
    let kind = chunk["type"].as_str().unwrap_or_default();
    let silent = [
        "session.input_transcript.delta",
        "session.output_audio.delta",
    ];
    if kind.ends_with("-start") || silent.contains(&kind) {
        return None;
    }
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut found: Vec<String> = PATHS
        .iter()
        .filter_map(|path| chunk.pointer(path))
        .filter(|value| !value.is_null())
        .map(plain)
        .collect();
    if let Value::String(delta) = &chunk["delta"] {
        found.push(delta.clone());
    }
    match &chunk["choices"][0]["delta"]["content"] {
        Value::Array(blocks) => found.extend(blocks.iter().map(|block| {
            let inner = &block["thinking"][0]["text"];
            plain(if inner.is_string() {
                inner
            } else {
                &block["text"]
            })
        })),
        Value::String(text) => found.push(text.clone()),
        _ => {}
    }
    for call in chunk
        .pointer("/choices/0/delta/tool_calls")
        .iter()
        .flat_map(|v| v.as_array())
        .flatten()
    {
        found.push(plain(&call["function"]["arguments"]));
    }
    let parts = chunk.pointer("/candidates/0/content/parts");
    for part in parts.and_then(Value::as_array).into_iter().flatten() {
        let call = &part["functionCall"];
        let said = [&part["text"], &call["args"], &call["partialArgs"]];
        found.extend(said.into_iter().filter(|value| !value.is_null()).map(plain));
    }
    (!found.is_empty()).then(|| found.concat())
}
