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
//! [`pack`](super::pack) packs it.

use super::reader::{At, BlockHeader, BlockReader, FORM, each_record};
use super::record::{Details, Journal, NameTable, Payload, Record};
use crate::event::{
    AgentError, AgentErrorKind, AgentId, BusEpoch, EventDeliverySemantics, EventKind, EventView,
    KindSet, PrivacyClass, RunId, Timestamp,
};
use std::collections::HashMap;

/// How many frames a block has at most. Reading one frame decodes no more than these.
pub(super) const BLOCK_FRAMES: u32 = 4_096;

/// The size of a block, in bytes of its records: then it is closed. A frame of this size has one of
/// its own.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

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

impl RunPart {
    /// A run without frames, the first of which has this time.
    pub(super) fn new(id: &RunId, time: Timestamp) -> Self {
        RunPart {
            id: id.clone(),
            frames: 0,
            first_time: time,
            last_time: time,
            ended: None,
        }
    }

    /// Counts a frame.
    pub(super) fn count(&mut self, time: Timestamp, kind: EventKind) {
        self.frames += 1;
        self.first_time = self.first_time.min(time);
        self.last_time = self.last_time.max(time);
        if kind.is_terminal() && kind.family() == crate::event::EventFamily::Run {
            self.ended = Some(kind);
        }
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
    /// Returns its bytes, in two parts: the first one is to be written before the records.
    pub(super) fn to_bytes(&self) -> Result<(Vec<u8>, &[u8]), AgentError> {
        let names = NameTable {
            runs: self.runs.iter().map(|run| run.id.as_str()).collect(),
            agents: self.agents.iter().map(AgentId::as_str).collect(),
        };
        let names = postcard::to_extend(&names, vec![FORM]).map_err(unwritable)?;
        Ok((names, &self.records))
    }

    /// Returns how many bytes its records take.
    pub(super) fn size(&self) -> usize {
        self.records.len()
    }
}

/// The error for a frame that postcard can't write.
fn unwritable(error: postcard::Error) -> AgentError {
    AgentError::new(
        AgentErrorKind::InvalidValue,
        format!("the frame cannot be put into bytes: {error}"),
    )
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
    /// [`AgentErrorKind::InvalidValue`] for a frame that is too large. Nothing of it was added.
    pub(super) fn push(&mut self, entry: &Entry<'_>) -> Result<(), AgentError> {
        let envelope = entry.event.envelope();
        let record = Record {
            run: 0,
            agent: 0,
            after: 0,
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
        let at = At {
            epoch: entry.epoch,
            sequence: entry.sequence,
            time: envelope.timestamp,
        };
        self.put(at, &envelope.run_id, &envelope.agent_id, record)
    }

    /// Adds all frames of a block as they are stored there.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`] if the bytes are not a block's.
    pub(super) fn join(&mut self, block: &BlockReader) -> Result<(), AgentError> {
        self.join_from(block, 0)
    }

    /// Adds the frames of a block from this sequence number on.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub(super) fn join_from(
        &mut self,
        block: &BlockReader,
        sequence: u64,
    ) -> Result<(), AgentError> {
        block.each(|at, run, agent, record| match at.sequence < sequence {
            true => Ok(()),
            false => self.put(at, run, agent, record),
        })
    }

    /// Adds all frames of a block that is not stored yet.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub(super) fn join_block(&mut self, block: &Block) -> Result<(), AgentError> {
        let runs: Vec<_> = block.runs.iter().map(|run| run.id.clone()).collect();
        let names = (&runs[..], &block.agents[..]);
        let mut put = |at, run: &_, agent: &_, record: Record<'_>| self.put(at, run, agent, record);
        each_record(&block.header, names, &block.records, &mut put)
    }

    /// Adds a record that does not have its indices and its time yet.
    fn put(
        &mut self,
        at: At,
        run: &RunId,
        agent: &AgentId,
        mut record: Record<'_>,
    ) -> Result<(), AgentError> {
        // Content that is too large is refused before it is copied.
        let size = record.payload.size();
        check_size(size)?;
        let follows = |block: &Block| {
            block.header.epoch == at.epoch
                && block.header.last_seq().checked_add(1) == Some(at.sequence)
                && block.header.count < BLOCK_FRAMES
                && block.records.len().saturating_add(size) < BLOCK_BYTES
        };
        if !self.open.as_ref().is_some_and(follows) {
            self.close();
        }
        let first_time = self.open.as_ref().map(|block| block.header.first_time);
        record.run = index(&self.runs, run);
        record.agent = index(&self.agents, agent);
        record.after = at.time.as_micros() - first_time.unwrap_or(at.time).as_micros();
        self.scratch.clear();
        let mut scratch = std::mem::take(&mut self.scratch);
        if size >= BLOCK_BYTES {
            // All of it at once: a large frame's last byte must not double what it takes.
            let size = postcard::experimental::serialized_size(&record).map_err(unwritable)?;
            scratch.reserve_exact(size);
        }
        self.scratch = postcard::to_extend(&record, scratch).map_err(unwritable)?;
        if let Err(error) = check_size(self.scratch.len()) {
            self.scratch = Vec::new();
            return Err(error);
        }
        self.add(at, run, agent, &record);
        Ok(())
    }

    /// Adds the record, whose bytes are in `scratch`, to the open block. Never fails.
    fn add(&mut self, at: At, run: &RunId, agent: &AgentId, record: &Record<'_>) {
        let (time, kind) = (at.time, record.kind);
        let block = self.open.get_or_insert_with(|| Block {
            header: BlockHeader {
                epoch: at.epoch,
                first_seq: at.sequence,
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
        if record.run as usize == block.runs.len() {
            self.runs.insert(run.clone(), record.run);
            block.runs.push(RunPart::new(run, time));
        }
        if record.agent as usize == block.agents.len() {
            self.agents.insert(agent.clone(), record.agent);
            block.agents.push(agent.clone());
        }
        block.runs[record.run as usize].count(time, kind);
        let header = &mut block.header;
        header.count += 1;
        header.min_time = header.min_time.min(time);
        header.max_time = header.max_time.max(time);
        header.kinds = header.kinds.or([kind].into_iter().collect());
        if block.records.is_empty() && self.scratch.len() >= BLOCK_BYTES {
            // A large frame is moved, not copied.
            block.records = std::mem::take(&mut self.scratch);
        } else {
            block.records.extend_from_slice(&self.scratch);
        }
    }

    /// Closes the open block.
    fn close(&mut self) {
        self.done.extend(self.open.take());
        self.runs.clear();
        self.agents.clear();
    }

    /// Returns how many bytes the records take that are in it.
    pub(super) fn size(&self) -> usize {
        self.done.iter().chain(&self.open).map(Block::size).sum()
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

#[cfg(test)]
mod tests;
