//! Checks an archive, and keeps it within limits.

use super::failure::{Failure, Outcome};
use crate::output;
use framebus::archive::{Archive, ArchiveOptions, HeldBy, Retention};
use std::path::Path;

/// Reads everything and checks it.
pub fn check(folder: &Path) -> Outcome {
    let count = Archive::open_for_reading(folder)?.check()?;
    output::line(format_args!("{count} frames, all as they were written"))
        .map_err(Failure::Output)?;
    Ok(())
}

/// Removes what breaks a limit, then joins small blocks.
pub fn tidy(folder: &Path, limits: &Retention) -> Outcome {
    let archive = Archive::open(folder, ArchiveOptions::default())?;
    let removed = archive.retain(limits)?;
    let done = archive.compact()?;
    output::line(format_args!(
        "{} frames of {} bytes removed, {} blocks joined into {}; {} frames are left",
        removed.frames,
        removed.bytes,
        done.joined,
        done.into,
        archive.len()?
    ))
    .map_err(Failure::Output)?;
    let held_by = match removed.held_by {
        None => return Ok(()),
        Some(HeldBy::Floor) => "--keep-frames",
        Some(HeldBy::FutureTimes) => "times of the future",
        Some(_) => "a journal that is at work",
    };
    output::line(format_args!("older frames are held by {held_by}")).map_err(Failure::Output)?;
    Ok(())
}
