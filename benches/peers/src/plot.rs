//! Plots of what was measured, as SVG: a dot for the median, a line from the least to the most, a
//! colour for what differs in contract.

use crate::bar::{BARS, Limit};
use crate::peer::Contract;
use crate::record::{Record, Results, median};
use crate::report::digits;
use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fs;
use std::path::{Path, PathBuf};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Framebus.
const OURS: RGBColor = RGBColor(217, 72, 15);
const TEXT: RGBColor = RGBColor(33, 37, 41);
const FAINT: RGBColor = RGBColor(134, 142, 150);
const GRID: RGBColor = RGBColor(222, 226, 230);

/// Pixels of a row, and of a panel's title and axis.
const ROW: u32 = 19;
const FRAME: u32 = 70;
const WIDTH: u32 = 640;

/// One row of a panel.
struct Row {
    name: String,
    colour: RGBColor,
    values: Vec<f64>,
}

/// A list of rows on one axis.
struct Panel {
    title: String,
    /// The axis.
    unit: String,
    rows: Vec<Row>,
    /// Pixels for the rows' names.
    labels: i32,
    /// A value to be marked, and its name.
    mark: Option<(f64, &'static str)>,
}

/// Draws all plots into a folder; those whose cases were not measured are left out.
pub fn draw(results: &Results, folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let of = |cases: &[(&str, &str)]| -> Vec<Panel> {
        let panel = |&(case, title)| Some(Panel::of_case(results.case(case)?, title));
        cases.iter().filter_map(panel).collect()
    };
    let plots = [
        ("bars", vec![Panel::of_bars(results)]),
        (
            "one-core",
            of(&[
                ("round-trip/u64", "Publish 256, drain 256: a word"),
                ("round-trip/event", "The same, a real event made before"),
            ]),
        ),
        (
            "streams",
            of(&[
                ("stream/1-to-1/u64", "1 to 1, a word"),
                ("stream/1-to-4/u64", "1 to 4, a word"),
                ("stream/2-to-1/u64", "2 to 1, a word"),
                ("stream/2-to-2/u64", "2 to 2, a word"),
            ]),
        ),
        (
            "events",
            of(&[
                ("stream/1-to-1/event", "1 to 1, a real event made for each"),
                ("replay/1-to-1", "1 to 1, the recorded runs"),
            ]),
        ),
        (
            "latency",
            of(&[
                ("latency/polling/u64", "Polling, a word: median age"),
                (
                    "latency/blocking/event",
                    "Blocking, a real event: median age",
                ),
                ("latency/async/event", "Awaited, a real event: median age"),
            ]),
        ),
    ];
    let mut drawn = Vec::new();
    for (name, mut panels) in plots {
        panels.retain(|panel| !panel.rows.is_empty());
        if !panels.is_empty() {
            let path = folder.join(name).with_extension("svg");
            sheet(&path, &panels)
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            drawn.push(path);
        }
    }
    Ok(drawn)
}

fn colour(name: &str, contract: &str) -> RGBColor {
    let is = |of: Contract| contract.starts_with(of.as_str());
    match contract {
        _ if name.starts_with("framebus") => OURS,
        _ if is(Contract::Overwrites) => RGBColor(25, 113, 194),
        _ if is(Contract::Gates) => RGBColor(112, 72, 232),
        _ if is(Contract::PointToPoint) => RGBColor(73, 80, 87),
        _ => FAINT,
    }
}

impl Panel {
    /// The contenders of a case, the best on top.
    fn of_case(record: &Record, title: &str) -> Self {
        let unit = record.series.first().map_or("", |first| &first.figure);
        let mut rows: Vec<_> = record
            .series
            .iter()
            .filter(|series| series.figure == unit)
            .map(|series| Row {
                name: series.name.clone(),
                colour: colour(&series.name, &series.contract),
                values: series.main().to_vec(),
            })
            .collect();
        rows.sort_by(|a, b| median(&a.values).total_cmp(&median(&b.values)));
        let (more_is_better, axis) = match unit {
            crate::case::MILLIONS => (true, "million frames/s, more is better"),
            crate::case::NS => (false, "ns a frame, less is better"),
            _ => (false, "ns, less is better"),
        };
        if more_is_better {
            rows.reverse();
        }
        Panel {
            title: title.into(),
            unit: axis.into(),
            rows,
            labels: 250,
            mark: None,
        }
    }

    /// By what factor each bar is kept; 1 is the bar.
    fn of_bars(results: &Results) -> Self {
        let row = |bar: &crate::bar::Bar| {
            let ratios = bar.verdict(results)?.ratios;
            let kept = |ratio: f64| match bar.limit {
                Limit::AtMost(limit) => limit / ratio,
                Limit::AtLeast(limit) => ratio / limit,
            };
            Some(Row {
                name: bar.short(),
                colour: OURS,
                values: ratios.into_iter().map(kept).collect(),
            })
        };
        Panel {
            title: "How the bars are kept".into(),
            unit: "times better than the bar asks for".into(),
            rows: BARS.iter().filter_map(row).collect(),
            labels: 370,
            mark: Some((1.0, "the bar")),
        }
    }

    fn height(&self) -> u32 {
        self.rows.len() as u32 * ROW + FRAME
    }
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Panels in two columns, or one if there is one, and a legend.
fn sheet(path: &Path, panels: &[Panel]) -> Drawn {
    let columns = panels.len().min(2);
    let lines: Vec<u32> = panels
        .chunks(columns)
        .map(|line| line.iter().map(Panel::height).max().unwrap_or(0))
        .collect();
    let size = (WIDTH * columns as u32, lines.iter().sum::<u32>() + 30);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let mut top = 0;
    for (line, height) in panels.chunks(columns).zip(lines) {
        for (column, panel) in line.iter().enumerate() {
            let left = column as u32 * WIDTH;
            let area = root.clone().shrink((left, top), (WIDTH, panel.height()));
            panel.draw(&area)?;
        }
        top += height;
    }
    legend(&root, top as i32 + 12)?;
    root.present()
}

fn font(size: u32, colour: RGBColor, across: HPos) -> TextStyle<'static> {
    let style = ("Helvetica, Arial, sans-serif", size)
        .into_font()
        .color(&colour);
    style.pos(Pos::new(across, VPos::Center))
}

fn legend(root: &Area<'_>, y: i32) -> Drawn {
    let mut x = 20;
    let kinds = [
        Contract::Overwrites,
        Contract::Gates,
        Contract::PointToPoint,
    ];
    let peers = kinds.map(|kind| (kind.as_str(), colour("", kind.as_str())));
    for (name, colour) in [("framebus", OURS)].into_iter().chain(peers) {
        root.draw(&Circle::new((x, y), 4, colour.filled()))?;
        root.draw(&Text::new(name, (x + 10, y), font(12, TEXT, HPos::Left)))?;
        x += 26 + 6 * name.len() as i32;
    }
    let what = "dot: median; line: least to most";
    root.draw(&Text::new(what, (x, y), font(12, FAINT, HPos::Left)))
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Drawn {
        let values = self.rows.iter().flat_map(|row| row.values.iter().copied());
        let (least, most) = extremes(values.chain(self.mark.map(|(value, _)| value)));
        let (low, high) = (
            least.log10() - 0.05,
            (most.log10() + 0.05).max(least.log10() + 0.3),
        );
        let (left, right) = (self.labels, WIDTH as i32 - 70);
        let bottom = 40 + (self.rows.len() as u32 * ROW) as i32;
        let x = |value: f64| {
            left + ((value.log10() - low) / (high - low) * f64::from(right - left)) as i32
        };
        area.draw(&Text::new(
            self.title.as_str(),
            (20, 18),
            font(15, TEXT, HPos::Left),
        ))?;
        for tick in ticks(low, high) {
            let at = x(tick);
            area.draw(&PathElement::new([(at, 36), (at, bottom)], GRID))?;
            let label = short(tick);
            area.draw(&Text::new(
                label,
                (at, bottom + 9),
                font(11, FAINT, HPos::Center),
            ))?;
        }
        let middle = (left + right) / 2;
        let unit = self.unit.as_str();
        area.draw(&Text::new(
            unit,
            (middle, bottom + 23),
            font(11, FAINT, HPos::Center),
        ))?;
        if let Some((value, name)) = self.mark {
            let at = x(value);
            area.draw(&PathElement::new(
                [(at, 36), (at, bottom)],
                TEXT.stroke_width(1),
            ))?;
            area.draw(&Text::new(name, (at, 29), font(11, TEXT, HPos::Center)))?;
        }
        for (at, row) in self.rows.iter().enumerate() {
            let y = 40 + at as i32 * ROW as i32 + ROW as i32 / 2;
            let (least, most) = extremes(row.values.iter().copied());
            let centre = median(&row.values);
            let name = Text::new(
                row.name.as_str(),
                (left - 10, y),
                font(12, row.colour, HPos::Right),
            );
            area.draw(&name)?;
            let line = [(x(least), y), (x(most), y)];
            area.draw(&PathElement::new(
                line,
                row.colour.mix(0.45).stroke_width(3),
            ))?;
            area.draw(&Circle::new((x(centre), y), 4, row.colour.filled()))?;
            let value = Text::new(digits(centre), (right + 12, y), font(12, TEXT, HPos::Left));
            area.draw(&value)?;
        }
        Ok(())
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(least, most), value| {
        (least.min(value), most.max(value))
    })
}

/// A tick in a few characters.
fn short(tick: f64) -> String {
    match tick {
        t if t >= 1e6 => format!("{}M", t / 1e6),
        t if t >= 1e4 => format!("{}k", t / 1e3),
        t => t.to_string(),
    }
}

/// 1, 2 and 5 of each decade within these powers of ten; only the decades where that is too many,
/// or every second one.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high - low > 2.5 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let every = if high - low > 5.0 { 2 } else { 1 };
    let decades = (low.floor() as i32..=high.ceil() as i32).filter(|decade| decade % every == 0);
    let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    ticks
        .filter(|tick| (low..=high).contains(&tick.log10()))
        .collect()
}
