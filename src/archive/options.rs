//! How an archive is opened.

use super::origin::JournalEpoch;
use crate::event::PrivacyClass;

/// When appended frames are safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Each append waits until it is on the disk: one `fsync` an append, however many frames it
    /// has. Acknowledged frames survive a loss of power.
    #[default]
    EachAppend,
    /// The system writes in its own time. Acknowledged frames survive the process, however it ends.
    /// A loss of power may lose the last appends, never part of one.
    SystemCache,
}

/// How an archive is opened.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveOptions {
    /// When appended frames are safe.
    pub durability: Durability,
    /// The highest privacy class whose content is stored; that of [`PrivacyClass::Secret`] never
    /// is. Of events above it, summary and references are stored.
    pub content_up_to: PrivacyClass,
    /// Which epoch the journal's bus has.
    pub journal_epoch: JournalEpoch,
}

impl Default for ArchiveOptions {
    /// An `fsync` for each append; all content but secrets.
    fn default() -> Self {
        ArchiveOptions {
            durability: Durability::default(),
            content_up_to: PrivacyClass::Sensitive,
            journal_epoch: JournalEpoch::default(),
        }
    }
}
