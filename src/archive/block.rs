//! Blocks: what the archive stores. A dense run of frames in bytes, with what they are found by.
//!
//! Invariants:
//! - **A1 dense**: a block's frames bear consecutive numbers of one epoch. So numbers and positions
//!   are found by arithmetic, and what lies between two blocks of an epoch is not archived.
//! - **A2 self-contained**: its bytes can be read without any other block, and begin with the
//!   version of their form. A test pins the bytes of every part of it.
//! - **A3 no secrets**: content is left out where the envelope's privacy is above what the archive
//!   keeps, and always where it is [`PrivacyClass::Secret`]; summary and references stay.
//!
//! The form is postcard's: a header with the texts of runs and agents, then a record a frame.

use super::error::damaged;
use super::record::{Details, Header, Journal, Payload, Record};
use crate::event::{
    AgentError, AgentErrorKind, AgentEvent, AgentId, BusEpoch, EventDeliverySemantics,
    EventEnvelope, EventKind, EventView, JournalCursor, KindSet, PrivacyClass, RunId, Timestamp,
};
use std::collections::HashMap;

/// The version of a block's form.
const FORM: u8 = 1;

/// The most frames of a block: reading one of them decodes no more than these.
pub(super) const BLOCK_FRAMES: u32 = 1_024;

/// A block is closed when its records take so many bytes.
const BLOCK_BYTES: usize = 512 << 10;

/// The most bytes that one frame can take.
pub(super) const FRAME_BYTES: usize = 256 << 20;

/// What a run did in a block.
#[derive(Clone, Debug)]
pub(super) struct RunPart {
    pub(super) id: RunId,
    pub(super) frames: u32,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
    /// The terminal kind of the run's family, if it ended here.
    pub(super) ended: Option<EventKind>,
}

/// What a block is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(super) epoch: BusEpoch,
    pub(super) first_seq: u64,
    pub(super) count: u32,
    pub(super) first_time: Timestamp,
    pub(super) min_time: Timestamp,
    pub(super) max_time: Timestamp,
    pub(super) kinds: KindSet,
}

impl BlockHead {
    pub(super) fn last_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count) - 1
    }
}

/// A block on its way to the store.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) head: BlockHead,
    pub(super) runs: Vec<RunPart>,
    pub(super) agents: Vec<AgentId>,
    records: Vec<u8>,
}

impl Block {
    /// Returns its bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, AgentError> {
        let header = Header {
            runs: self.runs.iter().map(|run| run.id.as_str()).collect(),
            agents: self.agents.iter().map(AgentId::as_str).collect(),
        };
        let mut bytes = vec![FORM];
        bytes.reserve(self.records.len() + 64 * (header.runs.len() + header.agents.len()));
        let mut bytes = postcard::to_extend(&header, bytes).map_err(unwritable)?;
        bytes.extend_from_slice(&self.records);
        Ok(bytes)
    }
}

fn unwritable(error: postcard::Error) -> AgentError {
    AgentError::new(
        AgentErrorKind::InvalidValue,
        format!("the frame cannot be put into bytes: {error}"),
    )
}

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

/// A frame that goes into a block.
pub(super) struct Entry<'a> {
    pub(super) epoch: BusEpoch,
    pub(super) sequence: u64,
    pub(super) semantics: EventDeliverySemantics,
    /// The frame's place in the host's journal is its position in this archive.
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

/// Puts frames into blocks.
#[derive(Debug)]
pub(super) struct BlockWriter {
    /// Content is kept up to this class.
    keeps: PrivacyClass,
    done: Vec<Block>,
    open: Option<Block>,
    runs: HashMap<RunId, u32>,
    agents: HashMap<AgentId, u32>,
    scratch: Vec<u8>,
}

impl BlockWriter {
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

    /// Appends a frame; on an error nothing of it.
    pub(super) fn push(&mut self, entry: &Entry<'_>) -> Result<(), AgentError> {
        let envelope = entry.event.envelope();
        let follows = |block: &Block| {
            block.head.epoch == entry.epoch
                && block.head.last_seq().checked_add(1) == Some(entry.sequence)
                && block.head.count < BLOCK_FRAMES
                && block.records.len() < BLOCK_BYTES
        };
        if !self.open.as_ref().is_some_and(follows) {
            self.close();
        }
        let first_time = match &self.open {
            Some(block) => block.head.first_time,
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
        // The content alone may be too much to be copied.
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

    /// Adds the record in `scratch`, which can't fail any more.
    fn add(&mut self, entry: &Entry<'_>, run: u32, agent: u32) {
        let envelope = entry.event.envelope();
        let time = envelope.timestamp;
        let block = self.open.get_or_insert_with(|| Block {
            head: BlockHead {
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
        let head = &mut block.head;
        head.count += 1;
        head.min_time = head.min_time.min(time);
        head.max_time = head.max_time.max(time);
        head.kinds = head.kinds.or([kind].into_iter().collect());
        block.records.extend_from_slice(&self.scratch);
    }

    fn close(&mut self) {
        self.done.extend(self.open.take());
        self.runs.clear();
        self.agents.clear();
    }

    /// Returns the blocks; the writer is empty then.
    pub(super) fn finish(&mut self) -> Vec<Block> {
        self.close();
        std::mem::take(&mut self.done)
    }
}

/// Returns the number of an id in its block: the next one if it is new there.
fn index<T: Eq + std::hash::Hash>(known: &HashMap<T, u32>, id: &T) -> u32 {
    known.get(id).copied().unwrap_or(known.len() as u32)
}

/// Reads a block's frames, in order.
#[derive(Clone, Debug)]
pub(super) struct BlockReader {
    bytes: std::sync::Arc<[u8]>,
    /// Where the next record begins.
    at: usize,
    head: BlockHead,
    /// The next frame's place in the block.
    next: u32,
    runs: Vec<RunId>,
    agents: Vec<AgentId>,
}

/// A frame that was read.
pub(super) struct Read {
    pub(super) event: AgentEvent,
    /// Its place in the block.
    pub(super) place: u32,
    /// Its place in the host's journal is its position here.
    pub(super) journal_here: bool,
}

impl BlockReader {
    /// A reader of these bytes, of which `head` tells.
    pub(super) fn new(bytes: Vec<u8>, head: BlockHead) -> Result<Self, AgentError> {
        let Some((&FORM, rest)) = bytes.split_first() else {
            let form = bytes.first().map_or("nothing".to_owned(), u8::to_string);
            return Err(damaged(format!(
                "a block begins with {form}, not with the form {FORM}"
            )));
        };
        let (header, records) = postcard::take_from_bytes::<Header<'_>>(rest).map_err(broken)?;
        Ok(BlockReader {
            at: bytes.len() - records.len(),
            runs: header.runs.iter().map(|&id| id.into()).collect(),
            agents: header.agents.iter().map(|&id| id.into()).collect(),
            head,
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

    /// Returns the position of its last frame, where that of its first is `first`.
    pub(super) fn last(&self, first: u64) -> u64 {
        first + u64::from(self.head.count) - 1
    }

    /// Returns the next frame from the place `from` on whose envelope is wanted; `None` at the end.
    pub(super) fn next(
        &mut self,
        from: u32,
        kinds: KindSet,
        wanted: impl Fn(&EventEnvelope) -> bool,
    ) -> Result<Option<Read>, AgentError> {
        while self.next < self.head.count {
            let rest = &self.bytes[self.at..];
            let (record, after) = postcard::take_from_bytes::<Record<'_>>(rest).map_err(broken)?;
            let place = self.next;
            let at = self.bytes.len() - after.len();
            let read = match place >= from && kinds.contains(record.kind) {
                true => self.envelope(&record, place).map(|envelope| {
                    wanted(&envelope).then(|| Read {
                        event: AgentEvent {
                            envelope,
                            payload: record.payload.to_event(),
                        },
                        place,
                        journal_here: matches!(record.journal, Journal::Here),
                    })
                })?,
                false => None,
            };
            (self.next, self.at) = (place + 1, at);
            if read.is_some() {
                return Ok(read);
            }
        }
        Ok(None)
    }

    fn envelope(&self, record: &Record<'_>, place: u32) -> Result<EventEnvelope, AgentError> {
        let run_id = self.runs.get(record.run as usize);
        let agent_id = self.agents.get(record.agent as usize);
        let (Some(run_id), Some(agent_id)) = (run_id, agent_id) else {
            return Err(damaged(
                "a record names a run or agent that its block lacks",
            ));
        };
        let micros = self
            .head
            .first_time
            .as_micros()
            .saturating_add(record.after);
        Ok(EventEnvelope {
            event_seq: self.head.first_seq + u64::from(place),
            bus_epoch: self.head.epoch,
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

fn broken(error: postcard::Error) -> AgentError {
    damaged(format!("a block cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
