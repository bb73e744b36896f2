//! Replay: the frames behind a position that a filter lets through, block by block.
//!
//! One block is held at a time, so memory is constant. Which block comes next is asked of the
//! indexes of runs and agents and of the blocks' sets of kinds; a block that none of them rules out
//! is decoded and compared exactly. Each block is found and read in one transaction of its own: a
//! replay holds up neither the writer nor compaction, which may cut the blocks anew between two of
//! them, since it goes on by position.

use super::Shared;
use super::block::BlockReader;
use super::error::{Doing, Stored};
use super::store::{Place, extent};
use crate::bus::FrameSource;
use crate::event::{
    AgentError, AgentId, ArchiveCursor, BusEpoch, CompiledEventFilter, EventCursor,
    EventDeliverySemantics, EventFrame, EventOverflowNotice, EventOverflowReason, KindSet, RunId,
    SharedEvent,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::ops::ControlFlow;
use std::sync::Arc;

/// With more runs or agents than this in a filter, every block's frames are compared.
const MOST_LOOKUPS: usize = 64;

/// The first block of a run, or of an agent, from a position on.
const NEXT_OF_RUN: &str = "SELECT min(first) FROM block_runs
    WHERE run = (SELECT id FROM runs WHERE name = ?) AND first >= ?";
const NEXT_OF_AGENT: &str = "SELECT min(first) FROM block_agents
    WHERE agent = (SELECT id FROM agents WHERE name = ?) AND first >= ?";

#[derive(Clone, Debug)]
pub(super) struct Replay {
    archive: Arc<Shared>,
    filter: CompiledEventFilter,
    /// The last position that was looked at.
    after: u64,
    /// The last position that it gives.
    end: u64,
    /// The block that is being read, with the position of its first frame.
    block: Option<(u64, BlockReader)>,
    /// Tells of frames that were removed before they were read; it rides on the next one.
    removed: Option<Box<EventOverflowNotice>>,
}

impl Replay {
    pub(super) fn new(
        archive: Arc<Shared>,
        filter: CompiledEventFilter,
        after: u64,
        end: u64,
    ) -> Self {
        Replay {
            archive,
            filter,
            after,
            end,
            block: None,
            removed: None,
        }
    }

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
        let position = *first + u64::from(read.place);
        if position > self.end {
            self.after = self.end;
            return Ok(ControlFlow::Break(None));
        }
        self.after = position;
        let cursor = self.archive.at(position);
        let mut event = read.event;
        if read.journal_here {
            event.envelope.journal_cursor = Some(super::journal_cursor(&cursor));
        }
        event.envelope.delivery_semantics = EventDeliverySemantics::DerivedReplay;
        let frame = EventFrame {
            cursor: event.envelope.cursor(self.filter.cursor_scope()),
            event: SharedEvent::from(event).restrict(self.filter.payload_access),
            archive_cursor: Some(cursor),
            overflow: None,
        };
        Ok(ControlFlow::Break(Some(self.tell(frame))))
    }

    /// Takes note of frames that are gone. All that is known of them is how many they are at most.
    fn miss(&mut self, count: u64) {
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

    /// Puts what is to be told on the frame behind it.
    fn tell(&mut self, mut frame: EventFrame) -> EventFrame {
        frame.overflow = self.removed.take();
        if let Some(notice) = &mut frame.overflow {
            notice.gap_end.event_seq = frame.cursor.event_seq - 1;
            notice.gap_end.bus_epoch = frame.cursor.bus_epoch;
        }
        frame
    }

    fn next_block(&mut self) -> Stored<ControlFlow<Option<EventFrame>>> {
        if self.after >= self.end {
            return Ok(ControlFlow::Break(None));
        }
        let (filter, after) = (&self.filter, self.after);
        let (before, found) = self.archive.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing("replaying")?;
            let (before, _) = extent(&snapshot)?;
            let found = match next_place(&snapshot, filter, after.max(before))? {
                Some(place) => Some((place, place.bytes(&snapshot)?)),
                None => None,
            };
            Ok((before, found))
        })?;
        // What was removed since, up to where it would have ended.
        let before = before.min(self.end);
        if before > self.after {
            self.miss(before - self.after);
            self.after = before;
        }
        match found {
            Some((place, bytes)) if place.first <= self.end => {
                self.block = Some((place.first, BlockReader::new(bytes, place.head)?));
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

/// Returns the first block with a frame behind `after` that the indexes don't rule out.
fn next_place(db: &Connection, filter: &CompiledEventFilter, after: u64) -> Stored<Option<Place>> {
    let criteria = filter.criteria();
    let runs: Vec<_> = criteria.run_ids.iter().map(RunId::as_str).collect();
    let agents: Vec<_> = criteria.agent_ids.iter().map(AgentId::as_str).collect();
    let Some(mut from) = block_of(db, after)? else {
        return Ok(None);
    };
    loop {
        let mut at = from;
        for (next_of, names) in [(NEXT_OF_RUN, &runs), (NEXT_OF_AGENT, &agents)] {
            if (1..=MOST_LOOKUPS).contains(&names.len()) {
                match next_with(db, next_of, names, at)? {
                    Some(first) => at = first,
                    None => return Ok(None),
                }
            }
        }
        // The indexes agree on the block once none of them moves it on.
        if at != from {
            from = at;
            continue;
        }
        match next_of_kinds(db, filter.kinds(), from)? {
            Some(place) if place.first == from => return Ok(Some(place)),
            Some(place) => from = place.first,
            None => return Ok(None),
        }
    }
}

/// Returns where the first block with a frame behind `after` begins.
fn block_of(db: &Connection, after: u64) -> Stored<Option<u64>> {
    let sql = "SELECT first FROM blocks WHERE first >= coalesce(
                   (SELECT max(first) FROM blocks WHERE first <= ?1), 0)
               AND first + count - 1 > ?1 ORDER BY first LIMIT 1";
    let first: Option<i64> = db
        .prepare_cached(sql)
        .and_then(|mut select| {
            select
                .query_row([after.cast_signed()], |row| row.get(0))
                .optional()
        })
        .doing("finding a block")?;
    Ok(first.map(i64::cast_unsigned))
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

/// Returns the first block from `from` on that has a frame of any of these kinds.
fn next_of_kinds(db: &Connection, kinds: KindSet, from: u64) -> Stored<Option<Place>> {
    let sql = format!(
        "SELECT {} FROM blocks WHERE first >= ? AND ((kinds_lo & ?) | (kinds_hi & ?)) != 0
         ORDER BY first LIMIT 1",
        Place::COLUMNS
    );
    db.prepare_cached(&sql)
        .and_then(|mut select| {
            let (low, high) = (kinds.bits() as i64, (kinds.bits() >> 64) as i64);
            select
                .query_row(params![from.cast_signed(), low, high], Place::of)
                .optional()
        })
        .doing("finding a block")
}

impl Shared {
    /// Returns the position after a frame.
    pub(super) fn at(&self, position: u64) -> ArchiveCursor {
        ArchiveCursor {
            archive_id: self.id.clone(),
            position,
        }
    }
}
