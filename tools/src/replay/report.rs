//! What the replay says at its end: a table, or its figures as JSON, and what was violated.

use super::audience::Row;
use crate::digits::grouped;
use crate::play::Play;
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use framebus::AgentError;
use framebus_recordings::RecordingError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of a replay.
pub struct Report<'a> {
    /// A row for each subscriber.
    pub rows: Vec<Row>,
    pub play: &'a Play,
    /// How long publishing took, or what stopped it.
    pub published: Result<Duration, AgentError>,
    /// The recordings, and their lines, that could not be read.
    pub left_out: &'a [RecordingError],
}

/// The quantiles of the latencies that are shown.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

impl Report<'_> {
    /// Returns the table, and under it a line about the play.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
            "subscriber",
            "policy",
            "streams",
            "delivered",
            "dropped",
            "notices",
            "terminal",
            "of",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
            "",
        ]);
        for row in &self.rows {
            let seen = &row.seen;
            let mut cells = vec![row.name.clone(), format!("{:?}", row.policy)];
            let counts = [
                row.streams as u64,
                seen.delivered,
                seen.dropped,
                seen.notices,
                seen.terminals,
            ];
            cells.extend(counts.map(grouped));
            if row.dropped_at_most {
                cells[4].insert_str(0, "≤ ");
            }
            cells.push(grouped(row.expected.terminals));
            cells.extend(QUANTILES.map(|(_, at)| grouped(seen.latency.value_at_quantile(at))));
            cells.push(grouped(seen.latency.max()));
            cells.push(row.note.clone());
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(2).take(10) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{table}\n{}", self.summary())
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
        json!({
            "frames": total.frames,
            "terminal_frames": total.terminals,
            "runs": self.play.parts().len(),
            "runs_by_source": sources,
            "agents": self.play.agents().len(),
            "publishing_seconds": self.published.as_ref().map(Duration::as_secs_f64).ok(),
            "subscribers": rows,
            "left_out": self.left_out.iter().map(ToString::to_string).collect::<Vec<_>>(),
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
