//! Weakenings that show on one thread: what a reader is given and told, who sleeps, what panics.

use super::Mutation;

const SLOTS: &str = "src/ring/slots.rs";
const BATCH: &str = "src/ring/batch.rs";
const CLAIM: &str = "src/ring/lane/claim.rs";
const CURSOR: &str = "src/ring/cursor.rs";
const SUBSCRIPTION: &str = "src/ring/subscription.rs";
const ASLEEP: &str = "src/ring/subscription/asleep.rs";
const LOSS: &str = "src/ring/subscription/loss.rs";
const START: &str = "src/ring/subscription/start.rs";
const PUBLISH: &str = "src/ring/publish.rs";
const WAIT: &str = "src/ring/wait.rs";
const COUNT: &str = "src/ring/lane/count.rs";
const BUS: &str = "src/bus/memory.rs";
const SCOPE: &str = "src/bus/scope.rs";
const STREAM: &str = "src/bus/stream.rs";
const TASK: &str = "src/bus/task.rs";
const LIVE: &str = "src/bus/stream/live.rs";
const COMMIT: &str = "src/archive/journal/commit.rs";
const NOTICE: &str = "src/bound/notice.rs";
const POLICY: &str = "src/bound/policy.rs";
const AHEAD: &str = "src/bus/stream/read_ahead.rs";
const PROGRESS: &str = "src/bus/stream/progress.rs";
const REPAIR: &str = "src/bus/repair.rs";
const FIGURES: &str = "src/bus/stats.rs";
const STATS: &str = "src/ring/stats.rs";

mutations! {
    /// What ordinary tests show.
    EDGES
    // What one thread shows. Pins and panics.
    "wrong-shard-pins": "a publisher looks at the pins of the first shard, whichever it publishes to", "tests::ring_readers::a_reader_asleep_in_its_batch_keeps_its_frame_in_each_shard_and_lane",
        (PUBLISH, "let (claim, _) = lane.claim(|| [[self.pins(at) =>> self.pins(0)]])?;");
    "wrong-shard-pins-in-a-batch": "so does a batch", "tests::ring_readers::a_reader_asleep_in_its_batch_keeps_its_frame_in_each_shard_and_lane",
        (BATCH, "part.block = self.lanes[at].claim_block(part.count, [[self.pins(at) =>> self.pins(0)]])?;");
    "written-one-more": "a batch that panics takes the place of the frame that was not made for one that holds it", "tests::ring_panics::a_batch_that_panics_in_the_first_lap_leaves_no_place_for_a_frame",
        (SLOTS, "leave(stamp, self.laps, [[at < self.frames =>> at <= self.frames]]);");
    "written-none": "a batch that panics forgets the frames that it had put in their places", "tests::ring_panics::a_batch_that_panics_in_the_first_lap_leaves_no_place_for_a_frame",
        (SLOTS, "leave(stamp, self.laps, [[at < self.frames =>> false]]);");
    "block-drop-range": "a batch that panics forgets the neighbours that it had claimed", "tests::ring_panics::readers_go_on_after_a_batch_that_panics_in_any_lap",
        (CLAIM, "let range = [[self.range.clone() =>> (0..0)]].map(|index| self.lane.own(index));");
    "block-drop-others": "a batch that panics forgets what it had claimed one by one", "tests::ring_panics::readers_go_on_after_a_batch_that_panics_beside_a_void_place",
        (CLAIM, "range.chain([[&mut self.others =>> { (&mut self.others).for_each(std::mem::forget); &mut self.others }]]).for_each(drop);");

    // What a reader is given and told.
    "behind-first-only": "a reader that asks whether it is behind looks at its first lane only", "tests::ring_readers::a_reader_is_behind_while_a_publish_is_unfinished_in_any_of_its_lanes",
        (ASLEEP, "[[self.cursors.iter().any(behind) =>> self.cursors.iter().take(1).any(behind)]]");
    "run-ignores-filter": "frames of a lane that counts are lent one after another whatever their tags", "tests::ring_readers::a_filter_gives_the_wanted_of_each_row_of_tags",
        (CURSOR, "if [[counts && filter.is_none() =>> counts]] {");
    "run-ignores-filter-apart": "so are those of other lanes", "tests::ring_readers::a_filter_gives_the_wanted_of_each_row_of_tags",
        (CURSOR, "&& [[filter.is_none_or(is_wanted) =>> true]] {");
    "waited-loss-uncounted": "a frame that was held back when it was lapped is not counted", "tests::ring_readers::frames_that_were_held_back_count_as_lost_when_they_are_lapped",
        (CURSOR, "let lost = [[(waited - self.waiting.len()) as u64 =>> 0]] + oldest");
    "expired-flag-beyond": "what is lost right behind what had expired is told as expired", "tests::ring_readers::what_is_lost_behind_an_expired_gap_is_not_told_as_expired",
        (LOSS, "expired: [[self.last + 1 < self.expired_below =>> self.last < self.expired_below]],");
    "expired-flag-of-one-lane": "what had expired in one lane is told as expired, and not what had in the others", "tests::ring_readers::what_expired_in_the_younger_of_two_shards_is_told_as_expired",
        (START, "self.expired_below = [[self.expired_below.max(below) =>> below]];");
    "run-tag-trusted": "a stream of a run gives every frame that has the run's tag", "src::bus::scope::tests::two_runs_of_one_tag_are_told_apart",
        (SCOPE, "[[envelope.run_id == *run_id =>> true]],");
    "epoch-unchecked-filtered": "a cursor of another bus resumes a filter", "tests::cursors::a_cursor_resumes_its_own_scope_of_its_own_bus_and_no_other",
        (BUS, "if [[cursor.bus_epoch != epoch =>> cursor.bus_epoch != epoch && matches!(scope, Scope::Plain(_))]] {");
    "forgotten-untold": "what a bus that was opened again had forgotten is told by nobody", "tests::cursors::frames_before_a_reopening_are_reported_once_by_each_way_of_reading",
        (LOSS, "[[self.last + 1 < self.core.first =>> false]]");
    "forgotten-kept-terminals": "it is told that no terminal frame is among it", "tests::cursors::frames_before_a_reopening_are_reported_once_by_each_way_of_reading",
        (LOSS, "terminals_lost: [[self.starts_before_the_ring() =>> false]] ||");
    "forgotten-too-far": "it is told to reach as far as the first frame that is given", "tests::ring_readers::what_was_before_the_ring_is_a_gap_apart_from_what_it_lost",
        (LOSS, "true => [[number.min(self.core.first) =>> number]],");

    // Who sleeps, one thread.
    "classes-high-half": "the upper half of the kinds that a sleeper waits for is lost", "tests::sleepers::a_waiter_that_filters_on_a_kind_is_woken_by_each_kind",
        (WAIT, "self.classes[1].store([[(classes >> 64) as u64 =>> 0]], Ordering::Relaxed);");
    "classes-low-half": "so is the lower one", "tests::sleepers::a_waiter_that_filters_on_a_kind_is_woken_by_each_kind",
        (WAIT, "self.classes[0].store([[classes as u64 =>> 0]], Ordering::Relaxed);");
    "drop-keeps-seat": "a subscription that is dropped goes on sleeping", "tests::sleepers::a_dropped_subscription_is_no_longer_parked",
        (SUBSCRIPTION, "if let Some(seat) = [[self.seat.take() =>> None]] {");
    "timeout-stays-down": "a stream whose wait timed out stays parked", "tests::sleepers::a_finished_wait_is_no_longer_parked",
        (STREAM, "let in_time = park::park(deadline); [[self.deregister_waker(); =>> ]]");
    "future-stays-down": "a stream whose wait was dropped stays parked", "tests::sleepers::a_finished_wait_is_no_longer_parked",
        (TASK, "impl Drop for Waiting<'_> { fn drop(&mut self) { [[self.0.deregister_waker(); =>> ]] } }");

    // The fields of notices.
    "notice-policy": "a notice names the default policy", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "policy: [[self.policy =>> SubscriberOverflowPolicy::DropNonTerminal]], dropped_count");
    "notice-exact-always": "a loss in the rings is reported as exact for every scope", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "exact: [[loss.exact =>> true]],");
    "notice-exact-never": "a loss in the rings is reported as exact for no scope", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (SCOPE, "exact: [[gap.lost == 0 || matches!(self, Scope::Plain(EventStreamScope::All)) =>> false]],");
    "notice-start-late": "a loss in the rings begins one sequence number late", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (SCOPE, "first_seq: [[gap.first =>> gap.first + 1]],");
    "notice-end-late": "a loss in the rings ends one sequence number late", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (SCOPE, "last_seq: [[gap.last =>> gap.last + 1]],");
    "notice-count": "a loss in the rings counts one frame too few", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (SCOPE, "count: [[gap.lost =>> gap.lost.saturating_sub(1)]],");
    "notice-reason": "frames that had expired are reported as lost by a lag", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (SCOPE, "reason: if [[gap.expired =>> false]] {");
    "notice-terminals": "a lost terminal frame is reported as preserved", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (SCOPE, "terminal_preserved: [[!gap.terminals_lost =>> true]],");
    "drop-row-count": "the next dropped frame of a row is not counted", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "notice.dropped_count = [[notice.dropped_count.saturating_add(1) =>> notice.dropped_count]];");
    "drop-row-end": "a gap does not end at the last dropped frame of a row", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "[[notice.gap_end.event_seq = envelope.event_seq; =>> ]]");
    "drop-row-journal": "a gap does not end at the journal cursor of the last dropped frame of a row", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "[[notice.gap_end.journal_cursor = cursor.cloned(); =>> ]]");
    "drop-reason-uncounted": "a dropped frame is not counted under its reason", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "[[self.count(1, reason); =>> ]]");
    "loss-reason-uncounted": "a loss in the rings is not counted under its reason", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "[[self.count(loss.count, loss.reason); =>> ]]");
    "summary-count": "a summary stands for one frame too few", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (POLICY, "[[summary.count += 1; =>> if !$on || summary.count > 1 { summary.count += 1; }]]");
    "summary-repair-point": "a summary's gap is to be repaired from its end", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (POLICY, "if [[summary.repair_from.is_none() =>> true]] {");
    "pending-forgotten": "a loss after the last queued frame is not reported", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (POLICY, "[[append(&mut last.notice, self.pending.take()); =>> drop(self.pending.take());]]");
    "evicted-forgotten": "a frame that is dropped from the queue is not reported", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (POLICY, "Some(after) => [[prepend(&mut after.notice, notice) =>> ()]],");
    "repair-point-forgotten": "a repaired gap does not say from where it was repaired", "tests::repaired_fields::each_field_of_a_repaired_gap_is_right",
        (REPAIR, "|notice| notice.repair_from = [[self.repair_from =>> None]]);");
    "repair-notice-kept": "a repaired gap is reported on each frame after it", "tests::repaired_fields::each_field_of_a_repaired_gap_is_right",
        (AHEAD, "next.overflow = [[self.notice.take() =>> self.notice.clone()]];");
    "hole-count": "frames that an archive lacks are counted one too few", "tests::repaired_fields::each_field_of_a_repaired_gap_is_right",
        (REPAIR, "count: [[(sequences.end - sequences.start).min(self.lost.count) =>> (sequences.end - sequences.start - 1).min(self.lost.count)]],");

    // Cursors and figures of streams.
    "journal-not-moved": "a cursor keeps the first journal cursor", "tests::fields::position_cursor_and_figures_move_with_each_frame",
        (PROGRESS, "[[journal.clone_from(&envelope.journal_cursor); =>> ]]");
    "queued-miscounted": "a stream reports one queued frame too many", "tests::fields::position_cursor_and_figures_move_with_each_frame",
        (LIVE, "queued: [[(self.queue.len() + ahead) as u64 =>> (self.queue.len() + ahead + 1) as u64]],");
    "lag-miscounted": "a stream reports a lag of one frame too many", "tests::fields::position_cursor_and_figures_move_with_each_frame",
        (LIVE, "lag: [[last.saturating_sub(position) =>> (last + 1).saturating_sub(position)]],");
    "summary-delivered": "a summary counts as a delivered frame", "tests::fields::position_cursor_and_figures_move_with_each_frame",
        (LIVE, "if [[queued.summary =>> false]] {");
    "batch-undelivered": "frames of a batch do not count as delivered", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (LIVE, "[[progress.deliver(event.envelope()); =>> progress.pass(event.envelope());]] visit");
    "batch-notices-uncounted": "notices of a batch are not counted", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (LIVE, "[[progress.counts.notices += 1; =>> ]] visit");
    "batch-stands-still": "a batch does not move the cursor", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (LIVE, "[[progress.deliver(event.envelope()); =>> progress.counts.deliver(event.envelope());]] visit");
    "clone-counts-anew": "a clone counts from zero", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (LIVE, "progress: [[self.progress.clone() =>> { let mut anew = self.progress.clone(); anew.counts = Default::default(); anew }]], ahead");
    "terminals-uncounted": "delivered terminal frames are not counted", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (FIGURES, "[[self.terminals += u64::from(envelope.event_kind.is_terminal()); =>> ]]");
    "laps-uncounted": "laps are not counted", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (SUBSCRIPTION, "[[self.laps += 1; =>> ]] lapped");

    // Figures of a ring.
    "published-miscounted": "a ring counts the number before its first frame", "tests::stats::each_figure_of_a_bus_counts_each_frame",
        (STATS, "published: [[last_sequence + 1 - core.first =>> last_sequence + 2 - core.first]],");
    "oldest-miscounted": "the oldest frame that a ring holds is the one before it", "tests::stats::each_figure_of_a_bus_counts_each_frame",
        (STATS, ".map(|reader| [[reader.position() + 1 =>> reader.position()]])");
    "woken-uncounted": "who was woken is not counted", "tests::sleepers::a_finished_wait_is_no_longer_parked",
        (WAIT, "[[self.woken.fetch_add(1, Ordering::Relaxed); =>> ]]");
    "numbers-without-frames-passed": "a reader of everything passes numbers that no frame bears, and does not tell them", "tests::ring_panics::readers_go_on_after_a_batch_that_panics_in_any_lap",
        (SUBSCRIPTION, "if [[!self.everything =>> true]] && !self.owes() {");
    "leave-keeps-wide-watch": "publishers look for sleepers of all shards for ever after one was there", "src::ring::wait::tests::a_seat_that_was_left_is_watched_by_nobody",
        (WAIT, "watch.fetch_sub([[WIDE =>> 0]], Ordering::Relaxed);");
    "refused-batch-stays": "a batch that is refused leaves the tail before the voids that it found", "tests::ring_stuck::a_batch_is_taken_again_once_the_readers_that_held_all_places_are_gone",
        (COUNT, "let end = found.unwrap_or_else(|_| [[behind_voids(first, &void) =>> first]]);");
    "paid-place-off": "a frame that the rings refused is published with the position of another one", "tests::archive_unpublished::a_refused_frame_is_published_later_with_its_own_position",
        (COMMIT, "let cursors = [[(position..) =>> (position + 1..)]].map(");
    "batch-gives-up": "a batch of which one pin holds nothing for its reader gives nothing", "tests::ring_readers::a_batch_that_gives_nothing_says_that_there_is_nothing",
        (SUBSCRIPTION, "if [[count > 0 || further || polled != Polled::Unfinished =>> true]] {");
}
