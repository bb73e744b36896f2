//! SQLite again, with a row and four index entries a frame: what the blocks save.

use super::Store;
use super::sqlite::{first_sequence, frames_of, open, scan, sequences};
use crate::workload::{Block, split};
use anyhow::Result;
use rusqlite::{Connection, params};
use std::path::Path;

/// SQLite, a row a frame.
pub struct Rows(Connection);

impl Store for Rows {
    const NAME: &'static str = "SQLite, a row a frame";

    fn open(folder: &Path) -> Result<Self> {
        let tables = "
            CREATE TABLE IF NOT EXISTS
                frames(seq INTEGER PRIMARY KEY, time, run, agent, kind, bytes BLOB);
            CREATE INDEX IF NOT EXISTS by_run ON frames(run);
            CREATE INDEX IF NOT EXISTS by_agent ON frames(agent);
            CREATE INDEX IF NOT EXISTS by_kind ON frames(kind);
            CREATE INDEX IF NOT EXISTS by_time ON frames(time);";
        Ok(Rows(open(&folder.join("rows.sqlite"), tables)?))
    }

    fn append(&mut self, blocks: &[Block]) -> Result<()> {
        let transaction = self.0.transaction()?;
        for block in blocks {
            let mut rest = &block.bytes[..];
            let mut insert =
                transaction.prepare_cached("INSERT INTO frames VALUES(?, ?, ?, ?, ?, ?)")?;
            while let Some((record, bytes, after)) = split(rest) {
                let (sequence, time, run, agent, kind, _) = record;
                let (sequence, run, agent) = (sequence as i64, run as i64, agent as i64);
                insert.execute(params![sequence, time, run, agent, kind, bytes])?;
                rest = after;
            }
        }
        Ok(transaction.commit()?)
    }

    fn by_sequence(&self, sequence: u64) -> Result<u64> {
        let sql = "SELECT bytes FROM frames WHERE seq = ?";
        frames_of(&self.0, sql, sequence)
    }

    fn by_run(&self, run: u64) -> Result<Vec<u64>> {
        let sql = "SELECT seq FROM frames WHERE run = ?";
        sequences(&self.0, sql, [run as i64])
    }

    fn by_agent(&self, agent: u64, most: usize) -> Result<Vec<u64>> {
        let sql = "SELECT seq FROM frames WHERE agent = ? LIMIT ?";
        sequences(&self.0, sql, [agent as i64, most as i64])
    }

    fn by_kind(&self, kind: u8) -> Result<usize> {
        let sql = "SELECT count(*) FROM frames WHERE kind = ?";
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row([kind], |row| row.get::<_, i64>(0))? as usize)
    }

    fn by_time(&self, time: i64) -> Result<Option<u64>> {
        let sql = "SELECT seq FROM frames WHERE time >= ? ORDER BY time LIMIT 1";
        first_sequence(&self.0, sql, time)
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let sql = "SELECT bytes FROM frames WHERE seq >= ? ORDER BY seq";
        scan(&self.0, sql, from, visit)
    }
}
