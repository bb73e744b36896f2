//! fjall: a log-structured merge tree.

use super::{Meta, Store};
use crate::workload::{Block, frames};
use anyhow::Result;
use fjall::{Config, Keyspace, PartitionCreateOptions, PartitionHandle, PersistMode};
use std::path::Path;

/// fjall 2.
pub struct Fjall {
    keyspace: Keyspace,
    blocks: PartitionHandle,
    data: PartitionHandle,
    runs: PartitionHandle,
    agents: PartitionHandle,
}

/// The key of an index entry: an id, then the sequence of a block.
fn pair(id: u64, first: u64) -> [u8; 16] {
    (u128::from(id) << 64 | u128::from(first)).to_be_bytes()
}

/// The sequence at the end of a key.
fn sequence(key: &[u8]) -> u64 {
    key[key.len() - 8..]
        .try_into()
        .map_or(0, u64::from_be_bytes)
}

impl Fjall {
    fn metas(&self) -> impl Iterator<Item = Result<(u64, Meta)>> {
        self.blocks.iter().map(|entry| {
            let (key, value) = entry?;
            Ok((sequence(&key), postcard::from_bytes(&value)?))
        })
    }

    fn firsts(partition: &PartitionHandle, id: u64, most: usize) -> Result<Vec<u64>> {
        let found = partition.prefix(id.to_be_bytes()).take(most);
        found.map(|entry| Ok(sequence(&entry?.0))).collect()
    }
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";

    fn open(folder: &Path) -> Result<Self> {
        let keyspace = Config::new(folder.join("frames.fjall")).open()?;
        let partition = |name| keyspace.open_partition(name, PartitionCreateOptions::default());
        Ok(Fjall {
            blocks: partition("blocks")?,
            data: partition("data")?,
            runs: partition("runs")?,
            agents: partition("agents")?,
            keyspace,
        })
    }

    fn append(&mut self, blocks: &[Block]) -> Result<()> {
        let mut batch = self.keyspace.batch();
        for block in blocks {
            let key = block.first.to_be_bytes();
            let meta: Meta = (block.times.0, block.times.1, block.kinds);
            batch.insert(&self.blocks, key, postcard::to_allocvec(&meta)?);
            batch.insert(&self.data, key, &block.bytes[..]);
            for &run in &block.runs {
                batch.insert(&self.runs, pair(run, block.first), []);
            }
            for &agent in &block.agents {
                batch.insert(&self.agents, pair(agent, block.first), []);
            }
        }
        batch.commit()?;
        Ok(self.keyspace.persist(PersistMode::SyncData)?)
    }

    fn by_sequence(&self, sequence: u64) -> Result<u64> {
        let found = self.data.range(..=sequence.to_be_bytes()).next_back();
        Ok(found.transpose()?.map_or(0, |(_, bytes)| frames(&bytes)))
    }

    fn by_run(&self, run: u64) -> Result<Vec<u64>> {
        Self::firsts(&self.runs, run, usize::MAX)
    }

    fn by_agent(&self, agent: u64, most: usize) -> Result<Vec<u64>> {
        Self::firsts(&self.agents, agent, most)
    }

    fn by_kind(&self, kind: u8) -> Result<usize> {
        self.metas().try_fold(0, |count, meta| {
            Ok(count + usize::from(meta?.1.2 & 1 << kind != 0))
        })
    }

    fn by_time(&self, time: i64) -> Result<Option<u64>> {
        for meta in self.metas() {
            let (first, meta) = meta?;
            if meta.1 >= time {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        for entry in self.data.range(from.to_be_bytes()..) {
            visit(&entry?.1);
        }
        Ok(())
    }
}
