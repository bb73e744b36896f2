//! Mends texts that are almost JSON: what other writers let through, and what damaged a character.
//!
//! | found | becomes |
//! | --- | --- |
//! | half of a UTF-16 pair, escaped: `\ud83d` | `\ufffd` |
//! | bytes that are not UTF-8 | U+FFFD |
//! | a control character in a string | its escape |
//! | `NaN`, `Infinity`, `-Infinity`, `1e999` | `null` |
//! | a value nested deeper than [`MAX_DEPTH`] | `null` |
//!
//! Everything else stays as it is. One pass, O(length).

use crate::error::Mend;
use crate::limits::MAX_DEPTH;
use crate::lines::feeds;
use std::str::FromStr;

/// Words that some writers of JSON have for numbers that JSON lacks.
const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Returns `text` mended, and what was mended in it, each kind once with the number of line feeds
/// before its first place; `None` if there is nothing to mend.
pub fn mend(text: &[u8]) -> Option<(String, Vec<(u64, Mend)>)> {
    let decoded = String::from_utf8_lossy(text);
    let mut mender = Mender {
        text: &decoded,
        at: 0,
        mended: String::with_capacity(decoded.len()),
        depth: 0,
        found: Vec::new(),
    };
    if let Err(error) = std::str::from_utf8(text) {
        let feeds = feeds(&text[..error.valid_up_to()]);
        mender.found.push((feeds, Mend::NotUtf8));
    }
    while mender.step() {}
    (!mender.found.is_empty()).then_some((mender.mended, mender.found))
}

struct Mender<'a> {
    text: &'a str,
    /// How many bytes of `text` were looked at.
    at: usize,
    mended: String,
    /// How many lists and objects are open.
    depth: usize,
    found: Vec<(u64, Mend)>,
}

impl<'a> Mender<'a> {
    /// Looks at what stands next, outside of strings; `false` at the end.
    fn step(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(next) = rest.chars().next() else {
            return false;
        };
        match next {
            '"' => self.string(),
            '{' | '[' if self.depth == MAX_DEPTH => match skip_value(rest) {
                Some(length) => self.replace(length, "null", Mend::Deep),
                None => self.copy(rest.len()),
            },
            '{' | '[' => {
                self.depth += 1;
                self.copy(1);
            }
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                self.copy(1);
            }
            '-' | '0'..='9' | 'N' | 'I' => {
                let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                let word = &rest[..length];
                let beyond = next != 'N' && f64::from_str(word).is_ok_and(f64::is_infinite);
                if beyond || NOT_NUMBERS.contains(&word) {
                    self.replace(length, "null", Mend::NotANumber);
                } else {
                    self.copy(length);
                }
            }
            _ => self.copy(next.len_utf8()),
        }
        true
    }

    /// Copies a string, mending what is in it.
    fn string(&mut self) {
        self.copy(1);
        loop {
            let rest = &self.text[self.at..];
            let special = |c: char| matches!(c, '"' | '\\') || c < ' ';
            self.copy(rest.find(special).unwrap_or(rest.len()));
            let rest = &self.text[self.at..];
            match rest.chars().next() {
                None => return,
                Some('"') => return self.copy(1),
                Some('\\') => match (unit(rest), unit(rest.get(6..).unwrap_or_default())) {
                    (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => self.copy(12),
                    (Some(0xd800..0xe000), _) => self.replace(6, r"\ufffd", Mend::HalfCharacter),
                    // An escape is two characters; the second may be what would end the string.
                    _ => self.copy(rest.chars().take(2).map(char::len_utf8).sum()),
                },
                Some(control) => {
                    let escape = format!("\\u{:04x}", u32::from(control));
                    self.replace(1, &escape, Mend::ControlCharacter);
                }
            }
        }
    }

    fn copy(&mut self, length: usize) {
        self.mended.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    fn replace(&mut self, length: usize, by: &str, why: Mend) {
        if self.found.iter().all(|(_, mend)| *mend != why) {
            let feeds = feeds(&self.text.as_bytes()[..self.at]);
            self.found.push((feeds, why));
        }
        self.mended.push_str(by);
        self.at += length;
    }
}

/// Returns the UTF-16 unit that the escape at the start of `text` stands for, if one is there.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(r"\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

/// Returns the length of the list or object that `text` begins with, if it ends.
fn skip_value(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &[u8]) -> (Value, Vec<Mend>) {
        let (mended, found) = mend(text).expect("something to mend");
        let found = found.into_iter().map(|(_, mend)| mend).collect();
        (serde_json::from_str(&mended).expect(&mended), found)
    }

    #[test]
    fn each_damage_costs_what_it_must() {
        let cases: [(&[u8], Value, Mend); 9] = [
            (
                br#"["a\ud83d."]"#,
                json!(["a\u{fffd}."]),
                Mend::HalfCharacter,
            ),
            (
                br#"["\ude00\ud83d"]"#,
                json!(["\u{fffd}\u{fffd}"]),
                Mend::HalfCharacter,
            ),
            (
                br#"["\ud83d\ud83d\ude00"]"#,
                json!(["\u{fffd}\u{1f600}"]),
                Mend::HalfCharacter,
            ),
            (
                b"[\"\xed\", \"\\\"NaN\"]",
                json!(["\u{fffd}", "\"NaN"]),
                Mend::NotUtf8,
            ),
            (b"[\"a\tb\"]", json!(["a\tb"]), Mend::ControlCharacter),
            (b"{\"a\": NaN}", json!({"a": null}), Mend::NotANumber),
            (
                b"[-Infinity,Infinity]",
                json!([null, null]),
                Mend::NotANumber,
            ),
            (
                b"[1e999, 10, -2.5e3]",
                json!([null, 10, -2500.0]),
                Mend::NotANumber,
            ),
            (
                br#"["NaN \\", -1e999]"#,
                json!(["NaN \\", null]),
                Mend::NotANumber,
            ),
        ];
        for (text, value, why) in cases {
            let words = String::from_utf8_lossy(text);
            assert_eq!(read(text), (value, vec![why]), "{words}");
        }
    }

    #[test]
    fn what_is_too_deep_reads_as_null() {
        let deep = |depth: usize| format!("{}\"]\"{}", "[".repeat(depth), "]".repeat(depth));
        let (mut value, why) = read(format!("[{}, 7]", deep(10_000)).as_bytes());
        assert_eq!(why, [Mend::Deep]);
        assert_eq!(value[1], 7);
        let mut depth = 0;
        while value.is_array() {
            value = value[0].take();
            depth += 1;
        }
        assert_eq!((depth, value), (MAX_DEPTH, Value::Null));
    }

    #[test]
    fn what_is_right_or_beyond_help_stays() {
        for text in [
            "",
            "[1, \"\\ud83d\\ude00\", \"\\\\ud83d\"]",
            "{\"a\": oops}",
            "[\"cut \\",
        ] {
            assert_eq!(mend(text.as_bytes()), None, "{text}");
        }
    }
}
