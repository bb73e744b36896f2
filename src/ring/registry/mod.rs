//! A registry: rows that walkers find without a lock, while owners take rows and give them back.
//!
//! A row belongs to its [`Row`], which gives it back when it is dropped. Rows lie in blocks of `N`;
//! the blocks with a taken row are linked in a list, the newest first. Taking a row and giving it
//! back lock a mutex that no publisher and no reader of frames takes. A walk steps over the linked
//! blocks, so it costs what is alive, and not what once was. A block is unlinked when its last row
//! is given back, and its memory is freed when no walker can stand at it any more. Nobody waits for
//! that: the next thread that takes or gives back a row looks again.
//!
//! # What a walk sees
//! ```text
//! owner (take, then use)                walker (enter, then rows)
//!   link the block        E13: release    count the walker
//!   set the row's bit                     what the caller stores before
//!   store into the row                    fence(SeqCst)
//!   fence(SeqCst)                         load the list         E13: acquire
//!   load what the caller stored           load the bits, the row
//! ```
//! If the owner's fence comes first, the walker finds the row and what is in it. If the walker's
//! comes first, the owner sees what the walker's caller stored before. The two fences are those of
//! the protocol that the rows are for, which also says what both sides store and load: E5 for pins
//! (`lane/pins.rs`), E12 for waiters (`wait/waiters.rs`).
//!
//! New blocks go to the front of a list, and the order of the others never changes. So from a block
//! where a walker stands, linked or not, the list leads to each block after it that was linked all
//! along: a walk misses no row that was taken before it began and still is when it ends.
//!
//! # When memory is freed
//! ```text
//! remover                               walker
//!   unlink the block      E13: release    count the walker
//!   fence(SeqCst)         E16             fence(SeqCst)         E16
//!   load both counters    E15: acquire    load the list         E13: acquire
//!                                         leave the counter     E15: release
//! ```
//! If the walker's fence comes first, the remover sees it counted until it leaves. If the remover's
//! comes first, the walker does not find the block. So each walker that can stand at the block is
//! in a counter that is not 0 (`walkers.rs`).
//!
//! A walker that does not move, suspended or in a foreign waker, holds up the freeing of blocks.
//! Meanwhile no more blocks are unlinked than were linked when that began, and [`SPARE`]. Others
//! stay in their lists without a taken row, and the next owner there takes them again. So the
//! memory held is bounded by what was in use at once.

mod block;
mod walk;
mod walkers;

use self::block::Block;
pub(crate) use self::walk::Walk;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use self::walk::steps;
use self::walkers::Walkers;
use crate::ring::slot::{Array, pointers};
use crate::sync::{
    Arc, AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering, UnsafeCell, fence, lock,
};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::PoisonError;

/// The most rows of a group that can be taken at once.
pub(crate) const MAX_ROWS: usize = 1 << 30;

/// How many blocks may wait to be freed beside as many as there are.
const SPARE: usize = 64;

/// Rows that walkers find without a lock, in lists, in groups: a walk goes through lists of one
/// group.
pub(crate) struct Registry<R, const N: usize> {
    /// The newest block of each list, group by group. Stored under the mutex of the group.
    heads: Array<AtomicPtr<Block<R, N>>>,
    /// How many lists each group has. Never changes.
    lists: usize,
    groups: Box<[Group<R, N>]>,
}

/// What the lists of a group have in common.
struct Group<R, const N: usize> {
    /// The walkers in the lists of this group.
    walkers: Walkers,
    /// How many rows are taken. Stored under the mutex.
    alive: AtomicUsize,
    /// What the mutex guards, beside the links of the blocks.
    blocks: Mutex<Blocks<R, N>>,
}

/// The blocks of a group, by what becomes of them. Each block is `free`, `idle`, `unlinked` or
/// `later`; or linked with all rows taken, and then in none of them.
struct Blocks<R, const N: usize> {
    /// Linked, with a row that is not taken.
    free: Linked<R, N>,
    /// Linked without a taken row, to be unlinked as soon as [`may_unlink`](Self::may_unlink) says
    /// so.
    idle: Linked<R, N>,
    /// Unlinked before the last fence.
    unlinked: Vec<NonNull<Block<R, N>>>,
    /// Which counters of walkers were seen at 0 since that fence.
    drained: [bool; 2],
    /// Unlinked since that fence.
    later: Vec<NonNull<Block<R, N>>>,
    /// How many may be unlinked before some are freed.
    most: usize,
    /// How many are linked.
    linked: usize,
    /// What the next block gets; only rises.
    next_id: u64,
}

/// Blocks by their list and their id.
type Linked<R, const N: usize> = BTreeMap<(usize, u64), NonNull<Block<R, N>>>;

// SAFETY: rows are lent to several threads, and dropped by the thread that frees them. The pointers
// are to blocks that the registry owns; all but walkers and owners of rows use them under the
// mutex.
unsafe impl<R: Send + Sync, const N: usize> Send for Registry<R, N> {}
// SAFETY: as above.
unsafe impl<R: Send + Sync, const N: usize> Sync for Registry<R, N> {}

impl<R: Default, const N: usize> Registry<R, N> {
    /// `groups` groups of `lists` lists, all empty.
    pub(crate) fn new(groups: usize, lists: usize) -> Self {
        const { assert!(N >= 1 && N <= 64) };
        let group = |_| Group {
            walkers: Walkers::default(),
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

    /// Takes a row in this list of the group; `None` if [`MAX_ROWS`] are taken. Its content is that
    /// of the last owner, or the default.
    pub(crate) fn take(this: &Arc<Self>, group: usize, list: usize) -> Option<Row<R, N>> {
        assert!(list < this.lists);
        let (list, group) = (group * this.lists + list, &this.groups[group]);
        let mut blocks = lock(&group.blocks);
        // Relaxed: only stored under the mutex.
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
        // Relaxed: only stored under the mutex. A walker that must see the new bit sees it by the
        // fences: see "What a walk sees".
        let taken = own.taken.load(Ordering::Relaxed);
        let at = taken.trailing_ones() as usize;
        let taken = taken | 1 << at;
        // E14: release. Rows that were given back before are passed over by this value, too.
        own.taken.store(taken, Ordering::Release);
        if taken.count_ones() as usize == N {
            blocks.free.remove(&(own.list, own.id));
        } else {
            blocks.free.insert((own.list, own.id), block);
        }
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
        // Relaxed: only stored under the mutex; so are `next` and `prev`.
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
        // E13: release. A walker that finds the block finds what is in it.
        head.store(block.as_ptr(), Ordering::Release);
        blocks.next_id += 1;
        blocks.linked += 1;
        block
    }
}

impl<R, const N: usize> Registry<R, N> {
    /// Whether a list keeps its last block when no row of it is taken: true for blocks of several
    /// rows, of which there are few lists.
    const KEEPS_LAST: bool = N > 1;

    /// Takes a row back.
    fn give_back(&self, block: NonNull<Block<R, N>>, at: usize) {
        // SAFETY: it has a taken row.
        let own = unsafe { block.as_ref() };
        let group = &self.groups[own.list / self.lists];
        let key = (own.list, own.id);
        let mut blocks = lock(&group.blocks);
        // Relaxed: only stored under the mutex.
        let taken = own.taken.load(Ordering::Relaxed) & !(1 << at);
        // E14: release. A walker that passes over the row comes after all that its owner did.
        own.taken.store(taken, Ordering::Release);
        // Relaxed, both: only stored under the mutex.
        let alive = group.alive.load(Ordering::Relaxed);
        group.alive.store(alive - 1, Ordering::Relaxed);
        if taken != 0 || Self::KEEPS_LAST && self.is_last(own) {
            blocks.free.insert(key, block);
        } else {
            blocks.free.remove(&key);
            if blocks.may_unlink() {
                self.unlink(block, &mut blocks);
            } else {
                blocks.idle.insert(key, block);
            }
        }
        let freed = self.collect(group, &mut blocks);
        drop(blocks);
        drop(freed);
    }

    /// Whether the list of `block` has no other block. Called under the mutex.
    fn is_last(&self, block: &Block<R, N>) -> bool {
        // Relaxed: only stored under the mutex.
        let [prev, next] = [&block.prev, &block.next].map(|link| link.load(Ordering::Relaxed));
        prev.is_null() && next.is_null()
    }

    /// Takes a block out of its list. Its own link stays, for the walkers that stand at it.
    fn unlink(&self, block: NonNull<Block<R, N>>, blocks: &mut Blocks<R, N>) {
        // SAFETY: linked, and freed only after it was unlinked.
        let own = unsafe { block.as_ref() };
        // Relaxed: only stored under the mutex.
        let prev = own.prev.load(Ordering::Relaxed);
        let next = own.next.load(Ordering::Relaxed);
        // SAFETY: neighbours are linked.
        let [newer, older] = [prev, next].map(|link| unsafe { link.as_ref() });
        let link = newer.map_or(&self.heads[own.list], |newer| &newer.next);
        // E13: release. A walker that does not find the block comes after all that owners of its
        // rows did.
        link.store(next, Ordering::Release);
        if let Some(older) = older {
            // Relaxed: only loaded under the mutex.
            older.prev.store(prev, Ordering::Relaxed);
        }
        blocks.linked -= 1;
        blocks.later.push(block);
    }

    /// Unlinks idle blocks, as many as may be, and returns the blocks at which no walker can stand
    /// any more. The caller drops them after it has unlocked the mutex.
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
                // E16: SeqCst fence, between unlinking and the counters.
                fence(Ordering::SeqCst);
            }
            if !group.walkers.drain(&mut blocks.drained) {
                return freed;
            }
            for block in blocks.unlinked.drain(..) {
                // SAFETY: unlinked before the fence, no row is taken, and each counter was seen at
                // 0 after the fence.
                freed.push(unsafe { Block::into_box(block) });
            }
            blocks.unlinked = Vec::new();
        }
    }
}

impl<R, const N: usize> Blocks<R, N> {
    /// A block of this list with a row that is not taken; one that is in use, if there is one.
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
            // Each row holds the registry, so none is taken, and each block is in one of the four.
            let linked = blocks.free.values().chain(blocks.idle.values());
            let unlinked = blocks.unlinked.iter().chain(&blocks.later);
            for &block in linked.chain(unlinked) {
                // SAFETY: `&mut self` is alone, and a block is in one of the four only.
                drop(unsafe { Block::into_box(block) });
            }
        }
    }
}

/// The right to a row, which is given back when this is dropped. By then its content must say that
/// the row is not in use: walkers may still look at it, and the next owner starts from it.
pub(crate) struct Row<R, const N: usize> {
    registry: Arc<Registry<R, N>>,
    /// The block that it is in; not freed while the row is taken.
    block: NonNull<Block<R, N>>,
    /// Its position in the block, below `N`.
    at: usize,
}

// SAFETY: it lends `&R`, and the block lives as long as it does.
unsafe impl<R: Send + Sync, const N: usize> Send for Row<R, N> {}
// SAFETY: as above.
unsafe impl<R: Send + Sync, const N: usize> Sync for Row<R, N> {}

impl<R, const N: usize> Deref for Row<R, N> {
    type Target = R;

    #[inline(always)]
    fn deref(&self) -> &R {
        // SAFETY: a block with a taken row is not freed.
        unsafe { Block::row(self.block, self.at) }
    }
}

impl<R, const N: usize> std::fmt::Debug for Row<R, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

impl<R, const N: usize> Drop for Row<R, N> {
    fn drop(&mut self) {
        self.registry.give_back(self.block, self.at);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
