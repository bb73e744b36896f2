//! Staying away: a reader that keeps up with a flood leaves the line alone that is being written.
//!
//! Who has read all that there is and looks again at once takes the line from the publisher's cache that it
//! is writing to, for each frame. So after a short batch the reader may stay away for a moment, up to one
//! or two microseconds, and then finds many frames for the price of one. It does so only while that pays: as
//! soon as nothing came meanwhile, nobody is publishing right now, and the next hundred short batches are
//! ended at once. A frame that comes alone, or in a burst, is not held back.

use crate::sync::pause;

/// A batch of so many frames is not short: the reader is behind.
const SHORT: usize = 64;
/// How many pauses it stays away at first, and at most.
const LEAST: u32 = 8;
const MOST: u32 = 128;
/// It stays away longer if so many pauses bring a frame, at the least.
const PAUSES_A_FRAME: u32 = 8;
/// How many short batches end at once after staying away brought nothing.
const REST: u32 = 128;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Away {
    pauses: u32,
    rest: u32,
}

impl Away {
    /// To be called when a batch of `count` frames ended because there were no more; `came` says
    /// whether there are now.
    #[inline(always)]
    pub(super) fn after(&mut self, count: usize, came: impl FnOnce() -> bool) {
        if count >= SHORT {
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        self.stay(count as u32, came);
    }

    #[cold]
    fn stay(&mut self, count: u32, came: impl FnOnce() -> bool) {
        self.pauses = match self.pauses {
            0 => LEAST,
            pauses if count * PAUSES_A_FRAME >= pauses => MOST.min(2 * pauses),
            pauses => pauses / 2,
        };
        (0..self.pauses).for_each(|_| pause());
        if self.pauses < LEAST || !came() {
            *self = Away {
                pauses: 0,
                rest: REST,
            };
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// What `after` does for these batches: how long it stays away after each.
    fn pauses(away: &mut Away, batches: impl IntoIterator<Item = (usize, bool)>) -> Vec<u32> {
        let stay = |(count, came)| {
            let mut asked = false;
            away.after(count, || {
                asked = true;
                came
            });
            if asked { away.pauses } else { 0 }
        };
        batches.into_iter().map(stay).collect()
    }

    #[test]
    fn it_stays_away_longer_while_frames_come() {
        let flood = [
            (1, true),
            (2, true),
            (9, true),
            (20, true),
            (40, true),
            (63, true),
        ];
        let mut away = Away::default();
        assert_eq!(pauses(&mut away, flood), [8, 16, 32, 64, 128, 128]);
        // Behind: there is no reason to wait, and none to forget.
        assert_eq!(pauses(&mut away, [(64, true), (20, true)]), [0, 128]);
        // Fewer come.
        assert_eq!(pauses(&mut away, [(2, true), (2, true)]), [64, 32]);
    }

    #[test]
    fn it_does_not_stay_away_when_nothing_comes() {
        let mut away = Away::default();
        pauses(&mut away, [(1, false)]);
        let single = pauses(&mut away, (0..REST).map(|_| (1, true)));
        assert!(single.iter().all(|&pauses| pauses == 0));
        assert_eq!(pauses(&mut away, [(1, true)]), [LEAST]);
    }
}
