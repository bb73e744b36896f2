//! The stores that the archive's was chosen among, on its workload, with the same bytes in the same
//! blocks: append durably, look up by sequence, run, agent, kind and time, scan, open again.
//!
//! `cargo bench --features archive-compare --bench archive_stores`; `FRAMES` says how many
//! (1,000,000 by default), `ARCHIVE_DIR` on which disk. Each store makes each group durable before
//! the next.

use redb::ReadableTable;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Res<T> = Result<T, Box<dyn std::error::Error>>;

/// Frames of a block, and of a group that is made durable at once.
const BLOCK: u64 = 1_024;
const GROUP: u64 = 2_048;

/// What stands for a frame: number, time, run, agent, kind, text.
type Record<'a> = (u64, i64, u64, u64, u8, &'a str);

struct Block {
    first: u64,
    times: (i64, i64),
    kinds: u128,
    runs: Vec<u64>,
    agents: Vec<u64>,
    bytes: Vec<u8>,
}

/// The frame with this number: 50 runs at a time of 400 frames each, 8 agents, one end in 20.
fn record(seq: u64, text: &str) -> Record<'_> {
    let mix = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    let run = seq / 20_000 * 50 + mix % 50;
    let kind = if mix.is_multiple_of(20) { 1 } else { 15 };
    let length = 40 + (mix % 160) as usize;
    (seq, seq as i64 * 37, run, run % 8, kind, &text[..length])
}

fn block(first: u64, text: &str) -> Block {
    let records: Vec<_> = (first..first + BLOCK)
        .map(|seq| record(seq, text))
        .collect();
    let distinct = |key: fn(&Record<'_>) -> u64| {
        let mut keys: Vec<_> = records.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let mut bytes = Vec::new();
    for record in &records {
        bytes = postcard::to_extend(record, bytes).unwrap();
    }
    Block {
        first,
        times: (records[0].1, records[records.len() - 1].1),
        kinds: records.iter().fold(0, |set, record| set | 1 << record.4),
        runs: distinct(|record| record.2),
        agents: distinct(|record| record.3),
        bytes,
    }
}

fn frames(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Ok((_, rest)) = postcard::take_from_bytes::<Record<'_>>(bytes) {
        (count, bytes) = (count + 1, rest);
    }
    count
}

/// A store of blocks. Lookups give the numbers of blocks, or a block's bytes to `visit`.
trait Store: Sized {
    const NAME: &'static str;
    fn open(folder: &Path) -> Res<Self>;
    fn append(&mut self, blocks: &[Block]) -> Res<()>;
    fn by_sequence(&self, sequence: u64) -> Res<u64>;
    fn by_run(&self, run: u64) -> Res<Vec<u64>>;
    fn by_agent(&self, agent: u64, most: usize) -> Res<Vec<u64>>;
    fn by_kind(&self, kinds: u128) -> Res<usize>;
    fn by_time(&self, time: i64) -> Res<Option<u64>>;
    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Res<()>;
}

struct Sqlite(Connection);

impl Store for Sqlite {
    const NAME: &'static str = "SQLite";

    fn open(folder: &Path) -> Res<Self> {
        let db = Connection::open(folder.join("frames.sqlite"))?;
        db.execute_batch(
            "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             PRAGMA wal_autocheckpoint=4000;
             CREATE TABLE IF NOT EXISTS blocks(first INTEGER PRIMARY KEY, t0, t1, lo, hi);
             CREATE TABLE IF NOT EXISTS data(first INTEGER PRIMARY KEY, bytes BLOB);
             CREATE TABLE IF NOT EXISTS runs(id, first, PRIMARY KEY(id, first)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS agents(id, first, PRIMARY KEY(id, first)) WITHOUT ROWID;",
        )?;
        Ok(Sqlite(db))
    }

    fn append(&mut self, blocks: &[Block]) -> Res<()> {
        let transaction = self.0.transaction()?;
        let insert = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Res<()> {
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

    fn by_sequence(&self, sequence: u64) -> Res<u64> {
        let sql = "SELECT bytes FROM data WHERE first <= ? ORDER BY first DESC LIMIT 1";
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row([sequence as i64], |row| {
            Ok(frames(row.get_ref(0)?.as_blob()?))
        })?)
    }

    fn by_run(&self, run: u64) -> Res<Vec<u64>> {
        let mut statement = self
            .0
            .prepare_cached("SELECT first FROM runs WHERE id = ?")?;
        let found = statement.query_map([run as i64], |row| row.get::<_, i64>(0))?;
        Ok(found
            .map(|it| it.map(|it| it as u64))
            .collect::<Result<_, _>>()?)
    }

    fn by_agent(&self, agent: u64, most: usize) -> Res<Vec<u64>> {
        let sql = "SELECT first FROM agents WHERE id = ? LIMIT ?";
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_map(params![agent as i64, most as i64], |row| {
            row.get::<_, i64>(0)
        })?;
        Ok(found
            .map(|it| it.map(|it| it as u64))
            .collect::<Result<_, _>>()?)
    }

    fn by_kind(&self, kinds: u128) -> Res<usize> {
        let sql = "SELECT count(*) FROM blocks WHERE (lo & ?) | (hi & ?)";
        let mut statement = self.0.prepare_cached(sql)?;
        let kinds = params![kinds as i64, (kinds >> 64) as i64];
        Ok(statement.query_row(kinds, |row| row.get::<_, i64>(0))? as usize)
    }

    fn by_time(&self, time: i64) -> Res<Option<u64>> {
        let sql = "SELECT first FROM blocks WHERE t1 >= ? ORDER BY first LIMIT 1";
        let mut statement = self.0.prepare_cached(sql)?;
        let first = statement.query_row([time], |row| row.get::<_, i64>(0));
        Ok(first.optional()?.map(|first| first as u64))
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Res<()> {
        let sql = "SELECT bytes FROM data WHERE first >= ? ORDER BY first";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([from as i64])?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }
}

/// SQLite again, with a row and four index entries a frame: what the blocks save.
struct Rows(Connection);

impl Store for Rows {
    const NAME: &'static str = "SQLite, a row a frame";

    fn open(folder: &Path) -> Res<Self> {
        let db = Connection::open(folder.join("rows.sqlite"))?;
        db.execute_batch(
            "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             PRAGMA wal_autocheckpoint=4000;
             CREATE TABLE IF NOT EXISTS frames(seq INTEGER PRIMARY KEY, time, run, agent, kind, bytes BLOB);
             CREATE INDEX IF NOT EXISTS by_run ON frames(run);
             CREATE INDEX IF NOT EXISTS by_agent ON frames(agent);
             CREATE INDEX IF NOT EXISTS by_kind ON frames(kind);
             CREATE INDEX IF NOT EXISTS by_time ON frames(time);",
        )?;
        Ok(Rows(db))
    }

    fn append(&mut self, blocks: &[Block]) -> Res<()> {
        let transaction = self.0.transaction()?;
        for block in blocks {
            let mut rest = &block.bytes[..];
            let mut insert =
                transaction.prepare_cached("INSERT INTO frames VALUES(?, ?, ?, ?, ?, ?)")?;
            while let Ok((record, after)) = postcard::take_from_bytes::<Record<'_>>(rest) {
                let bytes = &rest[..rest.len() - after.len()];
                let (seq, time, run, agent, kind, _) = record;
                insert.execute(params![
                    seq as i64,
                    time,
                    run as i64,
                    agent as i64,
                    kind,
                    bytes
                ])?;
                rest = after;
            }
        }
        Ok(transaction.commit()?)
    }

    fn by_sequence(&self, sequence: u64) -> Res<u64> {
        let mut statement = self
            .0
            .prepare_cached("SELECT bytes FROM frames WHERE seq = ?")?;
        Ok(statement.query_row([sequence as i64], |row| {
            Ok(frames(row.get_ref(0)?.as_blob()?))
        })?)
    }

    fn by_run(&self, run: u64) -> Res<Vec<u64>> {
        let mut statement = self
            .0
            .prepare_cached("SELECT seq FROM frames WHERE run = ?")?;
        let found = statement.query_map([run as i64], |row| row.get::<_, i64>(0))?;
        Ok(found
            .map(|it| it.map(|it| it as u64))
            .collect::<Result<_, _>>()?)
    }

    fn by_agent(&self, agent: u64, most: usize) -> Res<Vec<u64>> {
        let sql = "SELECT seq FROM frames WHERE agent = ? LIMIT ?";
        let mut statement = self.0.prepare_cached(sql)?;
        let found = statement.query_map(params![agent as i64, most as i64], |row| {
            row.get::<_, i64>(0)
        })?;
        Ok(found
            .map(|it| it.map(|it| it as u64))
            .collect::<Result<_, _>>()?)
    }

    fn by_kind(&self, kinds: u128) -> Res<usize> {
        let sql = "SELECT count(*) FROM frames WHERE kind = ?";
        let kind = kinds.trailing_zeros();
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row([kind], |row| row.get::<_, i64>(0))? as usize)
    }

    fn by_time(&self, time: i64) -> Res<Option<u64>> {
        let sql = "SELECT seq FROM frames WHERE time >= ? ORDER BY time LIMIT 1";
        let mut statement = self.0.prepare_cached(sql)?;
        let first = statement.query_row([time], |row| row.get::<_, i64>(0));
        Ok(first.optional()?.map(|first| first as u64))
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Res<()> {
        let sql = "SELECT bytes FROM frames WHERE seq >= ? ORDER BY seq";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([from as i64])?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }
}

struct Redb(redb::Database);

type Meta = (i64, i64, u128);
const BLOCKS: redb::TableDefinition<'_, u64, Meta> = redb::TableDefinition::new("blocks");
const DATA: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("data");
const RUNS: redb::TableDefinition<'_, (u64, u64), ()> = redb::TableDefinition::new("runs");
const AGENTS: redb::TableDefinition<'_, (u64, u64), ()> = redb::TableDefinition::new("agents");

impl Redb {
    fn firsts(
        &self,
        table: redb::TableDefinition<'_, (u64, u64), ()>,
        id: u64,
        most: usize,
    ) -> Res<Vec<u64>> {
        let table = self.0.begin_read()?.open_table(table)?;
        let range = table.range((id, 0)..=(id, u64::MAX))?.take(most);
        range
            .map(|entry| Ok(entry.map(|(key, _)| key.value().1)?))
            .collect()
    }
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(folder: &Path) -> Res<Self> {
        Ok(Redb(redb::Database::create(folder.join("frames.redb"))?))
    }

    fn append(&mut self, blocks: &[Block]) -> Res<()> {
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

    fn by_sequence(&self, sequence: u64) -> Res<u64> {
        let data = self.0.begin_read()?.open_table(DATA)?;
        let found = data.range(..=sequence)?.next_back().transpose()?;
        Ok(found.map_or(0, |(_, bytes)| frames(bytes.value())))
    }

    fn by_run(&self, run: u64) -> Res<Vec<u64>> {
        self.firsts(RUNS, run, usize::MAX)
    }

    fn by_agent(&self, agent: u64, most: usize) -> Res<Vec<u64>> {
        self.firsts(AGENTS, agent, most)
    }

    fn by_kind(&self, kinds: u128) -> Res<usize> {
        let table = self.0.begin_read()?.open_table(BLOCKS)?;
        let mut count = 0;
        for entry in table.iter()? {
            count += usize::from(entry?.1.value().2 & kinds != 0);
        }
        Ok(count)
    }

    fn by_time(&self, time: i64) -> Res<Option<u64>> {
        let table = self.0.begin_read()?.open_table(BLOCKS)?;
        for entry in table.iter()? {
            let (first, meta) = entry?;
            if meta.value().1 >= time {
                return Ok(Some(first.value()));
            }
        }
        Ok(None)
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Res<()> {
        let table = self.0.begin_read()?.open_table(DATA)?;
        for entry in table.range(from..)? {
            visit(entry?.1.value());
        }
        Ok(())
    }
}

struct Fjall {
    keyspace: fjall::Keyspace,
    blocks: fjall::PartitionHandle,
    data: fjall::PartitionHandle,
    runs: fjall::PartitionHandle,
    agents: fjall::PartitionHandle,
}

fn pair(id: u64, first: u64) -> [u8; 16] {
    (u128::from(id) << 64 | u128::from(first)).to_be_bytes()
}

fn number(key: &[u8]) -> u64 {
    key[key.len() - 8..]
        .try_into()
        .map_or(0, u64::from_be_bytes)
}

impl Fjall {
    fn metas(&self) -> impl Iterator<Item = Res<(u64, Meta)>> {
        self.blocks.iter().map(|entry| {
            let (key, value) = entry?;
            Ok((number(&key), postcard::from_bytes(&value)?))
        })
    }

    fn firsts(partition: &fjall::PartitionHandle, id: u64, most: usize) -> Res<Vec<u64>> {
        let found = partition.prefix(id.to_be_bytes()).take(most);
        found.map(|entry| Ok(number(&entry?.0))).collect()
    }
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";

    fn open(folder: &Path) -> Res<Self> {
        let keyspace = fjall::Config::new(folder.join("frames.fjall")).open()?;
        let partition =
            |name| keyspace.open_partition(name, fjall::PartitionCreateOptions::default());
        Ok(Fjall {
            blocks: partition("blocks")?,
            data: partition("data")?,
            runs: partition("runs")?,
            agents: partition("agents")?,
            keyspace,
        })
    }

    fn append(&mut self, blocks: &[Block]) -> Res<()> {
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
        Ok(self.keyspace.persist(fjall::PersistMode::SyncData)?)
    }

    fn by_sequence(&self, sequence: u64) -> Res<u64> {
        let found = self.data.range(..=sequence.to_be_bytes()).next_back();
        Ok(found.transpose()?.map_or(0, |(_, bytes)| frames(&bytes)))
    }

    fn by_run(&self, run: u64) -> Res<Vec<u64>> {
        Self::firsts(&self.runs, run, usize::MAX)
    }

    fn by_agent(&self, agent: u64, most: usize) -> Res<Vec<u64>> {
        Self::firsts(&self.agents, agent, most)
    }

    fn by_kind(&self, kinds: u128) -> Res<usize> {
        self.metas().try_fold(0, |count, meta| {
            Ok(count + usize::from(meta?.1.2 & kinds != 0))
        })
    }

    fn by_time(&self, time: i64) -> Res<Option<u64>> {
        for meta in self.metas() {
            let (first, meta) = meta?;
            if meta.1 >= time {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(&[u8])) -> Res<()> {
        for entry in self.data.range(from.to_be_bytes()..) {
            visit(&entry?.1);
        }
        Ok(())
    }
}

fn size(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size(&entry.path())).sum(),
        Err(_) => path.metadata().map_or(0, |metadata| metadata.len()),
    }
}

/// The middle of 21 times.
fn median(mut step: impl FnMut(u64) -> Res<()>) -> Res<Duration> {
    let mut times = Vec::new();
    for n in 0..21 {
        let begin = Instant::now();
        step(n)?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times[10])
}

fn measure<S: Store>(count: u64) -> Res<()> {
    let base = std::env::var_os("ARCHIVE_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(base)?;
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(8);
    let mut store = S::open(folder.path())?;
    let mut appending = Duration::ZERO;
    for group in (0..count).step_by(GROUP as usize) {
        let blocks: Vec<_> = (group..group + GROUP)
            .step_by(BLOCK as usize)
            .map(|first| block(first, &text))
            .collect();
        let begin = Instant::now();
        store.append(&blocks)?;
        appending += begin.elapsed();
    }
    drop(store);
    let bytes = size(folder.path()) as f64 / count as f64;
    let begin = Instant::now();
    let store = S::open(folder.path())?;
    let opening = begin.elapsed();
    let begin = Instant::now();
    let mut replayed = 0;
    store.scan(0, &mut |bytes| replayed += frames(bytes))?;
    let replaying = begin.elapsed();
    assert_eq!(replayed, count.next_multiple_of(GROUP));
    let some = |n: u64| n.wrapping_mul(7_919_777) % count;
    let found = |found: usize| {
        assert!(found > 0);
        Ok(())
    };
    println!(
        "{:<22} | {:>9.0} | {:>5.0} | {:>10.0} | {:>7.1} | {:>6.0} | {:>6.0} | {:>6.0} | {:>7.0} | {:>7.0}",
        S::NAME,
        count as f64 / appending.as_secs_f64(),
        bytes,
        replayed as f64 / replaying.as_secs_f64(),
        opening.as_secs_f64() * 1e3,
        median(|n| found(store.by_sequence(some(n))? as usize))?.as_secs_f64() * 1e6,
        median(|n| found(store.by_run(some(n) / 20_000 * 50 + n % 50)?.len()))?.as_secs_f64() * 1e6,
        median(|n| found(store.by_agent(n % 8, 100)?.len()))?.as_secs_f64() * 1e6,
        median(|n| found(store.by_kind(1 << [1, 15][n as usize % 2])?))?.as_secs_f64() * 1e6,
        median(|n| found(store.by_time(some(n) as i64 * 37)?.map_or(0, |_| 1)))?.as_secs_f64()
            * 1e6,
    );
    Ok(())
}

fn main() -> Res<()> {
    // `cargo bench -- --test` and the like only ask whether it runs.
    let trial = std::env::args().any(|argument| argument == "--test");
    let count = match std::env::var("FRAMES") {
        Ok(count) => count.parse()?,
        Err(_) if trial => 20_480,
        Err(_) => 1_000_000,
    };
    println!("{count} frames, durable in groups of {GROUP}");
    println!(
        "store                  |  append/s | bytes |   replay/s | open ms | seq µs | run µs | 100 ag | kind µs | time µs"
    );
    measure::<Sqlite>(count)?;
    measure::<Redb>(count)?;
    measure::<Fjall>(count)?;
    measure::<Rows>(count)
}
