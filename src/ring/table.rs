//! A table of rows that grows and never moves: rows are found by walking, taken and given back.
//!
//! Publishers walk all rows ever used, without a lock; taking and giving back lock a mutex that
//! no publisher and no reader ever takes. Rows given back are used again, so a table is as large as
//! the most subscriptions that were alive at once. Blocks of rows are never freed before the table.

use crate::sync::{AtomicUsize, Mutex, Ordering};
use std::sync::{OnceLock, PoisonError};

/// Block `b` holds `FIRST << b` rows.
const FIRST: usize = 4;
const BLOCKS: usize = 28;

/// The most rows that can be in use at once.
pub(crate) const MAX_ROWS: usize = FIRST * ((1 << BLOCKS) - 1);

/// See the module.
pub(crate) struct Table<R> {
    blocks: [OnceLock<Box<[R]>>; BLOCKS],
    /// Rows that were ever taken are those below this.
    used: AtomicUsize,
    free: Mutex<Vec<usize>>,
}

impl<R: Default> Table<R> {
    pub(crate) fn new() -> Self {
        let table = Table {
            blocks: [const { OnceLock::new() }; BLOCKS],
            used: AtomicUsize::new(0),
            free: Mutex::new(Vec::new()),
        };
        table.block(0);
        table
    }

    fn block(&self, b: usize) -> &[R] {
        self.blocks[b].get_or_init(|| (0..FIRST << b).map(|_| R::default()).collect())
    }

    /// A row of one's own, or `None` when [`MAX_ROWS`] are in use.
    pub(crate) fn take(&self) -> Option<usize> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = free.pop() {
            return Some(row);
        }
        // Relaxed: only written under the mutex.
        let row = self.used.load(Ordering::Relaxed);
        if row >= MAX_ROWS {
            return None;
        }
        self.block(locate(row).0);
        // Relaxed: a block publishes itself, and whether a walker must see the row is decided by
        // fences: those of its user behind this, and the walker's own before it.
        self.used.store(row + 1, Ordering::Relaxed);
        Some(row)
    }

    /// How many rows were ever taken, at most at once.
    pub(crate) fn used(&self) -> usize {
        // Relaxed: a figure.
        self.used.load(Ordering::Relaxed)
    }

    /// Gives a taken row back; its content must say that nobody uses it.
    pub(crate) fn give_back(&self, row: usize) {
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(row);
    }

    /// A row that was taken.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &R {
        let (block, offset) = locate(row);
        &self.block(block)[offset]
    }

    /// All rows that were ever taken: those whose users ran a SeqCst fence before the caller did.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        // Relaxed: as in `take`.
        let used = self.used.load(Ordering::Relaxed);
        self.blocks
            .iter()
            .map_while(OnceLock::get)
            .flat_map(|block| block.iter())
            .take(used)
    }
}

/// The block of a row and its place there.
fn locate(row: usize) -> (usize, usize) {
    let scaled = row / FIRST + 1;
    let block = scaled.ilog2() as usize;
    (block, row - FIRST * ((1 << block) - 1))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_in_blocks_without_hole_or_overlap() {
        let mut expected = (0, 0);
        for row in 0..10_000 {
            assert_eq!(locate(row), expected, "row {row}");
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn rows_are_used_again_and_all_are_walked() {
        let table = Table::<std::cell::Cell<u32>>::new();
        for _ in 0..1_000 {
            let rows: Vec<_> = (0..37).map(|_| table.take().unwrap()).collect();
            rows.iter().for_each(|&row| table.give_back(row));
        }
        assert_eq!(table.iter().count(), 37);
        let row = table.take().unwrap();
        table.row(row).set(7);
        assert_eq!(table.iter().filter(|cell| cell.get() == 7).count(), 1);
    }
}
