//! What may be wrong in an archive.

use crate::event::{AgentError, BusEpoch, RunId};
use std::fmt;
use std::ops::RangeInclusive;

/// How many findings are kept; the others are counted.
const MOST: usize = 100;

/// Something that [`Archive::examine`](super::Archive::examine) found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// SQLite's own structure of the file is broken; in its words.
    Database(String),
    /// Frames that can't be read.
    Unreadable {
        /// Their positions, as far as they are known.
        positions: RangeInclusive<u64>,
        /// Why.
        error: AgentError,
    },
    /// A block that a later version wrote, which this one can't read. That is no damage.
    Later {
        /// The positions of its frames.
        positions: RangeInclusive<u64>,
        /// What it is.
        error: AgentError,
    },
    /// Positions of frames that are not there.
    Missing(RangeInclusive<u64>),
    /// Positions that two blocks have.
    Twice(RangeInclusive<u64>),
    /// Frames whose block is found by other times or kinds than theirs.
    Columns(RangeInclusive<u64>),
    /// A block whose sequence numbers are not above those before it in its bus.
    Order {
        /// The bus.
        epoch: BusEpoch,
        /// The position of the block's first frame.
        position: u64,
    },
    /// Entries of an index that are missing, wrong, or of no frames: filters miss frames.
    Index {
        /// What is found by it.
        of: IndexOf,
        /// The position of the first frame of the block that they are of.
        position: u64,
    },
    /// What is listed of a run is not what its frames say.
    Run(RunId),
    /// A counter that is below what was given already: a position or a sequence number would be
    /// given twice.
    Counter {
        /// The bus whose sequence numbers it counts; `None` for positions.
        epoch: Option<BusEpoch>,
        /// What it says.
        says: u64,
        /// The last one that a frame has.
        given: u64,
    },
    /// A gap that contradicts the frames that are there.
    Gap {
        /// The position of the first frame after it.
        before_position: u64,
        /// The bus.
        epoch: BusEpoch,
        /// The sequence numbers among which frames were lost.
        sequences: RangeInclusive<u64>,
    },
    /// Bytes of a block that is not there.
    Stray {
        /// The position that it began at.
        position: u64,
    },
}

/// What an index finds frames by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexOf {
    /// Runs.
    Runs,
    /// Agents.
    Agents,
}

impl Finding {
    /// Returns whether something is broken; a block of a later version is not.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Finding::Later { .. })
    }

    /// Returns whether [`Archive::repair_index`](super::Archive::repair_index) mends it: the frames
    /// prove what ought to be there.
    pub fn is_repairable(&self) -> bool {
        matches!(
            self,
            Finding::Index { .. }
                | Finding::Run(_)
                | Finding::Counter { .. }
                | Finding::Stray { .. }
        )
    }
}

/// The positions of a range, in words.
struct Positions<'a>(&'a RangeInclusive<u64>);

impl fmt::Display for Positions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        match first == last {
            true => write!(f, "position {first}"),
            false => write!(f, "positions {first} to {last}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Database(words) => write!(f, "the database is broken: {words}"),
            Finding::Unreadable { positions, error } => {
                write!(
                    f,
                    "{} can't be read: {}",
                    Positions(positions),
                    error.message()
                )
            }
            Finding::Later { positions, error } => {
                write!(f, "{}: {}", Positions(positions), error.message())
            }
            Finding::Missing(positions) => write!(f, "{} missing", Positions(positions)),
            Finding::Twice(positions) => write!(f, "{} in two blocks", Positions(positions)),
            Finding::Columns(positions) => write!(
                f,
                "{} are found by other times or kinds than theirs",
                Positions(positions)
            ),
            Finding::Order { epoch, position } => write!(
                f,
                "the block at position {position} has sequence numbers of bus {epoch} that are not \
                 above those before it"
            ),
            Finding::Index { of, position } => {
                let of = match of {
                    IndexOf::Runs => "runs",
                    IndexOf::Agents => "agents",
                };
                write!(
                    f,
                    "the index of {of} is wrong for the block at position {position}: filters miss \
                     its frames"
                )
            }
            Finding::Run(run) => {
                write!(f, "what is listed of run {run} is not what its frames say")
            }
            Finding::Counter { epoch, says, given } => {
                match epoch {
                    Some(epoch) => write!(f, "the last sequence number of bus {epoch}")?,
                    None => write!(f, "the last position")?,
                }
                write!(
                    f,
                    " is {says}, and {given} was given: one would be given twice"
                )
            }
            Finding::Gap {
                before_position,
                epoch,
                sequences,
            } => write!(
                f,
                "the gap before position {before_position}, of the frames {} to {} of bus {epoch}, \
                 contradicts the frames that are there",
                sequences.start(),
                sequences.end()
            ),
            Finding::Stray { position } => {
                write!(
                    f,
                    "bytes of a block at position {position}, which is not there"
                )
            }
        }?;
        f.write_str(match self {
            finding if finding.is_repairable() => "; Archive::repair_index mends it",
            Finding::Later { .. } | Finding::Unreadable { .. } => "",
            _ => "; restore the folder from a backup, or export what can still be read",
        })
    }
}

/// What [`Archive::examine`](super::Archive::examine) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it says whether something is wrong"]
#[non_exhaustive]
pub struct Examined {
    /// How many frames are held.
    pub frames: u64,
    /// What is wrong: the first 100.
    pub findings: Vec<Finding>,
    /// How many further findings there were.
    pub more: u64,
}

impl Examined {
    /// Adds a finding.
    pub(super) fn add(&mut self, finding: Finding) {
        match self.findings.len() < MOST {
            true => self.findings.push(finding),
            false => self.more += 1,
        }
    }

    /// Returns the findings that are [damage](Finding::is_damage).
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|it| it.is_damage())
    }
}
