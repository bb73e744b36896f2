//! Tells the format of a recording by its shape. File and folder names play no part.
//!
//! The formats of one value a line are told by the first of the leading lines that is an object
//! of a known shape, so that a bad first line doesn't hide them. Anything else is read as a
//! single document.

use crate::Problem;
use crate::formats::{claude_code, vercel_sse};
use crate::limits::MAX_DOCUMENT;
use crate::lines::Lines;
use serde_json::Value;
use std::io::{BufRead, Read, Seek};

/// How many leading lines are looked at.
const LEADING_LINES: usize = 16;

/// A format; with the document, if the whole file is one.
pub enum Detected {
    ClaudeCode,
    TauBench,
    VercelSse,
    MiniSwe(Value),
    SweAgent(Value),
}

/// Finds the format of `input` and leaves it at any position.
pub fn detect(input: &mut (impl BufRead + Seek)) -> Result<Detected, (Option<u64>, Problem)> {
    let mut lines = Lines::new(input.by_ref());
    let mut first = None;
    let mut unknown = None;
    for _ in 0..LEADING_LINES {
        let Some((number, line)) = lines.next_json(vercel_sse::payload) else {
            break;
        };
        first = first.or(Some(number));
        match line {
            Ok(value) if is_document(&value) => break,
            Ok(value) => match of_line(&value) {
                Some(found) => return Ok(found),
                None if value.is_object() => unknown = unknown.or(Some(number)),
                None => {}
            },
            Err(Problem::Unreadable(error)) => {
                return Err((None, Problem::Unreadable(error)));
            }
            Err(_) => {}
        }
    }
    match (first, unknown) {
        (None, _) => Err((Some(1), Problem::Empty)),
        (_, Some(number)) => Err((Some(number), Problem::Foreign)),
        (Some(first), None) => document(input, first),
    }
}

/// Reads all of `input` as one document, whose first line that is not blank is `first`.
fn document(
    input: &mut (impl BufRead + Seek),
    first: u64,
) -> Result<Detected, (Option<u64>, Problem)> {
    let mut bytes = Vec::new();
    input
        .rewind()
        .and_then(|()| input.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes))
        .map_err(|error| (None, Problem::Unreadable(error)))?;
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err((Some(first), Problem::Foreign));
    }
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err((Some(first), Problem::DocumentTooLong));
    }
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) if is_mini_swe(&value) => Ok(Detected::MiniSwe(value)),
        Ok(value) if is_swe_agent(&value) => Ok(Detected::SweAgent(value)),
        Ok(_) => Err((Some(first), Problem::Foreign)),
        Err(error) => Err((Some(error.line() as u64), Problem::at_the_end(&error))),
    }
}

fn of_line(value: &Value) -> Option<Detected> {
    if claude_code::recognises(value) {
        Some(Detected::ClaudeCode)
    } else if value["traj"].is_array() && value.get("task_id").is_some() {
        Some(Detected::TauBench)
    } else if vercel_sse::recognises(value) {
        Some(Detected::VercelSse)
    } else {
        None
    }
}

fn is_document(value: &Value) -> bool {
    is_mini_swe(value) || is_swe_agent(value)
}

fn is_mini_swe(value: &Value) -> bool {
    value["messages"].is_array() && value["info"].is_object()
}

fn is_swe_agent(value: &Value) -> bool {
    value["trajectory"].is_array() && value["info"].is_object()
}
