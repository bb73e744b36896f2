//! The cases: what is measured, and who takes part.
//!
//! A case is a list of contenders; one run of a contender opens everything anew, warms it up,
//! checks what arrived and gives its figures. `round.rs` runs the contenders in turn.

mod backlog;
mod latency;
mod parts;
mod replay;
mod single;
mod sleepers;
mod stream;

pub use backlog::REPLACED;
pub use latency::{LINE, P50};
pub use parts::FETCH_ADD;

use crate::payload::Payload;
use crate::peer::Peer;
use std::path::Path;

/// A figure and its name, the name with its unit.
pub type Figure = (&'static str, f64);

/// What one frame costs, in nanoseconds.
pub const NS: &str = "ns/frame";
/// Millions of frames delivered in a second, to all subscribers together.
pub const MILLIONS: &str = "M frames/s";
/// What publishing one frame costs, in nanoseconds: the median over stretches of 256.
pub const PUBLISH_NS: &str = "publish ns/frame";

/// How much is measured: all, or one of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// What figures are told of.
    pub const FULL: Scale = Scale(1);
    /// For a first look.
    pub const QUICK: Scale = Scale(4);
    /// To see that it runs.
    #[cfg(test)]
    pub const LEAST: Scale = Scale(100);

    /// So many, or a part of it.
    pub fn of(self, count: u64) -> u64 {
        (count / self.0).max(1)
    }

    /// How often to run something that touches a part of the places, to touch all.
    pub fn warm_up(self, parts: usize) -> usize {
        if self.0 > Scale::QUICK.0 { 1 } else { parts }
    }
}

/// Who takes part in a case.
pub struct Contender {
    /// As it stands in the tables.
    pub name: String,
    /// What differs in contract; empty for what is no peer.
    pub contract: String,
    /// Runs once; the first figure is the one that the case is about.
    pub run: Box<dyn FnMut(Scale) -> Vec<Figure>>,
}

impl Contender {
    /// A contender that is no peer but a variant or a measure of the machine.
    pub fn new(name: impl Into<String>, run: impl FnMut(Scale) -> Vec<Figure> + 'static) -> Self {
        Contender {
            name: name.into(),
            contract: String::new(),
            run: Box::new(run),
        }
    }

    /// A peer.
    pub fn peer<T: Payload, P: Peer<T>>(run: impl FnMut(Scale) -> Vec<Figure> + 'static) -> Self {
        let contract = P::CONTRACT.as_str();
        Contender {
            contract: match P::MANY_PUBLISHERS {
                true => contract.into(),
                false => format!("{contract}, one producer"),
            },
            ..Contender::new(P::NAME, run)
        }
    }

    fn named(mut self, suffix: &str) -> Self {
        self.name += suffix;
        self
    }
}

/// Something to measure.
pub struct Case {
    /// How it is called on the command line and in the results.
    pub name: String,
    /// What is measured.
    pub about: &'static str,
    /// Who takes part.
    pub contenders: Vec<Contender>,
}

/// All cases, in the order in which they are run; recorded runs are read from this folder.
pub fn all(recordings: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(single::cases());
    cases.extend(stream::cases());
    cases.extend(latency::cases());
    cases.extend(parts::cases());
    cases.extend(sleepers::cases());
    cases.extend(backlog::cases());
    cases.extend(replay::cases(recordings));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::ProgressBar;

    /// The cases check what arrives; this one, that each gives figures.
    #[test]
    fn every_case_runs() {
        for mut case in all(&framebus_recordings::samples()) {
            let record = crate::round::run(&mut case, 1, Scale::LEAST, &ProgressBar::hidden());
            for series in &record.series {
                let figure = series.main()[0];
                let sensible = figure.is_finite() && figure > 0.0;
                assert!(sensible, "{}, {}: {figure}", record.case, series.name);
            }
        }
    }
}
