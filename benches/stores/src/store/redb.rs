//! redb: a copy-on-write tree of pages.

use super::{Meta, Store};
use crate::workload::{Block, frames};
use anyhow::Result;
use redb::{Database, ReadableTable, TableDefinition};
use std::path::Path;

/// redb 2.
pub struct Redb(Database);

const BLOCKS: TableDefinition<'_, u64, Meta> = TableDefinition::new("blocks");
const DATA: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("data");
const RUNS: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("runs");
const AGENTS: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("agents");

impl Redb {
    fn firsts(
        &self,
        table: TableDefinition<'_, (u64, u64), ()>,
        id: u64,
        most: usize,
    ) -> Result<Vec<u64>> {
        let table = self.0.begin_read()?.open_table(table)?;
        let range = table.range((id, 0)..=(id, u64::MAX))?.take(most);
        range
            .map(|entry| Ok(entry.map(|(key, _)| key.value().1)?))
            .collect()
    }
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(folder: &Path) -> Result<Self> {
        Ok(Redb(Database::create(folder.join("frames.redb"))?))
    }

    fn append(&mut self, blocks: &[Block]) -> Result<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut metas = transaction.open_table(BLOCKS)?;
            let mut data = transaction.open_table(DATA)?;
            let mut runs = transaction.open_table(RUNS)?;
            let mut agents = transaction.open_table(AGENTS)?;
            for block in blocks {
                metas.insert(block.first, (block.times.0, block.times.1, block.kinds))?;
                data.insert(block.first, &block.bytes[..])?;
                for &run in &block.runs {
                    runs.insert((run, block.first), ())?;
                }
                for &agent in &block.agents {
                    agents.insert((agent, block.first), ())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn by_sequence(&self, sequence: u64) -> Result<u64> {
        let data = self.0.begin_read()?.open_table(DATA)?;
        let found = data.range(..=sequence)?.next_back().transpose()?;
        Ok(found.map_or(0, |(_, bytes)| frames(bytes.value())))
    }

    fn by_run(&self, run: u64) -> Result<Vec<u64>> {
        self.firsts(RUNS, run, usize::MAX)
    }

    fn by_agent(&self, agent: u64, most: usize) -> Result<Vec<u64>> {
        self.firsts(AGENTS, agent, most)
    }

    fn by_kind(&self, kind: u8) -> Result<usize> {
        let table = self.0.begin_read()?.open_table(BLOCKS)?;
        let mut count = 0;
        for entry in table.iter()? {
            count += usize::from(entry?.1.value().2 & 1 << kind != 0);
        }
        Ok(count)
    }

    fn by_time(&self, time: i64) -> Result<Option<u64>> {
        let table = self.0.begin_read()?.open_table(BLOCKS)?;
        for entry in table.iter()? {
            let (first, meta) = entry?;
            if meta.value().1 >= time {
                return Ok(Some(first.value()));
            }
        }
        Ok(None)
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let table = self.0.begin_read()?.open_table(DATA)?;
        for entry in table.range(from..)? {
            visit(entry?.1.value());
        }
        Ok(())
    }
}
