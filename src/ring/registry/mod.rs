//! A registry: rows that others find by walking, without a lock, while owners take rows and give
//! them back.
//!
//! A row belongs to its [`Row`], which gives it back when it is dropped. Rows lie in blocks of `N`;
//! the blocks with a taken row are linked in a list, newest first. Taking a row and giving it back
//! lock a mutex that no publisher and no reader of frames takes. A walk steps over the linked
//! blocks, so it costs what is alive, and not what once was. A block whose last row is given back
//! is unlinked, and its memory freed when no walker can stand at it any more. Nobody waits for
//! that: whoever takes or gives back a row next looks again.
//!
//! # What a walk sees
//! ```text
//! owner (take, then use)                walker (enter, then rows)
//!   link the block, set the bit           walkers += 1
//!   store into the row                    what the caller stores before
//!   fence(SeqCst)          the owner's    fence(SeqCst)
//!   load what the caller stored           load the list, the bits, the row
//! ```
//! If the owner's fence comes first, the walker finds the row and what is in it. If the walker's
//! comes first, the owner sees what the walker's caller stored before. The fence of the owner is
//! that of its protocol (`pins.rs`, `wait.rs`), and so is what both store and load.
//!
//! New blocks go to the front, and a block's place among the others never changes. So from a block
//! where a walker stands, linked or not, the list leads to each block behind it that was linked all
//! along: a walk misses no row that was there before it began and is there when it ends.
//!
//! # When memory is freed
//! ```text
//! remover                               walker
//!   unlink the block                      walkers[a] += 1
//!   fence(SeqCst)                         fence(SeqCst)
//!   load walkers[0], walkers[1]           load the list
//! ```
//! If the walker's fence comes first, the remover sees it counted until it leaves. If the remover's
//! comes first, the walker does not find the block. A walker stays in one counter. So each walker
//! that can stand at the block is in a counter that is not 0, and a block is freed once each of the
//! two was seen at 0 after the fence, at whatever moments. There are two so that this comes about
//! while walkers never cease: new ones count where the others are gone already, and so the other
//! counter falls to 0.
//!
//! A walker that does not move, suspended or in a foreign waker, holds up the freeing of blocks.
//! While it does, no more blocks are unlinked than there were when that began, and [`SPARE`]:
//! others stay in their lists, to be taken again by whoever comes there. So what is held is bounded
//! by what was in use at once.

mod block;
mod walk;

use self::block::Block;
pub(crate) use self::block::Row;
pub(crate) use self::walk::Walk;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use self::walk::steps;
use crate::ring::slot::{Array, pointers};
use crate::sync::{Arc, AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering, UnsafeCell, fence};
use crossbeam_utils::CachePadded;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::PoisonError;

/// The most rows of a group that can be taken at once.
pub(crate) const MAX_ROWS: usize = 1 << 30;

/// How many blocks may wait to be freed beside as many as there are.
const SPARE: usize = 64;

/// See the module. Lists are in groups; a walk goes through lists of one group.
pub(crate) struct Registry<R, const N: usize> {
    /// The newest block of each list, group by group.
    heads: Array<AtomicPtr<Block<R, N>>>,
    /// How many lists each group has.
    lists: usize,
    groups: Box<[Group<R, N>]>,
}

struct Group<R, const N: usize> {
    /// How many walkers are inside.
    walkers: [CachePadded<AtomicUsize>; 2],
    /// In which of the two new walkers count. Written under the mutex.
    entrance: AtomicUsize,
    /// How many rows are taken. Written under the mutex.
    alive: AtomicUsize,
    blocks: Mutex<Blocks<R, N>>,
}

/// What the mutex guards, beside the links of the blocks.
struct Blocks<R, const N: usize> {
    /// Those of a list that have a free row.
    free: Linked<R, N>,
    /// Those with no taken row that could not be unlinked yet.
    idle: Linked<R, N>,
    /// Unlinked before the last fence.
    unlinked: Vec<NonNull<Block<R, N>>>,
    /// Which counters were seen at 0 since that fence.
    drained: [bool; 2],
    /// Unlinked since.
    later: Vec<NonNull<Block<R, N>>>,
    /// How many may be unlinked before some are freed.
    most: usize,
    linked: usize,
    next_id: u64,
}

/// Blocks by their list and their id.
type Linked<R, const N: usize> = BTreeMap<(usize, u64), NonNull<Block<R, N>>>;

// SAFETY: rows are lent to several threads, and dropped by whichever frees them. The pointers are
// to blocks that the registry owns; all but walkers and owners of rows use them under the mutex.
unsafe impl<R: Send + Sync, const N: usize> Send for Registry<R, N> {}
// SAFETY: as above.
unsafe impl<R: Send + Sync, const N: usize> Sync for Registry<R, N> {}

impl<R: Default, const N: usize> Registry<R, N> {
    /// So many groups of so many lists, all empty.
    pub(crate) fn new(groups: usize, lists: usize) -> Self {
        const { assert!(N >= 1 && N <= 64) };
        let group = |_| Group {
            walkers: Default::default(),
            entrance: AtomicUsize::new(0),
            alive: AtomicUsize::new(0),
            blocks: Mutex::new(Blocks {
                free: BTreeMap::new(),
                idle: BTreeMap::new(),
                unlinked: Vec::new(),
                drained: [false; 2],
                later: Vec::new(),
                most: SPARE,
                linked: 0,
                next_id: 0,
            }),
        };
        Registry {
            heads: pointers(groups * lists),
            lists,
            groups: (0..groups).map(group).collect(),
        }
    }

    /// How many rows of a group are taken.
    pub(crate) fn alive(&self, group: usize) -> usize {
        // Relaxed: a figure.
        self.groups[group].alive.load(Ordering::Relaxed)
    }

    /// A row of one's own in this list of the group; `None` when [`MAX_ROWS`] are taken.
    pub(crate) fn take(this: &Arc<Self>, group: usize, list: usize) -> Option<Row<R, N>> {
        assert!(list < this.lists);
        let (list, group) = (group * this.lists + list, &this.groups[group]);
        let mut blocks = group.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: only written under the mutex.
        let alive = group.alive.load(Ordering::Relaxed);
        if alive >= MAX_ROWS {
            return None;
        }
        let block = match blocks.with_free_row(list) {
            Some(block) => block,
            None => this.link(list, &mut blocks),
        };
        // SAFETY: linked, and unlinked only under the mutex.
        let own = unsafe { block.as_ref() };
        // Relaxed, here and in the store: only written under the mutex. A walker that must see the
        // bit sees it by the fences: see the module.
        let taken = own.taken.load(Ordering::Relaxed);
        let at = taken.trailing_ones() as usize;
        let taken = taken | 1 << at;
        own.taken.store(taken, Ordering::Relaxed);
        match taken.count_ones() as usize == N {
            true => blocks.free.remove(&(own.list, own.id)),
            false => blocks.free.insert((own.list, own.id), block),
        };
        group.alive.store(alive + 1, Ordering::Relaxed);
        let freed = this.collect(group, &mut blocks);
        drop(blocks);
        drop(freed);
        Some(Row {
            registry: this.clone(),
            block,
            at,
        })
    }

    /// Puts a new block in front of a list.
    fn link(&self, list: usize, blocks: &mut Blocks<R, N>) -> NonNull<Block<R, N>> {
        let head = &self.heads[list];
        // Relaxed: only written under the mutex; so are `next` and `prev`.
        let first = head.load(Ordering::Relaxed);
        let block = NonNull::from(Box::leak(Box::new(Block {
            next: AtomicPtr::new(first),
            taken: AtomicU64::new(0),
            rows: UnsafeCell::new(std::array::from_fn(|_| R::default())),
            prev: AtomicPtr::new(std::ptr::null_mut()),
            list,
            id: blocks.next_id,
        })));
        // SAFETY: linked, and unlinked only under the mutex.
        if let Some(first) = unsafe { first.as_ref() } {
            first.prev.store(block.as_ptr(), Ordering::Relaxed);
        }
        // Release: a walker that finds the block finds what is in it. PAIR: `Walk::rows`.
        head.store(block.as_ptr(), Ordering::Release);
        blocks.next_id += 1;
        blocks.linked += 1;
        block
    }
}

impl<R, const N: usize> Registry<R, N> {
    /// Whether a list keeps its last block when no row of it is taken: those of several rows, of
    /// which there are few lists.
    const KEEPS_LAST: bool = N > 1;

    /// Takes a row back.
    fn give_back(&self, block: NonNull<Block<R, N>>, at: usize) {
        // SAFETY: it has a taken row.
        let own = unsafe { block.as_ref() };
        let group = &self.groups[own.list / self.lists];
        let key = (own.list, own.id);
        let mut blocks = group.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: only written under the mutex.
        let taken = own.taken.load(Ordering::Relaxed) & !(1 << at);
        // Release: a walker that passes over the row comes after all that its owner did. PAIR:
        // `Walk::rows`.
        own.taken.store(taken, Ordering::Release);
        let alive = group.alive.load(Ordering::Relaxed);
        group.alive.store(alive - 1, Ordering::Relaxed);
        if taken != 0 || Self::KEEPS_LAST && self.is_last(own) {
            blocks.free.insert(key, block);
        } else {
            blocks.free.remove(&key);
            match blocks.may_unlink() {
                true => self.unlink(block, &mut blocks),
                false => drop(blocks.idle.insert(key, block)),
            }
        }
        let freed = self.collect(group, &mut blocks);
        drop(blocks);
        drop(freed);
    }

    /// Whether its list has no other block. Under the mutex.
    fn is_last(&self, block: &Block<R, N>) -> bool {
        // Relaxed: only written under the mutex.
        let [prev, next] = [&block.prev, &block.next].map(|link| link.load(Ordering::Relaxed));
        prev.is_null() && next.is_null()
    }

    /// Takes a block out of its list.
    fn unlink(&self, block: NonNull<Block<R, N>>, blocks: &mut Blocks<R, N>) {
        // SAFETY: linked, and freed only after it was unlinked.
        let own = unsafe { block.as_ref() };
        // Relaxed: only written under the mutex; `next` stays, for those who stand here.
        let prev = own.prev.load(Ordering::Relaxed);
        let next = own.next.load(Ordering::Relaxed);
        // SAFETY: neighbours are linked.
        let [newer, older] = [prev, next].map(|link| unsafe { link.as_ref() });
        let link = newer.map_or(&self.heads[own.list], |newer| &newer.next);
        // Release: as in `link`. A walker that does not find the block comes after all that owners
        // of its rows did.
        link.store(next, Ordering::Release);
        if let Some(older) = older {
            older.prev.store(prev, Ordering::Relaxed);
        }
        blocks.linked -= 1;
        blocks.later.push(block);
    }

    /// Unlinks what is idle, as far as that may be, and gives the blocks that nobody can stand at
    /// any more: the caller drops them without the mutex.
    fn collect(&self, group: &Group<R, N>, blocks: &mut Blocks<R, N>) -> Vec<Box<Block<R, N>>> {
        let mut freed = Vec::new();
        loop {
            while blocks.may_unlink()
                && let Some((_, block)) = blocks.idle.pop_first()
            {
                self.unlink(block, blocks);
            }
            if blocks.unlinked.is_empty() {
                blocks.unlinked = std::mem::take(&mut blocks.later);
                if blocks.unlinked.is_empty() {
                    return freed;
                }
                blocks.drained = [false; 2];
                blocks.most = blocks.linked + blocks.unlinked.len() + SPARE;
                // SeqCst: PAIR: the fence in `enter`. See the module.
                fence(Ordering::SeqCst);
            }
            for (drained, walkers) in blocks.drained.iter_mut().zip(&group.walkers) {
                // Acquire: what those did that left happens before the blocks are freed. PAIR:
                // `Walk::drop`.
                *drained = *drained || walkers.load(Ordering::Acquire) == 0;
            }
            if blocks.drained != [true; 2] {
                if let Some(empty) = blocks.drained.iter().position(|&drained| drained) {
                    // Relaxed: who still counts in the other one delays the freeing, and no more.
                    group.entrance.store(empty, Ordering::Relaxed);
                }
                return freed;
            }
            for block in blocks.unlinked.drain(..) {
                // SAFETY: unlinked before the fence, no row taken, and each counter seen at 0 after
                // it.
                freed.push(unsafe { Block::into_box(block) });
            }
            blocks.unlinked = Vec::new();
        }
    }
}

impl<R, const N: usize> Blocks<R, N> {
    /// A block of this list with a free row; one that is in use, if there is one.
    fn with_free_row(&mut self, list: usize) -> Option<NonNull<Block<R, N>>> {
        let of_list = (list, 0)..=(list, u64::MAX);
        if let Some((_, block)) = self.free.range(of_list.clone()).next() {
            return Some(*block);
        }
        let (&key, _) = self.idle.range(of_list).next()?;
        self.idle.remove(&key)
    }

    /// Whether one more block may wait to be freed.
    fn may_unlink(&self) -> bool {
        self.unlinked.len() + self.later.len() < self.most
    }
}

impl<R, const N: usize> Drop for Registry<R, N> {
    fn drop(&mut self) {
        for group in &mut self.groups {
            let blocks = group.blocks.get_mut();
            let blocks = blocks.unwrap_or_else(PoisonError::into_inner);
            // Each row holds the registry: none is taken.
            let linked = blocks.free.values().chain(blocks.idle.values());
            let unlinked = blocks.unlinked.iter().chain(&blocks.later);
            for &block in linked.chain(unlinked) {
                // SAFETY: `&mut self` is alone, and each block is in one of the four.
                drop(unsafe { Block::into_box(block) });
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
