//! What the replay says at its end: a table, or its figures as JSON, and what was violated.

use super::audience::Row;
use crate::digits::grouped;
use crate::play::Play;
use comfy_table::{
    CellAlignment, ContentArrangement, Table, TableComponent, presets::UTF8_HORIZONTAL_ONLY,
};
use framebus::{AgentError, SubscriberOverflowPolicy as Policy};
use framebus_recordings::RecordingError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// What came of a replay.
pub struct Report<'a> {
    /// A row for each subscriber.
    pub rows: Vec<Row>,
    pub play: &'a Play,
    /// How long publishing took, or what stopped it.
    pub published: Result<Duration, AgentError>,
    /// What could not be read of the recordings, and what was read otherwise than it stands there.
    pub left_out: &'a [RecordingError],
}

/// The quantiles of the latencies that are shown.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// A column of the table.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Subscriber,
    Policy,
    Streams,
    Delivered,
    Dropped,
    Notices,
    /// How many terminal frames were delivered.
    Terminal,
    /// Of how many.
    Of,
    Latency(&'static str, f64),
    LongestLatency,
    Note,
}

/// The columns of a table.
struct Layout {
    columns: &'static [Column],
    short_policies: bool,
}

/// The layouts, from the widest to the narrowest.
const LAYOUTS: [Layout; 5] = {
    use Column::{
        Delivered, Dropped, Latency, LongestLatency, Note, Notices, Of, Policy, Streams,
        Subscriber, Terminal,
    };
    const P50: Column = Latency("p50 µs", 0.5);
    const P99: Column = Latency("p99 µs", 0.99);
    const P999: Column = Latency("p99.9 µs", 0.999);
    const fn layout(columns: &'static [Column], short_policies: bool) -> Layout {
        Layout {
            columns,
            short_policies,
        }
    }
    [
        layout(
            &[
                Subscriber,
                Policy,
                Streams,
                Delivered,
                Dropped,
                Notices,
                Terminal,
                Of,
                P50,
                P99,
                P999,
                LongestLatency,
                Note,
            ],
            false,
        ),
        layout(
            &[
                Subscriber,
                Policy,
                Streams,
                Delivered,
                Dropped,
                Notices,
                Terminal,
                Of,
                P50,
                P99,
                LongestLatency,
            ],
            false,
        ),
        layout(
            &[Subscriber, Policy, Delivered, Dropped, Terminal, Of, P99],
            false,
        ),
        layout(
            &[Subscriber, Policy, Delivered, Dropped, Terminal, Of, P99],
            true,
        ),
        layout(&[Subscriber, Delivered, Dropped, Terminal, Of], true),
    ]
};

impl Column {
    const fn head(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Policy => "policy",
            Self::Streams => "streams",
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
            Self::Notices => "notices",
            Self::Terminal => "terminal",
            Self::Of => "of",
            Self::Latency(head, _) => head,
            Self::LongestLatency => "max µs",
            Self::Note => "",
        }
    }

    fn cell(self, row: &Row, short_policies: bool) -> String {
        let seen = &row.seen;
        match self {
            Self::Subscriber => row.name.clone(),
            Self::Policy if short_policies => short(row.policy).to_owned(),
            Self::Policy => format!("{:?}", row.policy),
            Self::Streams => grouped(row.streams as u64),
            Self::Delivered => grouped(seen.delivered),
            Self::Dropped if row.dropped_at_most => format!("≤ {}", grouped(seen.dropped)),
            Self::Dropped => grouped(seen.dropped),
            Self::Notices => grouped(seen.notices),
            Self::Terminal => grouped(seen.terminals),
            Self::Of => grouped(row.expected.terminals),
            Self::Latency(_, at) => grouped(seen.latency.value_at_quantile(at)),
            Self::LongestLatency => grouped(seen.latency.max()),
            Self::Note => row.note.clone(),
        }
    }
}

/// Returns a policy in one word.
const fn short(policy: Policy) -> &'static str {
    match policy {
        Policy::DropNonTerminal => "non-terminal",
        Policy::DropProgress => "progress",
        Policy::SummarizeAndContinue => "summarize",
        Policy::FailSubscriber => "fail",
        Policy::BackpressureCaller => "back-pressure",
    }
}

/// Breaks a text at its blanks into lines of that many columns.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

impl Report<'_> {
    /// Returns the table with what fits into that many columns, and under it a line about the play.
    ///
    /// What is left out to fit is of the least use; the JSON has it.
    pub fn table(&self, width: usize) -> String {
        let fits = |table: &Table| table.lines().all(|line| line.width() <= width);
        let tables = LAYOUTS.iter().map(|layout| self.table_of(layout));
        let mut tables = tables.skip_while(|(table, _)| !fits(table));
        let (table, notes) = tables.next().unwrap_or_else(|| {
            let (mut table, notes) = self.table_of(&LAYOUTS[LAYOUTS.len() - 1]);
            let width = u16::try_from(width).unwrap_or(u16::MAX);
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width);
            (table, notes)
        });
        let notes: String = notes.iter().map(|note| format!("{note}\n")).collect();
        let summary = wrapped(&self.summary(), width);
        format!("{table}\n{notes}{summary}")
    }
    /// Returns a table of these columns, and the notes if it has no column for them.
    fn table_of(&self, layout: &Layout) -> (Table, Vec<String>) {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY);
        table.remove_style(TableComponent::HorizontalLines);
        table.remove_style(TableComponent::MiddleIntersections);
        table.set_header(layout.columns.iter().map(|column| column.head()));
        for row in &self.rows {
            let cells = layout.columns.iter();
            table.add_row(cells.map(|column| column.cell(row, layout.short_policies)));
        }
        for (column, what) in table.column_iter_mut().zip(layout.columns) {
            // The border between two columns is a blank.
            column.set_padding((0, 0));
            if !matches!(what, Column::Subscriber | Column::Policy | Column::Note) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let noted = self.rows.iter().filter(|row| !row.note.is_empty());
        let mut notes = Vec::new();
        if !layout.columns.contains(&Column::Note) {
            notes.extend(noted.map(|row| format!("{}, {:?}: {}", row.name, row.policy, row.note)));
        }
        (table, notes)
    }

    fn summary(&self) -> String {
        let total = self.play.total();
        let what = format!(
            "{} frames ({} terminal) of {} runs and {} agents",
            grouped(total.frames),
            grouped(total.terminals),
            grouped(self.play.parts().len() as u64),
            grouped(self.play.agents().len() as u64),
        );
        match &self.published {
            Ok(took) => {
                let rate = total.frames as f64 / took.as_secs_f64();
                format!(
                    "published {what} in {took:.2?} ({} frames/s); {} recording problem(s); {} violation(s)",
                    grouped(rate as u64),
                    self.left_out.len(),
                    self.violations().len(),
                )
            }
            Err(error) => format!("publishing {what} stopped: {error}"),
        }
    }

    /// Returns the figures of the table.
    pub fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(json_row).collect();
        let total = self.play.total();
        let mut sources = BTreeMap::new();
        for part in self.play.parts() {
            *sources.entry(part.source.as_str()).or_insert(0_u64) += 1;
        }
        let told = |loss| -> Vec<String> {
            let told = self.left_out.iter();
            let told = told.filter(|error| error.problem.is_loss() == loss);
            told.map(ToString::to_string).collect()
        };
        json!({
            "frames": total.frames,
            "terminal_frames": total.terminals,
            "runs": self.play.parts().len(),
            "runs_by_source": sources,
            "agents": self.play.agents().len(),
            "publishing_seconds": self.published.as_ref().map(Duration::as_secs_f64).ok(),
            "subscribers": rows,
            "left_out": told(true),
            "noticed": told(false),
            "violations": self.violations(),
        })
    }

    /// Returns what did not hold.
    pub fn violations(&self) -> Vec<String> {
        let published = self
            .published
            .as_ref()
            .err()
            .map(|error| format!("publishing: {error}"));
        self.rows
            .iter()
            .flat_map(|row| row.violations.clone())
            .chain(published)
            .collect()
    }
}

fn json_row(row: &Row) -> Value {
    let seen = &row.seen;
    let mut quantiles: BTreeMap<&str, u64> = QUANTILES
        .iter()
        .map(|&(name, at)| (name, seen.latency.value_at_quantile(at)))
        .collect();
    quantiles.insert("max", seen.latency.max());
    json!({
        "subscriber": row.name,
        "policy": row.policy,
        "streams": row.streams,
        "delivered": seen.delivered,
        "dropped": seen.dropped,
        "dropped_is_upper_bound": row.dropped_at_most,
        "notices": seen.notices,
        "terminals_delivered": seen.terminals,
        "terminals_published": row.expected.terminals,
        "latency_micros": quantiles,
        "note": row.note,
        "violations": row.violations,
    })
}
