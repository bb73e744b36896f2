//! Checks an archive, and keeps it within limits.

use super::failure::{Failure, Outcome};
use crate::output;
use framebus::archive::{Archive, ArchiveOptions, Examined, HeldBy, Retention};
use std::path::Path;

/// Reads everything and checks it.
pub fn check(folder: &Path) -> Outcome {
    report(&Archive::open_for_reading(folder)?.examine()?)
}

/// Rebuilds the indexes and counters, and says what is wrong still.
pub fn repair(folder: &Path) -> Outcome {
    report(&Archive::repair_index(folder)?)
}

/// Says what was found. Fails if it is damage.
fn report(examined: &Examined) -> Outcome {
    for finding in &examined.findings {
        output::line(format_args!("{finding}")).map_err(Failure::Output)?;
    }
    let damage = examined.damage().count() as u64 + examined.more;
    if damage > 0 {
        return Err(Failure::Damage(damage));
    }
    output::line(format_args!(
        "{} frames, all as they were written",
        examined.frames
    ))
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
