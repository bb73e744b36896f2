//! Good recordings of all sources, damaged in each way that recordings are found in, and compared
//! with their undamaged reading.
//!
//! `PROPTEST_CASES=2000 cargo test --release -p framebus-recordings --test damaged` looks further.

mod checks;

use checks::{assert_well_formed, sample_files};
use framebus::EventKind::*;
use framebus_recordings::{
    Body, Mend, Problem, ReadOptions, RecordedRun, RecordingError, Source, Step, read_recording,
    samples,
};
use proptest::prelude::*;
use proptest::sample::Index;
use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A recording whose reading has no errors.
struct Sample {
    path: PathBuf,
    source: Source,
    bytes: Vec<u8>,
    runs: Vec<RecordedRun>,
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Sample {
    fn lines(&self) -> Vec<&[u8]> {
        let text = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        text.split(|byte| *byte == b'\n').collect()
    }

    fn read(&self, bytes: &[u8]) -> (Vec<RecordedRun>, Vec<RecordingError>) {
        read(&self.path, bytes)
    }
}

/// Samples of all sources, of up to 64 kB where the source has such.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for source in Source::ALL {
        let mut found = sample_files(&samples().join(source.as_str()));
        found.sort_by_key(|(_, bytes)| bytes.len());
        let small = found
            .iter()
            .filter(|(_, bytes)| bytes.len() <= 64 << 10)
            .count();
        found.truncate(small.max(1));
        files.extend(found.into_iter().map(|(path, bytes)| {
            let (runs, errors) = read(&path, &bytes);
            assert!(errors.is_empty(), "{errors:?}");
            Sample {
                path,
                source,
                bytes,
                runs,
            }
        }));
    }
    files
});

fn read(path: &Path, bytes: &[u8]) -> (Vec<RecordedRun>, Vec<RecordingError>) {
    let (runs, errors) = read_recording(path, Cursor::new(bytes), &ReadOptions::default());
    runs.iter().for_each(assert_well_formed);
    (runs, errors)
}

/// Picks a sample of these sources: first the source, so that each is met alike.
fn sample_of(sources: &'static [Source]) -> impl Strategy<Value = &'static Sample> {
    any::<(Index, Index)>().prop_map(|(source, file)| {
        let source = source.get(sources);
        let of_source = SAMPLES.iter().filter(|sample| sample.source == *source);
        let of_source: Vec<_> = of_source.collect();
        *file.get(&of_source)
    })
}

fn sample() -> impl Strategy<Value = &'static Sample> {
    sample_of(&Source::ALL)
}

/// Picks a sample that holds a record a line, each of which stands alone.
fn sample_of_lines() -> impl Strategy<Value = &'static Sample> {
    sample_of(&[Source::ClaudeCode, Source::TauBench, Source::VercelSse])
}

fn is_mended(error: &RecordingError, what: Mend) -> bool {
    matches!(error.problem, Problem::Mended { what: found, .. } if found == what)
}

/// The runs without their ids, which hold the numbers of lines in one format.
fn steps(runs: &[RecordedRun]) -> Vec<&[Step]> {
    runs.iter().map(|run| &run.steps[..]).collect()
}

/// The places of `text` where a string of JSON goes on: after a letter that follows a letter.
fn inside_strings(text: &[u8]) -> Vec<usize> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Vec::new();
    };
    let (mut in_string, mut escaped, mut places) = (false, 0_u8, Vec::new());
    // Keys and short words tell what a record is; a text has a blank.
    let mut blank = false;
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped > 0 => escaped -= 1,
            '\\' if in_string => {
                let unit = text.as_bytes().get(at + 1) == Some(&b'u');
                escaped = if unit { 5 } else { 1 };
            }
            '"' => (in_string, blank) = (!in_string, false),
            ' ' if in_string => blank = true,
            char if in_string && blank && char.is_ascii_lowercase() => places.push(at + 1),
            _ => {}
        }
    }
    places
}

fn insert(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
    [&bytes[..at], more, &bytes[at..]].concat()
}

/// The usages and costs of runs.
fn figures(runs: &[RecordedRun]) -> Vec<&Body> {
    let steps = runs.iter().flat_map(|run| &run.steps);
    steps
        .filter(|step| matches!(step.kind, UsageRecorded | CostEstimated))
        .map(|step| &step.body)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_encoding_changes_nothing(sample in sample(), way in 0..4) {
        let text = std::str::from_utf8(&sample.bytes).unwrap();
        let units = || std::iter::once(0xfeff).chain(text.encode_utf16());
        let bytes = match way {
            0 => format!("\u{feff}{text}").into_bytes(),
            1 => text.replace('\n', "\r\n").into_bytes(),
            2 => units().flat_map(u16::to_le_bytes).collect(),
            _ => units().flat_map(u16::to_be_bytes).collect(),
        };
        let (runs, errors) = sample.read(&bytes);
        prop_assert!(errors.is_empty(), "{errors:?}");
        prop_assert_eq!(&runs, &sample.runs);
    }

    #[test]
    fn nuls_beside_a_record_cost_nothing(
        sample in sample_of_lines(), line in any::<Index>(), count in 1..5_000_usize, ways in 1..4,
    ) {
        let mut lines: Vec<Vec<u8>> = sample.lines().into_iter().map(<[u8]>::to_vec).collect();
        let line = line.index(lines.len());
        let nuls = vec![0; count];
        let before = if ways & 1 > 0 { &nuls[..] } else { &[] };
        let after = if ways & 2 > 0 { &nuls[..] } else { &[] };
        lines[line] = [before, &lines[line], after].concat();
        let (runs, errors) = sample.read(&[&lines.join(&b'\n')[..], b"\n"].concat());
        prop_assert_eq!(&runs, &sample.runs);
        prop_assert_eq!(errors.len(), 1);
        prop_assert!(is_mended(&errors[0], Mend::Nuls), "{}", errors[0]);
        prop_assert_eq!(errors[0].line, Some(line as u64 + 1));
    }

    #[test]
    fn a_file_that_ends_in_nuls_was_cut_off(
        sample in sample(), cut in any::<Index>(), count in 1..5_000_usize,
    ) {
        let cut = cut.index(sample.bytes.len() - 1) + 1;
        let (runs, errors) = sample.read(&[&sample.bytes[..cut], &vec![0; count]].concat());
        let (plain, _) = sample.read(&sample.bytes[..cut]);
        prop_assert_eq!(runs.len(), plain.len());
        let foreign = |error: &RecordingError| matches!(error.problem, Problem::Foreign);
        let told = errors.iter().filter(|error| matches!(error.problem, Problem::Truncated));
        prop_assert!(told.count() == 1 || runs.is_empty() && errors.iter().any(foreign), "{errors:?}");
        if sample.source == Source::ClaudeCode && !runs.is_empty() {
            prop_assert_eq!(runs[0].steps.last().unwrap().kind, RunFailed);
        }
    }

    #[test]
    fn half_a_character_costs_itself(
        sample in sample(), at in any::<Index>(), half in prop_oneof![Just("\\ud83d"), Just("\\ude00")],
    ) {
        let places = inside_strings(&sample.bytes);
        prop_assume!(!places.is_empty());
        let at = *at.get(&places);
        let (runs, errors) = sample.read(&insert(&sample.bytes, at, half.as_bytes()));
        let (whole, none) = sample.read(&insert(&sample.bytes, at, "\u{fffd}".as_bytes()));
        prop_assert!(none.is_empty(), "{none:?}");
        prop_assert_eq!(&runs, &whole);
        prop_assert_eq!(errors.len(), 1);
        prop_assert!(is_mended(&errors[0], Mend::HalfCharacter), "{}", errors[0]);
        let line = sample.bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        prop_assert_eq!(errors[0].line, Some(line));
    }

    #[test]
    fn bytes_that_are_no_text_cost_themselves(sample in sample(), at in any::<Index>()) {
        let places = inside_strings(&sample.bytes);
        prop_assume!(!places.is_empty());
        let at = *at.get(&places);
        for (damage, what, as_if) in [
            (&b"\xff"[..], Mend::NotUtf8, "\u{fffd}"),
            (b"\x1b", Mend::ControlCharacter, "\\u001b"),
        ] {
            let (runs, errors) = sample.read(&insert(&sample.bytes, at, damage));
            let (whole, _) = sample.read(&insert(&sample.bytes, at, as_if.as_bytes()));
            prop_assert_eq!(&runs, &whole);
            prop_assert_eq!(errors.len(), 1);
            prop_assert!(is_mended(&errors[0], what), "{}", errors[0]);
        }
    }

    #[test]
    fn records_may_share_lines(sample in sample_of_lines(), joined in any::<Index>()) {
        let lines = sample.lines();
        let joined = joined.index(lines.len());
        let mut text = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            text.extend_from_slice(line);
            if index != joined {
                text.push(b'\n');
            }
        }
        let (runs, errors) = sample.read(&text);
        prop_assert!(errors.is_empty(), "{errors:?}");
        prop_assert_eq!(steps(&runs), steps(&sample.runs));
    }

    #[test]
    fn a_record_that_is_cut_before_a_whole_one_costs_itself(
        sample in sample_of_lines(), line in any::<Index>(), cut in any::<Index>(),
    ) {
        let lines = sample.lines();
        let line = line.index(lines.len());
        // A cut copy of each record stands before the record: nothing else is lost.
        let cut = cut.index(lines[line].len() - 1) + 1;
        let mut text: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        text[line] = [&lines[line][..cut], lines[line]].concat();
        let (runs, errors) = sample.read(&text.join(&b'\n'));
        prop_assert_eq!(steps(&runs), steps(&sample.runs), "{}", String::from_utf8_lossy(&text[line]));
        prop_assert_eq!(errors.len(), 1);
        prop_assert_eq!(errors[0].line, Some(line as u64 + 1));
    }

    #[test]
    fn repeated_records_count_once(
        sample in sample_of(&[Source::ClaudeCode, Source::TauBench]), range in any::<(Index, Index)>(), to in any::<Index>(),
    ) {
        let lines = sample.lines();
        let (from, until) = (range.0.index(lines.len()), range.1.index(lines.len()));
        let (from, until) = (from.min(until), from.max(until));
        // Behind what they repeat, as a session that was resumed writes them.
        let to = until + 1 + to.index(lines.len() - until);
        let text = [&lines[..to], &lines[from..=until], &lines[to..]].concat();
        let (runs, errors) = sample.read(&text.join(&b'\n'));
        prop_assert_eq!(steps(&runs), steps(&sample.runs));
        prop_assert_eq!(errors.len(), 1);
        prop_assert!(is_mended(&errors[0], Mend::Repeated), "{}", errors[0]);
        prop_assert_eq!(errors[0].line, Some(to as u64 + 1));
    }

    #[test]
    fn a_number_that_is_not_json_costs_itself(
        sample in sample(), at in any::<Index>(),
        number in prop::sample::select(vec!["NaN", "Infinity", "-Infinity", "1e999"]),
    ) {
        // A field that nothing reads, in any object that has another.
        let text = std::str::from_utf8(&sample.bytes).unwrap();
        let objects: Vec<_> = text.match_indices("{\"").map(|(at, _)| at + 1).collect();
        let first = text.find('{').unwrap() + 1;
        let at = if objects.is_empty() { first } else { *at.get(&objects) };
        prop_assume!(!is_in_string(text, at));
        let field = |value: &str| format!("\"not read\":{value},");
        let damaged = insert(&sample.bytes, at, field(number).as_bytes());
        let (runs, errors) = sample.read(&damaged);
        let (whole, none) = sample.read(&insert(&sample.bytes, at, field("null").as_bytes()));
        prop_assert!(none.is_empty(), "{none:?}");
        prop_assert_eq!(&runs, &whole);
        prop_assert_eq!(errors.len(), 1);
        prop_assert!(is_mended(&errors[0], Mend::NotANumber), "{}", errors[0]);
    }

    #[test]
    fn what_is_nested_too_deep_costs_itself(sample in sample(), depth in 130..3_000_usize) {
        let text = std::str::from_utf8(&sample.bytes).unwrap();
        let at = text.find('{').unwrap() + 1;
        let deep = format!("\"deep\":{}{},", "[".repeat(depth), "]".repeat(depth));
        let (runs, errors) = sample.read(&insert(&sample.bytes, at, deep.as_bytes()));
        prop_assert_eq!(&runs, &sample.runs);
        prop_assert_eq!(errors.len(), 1);
        prop_assert!(is_mended(&errors[0], Mend::Deep), "{}", errors[0]);
    }

    #[test]
    fn a_lost_line_costs_itself(sample in sample_of_lines(), line in any::<Index>()) {
        let mut lines = sample.lines();
        let line = line.index(lines.len());
        lines[line] = b"oops";
        let (runs, errors) = sample.read(&lines.join(&b'\n'));
        lines[line] = b"";
        let (without, _) = sample.read(&lines.join(&b'\n'));
        prop_assert_eq!(&runs, &without);
        if !runs.is_empty() {
            let here = errors.iter().filter(|error| error.line == Some(line as u64 + 1));
            prop_assert_eq!(here.count(), 1);
        }
        // A session that goes on behind it did not fail by it, and nothing counts twice.
        if sample.source == Source::ClaudeCode && line + 1 < lines.len() && !runs.is_empty() {
            let rest = sample.lines().split_off(line + 1);
            let went_on = rest.iter().filter(|line| {
                let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                value["type"] == "assistant" || value["subtype"] == "turn_duration"
            });
            if went_on.count() > 1 {
                prop_assert_eq!(runs[0].steps.last().unwrap().kind, RunCompleted);
            }
            prop_assert!(figures(&runs).len() <= figures(&sample.runs).len());
        }
    }

    #[test]
    fn leading_records_of_newer_versions_hide_nothing(
        sample in sample_of_lines(), count in 1..200_usize,
    ) {
        let newer = "{\"type\":\"a-newer-kind\",\"x\":[1]}\n".repeat(count);
        let (runs, errors) = sample.read(&[newer.as_bytes(), &sample.bytes].concat());
        prop_assert_eq!(steps(&runs), steps(&sample.runs));
        // A line of tau-bench is a run; of the others, kinds that are not known are passed over.
        let told = if sample.source == Source::TauBench { count } else { 0 };
        prop_assert_eq!(errors.len(), told);
    }

    #[test]
    fn events_are_read_like_their_payloads(
        sample in sample_of(&[Source::VercelSse]), splits in any::<Index>(), end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cut in any::<bool>(),
    ) {
        let lines = sample.lines();
        let split = splits.index(lines.len());
        let mut text = format!(": a comment{end}{end}retry: 3{end}");
        for (index, line) in lines.iter().enumerate() {
            let payload = std::str::from_utf8(line).unwrap();
            // Data of several lines is one payload.
            let payload = match payload.find(",\"") {
                Some(at) if index == split => {
                    format!("{},{end}data: {}", &payload[..at], &payload[at + 1..])
                }
                _ => payload.to_owned(),
            };
            text += &format!("event: chunk{end}id: {index}{end}data: {payload}{end}{end}");
        }
        let text = if cut { text.trim_end() } else { &text };
        let (runs, errors) = sample.read(text.as_bytes());
        prop_assert!(errors.is_empty(), "{errors:?}");
        prop_assert_eq!(&runs, &sample.runs);
    }

    #[test]
    fn several_damages_at_once_are_all_told(sample in sample_of_lines(), at in any::<Index>()) {
        let places = inside_strings(&sample.bytes);
        prop_assume!(!places.is_empty());
        let at = *at.get(&places);
        let damaged = insert(&sample.bytes, at, b"\\ud83d\x1b");
        let mut damaged = [b"\0\0", "\u{feff}".as_bytes(), &damaged].concat();
        damaged.extend(b"{\"type\":\"cut");
        let (runs, errors) = sample.read(&damaged);
        for what in [Mend::HalfCharacter, Mend::ControlCharacter, Mend::Nuls] {
            let told = errors.iter().filter(|error| is_mended(error, what)).count();
            prop_assert_eq!(told, 1, "{:?}: {:?}", what, errors);
        }
        prop_assert!(matches!(errors.last().unwrap().problem, Problem::Truncated), "{errors:?}");
        let mut clean = insert(&sample.bytes, at, b"\\ufffd\\u001b");
        clean.extend(b"{\"type\":\"cut");
        prop_assert_eq!(&runs, &sample.read(&clean).0);
    }
}

/// How many cases a property is tried with; a recording is read twice in each.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

/// Tells whether a byte of JSON, or of lines of it, is in a string.
fn is_in_string(text: &str, at: usize) -> bool {
    let (mut in_string, mut escaped) = (false, false);
    for byte in text[..at].bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    in_string
}
