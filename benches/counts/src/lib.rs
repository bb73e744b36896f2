//! Counting by callgrind: figures that repeat.
//!
//! A program runs itself under valgrind, once a job, and callgrind counts what happens inside of
//! [`counted`]: a job warms up outside of it. Allocations are the calls of the system's allocator
//! in there. The baseline stands in the repository; it holds for the compiler that it names.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};

/// The percentage by which instructions may exceed their baseline: a change elsewhere can make the
/// compiler inline differently.
const TOLERANCE: f64 = 2.0;
/// By how much allocations may exceed theirs: what growth of a buffer comes to.
const ALLOCATIONS: f64 = 0.01;

/// What is counted of each job, a frame.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Count {
    /// Instructions.
    pub instructions: f64,
    /// Calls of the allocator for memory.
    pub allocations: f64,
}

/// Counts, and where they hold.
#[derive(Debug, Serialize, Deserialize)]
pub struct Baseline {
    compiler: String,
    /// By how much instructions may exceed their count.
    pub tolerance_percent: f64,
    /// By name.
    pub jobs: BTreeMap<String, Count>,
}

/// A count against its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance.
    Same,
    /// Below it by more than the tolerance.
    Better,
    /// Above it by more.
    Worse,
    /// There is none.
    Unknown,
}

impl Verdict {
    /// Whether a check fails for it.
    pub fn is_bad(self) -> bool {
        matches!(self, Verdict::Worse | Verdict::Unknown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Same => "",
            Verdict::Better => "cheaper",
            Verdict::Worse => "**dearer**",
            Verdict::Unknown => "**not in the baseline**",
        })
    }
}

fn compiler() -> String {
    let version = Command::new("rustc").arg("-V").output();
    version.map_or_else(
        |_| "unknown".into(),
        |out| String::from_utf8_lossy(&out.stdout).trim().into(),
    )
}

impl Baseline {
    /// An empty one, of the compiler that is here.
    #[allow(
        clippy::new_without_default,
        reason = "it asks the compiler for its name"
    )]
    pub fn new() -> Self {
        Baseline {
            compiler: compiler(),
            tolerance_percent: TOLERANCE,
            jobs: BTreeMap::new(),
        }
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("no baseline at {}: --bless makes one", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a baseline: --bless makes one", path.display()))
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Compares a count.
    pub fn verdict(&self, job: &str, now: Count) -> Verdict {
        let Some(base) = self.jobs.get(job) else {
            return Verdict::Unknown;
        };
        let off = base.instructions * self.tolerance_percent / 100.0;
        let dearer = now.instructions > base.instructions + off;
        match now.instructions < base.instructions - off {
            _ if dearer || now.allocations > base.allocations + ALLOCATIONS => Verdict::Worse,
            true => Verdict::Better,
            false => Verdict::Same,
        }
    }

    /// Says so if another compiler made it.
    pub fn other_compiler(&self) -> String {
        let here = compiler();
        match here == self.compiler {
            true => String::new(),
            false => format!("; it is of {}, this is {here}", self.compiler),
        }
    }
}

/// Callgrind counts in here.
#[inline(never)]
pub fn counted(act: impl FnOnce()) {
    black_box(act)();
}

/// Runs this program with these arguments under callgrind and returns the count of one frame of
/// `frames`.
pub fn count(args: &[&str], frames: usize) -> Result<Count> {
    let out = std::env::temp_dir().join(format!("framebus-count-{}", std::process::id()));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--toggle-collect=*framebus_counts::counted*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("valgrind is needed to count; install it")?;
    ensure!(status.success(), "{args:?} failed under valgrind");
    let text = fs::read_to_string(&out);
    fs::remove_file(&out)?;
    let count = parse(&text?, frames);
    ensure!(
        count.instructions > 0.0,
        "callgrind saw nothing of {args:?}"
    );
    Ok(count)
}

/// Reads callgrind's output: the total, and how often the allocator was called.
fn parse(text: &str, frames: usize) -> Count {
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
        instructions: instructions as f64 / frames as f64,
        allocations: allocations as f64 / frames as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_callgrind_writes() {
        let text = "fn=(1) counted\n0 9\ncfn=(2) malloc\ncalls=32768 0\n0 4\ncfn=(3) free\n\
                    calls=5 0\nfn=(4) other\ncfn=(2)\ncalls=32768 0\n\ntotals: 65536\n";
        let count = parse(text, 32_768);
        assert_eq!((count.instructions, count.allocations), (2.0, 2.0));
    }

    #[test]
    fn a_count_may_be_off_by_the_tolerance() {
        let count = |instructions, allocations| Count {
            instructions,
            allocations,
        };
        let mut base = Baseline::new();
        base.jobs.insert("job".into(), count(100.0, 1.0));
        let verdict = |i, a| base.verdict("job", count(i, a));
        assert_eq!(verdict(101.9, 1.0), Verdict::Same);
        assert_eq!(verdict(102.1, 1.0), Verdict::Worse);
        assert_eq!(verdict(97.9, 1.0), Verdict::Better);
        assert_eq!(verdict(97.9, 2.0), Verdict::Worse);
        assert_eq!(base.verdict("other", count(1.0, 0.0)), Verdict::Unknown);
    }
}
