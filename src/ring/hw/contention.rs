//! A contention: while a reader reads, another processor publishes. Then the reader takes over the lines
//! that it has read, so that publishers need not wait for them.
//!
//! A publisher goes round the ring. It comes to a line that it wrote a lap ago: its cache may still
//! have that, and a reader's has a copy. To store, it must first get the copy taken away, and its
//! next locked instruction waits for that: a transfer each eight frames. It can't be asked for
//! ahead, since what a cache has, if only shared, is not fetched. But a line that a reader owns the
//! publisher's cache has no more, and so its fetches, the processor's own and ours, bring it in
//! time.
//!
//! Measured on AMD processors (PERF.md, "What was tried"); on one that does otherwise, a reader in
//! a contention spends a locked instruction a line for nothing. Who publishes and reads in turns would
//! do so anywhere. Hence a reader that found much to read looks whether frames came while it read;
//! if so, it takes lines over for some rounds and looks again.

use super::lines::ACQUIRES_LINES;

/// How many frames are much, in a round.
const MUCH: u64 = 64;
/// How many rounds it takes lines over without a look.
const ROUNDS: u32 = 16;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contention {
    looks: bool,
    rounds: u32,
    /// Whether the last round gave much.
    much: bool,
}

impl Contention {
    /// None so far. A reader that passes over frames unread has nothing to take over, and does not
    /// look for one.
    pub(crate) fn new(reads_all: bool) -> Self {
        Contention {
            looks: ACQUIRES_LINES && reads_all,
            rounds: 0,
            much: false,
        }
    }

    /// Whether frames came lately while a round read.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.rounds > 0
    }

    /// Whether [`after`](Self::after) has to know if frames come while this round reads.
    #[inline(always)]
    pub(crate) fn needs_activity(&self) -> bool {
        self.looks && self.much && !self.is_on()
    }

    /// To be called after a round that gave so many frames; `came` says whether others came
    /// meanwhile, if it was asked for. Whether to take over what was read.
    #[inline(always)]
    pub(crate) fn after(&mut self, given: u64, came: bool) -> bool {
        self.much = given >= MUCH;
        if came {
            self.rounds = ROUNDS;
        }
        let takes = self.is_on();
        self.rounds -= u32::from(takes);
        takes
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn it_asks_after_much_and_takes_over_while_more_comes() {
        let mut contention = Contention::new(true);
        assert!(!contention.needs_activity());
        assert!(!contention.after(MUCH - 1, false));
        assert!(!contention.needs_activity());
        assert!(!contention.after(MUCH, false));
        for _ in 0..3 {
            assert!(contention.needs_activity());
            assert!(contention.after(MUCH, true));
            for _ in 1..ROUNDS {
                assert!(!contention.needs_activity());
                assert!(contention.after(MUCH, false));
            }
        }
        assert!(contention.needs_activity());
        assert!(!contention.after(MUCH, false));
        assert!(contention.needs_activity());
        assert!(!contention.after(1, false));
        assert!(!contention.needs_activity());
    }

    #[test]
    fn it_never_asks_for_a_reader_of_some() {
        let mut contention = Contention::new(false);
        assert!(!contention.after(MUCH, false));
        assert!(!contention.needs_activity());
    }
}
