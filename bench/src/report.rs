//! Tables of what was measured, as Markdown.

use crate::bar::{BARS, Bar, Limit};
use crate::record::{Record, Results, Series, median};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

/// Everything: the machine, the bars, each case.
pub fn report(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "Machine: {}, {} cores, {}, {}.\n\n{}\n",
        machine.processor,
        machine.cores,
        machine.system,
        machine.compiler,
        bars(results)
    );
    for record in &results.records {
        text += &format!("\n{}\n", table(record));
    }
    text
}

/// An empty table.
pub fn markdown<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    table
}

fn right(table: &mut Table, columns: std::ops::RangeFrom<usize>) {
    for column in table.column_iter_mut().skip(columns.start) {
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

/// One case: each contender's medians, and the first one's ratio to it round by round.
pub fn table(record: &Record) -> String {
    let Some(first) = record.series.first() else {
        return String::new();
    };
    let main = first.figure.as_str();
    let others: Vec<&String> = first.rounds.keys().filter(|name| *name != main).collect();
    let mut header = vec!["who", "contract", main, "least to most"];
    header.extend(others.iter().map(|name| name.as_str()));
    let ratio = format!("{} beside it", first.name);
    header.push(&ratio);
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    for series in &record.series {
        let mut row = vec![
            series.name.clone(),
            series.contract.clone(),
            digits(median(series.main())),
            extremes(series.main()),
        ];
        let figure = |name: &&String| {
            series
                .rounds(name)
                .map_or("-".into(), |it| digits(median(it)))
        };
        row.extend(others.iter().map(figure));
        row.push(beside(first, series));
        table.add_row(row);
    }
    right(&mut table, 2..);
    let rounds = first.main().len();
    let quick = if record.quick { ", a quick look" } else { "" };
    let about = format!("{} ({rounds} rounds{quick})", record.about);
    format!("**{}**: {about}\n\n{table}\n", record.case)
}

/// The median of the ratios of one contender to another.
fn beside(ours: &Series, theirs: &Series) -> String {
    if ours.figure != theirs.figure || ours.name == theirs.name {
        return String::new();
    }
    let ratios = ours.main().iter().zip(theirs.main()).map(|(a, b)| a / b);
    digits(median(&ratios.collect::<Vec<_>>()))
}

/// The bars, met or not.
pub fn bars(results: &Results) -> String {
    let mut table = markdown([
        "case",
        "who",
        "beside",
        "figure",
        "bar",
        "median ratio",
        "least to most",
        "rounds kept",
        "",
    ]);
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
        table.add_row([
            bar.case.into(),
            bar.ours.into(),
            bar.theirs.into(),
            figure,
            limit,
            digits(median(&verdict.ratios)),
            extremes(&verdict.ratios),
            format!("{} of {}", verdict.kept, verdict.ratios.len()),
            if verdict.met { "met" } else { "**not met**" }.into(),
        ]);
    }
    format!("{table}\n")
}
