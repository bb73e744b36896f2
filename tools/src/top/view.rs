//! Draws the screen.
//!
//! It may have any size. What has no room is left out whole: the columns to the right, then
//! the chart of the rates, then the shards; no heading is cut.

use super::screen::{ReaderRow, Screen};
use crate::digits::grouped;
use framebus::ring::LaneStats;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Row, Sparkline, Table};
use std::collections::VecDeque;
use unicode_width::UnicodeWidthStr;

/// The columns from which on the shards are beside the chart.
const WIDE: u16 = 120;

/// The rows of a part of the screen that has a title and `rows` below it.
const fn part(rows: usize) -> u16 {
    1 + rows as u16
}

/// The rows that the chart of the rates has at least.
const CHART: u16 = 3;

/// Draws all of it that there is room for: the subscribers first, then the shards, then the chart.
pub fn draw(frame: &mut Frame, screen: &Screen) {
    let area = frame.area();
    let wide = area.width >= WIDE;
    let [head, area] = Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    draw_head(frame, screen, head);
    let (shards, readers) = (
        part(screen.stats.shards.len()),
        part(1 + screen.readers.len()),
    );
    let spare = area.height.saturating_sub(readers);
    let above = match (wide, spare) {
        (true, _) if spare >= CHART => spare.min(shards.max(8)),
        (false, _) if spare >= shards + CHART => shards + CHART + u16::from(spare > shards + CHART),
        (false, _) if spare >= shards => shards,
        _ => 0,
    };
    let parts = Layout::vertical([Constraint::Length(above), Constraint::Fill(1)]);
    let [above, readers] = parts.areas(area);
    let [rates, lanes] = if wide {
        let halves = Layout::horizontal([Constraint::Fill(1); 2]);
        halves.spacing(1).areas(above)
    } else {
        Layout::vertical([Constraint::Fill(1), Constraint::Length(shards)]).areas(above)
    };
    draw_rates(frame, screen, rates);
    draw_shards(frame, screen, lanes);
    draw_readers(frame, screen, readers);
}

/// Returns the last of these that is no wider than the area; else the first. They get wider.
fn fitting<const N: usize>(area: Rect, texts: [String; N]) -> String {
    let fits = |text: &String| text.width() <= usize::from(area.width);
    let mut texts = texts.into_iter().enumerate();
    let fitting = texts
        .by_ref()
        .filter(|(index, text)| *index == 0 || fits(text))
        .last();
    fitting.map(|(_, text)| text).unwrap_or_default()
}

fn draw_head(frame: &mut Frame, screen: &Screen, area: Rect) {
    const QUIT: &str = " q: quit";
    let stats = &screen.stats;
    let done = stats.published as f64 / screen.frames.max(1) as f64;
    let state = if stats.published >= screen.frames {
        "all played"
    } else {
        "playing"
    };
    let time = format!("{:.1} s", screen.elapsed.as_secs_f64());
    let [first, second] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let quit = [Constraint::Fill(1), Constraint::Length(QUIT.len() as u16)];
    let [title, quit] = Layout::horizontal(quit).areas(first);
    let words = format!("{time:>8}  {state} ");
    let percent = format!("{:.0} %", done * 100.0);
    let bar = bar(done, 20);
    let all = "framebus ".len() + words.width() + bar.width() + 1 + percent.width();
    let mut line = vec!["framebus ".bold(), words.into()];
    if all <= usize::from(title.width) {
        line.extend([bar.green(), " ".into()]);
    }
    line.push(percent.into());
    frame.render_widget(Line::from(line), title);
    frame.render_widget(Line::from(QUIT.dark_gray()), quit);

    let oldest = stats.oldest_sequence.map_or("nothing".to_owned(), grouped);
    let published = format!("published {}", grouped(stats.published));
    let rate = format!("{published}   {}/s", grouped(screen.published.rate));
    let held = format!("{rate}   held from {oldest}");
    let (asleep, woken) = (stats.parked, grouped(stats.woken));
    let sleeping = format!("{held}   asleep {asleep}   woken {woken}");
    let figures = fitting(second, [published, rate, held, sleeping]);
    frame.render_widget(Line::from(figures), second);
}

fn draw_rates(frame: &mut Frame, screen: &Screen, area: Rect) {
    let past = &screen.published.past;
    let width = area.width as usize;
    let shown = past.iter().skip(past.len().saturating_sub(width));
    let most = shown.clone().max().copied().unwrap_or(0);
    // On a log scale a thousand frames and two are both seen.
    let heights = shown.map(|&rate| (log_part(rate, most) * 1_000.0) as u64);
    let most = grouped(most);
    let titles = [
        "frames/s".to_owned(),
        format!("frames/s, up to {most}"),
        format!("frames a second, log scale, up to {most}"),
    ];
    let title = fitting(area, titles);
    let chart = Sparkline::default()
        .data(heights)
        .max(1_000)
        .style(Color::Green);
    frame.render_widget(chart.block(titled(&title)), area);
}

fn draw_shards(frame: &mut Frame, screen: &Screen, area: Rect) {
    let lane = |lane: &LaneStats| {
        let color = if lane.fill() < 1.0 {
            Color::Cyan
        } else {
            Color::Yellow
        };
        Cell::from(Line::from(vec![
            Span::styled(bar(lane.fill(), 8), color),
            format!(" {:>3.0} %", lane.fill() * 100.0).into(),
        ]))
    };
    let narrow = area.width < 60;
    let rows = screen.stats.shards.iter().zip(&screen.shards).enumerate();
    let rows = rows.map(|(at, (shard, pace))| {
        let mut cells = vec![
            Cell::from(at.to_string()),
            lane(&shard.frames),
            right(format!("{}/s", grouped(pace.rate))),
        ];
        if !narrow {
            cells.insert(2, lane(&shard.terminals));
            cells.insert(3, right(grouped(shard.frames.wraps)));
            let voids = shard.frames.voids + shard.terminals.voids;
            cells.insert(4, right(grouped(voids)));
        }
        Row::new(cells)
    });
    let (widths, title): (&[u16], _) = if narrow {
        (&[2, 15, 10], "shards: frames held, rate")
    } else {
        let title = "shards: frames held, terminal frames held, wraps, voids, rate";
        (&[2, 15, 15, 7, 7, 10], title)
    };
    let widths = widths.iter().copied().map(Constraint::Length);
    let title = fitting(area, ["shards".to_owned(), title.to_owned()]);
    frame.render_widget(Table::new(rows, widths).block(titled(&title)), area);
}

/// A column of the subscribers' table.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Name,
    Delivered,
    Behind,
    Dropped,
    Terminal,
    Laps,
    Policy,
    Rate,
    Notices,
    /// The lags at the last looks, in what room is left.
    Past,
}

/// The columns in their order; where there is no room for all, the last go first.
const COLUMNS: [Column; 10] = {
    use Column::{Behind, Delivered, Dropped, Laps, Name, Notices, Past, Policy, Rate, Terminal};
    [
        Name, Delivered, Behind, Dropped, Terminal, Laps, Policy, Rate, Notices, Past,
    ]
};

/// The columns that the past has at most.
const MOST_PAST: u16 = 60;

impl Column {
    const fn head(self) -> &'static str {
        match self {
            Self::Name => "subscriber",
            Self::Delivered => "delivered",
            Self::Behind => "behind",
            Self::Dropped => "dropped",
            Self::Terminal => "terminal",
            Self::Laps => "laps",
            Self::Policy => "policy",
            Self::Rate => "rate",
            Self::Notices => "notices",
            Self::Past => "behind, lately (log scale)",
        }
    }

    /// Its width, with bars beside two of the figures or without.
    const fn width(self, bars: bool) -> u16 {
        match self {
            Self::Name => 13,
            Self::Delivered if bars => 17,
            Self::Behind if bars => 15,
            Self::Delivered | Self::Behind => 11,
            Self::Dropped => 10,
            Self::Terminal => 9,
            Self::Laps => 6,
            Self::Policy => 20,
            Self::Rate => 10,
            Self::Notices => 8,
            Self::Past => 26,
        }
    }

    /// Words are to the left, figures to the right.
    const fn is_words(self) -> bool {
        matches!(self, Self::Name | Self::Policy | Self::Past)
    }

    fn cell(self, reader: &ReaderRow, scale: &Scale) -> Cell<'static> {
        let stats = &reader.look.stats;
        let color = match reader.lag {
            lag if lag > scale.held => Color::Red,
            lag if lag > scale.held / 4 => Color::Yellow,
            _ => Color::Green,
        };
        match self {
            Self::Name => Cell::from(reader.look.name),
            Self::Delivered if scale.bars => {
                let share = stats.delivered as f64 / scale.most_delivered.max(1) as f64;
                let figure = right_text(stats.delivered, 11);
                Cell::from(Line::from(vec![bar(share, 6).blue(), figure]))
            }
            Self::Delivered => right(grouped(stats.delivered)),
            Self::Behind => match reader.look.ended {
                Some(how) => right(how.to_owned()).style(Color::DarkGray),
                None if scale.bars => {
                    let lag = bar(log_part(reader.lag, scale.held), 6);
                    let figure = right_text(reader.lag, 9);
                    Cell::from(Line::from(vec![Span::styled(lag, color), figure]))
                }
                None => right(grouped(reader.lag)).style(color),
            },
            Self::Dropped => {
                let dropped = stats.dropped.total();
                let lost = if dropped > 0 {
                    Color::Yellow
                } else {
                    Color::Reset
                };
                right(grouped(dropped)).style(lost)
            }
            Self::Terminal => right(grouped(stats.terminals)),
            Self::Laps => right(grouped(stats.laps)),
            Self::Policy => Cell::from(format!("{:?}", reader.look.policy)),
            Self::Rate => right(format!("{}/s", grouped(reader.delivered.rate))),
            Self::Notices => right(grouped(stats.notices)),
            Self::Past => Cell::from(spark(&reader.lags, scale.past, scale.held)).style(color),
        }
    }
}

/// What the figures of a subscriber are measured by, and the room for them.
struct Scale {
    bars: bool,
    past: usize,
    held: u64,
    most_delivered: u64,
}

fn draw_readers(frame: &mut Frame, screen: &Screen, area: Rect) {
    let width = |count: usize, bars| {
        let columns = COLUMNS[..count].iter().map(|column| column.width(bars));
        columns.sum::<u16>() + count.saturating_sub(1) as u16
    };
    // Figures before bars: there are bars where every figure has room.
    let figures = 6;
    let bars = width(figures, true) <= area.width;
    let fits = |count: &usize| width(*count, bars) <= area.width;
    let shown = (1..=COLUMNS.len()).rev().find(fits).unwrap_or(1);
    let spare = area.width.saturating_sub(width(shown, bars));
    let mut widths: Vec<u16> = COLUMNS[..shown].iter().map(|it| it.width(bars)).collect();
    if shown == COLUMNS.len() {
        widths[shown - 1] = (widths[shown - 1] + spare).min(MOST_PAST);
    }
    let delivered = screen.readers.iter().map(|it| it.look.stats.delivered);
    let scale = Scale {
        bars,
        past: usize::from(widths[shown - 1]),
        held: screen.held(),
        most_delivered: delivered.max().unwrap_or(0),
    };
    // A title, a header, and a row each.
    let room = usize::from(area.height.saturating_sub(2));
    let hidden = screen.readers.len().saturating_sub(room);
    let title = match hidden {
        0 => "subscribers".to_owned(),
        hidden => {
            let more = format!("subscribers, {hidden} below");
            fitting(area, ["subscribers".to_owned(), more])
        }
    };
    let rows = screen.readers.iter();
    let rows = rows.map(|row| {
        let cells = COLUMNS[..shown].iter();
        Row::new(cells.map(|column| column.cell(row, &scale)))
    });
    let heads = COLUMNS[..shown].iter().map(|column| {
        if column.is_words() {
            Cell::from(column.head())
        } else {
            right(column.head().to_owned())
        }
    });
    let table = Table::new(rows, widths.into_iter().map(Constraint::Length))
        .header(Row::new(heads).dark_gray())
        .block(titled(&title));
    frame.render_widget(table, area);
}

fn titled(title: &str) -> Block<'static> {
    Block::new()
        .borders(Borders::TOP)
        .border_style(Color::DarkGray)
        .title(title.to_owned())
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn right_text(count: u64, width: usize) -> Span<'static> {
    format!("{:>width$}", grouped(count)).into()
}

/// Draws a bar of `width` columns, to the eighth of one.
fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (part.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if let rest @ 1.. = eighths % 8 {
        bar.push(EIGHTHS[rest]);
    }
    format!("{bar:<width$}")
}

/// Draws the latest lags, a column each.
fn spark(past: &VecDeque<u64>, width: usize, most: u64) -> String {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = past.iter().skip(past.len().saturating_sub(width));
    shown
        .map(|&lag| LEVELS[(log_part(lag, most) * 8.0).ceil() as usize])
        .collect()
}

/// Returns a count as a part of `most` on a log scale, from 0 to 1.
fn log_part(count: u64, most: u64) -> f64 {
    let log = |count: u64| (count as f64 + 1.0).ln();
    (log(count) / log(most.max(1))).min(1.0)
}
