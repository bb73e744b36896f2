//! What a case is: contenders, each of which gives figures.
//!
//! One run of a contender opens everything anew, warms it up, checks what arrived and returns its
//! figures. `round.rs` runs the contenders in turn.

use crate::payload::Payload;
use crate::peer::Peer;
use crate::record::median;
use std::time::Duration;

/// A figure and its name, the name with its unit.
pub type Figure = (&'static str, f64);

/// What one frame costs, in nanoseconds.
pub const NS: &str = "ns/frame";
/// Millions of frames delivered in a second, to all subscribers together.
pub const MILLIONS: &str = "M frames/s";
/// What publishing one frame costs, in nanoseconds: the median over stretches of 256.
pub const PUBLISH_NS: &str = "publish ns/frame";

/// How much is measured: all, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// What published figures are of.
    pub const FULL: Scale = Scale(1);
    /// For a first look.
    pub const QUICK: Scale = Scale(4);
    /// To see that it runs.
    #[cfg(test)]
    pub const LEAST: Scale = Scale(100);

    /// This count, or a part of it.
    pub fn of(self, count: u64) -> u64 {
        (count / self.0).max(1)
    }

    /// How often to run something that uses one of `parts` parts of the slots, to use all.
    pub fn warm_up(self, parts: usize) -> usize {
        if self.0 > Scale::QUICK.0 { 1 } else { parts }
    }
}

/// What takes part in a case.
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

    /// The same, with this after its name.
    pub fn named(mut self, suffix: &str) -> Self {
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

/// The median of some times, each of `frames` frames.
pub fn ns_per_frame(times: impl Iterator<Item = Duration>, frames: usize) -> Vec<Figure> {
    let nanos = times.map(|time| time.as_nanos() as f64 / frames as f64);
    vec![(NS, median(&nanos.collect::<Vec<_>>()))]
}
