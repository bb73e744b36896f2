//! Staying away: a reader that keeps up with a flood leaves the lines alone that are being written.
//!
//! Who has read all that there is and looks again at once takes the line from the publisher's cache that it
//! is writing to, for each frame; and the processor, which sees a reader go along an array, fetches the next
//! lines as well, those that the publisher is about to write. So after a batch the reader looks how many frames
//! there are ahead of it, and if that is less than [`FAR`], stays away for a moment until it is. It does so only
//! while that pays: as soon as fewer frames come than one for some pauses, it goes on with what there is, and
//! the next hundred batches are ended at once. A frame that comes alone, or in a burst, is not held back.

use crate::sync::pause;

/// How many frames should be ahead.
pub(super) const FAR: u64 = 1_024;
/// How many pauses pass before the second look; as many as so far before each further one.
const LEAST: u64 = 8;
/// How many pauses it stays away at most.
const MOST: u64 = 512;
/// It stays away only while so many pauses bring a frame, at the least.
const PAUSES_A_FRAME: u64 = 8;
/// How many batches end at once after staying away brought too little.
const REST: u32 = 32;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Away {
    rest: u32,
}

impl Away {
    /// To be called when a batch ended, if `far` frames ahead are enough. `ahead` says how many there are.
    #[inline(always)]
    pub(super) fn after(&mut self, far: u64, ahead: impl FnMut() -> u64) {
        if self.rest > 0 {
            self.rest -= 1;
        } else {
            self.stay(far, ahead);
        }
    }

    #[inline(never)]
    fn stay(&mut self, far: u64, mut ahead: impl FnMut() -> u64) {
        let first = ahead();
        let (mut now, mut stayed) = (first, 0);
        while now < far && stayed < MOST {
            let more = stayed.max(LEAST);
            (0..more).for_each(|_| pause());
            stayed += more;
            now = ahead();
            if now.saturating_sub(first) * PAUSES_A_FRAME < stayed {
                self.rest = REST;
                return;
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// How often it looks after a batch, if so many frames are ahead then and so many come between looks.
    fn looks(away: &mut Away, ahead: u64, coming: impl Fn(u64) -> u64) -> u64 {
        let mut looks = 0;
        away.after(FAR, || {
            looks += 1;
            ahead + coming(looks - 1)
        });
        looks
    }

    #[test]
    fn it_stays_away_while_many_come_but_not_for_long() {
        let mut away = Away::default();
        // Far enough at once, or soon.
        assert_eq!(looks(&mut away, FAR, |_| 0), 1);
        assert_eq!(looks(&mut away, 0, |look| look * FAR / 3), 4);
        // 8, 16, 32, 64, 128, 256 and 512 pauses.
        assert_eq!(looks(&mut away, 0, |look| look * 64), 8);
        assert_eq!(looks(&mut away, 0, |look| look * 64), 8);
    }

    #[test]
    fn it_does_not_stay_away_when_few_come() {
        let mut away = Away::default();
        assert_eq!(looks(&mut away, 500, |_| 0), 2);
        assert!((0..REST).all(|_| looks(&mut away, 0, |_| FAR) == 0));
        // As many as there should be after the second look, and then no more.
        assert_eq!(looks(&mut away, 0, |look| look.min(1)), 3);
        assert!((0..REST).all(|_| looks(&mut away, 0, |_| FAR) == 0));
        assert_eq!(looks(&mut away, 0, |_| FAR), 1);
    }
}
