//! Tables over several figures or several cases, as Markdown.

use crate::cases::user::{BATCH, MADE, MAIN, NEXT, RECV_ASYNC, STREAM, WAYS};
use crate::peers::replaced;
use crate::record::{BATCHES, Record, Results, Series, median, ratios};
use crate::report::{digits, markdown, right};

/// Cases and the titles of their columns.
type Columns = &'static [(&'static str, &'static str)];

/// The cases of one thread.
pub const ONE_CORE: Columns = &[
    ("publish/u64", "publish"),
    ("drain/u64", "drain"),
    ("round-trip/u64", "round trip"),
    ("publish/arc", "publish, `Arc`"),
    ("round-trip/arc", "round trip, `Arc`"),
    ("publish/event", "publish, event"),
    ("drain/event", "drain, event"),
    ("round-trip/event", "round trip, event"),
];

/// The streams between threads.
pub const STREAMS: Columns = &[
    ("stream/1-to-1/u64", "1 to 1"),
    ("stream/1-to-4/u64", "1 to 4"),
    ("stream/2-to-1/u64", "2 to 1"),
    ("stream/2-to-2/u64", "2 to 2"),
    ("stream/1-to-1/arc", "1 to 1, `Arc`"),
    ("stream/1-to-1/event", "1 to 1, event"),
    ("stream/1-to-4/event", "1 to 4, event"),
    ("stream/2-to-2/event", "2 to 2, event"),
    ("replay/1-to-1", "recorded runs, 1 to 1"),
    ("replay/1-to-4", "recorded runs, 1 to 4"),
];

/// The streams of a user's events.
pub const USER_STREAMS: Columns = &[
    ("user/stream/1-to-1", "1 to 1"),
    ("user/stream/1-to-4", "1 to 4"),
    ("user/stream/2-to-1", "2 to 1"),
];

/// Medians: a row for each contender, a column for each case.
pub fn of_cases(results: &Results, columns: Columns) -> String {
    let mut rows: Vec<&Series> = Vec::new();
    for (case, _) in columns {
        for series in results.case(case).into_iter().flat_map(|it| &it.series) {
            if !rows.iter().any(|row| row.name == series.name) {
                rows.push(series);
            }
        }
    }
    // Single frames first, then batches; the bus that only keeps is last.
    rows.sort_by_key(|row| (row.name.contains(BATCHES), row.name == replaced::NAME));
    let titles = columns.iter().map(|(_, title)| *title);
    let mut table = markdown(["contender", "contract"].into_iter().chain(titles));
    for row in rows {
        let cell = |(case, _): &(&str, &str)| {
            let series = results.case(case)?.series(&row.name)?;
            Some(digits(median(series.main())))
        };
        let mut cells = vec![row.name.clone(), row.contract.clone()];
        cells.extend(columns.iter().map(|it| cell(it).unwrap_or_default()));
        table.add_row(cells);
    }
    right(&mut table, 2);
    table.to_string()
}

/// Median and tail of each latency case.
pub fn latency(results: &Results) -> String {
    const FIGURES: [&str; 6] = [
        "p50 ns",
        "p99 ns",
        "p99.9 ns",
        "max ns",
        "line transfer ns",
        "late %",
    ];
    let mut table = markdown(["case", "contender"].into_iter().chain(FIGURES));
    let of_latency = |it: &&Record| it.case.starts_with("latency") || it.case.starts_with("burst");
    for record in results.records.iter().filter(of_latency) {
        for series in &record.series {
            let mut cells = vec![record.case.clone(), series.name.clone()];
            cells.extend(FIGURES.map(|figure| series.median(figure).map_or("-".into(), digits)));
            table.add_row(cells);
        }
    }
    right(&mut table, 2);
    table.to_string()
}

/// What a user gets: each way of reading, with the ratio to tokio's channel that holds as many.
pub fn user(results: &Results) -> String {
    let Some(record) = results.case(MAIN) else {
        return String::new();
    };
    let titles = WAYS.map(|way| way.trim_end_matches(": ns"));
    let mut table = markdown(["ns a frame"].into_iter().chain(titles));
    for series in &record.series {
        let shards = series.name.strip_prefix("framebus");
        let tokio = shards.and_then(|shards| {
            let as_many = format!("tokio broadcast{}", shards.replace(", ", ", as "));
            let as_many = record.series(&as_many);
            as_many.or_else(|| record.series("tokio broadcast"))
        });
        let cell = |way: &str| {
            let ns = digits(series.median(way)?);
            Some(match tokio.and_then(|tokio| ratio(series, way, tokio)) {
                Some(ratio) => format!("{ns} ({})", digits(ratio)),
                None => ns,
            })
        };
        let mut cells = vec![series.name.clone()];
        cells.extend(WAYS.map(|way| cell(way).unwrap_or_default()));
        table.add_row(cells);
    }
    right(&mut table, 1);
    table.to_string()
}

/// The median ratio of one contender's figure to another's for the same work.
fn ratio(ours: &Series, way: &str, theirs: &Series) -> Option<f64> {
    // What a peer has no call for is compared with the call that does as much.
    let same = match way {
        BATCH => NEXT,
        STREAM => RECV_ASYNC,
        way => way,
    };
    Some(median(&ratios(ours.rounds(way)?, theirs.rounds(same)?)))
}

/// What a user gets with other events: the bus of `default()`, and its ratios to the peers.
pub fn user_variations(results: &Results) -> String {
    const PEERS: [&str; 3] = ["tokio broadcast", "RwLock<VecDeque>", "crossbeam-channel"];
    let mut table = markdown([
        "events",
        "make, publish: ns",
        "of tokio",
        "of the deque",
        "and next: ns",
        "of tokio",
        "of the deque",
        "of crossbeam",
    ]);
    let of_user = |it: &&Record| it.case.starts_with("user/");
    for record in results.records.iter().filter(of_user) {
        let Some(ours) = record.series("framebus") else {
            continue;
        };
        let (Some(made), Some(next)) = (ours.median(MADE), ours.median(NEXT)) else {
            continue;
        };
        let of = |way, peer| {
            let ratio = record.series(peer).and_then(|it| ratio(ours, way, it));
            ratio.map_or(String::new(), digits)
        };
        let mut cells = vec![record.case.clone(), digits(made)];
        cells.extend(PEERS[..2].iter().map(|peer| of(MADE, peer)));
        cells.push(digits(next));
        cells.extend(PEERS.iter().map(|peer| of(NEXT, peer)));
        table.add_row(cells);
    }
    right(&mut table, 1);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_cases() {
        let cases = crate::cases::all(std::path::Path::new("."));
        for (case, _) in ONE_CORE.iter().chain(STREAMS).chain(USER_STREAMS) {
            assert!(cases.iter().any(|it| it.name == *case), "{case}");
        }
    }

    #[test]
    fn a_users_figures_are_compared_with_the_channel_that_holds_as_many() {
        let series = |name: &str, value| Series {
            name: name.into(),
            contract: String::new(),
            figure: MADE.into(),
            rounds: [(MADE.to_owned(), vec![value])].into(),
        };
        let results = Results {
            records: vec![Record {
                case: MAIN.into(),
                about: String::new(),
                date: String::new(),
                quick: false,
                series: vec![
                    series("framebus", 10.0),
                    series("framebus, 16 shards", 10.0),
                    series("tokio broadcast", 5.0),
                    series("tokio broadcast, as 16 shards", 20.0),
                ],
            }],
            ..Results::default()
        };
        let table = user(&results);
        assert!(table.contains("10.0 (2.00)") && table.contains("10.0 (0.500)"));
    }
}
