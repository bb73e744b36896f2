//! Rows that were given back are neither walked over nor kept, whichever rows stay, and whoever
//! walks meanwhile.

use super::*;
use std::cell::Cell;

thread_local! {
    /// How many rows exist, taken or not.
    static ROWS: Cell<usize> = const { Cell::new(0) };
}

/// A row that counts itself while it exists.
struct Probe(AtomicU64);

impl Default for Probe {
    fn default() -> Self {
        ROWS.set(ROWS.get() + 1);
        Probe(AtomicU64::new(0))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        ROWS.set(ROWS.get() - 1);
    }
}

type Probes<const N: usize> = Arc<Registry<Probe, N>>;

fn take<const N: usize>(registry: &Probes<N>, list: usize, mark: u64) -> Row<Probe, N> {
    let row = Registry::take(registry, 0, list).unwrap();
    row.0.store(mark, Ordering::Relaxed);
    row
}

/// The marks of the rows that a walk finds, ascending.
fn found<const N: usize>(registry: &Probes<N>, list: usize) -> Vec<u64> {
    let walk = registry.enter(0, || ());
    let rows = walk.rows(list).map(|row| row.0.load(Ordering::Relaxed));
    let mut found: Vec<_> = rows.collect();
    found.sort_unstable();
    found
}

/// How many rows there are in a peak. Miri takes a thousand times as long for each.
const MANY: usize = if cfg!(miri) { 30 } else { 1_000 };

/// Takes rows and gives back all but one, then that one too.
fn come_and_go<const N: usize>() {
    let registry: Probes<N> = Arc::new(Registry::new(1, 3));
    for peak in [1, 2, N, N + 1, MANY] {
        for survivor in [0, peak / 2, peak - 1] {
            let mut rows: Vec<_> = (0..peak)
                .map(|mark| take(&registry, 1, mark as u64))
                .collect();
            assert!(found(&registry, 1).into_iter().eq(0..peak as u64));
            assert!(found(&registry, 0).is_empty());
            assert_eq!(registry.alive(0), peak);
            let last = rows.swap_remove(survivor);
            drop(rows);
            assert_eq!(found(&registry, 1), [survivor as u64]);
            assert_eq!(steps::of(|| drop(found(&registry, 1))), 1);
            assert_eq!(
                (registry.alive(0), ROWS.get()),
                (1, N),
                "peak {peak}, {survivor}"
            );
            drop(last);
            let kept = if N > 1 { N } else { 0 };
            assert_eq!((registry.alive(0), ROWS.get()), (0, kept));
        }
    }
    drop(registry);
    assert_eq!(ROWS.get(), 0);
}

#[test]
fn of_a_peak_only_the_survivor_stays_first_middle_or_last() {
    come_and_go::<1>();
    come_and_go::<8>();
}

#[test]
fn a_walk_sees_all_that_stay_while_others_come_and_go() {
    let registry: Probes<2> = Arc::new(Registry::new(1, 1));
    let mut rows: Vec<_> = (0..50).map(|mark| Some(take(&registry, 0, mark))).collect();
    let walk = registry.enter(0, || ());
    let mut seen = Vec::new();
    for row in walk.rows(0) {
        let mark = row.0.load(Ordering::Relaxed);
        seen.push(mark);
        // The one where it stands, its neighbours, and one that it passed.
        for gone in [mark.wrapping_sub(1), mark, mark + 1] {
            if gone % 5 != 0
                && let Some(row) = rows.get_mut(gone as usize)
            {
                drop(row.take());
            }
        }
        rows.push(Some(take(&registry, 0, 1_000 + mark)));
    }
    let stayed: Vec<_> = (0..50).filter(|mark| mark % 5 == 0).collect();
    assert!(stayed.iter().all(|mark| seen.contains(mark)), "{seen:?}");
    drop(walk);
    assert!(found(&registry, 0).starts_with(&stayed));
}

#[test]
fn a_block_under_a_walker_is_freed_after_it_left() {
    let registry: Probes<1> = Arc::new(Registry::new(1, 1));
    let rows: Vec<_> = (0..100).map(|mark| take(&registry, 0, mark)).collect();
    let walk = registry.enter(0, || ());
    let mut standing = walk.rows(0);
    assert_eq!(standing.next().unwrap().0.load(Ordering::Relaxed), 99);
    drop(rows);
    // Another walk does not find them any more.
    assert!(found(&registry, 0).is_empty());
    assert_eq!(ROWS.get(), 100);
    assert_eq!(standing.count(), 0, "they were given back");
    drop(walk);
    drop(take(&registry, 0, 0));
    assert_eq!(ROWS.get(), 0);
}

#[test]
fn memory_is_freed_although_walkers_never_cease() {
    let registry: Probes<1> = Arc::new(Registry::new(1, 1));
    let mut walk = registry.enter(0, || ());
    for mark in 0..MANY as u64 {
        drop(take(&registry, 0, mark));
        // The next one is inside before this one leaves.
        walk = registry.enter(0, || ());
    }
    assert!(ROWS.get() < 10, "{}", ROWS.get());
    drop(walk);
}

#[test]
fn a_walker_that_does_not_move_holds_no_more_than_a_bound() {
    let registry: Probes<1> = Arc::new(Registry::new(1, 2));
    let stays = take(&registry, 0, 7);
    let walk = registry.enter(0, || ());
    for mark in 0..10 * MANY as u64 {
        drop(take(&registry, 0, mark));
        drop(take(&registry, 1, mark));
    }
    assert!(ROWS.get() <= 2 * SPARE, "{}", ROWS.get());
    assert!(steps::of(|| drop(found(&registry, 0))) <= 2);
    drop(walk);
    drop(take(&registry, 0, 0));
    assert_eq!((ROWS.get(), found(&registry, 0)), (1, vec![7]));
    drop(stays);
}

#[test]
fn groups_have_nothing_in_common() {
    let registry: Arc<Registry<Probe, 8>> = Arc::new(Registry::new(3, 2));
    let rows: Vec<_> = (0..3)
        .flat_map(|group| [0, 1].map(|list| (group, list)))
        .map(|(group, list)| Registry::take(&registry, group, list).unwrap())
        .collect();
    for group in 0..3 {
        let walk = registry.enter(group, || ());
        for list in 0..2 {
            let own = &*rows[group * 2 + list];
            let mut found = walk.rows(list);
            assert!(found.next().is_some_and(|row| std::ptr::eq(row, own)));
            assert!(found.next().is_none());
        }
        assert_eq!(registry.alive(group), 2);
    }
}
