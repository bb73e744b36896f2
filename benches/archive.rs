//! The archive at work: journal first from two threads, following a bus, replaying, opening.
//!
//! `cargo bench --features archive --bench archive`; `FRAMES` says how many are archived and
//! replayed (1,000,000 by default), `JOURNAL` how many of them journal first, `ROUNDS` how often
//! publishing is compared, `ARCHIVE_DIR` on which disk.

use framebus::archive::{
    Archive, ArchiveOptions, Archiver, Durability, FollowOptions, JournalOptions, JournaledBus,
};
use framebus::*;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

type Res<T> = Result<T, Box<dyn std::error::Error>>;

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(default)
}

fn folder() -> Res<tempfile::TempDir> {
    let base = std::env::var_os("ARCHIVE_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    Ok(tempfile::tempdir_in(base)?)
}

/// Frames as a runtime makes them: 50 runs at a time of 400 frames each, 8 agents, one end in 20, a
/// summary of 40 to 200 bytes.
struct Frames {
    runs: Vec<RunId>,
    agents: Vec<AgentId>,
    text: String,
}

impl Frames {
    fn new(count: u64) -> Self {
        let runs = count / 400 + 50;
        Frames {
            runs: (0..runs)
                .map(|n| RunId::new(format!("run-{n:08}")))
                .collect(),
            agents: (0..8).map(|n| AgentId::new(format!("agent-{n}"))).collect(),
            text: "The quick brown fox jumps over the lazy dog. ".repeat(8),
        }
    }

    fn frame(&self, n: u64) -> EventFrame {
        let mix = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        let run = (n / 20_000 * 50 + mix % 50) as usize % self.runs.len();
        let kind = match mix % 20 {
            0 => EventKind::ToolCompleted,
            _ => EventKind::ModelStreamDelta,
        };
        let envelope = EventEnvelope::new(&self.runs[run], &self.agents[run % 8], kind);
        let text = &self.text[..40 + (mix % 160) as usize];
        EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
    }
}

fn open(folder: &tempfile::TempDir, durability: Durability) -> Res<Archive> {
    let options = ArchiveOptions {
        durability,
        ..ArchiveOptions::default()
    };
    Ok(Archive::open(folder.path(), options)?)
}

fn journaled(archive: &Archive) -> Res<JournaledBus> {
    let builder = InMemoryAgentEventBus::builder();
    Ok(JournaledBus::open(
        archive.clone(),
        builder,
        JournalOptions::default(),
    )?)
}

/// Two threads publish `count` frames in batches, journal first. Gives frames a second.
fn journal_first(frames: &Frames, count: u64, batch: u64, durability: Durability) -> Res<f64> {
    let folder = folder()?;
    let bus = journaled(&open(&folder, durability)?)?;
    let begin = Instant::now();
    std::thread::scope(|threads| {
        for thread in 0..2 {
            let bus = &bus;
            threads.spawn(move || {
                for at in (thread * batch..count).step_by(2 * batch as usize) {
                    let frames = (at..(at + batch).min(count)).map(|n| frames.frame(n));
                    bus.publish_all(frames).expect("the disk has room");
                }
            });
        }
    });
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// Two threads hand in single frames, and wait for each 4,096th answer.
fn one_by_one(frames: &Frames, count: u64) -> Res<f64> {
    let folder = folder()?;
    let bus = journaled(&open(&folder, Durability::EachAppend)?)?;
    let begin = Instant::now();
    std::thread::scope(|threads| {
        for thread in 0..2 {
            let bus = &bus;
            threads.spawn(move || {
                for n in (thread..count).step_by(2) {
                    let receipt = bus.submit([frames.frame(n)]);
                    if n / 2 % 4_096 == 4_095 {
                        receipt.wait().expect("the disk has room");
                    }
                }
            });
        }
    });
    drop(bus);
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// What reads while the cost of a publish is measured.
#[derive(Clone, Copy)]
enum Reader {
    Nobody,
    /// A plain subscriber that looks at each frame and pauses as the archiver does.
    Plain,
    Archiver,
}

/// Returns the median time of a batch of 100 publishes at 100,000 frames a second, and how many
/// frames the archiver lost.
fn publish_cost(frames: &Frames, count: u64, reader: Reader) -> Res<(f64, u64)> {
    let folder = folder()?;
    let archive = open(&folder, Durability::EachAppend)?;
    let bus = InMemoryAgentEventBus::default();
    let options = FollowOptions::default();
    let archiver = match reader {
        Reader::Archiver => Some(Archiver::follow(&archive, &bus, options)?),
        _ => None,
    };
    let plain = match reader {
        Reader::Plain => {
            let mut stream = bus.subscribe_all(None)?;
            Some(std::thread::spawn(move || {
                let mut sum = 0;
                while stream.end().is_none() {
                    while stream.read_batch(|item| {
                        if let BatchItem::Frame(frame) = item {
                            sum += frame.envelope().event_seq;
                        }
                        ControlFlow::Continue(())
                    }) > 0
                    {}
                    std::thread::sleep(options.linger);
                }
                sum
            }))
        }
        _ => None,
    };
    let mut times = Vec::new();
    let begin = Instant::now();
    for at in (0..count).step_by(100) {
        let due = Duration::from_micros(at * 10);
        while begin.elapsed() < due {
            std::hint::spin_loop();
        }
        let frames: Vec<_> = (at..at + 100).map(|n| frames.frame(n)).collect();
        let started = Instant::now();
        for frame in frames {
            bus.publish(frame)?;
        }
        times.push(started.elapsed());
    }
    drop(bus);
    let lost = archiver.map_or(0, |archiver| archiver.finish().lost);
    plain.map(|plain| plain.join().expect("it only adds up"));
    times.sort_unstable();
    Ok((times[times.len() / 2].as_nanos() as f64 / 100.0, lost))
}

fn replay(archive: &Archive, filter: EventFilter) -> Res<(u64, Duration)> {
    let begin = Instant::now();
    let frames = archive.replay_filtered_from_cursor(filter.compile()?, archive.start()?)?;
    let count = frames.count() as u64;
    Ok((count, begin.elapsed()))
}

/// What the process holds in memory, in KiB, where the system says it.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|it| it.parse::<u64>().ok());
    pages.unwrap_or(0) * 4
}

fn main() -> Res<()> {
    let trial = std::env::args().any(|argument| argument == "--test");
    let count = number("FRAMES", if trial { 20_000 } else { 1_000_000 });
    let frames = Frames::new(count);

    let journal = number("JOURNAL", count);
    println!("journal first, 2 threads, {journal} frames");
    for (batch, durability) in [
        (500, Durability::EachAppend),
        (1_000, Durability::EachAppend),
        (4_000, Durability::EachAppend),
        (1_000, Durability::SystemCache),
    ] {
        let rate = journal_first(&frames, journal, batch, durability)?;
        println!("  batches of {batch}, {durability:?}: {rate:.0} frames/s");
    }
    let rate = one_by_one(&frames, journal)?;
    println!("  handed in one by one, EachAppend: {rate:.0} frames/s");

    println!("publishing 100,000 frames/s, median cost of a publish");
    let rounds = number("ROUNDS", if trial { 1 } else { 5 });
    let paced = if trial { 10_000 } else { 300_000 };
    for _ in 0..rounds {
        let (alone, _) = publish_cost(&frames, paced, Reader::Nobody)?;
        let (read, _) = publish_cost(&frames, paced, Reader::Plain)?;
        let (followed, lost) = publish_cost(&frames, paced, Reader::Archiver)?;
        let more = |cost: f64| (cost / alone - 1.0) * 100.0;
        println!(
            "  unread {alone:.1} ns, read {read:.1} ns: {:+.1} %, archived {followed:.1} ns: \
             {:+.1} %; {lost} frames lost",
            more(read),
            more(followed)
        );
    }

    let folder = folder()?;
    {
        let bus = journaled(&open(&folder, Durability::SystemCache)?)?;
        for at in (0..count).step_by(4_096) {
            bus.publish_all((at..(at + 4_096).min(count)).map(|n| frames.frame(n)))?;
        }
    }
    let begin = Instant::now();
    let archive = open(&folder, Durability::EachAppend)?;
    println!(
        "{count} frames: opened in {:.2} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    let size: u64 = std::fs::read_dir(folder.path())?
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum();
    println!("  {:.1} bytes a frame", size as f64 / count as f64);
    let rare = EventFilter {
        kinds: vec![EventKind::RunCompleted],
        ..EventFilter::default()
    };
    for (name, filter) in [
        ("all", EventFilter::default()),
        ("one run", EventFilter::run(&frames.runs[25])),
        ("one agent", EventFilter::agent("agent-3")),
        ("a kind that never was", rare),
    ] {
        let before = resident();
        let (count, time) = replay(&archive, filter)?;
        println!(
            "  replay of {name}: {count} frames in {:.1} ms, {:.0} frames/s, memory {:+} KiB",
            time.as_secs_f64() * 1e3,
            count as f64 / time.as_secs_f64(),
            resident() as i64 - before as i64
        );
    }
    let begin = Instant::now();
    let runs = archive.runs(0, usize::MAX)?.len();
    println!(
        "  {runs} runs listed in {:.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}
