//! Instructions and allocations a frame, counted by callgrind: figures that repeat.
//!
//! The program runs itself under valgrind, once a job, and callgrind counts what happens inside of
//! [`counted`]: a job warms up outside of it. Allocations are the calls of the system's allocator
//! in there. The baseline stands in the repository; it holds for the compiler that it names.

use crate::payload::Payload;
use crate::peer::{self, CAPACITY, Peer, Publish, Read, Visit, event_bus, ring};
use anyhow::{Context, Result, bail, ensure};
use framebus::ring::{CLASS_BITS, Delivery, Route, Select, Start, TAG_BITS, TagFilter};
use framebus::*;
use indicatif::ProgressIterator;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

/// Frames in a job: each count is divided by it.
const FRAMES: usize = 32 * 1_024;
/// A count may exceed its baseline by so many percent.
const TOLERANCE: f64 = 2.0;

/// Something to count: a name and what to run.
type Job = (&'static str, fn());

/// What is counted.
const JOBS: &[Job] = &[
    ("publish, u64", publish),
    ("publish in batches of 64, u64", publish_batches),
    ("poll, u64", poll),
    ("skip, 1 of 1,000 matches", skip),
    ("make a real event", make_event),
    ("publish a real event", publish_event),
    ("read borrowed, real events", read_events),
    ("bound at capacity 64", || bound(64)),
    ("bound at capacity 65,536", || bound(65_536)),
];

/// What is counted of each job.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Count {
    instructions: f64,
    allocations: f64,
}

/// Counts and where they hold.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    compiler: String,
    tolerance_percent: f64,
    jobs: BTreeMap<String, Count>,
}

/// Callgrind counts in here.
#[inline(never)]
fn counted(act: impl FnOnce()) {
    black_box(act)();
}

/// Runs one job: what the program does under valgrind.
pub fn run(job: &str) -> Result<()> {
    if let Some((_, act)) = JOBS.iter().find(|(name, _)| *name == job) {
        act();
        return Ok(());
    }
    let mut wanted = OfPeer {
        name: Some(job),
        ..OfPeer::default()
    };
    peer::each::<u64>(&mut wanted);
    ensure!(wanted.ran, "no job of this name: {job}");
    Ok(())
}

/// Counts all jobs and writes the baseline.
pub fn bless(path: &Path) -> Result<()> {
    let baseline = Baseline {
        compiler: crate::record::Machine::here().compiler,
        tolerance_percent: TOLERANCE,
        jobs: count_all(JOBS.iter().map(|(name, _)| *name))?,
    };
    fs::write(path, serde_json::to_string_pretty(&baseline)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Counts all jobs; an error if one costs more than the baseline allows. Returns a table.
pub fn check(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("no baseline at {}: bless one", path.display()))?;
    let baseline: Baseline = serde_json::from_str(&text)?;
    let counts = count_all(JOBS.iter().map(|(name, _)| *name))?;
    let mut table = crate::report::markdown(["a frame", "instructions", "baseline", "allocations"]);
    let mut worse = Vec::new();
    for (name, count) in &counts {
        let Some(base) = baseline.jobs.get(name) else {
            bail!("no baseline for {name:?}: bless it");
        };
        let most = base.instructions * (1.0 + baseline.tolerance_percent / 100.0);
        // Allocations are whole or none: a hundredth is what amortised growth may cost.
        if count.instructions > most || count.allocations > base.allocations + 0.01 {
            worse.push(name.as_str());
        }
        table.add_row([
            name.clone(),
            format!("{:.2}", count.instructions),
            format!("{:.2}", base.instructions),
            format!("{:.2}", count.allocations),
        ]);
    }
    let here = crate::record::Machine::here().compiler;
    let hint = match here == baseline.compiler {
        true => String::new(),
        false => format!("; the baseline is of {}, this is {here}", baseline.compiler),
    };
    ensure!(
        worse.is_empty(),
        "{table}\nmore than {} % above the baseline: {}{hint}",
        baseline.tolerance_percent,
        worse.join("; ")
    );
    Ok(format!("{table}\n"))
}

/// Counts a round trip of 256 words on each peer. Returns a table.
pub fn peers() -> Result<String> {
    let mut names = OfPeer::default();
    peer::each::<u64>(&mut names);
    let counts = count_all(names.all.into_iter())?;
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by(|a, b| a.1.instructions.total_cmp(&b.1.instructions));
    let mut table =
        crate::report::markdown(["publish 256, drain 256, u64", "instructions a frame"]);
    for (name, count) in rows {
        table.add_row([name, format!("{:.1}", count.instructions)]);
    }
    Ok(format!("{table}\n"))
}

fn count_all<'a>(names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, Count>> {
    let names: Vec<_> = names.collect();
    let counts = names.into_iter().progress();
    counts
        .map(|name| Ok((name.to_owned(), count(name)?)))
        .collect()
}

/// Runs this program under callgrind for one job.
fn count(job: &str) -> Result<Count> {
    let out = std::env::temp_dir().join(format!("framebus-count-{}", std::process::id()));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--toggle-collect=*count::counted*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["counts", "run", job])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("valgrind is needed to count; install it")?;
    ensure!(status.success(), "{job:?} failed under valgrind");
    let text = fs::read_to_string(&out);
    fs::remove_file(&out)?;
    let count = parse(&text?);
    ensure!(count.instructions > 0.0, "callgrind saw nothing of {job:?}");
    Ok(count)
}

/// Reads callgrind's output: the total, and how often the allocator was called.
fn parse(text: &str) -> Count {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let (mut callee, mut allocations, mut instructions) = ("", 0, 0);
    for line in text.lines() {
        // A function is `(number) name` the first time and `(number)` from then on.
        if let Some((key, function)) = line.split_once('=')
            && matches!(key, "fn" | "cfn")
        {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if !name.is_empty() {
                names.insert(number, name);
            }
            if key == "cfn" {
                callee = names.get(number).copied().unwrap_or_default();
            }
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if matches!(callee, "malloc" | "calloc" | "realloc" | "posix_memalign") {
                let times = calls.split(' ').next().unwrap_or_default();
                allocations += times.parse::<u64>().unwrap_or_default();
            }
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.trim().parse::<u64>().unwrap_or_default();
        }
    }
    Count {
        instructions: instructions as f64 / FRAMES as f64,
        allocations: allocations as f64 / FRAMES as f64,
    }
}

fn publish() {
    let ring = ring::open::<u64>(1);
    let _idle = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let publish = |count| {
        (0..count).for_each(|word| {
            ring.publish(Route::default(), word as u64).unwrap();
        });
    };
    // Every place was used.
    publish(CAPACITY);
    counted(|| publish(FRAMES));
}

fn publish_batches() {
    let ring = ring::open::<u64>(1);
    let _idle = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let publish = |count| {
        for _ in 0..count / 64 {
            let items = (0..64).map(|word| (Route::default(), word)).collect();
            ring.publish_all_with(items, |_, word| word).unwrap();
        }
    };
    publish(CAPACITY);
    counted(|| publish(FRAMES));
}

fn poll() {
    let ring = ring::open::<u64>(1);
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let publish = || {
        (0..FRAMES as u64).for_each(|word| {
            ring.publish(Route::default(), word).unwrap();
        });
    };
    let mut read = || {
        let mut sum = 0;
        while reader.batch(|delivery| {
            if let Delivery::Frame(_, word) = delivery {
                sum += word;
            }
            ControlFlow::Continue(())
        }) > 0
        {}
        assert_eq!(sum, (FRAMES * (FRAMES - 1) / 2) as u64);
    };
    publish();
    read();
    publish();
    counted(read);
}

fn skip() {
    let ring = ring::open::<u64>(1);
    let filter = TagFilter {
        mask: (1 << TAG_BITS) - (1 << CLASS_BITS),
        value: 500 << CLASS_BITS,
        classes: u128::MAX,
    };
    let mut reader = ring
        .subscribe(Select::Shard(0), Some(filter), Start::Oldest)
        .unwrap();
    let publish = || {
        for word in 0..FRAMES {
            let tag = ((word % 1_000) as u32) << CLASS_BITS;
            let route = Route {
                tag,
                ..Route::default()
            };
            ring.publish(route, word as u64).unwrap();
        }
    };
    let mut read = || {
        let mut count = 0;
        reader.poll(|_| {
            count += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(count, (FRAMES - 500).div_ceil(1_000));
    };
    publish();
    read();
    publish();
    counted(read);
}

fn make_event() {
    let mut make = EventFrame::maker(0);
    counted(|| (0..FRAMES as u64).for_each(|word| drop(black_box(make(word)))));
}

fn publish_event() {
    let bus = event_bus::open(1);
    let _idle = bus.subscribe_all(None).unwrap();
    let mut make = EventFrame::maker(0);
    let mut frames = |count: usize| -> Vec<_> { (0..count as u64).map(&mut make).collect() };
    let publish = |frames: Vec<EventFrame>| {
        frames
            .into_iter()
            .for_each(|frame| bus.publish(frame).unwrap());
    };
    publish(frames(CAPACITY));
    let frames = frames(FRAMES);
    // What is replaced is freed in here.
    counted(|| publish(frames));
}

fn read_events() {
    let bus = event_bus::open(1);
    let mut stream = bus.subscribe_all(None).unwrap();
    let mut make = EventFrame::maker(0);
    let mut publish = || (0..FRAMES as u64).for_each(|word| bus.publish(make(word)).unwrap());
    let mut read = || {
        let mut count = 0;
        while stream.read_batch(|_| {
            count += 1;
            ControlFlow::Continue(())
        }) > 0
        {}
        assert_eq!(count, FRAMES);
    };
    publish();
    read();
    publish();
    counted(read);
}

/// Takes in terminal frames; once the queue is full each evicts another.
fn bound(capacity: usize) {
    let size = |n| NonZeroUsize::new(n).unwrap();
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder
        .ring_capacity(size(capacity + FRAMES))
        .build()
        .unwrap();
    let mut options = SubscriptionOptions::default();
    options.queue.capacity = size(capacity);
    let mut stream = bus.subscribe_all_with_options(None, options).unwrap();
    let publish = |count| {
        for _ in 0..count {
            let envelope = EventEnvelope::new("run", "agent", EventKind::RunCompleted);
            let event = AgentEvent::envelope_only(envelope);
            bus.publish(EventFrame::new(event)).unwrap();
        }
    };
    publish(capacity + 1);
    assert!(stream.next().is_some());
    publish(FRAMES);
    counted(|| assert!(stream.next().is_some()));
}

/// Runs the round trip of the peer of this name; without one, gathers the names.
#[derive(Default)]
struct OfPeer<'a> {
    name: Option<&'a str>,
    all: Vec<&'static str>,
    ran: bool,
}

impl Visit<u64> for OfPeer<'_> {
    fn visit<P: Peer<u64>>(&mut self) {
        const BURST: u64 = 256;
        self.all.push(P::NAME);
        if self.name != Some(P::NAME) {
            return;
        }
        self.ran = true;
        let (mut publishers, mut subscribers) = P::open(1, 1);
        let (publisher, subscriber) = (&mut publishers[0], &mut subscribers[0]);
        let mut round_trips = |frames: usize| {
            for _ in 0..frames as u64 / BURST {
                (0..BURST).for_each(|word| publisher.publish(word));
                let mut sum = 0;
                while subscriber.read(|word| sum += word) > 0 {}
                assert_eq!(sum, BURST * (BURST - 1) / 2);
            }
        };
        round_trips(CAPACITY);
        counted(|| round_trips(FRAMES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_callgrind_writes() {
        let text = "fn=(1) counted\n0 9\ncfn=(2) malloc\ncalls=32768 0\n0 4\ncfn=(3) free\n\
                    calls=5 0\nfn=(4) other\ncfn=(2)\ncalls=32768 0\n\ntotals: 65536\n";
        let count = parse(text);
        assert_eq!((count.instructions, count.allocations), (2.0, 2.0));
    }

    #[test]
    fn every_job_runs() {
        JOBS.iter().for_each(|(name, _)| run(name).unwrap());
        assert!(run("no such job").is_err());
    }
}
