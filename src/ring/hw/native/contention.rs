//! Contention: a reader and a publisher on two processors use the same cache lines at once. The
//! reader then acquires the lines that it has read, so that publishers need not wait for them.
//!
//! A publisher that has gone round the ring comes to a line that it wrote a lap ago. Its cache may
//! still have that line, and a reader's cache has a copy. Before its store, the copy must be taken
//! away, and its next locked instruction waits for that: one transfer for every eight frames. A
//! prefetch does not help, since a processor does not fetch a line that it already shares. But a
//! line that the reader has acquired is no longer in the publisher's cache. So the prefetches, the
//! processor's and ours, bring it in time.
//!
//! This was measured on AMD processors (see docs/perf). On a processor that works otherwise, a
//! reader under contention spends one locked instruction a line for nothing. A thread that
//! publishes and reads in turns would spend it on any processor. So a reader that was given many
//! frames looks if others were published while it read. If so, it acquires lines for some rounds
//! and then looks again.

use super::lines::ACQUIRES_LINES;

/// From this many frames on, a round gave many.
const MANY: u64 = 64;
/// For how many rounds a reader acquires lines before it looks again.
const ROUNDS: u32 = 16;

/// Decides for one reader if it acquires the lines that it has read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contention {
    /// Whether the reader ever looks for contention. Never changes.
    looks: bool,
    /// For how many more rounds it acquires lines: 0 to [`ROUNDS`].
    rounds: u32,
    /// Whether the last round gave many frames.
    gave_many: bool,
}

impl Contention {
    /// No contention so far. A reader that filters passes over frames unread, has no lines to
    /// acquire, and never looks: `reads_all` is false for it.
    pub(crate) fn new(reads_all: bool) -> Self {
        Contention {
            looks: ACQUIRES_LINES && reads_all,
            rounds: 0,
            gave_many: false,
        }
    }

    /// Whether frames were published while one of the last rounds read.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.rounds > 0
    }

    /// Whether [`after`](Self::after) has to be told if frames are published while this round
    /// reads.
    #[inline(always)]
    pub(crate) fn needs_activity(&self) -> bool {
        self.looks && self.gave_many && !self.is_on()
    }

    /// Called after a round that gave `given` frames. `published` says if others were published
    /// meanwhile; it counts only if [`needs_activity`](Self::needs_activity) was true. Returns
    /// whether to acquire the lines that were read.
    #[inline(always)]
    pub(crate) fn after(&mut self, given: u64, published: bool) -> bool {
        self.gave_many = given >= MANY;
        if published {
            self.rounds = ROUNDS;
        }
        let acquires = self.is_on();
        self.rounds -= u32::from(acquires);
        acquires
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn it_asks_after_many_frames_and_acquires_lines_while_more_are_published() {
        let mut contention = Contention::new(true);
        assert!(!contention.needs_activity());
        assert!(!contention.after(MANY - 1, false));
        assert!(!contention.needs_activity());
        assert!(!contention.after(MANY, false));
        for _ in 0..3 {
            assert!(contention.needs_activity());
            assert!(contention.after(MANY, true));
            for _ in 1..ROUNDS {
                assert!(!contention.needs_activity());
                assert!(contention.after(MANY, false));
            }
        }
        assert!(contention.needs_activity());
        assert!(!contention.after(MANY, false));
        assert!(contention.needs_activity());
        assert!(!contention.after(1, false));
        assert!(!contention.needs_activity());
    }

    #[test]
    fn it_never_asks_for_a_reader_that_filters() {
        let mut contention = Contention::new(false);
        assert!(!contention.after(MANY, false));
        assert!(!contention.needs_activity());
    }
}
