//! Rebuilding indexes and counters from what the frames prove.

use super::check::examine;
use super::error::{Doing, Stored};
use super::finding::{Examined, Finding};
use super::handle::Archive;
use super::options::ArchiveOptions;
use super::origin::JournalEpoch;
use super::store::Store;
use crate::event::AgentError;
use rusqlite::Connection;
use std::path::Path;

/// Puts what the frames prove into the indexes. Entries of blocks that can't be read stay.
const INDEXES: &str = "
    DELETE FROM block_runs WHERE first NOT IN (SELECT first FROM unproven);
    DELETE FROM block_agents WHERE first NOT IN (SELECT first FROM unproven);
    INSERT OR IGNORE INTO runs(name, first_time, last_time, last_position)
        SELECT name, min(first_time), max(last_time), max(last) FROM proven_runs GROUP BY name
        ORDER BY min(first);
    UPDATE runs SET
            first_time = min(runs.first_time, p.first_time),
            last_time = max(runs.last_time, p.last_time),
            last_position = CASE WHEN EXISTS (SELECT 1 FROM unproven)
                THEN max(runs.last_position, p.last) ELSE p.last END,
            ended = coalesce((SELECT ended FROM proven_runs e WHERE e.name = p.name
                AND ended IS NOT NULL ORDER BY first DESC LIMIT 1), runs.ended)
        FROM (SELECT name, min(first_time) AS first_time, max(last_time) AS last_time,
                  max(last) AS last FROM proven_runs GROUP BY name) p
        WHERE runs.name = p.name;
    INSERT OR REPLACE INTO block_runs
        SELECT id, first, frames FROM proven_runs JOIN runs USING(name);
    DELETE FROM runs WHERE id NOT IN (SELECT run FROM block_runs);
    INSERT OR IGNORE INTO agents(name) SELECT name FROM proven_agents GROUP BY name
        ORDER BY min(first);
    INSERT OR REPLACE INTO block_agents SELECT id, first FROM proven_agents JOIN agents USING(name);
    DELETE FROM agents WHERE id NOT IN (SELECT agent FROM block_agents);
    DELETE FROM data WHERE first NOT IN (SELECT first FROM blocks);";

/// Raises the counters to what was given.
const COUNTERS: &str = "
    INSERT INTO epochs SELECT epoch, max(first_seq + count - 1) FROM blocks WHERE true
        GROUP BY epoch ON CONFLICT DO UPDATE SET last_seq = max(last_seq, excluded.last_seq);
    UPDATE state SET last_position = max(last_position,
        coalesce((SELECT max(first + count - 1) FROM blocks), 0));";

impl Archive {
    /// Rebuilds the indexes and counters of the archive in this folder, which must not be open for
    /// writing, from what its frames prove. Returns what is wrong still. Frames are not changed,
    /// nor is what can't be read.
    ///
    /// If a counter was below what was given, there may have been later frames that nothing proves.
    /// Then the archive also begins a [new epoch](JournalEpoch::New), so that no sequence number is
    /// given twice.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn repair_index(folder: impl AsRef<Path>) -> Result<Examined, AgentError> {
        let folder = folder.as_ref();
        let options = ArchiveOptions::default();
        let (store, mut writer) = Store::open_unchecked(folder, &options)?;
        let found = rebuild(&mut writer.db)?;
        drop((store, writer));
        let is_behind = |finding: &Finding| matches!(finding, Finding::Counter { .. });
        let options = ArchiveOptions {
            journal_epoch: match found.findings.iter().any(is_behind) || found.more > 0 {
                true => JournalEpoch::New,
                false => JournalEpoch::Detect,
            },
            ..options
        };
        Archive::open(folder, options)?.examine()
    }
}

/// Rebuilds everything in one transaction. Returns what was wrong.
fn rebuild(db: &mut Connection) -> Stored<Examined> {
    let doing = "rebuilding the archive's indexes";
    let transaction = db.transaction().doing(doing)?;
    // SQLite's own indexes first: the others are found by them.
    transaction.execute_batch("REINDEX").doing(doing)?;
    let found = examine(&transaction)?;
    transaction.execute_batch(INDEXES).doing(doing)?;
    transaction.execute_batch(COUNTERS).doing(doing)?;
    let drop = "DROP TABLE proven_runs; DROP TABLE proven_agents; DROP TABLE unproven;";
    transaction.execute_batch(drop).doing(doing)?;
    transaction.commit().doing(doing)?;
    Ok(found)
}
