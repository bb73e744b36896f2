//! An archive in lines for people: its runs, its last frames.

use super::failure::{Failure, Outcome};
use crate::output::{self, Visible, clipped};
use framebus::archive::Archive;
use framebus::{
    ArchiveCursor, EventArchive, EventFilter, EventFrame, EventKind, EventOverflowNotice,
};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How many runs are read at once.
const PAGE: usize = 1_000;

/// How long a tail that follows waits before it looks again.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How much of a frame's text is shown, in columns.
const SHOWN: usize = 80;

/// Lists the runs, in the order of their last frames.
pub fn runs(folder: &Path) -> Outcome {
    let archive = Archive::open_for_reading(folder)?;
    let mut out = output::out();
    let mut after = 0;
    loop {
        let page = archive.runs(after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.last_position;
        for run in &page {
            let ended = run.ended.map_or("going", EventKind::as_str);
            let (first, last) = (run.first_time, run.last_time);
            writeln!(
                out,
                "{:>9} {ended:<12} {first} {last} {}",
                run.frames,
                Visible(&run.run_id)
            )
            .map_err(Failure::Output)?;
        }
    }
}

/// Shows the last frames that match, and goes on with new ones if that is asked for.
pub fn tail(folder: &Path, last: u64, follow: bool, filter: EventFilter) -> Outcome {
    let archive = Archive::open_for_reading(folder)?;
    let filter = filter.compile()?;
    let end = archive.end()?;
    let mut cursor = ArchiveCursor {
        position: end
            .position
            .saturating_sub(last)
            .max(archive.start()?.position),
        ..end
    };
    let mut out = output::out();
    loop {
        let end = archive.end()?;
        let mut frames = archive.replay_filtered_from_cursor(filter.clone(), cursor)?;
        let complete = loop {
            match frames.try_next() {
                Ok(Some(frame)) => show(&mut out, &frame).map_err(Failure::Output)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(notice) = frames.pending_overflow() {
            missing(&mut out, end.position, notice).map_err(Failure::Output)?;
        }
        complete?;
        cursor = end;
        if !follow {
            return Ok(());
        }
        out.flush().map_err(Failure::Output)?;
        thread::sleep(LOOKS_AGAIN_AFTER);
    }
}

/// Shows a frame on a line of its own, after a line that tells the gap before it.
fn show(out: &mut impl Write, frame: &EventFrame) -> io::Result<()> {
    let envelope = &frame.event.envelope;
    let position = frame.archive_cursor.as_ref().map_or(0, |it| it.position);
    let content = frame.event.content().and_then(|content| content.text());
    let text = frame
        .event
        .redacted_summary()
        .or(content)
        .unwrap_or_default();
    let line = clipped(text, SHOWN);
    if let Some(notice) = &frame.overflow {
        missing(out, position, notice)?;
    }
    let (time, kind) = (envelope.timestamp, envelope.event_kind);
    let (run, agent) = (Visible(&envelope.run_id), Visible(&envelope.agent_id));
    writeln!(out, "{position:>9} {time} {run} {agent} {kind} {line}")
}

/// Shows that frames before this position are missing.
fn missing(out: &mut impl Write, position: u64, notice: &EventOverflowNotice) -> io::Result<()> {
    let count = notice.dropped_count;
    writeln!(
        out,
        "{position:>9} (up to {count} frames before were removed, or can't be read)"
    )
}
