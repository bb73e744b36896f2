//! The cases: what is measured, and which contenders take part.

mod backlog;
mod latency;
mod parts;
mod replay;
mod single;
mod sleepers;
mod stream;
pub mod user;

pub use latency::{LINE, P50, WORD};
pub use parts::FETCH_ADD;

use crate::case::Case;
use std::path::Path;

/// All cases, in the order in which they are run; recorded runs are read from this folder.
pub fn all(recordings: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(user::cases());
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
    use crate::case::Scale;
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
