//! What the tests of the program share.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::io::Write;

/// The program.
pub const FRAMEBUS: &str = env!("CARGO_BIN_EXE_framebus");

/// Says past the test's capture what is not tested here, and why.
pub fn not_run(what: &str) {
    let cry = format!("\n!!!! NOT RUN: {what} !!!!\n\n");
    let _ = std::io::stderr().write_all(cry.as_bytes());
}
