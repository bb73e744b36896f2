//! SQLite, with a row a block: what the archive does.

use super::Store;
use crate::workload::{Block, frames};
use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, Params, params};
use std::path::Path;

/// SQLite, a row a block.
pub struct Sqlite(Connection);

/// Opens a database, set up as the archive's is, with these tables.
pub fn open(path: &Path, tables: &str) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         PRAGMA wal_autocheckpoint=4000;",
    )?;
    db.execute_batch(tables)?;
    Ok(db)
}

/// The frames in the one blob that a query finds.
pub fn frames_of(db: &Connection, sql: &str, sequence: u64) -> Result<u64> {
    let mut statement = db.prepare_cached(sql)?;
    Ok(statement.query_row([sequence as i64], |row| {
        Ok(frames(row.get_ref(0)?.as_blob()?))
    })?)
}

/// The sequences that a query finds.
pub fn sequences(db: &Connection, sql: &str, params: impl Params) -> Result<Vec<u64>> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(params, |row| Ok(row.get::<_, i64>(0)? as u64))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The first sequence that a query finds, or nothing.
pub fn first_sequence(db: &Connection, sql: &str, time: i64) -> Result<Option<u64>> {
    let mut statement = db.prepare_cached(sql)?;
    let first = statement.query_row([time], |row| row.get::<_, i64>(0));
    Ok(first.optional()?.map(|first| first as u64))
}

/// Gives each blob that a query finds.
pub fn scan(db: &Connection, sql: &str, from: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([from as i64])?;
    while let Some(row) = rows.next()? {
        visit(row.get_ref(0)?.as_blob()?);
    }
    Ok(())
}

impl Store for Sqlite {
    const NAME: &'static str = "SQLite";

    fn open(folder: &Path) -> Result<Self> {
        let tables = "
            CREATE TABLE IF NOT EXISTS blocks(first INTEGER PRIMARY KEY, t0, t1, lo, hi);
            CREATE TABLE IF NOT EXISTS data(first INTEGER PRIMARY KEY, bytes BLOB);
            CREATE TABLE IF NOT EXISTS runs(id, first, PRIMARY KEY(id, first)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS agents(id, first, PRIMARY KEY(id, first)) WITHOUT ROWID;";
        Ok(Sqlite(open(&folder.join("frames.sqlite"), tables)?))
    }

    fn append(&mut self, blocks: &[Block]) -> Result<()> {
        let transaction = self.0.transaction()?;
        let insert = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<()> {
            transaction.prepare_cached(sql)?.execute(values)?;
            Ok(())
        };
        for block in blocks {
            let first = block.first as i64;
            let (lo, hi) = (block.kinds as i64, (block.kinds >> 64) as i64);
            insert(
                "INSERT INTO blocks VALUES(?, ?, ?, ?, ?)",
                params![first, block.times.0, block.times.1, lo, hi],
            )?;
            insert("INSERT INTO data VALUES(?, ?)", params![first, block.bytes])?;
            for run in &block.runs {
                insert("INSERT INTO runs VALUES(?, ?)", params![*run as i64, first])?;
            }
            for agent in &block.agents {
                insert(
                    "INSERT INTO agents VALUES(?, ?)",
                    params![*agent as i64, first],
                )?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn by_sequence(&self, sequence: u64) -> Result<u64> {
        let sql = "SELECT bytes FROM data WHERE first <= ? ORDER BY first DESC LIMIT 1";
        frames_of(&self.0, sql, sequence)
    }

    fn by_run(&self, run: u64) -> Result<Vec<u64>> {
        let sql = "SELECT first FROM runs WHERE id = ?";
        sequences(&self.0, sql, [run as i64])
    }

    fn by_agent(&self, agent: u64, most: usize) -> Result<Vec<u64>> {
        let sql = "SELECT first FROM agents WHERE id = ? LIMIT ?";
        sequences(&self.0, sql, [agent as i64, most as i64])
    }

    fn by_kind(&self, kind: u8) -> Result<usize> {
        let sql = "SELECT count(*) FROM blocks WHERE (lo & ?) | (hi & ?)";
        let mut statement = self.0.prepare_cached(sql)?;
        let kinds = 1u128 << kind;
        let kinds = params![kinds as i64, (kinds >> 64) as i64];
        Ok(statement.query_row(kinds, |row| row.get::<_, i64>(0))? as usize)
    }

    fn by_time(&self, time: i64) -> Result<Option<u64>> {
        let sql = "SELECT first FROM blocks WHERE t1 >= ? ORDER BY first LIMIT 1";
        first_sequence(&self.0, sql, time)
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let sql = "SELECT bytes FROM data WHERE first >= ? ORDER BY first";
        scan(&self.0, sql, from, visit)
    }
}
