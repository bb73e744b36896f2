//! What PERF.md shows of a run: written between its markers, beside it the plots, the results and
//! all tables.
//!
//! A block of PERF.md lies between `<!-- bench: name -->` and `<!-- end -->`; what stands between
//! is replaced, the rest is left alone.

use crate::count::COUNTS;
use crate::peers::replaced;
use crate::plot;
use crate::record::{BATCHES, Results, Series, median};
use crate::report::{self, digits, markdown};
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use std::fs;
use std::path::Path;

/// Where plots, results and tables go, in the project.
const FOLDER: &str = "docs/perf";

/// Writes all into the project.
pub fn write(results: &Results, project: &Path) -> Result<()> {
    let folder = project.join(FOLDER);
    for path in plot::draw(results, &folder)? {
        println!("{}", path.display());
    }
    results.write(&folder.join("results.jsonl"))?;
    let tables = format!("# All tables\n\n{}", report::report(results));
    fs::write(folder.join("tables.md"), tables)?;
    let path = project.join("PERF.md");
    let text = fs::read_to_string(&path).context("PERF.md cannot be read")?;
    fs::write(&path, fill(&text, &blocks(results))?)?;
    println!("{}", path.display());
    Ok(())
}

fn blocks(results: &Results) -> Vec<(&'static str, String)> {
    let case = |name| results.case(name).map_or(String::new(), report::table);
    vec![
        ("machine", machine(results)),
        ("bars", report::bars(results)),
        ("one-core", matrix(results, ONE_CORE)),
        ("streams", matrix(results, STREAMS)),
        ("latency", latency(results)),
        (
            "parts",
            ["skip", "bound", "poll-empty", "slow", "sleepers", "backlog"]
                .map(case)
                .join("\n"),
        ),
        ("behind", report::behind(results)),
        ("counts", case(COUNTS)),
    ]
}

fn machine(results: &Results) -> String {
    let quick = results.records.iter().any(|record| record.quick);
    let provisional = match quick {
        true => " **Some figures are of a quick look: provisional.**",
        false => "",
    };
    format!("{}.{provisional}", results.machine.told())
}

/// Replaces what stands between the markers; each block has to have its place.
fn fill(text: &str, blocks: &[(&str, String)]) -> Result<String> {
    const END: &str = "<!-- end -->";
    let mut text = text.to_owned();
    for (name, block) in blocks {
        let begin = format!("<!-- bench: {name} -->");
        let missing = || format!("PERF.md lacks `{begin}` and `{END}` behind it");
        let from = text.find(&begin).with_context(missing)? + begin.len();
        let to = from + text[from..].find(END).with_context(missing)?;
        text.replace_range(from..to, &format!("\n{}\n", block.trim()));
    }
    Ok(text)
}

/// Cases and how their columns are called.
type Columns = &'static [(&'static str, &'static str)];

const ONE_CORE: Columns = &[
    ("publish/u64", "publish"),
    ("drain/u64", "drain"),
    ("round-trip/u64", "round trip"),
    ("publish/arc", "publish, `Arc`"),
    ("round-trip/arc", "round trip, `Arc`"),
    ("publish/event", "publish, event"),
    ("drain/event", "drain, event"),
    ("round-trip/event", "round trip, event"),
];

const STREAMS: Columns = &[
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

/// Medians: a row for each contender, a column for each case.
fn matrix(results: &Results, columns: Columns) -> String {
    let mut rows: Vec<&Series> = Vec::new();
    for (case, _) in columns {
        for series in results.case(case).into_iter().flat_map(|it| &it.series) {
            if !rows.iter().any(|row| row.name == series.name) {
                rows.push(series);
            }
        }
    }
    // Singly first, then in batches; the bus that only keeps is last.
    rows.sort_by_key(|row| (row.name.contains(BATCHES), row.name == replaced::NAME));
    let mut header = vec!["who", "contract"];
    header.extend(columns.iter().map(|(_, title)| title));
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    for row in rows {
        let cell = |(case, _): &(&str, &str)| {
            let series = results.case(case)?.series(&row.name)?;
            Some(digits(median(series.main())))
        };
        let mut cells = vec![row.name.clone(), row.contract.clone()];
        cells.extend(columns.iter().map(|it| cell(it).unwrap_or_default()));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Median and tail of each latency case.
fn latency(results: &Results) -> String {
    let mut table = markdown([
        "case",
        "who",
        "p50 ns",
        "p99 ns",
        "p99.9 ns",
        "max ns",
        "line transfer ns",
        "publisher late %",
    ]);
    let cases = results.records.iter();
    for record in cases.filter(|it| it.case.starts_with("latency") || it.case.starts_with("burst"))
    {
        for series in &record.series {
            let figure = |name| {
                series
                    .rounds(name)
                    .map_or("-".into(), |it| digits(median(it)))
            };
            table.add_row([
                record.case.clone(),
                series.name.clone(),
                figure("p50 ns"),
                figure("p99 ns"),
                figure("p99.9 ns"),
                figure("max ns"),
                figure("line transfer ns"),
                figure("late %"),
            ]);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_its_blocks_and_nothing_else() {
        let text = "a\n<!-- bench: one -->\nold\n<!-- end -->\nb <!-- end -->\n";
        let filled = fill(text, &[("one", "new\n".into())]).unwrap();
        assert_eq!(
            filled,
            "a\n<!-- bench: one -->\nnew\n<!-- end -->\nb <!-- end -->\n"
        );
        assert_eq!(fill(&filled, &[("one", "new".into())]).unwrap(), filled);
        assert!(fill(text, &[("two", String::new())]).is_err());
    }

    #[test]
    fn perf_md_has_a_place_for_each_block() {
        let perf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../PERF.md");
        let text = fs::read_to_string(perf).unwrap();
        fill(&text, &blocks(&Results::default())).unwrap();
    }

    #[test]
    fn columns_are_cases() {
        let cases = crate::cases::all(Path::new("."));
        for (case, _) in ONE_CORE.iter().chain(STREAMS) {
            assert!(cases.iter().any(|it| it.name == *case), "{case}");
        }
    }
}
