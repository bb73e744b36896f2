//! Tables of what was measured, as Markdown.

use crate::bar::{BARS, BEHIND, Bar, Limit, NOBODY, US, ahead};
use crate::record::{Record, Results, median};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use std::collections::BTreeMap;

/// An empty table.
pub fn markdown<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    table
}

/// Numbers begin with this column.
pub fn right(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// A number with about three digits.
pub fn digits(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "-".into(),
        v if v < 1.0 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn extremes(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} to {}", digits(least), digits(most))
}

/// One case: each contender's medians, and the median of framebus's ratios to it, round by round.
pub fn table(record: &Record) -> String {
    let Some(first) = record.series.first() else {
        return String::new();
    };
    let main = first.figure.as_str();
    let others: Vec<&String> = first.rounds.keys().filter(|name| *name != main).collect();
    let mut header = vec!["contender", "contract", main, "least to most"];
    header.extend(others.iter().map(|name| name.as_str()));
    let ratio = format!("ratio of {}", first.name);
    header.push(&ratio);
    let mut table = markdown(header);
    for series in &record.series {
        let mut row = vec![
            series.name.clone(),
            series.contract.clone(),
            series.median(main).map_or("-".into(), digits),
            series.rounds(main).map_or(String::new(), extremes),
        ];
        let figure = |name: &&String| series.median(name).map_or("-".into(), digits);
        row.extend(others.iter().map(figure));
        row.push(record.ratio(series).map_or(String::new(), digits));
        table.add_row(row);
    }
    right(&mut table, 2);
    let rounds = first.main().len();
    let quick = if record.quick { ", a quick look" } else { "" };
    let about = format!("{} ({rounds} rounds, {}{quick})", record.about, record.date);
    format!("**{}**: {about}\n\n{table}\n", record.case)
}

/// By how much a peer has to be ahead: less is what two runs of the same differ by.
const AHEAD: f64 = 1.1;

/// Every peer that is ahead of framebus, and in which cases.
pub fn losses(results: &Results) -> String {
    let mut peers: BTreeMap<&str, Vec<(f64, &str)>> = BTreeMap::new();
    for record in &results.records {
        for series in &record.series {
            let Some(factor) = ahead(record, series) else {
                continue;
            };
            // A channel as large as another bus is compared with that one.
            let is_peer = !series.contract.is_empty()
                && !series.name.starts_with(US)
                && !series.name.contains(", as ");
            if is_peer && factor > AHEAD {
                let losses = peers.entry(&series.name).or_default();
                losses.push((factor, &record.case));
            }
        }
    }
    let mut table = markdown(["peer", "ahead of framebus, by a factor of"]);
    for (peer, mut losses) in peers {
        losses.sort_by(|a, b| b.0.total_cmp(&a.0));
        let losses: Vec<_> = losses
            .into_iter()
            .map(|(factor, case)| format!("{case} {}", digits(factor)))
            .collect();
        table.add_row([peer.to_owned(), losses.join("; ")]);
    }
    format!("{table}\n")
}

/// A row of the table of bars.
type Row = [String; 9];

/// All bars, met or not; one of a quick look says so.
pub fn bars(results: &Results) -> String {
    table_of_bars(judged(results).into_iter().map(|(_, row)| row))
}

/// How many bars are met, and those that are not.
pub fn bars_not_met(results: &Results) -> String {
    let (met, not_met): (Vec<_>, Vec<_>) = judged(results).into_iter().partition(|(met, _)| *met);
    let (met, of) = (met.len(), met.len() + not_met.len());
    let table = table_of_bars(not_met.into_iter().map(|(_, row)| row));
    format!(
        "{met} of {of} are met, [all with their ratios](docs/perf/tables.md); not met:\n\n{table}"
    )
}

fn table_of_bars(rows: impl Iterator<Item = Row>) -> String {
    let mut table = markdown([
        "case",
        "contender",
        "against",
        "figure",
        "bar",
        "median ratio",
        "least to most",
        "rounds kept",
        "",
    ]);
    table.add_rows(rows);
    format!("{table}\n")
}

/// Each bar that was measured: whether it is met, and its row.
fn judged(results: &Results) -> Vec<(bool, Row)> {
    let mut judged = Vec::new();
    for bar in BARS {
        let Some(verdict) = bar.verdict(results) else {
            continue;
        };
        let Bar { figures, .. } = bar;
        let mut limit = match bar.limit {
            Limit::AtMost(limit) => format!("at most {limit}"),
            Limit::AtLeast(limit) => format!("at least {limit}"),
        };
        if bar.in_rounds > 0 {
            limit += &format!(", in {} of 9", bar.in_rounds);
        }
        let figure = match figures {
            [a, b] if a == b => a.to_string(),
            [a, b] => format!("{a} / {b}"),
        };
        let row = [
            bar.case.into(),
            bar.ours.into(),
            match bar.theirs {
                NOBODY => "-".into(),
                theirs => theirs.into(),
            },
            figure,
            limit,
            digits(median(&verdict.ratios)),
            extremes(&verdict.ratios),
            format!("{} of {}", verdict.kept, verdict.ratios.len()),
            match (
                verdict.met,
                results.case(bar.case).is_some_and(|it| it.quick),
            ) {
                (true, false) => "met".into(),
                (true, true) => "met, at a quick look".into(),
                (false, _) => "**not met**".into(),
            },
        ];
        judged.push((verdict.met, row));
    }
    judged.extend(everywhere(results));
    judged
}

/// The bar of being ahead of one peer in every case that both have.
fn everywhere(results: &Results) -> Option<(bool, Row)> {
    let (mut factors, mut lost) = (Vec::new(), Vec::new());
    for record in &results.records {
        let peers = record.series.iter();
        for series in peers.filter(|it| it.name.starts_with(BEHIND)) {
            let Some(factor) = ahead(record, series) else {
                continue;
            };
            factors.push(factor);
            if factor > 1.0 {
                let which = series.name.trim_start_matches(BEHIND);
                lost.push(format!("{}{which} {}", record.case, digits(factor)));
            }
        }
    }
    let of = factors.len();
    (of > 0).then(|| {
        let row = [
            "each that both have".into(),
            US.into(),
            BEHIND.into(),
            "each case's; a rate's inverse".into(),
            "at most 1, in all".into(),
            digits(median(&factors)),
            extremes(&factors),
            format!("{} of {of} cases", of - lost.len()),
            match lost.is_empty() {
                true => "met".into(),
                false => format!("**not met**: {}", lost.join("; ")),
            },
        ];
        (lost.is_empty(), row)
    })
}
