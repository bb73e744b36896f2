//! The sample recordings, as files.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns every recording below a folder of the samples, with its bytes, in the order of paths.
pub fn sample_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    walk(folder, &mut files);
    files.sort();
    files
}

fn walk(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, files);
        } else if name != "LICENSE" && name != "PROVENANCE.md" {
            let bytes = fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
}
