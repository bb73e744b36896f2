//! The counters of positions and sequence numbers, compared with what was given.

use super::error::{Doing, Stored, damaged};
use super::finding::Finding;
use crate::event::BusEpoch;
use rusqlite::{Connection, Row};

/// Finds each epoch's last block in the index, so it takes as many steps as there are epochs.
const EPOCHS: &str = "WITH RECURSIVE known(epoch) AS (
        SELECT min(epoch) FROM blocks UNION ALL
        SELECT (SELECT min(epoch) FROM blocks WHERE epoch > known.epoch)
        FROM known WHERE known.epoch IS NOT NULL)
    SELECT known.epoch, coalesce(last_seq, 0) AS says,
        (SELECT first_seq + count - 1 FROM blocks WHERE epoch = known.epoch
         ORDER BY first_seq DESC LIMIT 1) AS given
    FROM known LEFT JOIN epochs ON epochs.epoch = known.epoch
    WHERE known.epoch IS NOT NULL AND given > says";

/// Finds the last position that is held.
const POSITIONS: &str = "SELECT NULL, last_position AS says,
        (SELECT first + count - 1 FROM blocks ORDER BY first DESC LIMIT 1) AS given
    FROM state WHERE given > says";

/// Returns the counters that are behind what was given.
pub(super) fn counters_behind(db: &Connection) -> Stored<Vec<Finding>> {
    let behind = |row: &Row<'_>| {
        let epoch: Option<i64> = row.get(0)?;
        let unsigned = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        Ok(Finding::Counter {
            epoch: epoch.map(|epoch| BusEpoch::from_bits(epoch.cast_unsigned())),
            says: unsigned(1)?,
            given: unsigned(2)?,
        })
    };
    let mut found = Vec::new();
    for sql in [EPOCHS, POSITIONS] {
        let rows = db
            .prepare(sql)
            .and_then(|mut select| select.query_map([], behind)?.collect());
        found.append(&mut rows.doing("comparing the archive's counters")?);
    }
    Ok(found)
}

/// Refuses an archive whose counters would give a position or a sequence number twice.
///
/// # Errors
/// [`AgentErrorKind::ArchiveDamaged`](crate::AgentErrorKind::ArchiveDamaged).
pub(super) fn refuse_counters(db: &Connection, doing: &str) -> Stored<()> {
    match counters_behind(db)?.first() {
        Some(finding) => Err(damaged(format!("{doing}: {finding}"))),
        None => Ok(()),
    }
}
