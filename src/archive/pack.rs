//! Packing: blocks as they are stored when they are closed.
//!
//! A stored block begins with the version of its form. Form 1 is a block's bytes as they are. Form
//! 2 is the length of these as a number of four bytes, lowest first, and then they, packed by zstd.

use super::block::FRAME_BYTES;
use super::error::{Stored, damaged};
use super::reader::{FORM, later};
use std::io::{self, Write};

/// The version of the packed form.
const PACKED: u8 = 2;

/// How many bytes stand before what is packed.
const HEAD: usize = 5;

/// How hard zstd tries: its default.
const LEVEL: i32 = 3;

/// How many bytes a block has at least that is packed. With fewer, what zstd begins with takes
/// longer than all the rest of storing it.
const LEAST: usize = 1 << 10;

/// How many bytes a block has at most, unpacked: a frame with the names of its run and its agent.
const MOST: usize = 2 * FRAME_BYTES;

/// Returns a block's bytes, which are in two parts, packed; `None` if there are few of them, or if
/// that would save less than a quarter of them. Takes up to three quarters of them in memory.
pub(super) fn pack(parts: [&[u8]; 2]) -> Option<Vec<u8>> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(size).ok();
    let length = length.filter(|_| (LEAST..=MOST).contains(&size))?;
    let mut packed = Bounded(Vec::with_capacity(size / 4 * 3));
    let write = |packed: &mut Bounded| -> io::Result<()> {
        packed.write_all(&[PACKED])?;
        packed.write_all(&length.to_le_bytes())?;
        let mut encoder = zstd::Encoder::new(packed, LEVEL)?;
        encoder.set_pledged_src_size(Some(size as u64))?;
        parts.iter().try_for_each(|part| encoder.write_all(part))?;
        encoder.finish().map(drop)
    };
    write(&mut packed).ok()?;
    Some(packed.0)
}

/// Takes bytes up to its capacity.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.0.capacity() - self.0.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the bytes of a block that is stored in any form.
///
/// # Errors
/// [`ArchiveDamaged`](crate::AgentErrorKind::ArchiveDamaged) for bytes that are in none of them,
/// [`ArchiveVersion`](crate::AgentErrorKind::ArchiveVersion) for a form of a later version.
pub(super) fn unpack(stored: &[u8]) -> Stored<Vec<u8>> {
    match stored {
        [FORM, ..] => Ok(stored.to_vec()),
        [PACKED, a, b, c, d, ..] => {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            let broken =
                |why: &dyn std::fmt::Display| damaged(format!("a block cannot be unpacked: {why}"));
            if length > MOST {
                return Err(broken(&format_args!("it would have {length} bytes")));
            }
            let bytes = zstd::bulk::decompress(&stored[HEAD..], length);
            let bytes = bytes.map_err(|error| broken(&error))?;
            if bytes.len() == length {
                Ok(bytes)
            } else {
                Err(broken(&format_args!("it has {} bytes", bytes.len())))
            }
        }
        [form, ..] => Err(later(&format!("a block is of form {form}"))),
        [] => Err(damaged("a block has no bytes")),
    }
}
