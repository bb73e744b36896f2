//! Frames, cursors, filters, options and statistics from outside: whatever JSON or text comes,
//! reading it gives a value that can be used and written again, or an error that says something.
//! Never a panic.
//!
//! Inputs are the golden files with random edits, and random bytes. `cargo test --test fuzz` tries
//! some thousands, `BOLERO_RANDOM_ITERATIONS` more; with `cargo-bolero` the same targets run under
//! a fuzzer that follows coverage: `cargo bolero test --test fuzz json_of_frames`.
#![cfg(feature = "serde")]

use bolero::{TypeGenerator, check};
use framebus::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Pieces that break readers of JSON.
const PIECES: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "18446744073709551615",
    "18446744073709551616",
    "0.5",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"9999-12-31T23:59:59.999999999Z\"",
    "\"-009999-01-01T00:00:00Z\"",
    "{}",
    "[]",
    "[[[[[[[[",
    "{\"a\":",
    ",",
    ":",
    "\"all\"",
    "\"run_completed\"",
    "\"ffffffffffffffff\"",
    "\u{202e}",
    "AAAA====",
];

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Edit {
    Delete { at: u16, count: u8 },
    Double { at: u16, count: u8 },
    Put { at: u16, piece: u8 },
    Replace { at: u16, count: u8, piece: u8 },
    Byte { at: u16, byte: u8 },
}

fn edited(text: &str, edits: &[Edit]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for &edit in edits {
        let len = bytes.len();
        let place = |at: u16| usize::from(at) % (len + 1);
        let range = |at, count: u8| place(at)..(place(at) + usize::from(count)).min(len);
        let piece = |piece: u8| PIECES[usize::from(piece) % PIECES.len()].bytes();
        match edit {
            Edit::Delete { at, count } => drop(bytes.drain(range(at, count))),
            Edit::Double { at, count } => {
                let again = bytes[range(at, count)].to_vec();
                drop(bytes.splice(place(at)..place(at), again));
            }
            Edit::Put { at, piece: it } => drop(bytes.splice(place(at)..place(at), piece(it))),
            Edit::Replace {
                at,
                count,
                piece: it,
            } => {
                drop(bytes.splice(range(at, count), piece(it)));
            }
            Edit::Byte { at, byte } if len > 0 => bytes[usize::from(at) % len] = byte,
            Edit::Byte { .. } => {}
        }
    }
    bytes
}

/// Reads the golden files with edits, and what is no JSON at all; `used` gets what could be read.
fn fuzz<T>(golden: &[&str], used: impl Fn(T) + std::panic::RefUnwindSafe)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let unedited: Vec<T> = golden
        .iter()
        .map(|text| serde_json::from_str(text).expect("a golden file"))
        .collect();
    unedited.into_iter().for_each(&used);
    let input = bolero::generator::produce::<(u8, Vec<Edit>, Option<Vec<u8>>)>();
    check!()
        .with_generator(input)
        .with_iterations(4_000)
        .for_each(|(which, edits, raw)| {
            let golden = golden[usize::from(*which) % golden.len()];
            let bytes = raw.clone().unwrap_or_else(|| edited(golden, edits));
            match serde_json::from_slice::<T>(&bytes) {
                Ok(value) => {
                    let written = serde_json::to_string(&value).expect("what was read is written");
                    let again = serde_json::from_str::<T>(&written).expect("and read again");
                    assert_eq!(again, value);
                    used(value);
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        });
}

fn check_error(error: &AgentError) {
    let text = error.to_string();
    assert!(text.len() > 10, "{text:?} says what is wrong");
}

#[test]
fn json_of_frames() {
    let golden = [
        include_str!("golden/frame_minimal.json"),
        include_str!("golden/frame_text.json"),
        include_str!("golden/frame_binary.json"),
        include_str!("golden/frame_full.json"),
        include_str!("golden/frame_with_notice.json"),
    ];
    fuzz::<EventFrame>(&golden, |frame| {
        let bus = InMemoryAgentEventBus::default();
        let (run, kind) = (
            frame.event.envelope.run_id.clone(),
            frame.event.envelope.event_kind,
        );
        let mut stream = bus.subscribe_run(run, None).expect("any run");
        bus.publish(frame).expect("room in an empty bus");
        let got = stream.next().expect("what was published");
        assert_eq!(got.event.envelope.event_kind, kind);
    });
}

#[test]
fn json_of_cursors() {
    fuzz::<Vec<EventCursor>>(&[include_str!("golden/cursors.json")], |cursors| {
        let bus = InMemoryAgentEventBus::default();
        for cursor in cursors {
            // A cursor of another bus is an error, never an empty stream.
            check_error(
                &bus.subscribe_all(Some(cursor))
                    .expect_err("a foreign cursor"),
            );
        }
    });
}

#[test]
fn json_of_filters() {
    let envelope = EventEnvelope::new("run-1", "planner", EventKind::ToolFailed).with_tag("search");
    fuzz::<EventFilter>(
        &[include_str!("golden/filter.json"), "{}"],
        |filter| match filter.compile() {
            Ok(compiled) => {
                compiled.matches_envelope(&envelope);
                let bus = InMemoryAgentEventBus::default();
                if let Err(error) = bus.subscribe_filtered(compiled, None) {
                    check_error(&error);
                }
            }
            Err(error) => check_error(&error),
        },
    );
}

#[test]
fn json_of_options() {
    fuzz::<SubscriptionOptions>(&[include_str!("golden/options.json"), "{}"], |options| {
        let bus = InMemoryAgentEventBus::default();
        if let Err(error) = bus.subscribe_all_with_options(None, options) {
            check_error(&error);
        }
    });
}

#[test]
fn json_of_statistics() {
    fuzz::<StreamStats>(&[include_str!("golden/stream_stats.json"), "{}"], |stats| {
        assert!(
            stats
                .dropped
                .to_string()
                .starts_with(&stats.dropped.total().to_string())
        );
    });
    fuzz::<ring::RingStats>(&[include_str!("golden/bus_stats.json")], |stats| {
        for shard in &stats.shards {
            assert!((0.0..=1.0).contains(&shard.frames.fill()));
        }
    });
}

/// Reads texts with edits; what is read is written as it was.
fn fuzz_text<T>(texts: &[&str])
where
    T: std::str::FromStr<Err = AgentError> + std::fmt::Display + PartialEq + Debug,
{
    for text in texts {
        assert_eq!(text.parse::<T>().expect("a text").to_string(), *text);
    }
    let input = bolero::generator::produce::<(u8, Vec<Edit>, Option<Vec<u8>>)>();
    check!()
        .with_generator(input)
        .with_iterations(4_000)
        .for_each(|(which, edits, raw)| {
            let text = texts[usize::from(*which) % texts.len()];
            let bytes = raw.clone().unwrap_or_else(|| edited(text, edits));
            let text = String::from_utf8_lossy(&bytes);
            match text.parse::<T>() {
                Ok(value) => assert_eq!(value.to_string(), text),
                Err(error) => check_error(&error),
            }
        });
}

#[test]
fn texts_of_cursors() {
    fuzz_text::<EventCursor>(&[
        "0123456789abcdef-all-0",
        "0123456789abcdef-run:run-1-42@journal%2F7",
        "0123456789abcdef-agent:%C3%BC-18446744073709551615",
        "0123456789abcdef-ad48a015835fe4f5-42",
        "0123456789abcdef-filter:mine:ad48a015835fe4f5-42",
    ]);
    fuzz_text::<ArchiveCursor>(&["archive-1:7", "%3A:0"]);
}
