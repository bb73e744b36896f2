//! Pacing: a reader that keeps up with fast publishers stays away from the lines that they write.
//!
//! A reader that has caught up and polls again at once pulls the cache line that the publisher is
//! writing, once for every frame. And the processor, which sees a reader go along an array, fetches
//! the next lines as well, those that the publisher is about to write. So a reader that has come
//! near the tail counts, after a batch, the frames ahead of it. It pauses until [`ENOUGH_AHEAD`]
//! are there, and only while that pays: as soon as fewer frames come than one in 150 nanoseconds,
//! it reads what there is, and does not pause after the next few batches. So a frame that comes
//! alone, or in a burst, is not held back. Where a shard has more readers than there are
//! processors, a pause yields the processor. Publishers of batches leave more time between them: a
//! reader under [contention](super::Contention) is more patient.

use super::clock::pause;

/// How many frames ahead of a reader are enough. Half as many are near.
pub(crate) const ENOUGH_AHEAD: u64 = 4_096;
/// The first pause, in nanoseconds. Each further pause doubles the total.
const FIRST_PAUSE: u64 = 150;
/// The longest total, in nanoseconds.
const LONGEST: u64 = 64 * FIRST_PAUSE;
/// A reader pauses on only while a frame comes in each of these spans, in nanoseconds.
const NANOS_A_FRAME: u64 = FIRST_PAUSE;
/// How many single frames a batch counts as, while a reader waits for it under contention.
const PATIENCE: u64 = 8;
/// After how many batches it does not pause, once pausing brought too little.
const REST: u32 = 32;

/// Decides for one reader if it pauses after a batch, and pauses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacing {
    /// After how many more batches it does not pause: 0 to [`REST`].
    rest: u32,
    /// The next sequence number at the last look. The frames below it are there.
    seen: u64,
}

impl Pacing {
    /// Called after a batch that ended before the sequence number `next`. Pauses, for at most about
    /// ten microseconds in all, until `far` frames are ahead.
    ///
    /// `contended` says if frames were published while this reader read. `crowded` returns whether
    /// other readers may want this one's processor. `published_below` returns the next sequence
    /// number of the ring.
    #[inline(always)]
    pub(crate) fn after(
        &mut self,
        next: u64,
        far: u64,
        contended: bool,
        crowded: impl Fn() -> bool,
        published_below: impl FnMut() -> u64,
    ) {
        if self.rest > 0 {
            self.rest -= 1;
        } else if self.seen < next + far / 2 {
            let patience = if contended { PATIENCE } else { 0 };
            self.stay_away(next + far, patience, crowded, published_below);
        }
    }

    /// Pauses until the next sequence number is at least `until`, or too few frames come.
    #[inline(never)]
    fn stay_away(
        &mut self,
        until: u64,
        patience: u64,
        crowded: impl Fn() -> bool,
        mut published_below: impl FnMut() -> u64,
    ) {
        let first = published_below();
        let mut paused = 0;
        self.seen = first;
        while self.seen < until && paused < LONGEST {
            let more = paused.max(FIRST_PAUSE);
            pause(more, &crowded);
            paused += more;
            self.seen = published_below();
            if (patience + self.seen.saturating_sub(first)) * NANOS_A_FRAME < paused {
                self.rest = REST;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it looks after a batch that ended before `next`, if look `n` finds `found(n)`.
    fn looks(pacing: &mut Pacing, next: u64, found: impl Fn(u64) -> u64) -> u64 {
        looks_if(false, pacing, next, found)
    }

    /// The same, with or without contention.
    fn looks_if(
        contended: bool,
        pacing: &mut Pacing,
        next: u64,
        found: impl Fn(u64) -> u64,
    ) -> u64 {
        let mut looks = 0;
        pacing.after(
            next,
            ENOUGH_AHEAD,
            contended,
            || false,
            || {
                looks += 1;
                found(looks - 1)
            },
        );
        looks
    }

    #[test]
    fn it_stays_away_while_many_come_but_not_for_long() {
        let mut pacing = Pacing::default();
        // Far enough at once, and as long as it has not come near.
        assert_eq!(looks(&mut pacing, 0, |_| 2 * ENOUGH_AHEAD), 1);
        assert_eq!(looks(&mut pacing, ENOUGH_AHEAD, |_| 0), 0);
        let grows = |look| (6 + look) * ENOUGH_AHEAD / 3;
        assert_eq!(looks(&mut pacing, 2 * ENOUGH_AHEAD, grows), 4);
        // 150 ns, twice that, and so on.
        let mut pacing = Pacing::default();
        assert_eq!(looks(&mut pacing, 0, |look| look * 64), 8);
        assert_eq!(looks(&mut pacing, 0, |look| look * 64), 8);
    }

    #[test]
    fn under_contention_it_waits_a_little_for_the_next_batch() {
        // At once, and after 150, 300, 600, 1,200 and 2,400 ns.
        let mut pacing = Pacing::default();
        assert_eq!(looks_if(true, &mut pacing, 0, |_| 0), 6);
        // One that came in time keeps it there for longer than that.
        let mut pacing = Pacing::default();
        let batch_by = |look| if look < 4 { 0 } else { 64 };
        assert_eq!(looks_if(true, &mut pacing, 0, batch_by), 8);
    }

    #[test]
    fn it_does_not_stay_away_when_few_come() {
        let mut pacing = Pacing::default();
        assert_eq!(looks(&mut pacing, 0, |_| 500), 2);
        assert!((0..REST).all(|_| looks(&mut pacing, 0, |_| ENOUGH_AHEAD) == 0));
        // As many as there should be after the second look, and then no more.
        let mut pacing = Pacing::default();
        assert_eq!(looks(&mut pacing, 0, |look| look.min(1)), 3);
        assert!((0..REST).all(|_| looks(&mut pacing, 0, |_| ENOUGH_AHEAD) == 0));
        assert_eq!(looks(&mut pacing, 0, |_| ENOUGH_AHEAD), 1);
    }
}
