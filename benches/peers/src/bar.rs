//! The bars: what framebus has to show against which peer, and whether it does.

use crate::case::{MILLIONS, NS, PUBLISH_NS};
use crate::cases::user::{BATCH, EMPTY, MADE, MAIN, NEXT, RECV_ASYNC};
use crate::cases::{FETCH_ADD, LINE, P50, WORD};
use crate::peers::replaced;
use crate::record::{Record, Results, Series, median, ratios};

/// Whether the ratio may be at most or must be at least the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

use Limit::{AtLeast, AtMost};

impl Limit {
    fn holds(self, ratio: f64) -> bool {
        match self {
            AtMost(limit) => ratio <= limit,
            AtLeast(limit) => ratio >= limit,
        }
    }
}

/// A bar: one contender's figure divided by another's, round by round, and how large that may be.
pub struct Bar {
    /// The case.
    pub case: &'static str,
    /// The contender whose figure it is.
    pub ours: &'static str,
    /// The contender that it is divided by; [`NOBODY`] if the limit is one of the figure itself.
    pub theirs: &'static str,
    /// The figure of ours, and the one of theirs.
    pub figures: [&'static str; 2],
    /// What the median of the ratios has to keep.
    pub limit: Limit,
    /// In how many of 9 rounds the ratio itself has to keep it, where that is asked for.
    pub in_rounds: usize,
}

const fn bar(
    case: &'static str,
    ours: &'static str,
    theirs: &'static str,
    figure: &'static str,
    limit: Limit,
) -> Bar {
    Bar {
        case,
        ours,
        theirs,
        figures: [figure, figure],
        limit,
        in_rounds: 0,
    }
}

impl Bar {
    /// The same, kept by the ratios of at least `rounds` rounds of 9.
    const fn in_rounds(mut self, rounds: usize) -> Self {
        self.in_rounds = rounds;
        self
    }

    /// The same, with another figure of the contender that it is divided by.
    const fn against(mut self, figure: &'static str) -> Self {
        self.figures[1] = figure;
        self
    }
}

/// Framebus, as it stands in the results.
pub const US: &str = "framebus";
const BATCHES: &str = "framebus, batches of 64";
const TOKIO: &str = "tokio broadcast";
const DEQUE: &str = "RwLock<VecDeque>";
const CROSSBEAM: &str = "crossbeam-channel";
const MANY: &str = "disruptor, many producers";
const SHARDS_16: &str = "framebus, 16 shards";
const SHARDS_64: &str = "framebus, 64 shards";
const TOKIO_AS_16: &str = "tokio broadcast, as 16 shards";
const TOKIO_AS_64: &str = "tokio broadcast, as 64 shards";
/// No contender.
pub const NOBODY: &str = "";
const USER_1_TO_1: &str = "user/stream/1-to-1";
const WORDS_1_TO_1: &str = "stream/1-to-1/u64";
const WORDS_2_TO_1: &str = "stream/2-to-1/u64";

/// All bars.
pub const BARS: &[Bar] = &[
    bar(MAIN, US, TOKIO, MADE, AtMost(0.9)),
    bar(MAIN, SHARDS_16, TOKIO_AS_16, MADE, AtMost(1.0)),
    bar(MAIN, SHARDS_64, TOKIO_AS_64, MADE, AtMost(1.0)),
    bar(MAIN, US, TOKIO, NEXT, AtMost(0.8)),
    bar(MAIN, SHARDS_16, TOKIO_AS_16, NEXT, AtMost(0.9)),
    bar(MAIN, SHARDS_64, TOKIO_AS_64, NEXT, AtMost(1.0)),
    bar(MAIN, US, TOKIO, BATCH, AtMost(0.6)).against(NEXT),
    bar(MAIN, US, TOKIO, RECV_ASYNC, AtMost(0.8)),
    bar(MAIN, US, TOKIO, EMPTY, AtMost(0.5)),
    bar(MAIN, SHARDS_16, TOKIO, EMPTY, AtMost(0.5)),
    bar(MAIN, SHARDS_64, TOKIO, EMPTY, AtMost(0.5)),
    // `default()` opens one shard.
    bar(MAIN, SHARDS_64, US, EMPTY, AtMost(1.5)),
    bar(USER_1_TO_1, US, TOKIO, MILLIONS, AtLeast(4.0)),
    bar("user/stream/1-to-4", US, TOKIO, MILLIONS, AtLeast(2.0)),
    bar("user/one-run", US, NOBODY, NS, AtMost(1.0)),
    bar("publish/u64", US, TOKIO, NS, AtMost(0.45)),
    bar("publish/u64", SHARDS_16, TOKIO, NS, AtMost(0.6)),
    bar("drain/u64", US, MANY, NS, AtMost(1.0)),
    bar("round-trip/u64", US, TOKIO, NS, AtMost(0.30)),
    bar("round-trip/u64", SHARDS_16, TOKIO, NS, AtMost(0.8)),
    bar("round-trip/u64", US, MANY, NS, AtMost(1.0)),
    bar("round-trip/u64", US, DEQUE, NS, AtMost(0.9)),
    bar("round-trip/u64", BATCHES, DEQUE, NS, AtMost(0.3)),
    bar("round-trip/u64", BATCHES, TOKIO, NS, AtMost(0.10)),
    bar("round-trip/arc", US, TOKIO, NS, AtMost(0.25)),
    bar(WORDS_1_TO_1, US, TOKIO, MILLIONS, AtLeast(6.0)).in_rounds(8),
    bar(WORDS_1_TO_1, US, MANY, MILLIONS, AtLeast(1.5)).in_rounds(8),
    bar(WORDS_1_TO_1, US, DEQUE, MILLIONS, AtLeast(1.5)),
    bar("stream/1-to-4/u64", US, DEQUE, MILLIONS, AtLeast(1.0)).in_rounds(6),
    bar(WORDS_2_TO_1, US, CROSSBEAM, MILLIONS, AtLeast(1.0)).in_rounds(6),
    bar(WORDS_2_TO_1, US, DEQUE, MILLIONS, AtLeast(1.0)).in_rounds(6),
    bar("stream/2-to-2/u64", US, TOKIO, MILLIONS, AtLeast(4.0)),
    bar("stream/1-to-1/event", US, TOKIO, MILLIONS, AtLeast(1.5)),
    bar(
        "fan-out/u64",
        "framebus, 1 to 2",
        "framebus, 1 to 1",
        PUBLISH_NS,
        AtMost(1.5),
    ),
    bar(
        "fan-out/u64",
        "framebus, 1 to 4",
        "framebus, 1 to 1",
        PUBLISH_NS,
        AtMost(1.5),
    ),
    bar("skip", US, FETCH_ADD, NS, AtMost(0.5 / 8.0)),
    bar(
        "sleepers",
        "framebus, 10000 asleep",
        "framebus, 0 asleep",
        NS,
        AtMost(1.1),
    ),
    bar(
        "bound",
        "framebus, capacity 65536",
        "framebus, capacity 64",
        NS,
        AtMost(1.2),
    ),
    bar("backlog", replaced::NAME, US, NS, AtLeast(50.0)),
    bar("latency/polling/u64", US, US, P50, AtMost(2.0)).against(LINE),
    bar("latency/polling/u64", US, WORD, P50, AtMost(1.5)),
];

/// The peer that framebus has to be ahead of in every case that both have, whatever its contender.
pub const BEHIND: &str = "photon-ring";

/// By what factor a contender is ahead of framebus in its own figure; less than 1 if it is behind.
pub fn ahead(record: &Record, theirs: &Series) -> Option<f64> {
    let ratio = record.ratio(theirs)?;
    let ratio_of_ours = record.series.first()?.name == US;
    ratio_of_ours.then(|| match theirs.figure.as_str() {
        MILLIONS => 1.0 / ratio,
        _ => ratio,
    })
}

/// How a bar was kept.
pub struct Verdict {
    /// The ratio of each round.
    pub ratios: Vec<f64>,
    /// In how many rounds it was kept.
    pub kept: usize,
    /// Whether the bar is met.
    pub met: bool,
}

impl Bar {
    /// The bar in a few words.
    pub fn short(&self) -> String {
        let case = match self.ours.strip_prefix(US) {
            Some(how) => format!("{}{how}", self.case),
            None => format!("{}: {}", self.case, self.ours),
        };
        match self.figures {
            [a, b] if a != b => format!("{case}: {a} / {b}"),
            [a, _] if self.theirs == NOBODY => format!("{case}: {a}"),
            _ => format!("{case} / {}", self.theirs),
        }
    }

    /// How it was kept; nothing where it was not measured.
    pub fn verdict(&self, results: &Results) -> Option<Verdict> {
        let record = results.case(self.case)?;
        let ours = record.series(self.ours)?.rounds(self.figures[0])?;
        let ratios = match self.theirs {
            NOBODY => ours.to_vec(),
            theirs => ratios(ours, record.series(theirs)?.rounds(self.figures[1])?),
        };
        let kept = ratios
            .iter()
            .filter(|&&ratio| self.limit.holds(ratio))
            .count();
        let enough = kept * 9 >= self.in_rounds * ratios.len();
        Some(Verdict {
            met: enough && self.limit.holds(median(&ratios)),
            kept,
            ratios,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Series};

    fn results(ours: [f64; 9], theirs: [f64; 9]) -> Results {
        let series = |name: &str, values: [f64; 9]| Series {
            name: name.into(),
            contract: String::new(),
            figure: NS.into(),
            rounds: [(NS.to_owned(), values.to_vec())].into(),
        };
        let record = Record {
            case: "case".into(),
            about: String::new(),
            date: String::new(),
            quick: false,
            series: vec![series(US, ours), series(TOKIO, theirs)],
        };
        Results {
            records: vec![record],
            ..Results::default()
        }
    }

    #[test]
    fn a_bar_wants_the_median_of_the_ratios_and_enough_rounds() {
        let ours = [1.0, 1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0];
        let results = results(ours, [2.0; 9]);
        let mut at_most_half = bar("case", US, TOKIO, NS, AtMost(0.5));
        let verdict = at_most_half.verdict(&results).unwrap();
        assert_eq!((verdict.kept, verdict.met), (5, true));
        at_most_half.in_rounds = 8;
        assert!(!at_most_half.verdict(&results).unwrap().met);
        let at_most_one = bar("case", US, NOBODY, NS, AtMost(1.0));
        assert!(at_most_one.verdict(&results).unwrap().met);
        let at_least = bar("case", US, TOKIO, NS, AtLeast(1.0));
        assert!(!at_least.verdict(&results).unwrap().met);
        assert!(
            bar("other", US, TOKIO, NS, AtMost(1.0))
                .verdict(&results)
                .is_none()
        );
    }

    #[test]
    fn bars_are_about_what_is_measured() {
        let cases = crate::cases::all(std::path::Path::new("."));
        for bar in BARS {
            let case = cases.iter().find(|case| case.name == bar.case);
            let named = |name| case.unwrap().contenders.iter().any(|it| it.name == name);
            let theirs = bar.theirs == NOBODY || named(bar.theirs);
            assert!(named(bar.ours) && theirs, "{}", bar.short());
        }
    }
}
