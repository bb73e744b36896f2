//! The standard output, which its reader may close at any time.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a line. It is no error if the output is closed: its reader wants no more.
pub fn line(text: impl Display) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
