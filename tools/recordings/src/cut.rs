//! Cuts whole messages into deltas, the way a model would have streamed them.
//!
//! A token here is a piece of the form `\s*\S+`; white space after the last one belongs to it.
//! Deltas are slices of the message, and each begins where the one before ended. Joined they are
//! the message, byte for byte.

use std::num::NonZeroUsize;

/// How many tokens make a delta unless the reader is told otherwise.
pub const TOKENS_PER_DELTA: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Returns the deltas of `text`, each of `tokens` tokens. The last may have fewer.
///
/// An empty text has no deltas; one of white space only is a single delta. O(length) in all.
pub fn deltas(text: &str, tokens: NonZeroUsize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = 0;
        for _ in 0..tokens.get() {
            let Some(length) = token(&rest[end..]) else {
                end = rest.len();
                break;
            };
            end += length;
        }
        if rest[end..].trim_start().is_empty() {
            end = rest.len();
        }
        let (delta, after) = rest.split_at(end);
        rest = after;
        (!delta.is_empty()).then_some(delta)
    })
}

/// Returns the byte length of the first `\s*\S+` of `text`.
fn token(text: &str) -> Option<usize> {
    let word = text.find(|c: char| !c.is_whitespace())?;
    let length = text[word..].find(char::is_whitespace);
    Some(length.map_or(text.len(), |length| word + length))
}
