//! A flood: while a reader reads, another processor publishes on. Then the reader takes the lines over that
//! it has read, and publishers find them sooner.
//!
//! A publisher goes round the ring. The line that it comes to is the one that it wrote a lap ago; its cache may
//! still have it, and a reader's has a copy. Then it must ask for the line when it stores, and its next locked
//! instruction waits until the line has come: a transfer each eight frames. It cannot ask ahead, since what a
//! cache has, even if shared, is not fetched. A line that the reader owns it does not have; so its fetches,
//! those of the processor and ours, get it in time. Measured on AMD processors (PERF.md); where the reason does not hold,
//! a reader in a flood spends a locked instruction a line.
//!
//! Who publishes and reads in turns on one processor would only lose by it. So a reader looks, when there was
//! much to read, whether frames came while it read; if so it takes lines over for some rounds, then looks again.

use crate::sync::TAKES_OVER;

/// How many frames are much, in a round.
const MUCH: u64 = 64;
/// How many rounds it takes lines over without a look.
const ROUNDS: u32 = 16;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flood {
    rounds: u32,
    /// Whether the last round gave much.
    much: bool,
}

impl Flood {
    /// Whether frames came lately while a round read.
    #[inline(always)]
    pub(super) fn is_on(&self) -> bool {
        self.rounds > 0
    }

    /// Whether [`after`](Self::after) has to know if frames come while this round reads.
    #[inline(always)]
    pub(super) fn asks(&self) -> bool {
        TAKES_OVER && self.much && !self.is_on()
    }

    /// To be called after a round that gave so many frames; `came` says whether others came meanwhile, if it
    /// was asked for. Whether to take over what was read.
    #[inline(always)]
    pub(super) fn after(&mut self, given: u64, came: bool) -> bool {
        self.much = given >= MUCH;
        if came {
            self.rounds = ROUNDS;
        }
        let takes = self.is_on();
        self.rounds -= u32::from(takes);
        takes
    }
}

#[cfg(all(test, target_arch = "x86_64", not(any(loom, shuttle, miri))))]
mod tests {
    use super::*;

    #[test]
    fn it_asks_after_much_and_takes_over_while_more_comes() {
        let mut flood = Flood::default();
        assert!(!flood.asks());
        assert!(!flood.after(MUCH - 1, false));
        assert!(!flood.asks());
        assert!(!flood.after(MUCH, false));
        for _ in 0..3 {
            assert!(flood.asks());
            assert!(flood.after(MUCH, true));
            for _ in 1..ROUNDS {
                assert!(!flood.asks());
                assert!(flood.after(MUCH, false));
            }
        }
        assert!(flood.asks());
        assert!(!flood.after(MUCH, false));
        assert!(flood.asks());
        assert!(!flood.after(1, false));
        assert!(!flood.asks());
    }
}
