//! Which lane: its shard and its class.

/// How many lanes a shard has: one for each [`LaneClass`].
pub(crate) const LANES: usize = 2;

/// What a lane is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LaneClass {
    /// Ordinary frames. In a ring of one shard, this lane's indices are the sequence numbers.
    Frames = 0,
    /// Terminal frames, which a flood of ordinary frames does not overwrite.
    Terminals = 1,
}

/// A lane of a ring: also its position in the ring's array of lanes, where the lanes of a shard
/// are neighbours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LaneId(usize);

impl LaneId {
    /// The lane of ordinary frames of the first shard.
    pub(crate) const FIRST: LaneId = LaneId(0);

    #[inline(always)]
    pub(crate) fn new(shard: usize, class: LaneClass) -> Self {
        LaneId(shard * LANES + class as usize)
    }

    /// All lanes of a ring, in the order of its array.
    pub(crate) fn all(shards: usize) -> impl Iterator<Item = LaneId> {
        (0..shards * LANES).map(LaneId)
    }

    #[inline(always)]
    pub(crate) fn shard(self) -> usize {
        self.0 / LANES
    }

    #[inline(always)]
    pub(crate) fn class(self) -> LaneClass {
        if self.0.is_multiple_of(LANES) {
            LaneClass::Frames
        } else {
            LaneClass::Terminals
        }
    }

    /// Its position in the ring's array of lanes.
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_a_shard_and_a_class_and_a_position() {
        let all: Vec<_> = LaneId::all(3).collect();
        assert_eq!(all.len(), 3 * LANES);
        for (index, lane) in all.into_iter().enumerate() {
            assert_eq!(lane.index(), index);
            assert_eq!(LaneId::new(lane.shard(), lane.class()), lane);
        }
        assert_eq!(LaneId::FIRST, LaneId::new(0, LaneClass::Frames));
    }
}
