//! Replay: the frames after a position that a filter lets through, block by block.
//!
//! One block is held at a time, so memory is constant. The next block is found by the indexes of
//! runs and agents and by the blocks' sets of kinds; a block that none of them rules out is decoded
//! and its frames compared exactly. Each block is found and read in one transaction of its own, so
//! a replay delays neither the writer nor compaction. Compaction may cut the blocks anew between
//! two of these transactions, since a replay goes on by position.

use super::error::{Doing, Stored};
use super::handle::{Archive, Shared, journal_cursor};
use super::reader::BlockReader;
use super::rows::{BlockRow, extent, piece_from, row_after, row_of_kinds, row_of_time};
use crate::bus::{AgentEventStream, EventArchive, FrameSource};
use crate::event::{
    AgentError, AgentId, ArchiveCursor, BusEpoch, CompiledEventFilter, EventCursor,
    EventDeliverySemantics, EventFilter, EventFrame, EventOverflowNotice, EventOverflowReason,
    RunId, SharedEvent, Timestamp,
};
use rusqlite::{Connection, params};
use std::ops::ControlFlow;
use std::sync::Arc;

/// With more runs or agents than this in a filter, their index is not used.
const MOST_LOOKUPS: usize = 64;

/// Finds the first block of a run from a position on.
const NEXT_OF_RUN: &str = "SELECT min(first) FROM block_runs
    WHERE run = (SELECT id FROM runs WHERE name = ?) AND first >= ?";
/// Finds the first block of an agent from a position on.
const NEXT_OF_AGENT: &str = "SELECT min(first) FROM block_agents
    WHERE agent = (SELECT id FROM agents WHERE name = ?) AND first >= ?";

/// A source of an archive's frames that a filter lets through.
#[derive(Clone, Debug)]
struct Replay {
    archive: Arc<Shared>,
    filter: CompiledEventFilter,
    /// The last position that was looked at.
    after: u64,
    /// The last position that it gives.
    end: u64,
    /// The block that is being read, with the position of its first frame.
    block: Option<(u64, BlockReader)>,
    /// Reports frames that were removed before they were read. Attached to the next frame.
    removed: Option<Box<EventOverflowNotice>>,
}

impl Replay {
    /// A replay of the positions after `after`, up to `end`.
    fn new(archive: Arc<Shared>, filter: CompiledEventFilter, after: u64, end: u64) -> Self {
        Replay {
            archive,
            filter,
            after,
            end,
            block: None,
            removed: None,
        }
    }

    /// Breaks with the next frame of the block that is being read, or at the end. Continues where a
    /// block begins or ends.
    fn step(&mut self) -> Stored<ControlFlow<Option<EventFrame>>> {
        let Some((first, reader)) = &mut self.block else {
            return self.next_block();
        };
        let from = (self.after + 1).saturating_sub(*first);
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let wanted = |envelope: &_| self.filter.matches_envelope(envelope);
        let Some(read) = reader.next(from, self.filter.kinds(), wanted)? else {
            self.after = self.after.max(reader.last(*first));
            self.block = None;
            return Ok(ControlFlow::Continue(()));
        };
        let position = *first + u64::from(read.index);
        if position > self.end {
            self.after = self.end;
            return Ok(ControlFlow::Break(None));
        }
        self.after = position;
        let cursor = self.archive.at(position);
        let mut event = read.event;
        if read.journal_here {
            event.envelope.journal_cursor = Some(journal_cursor(&cursor));
        }
        event.envelope.delivery_semantics = EventDeliverySemantics::DerivedReplay;
        let frame = EventFrame {
            cursor: event.envelope.cursor(self.filter.cursor_scope()),
            event: SharedEvent::from(event).restrict(self.filter.payload_access),
            archive_cursor: Some(cursor),
            overflow: None,
        };
        Ok(ControlFlow::Break(Some(self.attach_notice(frame))))
    }

    /// Counts frames that were removed. Only their number at most is known.
    fn add_removed(&mut self, count: u64) {
        let policy = self.filter.queue.overflow;
        let scope = self.filter.cursor_scope();
        let notice = self.removed.get_or_insert_with(|| {
            Box::new(EventOverflowNotice {
                policy,
                dropped_count: 0,
                gap_start: None,
                gap_end: EventCursor {
                    scope,
                    event_seq: 0,
                    bus_epoch: BusEpoch::default(),
                    journal_cursor: None,
                },
                repair_from: None,
                terminal_preserved: false,
                exact: false,
                reason: EventOverflowReason::LiveBufferExpired,
            })
        });
        notice.dropped_count += count;
    }

    /// Attaches the notice of removed frames to the frame after them.
    fn attach_notice(&mut self, mut frame: EventFrame) -> EventFrame {
        frame.overflow = self.removed.take();
        if let Some(notice) = &mut frame.overflow {
            notice.gap_end.event_seq = frame.cursor.event_seq - 1;
            notice.gap_end.bus_epoch = frame.cursor.bus_epoch;
        }
        frame
    }

    /// Begins with the next block that may have frames that the filter lets through.
    fn next_block(&mut self) -> Stored<ControlFlow<Option<EventFrame>>> {
        if self.after >= self.end {
            return Ok(ControlFlow::Break(None));
        }
        let (filter, after) = (&self.filter, self.after);
        let (before, found) = self.archive.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing("replaying")?;
            let (before, _) = extent(&snapshot)?;
            let found = next_candidate(&snapshot, filter, after.max(before))?
                .map(|row| Ok((row, row.reader(&snapshot)?)))
                .transpose()?;
            Ok((before, found))
        })?;
        // Frames that were removed since, up to the replay's end.
        let before = before.min(self.end);
        if before > self.after {
            self.add_removed(before - self.after);
            self.after = before;
        }
        match found {
            Some((row, reader)) if row.first <= self.end => {
                self.block = Some((row.first, reader));
                Ok(ControlFlow::Continue(()))
            }
            _ => {
                self.after = self.end;
                Ok(ControlFlow::Break(None))
            }
        }
    }
}

impl FrameSource for Replay {
    fn next(&mut self) -> Result<Option<EventFrame>, AgentError> {
        loop {
            if let ControlFlow::Break(frame) = self.step()? {
                return Ok(frame);
            }
        }
    }

    fn pending_overflow(&self) -> Option<&EventOverflowNotice> {
        self.removed.as_deref()
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(self.clone())
    }
}

/// Returns the first block with a frame after `after` that the indexes don't rule out.
fn next_candidate(
    db: &Connection,
    filter: &CompiledEventFilter,
    after: u64,
) -> Stored<Option<BlockRow>> {
    let criteria = filter.criteria();
    let runs: Vec<_> = criteria.run_ids.iter().map(RunId::as_str).collect();
    let agents: Vec<_> = criteria.agent_ids.iter().map(AgentId::as_str).collect();
    let Some(row) = row_after(db, after)? else {
        return Ok(None);
    };
    let mut from = row.first;
    loop {
        let mut at = from;
        for (next_of, names) in [(NEXT_OF_RUN, &runs), (NEXT_OF_AGENT, &agents)] {
            if (1..=MOST_LOOKUPS).contains(&names.len()) {
                // No index knows the pieces of the tail, which come after all blocks.
                let first = match next_with(db, next_of, names, at)? {
                    None => piece_from(db, at)?,
                    first => first,
                };
                match first {
                    Some(first) => at = first,
                    None => return Ok(None),
                }
            }
        }
        // The indexes agree on a block once neither of them moves on.
        if at != from {
            from = at;
            continue;
        }
        match row_of_kinds(db, filter.kinds(), from)? {
            Some(row) if row.first == from => return Ok(Some(row)),
            Some(row) => from = row.first,
            None => return Ok(None),
        }
    }
}

/// Returns the first block from `from` on that has a frame of any of these runs, or agents.
fn next_with(db: &Connection, next_of: &str, names: &[&str], from: u64) -> Stored<Option<u64>> {
    let mut select = db.prepare_cached(next_of).doing("reading an index")?;
    let mut lowest: Option<i64> = None;
    for name in names {
        let first: Option<i64> = select
            .query_row(params![name, from.cast_signed()], |row| row.get(0))
            .doing("reading an index")?;
        lowest = lowest.into_iter().chain(first).min();
    }
    Ok(lowest.map(i64::cast_unsigned))
}

impl EventArchive for Archive {
    /// Returns the frames up to the end that the archive has now. A notice reports the frames after
    /// the cursor that retention removed, with an upper bound of their count. Content is as it was
    /// stored. Filters for delivery semantics match what a frame had when it was archived.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveCursor`] for a cursor of another archive, or beyond the end, or an
    /// error of the disk. A later error ends the stream with
    /// [`StreamEnd::SourceFailed`](crate::StreamEnd::SourceFailed).
    ///
    /// [`AgentErrorKind::ArchiveCursor`]: crate::event::AgentErrorKind::ArchiveCursor
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        let (_, end) = self.shared.store.read(extent)?;
        let cursor = self.shared.inherited(cursor)?;
        cursor.check(&self.shared.id, end)?;
        let replay = Replay::new(self.shared.clone(), filter, cursor.position, end);
        Ok(AgentEventStream::from_source(replay))
    }
}

impl Archive {
    /// Returns the position before the first frame, in the order of positions, that happened at
    /// this time or later. Takes O(blocks) steps.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn before_time(&self, time: Timestamp) -> Result<ArchiveCursor, AgentError> {
        let position = self.shared.store.read(|db| match row_of_time(db, time)? {
            Some(row) => Ok(row.first - 1),
            None => Ok(extent(db)?.1),
        })?;
        let all = EventFilter::default().compile()?;
        let mut frames = self.replay_filtered_from_cursor(all, self.shared.at(position))?;
        let found = frames.find(|frame| frame.event.envelope.timestamp >= time);
        match found.and_then(|frame| frame.archive_cursor) {
            Some(cursor) => Ok(self.shared.at(cursor.position - 1)),
            None => self.end(),
        }
    }
}
