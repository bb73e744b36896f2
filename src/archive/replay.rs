//! Replay: the frames after a position that a filter lets through, block by block.
//!
//! One block is held at a time, so memory is constant. The next block is found by the indexes of
//! runs and agents and by the blocks' sets of kinds; a block that none of them rules out is decoded
//! and its frames compared exactly. Each block is found and read in one transaction of its own, so
//! a replay delays neither the writer nor compaction. Compaction may cut the blocks anew between
//! two of these transactions, since a replay goes on by position.
//!
//! What can't be given is reported on the next frame: what was removed before it was read, and
//! blocks that can't be read. A replay goes on after such a block, and says at its end that it was
//! damaged. A replay of everything also demands that positions are dense.

use super::error::{Doing, Stored, damaged, is_unreadable};
use super::handle::{Archive, Shared, journal_cursor};
use super::holders::{Held, Holder};
use super::reader::{BlockReader, Frame};
use super::rows::{
    BlockRow, extent, first_after, piece_from, row_after, row_of_kinds, row_of_time,
};
use crate::bus::{AgentEventStream, EventArchive, FrameSource};
#[cfg(doc)]
use crate::event::AgentErrorKind;
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
    _held: Held,
    filter: CompiledEventFilter,
    /// Whether the filter lets every frame through. Then positions are dense, and counts exact.
    everything: bool,
    /// The last position that was looked at.
    after: u64,
    /// The last position that it gives.
    end: u64,
    /// The block that is being read, and its row.
    block: Option<(BlockRow, BlockReader)>,
    /// Reports what could not be given. Attached to the next frame.
    missing: Option<Box<EventOverflowNotice>>,
    /// Why the first block that could not be read could not.
    damage: Option<AgentError>,
}

/// What comes next in an archive.
enum Next {
    /// A block that may have frames that the filter lets through.
    Block(BlockRow, BlockReader),
    /// A block that can't be read.
    Unreadable {
        /// Its row, if at least that can be read.
        row: Option<BlockRow>,
        /// The position of its last frame.
        last: u64,
        error: AgentError,
    },
    /// Nothing.
    End,
}

impl Replay {
    /// A replay of the positions after `after`, up to `end`.
    fn new(archive: &Archive, filter: CompiledEventFilter, after: u64, end: u64) -> Self {
        let everything = EventFilter {
            payload_access: filter.criteria().payload_access,
            ..EventFilter::default()
        };
        Replay {
            archive: archive.shared.clone(),
            _held: archive.held.by(Holder::Replay),
            everything: *filter.criteria() == everything,
            filter,
            after,
            end,
            block: None,
            missing: None,
            damage: None,
        }
    }

    /// Breaks with the next frame of the block that is being read, or at the end. Continues where a
    /// block begins or ends.
    fn step(&mut self) -> Stored<ControlFlow<Option<EventFrame>>> {
        let Some((row, reader)) = &mut self.block else {
            return self.next_block();
        };
        let row = *row;
        let from = (self.after + 1).saturating_sub(row.first);
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let wanted = |envelope: &_| self.filter.matches_envelope(envelope);
        let read = match reader.next(from, self.filter.kinds(), wanted) {
            Err(error) if is_unreadable(&error) => {
                self.block = None;
                self.pass_over(Some(row), row.last(), error);
                return Ok(ControlFlow::Continue(()));
            }
            read => read?,
        };
        let Some(read) = read else {
            self.after = self.after.max(row.last());
            self.block = None;
            return Ok(ControlFlow::Continue(()));
        };
        let position = row.first + u64::from(read.index);
        if position > self.end {
            self.after = self.end;
            return Ok(ControlFlow::Break(None));
        }
        let (mut event, journal_here) = match read.frame {
            Frame::Known {
                event,
                journal_here,
            } => (event, journal_here),
            Frame::Later(error) => {
                // Those before it in its block were ruled out.
                self.after = position - 1;
                let cursor = self.cursor(
                    row.header.epoch,
                    row.header.first_seq + u64::from(read.index),
                    position,
                );
                self.miss(position, [Some(cursor.clone()), Some(cursor)]);
                self.damage.get_or_insert(error);
                return Ok(ControlFlow::Continue(()));
            }
        };
        self.after = position;
        let cursor = self.archive.at(position);
        if journal_here {
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

    /// Reports the positions up to `last` as missing, and goes on after them. `bounds` are their
    /// first and last sequence numbers in a bus, as far as they are known.
    fn miss(&mut self, last: u64, bounds: [Option<EventCursor>; 2]) {
        let last = last.min(self.end);
        let count = last.saturating_sub(self.after);
        if count == 0 {
            return;
        }
        let [first, bound] = bounds;
        let bound = bound.unwrap_or_else(|| EventCursor {
            scope: self.filter.cursor_scope(),
            event_seq: 0,
            bus_epoch: BusEpoch::default(),
            journal_cursor: None,
        });
        match &mut self.missing {
            Some(notice) => {
                notice.dropped_count += count;
                notice.gap_end = bound;
            }
            None => {
                self.missing = Some(Box::new(EventOverflowNotice {
                    policy: self.filter.queue.overflow,
                    dropped_count: count,
                    gap_start: first,
                    gap_end: bound,
                    repair_from: None,
                    // Which frames they were is not known.
                    terminal_preserved: false,
                    exact: self.everything,
                    reason: EventOverflowReason::LiveBufferExpired,
                }));
            }
        }
        self.after = last;
    }

    /// Passes over a block that can't be read, up to this position.
    fn pass_over(&mut self, row: Option<BlockRow>, last: u64, error: AgentError) {
        if let Some(row) = row {
            // Blocks before it were ruled out.
            self.after = self.after.max(row.first - 1);
        }
        let at = |position: u64| {
            let row = row.filter(|row| (row.first..=row.last()).contains(&position))?;
            Some(self.cursor(
                row.header.epoch,
                row.header.first_seq + (position - row.first),
                position,
            ))
        };
        let bounds = [at(self.after + 1), at(last.min(self.end))];
        self.miss(last, bounds);
        self.damage.get_or_insert(error);
    }

    /// Returns the cursor of a frame that could not be given.
    fn cursor(&self, epoch: BusEpoch, sequence: u64, position: u64) -> EventCursor {
        let is_journal = epoch == self.archive.journal_epoch;
        EventCursor {
            scope: self.filter.cursor_scope(),
            event_seq: sequence,
            bus_epoch: epoch,
            journal_cursor: is_journal.then(|| journal_cursor(&self.archive.at(position))),
        }
    }

    /// Attaches the notice of what is missing to the frame after it.
    fn attach_notice(&mut self, mut frame: EventFrame) -> EventFrame {
        frame.overflow = self.missing.take();
        if let Some(notice) = &mut frame.overflow
            && notice.gap_end.event_seq == 0
        {
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
        let (before, first_held, next) = self.archive.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing("replaying")?;
            let (before, last) = extent(&snapshot)?;
            let next = find(&snapshot, filter, after.max(before), last)?;
            // Where frames were removed, the first one that was not says how many.
            let first_held = match before > after {
                true => row_after(&snapshot, before).ok().flatten(),
                false => None,
            };
            Ok((before, first_held, next))
        })?;
        if before > self.after {
            let bound = first_held.filter(|row| row.header.first_seq > 1);
            let bound =
                bound.map(|row| self.cursor(row.header.epoch, row.header.first_seq - 1, before));
            self.miss(before, [None, bound]);
        }
        let first = match &next {
            Next::Block(row, _) | Next::Unreadable { row: Some(row), .. } => row.first,
            Next::Unreadable { row: None, .. } => self.after + 1,
            Next::End => self.end + 1,
        };
        let first = first.min(self.end + 1);
        if self.everything && first > self.after + 1 {
            let error = damaged(format!(
                "positions {} to {} are missing; restore the folder from a backup",
                self.after + 1,
                first - 1
            ));
            self.pass_over(None, first - 1, error);
        }
        match next {
            Next::Block(row, reader) if row.first <= self.end => {
                self.block = Some((row, reader));
            }
            Next::Unreadable { row, last, error }
                if row.is_none_or(|row| row.first <= self.end) =>
            {
                self.pass_over(row, last, error);
            }
            _ => {
                self.after = self.end;
                return Ok(ControlFlow::Break(None));
            }
        }
        Ok(ControlFlow::Continue(()))
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
        self.missing.as_deref()
    }

    fn damage(&self) -> Option<&AgentError> {
        self.damage.as_ref()
    }

    fn boxed_clone(&self) -> Box<dyn FrameSource> {
        Box::new(self.clone())
    }
}

/// Returns what comes after this position. The archive's last one is `end`.
fn find(db: &Connection, filter: &CompiledEventFilter, after: u64, end: u64) -> Stored<Next> {
    let row = match next_candidate(db, filter, after) {
        // One of the rows ahead can't be read: one row at a time, up to it.
        Err(error) if is_unreadable(&error) => row_after(db, after),
        found => found,
    };
    let (row, first, error) = match row {
        Ok(None) => return Ok(Next::End),
        Ok(Some(row)) => match row.reader(db) {
            Ok(reader) => return Ok(Next::Block(row, reader)),
            Err(error) => (Some(row), row.first, error),
        },
        Err(error) => (None, after + 1, error),
    };
    if !is_unreadable(&error) {
        return Err(error);
    }
    // Its own columns may be wrong: it ends where the next block begins.
    let last = first_after(db, first)?.map_or(end, |next| next - 1);
    let last = last.max(after + 1);
    Ok(Next::Unreadable { row, last, error })
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
    /// Returns the frames up to the end that the archive has now. Content is as it was stored.
    /// Filters for delivery semantics match what a frame had when it was archived.
    ///
    /// A notice on the frame after them reports the frames after the cursor that retention removed
    /// before they were read, and those of blocks that can't be read; their count is an upper bound
    /// unless the filter lets everything through. A replay with such blocks ends with
    /// [`StreamEnd::SourceDamaged`](crate::StreamEnd::SourceDamaged), after all that can be read:
    /// read it with [`try_frames`](AgentEventStream::try_frames).
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveCursor`] for a cursor of another archive, or beyond the end, or an
    /// error of the disk. A later error of the disk ends the stream with
    /// [`StreamEnd::SourceFailed`](crate::StreamEnd::SourceFailed).
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        let (_, end) = self.shared.store.read(extent)?;
        let cursor = self.shared.inherited(cursor)?;
        cursor.check(&self.shared.id, end)?;
        let replay = Replay::new(self, filter, cursor.position, end);
        Ok(AgentEventStream::from_source(replay))
    }
}

impl Archive {
    /// Returns the position before the first frame, in the order of positions, that happened at
    /// this time or later; the archive's end if there is none. Takes O(blocks) steps.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`] if a block that can't be read may have the frame;
    /// otherwise if the archive can't be read.
    pub fn before_time(&self, time: Timestamp) -> Result<ArchiveCursor, AgentError> {
        let (position, end) = self.shared.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing("finding a time")?;
            let first = row_of_time(&snapshot, time)?.map(|row| row.first);
            let end = extent(&snapshot)?.1;
            Ok((first.map_or(end, |first| first - 1), end))
        })?;
        let all = EventFilter::default().compile()?;
        let mut replay = Replay::new(self, all, position, end);
        let found = loop {
            match replay.next()? {
                Some(frame) if frame.event.envelope.timestamp < time => {}
                Some(frame) => break frame.archive_cursor.map(|it| it.position - 1),
                None => break None,
            }
        };
        match replay.damage {
            Some(error) => Err(error),
            None => Ok(self.shared.at(found.unwrap_or(end))),
        }
    }
}
