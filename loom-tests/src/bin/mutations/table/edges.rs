//! Weakenings that show on one thread: what a reader is given, which waiters are parked, panics.

use super::Mutation;

const SLOTS: &str = "src/ring/slot/slots.rs";
const LEND: &str = "src/ring/slot/slots/lend.rs";
const BATCH: &str = "src/ring/write/batch.rs";
const CLAIM: &str = "src/ring/lane/claim.rs";
const CURSOR: &str = "src/ring/read/cursor.rs";
const SUBSCRIPTION: &str = "src/ring/read/subscription.rs";
const ASLEEP: &str = "src/ring/read/wait.rs";
const LOSSES: &str = "src/ring/read/losses.rs";
const MERGE: &str = "src/ring/read/merge.rs";
const LANES: &str = "src/ring/read/lanes.rs";
const OPEN: &str = "src/ring/lane/open.rs";
const CLAIMING: &str = "src/ring/lane/claiming.rs";
const PUBLISH: &str = "src/ring/write/publish.rs";
const WAIT: &str = "src/ring/wait/waiters.rs";
const INTEREST: &str = "src/ring/wait/interest.rs";
const PARKED: &str = "src/ring/wait/parked.rs";
const BUS: &str = "src/bus/memory.rs";
const SCOPE: &str = "src/bus/scope.rs";
const STREAM: &str = "src/bus/stream.rs";
const TASK: &str = "src/bus/task.rs";
const LIVE: &str = "src/bus/stream/live.rs";
const INTAKE: &str = "src/bus/stream/intake.rs";
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
        (PUBLISH, "let (claim, _) = lane.claim(|| [[self.pins(id.shard()) =>> self.pins(0)]])?;");
    "wrong-shard-pins-in-a-batch": "a batch looks at the pins of the first shard, whichever it publishes to", "tests::ring_readers::a_reader_asleep_in_its_batch_keeps_its_frame_in_each_shard_and_lane",
        (BATCH, ".claim_batch(part.count, [[self.pins(id.shard()) =>> self.pins(0)]])?;");
    "written-one-more": "a batch that panics says that the slot of the frame that was not made holds one", "tests::ring_panics::a_batch_that_panics_in_the_first_lap_takes_no_empty_slot_for_a_frame",
        (SLOTS, "abandon(stamp, self.generation, [[at < self.frames =>> at <= self.frames]]);");
    "written-none": "a batch that panics forgets the frames that it had put into their slots", "tests::ring_panics::a_batch_that_panics_in_the_first_lap_takes_no_empty_slot_for_a_frame",
        (SLOTS, "abandon(stamp, self.generation, [[at < self.frames =>> false]]);");
    "block-drop-range": "a batch that panics does not abandon the neighbours that it had claimed", "tests::ring_panics::readers_go_on_after_a_batch_that_panics_in_any_lap",
        (CLAIM, "for index in [[self.run.clone() =>> (0..0)]] {");
    "block-drop-others": "a batch that panics does not abandon what it had claimed one by one", "tests::ring_panics::readers_go_on_after_a_batch_that_panics_beside_a_void_slot",
        (CLAIM, "(&mut self.others).for_each([[drop =>> |claim| if $on { std::mem::forget(claim) }]]);");

    // What a reader is given.
    "behind-first-only": "a reader that asks if it is behind looks at its first lane only", "tests::ring_readers::a_reader_is_behind_while_a_publish_is_unfinished_in_any_of_its_lanes",
        (LANES, "[[self.cursors.iter().any(is_behind) =>> self.cursors.iter().take(1).any(is_behind)]]");
    "caught-up-by-any-reader": "a reader that does not read everything takes the ring's next number for its own", "src::ring::overtaken::a_reader_of_everything_knows_when_it_is_caught_up",
        (MERGE, "[[self.everything =>> true]] && self.lanes.next_is_at_most(self.last + 1)");
    "caught-up-below-the-next": "a reader takes itself for caught up when one frame is left", "src::ring::overtaken::a_reader_of_everything_knows_when_it_is_caught_up",
        (MERGE, "self.everything && self.lanes.next_is_at_most([[self.last + 1 =>> self.last + 2]])");
    "caught-up-without-tail": "a reader of one shard takes what it has passed for all that was claimed", "src::ring::overtaken::a_reader_of_everything_knows_when_it_is_caught_up",
        (CURSOR, "&& [[self.next >= lane.tail() =>> true]] && lane.sequence_at(");
    "caught-up-without-number": "a reader of one shard that has passed the tail takes frames of the other lane for delivered", "src::ring::overtaken::a_reader_of_everything_knows_when_it_is_caught_up",
        (CURSOR, "&& self.next >= lane.tail() && [[lane.sequence_at(self.next, self.voids) <= sequence =>> true]]");
    "quiet-for-ever": "a reader takes a lane in which it found nothing for empty for ever", "tests::ring_readers::a_poll_ends_at_what_was_published_when_it_began",
        (LANES, "&& *quiet != BUSY && [[lane.is_unclaimed_from(*quiet) =>> true]] {");
    "quiet-one-more": "a reader takes a lane for empty when one index was claimed", "tests::ring_readers::a_poll_ends_at_what_was_published_when_it_began",
        (LANES, "*quiet = if is_settled { [[cursor.next() =>> cursor.next() + 1]] } else { BUSY };");
    "quiet-unsettled": "a reader does not look whether owners of lost indices have finished", "src::ring::overtaken::a_loss_that_is_finished_late_is_waited_for_in_a_lane_that_is_quiet",
        (LANES, "let is_settled = !found && [[cursor.suspects().are_settled() =>> true]];");
    "loss-unnoted": "a reader that is lapped under its pin does not note that it owes a gap", "src::ring::overtaken::a_loss_that_got_its_number_is_reported_to_the_last_number_and_no_further",
        (LANES, "[[self.may_have_lost = true; =>> ]] } } /// Pins one lane.");
    "expiry-unnoted": "what had expired at the start is not reported if no frame follows", "src::ring::overtaken::what_was_lapped_before_a_start_and_numbered_after_it_is_reported",
        (LANES, "[[self.may_have_lost = true; =>> ]] cursor.suspects().expire(");
    "offer-outlives-its-round": "what a lane offered stays when a visitor panics", "src::ring::overtaken::a_lane_whose_frame_the_visitor_panicked_at_offers_nothing_more",
        (MERGE, "lanes.active().iter().for_each(|&at| [[candidates.forget(at) =>> ()]]);");
    "walk-past-the-poll": "frames that come in turn are given although they were published after the poll began", "tests::ring_readers::a_poll_ends_at_what_was_published_when_it_began",
        (MERGE, "while [[self.last + 1 < until =>> true]] && self.lanes.filter().is_none()");
    "row-past-the-poll": "frames that come in a row are given although they were published after the poll began", "tests::ring_readers::a_poll_ends_at_what_was_published_when_it_began",
        (MERGE, "|| [[self.last + 1 >= until =>> false]] || row == ROW");
    "row-with-holes": "frames of a lane are given in a row whatever their numbers are", "tests::ring_readers::a_poll_ends_at_what_was_published_when_it_began",
        (MERGE, "if [[offered != Some(self.last + 1) =>> offered.is_none()]] ||");
    "walk-unfiltered": "frames that come in turn are given whatever their tags are", "tests::ring_readers::a_filter_gives_the_wanted_of_each_row_of_tags",
        (MERGE, "&& [[self.lanes.filter().is_none() =>> true]] && let Some(at)");
    "caught-up-with-some-left": "a poll says that it is caught up with frames left", "src::ring::overtaken::a_reader_of_everything_knows_when_it_is_caught_up",
        (MERGE, "|| [[until <= self.last + 1 =>> true]] ||");
    "run-ignores-filter": "frames are lent one after another whatever their tags are", "tests::ring_readers::a_filter_gives_the_wanted_of_each_row_of_tags",
        (LEND, "Some(tag) if [[filter.matches(tag) =>> true]] => unsafe {");
    "held-back-loss-uncounted": "a frame that was held back when it was lapped is not counted", "tests::ring_readers::frames_that_were_held_back_count_as_lost_when_they_are_lapped",
        (CURSOR, "let lost = [[(held - self.held_back.len()) as u64 =>> 0]] + oldest");
    "expired-flag-beyond": "what is lost right after what had expired is reported as expired", "tests::ring_readers::what_is_lost_after_an_expired_gap_is_not_reported_as_expired",
        (LOSSES, "expired: [[last + 1 < self.expired_below =>> last < self.expired_below]],");
    "expired-flag-of-one-lane": "what had expired in one lane is reported as expired, and what had in the others is not", "tests::ring_readers::what_expired_in_the_younger_of_two_shards_is_reported_as_expired",
        (LOSSES, "self.expired_below = [[self.expired_below.max(below) =>> below]];");
    "run-tag-trusted": "a stream of a run gives all frames with the run's tag", "src::bus::scope::tests::two_runs_of_one_tag_are_told_apart",
        (SCOPE, "[[envelope.run_id == *run_id =>> true]],");
    "epoch-unchecked-filtered": "a cursor of another bus resumes a filter", "tests::cursors::a_cursor_resumes_its_own_scope_of_its_own_bus_and_no_other",
        (BUS, "if [[cursor.bus_epoch != epoch =>> cursor.bus_epoch != epoch && matches!(scope, Scope::Plain(_))]] {");
    "forgotten-unreported": "what a reopened bus had forgotten is not reported", "tests::cursors::frames_before_a_reopening_are_reported_once_by_each_way_of_reading",
        (MERGE, "[[self.last + 1 < self.lanes.core().first() =>> false]]");
    "forgotten-kept-terminals": "the gap of what a reopened bus had forgotten says that no terminal frame is lost", "tests::cursors::frames_before_a_reopening_are_reported_once_by_each_way_of_reading",
        (MERGE, "|| [[before_the_ring =>> false]] || self.lanes.may_have_lost_terminal_above");
    "forgotten-too-far": "the gap of what a reopened bus had forgotten reaches to the first frame given", "tests::ring_readers::what_was_before_the_ring_is_a_gap_of_its_own",
        (MERGE, "[[sequence.min(self.lanes.core().first()) =>> sequence]] } else {");

    // Which waiters are parked.
    "classes-high-half": "the upper half of the classes that a waiter waits for is lost", "tests::sleepers::a_waiter_that_filters_on_a_kind_is_woken_by_each_kind",
        (INTEREST, "self.classes[1].store([[(classes >> 64) as u64 =>> 0]], Ordering::Relaxed);");
    "classes-low-half": "the lower half of the classes that a waiter waits for is lost", "tests::sleepers::a_waiter_that_filters_on_a_kind_is_woken_by_each_kind",
        (INTEREST, "self.classes[0].store([[classes as u64 =>> 0]], Ordering::Relaxed);");
    "drop-keeps-waiter": "a subscription that is dropped stays parked", "tests::sleepers::a_dropped_subscription_is_no_longer_parked",
        (ASLEEP, "if let Some(waiter) = [[self.waiter.take() =>> None]] {");
    "timeout-stays-parked": "a stream whose wait timed out stays parked", "tests::sleepers::a_finished_wait_is_no_longer_parked",
        (STREAM, "let in_time = park::park(deadline); [[self.deregister_waker(); =>> ]]");
    "future-stays-parked": "a stream whose wait was dropped stays parked", "tests::sleepers::a_finished_wait_is_no_longer_parked",
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
        (NOTICE, "notice.gap_end.move_to([[sequence =>> notice.gap_end.sequence()]], journal);");
    "drop-row-journal": "a gap does not end at the journal cursor of the last dropped frame of a row", "tests::fields::each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading",
        (NOTICE, "notice.gap_end.move_to(sequence, [[journal =>> None]]);");
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
        (LIVE, "queued: [[(self.intake.len() + ahead) as u64 =>> (self.intake.len() + ahead + 1) as u64]],");
    "ready-after-a-loss": "a frame after a loss is given before the one that reports it", "tests::complete::complete_reading_gives_frames_in_order_around_every_loss",
        (INTAKE, "Found::Frame(event) if [[queue.is_idle() =>> true]] => ready");
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
        (LOSSES, "self.unreported += lost; [[self.times_lapped += 1; =>> ]]");

    // Figures of a ring.
    "published-miscounted": "a ring counts the number before its first frame", "tests::stats::each_figure_of_a_bus_counts_each_frame",
        (STATS, "published: [[last_sequence + 1 - core.first() =>> last_sequence + 2 - core.first()]],");
    "oldest-miscounted": "the oldest frame that a ring holds is the one before it", "tests::stats::each_figure_of_a_bus_counts_each_frame",
        (STATS, ".map(|reader| [[reader.position() + 1 =>> reader.position()]])");
    "woken-uncounted": "a waiter that was woken is not counted", "tests::sleepers::a_finished_wait_is_no_longer_parked",
        (WAIT, "[[self.woken.fetch_add(1, Ordering::Relaxed); =>> ]]");
    "numbers-without-frames-passed": "a reader of everything passes numbers without a frame and does not report them", "tests::ring_panics::readers_go_on_after_a_batch_that_panics_in_any_lap",
        (SUBSCRIPTION, "if [[!self.merge.reads_everything() =>> true]] && !self.merge.has_unreported_gap() {");
    "leave-keeps-count": "publishers look for waiters for all shards for ever after one was there", "src::ring::wait::waiters::tests::a_waiter_that_left_is_counted_in_no_shard",
        (PARKED, "word.fetch_sub([[FOR_ALL =>> 0]], Ordering::Relaxed);");
    "slack-after-a-refused-batch": "a refused batch raises the horizon by slack beyond what it looked at", "tests::ring_refused::readers_that_start_after_a_refused_batch_get_the_next_frame",
        (OPEN, "let newest = [[self.tail().max(1) =>> self.tail().max(start + 1)]] - 1;");
    "refused-batch-stays": "a batch that is refused leaves the tail before the voids that it found", "tests::ring_stuck::a_batch_is_accepted_again_once_the_readers_that_held_all_slots_are_gone",
        (CLAIMING, "let end = found.unwrap_or_else(|_| [[first_after(first, &void) =>> first]]);");
    "republished-position-off": "a frame that the rings refused is published with the position of another one", "tests::archive_unpublished::a_refused_frame_is_published_later_with_its_own_position",
        (COMMIT, "let cursors = [[(position..) =>> (position + 1..)]].map(");
    "batch-gives-up": "a batch gives nothing if its first pin holds nothing for its reader", "tests::ring_readers::a_batch_gives_nothing_only_if_nothing_is_there",
        (SUBSCRIPTION, "if [[self.merge.deliveries() > before || is_poll || polled != Polled::Unfinished =>> true]] {");
}
