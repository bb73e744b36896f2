//! Blocks: what the archive stores. A dense run of frames in bytes, with the columns that they are
//! found by.
//!
//! Invariants:
//! - **A1 dense**: a block's frames have consecutive sequence numbers of one epoch. So sequence
//!   numbers and positions are computed from each other, and the sequence numbers between two
//!   blocks of an epoch are not archived.
//! - **A2 self-contained**: a block's bytes can be read without any other block, and begin with the
//!   version of their form. A test pins the bytes of every part of it.
//! - **A3 no secrets**: content is left out if the envelope's privacy class is above those that the
//!   archive keeps, and always if it is [`PrivacyClass::Secret`]; summary and references stay.
//!
//! The form is postcard's: a table of the names of runs and agents, then a record for each frame.

use super::error::damaged;
use super::record::{Details, Journal, NameTable, Payload, Record};
use crate::event::{
    AgentError, AgentErrorKind, AgentEvent, AgentId, BusEpoch, EventDeliverySemantics,
    EventEnvelope, EventKind, EventView, JournalCursor, KindSet, PrivacyClass, RunId, Timestamp,
};
use crate::ring::MAX_SEQUENCE;
use std::collections::HashMap;

/// The version of a block's form.
const FORM: u8 = 1;

/// How many frames a block has at most. Reading one frame decodes no more than these.
pub(super) const BLOCK_FRAMES: u32 = 1_024;

/// The size of a block, in bytes of its records: then it is closed.
const BLOCK_BYTES: usize = 512 << 10;

/// How many bytes one frame can take at most.
pub(super) const FRAME_BYTES: usize = 256 << 20;

/// A run's frames in one block.
#[derive(Clone, Debug)]
pub(super) struct RunPart {
    pub(super) id: RunId,
    /// How many frames.
    pub(super) frames: u32,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
    /// The terminal kind that the run ended with, if it ended in this block.
    pub(super) ended: Option<EventKind>,
}

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

/// A block that is not stored yet.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) header: BlockHeader,
    pub(super) runs: Vec<RunPart>,
    pub(super) agents: Vec<AgentId>,
    /// The records of its frames, in bytes.
    records: Vec<u8>,
}

impl Block {
    /// Returns its bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, AgentError> {
        let names = NameTable {
            runs: self.runs.iter().map(|run| run.id.as_str()).collect(),
            agents: self.agents.iter().map(AgentId::as_str).collect(),
        };
        let mut bytes = vec![FORM];
        bytes.reserve(self.records.len() + 64 * (names.runs.len() + names.agents.len()));
        let mut bytes = postcard::to_extend(&names, bytes).map_err(unwritable)?;
        bytes.extend_from_slice(&self.records);
        Ok(bytes)
    }
}

/// The error for a frame that postcard can't write.
fn unwritable(error: postcard::Error) -> AgentError {
    AgentError::new(
        AgentErrorKind::InvalidValue,
        format!("the frame cannot be put into bytes: {error}"),
    )
}

/// Checks a frame's sequence number: it and those after it in a block fit into any column.
fn check_sequence(sequence: u64) -> Result<(), AgentError> {
    if sequence < MAX_SEQUENCE {
        return Ok(());
    }
    Err(AgentError::new(
        AgentErrorKind::InvalidValue,
        format!(
            "the frame has the sequence number {sequence}, and a journal's are below \
             {MAX_SEQUENCE}; give it the one that its bus gave"
        ),
    ))
}

/// Checks the size of a frame.
fn check_size(bytes: usize) -> Result<(), AgentError> {
    if bytes <= FRAME_BYTES {
        return Ok(());
    }
    Err(AgentError::new(
        AgentErrorKind::InvalidValue,
        format!(
            "the frame takes {bytes} bytes, at most {FRAME_BYTES} are possible; store its content \
             elsewhere and refer to it"
        ),
    ))
}

/// A frame to be put into a block.
pub(super) struct Entry<'a> {
    pub(super) epoch: BusEpoch,
    pub(super) sequence: u64,
    pub(super) semantics: EventDeliverySemantics,
    /// Whether this archive is the frame's journal.
    pub(super) journal_here: bool,
    pub(super) event: EventView<'a>,
}

impl<'a> Entry<'a> {
    /// A frame as it was published.
    pub(super) fn published(event: EventView<'a>) -> Self {
        let envelope = event.envelope();
        Entry {
            epoch: envelope.bus_epoch,
            sequence: envelope.event_seq,
            semantics: envelope.delivery_semantics,
            journal_here: false,
            event,
        }
    }
}

/// Encodes frames into blocks.
#[derive(Debug)]
pub(super) struct BlockWriter {
    /// The highest privacy class whose content is kept.
    keeps: PrivacyClass,
    /// The blocks that are closed.
    done: Vec<Block>,
    /// The block that takes the next frame.
    open: Option<Block>,
    /// The indices of the open block's runs.
    runs: HashMap<RunId, u32>,
    /// The indices of the open block's agents.
    agents: HashMap<AgentId, u32>,
    /// The record of the last frame; kept for its allocation.
    scratch: Vec<u8>,
}

impl BlockWriter {
    /// A writer without frames that keeps content up to this privacy class.
    pub(super) fn new(keeps: PrivacyClass) -> Self {
        BlockWriter {
            keeps,
            done: Vec::new(),
            open: None,
            runs: HashMap::new(),
            agents: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a frame. Begins a new block if the frame does not follow the last one, or if the block
    /// is full.
    ///
    /// # Errors
    /// [`AgentErrorKind::InvalidValue`] for a frame that is too large, or whose sequence number no
    /// bus gives. Nothing of it was added.
    pub(super) fn push(&mut self, entry: &Entry<'_>) -> Result<(), AgentError> {
        check_sequence(entry.sequence)?;
        let envelope = entry.event.envelope();
        let follows = |block: &Block| {
            block.header.epoch == entry.epoch
                && block.header.last_seq().checked_add(1) == Some(entry.sequence)
                && block.header.count < BLOCK_FRAMES
                && block.records.len() < BLOCK_BYTES
        };
        if !self.open.as_ref().is_some_and(follows) {
            self.close();
        }
        let first_time = match &self.open {
            Some(block) => block.header.first_time,
            None => envelope.timestamp,
        };
        let (run, agent) = (
            index(&self.runs, &envelope.run_id),
            index(&self.agents, &envelope.agent_id),
        );
        let record = Record {
            run,
            agent,
            after: envelope.timestamp.as_micros() - first_time.as_micros(),
            schema_version: envelope.schema_version,
            kind: envelope.event_kind,
            semantics: entry.semantics,
            privacy: envelope.privacy,
            journal: match &envelope.journal_cursor {
                _ if entry.journal_here => Journal::Here,
                Some(cursor) => Journal::Elsewhere(cursor.as_str()),
                None => Journal::None,
            },
            details: envelope.details.as_deref().map(Details::of),
            payload: Payload::of(entry.event, self.keeps),
        };
        // Content that is too large is refused before it is copied.
        if let Payload::Content { bytes, .. } = &record.payload {
            check_size(bytes.len())?;
        }
        self.scratch.clear();
        let scratch = std::mem::take(&mut self.scratch);
        self.scratch = postcard::to_extend(&record, scratch).map_err(unwritable)?;
        if let Err(error) = check_size(self.scratch.len()) {
            self.scratch = Vec::new();
            return Err(error);
        }
        self.add(entry, run, agent);
        Ok(())
    }

    /// Adds the record in `scratch` to the open block. Never fails.
    fn add(&mut self, entry: &Entry<'_>, run: u32, agent: u32) {
        let envelope = entry.event.envelope();
        let time = envelope.timestamp;
        let block = self.open.get_or_insert_with(|| Block {
            header: BlockHeader {
                epoch: entry.epoch,
                first_seq: entry.sequence,
                count: 0,
                first_time: time,
                min_time: time,
                max_time: time,
                kinds: KindSet::EMPTY,
            },
            runs: Vec::new(),
            agents: Vec::new(),
            records: Vec::new(),
        });
        if run as usize == block.runs.len() {
            self.runs.insert(envelope.run_id.clone(), run);
            block.runs.push(RunPart {
                id: envelope.run_id.clone(),
                frames: 0,
                first_time: time,
                last_time: time,
                ended: None,
            });
        }
        if agent as usize == block.agents.len() {
            self.agents.insert(envelope.agent_id.clone(), agent);
            block.agents.push(envelope.agent_id.clone());
        }
        let kind = envelope.event_kind;
        let part = &mut block.runs[run as usize];
        part.frames += 1;
        part.first_time = part.first_time.min(time);
        part.last_time = part.last_time.max(time);
        if kind.is_terminal() && kind.family() == crate::event::EventFamily::Run {
            part.ended = Some(kind);
        }
        let header = &mut block.header;
        header.count += 1;
        header.min_time = header.min_time.min(time);
        header.max_time = header.max_time.max(time);
        header.kinds = header.kinds.or([kind].into_iter().collect());
        block.records.extend_from_slice(&self.scratch);
    }

    /// Closes the open block.
    fn close(&mut self) {
        self.done.extend(self.open.take());
        self.runs.clear();
        self.agents.clear();
    }

    /// Takes the blocks out.
    pub(super) fn finish(&mut self) -> Vec<Block> {
        self.close();
        std::mem::take(&mut self.done)
    }
}

/// Returns the index of an id in its block: the next one if it is new there.
fn index<T: Eq + std::hash::Hash>(known: &HashMap<T, u32>, id: &T) -> u32 {
    known.get(id).copied().unwrap_or(known.len() as u32)
}

/// Reads a block's frames, in order.
#[derive(Clone, Debug)]
pub(super) struct BlockReader {
    bytes: std::sync::Arc<[u8]>,
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

    /// Returns the position of the block's last frame, if its first one's is `first`.
    pub(super) fn last(&self, first: u64) -> u64 {
        first + u64::from(self.header.count) - 1
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

    /// Returns the envelope of the frame at this index.
    fn envelope(&self, record: &Record<'_>, index: u32) -> Result<EventEnvelope, AgentError> {
        let run_id = self.runs.get(record.run as usize);
        let agent_id = self.agents.get(record.agent as usize);
        let (Some(run_id), Some(agent_id)) = (run_id, agent_id) else {
            return Err(damaged(
                "a record names a run or agent that its block lacks",
            ));
        };
        let micros = self
            .header
            .first_time
            .as_micros()
            .saturating_add(record.after);
        Ok(EventEnvelope {
            event_seq: self.header.first_seq + u64::from(index),
            bus_epoch: self.header.epoch,
            timestamp: Timestamp::from_micros(micros),
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

/// The error for bytes that are not a block's.
fn broken(error: postcard::Error) -> AgentError {
    damaged(format!("a block cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
