//! An archive's frames as JSON lines.

use super::failure::{Failure, Outcome};
use crate::{output, progress};
use framebus::archive::Archive;
use framebus::{ArchiveCursor, EventArchive, EventFilter, EventOverflowNotice, Timestamp};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes the frames that match, from a position or a time on, to a file or the standard output.
pub fn export(
    folder: &Path,
    file: Option<PathBuf>,
    after: Option<u64>,
    since: Option<Timestamp>,
    filter: EventFilter,
) -> Outcome {
    let archive = Archive::open_for_reading(folder)?;
    let filter = filter.compile()?;
    let start = archive.start()?;
    let cursor = match (after, since) {
        (Some(position), _) => ArchiveCursor { position, ..start },
        (None, Some(time)) => archive.before_time(time)?,
        (None, None) => start,
    };
    let begin = cursor.position;
    let length = archive.end()?.position.saturating_sub(begin);
    let unwritable = |error| match &file {
        Some(path) => Failure::File {
            path: path.clone(),
            error,
        },
        None => Failure::Output(error),
    };
    let mut out: Box<dyn Write> = match &file {
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(unwritable)?)),
        None => Box::new(BufWriter::new(output::out())),
    };
    let bar = progress::bar(length, "{wide_bar} {percent} %, {eta} left");
    let mut frames = archive.replay_filtered_from_cursor(filter, cursor)?;
    let (mut count, mut missing) = (0, 0);
    let mut miss = |notice: Option<&EventOverflowNotice>| {
        missing += notice.map_or(0, |notice| notice.dropped_count);
    };
    // What can be read is written, also if something can't.
    let complete = loop {
        let frame = match frames.try_next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let position = frame.archive_cursor.as_ref().map_or(0, |it| it.position);
        let line = serde_json::to_string(&frame).map_err(|error| unwritable(error.into()))?;
        writeln!(out, "{}", output::json(&line)).map_err(unwritable)?;
        bar.set_position(position - begin);
        miss(frame.overflow.as_deref());
        count += 1;
    };
    miss(frames.pending_overflow());
    out.flush().map_err(unwritable)?;
    bar.finish_and_clear();
    output::error(format_args!("{count} frames exported"));
    if missing > 0 {
        output::error(format_args!(
            "up to {missing} frames are missing: removed meanwhile, or not to be read"
        ));
    }
    Ok(complete?)
}
