//! JSON lines into an archive: by groups, each line accounted for.

use super::failure::{Failure, Outcome};
use crate::{output, progress};
use framebus::archive::{Archive, ArchiveOptions};
use framebus::{AgentError, AgentErrorKind, EventFrame};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line that is imported, in bytes: 512 MiB.
const MAX_LINE: u64 = 512 << 20;

/// How many frames one append takes.
const GROUP: usize = 1_024;

/// Appends the frames of `input` from this line on. The first line that is damaged ends the
/// import, or is named and passed over.
pub fn import(folder: &Path, input: &Path, skip_damaged: bool, from_line: u64) -> Outcome {
    let unreadable = |error| Failure::File {
        path: input.to_owned(),
        error,
    };
    let (file, length) = open(input).map_err(unreadable)?;
    let archive = Archive::open(folder, ArchiveOptions::default())?;
    let template = "{wide_bar} {bytes}/{total_bytes}, {eta} left";
    let bar = match length {
        Some(length) => progress::bar(length, template),
        None => progress::spinner("{spinner} {bytes} read"),
    };
    let mut reader = BufReader::new(bar.wrap_read(file));
    let mut line = Vec::new();
    let mut group = Group {
        archive: &archive,
        damage: Damage {
            input,
            skip: skip_damaged,
            skipped: 0,
        },
        frames: Vec::with_capacity(GROUP),
        imported: 0,
    };
    let mut number = 0;
    loop {
        line.clear();
        let bounded = &mut reader.by_ref().take(MAX_LINE);
        let read = bounded.read_until(b'\n', &mut line).map_err(unreadable)? as u64;
        if read == 0 || group.frames.len() == GROUP {
            group.append()?;
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
        match parse(&line, cut_off) {
            Ok(frame) => group.frames.push((number, frame)),
            Err(what) => {
                // The lines before it go in first: then it can be named as the next one.
                group.append()?;
                group.damage.tell(number, what)?;
            }
        }
    }
    bar.finish_and_clear();
    output::line(format_args!(
        "{} frames imported, {} lines skipped; the archive has {}",
        group.imported,
        group.damage.skipped,
        archive.len()?
    ))
    .map_err(Failure::Output)?;
    Ok(())
}

/// Opens the file, or the standard input for `-`, whose length is not known.
fn open(input: &Path) -> io::Result<(Box<dyn Read>, Option<u64>)> {
    if input.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(input)?;
    let length = file.metadata()?.len();
    Ok((Box::new(file), Some(length)))
}

fn parse(line: &[u8], cut_off: bool) -> Result<EventFrame, String> {
    if cut_off {
        return Err(format!("the line is longer than {MAX_LINE} bytes"));
    }
    serde_json::from_slice(line.trim_ascii_end()).map_err(|error| {
        // It is line 1 of its own text; which line of the file it is, is said before.
        error.to_string().replace("at line 1 column", "at column")
    })
}

/// What becomes of damaged lines.
struct Damage<'a> {
    input: &'a Path,
    /// The import goes on without them.
    skip: bool,
    /// How many it went on without.
    skipped: u64,
}

impl Damage<'_> {
    /// Names a damaged line, and fails if the import may not go on without it.
    fn tell(&mut self, line: u64, what: String) -> Outcome {
        if !self.skip {
            let path = self.input.to_owned();
            return Err(Failure::Line { path, line, what });
        }
        let input = self.input.display();
        output::error(format_args!("skipped: {input}:{line}: {what}"));
        self.skipped += 1;
        Ok(())
    }
}

/// Frames that are to be appended together.
struct Group<'a> {
    archive: &'a Archive,
    damage: Damage<'a>,
    /// Each with the number of its line.
    frames: Vec<(u64, EventFrame)>,
    /// How many frames went in so far.
    imported: u64,
}

impl Group<'_> {
    /// Appends the frames, as a whole if that is possible; else one by one, and a line that can't
    /// follow those before it is damaged.
    fn append(&mut self) -> Outcome {
        let (numbers, frames): (Vec<_>, Vec<_>) = self.frames.drain(..).unzip();
        match self.archive.append(&frames) {
            Ok(positions) => {
                self.imported += positions.end - positions.start;
                return Ok(());
            }
            Err(error) if !blames_a_frame(&error) => return Err(error.into()),
            Err(_) => {}
        }
        for (number, frame) in numbers.into_iter().zip(frames) {
            match self.archive.append(&[frame]) {
                Ok(_) => self.imported += 1,
                Err(error) if blames_a_frame(&error) => {
                    self.damage.tell(number, error.to_string())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn blames_a_frame(error: &AgentError) -> bool {
    matches!(
        error.kind(),
        AgentErrorKind::ArchiveOrder | AgentErrorKind::InvalidValue
    )
}
