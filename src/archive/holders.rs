//! What of this process holds an archive open, for the error of an opening that it is in the way
//! of.

use super::turns::lock;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// What can hold an archive, in words.
const KINDS: [&str; 5] = [
    "Archive (one for each clone)",
    "JournaledBus",
    "stream that it repairs",
    "replay",
    "Archiver",
];

/// What holds an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Handle,
    Bus,
    Stream,
    Replay,
    Archiver,
}

/// How many of each hold an archive.
#[derive(Debug, Default)]
pub(super) struct Holders([AtomicUsize; KINDS.len()]);

/// The archives that are open for writing in this process, by their folders. In a forked child it
/// is not asked: nothing is opened there while the parent had an archive open.
static OPEN: Mutex<Vec<(PathBuf, Weak<Holders>)>> = Mutex::new(Vec::new());

impl Holders {
    /// Those of an archive that was opened for writing in this folder.
    pub(super) fn of(folder: &Path) -> Arc<Self> {
        let holders = Arc::new(Holders::default());
        let mut open = lock(&OPEN);
        open.retain(|(_, holders)| holders.strong_count() > 0);
        open.push((real(folder), Arc::downgrade(&holders)));
        holders
    }

    /// Says what holds the archive in this folder; `None` if this process has none there.
    pub(super) fn in_words(folder: &Path) -> Option<String> {
        let folder = real(folder);
        let open = lock(&OPEN);
        let mut holders = open.iter().filter(|(path, _)| *path == folder);
        holders.find_map(|(_, holders)| Some(holders.upgrade()?.to_string()))
    }
}

fn real(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (kind, count) in KINDS.iter().zip(&self.0) {
            // Relaxed: it is only for a message.
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                f.write_str(separator)?;
                separator = ", ";
                match *kind {
                    // A bus and its thread hold it by several handles.
                    kind if kind == KINDS[Holder::Bus as usize] => write!(f, "a {kind}")?,
                    kind => write!(f, "{count} {kind}")?,
                }
            }
        }
        Ok(())
    }
}

/// Counts as a holder until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    holders: Arc<Holders>,
    holder: Holder,
}

impl Held {
    pub(super) fn new(holders: Arc<Holders>, holder: Holder) -> Self {
        // Relaxed, here and below: it is only counted.
        holders.0[holder as usize].fetch_add(1, Ordering::Relaxed);
        Held { holders, holder }
    }

    /// Counts another holder of the same archive.
    pub(super) fn by(&self, holder: Holder) -> Self {
        Held::new(self.holders.clone(), holder)
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        self.by(self.holder)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.holders.0[self.holder as usize].fetch_sub(1, Ordering::Relaxed);
    }
}
