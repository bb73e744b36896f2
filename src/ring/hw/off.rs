//! Stands in for this module in models and where it is switched off: does nothing.

use crate::sync::AtomicU64;

/// How many frames ahead of a reader are enough.
pub(crate) const ENOUGH_AHEAD: u64 = 0;

pub(crate) fn prefetch<T>(_: *const T) {}

pub(crate) fn prefetch_for_write<T>(_: &[T], _: usize) {}

pub(crate) fn acquire_lines<T>(_: &[T]) {}

/// None: each word is looked at by itself.
pub(crate) fn unwanted_eights<const LOW: u32>(_: &[AtomicU64], _: u64, _: u64) -> usize {
    0
}

pub(crate) fn processors() -> usize {
    usize::MAX
}

/// Never looks for contention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contention;

impl Contention {
    pub(crate) fn new(_: bool) -> Self {
        Contention
    }

    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn needs_activity(&self) -> bool {
        false
    }

    pub(crate) fn after(&mut self, _: u64, _: bool) -> bool {
        false
    }
}

/// Never pauses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacing;

impl Pacing {
    pub(crate) fn after(
        &mut self,
        _: u64,
        _: u64,
        _: bool,
        _: impl Fn() -> bool,
        _: impl FnMut() -> u64,
    ) {
    }
}
