//! The lanes that a subscription reads: a cursor in each, and a row of pins in each shard.

use super::cursor::Cursor;
use super::losses::Losses;
use crate::ring::config::{Select, SubscribeError};
use crate::ring::core::Core;
use crate::ring::hw::processors;
use crate::ring::lane::{Lane, LaneClass, LaneId, OwnPins};
use crate::ring::slot::TagFilter;
use crate::ring::wait::WaitTarget;
use crate::sync::{Arc, Ordering, fence};

/// How often a pin is tried again after a lap before the round goes on without it.
const PIN_TRIES: usize = 4;

/// A reader of no more lanes than this looks for the next frame in each, and fetches it ahead.
pub(super) const FEW: usize = 2;

/// Of a lane in which something was there.
const BUSY: u64 = u64::MAX;

/// The cursors and pins of a subscription.
pub(super) struct Lanes<T> {
    core: Arc<Core<T>>,
    /// One for each lane, the lanes of a shard side by side.
    cursors: Vec<Cursor>,
    /// One row of pins for each shard.
    rows: Vec<OwnPins>,
    /// The cursors that need a pin, ascending: the last [`skip_ahead`](Self::skip_ahead) found
    /// something for them. Only these are pinned.
    active: Vec<usize>,
    /// By cursor: while the lane's tail is at most this index, which the cursor has passed, nothing
    /// is there. [`BUSY`] if something was there at the last look.
    quiet: Vec<u64>,
    /// Whether a cursor may have lost frames that are not reported yet. If not, none has.
    may_have_lost: bool,
    filter: Option<TagFilter>,
}

impl<T> Lanes<T> {
    /// The selected lanes, each from the oldest frame that it holds.
    pub(super) fn select(
        core: &Arc<Core<T>>,
        select: Select,
        filter: Option<TagFilter>,
    ) -> Result<Self, SubscribeError> {
        let is_selected = |id: &LaneId| match select {
            Select::All => true,
            Select::Shard(shard) => id.shard() == shard & (core.shards() - 1),
            Select::Terminals => id.class() == LaneClass::Terminals,
        };
        let lanes: Vec<_> = core.lane_ids().filter(is_selected).collect();
        let mut shards: Vec<_> = lanes.iter().map(|id| id.shard()).collect();
        shards.dedup();
        let rows = take_rows(core, shards.iter().copied())?;
        if core.frees() {
            rows.iter().for_each(|row| row.set_filter(filter.as_ref()));
        }
        let cursor = |id: LaneId| {
            let (lane, row) = (core.lane(id), shards.partition_point(|&it| it < id.shard()));
            Cursor::new(lane, id, row, lane.join(&rows[row]))
        };
        let cursors: Vec<_> = lanes.into_iter().map(cursor).collect();
        Ok(Lanes {
            active: Vec::with_capacity(cursors.len()),
            quiet: vec![0; cursors.len()],
            may_have_lost: false,
            cursors,
            rows,
            filter,
            core: core.clone(),
        })
    }

    /// The same lanes at the same positions, with pins of their own.
    pub(super) fn try_clone(&self) -> Result<Self, SubscribeError> {
        let mut shards: Vec<_> = self.cursors.iter().map(|it| it.lane().shard()).collect();
        shards.dedup();
        let rows = take_rows(&self.core, shards.into_iter())?;
        if self.core.frees() {
            self.stand_beside(&rows);
        }
        Ok(Lanes {
            rows,
            cursors: self.cursors.iter().map(Cursor::unpinned).collect(),
            active: Vec::with_capacity(self.cursors.len()),
            quiet: self.quiet.clone(),
            may_have_lost: self.may_have_lost,
            filter: self.filter,
            core: self.core.clone(),
        })
    }

    #[inline(always)]
    pub(super) fn core(&self) -> &Core<T> {
        &self.core
    }

    pub(super) fn filter(&self) -> Option<&TagFilter> {
        self.filter.as_ref()
    }

    /// Takes the filter away, or puts it back.
    pub(super) fn replace_filter(&mut self, filter: Option<TagFilter>) -> Option<TagFilter> {
        std::mem::replace(&mut self.filter, filter)
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.cursors.len()
    }

    #[inline(always)]
    pub(super) fn cursors(&self) -> &[Cursor] {
        &self.cursors
    }

    /// Whether these are all lanes of the ring, unfiltered: sequence numbers have no holes.
    pub(super) fn are_everything(&self) -> bool {
        self.filter.is_none() && self.cursors.len() == self.core.lanes().len()
    }

    /// A cursor, with its lane and the filter.
    #[inline(always)]
    pub(super) fn split(&mut self, at: usize) -> (&mut Cursor, &Lane<T>, Option<&TagFilter>) {
        let cursor = &mut self.cursors[at];
        let lane = self.core.lane(cursor.lane());
        (cursor, lane, self.filter.as_ref())
    }

    /// Moves every cursor to what it needs a pin for. Returns whether there is anything.
    #[inline]
    pub(super) fn skip_ahead(&mut self) -> bool {
        self.active.clear();
        // The next stamps are looked at in a few lanes anyway. A line that is fetched ahead for
        // nothing is taken from a publisher, and costs this reader one line a lane.
        let few = self.cursors.len() <= FEW;
        let eager = self.filter.is_none() && few;
        let cursors = self.cursors.iter_mut().zip(&mut self.quiet);
        for (at, (cursor, quiet)) in cursors.enumerate() {
            let lane = self.core.lane(cursor.lane());
            // Of a busy lane the stamp is looked at in any case: its tail is left to publishers.
            if !few && *quiet != BUSY && lane.is_unclaimed_from(*quiet) {
                continue;
            }
            let found = cursor.skip_ahead(lane, self.filter.as_ref(), eager);
            if found {
                self.active.push(at);
            }
            let published_at_most = || self.core.published_at_most();
            cursor.suspects().settle(lane, published_at_most);
            let is_settled = !found && cursor.suspects().are_settled();
            *quiet = if is_settled { cursor.next() } else { BUSY };
        }
        !self.active.is_empty()
    }

    /// The cursors that need a pin, ascending.
    #[inline(always)]
    pub(super) fn active(&self) -> &[usize] {
        &self.active
    }

    /// Pins the lanes that need it. Adds what was lost in lanes that were found lapped, and tries
    /// these again. A lane that is lapped each time stays unpinned in this round.
    #[inline(never)]
    pub(super) fn pin(&mut self, losses: &mut Losses) {
        for _ in 0..PIN_TRIES {
            for &at in &self.active {
                let cursor = &mut self.cursors[at];
                cursor.pin(self.core.lane(cursor.lane()), &self.rows[cursor.row()]);
            }
            // E5: SeqCst fence, between the pins and the horizons.
            fence(Ordering::SeqCst);
            let mut all_hold = true;
            for &at in &self.active {
                let cursor = &mut self.cursors[at];
                let lane = self.core.lane(cursor.lane());
                if let Err(lost) = cursor.check(lane, &self.rows[cursor.row()]) {
                    losses.add_lap(lost);
                    all_hold = false;
                }
            }
            if all_hold {
                return;
            }
            self.may_have_lost = true;
        }
    }

    /// Pins one lane. Returns how many indices were lost, if it was found lapped.
    pub(super) fn pin_one(&mut self, at: usize) -> Result<(), u64> {
        let cursor = &mut self.cursors[at];
        let (lane, row) = (self.core.lane(cursor.lane()), &self.rows[cursor.row()]);
        cursor.pin(lane, row);
        // E5: SeqCst fence, as in `pin`.
        fence(Ordering::SeqCst);
        let checked = cursor.check(lane, row);
        self.may_have_lost |= checked.is_err();
        checked
    }

    /// Ends the pin of one lane.
    pub(super) fn unpin_one(&mut self, at: usize) {
        let cursor = &mut self.cursors[at];
        cursor.unpin(self.core.lane(cursor.lane()), &self.rows[cursor.row()]);
    }

    /// Ends the pins that [`pin`](Self::pin) set, and frees what all have passed in a ring that
    /// frees.
    #[inline]
    pub(super) fn unpin(&mut self) {
        for &at in &self.active {
            let cursor = &mut self.cursors[at];
            cursor.unpin(self.core.lane(cursor.lane()), &self.rows[cursor.row()]);
        }
        if self.core.frees() {
            self.active.iter().for_each(|&at| self.pass(at));
        }
    }

    /// Frees what all subscriptions have passed in the lane of this cursor.
    #[cold]
    fn pass(&self, at: usize) {
        let (id, row) = (self.cursors[at].lane(), self.cursors[at].row());
        let lane = self.core.lane(id);
        lane.pass(&self.rows[row], self.core.pins(id.shard()));
    }

    /// The same in all lanes: others may have stopped where this subscription was to start.
    pub(super) fn pass_all(&self) {
        if self.core.frees() {
            (0..self.cursors.len()).for_each(|at| self.pass(at));
        }
    }

    /// Lets a clone stand where this subscription stands: it may read all that this one may.
    fn stand_beside(&self, rows: &[OwnPins]) {
        for row in rows {
            row.set_filter(self.filter.as_ref());
        }
        for cursor in &self.cursors {
            rows[cursor.row()].stand(cursor.lane().class(), cursor.lowest());
        }
    }

    /// Finds out how many frames below `oldest`, where a lane's cursor starts, may be numbered
    /// above `last`, and below which number they are (`Suspects::expire`).
    pub(super) fn expire(
        &mut self,
        at: usize,
        oldest: u64,
        held: Option<u64>,
        bound: Option<u64>,
        last: u64,
    ) -> (u64, u64) {
        let cursor = &mut self.cursors[at];
        let lane = self.core.lane(cursor.lane());
        let next = || self.core.next_sequence();
        self.may_have_lost = true;
        cursor
            .suspects()
            .expire(lane, oldest, held, bound, last, next)
    }

    /// Puts another cursor in the place of one.
    pub(super) fn replace_cursor(&mut self, at: usize, cursor: Cursor) -> Cursor {
        std::mem::replace(&mut self.cursors[at], cursor)
    }

    /// Whether a frame was lost that may be numbered above `last`, which only rises.
    #[inline]
    pub(super) fn may_have_lost_above(&mut self, last: u64) -> bool {
        let may_have = |cursor: &Cursor| cursor.may_have_lost_above(last);
        self.may_have_lost = self.may_have_lost && self.cursors.iter().any(may_have);
        self.may_have_lost
    }

    /// Whether a terminal frame was lost that may be numbered above `last`.
    pub(super) fn may_have_lost_terminal_above(&self, last: u64) -> bool {
        self.cursors.iter().any(|cursor| {
            cursor.may_have_lost_above(last) && cursor.lane().class() == LaneClass::Terminals
        })
    }

    /// Forgets in which lanes indices were lost.
    pub(super) fn forget_laps(&mut self) {
        for cursor in &mut self.cursors {
            cursor.suspects().forget_lap();
        }
    }

    /// Whether something was claimed in these lanes that the cursors have not passed.
    pub(super) fn are_behind(&self) -> bool {
        let is_behind = |cursor: &Cursor| !cursor.is_past(self.core.lane(cursor.lane()).tail());
        self.cursors.iter().any(is_behind)
    }

    /// Whether it can be told by a load or two that every publish which has returned got a number
    /// below `sequence`. These lanes are all of the ring.
    #[inline(always)]
    pub(super) fn next_is_at_most(&self, sequence: u64) -> bool {
        match self.core.index_numbered() {
            // The next sequence number costs a look at a gate and at voids; the cursor has counted.
            Some(lane) => self.cursors[0].next_is_at_most(lane, sequence),
            None => self
                .core
                .published_below()
                .is_some_and(|next| next <= sequence),
        }
    }

    /// An upper bound of the rounds that it takes to read all that the lanes hold.
    pub(super) fn most_rounds(&self) -> u64 {
        let pins = |cursor: &Cursor| {
            let geometry = self.core.lane(cursor.lane()).geometry();
            geometry.span() / geometry.batch() + 8
        };
        self.cursors.iter().map(pins).sum()
    }

    /// Takes the cache lines that were read in this round (see `hw/native/contention.rs`).
    #[inline(never)]
    pub(super) fn acquire_lines(&self) {
        for &at in &self.active {
            let cursor = &self.cursors[at];
            cursor.acquire_lines(self.core.lane(cursor.lane()));
        }
    }

    /// Whether the first shard has more readers than there are processors.
    pub(super) fn are_crowded(&self) -> bool {
        let first = self.cursors.first();
        first.is_some_and(|first| self.core.readers(first.lane().shard()) > processors())
    }

    /// Where a reader of these lanes waits.
    pub(super) fn wait_target(&self) -> WaitTarget {
        let shard = |cursor: &Cursor| cursor.lane().shard();
        match (self.cursors.first(), self.cursors.last()) {
            (Some(first), Some(last)) if shard(first) == shard(last) => {
                WaitTarget::Shard(shard(first))
            }
            _ => WaitTarget::AllShards,
        }
    }
}

impl<T> Drop for Lanes<T> {
    /// Leaves the lanes of a ring that frees: what all others have passed is freed.
    fn drop(&mut self) {
        if self.core.frees() {
            for cursor in &self.cursors {
                self.rows[cursor.row()].clear(cursor.lane().class());
            }
            self.pass_all();
        }
    }
}

/// A row of pins in each of these shards: all or none.
fn take_rows<T>(
    core: &Core<T>,
    shards: impl Iterator<Item = usize>,
) -> Result<Vec<OwnPins>, SubscribeError> {
    shards
        .map(|shard| core.take_pins(shard).ok_or(SubscribeError::TooMany))
        .collect()
}
