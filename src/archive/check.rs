//! Checking: every frame is read, and every index, counter, epoch and gap is compared with what the
//! frames prove. Rebuilding: what they prove is put in their place.
//!
//! What the frames prove is gathered in temporary tables of the connection, which SQLite keeps in
//! files of its own if they are large, and is then compared by queries. So the memory that this
//! takes does not grow with the archive. All of it is one snapshot, beside writers, which do not
//! wait.

use super::block::RunPart;
use super::counters::counters_behind;
use super::error::{Doing, Stored, damaged, is_unreadable};
use super::finding::{Examined, Finding, IndexOf};
use super::handle::Archive;
use super::reader::At;
use super::record::Record;
use super::rows::{BlockRow, extent, first_after, rows_from};
use crate::event::{AgentError, AgentErrorKind, AgentId, BusEpoch, RunId};
use rusqlite::{Connection, Params, Row, params};
use std::collections::{HashMap, HashSet};

/// How many blocks are listed at once.
const STEP: usize = 128;

/// What is done, for errors.
const DOING: &str = "checking the archive";

impl Archive {
    /// Reads every frame, and compares indexes, counters, epochs and gaps with them. Returns how
    /// many frames there are. Takes O(bytes) time, and no writer waits.
    ///
    /// # Errors
    /// [`AgentErrorKind::ArchiveDamaged`] if [`examine`](Self::examine) finds damage, or an error
    /// of the disk.
    pub fn check(&self) -> Result<u64, AgentError> {
        let examined = self.examine()?;
        let mut damage = examined.damage();
        let Some(first) = damage.next() else {
            return Ok(examined.frames);
        };
        let more = match damage.count() as u64 + examined.more {
            0 => String::new(),
            more => format!(" ({more} further findings)"),
        };
        Err(damaged(format!("{DOING}: {first}{more}")))
    }

    /// Does what [`check`](Self::check) does, and returns all that is wrong.
    ///
    /// # Errors
    /// If the archive can't be read.
    pub fn examine(&self) -> Result<Examined, AgentError> {
        self.shared.store.read(|db| {
            let snapshot = db.unchecked_transaction().doing(DOING)?;
            examine(&snapshot)
        })
    }
}

/// Reads everything in this transaction. Leaves what the frames prove in the temporary tables
/// `proven_runs` and `proven_agents`, and the blocks that could not be read in `unproven`; a
/// transaction that is rolled back takes them along.
pub(super) fn examine(db: &Connection) -> Stored<Examined> {
    let mut found = Examined::default();
    db.execute_batch(
        "CREATE TEMP TABLE proven_runs(
             name TEXT, first INTEGER, frames INTEGER, first_time INTEGER, last_time INTEGER,
             last INTEGER, ended TEXT, PRIMARY KEY(name, first)) WITHOUT ROWID;
         CREATE TEMP TABLE proven_agents(
             name TEXT, first INTEGER, PRIMARY KEY(name, first)) WITHOUT ROWID;
         CREATE TEMP TABLE unproven(first INTEGER PRIMARY KEY);",
    )
    .doing(DOING)?;
    let verdicts = rows(db, "PRAGMA integrity_check(100)", [], |row| row.get(0))?;
    for verdict in verdicts.into_iter().filter(|it: &String| it != "ok") {
        found.add(Finding::Database(verdict));
    }
    read_all(db, &mut found)?;
    compare_indexes(db, &mut found)?;
    for finding in counters_behind(db)? {
        found.add(finding);
    }
    compare_order(db, &mut found)?;
    Ok(found)
}

/// Returns the rows of a query.
fn rows<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Stored<Vec<T>> {
    let mut select = db.prepare(sql).doing(DOING)?;
    let rows = select.query_map(params, of);
    rows.and_then(Iterator::collect).doing(DOING)
}

/// Reads every frame, and checks that positions are dense.
fn read_all(db: &Connection, found: &mut Examined) -> Stored<()> {
    let (before, end) = extent(db)?;
    // The position that the next block begins at; `None` after a row that can't be read.
    let mut next = Some(before + 1);
    let mut from = 0;
    loop {
        let rows = match rows_from(db, from, STEP) {
            Err(error) if is_unreadable(&error) => rows_from(db, from, 1),
            rows => rows,
        };
        let rows = match rows {
            Err(error) if is_unreadable(&error) => {
                let first = first_after(db, from.saturating_sub(1))?.unwrap_or(from);
                found.add(Finding::Unreadable {
                    positions: first..=first,
                    error,
                });
                (from, next) = (first + 1, None);
                continue;
            }
            rows => rows?,
        };
        let Some(last) = rows.last() else { break };
        from = last.first + 1;
        for row in &rows {
            match next {
                Some(next) if next < row.first => {
                    found.add(Finding::Missing(next..=row.first - 1));
                }
                Some(next) if next > row.first => {
                    found.add(Finding::Twice(row.first..=next - 1));
                }
                _ => {}
            }
            next = Some(row.last() + 1);
            found.frames += u64::from(row.header.count);
            read_row(db, row, found)?;
        }
    }
    match next {
        Some(next) if next <= end => found.add(Finding::Missing(next..=end)),
        _ => {}
    }
    Ok(())
}

/// Reads the frames of a block, and notes what they prove.
fn read_row(db: &Connection, row: &BlockRow, found: &mut Examined) -> Stored<()> {
    let mut runs: HashMap<RunId, RunPart> = HashMap::new();
    let mut agents: HashSet<AgentId> = HashSet::new();
    let mut header = row.header;
    (header.kinds, header.count) = (0, 0);
    let each = |at: At, run: &RunId, agent: &AgentId, record: Record<'_>| {
        if header.count == 0 {
            header.first_time = at.time;
            (header.min_time, header.max_time) = (at.time, at.time);
        }
        header.count += 1;
        header.min_time = header.min_time.min(at.time);
        header.max_time = header.max_time.max(at.time);
        header.kinds |= 1_u128.checked_shl(record.kind.number()).unwrap_or(0);
        let part = runs.entry(run.clone());
        part.or_insert_with(|| RunPart::new(run, at.time))
            .count(at.time, record.kind);
        agents.insert(agent.clone());
        Ok(())
    };
    let positions = row.first..=row.last();
    let at = row.first.cast_signed();
    match row.reader(db).and_then(|reader| reader.each(each)) {
        Ok(()) => {}
        Err(error) if is_unreadable(&error) => {
            found.add(match error.kind() {
                AgentErrorKind::ArchiveVersion => Finding::Later { positions, error },
                _ => Finding::Unreadable { positions, error },
            });
            return db
                .execute("INSERT OR IGNORE INTO unproven VALUES(?)", [at])
                .map(drop)
                .doing(DOING);
        }
        Err(error) => return Err(error),
    }
    if header != row.header {
        found.add(Finding::Columns(positions));
    }
    // The tail is in no index.
    if row.is_piece {
        return Ok(());
    }
    note(db, row, &runs, &agents).doing(DOING)
}

/// Notes what the frames of a block prove.
fn note(
    db: &Connection,
    row: &BlockRow,
    runs: &HashMap<RunId, RunPart>,
    agents: &HashSet<AgentId>,
) -> rusqlite::Result<()> {
    let (first, last) = (row.first.cast_signed(), row.last().cast_signed());
    let mut proven =
        db.prepare_cached("INSERT OR IGNORE INTO proven_runs VALUES(?, ?, ?, ?, ?, ?, ?)")?;
    for run in runs.values() {
        proven.execute(params![
            run.id.as_str(),
            first,
            run.frames,
            run.first_time.as_micros(),
            run.last_time.as_micros(),
            last,
            run.ended.map(|kind| kind.as_str()),
        ])?;
    }
    let mut proven = db.prepare_cached("INSERT OR IGNORE INTO proven_agents VALUES(?, ?)")?;
    for agent in agents {
        proven.execute(params![agent.as_str(), first])?;
    }
    Ok(())
}

/// Compares the indexes of runs and agents with what the frames prove.
fn compare_indexes(db: &Connection, found: &mut Examined) -> Stored<()> {
    let position = |row: &Row<'_>| row.get::<_, i64>(0).map(i64::cast_unsigned);
    let entries = [
        (
            IndexOf::Runs,
            "SELECT p.first FROM proven_runs p LEFT JOIN runs r ON r.name = p.name
                 LEFT JOIN block_runs b ON b.run = r.id AND b.first = p.first
                 WHERE b.frames IS NOT p.frames
             UNION
             SELECT b.first FROM block_runs b LEFT JOIN runs r ON r.id = b.run
                 LEFT JOIN proven_runs p ON p.name = r.name AND p.first = b.first
                 WHERE p.first IS NULL AND b.first NOT IN (SELECT first FROM unproven)",
        ),
        (
            IndexOf::Agents,
            "SELECT p.first FROM proven_agents p LEFT JOIN agents a ON a.name = p.name
                 LEFT JOIN block_agents b ON b.agent = a.id AND b.first = p.first
                 WHERE b.first IS NULL
             UNION
             SELECT b.first FROM block_agents b LEFT JOIN agents a ON a.id = b.agent
                 LEFT JOIN proven_agents p ON p.name = a.name AND p.first = b.first
                 WHERE p.first IS NULL AND b.first NOT IN (SELECT first FROM unproven)",
        ),
    ];
    for (of, sql) in entries {
        for position in rows(db, sql, [], position)? {
            found.add(Finding::Index { of, position });
        }
    }
    // What was removed may have been earlier or later, and what can't be read may be anything.
    let sql = "SELECT p.name FROM
                   (SELECT name, min(first_time) AS first_time, max(last_time) AS last_time,
                        max(last) AS last FROM proven_runs GROUP BY name) p
                   LEFT JOIN runs r ON r.name = p.name
                   WHERE r.id IS NULL OR r.first_time > p.first_time OR r.last_time < p.last_time
                       OR r.last_position < p.last
                       OR (r.last_position > p.last AND NOT EXISTS (SELECT 1 FROM unproven))
                       OR r.ended IS NOT coalesce(
                           (SELECT ended FROM proven_runs e WHERE e.name = p.name
                            AND ended IS NOT NULL ORDER BY first DESC LIMIT 1), r.ended)
               UNION
               SELECT name FROM runs r
                   WHERE NOT EXISTS (SELECT 1 FROM block_runs WHERE run = r.id)";
    for name in rows(db, sql, [], |row| row.get::<_, String>(0))? {
        found.add(Finding::Run(RunId::new(name)));
    }
    let sql = "SELECT first FROM data WHERE first NOT IN (SELECT first FROM blocks)";
    for position in rows(db, sql, [], position)? {
        found.add(Finding::Stray { position });
    }
    Ok(())
}

/// Checks that sequence numbers rise with positions, and that gaps are where no frames are.
fn compare_order(db: &Connection, found: &mut Examined) -> Stored<()> {
    let unsigned = |row: &Row<'_>, at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let sql = "SELECT epoch, first FROM
                   (SELECT epoch, first, first_seq,
                        lag(first_seq + count) OVER (PARTITION BY epoch ORDER BY first) AS next
                    FROM (SELECT epoch, first, first_seq, count FROM blocks UNION ALL
                          SELECT epoch, first, first_seq, count FROM tail))
               WHERE first_seq < next";
    let wrong = rows(db, sql, [], |row| {
        Ok(Finding::Order {
            epoch: BusEpoch::from_bits(unsigned(row, 0)?),
            position: unsigned(row, 1)?,
        })
    })?;
    wrong.into_iter().for_each(|finding| found.add(finding));
    let held = "(SELECT coalesce(sum(min(first_seq + count - 1, g.last_seq)
                     - max(first_seq, g.first_seq) + 1), 0)
                 FROM {table} WHERE epoch = g.epoch AND first_seq <= g.last_seq
                     AND first_seq + count > g.first_seq)";
    let (blocks, tail) = (
        held.replace("{table}", "blocks"),
        held.replace("{table}", "tail"),
    );
    let sql = format!(
        "SELECT position, epoch, first_seq, last_seq FROM gaps g
         WHERE lost < 1 OR first_seq < 1 OR last_seq < first_seq OR position < 1 OR position > ?1
             OR lost > last_seq - first_seq + 1 - {blocks} - {tail}"
    );
    let (_, end) = extent(db)?;
    let wrong = rows(db, &sql, [(end + 1).cast_signed()], |row| {
        Ok(Finding::Gap {
            before_position: unsigned(row, 0)?,
            epoch: BusEpoch::from_bits(unsigned(row, 1)?),
            sequences: unsigned(row, 2)?..=unsigned(row, 3)?,
        })
    })?;
    wrong.into_iter().for_each(|finding| found.add(finding));
    Ok(())
}
