//! What was measured, as JSON lines: one for the machine, then one a case.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A case's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The case's name.
    pub case: String,
    /// What it measures.
    pub about: String,
    /// The day on which it was measured.
    pub date: String,
    /// Whether it was a first look only.
    pub quick: bool,
    /// Each contender's figures.
    pub series: Vec<Series>,
}

/// One contender's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// The contender.
    pub name: String,
    /// What differs in contract; empty for what is no peer.
    pub contract: String,
    /// The figure that the case is about.
    pub figure: String,
    /// By name, each figure of each round.
    pub rounds: BTreeMap<String, Vec<f64>>,
}

impl Record {
    /// The contender of this name.
    pub fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// The median of the ratios of the first contender to another one, round by round, in the
    /// figure that the other one is about; for one that publishes in batches, of the first one's
    /// own batches. Nothing for those that can't be compared.
    pub fn ratio(&self, theirs: &Series) -> Option<f64> {
        let first = self.series.first()?;
        let batches = theirs.name.find(BATCHES).map(|at| &theirs.name[at..]);
        let ours = match batches {
            Some(batches) => self.series(&format!("{}{batches}", first.name))?,
            None => first,
        };
        if ours.name == theirs.name {
            return None;
        }
        Some(median(&ratios(ours.rounds(&theirs.figure)?, theirs.main())))
    }
}

impl Series {
    /// The rounds of the figure that the case is about.
    pub fn main(&self) -> &[f64] {
        self.rounds(&self.figure).unwrap_or_default()
    }

    /// The median of a figure's rounds.
    pub fn median(&self, figure: &str) -> Option<f64> {
        self.rounds(figure).map(median)
    }

    /// The rounds of a figure.
    pub fn rounds(&self, figure: &str) -> Option<&[f64]> {
        self.rounds.get(figure).map(Vec::as_slice)
    }
}

/// The day, as records are dated.
pub fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of them there are.
    pub cores: usize,
    /// The operating system.
    pub system: String,
    /// The compiler.
    pub compiler: String,
    /// The day.
    #[serde(default)]
    pub date: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(": "));
            value.map_or("unknown", |(_, value)| value).to_owned()
        };
        let compiler = std::process::Command::new("rustc").arg("-V").output();
        let compiler = compiler.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
        Machine {
            processor: format!("{}, family {}", field("model name"), field("cpu family")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            compiler: compiler.unwrap_or_default(),
            date: today(),
        }
    }
}

impl Machine {
    /// In a line.
    pub fn line(&self) -> String {
        let Machine {
            processor,
            cores,
            system,
            compiler,
            date,
        } = self;
        format!("{processor}; {cores} cores; {system}; {compiler}; {date}")
    }
}

/// The results of a run.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Where it was measured, and when.
    pub machine: Machine,
    /// What was measured.
    pub records: Vec<Record>,
}

impl Results {
    /// Reads a file of results.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("no results in {}; measure first", path.display()))?;
        let mut lines = text.lines();
        let machine = serde_json::from_str(lines.next().unwrap_or_default());
        let records = lines.map(serde_json::from_str).collect::<Result<_, _>>();
        let wrong = || format!("{} is not what this program writes", path.display());
        Ok(Results {
            machine: machine.with_context(wrong)?,
            records: records.with_context(wrong)?,
        })
    }

    /// Keeps a case's record, in place of an earlier one.
    pub fn put(&mut self, record: Record) {
        match self.records.iter_mut().find(|old| old.case == record.case) {
            Some(old) => *old = record,
            None => self.records.push(record),
        }
    }

    /// Writes all to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string(&self.machine)? + "\n";
        for record in &self.records {
            text += &(serde_json::to_string(record)? + "\n");
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The case of this name.
    pub fn case(&self, name: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.case == name)
    }
}

/// What follows the name of a contender that publishes in batches.
pub const BATCHES: &str = ", batches of 64";

/// The ratio of two figures, round by round.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(a, b)| a / b).collect()
}

/// The middle of some values; the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn batches_are_compared_with_batches() {
        let series = |name: &str, value| Series {
            name: name.into(),
            contract: String::new(),
            figure: "ns".into(),
            rounds: [("ns".to_owned(), vec![value])].into(),
        };
        let record = Record {
            case: String::new(),
            about: String::new(),
            date: String::new(),
            quick: false,
            series: vec![
                series("ours", 8.0),
                series("ours, batches of 64", 2.0),
                series("theirs", 4.0),
                series("theirs, batches of 64", 4.0),
            ],
        };
        let ratios: Vec<_> = record.series.iter().map(|it| record.ratio(it)).collect();
        assert_eq!(ratios, [None, None, Some(2.0), Some(0.5)]);
    }
}
