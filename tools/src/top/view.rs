//! What is on the screen: the figures, their recent past, and how they are drawn.
//!
//! From 120 columns on there is room for the past of each subscriber's lag beside it.

use super::readers::Look;
use crate::digits::grouped;
use framebus::ring::{LaneStats, RingStats};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};
use std::collections::VecDeque;
use std::time::Duration;

/// How many looks are remembered.
const PAST: usize = 400;

/// The columns from which on there is room for the past.
const WIDE: u16 = 120;

/// A figure that only grows, and how fast.
#[derive(Default)]
struct Pace {
    /// The figure at the last look, and when that was.
    count: u64,
    at: Duration,
    /// By how much it grows in a second, smoothed.
    rate: u64,
    /// The rates at the last looks, not smoothed.
    past: VecDeque<u64>,
}

impl Pace {
    /// Takes a new look.
    fn look(&mut self, at: Duration, count: u64) {
        let (new, took) = (count.saturating_sub(self.count), at.saturating_sub(self.at));
        let rate = new as f64 / took.as_secs_f64().max(0.001);
        // A mean of some looks: a paced play comes in bursts.
        self.rate = ((self.rate as f64) * 0.7 + rate * 0.3).round() as u64;
        remember(&mut self.past, rate as u64);
        (self.count, self.at) = (count, at);
    }
}

fn remember(past: &mut VecDeque<u64>, now: u64) {
    if past.len() == PAST {
        past.pop_front();
    }
    past.push_back(now);
}

/// A subscriber on the screen.
struct ReaderRow {
    look: Look,
    /// How many sequence numbers were assigned since the last one that it read.
    lag: u64,
    /// The lags at the last looks.
    lags: VecDeque<u64>,
    delivered: Pace,
}

/// All that is shown.
pub struct Screen {
    /// The frames of the whole play.
    frames: u64,
    /// Since the play began.
    elapsed: Duration,
    stats: RingStats,
    published: Pace,
    shards: Vec<Pace>,
    readers: Vec<ReaderRow>,
}

impl Screen {
    /// For a play of `total` frames.
    pub fn new(frames: u64, stats: RingStats) -> Self {
        Screen {
            frames,
            elapsed: Duration::ZERO,
            published: Pace::default(),
            shards: stats.shards.iter().map(|_| Pace::default()).collect(),
            stats,
            readers: Vec::new(),
        }
    }

    /// Takes the figures of the bus.
    pub fn bus(&mut self, at: Duration, stats: RingStats) {
        self.published.look(at, stats.published);
        for (pace, shard) in self.shards.iter_mut().zip(&stats.shards) {
            pace.look(at, shard.frames.tail + shard.terminals.tail);
        }
        self.stats = stats;
    }

    /// Takes the figures of its readers.
    pub fn readers(&mut self, at: Duration, looks: impl Iterator<Item = Look>) {
        self.elapsed = at;
        for (number, look) in looks.enumerate() {
            if number == self.readers.len() {
                self.readers.push(ReaderRow {
                    look,
                    lag: 0,
                    lags: VecDeque::new(),
                    delivered: Pace::default(),
                });
                continue;
            }
            let row = &mut self.readers[number];
            row.lag = match look.ended {
                Some(_) => 0,
                None if look.napping => {
                    let last = self.stats.last_sequence;
                    last.saturating_sub(look.stats.position)
                }
                None => look.stats.lag,
            };
            remember(&mut row.lags, row.lag);
            row.delivered.look(at, look.stats.delivered);
            row.look = look;
        }
    }

    /// Returns how many frames all shards hold for certain. A reader that lags more has lost some.
    fn held(&self) -> u64 {
        self.stats.shards.iter().map(|it| it.frames.window).sum()
    }
}

/// Draws all of it.
pub fn draw(frame: &mut Frame, screen: &Screen) {
    let wide = frame.area().width >= WIDE;
    let shards = screen.stats.shards.len() as u16 + 1;
    let middle = if wide { shards.max(8) } else { 4 + shards };
    let rows = [
        Constraint::Length(2),
        Constraint::Max(middle),
        Constraint::Min(screen.readers.len() as u16 + 2),
    ];
    let [head, middle, below] = Layout::vertical(rows).areas(frame.area());
    let [rates, lanes] = if wide {
        let halves = Layout::horizontal([Constraint::Fill(1); 2]);
        halves.spacing(1).areas(middle)
    } else {
        Layout::vertical([Constraint::Length(4), Constraint::Min(2)]).areas(middle)
    };
    draw_head(frame, screen, head);
    draw_rates(frame, screen, rates);
    draw_shards(frame, screen, lanes);
    draw_readers(frame, screen, below, wide);
}

fn draw_head(frame: &mut Frame, screen: &Screen, area: Rect) {
    let stats = &screen.stats;
    let done = stats.published as f64 / screen.frames.max(1) as f64;
    let state = if stats.published >= screen.frames {
        "all played"
    } else {
        "playing"
    };
    let title = Line::from(vec![
        "framebus ".bold(),
        format!("{:>6.1} s  {state} ", screen.elapsed.as_secs_f64()).into(),
        bar(done, 20).green(),
        format!(" {:.0} %", done * 100.0).into(),
    ]);
    let oldest = stats.oldest_sequence.map_or("nothing".to_owned(), grouped);
    let figures = format!(
        "published {}   {}/s   held from {oldest}   asleep {}   woken {}",
        grouped(stats.published),
        grouped(screen.published.rate),
        stats.parked,
        grouped(stats.woken),
    );
    frame.render_widget(Paragraph::new(vec![title, figures.into()]), area);
    frame.render_widget(Line::from("q: quit".dark_gray()).right_aligned(), area);
}

fn draw_rates(frame: &mut Frame, screen: &Screen, area: Rect) {
    let past = &screen.published.past;
    let width = area.width as usize;
    let shown = past.iter().skip(past.len().saturating_sub(width));
    let most = shown.clone().max().copied().unwrap_or(0);
    // On a log scale a thousand frames and two are both seen.
    let heights = shown.map(|&rate| (log_part(rate, most) * 1_000.0) as u64);
    let title = format!("frames a second, log scale, up to {}", grouped(most));
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
    let rows = screen.stats.shards.iter().zip(&screen.shards).enumerate();
    let rows = rows.map(|(at, (shard, pace))| {
        Row::new([
            Cell::from(at.to_string()),
            lane(&shard.frames),
            lane(&shard.terminals),
            right(grouped(shard.frames.wraps)),
            right(grouped(shard.frames.voids + shard.terminals.voids)),
            right(format!("{}/s", grouped(pace.rate))),
        ])
    });
    let widths = [2, 15, 15, 7, 7, 10].map(Constraint::Length);
    let table = Table::new(rows, widths).block(titled(
        "shards: frames held, terminal frames held, wraps, voids, rate",
    ));
    frame.render_widget(table, area);
}

fn draw_readers(frame: &mut Frame, screen: &Screen, area: Rect, wide: bool) {
    let past = usize::from(area.width.saturating_sub(WIDE)).clamp(10, 60);
    let held = screen.held();
    let most_delivered = screen
        .readers
        .iter()
        .map(|it| it.look.stats.delivered)
        .max();
    let rows = screen.readers.iter().map(|reader| {
        let stats = &reader.look.stats;
        let lag = log_part(reader.lag, held);
        let color = match reader.lag {
            lag if lag > held => Color::Red,
            lag if lag > held / 4 => Color::Yellow,
            _ => Color::Green,
        };
        let share = stats.delivered as f64 / most_delivered.unwrap_or(0).max(1) as f64;
        let dropped = stats.dropped.total();
        let lost = if dropped > 0 {
            Color::Yellow
        } else {
            Color::Reset
        };
        let mut cells = vec![
            Cell::from(reader.look.name),
            Cell::from(Line::from(vec![
                bar(share, 6).blue(),
                right_text(stats.delivered, 9),
            ])),
            match reader.look.ended {
                Some(how) => right(how.to_owned()).style(Color::DarkGray),
                None => Cell::from(Line::from(vec![
                    Span::styled(bar(lag, 6), color),
                    right_text(reader.lag, 9),
                ])),
            },
            right(grouped(dropped)).style(Style::from(lost)),
            right(grouped(stats.terminals)),
            right(grouped(stats.laps)),
        ];
        if wide {
            cells.push(Cell::from(format!("{:?}", reader.look.policy)));
            cells.push(right(format!("{}/s", grouped(reader.delivered.rate))));
            cells.push(right(grouped(stats.notices)));
            cells.push(Cell::from(spark(&reader.lags, past, held)).style(color));
        }
        Row::new(cells)
    });
    let mut heads = vec![
        "subscriber",
        "delivered",
        "behind",
        "dropped",
        "terminal",
        "laps",
    ];
    let mut widths = vec![15, 17, 15, 10, 9, 6];
    if wide {
        heads.extend(["policy", "rate", "notices", "behind, lately (log scale)"]);
        widths.extend([20, 10, 8, past as u16]);
    }
    // Words to the left, numbers to the right.
    let head = |&head: &&'static str| match head {
        "subscriber" | "policy" | "behind, lately (log scale)" => Cell::from(head),
        _ => right(head.to_owned()),
    };
    let header = Row::new(heads.iter().map(head)).dark_gray();
    let table = Table::new(rows, widths.into_iter().map(Constraint::Length))
        .header(header)
        .block(titled("subscribers"));
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
