//! The frames that are stored, in blocks as the archive makes them.

use std::ops::Range;

/// Frames in a block.
pub const BLOCK: u64 = 1_024;
/// Frames in a group, which is made durable at once.
pub const GROUP: u64 = 2_048;

/// Runs at work at once, and the frames of all of them together.
const RUNS: u64 = 50;
const FRAMES_OF_RUNS: u64 = 20_000;
/// Agents, each of which every run may name.
pub const AGENTS: u64 = 8;
/// Microseconds from one frame to the next.
const STEP: i64 = 37;
/// The kind of most frames, and of one in twenty.
pub const KINDS: [u8; 2] = [15, 1];

/// What stands for a frame: sequence, time, run, agent, kind, text.
pub type Record<'a> = (u64, i64, u64, u64, u8, &'a str);

/// Frames with consecutive sequences, and what is indexed of them.
pub struct Block {
    /// The sequence of the first frame.
    pub first: u64,
    /// The times of the first and of the last frame.
    pub times: (i64, i64),
    /// A bit for each kind in the block.
    pub kinds: u128,
    /// The runs in the block, each once.
    pub runs: Vec<u64>,
    /// The agents in the block, each once.
    pub agents: Vec<u64>,
    /// The records, one after another.
    pub bytes: Vec<u8>,
}

/// The text that the frames are cut from.
pub fn text() -> String {
    "The quick brown fox jumps over the lazy dog. ".repeat(8)
}

/// The time of the frame with this sequence.
pub fn time_of(sequence: u64) -> i64 {
    sequence as i64 * STEP
}

/// One of the runs that are at work when this sequence is given.
pub fn run_at(sequence: u64, n: u64) -> u64 {
    sequence / FRAMES_OF_RUNS * RUNS + n % RUNS
}

/// The frame with this sequence: 50 runs at a time of 400 frames each, 8 agents, one end in 20, a
/// text of 40 to 200 bytes.
fn record(sequence: u64, text: &str) -> Record<'_> {
    let mix = sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    let run = run_at(sequence, mix);
    let kind = KINDS[usize::from(mix.is_multiple_of(20))];
    let length = 40 + (mix % 160) as usize;
    (
        sequence,
        time_of(sequence),
        run,
        run % AGENTS,
        kind,
        &text[..length],
    )
}

/// The blocks of a group of frames.
pub fn blocks(group: Range<u64>, text: &str) -> Vec<Block> {
    let firsts = group.step_by(BLOCK as usize);
    firsts.map(|first| block(first, text)).collect()
}

fn block(first: u64, text: &str) -> Block {
    let records: Vec<_> = (first..first + BLOCK)
        .map(|sequence| record(sequence, text))
        .collect();
    let distinct = |key: fn(&Record<'_>) -> u64| {
        let mut keys: Vec<_> = records.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let mut bytes = Vec::new();
    for record in &records {
        bytes = postcard::to_extend(record, bytes).unwrap();
    }
    Block {
        first,
        times: (records[0].1, records[records.len() - 1].1),
        kinds: records.iter().fold(0, |set, record| set | 1 << record.4),
        runs: distinct(|record| record.2),
        agents: distinct(|record| record.3),
        bytes,
    }
}

/// The first record in some bytes, its own bytes, and what comes after it.
pub fn split(bytes: &[u8]) -> Option<(Record<'_>, &[u8], &[u8])> {
    let (record, rest) = postcard::take_from_bytes(bytes).ok()?;
    Some((record, &bytes[..bytes.len() - rest.len()], rest))
}

/// How many records these bytes hold; each is decoded.
pub fn frames(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Some((_, _, rest)) = split(bytes) {
        (count, bytes) = (count + 1, rest);
    }
    count
}
