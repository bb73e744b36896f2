//! Reading a block's frames.

use super::error::damaged;
use super::record::{Journal, NameTable, Record};
#[cfg(doc)]
use crate::event::AgentErrorKind;
use crate::event::{
    AgentError, AgentEvent, AgentId, BusEpoch, EventEnvelope, JournalCursor, KindSet, RunId,
    Timestamp,
};
use std::sync::Arc;

/// The version of a block's form.
pub(super) const FORM: u8 = 1;

/// The columns that a block is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) epoch: BusEpoch,
    /// The sequence number of its first frame.
    pub(super) first_seq: u64,
    /// How many frames, at least 1.
    pub(super) count: u32,
    /// The time of its first frame.
    pub(super) first_time: Timestamp,
    /// The earliest time of its frames.
    pub(super) min_time: Timestamp,
    /// The latest time of its frames.
    pub(super) max_time: Timestamp,
    /// The kinds of its frames.
    pub(super) kinds: KindSet,
}

impl BlockHeader {
    /// Returns the sequence number of its last frame.
    pub(super) fn last_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count) - 1
    }
}

/// What a frame's place in its block is computed from.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) epoch: BusEpoch,
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
}

/// Reads a block's frames, in order.
#[derive(Clone, Debug)]
pub(super) struct BlockReader {
    bytes: Arc<Vec<u8>>,
    /// The offset of the next record.
    at: usize,
    header: BlockHeader,
    /// The index of the next frame.
    next: u32,
    runs: Vec<RunId>,
    agents: Vec<AgentId>,
}

/// A frame that was read.
pub(super) struct Read {
    pub(super) event: AgentEvent,
    /// Its index in the block.
    pub(super) index: u32,
    /// Whether this archive is its journal.
    pub(super) journal_here: bool,
}

impl BlockReader {
    /// A reader of the bytes of the block with this header.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`] if they are not a block's.
    pub(super) fn new(bytes: Vec<u8>, header: BlockHeader) -> Result<Self, AgentError> {
        let Some((&FORM, rest)) = bytes.split_first() else {
            let form = bytes.first().map_or("nothing".to_owned(), u8::to_string);
            return Err(damaged(format!(
                "a block begins with {form}, not with the form {FORM}"
            )));
        };
        let (names, records) = postcard::take_from_bytes::<NameTable<'_>>(rest).map_err(broken)?;
        Ok(BlockReader {
            at: bytes.len() - records.len(),
            runs: names.runs.iter().map(|&id| id.into()).collect(),
            agents: names.agents.iter().map(|&id| id.into()).collect(),
            header,
            next: 0,
            bytes: bytes.into(),
        })
    }

    /// Returns the runs that it has frames of.
    pub(super) fn runs(&self) -> &[RunId] {
        &self.runs
    }

    /// Returns the agents that it has frames of.
    pub(super) fn agents(&self) -> &[AgentId] {
        &self.agents
    }

    /// Returns the next frame from the index `from` on that is of these kinds and whose envelope is
    /// wanted; `None` at the end.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`] if the bytes are not a block's.
    pub(super) fn next(
        &mut self,
        from: u32,
        kinds: KindSet,
        wanted: impl Fn(&EventEnvelope) -> bool,
    ) -> Result<Option<Read>, AgentError> {
        while self.next < self.header.count {
            let rest = &self.bytes[self.at..];
            let (record, after) = postcard::take_from_bytes::<Record<'_>>(rest).map_err(broken)?;
            let index = self.next;
            let at = self.bytes.len() - after.len();
            let mut read = None;
            if index >= from && kinds.contains(record.kind) {
                let envelope = self.envelope(&record, index)?;
                if wanted(&envelope) {
                    let payload = record.payload.to_event();
                    read = Some(Read {
                        event: AgentEvent { envelope, payload },
                        index,
                        journal_here: matches!(record.journal, Journal::Here),
                    });
                }
            }
            (self.next, self.at) = (index + 1, at);
            if read.is_some() {
                return Ok(read);
            }
        }
        Ok(None)
    }

    /// Calls `take` with each frame from the next one on.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`] if the bytes are not a block's, or the error of `take`.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(At, &RunId, &AgentId, Record<'_>) -> Result<(), AgentError>,
    ) -> Result<(), AgentError> {
        let names = (&self.runs[..], &self.agents[..]);
        each_record(&self.header, names, &self.bytes[self.at..], &mut take)
    }

    /// Returns the envelope of the frame at this index.
    fn envelope(&self, record: &Record<'_>, index: u32) -> Result<EventEnvelope, AgentError> {
        let (run_id, agent_id) = named((&self.runs, &self.agents), record)?;
        let at = place(&self.header, record, index);
        Ok(EventEnvelope {
            event_seq: at.sequence,
            bus_epoch: at.epoch,
            timestamp: at.time,
            run_id: run_id.clone(),
            agent_id: agent_id.clone(),
            journal_cursor: match record.journal {
                Journal::Elsewhere(cursor) => Some(JournalCursor::from(cursor)),
                Journal::None | Journal::Here => None,
            },
            details: record
                .details
                .as_ref()
                .map(|details| Box::new(details.to_details())),
            schema_version: record.schema_version,
            event_kind: record.kind,
            event_family: record.kind.family(),
            delivery_semantics: record.semantics,
            privacy: record.privacy,
        })
    }
}

/// The names of a block's runs and agents.
pub(super) type Names<'a> = (&'a [RunId], &'a [AgentId]);

/// Calls `take` with each of a block's records.
pub(super) fn each_record(
    header: &BlockHeader,
    names: Names<'_>,
    mut records: &[u8],
    take: &mut impl FnMut(At, &RunId, &AgentId, Record<'_>) -> Result<(), AgentError>,
) -> Result<(), AgentError> {
    for index in 0..header.count {
        let (record, rest) = postcard::take_from_bytes::<Record<'_>>(records).map_err(broken)?;
        let (run, agent) = named(names, &record)?;
        take(place(header, &record, index), run, agent, record)?;
        records = rest;
    }
    Ok(())
}

/// Returns the run and the agent of a record.
fn named<'a>(
    names: Names<'a>,
    record: &Record<'_>,
) -> Result<(&'a RunId, &'a AgentId), AgentError> {
    let run = names.0.get(record.run as usize);
    let agent = names.1.get(record.agent as usize);
    run.zip(agent)
        .ok_or_else(|| damaged("a record names a run or agent that its block lacks"))
}

/// Returns what the block's header says of the frame at this index.
fn place(header: &BlockHeader, record: &Record<'_>, index: u32) -> At {
    let micros = header.first_time.as_micros().saturating_add(record.after);
    At {
        epoch: header.epoch,
        sequence: header.first_seq + u64::from(index),
        time: Timestamp::from_micros(micros),
    }
}

/// The error for bytes that are not a block's.
fn broken(error: postcard::Error) -> AgentError {
    damaged(format!("a block cannot be read: {error}"))
}
