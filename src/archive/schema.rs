//! The tables of an archive's file, and the migrations from earlier versions.

use super::error::{Doing, Stored};
use crate::event::{AgentError, AgentErrorKind};
use rusqlite::{Connection, params};
use std::hash::{BuildHasher, RandomState};

/// The file's name in the archive's folder.
pub(super) const FILE: &str = "frames.sqlite";

/// The size of its pages, in bytes.
pub(super) const PAGE: u64 = 8_192;

/// Marks the file as an archive's: "fbus".
const APPLICATION: i32 = 0x6662_7573;

/// The migration from each version of the schema to the next; the first begins with an empty file.
///
/// Never change one that was released: add another. The bits of `kinds_lo` and `kinds_hi` are the
/// kinds of [`EventKind`](crate::EventKind) as numbers; a change that renumbers kinds adds a
/// migration that drops the sets, and changes the form of blocks.
const MIGRATIONS: [&str; 5] = [
    "CREATE TABLE state(
         one INTEGER PRIMARY KEY CHECK(one = 1), archive_id TEXT NOT NULL,
         journal_epoch INTEGER NOT NULL, last_position INTEGER NOT NULL) STRICT;
     CREATE TABLE epochs(epoch INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL) STRICT;
     CREATE TABLE blocks(
         first INTEGER PRIMARY KEY, count INTEGER NOT NULL, epoch INTEGER NOT NULL,
         first_seq INTEGER NOT NULL, first_time INTEGER NOT NULL, min_time INTEGER NOT NULL,
         max_time INTEGER NOT NULL, kinds_lo INTEGER NOT NULL, kinds_hi INTEGER NOT NULL,
         size INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT;
     CREATE UNIQUE INDEX blocks_by_number ON blocks(epoch, first_seq);
     CREATE TABLE data(first INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
     CREATE TABLE runs(
         id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_time INTEGER NOT NULL,
         last_time INTEGER NOT NULL, last_position INTEGER NOT NULL, ended TEXT) STRICT;
     CREATE TABLE agents(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
     CREATE TABLE block_runs(
         run INTEGER NOT NULL, first INTEGER NOT NULL, frames INTEGER NOT NULL,
         PRIMARY KEY(run, first)) STRICT, WITHOUT ROWID;
     CREATE TABLE block_agents(
         agent INTEGER NOT NULL, first INTEGER NOT NULL,
         PRIMARY KEY(agent, first)) STRICT, WITHOUT ROWID;",
    "CREATE TABLE gaps(
         id INTEGER PRIMARY KEY, position INTEGER NOT NULL, epoch INTEGER NOT NULL,
         first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, lost INTEGER NOT NULL,
         terminal_preserved INTEGER NOT NULL, recorded_at INTEGER NOT NULL) STRICT;",
    "",
    "CREATE TABLE tail(
         first INTEGER PRIMARY KEY, count INTEGER NOT NULL, epoch INTEGER NOT NULL,
         first_seq INTEGER NOT NULL, first_time INTEGER NOT NULL, min_time INTEGER NOT NULL,
         max_time INTEGER NOT NULL, kinds_lo INTEGER NOT NULL, kinds_hi INTEGER NOT NULL,
         size INTEGER NOT NULL, checksum INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;",
    // Of frames of earlier versions it is known that they arrived before the migration.
    "CREATE TABLE arrivals(position INTEGER PRIMARY KEY, time INTEGER NOT NULL) STRICT;
     INSERT INTO arrivals SELECT last_position, unixepoch() * 1000000 FROM state;
     CREATE INDEX runs_by_position ON runs(last_position, name);",
];

/// The version that this program writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Returns the version of the file's schema; 0 for an empty file.
///
/// A later version than this program knows is an error, and so is another program's file.
pub(super) fn version(db: &Connection, doing: &str) -> Stored<usize> {
    let (application, version, tables): (i32, i64, i64) = db
        .query_row(
            "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
             FROM pragma_application_id a, pragma_user_version v",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .doing(doing)?;
    let refused = |message| Err(AgentError::new(AgentErrorKind::ArchiveVersion, message));
    if application != APPLICATION && (tables > 0 || application != 0) {
        return refused(format!(
            "{doing}: {FILE} is no archive; choose another folder"
        ));
    }
    match usize::try_from(version) {
        Ok(version) if version <= VERSION => Ok(version),
        _ => refused(format!(
            "{doing}: it is of version {version}, this program knows up to {}; use a later program",
            VERSION
        )),
    }
}

/// Migrates the file's schema to [`VERSION`], one version a transaction.
pub(super) fn migrate(db: &mut Connection, doing: &str) -> Stored<()> {
    let from = version(db, doing)?;
    for (version, step) in (from + 1..).zip(&MIGRATIONS[from..]) {
        let transaction = db.transaction().doing(doing)?;
        transaction.execute_batch(step).doing(doing)?;
        if version == 1 {
            transaction
                .execute(
                    "INSERT INTO state VALUES(1, ?, ?, 0)",
                    params![
                        format!("arc-{:016x}", random(b"archive")),
                        random(b"epoch").max(1).cast_signed()
                    ],
                )
                .doing(doing)?;
        }
        transaction
            .execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version};"
            ))
            .doing(doing)?;
        transaction.commit().doing(doing)?;
    }
    Ok(())
}

/// Returns a random word: two agree with a chance of 2^-64.
fn random(what: &[u8]) -> u64 {
    RandomState::new().hash_one((what, std::time::SystemTime::now()))
}
