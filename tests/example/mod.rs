//! Examples as a user runs them: by cargo, wherever the sources and the target directory are.

use std::path::Path;
use std::process::Command;

/// `cargo VERB --example NAME` in the profile and with the features of this test, so that cargo
/// builds nothing but the example.
pub fn cargo(verb: &str, name: &str) -> Command {
    let features = [
        ("default", cfg!(feature = "default")),
        ("serde", cfg!(feature = "serde")),
        ("sse", cfg!(feature = "sse")),
        ("metrics", cfg!(feature = "metrics")),
        ("tracing", cfg!(feature = "tracing")),
        ("archive", cfg!(feature = "archive")),
    ];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([verb, "--quiet", "--example", name]);
    cargo.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    // Cargo puts this test's own files into a folder of the target directory.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    cargo.arg("--target-dir").args(target);
    cargo.arg("--no-default-features");
    for (feature, _) in features.iter().filter(|(_, on)| *on) {
        cargo.args(["--features", feature]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo
}
