//! Where a subscription starts, and what had expired before.
//!
//! Sequence numbers rise along a lane, but for publishers that overlapped. So only a walk from the
//! oldest held frame finds the first one above a number for sure. What was overwritten before that
//! frame and may have a higher number than the start is reported as expired.

use super::cursor::{Candidate, Cursor};
use super::merge::Merge;

/// Moves a subscription to the first frame above `after`, or to the oldest one that is held, and
/// notes what had expired before. Passes over at most what the lanes hold. `next` is the next
/// sequence number, loaded when the lanes had been joined.
pub(super) fn seek<T>(merge: &mut Merge<T>, after: Option<u64>, next: u64) {
    merge.set_last(after.unwrap_or(0));
    let lanes = 0..merge.lanes().len();
    let held_from: Vec<_> = lanes.clone().map(|at| first_held(merge, at)).collect();
    for at in lanes {
        seek_lane(merge, at);
    }
    let first = merge.lanes().core().first();
    if after.is_none() {
        let last = if held_from.iter().all(|&(expired, _)| expired == 0) {
            first - 1
        } else {
            let lowest = merge.candidates_mut().first();
            lowest.unwrap_or_else(|| merge.lanes().core().next_sequence()) - 1
        };
        merge.set_last(last);
    }
    let last = merge.last();
    if let Some(lost @ 1..) = (first - 1).checked_sub(last) {
        merge.losses_mut().add_expired(lost, first);
    }
    for (at, (expired, held)) in held_from.into_iter().enumerate() {
        if expired > 0 {
            let (_, lane, _) = merge.lanes_mut().split(at);
            let bound = lane.numbers_below_start(expired, next);
            let (lost, below) = merge.lanes_mut().expire(at, expired, held, bound, last);
            if lost > 0 {
                merge.losses_mut().add_expired(lost, below);
            }
        }
    }
    merge.candidates_mut().clear();
}

/// How many indices of a lane have expired, and the lowest sequence number that it holds, with any
/// tag, if that can be seen.
fn first_held<T>(merge: &mut Merge<T>, at: usize) -> (u64, Option<u64>) {
    let (cursor, lane, _) = merge.lanes_mut().split(at);
    let expired = cursor.next();
    if expired == 0 {
        return (0, None);
    }
    let probe = Cursor::new(lane, cursor.lane(), cursor.row(), expired);
    // In a lane that frees, the position may rise with the probe, over indices without a frame.
    let own = merge.lanes_mut().replace_cursor(at, probe);
    let filter = merge.lanes_mut().replace_filter(None);
    let (last, unreported) = (merge.last(), merge.losses().unreported());
    merge.set_last(0);
    seek_lane(merge, at);
    merge.lanes_mut().replace_cursor(at, own);
    merge.lanes_mut().replace_filter(filter);
    merge.set_last(last);
    merge.losses_mut().reset(unreported);
    let held = merge.candidates_mut().of(at);
    (expired, Some(held).filter(|&held| held < u64::MAX))
}

/// Moves one cursor to its first frame above the position. Leaves its number in the candidates, if
/// it could be seen.
fn seek_lane<T>(merge: &mut Merge<T>, at: usize) {
    for _ in 0..merge.lanes().most_rounds() {
        let (cursor, lane, filter) = merge.lanes_mut().split(at);
        if !cursor.skip_ahead(lane, filter, false) {
            merge.candidates_mut().set(at, u64::MAX);
            return;
        }
        let pinned = merge.lanes_mut().pin_one(at);
        merge.losses_mut().add(pinned.err().unwrap_or(0));
        let before = merge.lanes().cursors()[at].next();
        let mut candidate = merge.refresh(at);
        while let Candidate::Ready(sequence) = candidate
            && sequence <= merge.last()
        {
            merge.lanes_mut().split(at).0.discard();
            candidate = merge.refresh(at);
        }
        merge.lanes_mut().unpin_one(at);
        let is_stuck = pinned.is_ok() && merge.lanes().cursors()[at].next() == before;
        if candidate != Candidate::BeyondPin || is_stuck {
            return;
        }
    }
}
