//! Interleaved rounds: in each round every contender runs once, so that what the machine does to
//! one it does to all.

use crate::case::{Case, Scale};
use crate::record::{Record, Series, today};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{process, thread};

/// No run takes nearly as long.
const HANGS: Duration = Duration::from_secs(300);

/// Runs a case's contenders in turn, `rounds` times.
pub fn run(case: &mut Case, rounds: usize, scale: Scale, progress: &ProgressBar) -> Record {
    let mut series: Vec<Series> = case
        .contenders
        .iter()
        .map(|contender| Series {
            name: contender.name.clone(),
            contract: contender.contract.clone(),
            figure: String::new(),
            rounds: BTreeMap::new(),
        })
        .collect();
    let contenders = case.contenders.len();
    for round in 0..rounds {
        for turn in 0..contenders {
            // Each round begins with another one.
            let at = (turn + round) % contenders;
            let contender = &mut case.contenders[at];
            let name = format!("{}: {}", case.name, contender.name);
            progress.set_message(name.clone());
            let series = &mut series[at];
            let figures = watched(&name, || (contender.run)(scale));
            for (index, (figure, value)) in figures.into_iter().enumerate() {
                if index == 0 {
                    series.figure = figure.into();
                }
                series
                    .rounds
                    .entry(figure.into())
                    .or_default()
                    .push(rounded(value));
            }
            progress.inc(1);
        }
    }
    Record {
        case: case.name.clone(),
        about: case.about.into(),
        date: today(),
        quick: scale != Scale::FULL,
        series,
    }
}

/// Runs something, and ends the program if it hangs: a thread that spins in a peer's own code
/// can't be stopped.
fn watched<R>(name: &str, run: impl FnOnce() -> R) -> R {
    let (running, over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if over.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{name} hangs: it runs for {HANGS:?}");
                process::exit(1);
            }
        });
        let result = run();
        drop(running);
        result
    })
}

/// Four digits: more are noise.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// A bar over the runs of all these cases.
pub fn progress(cases: &[Case], rounds: usize) -> ProgressBar {
    let runs: usize = cases
        .iter()
        .map(|case| case.contenders.len() * rounds)
        .sum();
    let template = "{bar:30} {pos}/{len} {elapsed_precise}, {eta_precise} left  {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(runs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "lost")]
    fn a_run_that_panics_does_not_hang() {
        watched("", || panic!("lost"));
    }
}
