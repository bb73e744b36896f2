//! Recorded runs into an archive: journal first, or by an archiver that follows a live bus.

use super::failure::{Failure, Outcome};
use crate::sources::Sources;
use crate::{output, progress};
use framebus::archive::{
    Archive, ArchiveOptions, Archiver, FollowOptions, JournalOptions, JournaledBus,
};
use framebus::{EventEnvelope, EventFrame, InMemoryAgentEventBus, Timestamp};
use framebus_recordings::{ReadOptions, RecordedRun, Step};
use indicatif::ProgressBar;
use std::path::Path;

/// Records the runs of these sources.
pub fn record(folder: &Path, recordings: &Sources, follow: bool) -> Outcome {
    let runs = recordings.read(&ReadOptions::default()).runs;
    let count: usize = runs.iter().map(|run| run.steps.len()).sum();
    if count == 0 {
        return Err(Failure::Nothing);
    }
    let archive = Archive::open(folder, ArchiveOptions::default())?;
    let bar = progress::bar(
        count as u64,
        "{wide_bar} {human_pos}/{human_len} frames, {per_sec}",
    );
    if follow {
        by_archiver(&archive, &runs, &bar)
    } else {
        journal_first(&archive, &runs, &bar)
    }
}

/// Archives each frame before it is seen.
fn journal_first(archive: &Archive, runs: &[RecordedRun], bar: &ProgressBar) -> Outcome {
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default())?;
    let mut count = 0;
    for run in runs {
        let frames: Vec<EventFrame> = frames(run).collect();
        count += frames.len();
        bar.inc(frames.len() as u64);
        bus.publish_all(frames)?;
    }
    bar.finish_and_clear();
    output::line(format_args!(
        "{count} frames of {} runs; the archive has {}",
        runs.len(),
        archive.len()?
    ))
    .map_err(Failure::Output)?;
    Ok(())
}

/// Publishes on a live bus, which an archiver follows.
fn by_archiver(archive: &Archive, runs: &[RecordedRun], bar: &ProgressBar) -> Outcome {
    let bus = InMemoryAgentEventBus::default();
    let archiver = Archiver::follow(archive, &bus, FollowOptions::default())?;
    for run in runs {
        bar.inc(run.steps.len() as u64);
        frames(run).try_for_each(|frame| bus.publish(frame))?;
    }
    drop(bus);
    let report = archiver.finish();
    bar.finish_and_clear();
    report.error.map_or(Ok(()), Err)?;
    output::line(format_args!(
        "{} frames of {} runs, {} lost",
        report.frames,
        runs.len(),
        report.lost
    ))
    .map_err(Failure::Output)?;
    Ok(())
}

/// Makes a frame of each recorded step.
fn frames(run: &RecordedRun) -> impl Iterator<Item = EventFrame> {
    run.steps.iter().map(|step| frame(run, step))
}

fn frame(run: &RecordedRun, step: &Step) -> EventFrame {
    let mut envelope = EventEnvelope::new(&*run.run_id, &*run.agent_id, step.kind);
    if let Some(at) = step.at {
        envelope = envelope.with_timestamp(Timestamp::from_micros(at));
    }
    for tag in &step.tags {
        envelope = envelope.with_tag(*tag);
    }
    EventFrame::new(step.body.event(envelope))
}
