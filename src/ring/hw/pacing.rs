//! Staying away: a reader that keeps up with a flood leaves the lines alone that are being written.
//!
//! Who has read all that there is and looks again at once takes the line from the publisher's cache
//! that it is writing to, for each frame; and the processor, which sees a reader go along an array,
//! fetches the next lines as well, those that the publisher is about to write. So a reader that has
//! come near looks how many frames there are ahead of it after a batch, and stays away for a moment
//! until there are [`ENOUGH_AHEAD`]. It does so only while that pays: as soon as fewer frames come than one
//! in 150 nanoseconds, it goes on with what there is, and the next few batches are ended at once. A
//! frame that comes alone, or in a burst, is not held back. Where there are more readers than
//! processors, it lets others have its own. Who publishes in batches leaves more time between them:
//! a reader that knows of a flood (`flood.rs`) is more patient.

use super::clock::pause;

/// How many frames should be ahead. Half as many are near.
pub(crate) const ENOUGH_AHEAD: u64 = 4_096;
/// How many nanoseconds pass before the second look; as many as so far before each further one.
const LEAST: u64 = 150;
/// How many nanoseconds it stays away at most.
const MOST: u64 = 64 * LEAST;
/// It stays away only while so many nanoseconds bring a frame, at the least.
const NANOS_A_FRAME: u64 = LEAST;
/// In a flood it waits for a batch of frames as long as it would for so many that come one by one.
const PATIENCE: u64 = 8;
/// How many batches end at once after staying away brought too little.
const REST: u32 = 32;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacing {
    rest: u32,
    /// Below which number there were frames at the last look.
    seen: u64,
}

impl Pacing {
    /// To be called when a batch ended before number `next`, if `far` frames ahead are enough.
    /// `numbered` says below which number there are frames, `flooded` whether others came while
    /// this reader read, and `crowded` whether other readers may want this one's processor.
    #[inline(always)]
    pub(crate) fn after(
        &mut self,
        next: u64,
        far: u64,
        flooded: bool,
        crowded: impl Fn() -> bool,
        numbered: impl FnMut() -> u64,
    ) {
        if self.rest > 0 {
            self.rest -= 1;
        } else if self.seen < next + far / 2 {
            let patience = if flooded { PATIENCE } else { 0 };
            self.stay(next + far, patience, crowded, numbered);
        }
    }

    #[inline(never)]
    fn stay(
        &mut self,
        far: u64,
        patience: u64,
        crowded: impl Fn() -> bool,
        mut numbered: impl FnMut() -> u64,
    ) {
        let first = numbered();
        let mut stayed = 0;
        self.seen = first;
        while self.seen < far && stayed < MOST {
            let more = stayed.max(LEAST);
            pause(more, &crowded);
            stayed += more;
            self.seen = numbered();
            if (patience + self.seen.saturating_sub(first)) * NANOS_A_FRAME < stayed {
                self.rest = REST;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it looks after a batch that ended before `next`, if it finds these.
    fn looks(away: &mut Pacing, next: u64, numbered: impl Fn(u64) -> u64) -> u64 {
        looks_in(false, away, next, numbered)
    }

    fn looks_in(flooded: bool, away: &mut Pacing, next: u64, numbered: impl Fn(u64) -> u64) -> u64 {
        let mut looks = 0;
        away.after(
            next,
            ENOUGH_AHEAD,
            flooded,
            || false,
            || {
                looks += 1;
                numbered(looks - 1)
            },
        );
        looks
    }

    #[test]
    fn it_stays_away_while_many_come_but_not_for_long() {
        let mut away = Pacing::default();
        // Far enough at once, and as long as it has not come near.
        assert_eq!(looks(&mut away, 0, |_| 2 * ENOUGH_AHEAD), 1);
        assert_eq!(looks(&mut away, ENOUGH_AHEAD, |_| 0), 0);
        assert_eq!(
            looks(&mut away, 2 * ENOUGH_AHEAD, |look| (6 + look)
                * ENOUGH_AHEAD
                / 3),
            4
        );
        // 150 ns, twice that, and so on.
        let mut away = Pacing::default();
        assert_eq!(looks(&mut away, 0, |look| look * 64), 8);
        assert_eq!(looks(&mut away, 0, |look| look * 64), 8);
    }

    #[test]
    fn in_a_flood_it_waits_a_little_for_the_next_batch() {
        // At once, and after 150, 300, 600, 1,200 and 2,400 ns.
        let mut away = Pacing::default();
        assert_eq!(looks_in(true, &mut away, 0, |_| 0), 6);
        // One that came in time keeps it there for longer than that.
        let mut away = Pacing::default();
        let batch_by = |look| if look < 4 { 0 } else { 64 };
        assert_eq!(looks_in(true, &mut away, 0, batch_by), 8);
    }

    #[test]
    fn it_does_not_stay_away_when_few_come() {
        let mut away = Pacing::default();
        assert_eq!(looks(&mut away, 0, |_| 500), 2);
        assert!((0..REST).all(|_| looks(&mut away, 0, |_| ENOUGH_AHEAD) == 0));
        // As many as there should be after the second look, and then no more.
        let mut away = Pacing::default();
        assert_eq!(looks(&mut away, 0, |look| look.min(1)), 3);
        assert!((0..REST).all(|_| looks(&mut away, 0, |_| ENOUGH_AHEAD) == 0));
        assert_eq!(looks(&mut away, 0, |_| ENOUGH_AHEAD), 1);
    }
}
