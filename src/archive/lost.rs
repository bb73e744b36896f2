//! Frames that an archiver lost, as they are put on record.

use super::block::Block;
use crate::event::{BusEpoch, EventOverflowNotice, Timestamp};
use rusqlite::{Connection, params};
use std::ops::Range;

/// A gap of an archiver that is not stored yet.
#[derive(Debug)]
pub(super) struct LostRange {
    pub(super) epoch: BusEpoch,
    pub(super) sequences: Range<u64>,
    /// How many frames were lost; at least 1.
    pub(super) lost: u64,
    /// Whether no terminal frame is among them.
    pub(super) terminal_preserved: bool,
}

impl LostRange {
    /// Returns the gap that a notice reports.
    pub(super) fn of(notice: &EventOverflowNotice) -> Self {
        let end = notice.gap_end.event_seq;
        let first = notice.gap_start.as_ref().map_or(end, |it| it.event_seq);
        LostRange {
            epoch: notice.gap_end.bus_epoch,
            sequences: first..end + 1,
            lost: notice.dropped_count,
            terminal_preserved: notice.terminal_preserved,
        }
    }
}

/// Stores gaps, each before the first frame that comes after it. Blocks with the frames that were
/// appended with them begin at this position.
pub(super) fn put_gaps(
    db: &Connection,
    begin: u64,
    blocks: &[Block],
    gaps: &[LostRange],
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO gaps VALUES(NULL, ?, ?, ?, ?, ?, ?, ?)")?;
    for gap in gaps {
        let mut position = begin;
        for block in blocks.iter().map(|block| &block.header) {
            if block.epoch == gap.epoch && block.last_seq() >= gap.sequences.end {
                position += gap.sequences.end.saturating_sub(block.first_seq);
                break;
            }
            position += u64::from(block.count);
        }
        insert.execute(params![
            position.cast_signed(),
            gap.epoch.bits().cast_signed(),
            gap.sequences.start.cast_signed(),
            (gap.sequences.end - 1).cast_signed(),
            gap.lost.cast_signed(),
            gap.terminal_preserved,
            Timestamp::now().as_micros(),
        ])?;
    }
    Ok(())
}
