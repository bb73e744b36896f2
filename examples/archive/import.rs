//! JSON lines into an archive: by groups, each line accounted for.

use crate::{Failure, Outcome, progress};
use framebus::archive::{Archive, ArchiveOptions};
use framebus::{AgentError, AgentErrorKind, EventFrame};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line that is imported, in bytes: 512 MiB.
const MAX_LINE: u64 = 512 << 20;

/// Frames of one append.
const GROUP: usize = 1_024;

/// Appends the frames of `input` from this line on. The first line that is damaged ends it, or is
/// named and passed over.
pub fn import(folder: &Path, input: &Path, skip_damaged: bool, from_line: u64) -> Outcome {
    let unreadable = |error| Failure::File(input.to_owned(), error);
    let (file, length): (Box<dyn Read>, u64) = match input.as_os_str() == "-" {
        true => (Box::new(io::stdin().lock()), 0),
        false => {
            let file = File::open(input).map_err(unreadable)?;
            let length = file.metadata().map_err(unreadable)?.len();
            (Box::new(file), length)
        }
    };
    let archive = Archive::open(folder, ArchiveOptions::default())?;
    let bar = progress(length, "{wide_bar} {bytes}/{total_bytes}, {eta} left");
    let mut reader = BufReader::new(bar.wrap_read(file));
    let (mut line, mut group) = (Vec::new(), Vec::with_capacity(GROUP));
    let (mut number, mut imported, mut skipped) = (0, 0, 0);
    loop {
        line.clear();
        let bounded = &mut reader.by_ref().take(MAX_LINE);
        let read = bounded.read_until(b'\n', &mut line).map_err(unreadable)? as u64;
        if read == 0 || group.len() == GROUP {
            imported += append(&archive, &mut group, |number, error| {
                damaged(input, number, error, skip_damaged, &mut skipped)
            })?;
        }
        if read == 0 {
            break;
        }
        number += 1;
        let cut_off = read == MAX_LINE && !line.ends_with(b"\n");
        if cut_off {
            reader.skip_until(b'\n').map_err(unreadable)?;
        }
        if number < from_line || line.trim_ascii().is_empty() {
            continue;
        }
        let parsed = match cut_off {
            true => Err(format!("the line is longer than {MAX_LINE} bytes")),
            false => serde_json::from_slice::<EventFrame>(line.trim_ascii_end()).map_err(|error| {
                // It is line 1 of its own text; which it is of the file is said before.
                error.to_string().replace("at line 1 column", "at column")
            }),
        };
        match parsed {
            Ok(frame) => group.push((number, frame)),
            Err(what) => {
                // What stands before it goes in first: then the line can be named as the next one.
                imported += append(&archive, &mut group, |number, error| {
                    damaged(input, number, error, skip_damaged, &mut skipped)
                })?;
                damaged(input, number, what, skip_damaged, &mut skipped)?;
            }
        }
    }
    bar.finish_and_clear();
    println!(
        "{imported} frames imported, {skipped} lines skipped; the archive has {}",
        archive.len()?
    );
    Ok(())
}

/// Names a damaged line; whether the import may go on without it.
fn damaged(
    input: &Path,
    line: u64,
    what: String,
    skip_damaged: bool,
    skipped: &mut u64,
) -> Outcome {
    if !skip_damaged {
        return Err(Failure::Line(input.to_owned(), line, what));
    }
    eprintln!("skipped: {}:{line}: {what}", input.display());
    *skipped += 1;
    Ok(())
}

/// Appends a group of numbered lines, as a whole if that is possible; else line by line, and a line
/// that can't follow those before it is told to `damaged`. Gives how many went in.
fn append(
    archive: &Archive,
    group: &mut Vec<(u64, EventFrame)>,
    mut damaged: impl FnMut(u64, String) -> Outcome,
) -> Result<u64, Failure> {
    let (numbers, frames): (Vec<_>, Vec<_>) = group.drain(..).unzip();
    let blames_the_line = |error: &AgentError| {
        matches!(
            error.kind(),
            AgentErrorKind::ArchiveOrder | AgentErrorKind::InvalidValue
        )
    };
    match archive.append(&frames) {
        Ok(positions) => return Ok(positions.end - positions.start),
        Err(error) if !blames_the_line(&error) => return Err(error.into()),
        Err(_) => {}
    }
    let mut count = 0;
    for (number, frame) in numbers.into_iter().zip(frames) {
        match archive.append(&[frame]) {
            Ok(_) => count += 1,
            Err(error) if blames_the_line(&error) => damaged(number, error.to_string())?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(count)
}
