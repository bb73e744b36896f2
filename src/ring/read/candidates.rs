//! What each lane offers next, and which lane has the lowest number of all.
//!
//! The next number is the last one and one, most often, and the lane that has it said so when it
//! was looked at. It is noted then, by the number's lowest bits, so that the merge needs no search:
//! a note is a hint, which a look at the lane's head confirms. Without one the lowest is searched.

/// See the module.
#[derive(Clone)]
pub(super) struct Candidates {
    /// The lowest number on offer in each lane; `u64::MAX` for none.
    numbers: Vec<u64>,
    /// By a number's lowest bits, a lane that offered such a number.
    hints: Box<[u16]>,
}

// A hint can name each lane.
const _: () = assert!(crate::ring::config::MAX_SHARDS * crate::ring::lane::LANES <= 1 << 16);

impl Candidates {
    /// Of so many lanes, at least one; none offers anything.
    pub(super) fn new(lanes: usize) -> Self {
        Candidates {
            numbers: vec![u64::MAX; lanes],
            hints: vec![0; (4 * lanes).next_power_of_two()].into(),
        }
    }

    /// What a lane offers; `u64::MAX` for nothing.
    #[inline(always)]
    pub(super) fn of(&self, at: usize) -> u64 {
        self.numbers[at]
    }

    #[inline(always)]
    pub(super) fn set(&mut self, at: usize, number: u64) {
        self.numbers[at] = number;
        if number < u64::MAX {
            let hint = self.hint(number);
            self.hints[hint] = at as u16;
        }
    }

    #[inline(always)]
    fn hint(&self, number: u64) -> usize {
        number as usize & (self.hints.len() - 1)
    }

    /// Nothing is on offer any more.
    pub(super) fn clear(&mut self) {
        self.numbers.fill(u64::MAX);
    }

    /// The lane that offers this number, if it is noted; else the one that offers the lowest.
    #[inline(always)]
    pub(super) fn find(&self, number: u64) -> usize {
        let hint = usize::from(self.hints[self.hint(number)]);
        if self.numbers[hint] == number {
            hint
        } else {
            self.lowest()
        }
    }

    fn lowest(&self) -> usize {
        let lanes = self.numbers.iter().enumerate();
        lanes
            .min_by_key(|(_, number)| **number)
            .map_or(0, |(at, _)| at)
    }

    /// The lowest number on offer, if there is one.
    pub(super) fn first(&self) -> Option<u64> {
        Some(self.numbers[self.lowest()]).filter(|&number| number < u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_number_or_else_the_lowest() {
        let mut heads = Candidates::new(4);
        assert_eq!(heads.first(), None);
        for (at, number) in [7, 5, u64::MAX, 21].into_iter().enumerate() {
            heads.set(at, number);
        }
        assert_eq!([5, 7, 21].map(|number| heads.find(number)), [1, 0, 3]);
        // 21 is noted where 5 was.
        assert_eq!(heads.hint(21), heads.hint(5));
        assert_eq!((heads.find(6), heads.first()), (1, Some(5)));
        heads.set(1, u64::MAX);
        assert_eq!((heads.find(5), heads.first()), (0, Some(7)));
        heads.clear();
        assert_eq!(heads.first(), None);
    }
}
