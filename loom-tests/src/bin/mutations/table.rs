//! The mutations: each weakens one step that a proof rests on.
//!
//! An edit is `context [[old =>> new]] context`. White space in it matches any white space. `$on`
//! in `new` is the switch itself, for an edit that is no plain replacement.

/// A weakening of the crate.
pub struct Mutation {
    /// Its name, in reports and as an argument.
    pub name: &'static str,
    /// What is wrong under it, in words.
    pub what: &'static str,
    /// The test that is known to fail, or [`NOT_SHOWN`]: `file::name` is a model of
    /// `loom-tests/tests`, `src::module::tests::name` a unit test, `tests::file::name` a test of
    /// the public interface.
    pub caught_by: &'static str,
    /// For each edit its file, and the edit itself.
    pub edits: &'static [(&'static str, &'static str)],
}

/// For a mutation that no test is known to catch. Each run names it, and only `--search` tries it.
pub const NOT_SHOWN: &str = "";

/// All models, the cheapest first.
pub const MODELS: &[&str] = &[
    "indexed::a_terminal_frame_overtaken",
    "indexed::a_terminal_batch_overtaken",
    "indexed::a_terminal_frame_beside_a_lap",
    "indexed::a_terminal_batch_beside_a_lap",
    "indexed::a_terminal_frame_claimed",
    "indexed::a_gate_opened_by_another",
    "overwrite::a_clear_run_extended_by_another",
    "indexed::a_claim_below_a_new_clear_run",
    "indexed::the_next_number_laps_ago",
    "indexed::late_over_a_sleeping_reader",
    "indexed::late_over_a_sleeping_reader_alone",
    "indexed::late_over_a_sleeping_reader_in_chunks",
    "indexed::the_next_number_beside_a_claim",
    "order::neighbours_of_a_batch_beside_a_publisher",
    "indexed::the_voids_below_a_chunk_beside_a_note_of_a_later_lap",
    "subscribe::a_clone_of_a_reader_that_holds_a_frame_back",
    "overwrite::a_reader_asleep_in_its_batch_of_another_shard",
    "order::two_shards_in_batches",
    "order::two_publishers_and_a_reader_indexed",
    "order::two_terminal_frames_indexed",
    "free::the_last_reader_leaves_beside_a_publisher",
    "free::the_last_of_two_readers_drops",
    "free::a_clone_beside_another_reader",
    "free::a_reader_leaves_beside_another",
    "free::sleepers_are_left_alone_beside_a_publisher",
    "free::a_sleeper_holds_back_nothing_that_it_does_not_want",
    "free::a_filter_beside_the_publisher_of_an_unwanted_frame",
    "free::a_filter_beside_the_publisher_of_another_frame",
    "free::a_reader_of_terminals_joins_beside_a_publisher_and_another",
    "free::a_reader_joins_beside_another",
    "free::a_reader_joins_at_a_cursor_beside_another",
    "free::a_filter_beside_a_reader",
    "free::a_terminal_frame_beside_a_leaver",
    "free::a_row_changes_hands_beside_a_reader",
    "free::two_publishers_and_nobody",
    "free::a_publish_that_panics_beside_another",
    "free::a_pass_beside_a_lap_sequenced",
    "free::a_pass_beside_a_lap_indexed",
    "free::the_last_reader_leaves_beside_two_publishers",
    "free::readers_change_beside_a_publisher",
    "free::two_readers_beside_a_publisher",
    "free::a_pass_beside_a_lap_of_terminal_frames",
    "order::one_after_another_in_two_lanes_indexed",
    "order::a_batch_beside_a_publisher_indexed",
    "overwrite::one_publisher_laps_a_reader_twice_indexed",
    "overwrite::two_publishers_lap_a_reader_in_chunks_of_two_indexed",
    "overwrite::a_claimer_that_comes_late_alone_indexed",
    "overwrite::batches_over_a_sleeping_reader_indexed",
    "overwrite::a_publisher_asleep_on_its_slot_indexed",
    "subscribe::at_a_cursor_that_expires_indexed",
    "overwrite::an_index_that_is_abandoned",
    "overwrite::an_index_that_is_abandoned_sequenced",
    "wait::a_park_against_a_publish",
    "wait::a_park_for_all_shards_against_a_publish",
    "wait::two_publishers_wake_once",
    "wait::a_row_changes_hands_beside_a_publish",
    "wait::a_waiter_leaves_beside_a_publish",
    "wait::two_waiters_leave_beside_a_publish",
    "wait::two_first_parks_in_one_bucket",
    "wait::an_interest_widens_beside_a_publish",
    "wait::a_frame_held_back_by_another_key",
    "wait::others_stay_parked",
    "terminal::a_lap_while_a_terminal_frame_is_published",
    "overwrite::one_publisher_laps_a_reader_twice",
    "overwrite::lapped_between_neighbours",
    "overwrite::lapped_after_a_late_publisher",
    "overwrite::lapped_while_held_back",
    "subscribe::a_clone_beside_a_publisher",
    "order::two_publishers_and_a_reader",
    "overwrite::two_publishers_lap_a_reader_in_four_slots",
    "overwrite::a_claimer_that_comes_late_alone",
    "overwrite::a_limit_raised_by_another_to_extend",
    "overwrite::two_extenders_at_once",
    "overwrite::two_publishers_lap_a_reader_of_both_shards",
    "overwrite::one_publisher_laps_a_reader_of_another_shard_twice",
    "wait::a_terminal_frame_held_back_by_another_key",
    "overwrite::a_batch_that_panics_beside_a_publisher",
    "order::two_shards_merged",
    "bus::a_frame_held_back_by_another_run",
    "bus::the_last_handle_ends_a_stream",
    "bus::a_frame_held_back_by_a_publish_that_fails",
    "subscribe::at_a_cursor_in_one_shard_that_expires",
    "terminal::terminal_frames_lap_a_reader",
    "overwrite::two_publishers_lap_a_reader_in_chunks_of_two",
    "order::a_batch_beside_a_publisher",
    "order::a_batch_read_through_a_filter",
    "subscribe::at_the_latest_beside_publishers",
    "subscribe::at_a_cursor_beside_a_publisher",
    "overwrite::a_reader_asleep_in_its_batch",
    "overwrite::batches_over_a_sleeping_reader",
    "order::one_after_another_in_two_lanes",
    "terminal::a_lap_with_terminal_recovery",
    "overwrite::a_claimer_that_comes_late_to_a_chunk",
    "subscribe::at_a_cursor_that_expires",
    "subscribe::a_drop_beside_a_publisher",
    "subscribe::a_row_goes_beside_a_publisher",
    "subscribe::a_block_of_rows_goes_beside_a_publisher",
    "subscribe::a_new_block_of_rows_beside_a_publisher",
    "wait::two_waiters_leave_beside_two_publishers",
    "overwrite::a_publisher_asleep_on_its_slot",
    "overwrite::three_publishers_in_two_slots",
    "terminal::a_terminal_frame_numbered_late_for_all",
    "terminal::a_terminal_frame_granted_late",
    "terminal::a_terminal_frame_numbered_late_for_a_shard",
];

const SLOTS: &str = "src/ring/slot/slots.rs";
const CELLS: &str = "src/ring/slot/cells.rs";
const LEND: &str = "src/ring/slot/slots/lend.rs";
const STAMP: &str = "src/ring/slot/stamp.rs";
const LANE: &str = "src/ring/lane/mod.rs";
const GATE: &str = "src/ring/lane/gate.rs";
const WINDOW: &str = "src/ring/lane/window.rs";
const TAIL: &str = "src/ring/lane/tail.rs";
const CLAIMING: &str = "src/ring/lane/claiming.rs";
const SEQUENCES: &str = "src/ring/lane/sequences.rs";
const SEQUENCE: &str = "src/ring/sequence.rs";
const LANES: &str = "src/ring/read/lanes.rs";
const TAILS: &str = "src/ring/read/tails.rs";
const SUSPECTS: &str = "src/ring/read/suspects.rs";
const CLEAR: &str = "src/ring/lane/clear.rs";
const COUNT: &str = "src/ring/lane/numbering.rs";
const BATCH: &str = "src/ring/write/batch.rs";
const CLAIM: &str = "src/ring/lane/claim.rs";
const OPEN: &str = "src/ring/lane/open.rs";
const LAPPED: &str = "src/ring/lane/stragglers.rs";
const PINS: &str = "src/ring/lane/pins.rs";
const CURSOR: &str = "src/ring/read/cursor.rs";
const CANDIDATES: &str = "src/ring/read/candidates.rs";
const SUBSCRIPTION: &str = "src/ring/read/subscription.rs";
const MERGE: &str = "src/ring/read/merge.rs";
const START: &str = "src/ring/read/seek.rs";
const PUBLISH: &str = "src/ring/write/publish.rs";
const CORE: &str = "src/ring/core.rs";
const WAIT: &str = "src/ring/wait/waiters.rs";
const REGISTRY: &str = "src/ring/registry/mod.rs";
const WALK: &str = "src/ring/registry/walk.rs";
const WALKERS: &str = "src/ring/registry/walkers.rs";
const BUS: &str = "src/bus/memory.rs";
const SHARED: &str = "src/bus/shared.rs";

macro_rules! mutations {
    ($(#[$doc:meta])* $table:ident $($name:literal: $what:literal, $by:literal, $(($file:ident, $edit:literal)),+;)*) => {
        $(#[$doc])*
        pub(super) const $table: &[Mutation] = &[$(Mutation {
            name: $name,
            what: $what,
            caught_by: $by,
            edits: &[$(($file, $edit)),+],
        }),*];
    };
}

mod edges;
mod freeing;

/// All mutations.
pub fn mutations() -> Vec<&'static Mutation> {
    let tables = [MODELLED, freeing::FREEING, edges::EDGES];
    tables.into_iter().flatten().collect()
}

mutations! {
    /// What loom models show.
    MODELLED
    // A slot's stamp.
    "stamp-store-relaxed": "the frame is published without release", "order::two_publishers_and_a_reader_indexed",
        (CELLS, "[[done.store(self.stamp); =>> self.stamp.store(done.0, crate::sync::Ordering::Relaxed);]] old");
    "stamp-load-relaxed": "the stamp is read without acquire", "order::a_frame_finished_under_a_pin",
        (STAMP, "Stamp(word.load([[Ordering::Acquire =>> Ordering::Relaxed]]))");
    "block-store-relaxed": "the frames of a batch are published without release", "order::a_batch_beside_a_publisher_indexed",
        (SLOTS, "[[Stamp::done(generation, tag()).store(stamp); =>> stamp.store(Stamp::done(generation, tag()).0, crate::sync::Ordering::Relaxed);]]");
    "abandoned-is-done": "an abandoned index counts as a frame", "order::one_after_another_in_two_lanes_indexed",
        (LANE, "if [[stamp.is_done(generation) =>> stamp.generation() == generation]] {"),
        (LEND, "Ok(block) if [[Mismatch::of(block, generation).is_tag_only() =>> Mismatch::of(block, generation).is_finished()]] => BLOCK,"),
        (LEND, "take_while(|&word| [[Stamp::load(word).is_done(generation) =>> Stamp::load(word).generation() == generation]])");

    // Gates.
    "gate-store-relaxed": "the decision on a chunk is published without release", "indexed::a_gate_opened_by_another",
        (GATE, "word.compare_exchange(gate.word, next.word, [[Ordering::Release =>> Ordering::Relaxed]], Ordering::Relaxed)");
    "gate-load-relaxed": "the decision is read without acquire", "overwrite::three_publishers_in_two_slots",
        (GATE, "word: word.load([[Ordering::Acquire =>> Ordering::Relaxed]])");
    "gate-store-blind": "an opener overwrites another's decision", "terminal::terminal_frames_lap_a_reader",
        (GATE, "[[ =>> if $on { word.store(next.word, Ordering::Release); return Some(next); } ]] // E2: release. Later words");
    "unfinished-is-free": "a slot whose owner is unfinished is granted again", "overwrite::two_publishers_lap_a_reader_in_four_slots",
        (OPEN, "if [[self.slots.stamp(index).generation() != last_granted =>> self.slots.stamp(index).generation() > last_granted]] {"),
        (SLOTS, "[[mismatch.is_finished() =>> true]] }");
    "granted-not-raised": "a slot is made void and its owner forgotten", "overwrite::a_reader_asleep_in_its_batch",
        (GATE, "[[raise(granted, generation, Ordering::Relaxed); =>> ]]");
    "late-claim-forgotten": "a claimer that comes late does not take the slot that was granted to it", "overwrite::a_claimer_that_comes_late_to_a_chunk",
        (CLAIMING, "Ok([[self.gates.is_granted(index, gate) =>> gate.generation() == self.geometry.generation(index) && self.gates.is_granted(index, gate)]])");
    "late-claim-written": "a claimer that a later lap passed by takes its index for granted", "indexed::late_over_a_sleeping_reader",
        (CLAIMING, "Ok([[self.gates.is_granted(index, gate) =>> gate.generation() != self.geometry.generation(index) || self.gates.is_granted(index, gate)]])");
    "void-is-granted": "a void index is granted", "overwrite::a_reader_asleep_in_its_batch",
        (CLAIMING, "Ok([[self.gates.is_granted(index, gate) =>> gate.generation() == self.geometry.generation(index) || self.gates.is_granted(index, gate)]])");
    "void-is-granted-to-a-batch": "a batch is granted its range although indices in it are void", "overwrite::batches_over_a_sleeping_reader",
        (CLAIMING, "if gate.generation() != self.geometry.generation(from) || [[gate.voids(from..to) != 0 =>> false]] {");
    "voids-not-noted": "readers do not learn that there are void slots", "overwrite::two_publishers_lap_a_reader_in_four_slots",
        (OPEN, "[[self.bounds.voids.expect(); =>> ]]");

    // Pins, horizon and limit.
    "extender-without-fence": "an extender scans the pins without a fence", "overwrite::one_publisher_laps_a_reader_twice",
        (WALK, "[[fence(Ordering::SeqCst); =>> ]]");
    "reader-without-fence": "a reader checks the horizon without a fence", "overwrite::one_publisher_laps_a_reader_twice",
        (LANES, "// E5: SeqCst fence, between the pins and the horizons. [[fence(Ordering::SeqCst); =>> ]]");
    "seek-loss-uncounted": "what a new subscription loses while it seeks its start is not counted", "subscribe::at_a_cursor_in_one_shard_that_expires",
        (START, "merge.losses_mut().add([[pinned.err().unwrap_or(0) =>> 0]]);");
    "seek-without-fence": "a new subscription checks the horizon without a fence", "subscribe::at_a_cursor_that_expires",
        (LANES, "// E5: SeqCst fence, as in `pin`. [[fence(Ordering::SeqCst); =>> ]]");
    "horizon-raised-late": "the horizon is raised after the pins were scanned", "overwrite::one_publisher_laps_a_reader_twice",
        (WINDOW, "[[raise(&self.horizon, target, Ordering::Relaxed); =>> ]] }); let ranges"),
        (WINDOW, "// E3: release. [[ =>> if $on { raise(&self.horizon, target, Ordering::Relaxed); } ]] raise(&self.limit, free, Ordering::Release);");
    "reader-checks-limit": "a reader checks the limit and not the horizon", "overwrite::one_publisher_laps_a_reader_twice",
        (LANE, "[[self.bounds.window.horizon() =>> self.bounds.window.limit()]] - self.geometry.span()");
    "reader-checks-nothing": "a reader trusts every pin", "overwrite::one_publisher_laps_a_reader_twice",
        (CURSOR, "if [[oldest <= self.pinned.start =>> true]] {");
    "limit-store-relaxed": "the limit is raised without release", "overwrite::a_limit_raised_by_another_far_enough",
        (WINDOW, "raise(&self.limit, free, [[Ordering::Release =>> Ordering::Relaxed]])");
    "limit-load-relaxed": "a claimer uses another's limit without acquire", "overwrite::a_limit_raised_by_another_far_enough",
        (WINDOW, "self.limit.load([[Ordering::Acquire =>> Ordering::Relaxed]])");
    "pins-not-scanned": "the limit is raised over pinned chunks", "overwrite::one_publisher_laps_a_reader_twice",
        (WINDOW, "Some(index) if [[index < target =>> false]] =>");
    "pinned-not-void": "the pinned slots of a chunk are not made void", "overwrite::a_reader_asleep_in_its_batch",
        (WINDOW, "ranges().any(|range| [[next_conflict(geometry, index, range) == index =>> false]])");
    "pin-set-relaxed": "a pin is moved without release", "overwrite::one_publisher_laps_a_reader_twice",
        (PINS, "self.0.pins[class as usize].store(word, [[Ordering::Release =>> Ordering::Relaxed]])");
    "pin-clear-relaxed": "a pin is cleared without release", "overwrite::one_publisher_laps_a_reader_twice",
        (PINS, "self.0.pins[class as usize].store(IDLE, [[Ordering::Release =>> Ordering::Relaxed]])");
    "pin-load-relaxed": "pins are scanned without acquire", "overwrite::one_publisher_laps_a_reader_twice",
        (PINS, "[&row.0.pins, &row.0.freeing].map(|pins| pins[class as usize].load([[Ordering::Acquire =>> Ordering::Relaxed]]))");
    "pin-cleared-early": "the pins are cleared before the merge", "overwrite::one_publisher_laps_a_reader_twice",
        (MERGE, "let round = Round(self); [[ =>> if $on { drop(Round(&mut *round.0)); } ]] let this");
    "pin-too-narrow": "a pin covers one index less than is read", "overwrite::one_publisher_laps_a_reader_twice",
        (CURSOR, "row.set(lane.class(), [[lowest =>> lowest + 1]], count.trailing_zeros())");
    "pins-of-new-rows-unseen": "a scan misses the row that was taken last", "overwrite::one_publisher_laps_a_reader_twice",
        (WALK, "here.as_mut().filter(|(_, taken)| [[*taken != 0 =>> *taken & taken.wrapping_sub(1) != 0]])");

    // The order.
    "number-before-claim": "the number is reserved before the index is claimed", "order::two_publishers_and_a_reader",
        (PUBLISH, "[[let id = self.lane_of(route); =>> let early = if $on { self.reserve_sequence()? } else { 0 }; let id = self.lane_of(route);]]"),
        (PUBLISH, "let sequence = [[self.reserve_sequence()? =>> early]];");
    "number-acquire-only": "numbers are reserved without release", "order::two_publishers_and_a_reader",
        (SEQUENCE, "self.next.fetch_add(count, [[Ordering::AcqRel =>> Ordering::Acquire]])");
    "number-release-only": "numbers are reserved without acquire", "order::two_publishers_and_a_reader",
        (SEQUENCE, "self.next.fetch_add(count, [[Ordering::AcqRel =>> Ordering::Release]])");
    "no-order-bound": "a frame gets no order bound beyond its own index", "order::two_publishers_and_a_reader",
        (LANE, "self.stragglers.assign_order(index, sequence, [[self.tail() =>> index + 1]])");
    "batch-bound-of-first-only": "only the first frame of a batch gets its order bound", "order::a_batch_read_through_a_filter",
        (CLAIM, "stragglers.assign_order(index, sequence, [[bound =>> if sequence == first { bound } else { index + 1 }]])");
    "no-batch-bound": "the frames of a batch get no order bound beyond their own indices", "order::a_batch_beside_a_publisher",
        (BATCH, "if self.claims.contiguous_end() == Some(tail) { 0 } else { [[tail =>> 0]] }");
    "bound-ignored": "a reader does not scan up to the order bound", "order::two_publishers_and_a_reader",
        (CURSOR, "&& [[first.order.bound <= self.next =>> true]] {");
    "bound-ignored-in-place": "a frame is offered where it is although its order bound is higher", "order::two_publishers_and_a_reader",
        (CURSOR, "if self.held_back.is_empty() && [[order.bound <= self.next + 1 =>> true]] {");
    "run-skips-numbers": "frames are lent one after another whatever their numbers are", "overwrite::a_reader_asleep_in_its_batch_of_another_shard",
        (CURSOR, "let is_next = order.is_some_and(|it| [[it.sequence == index.wrapping_add(offset) =>> true]]);");
    "hint-believed": "the lane that is noted for a number is taken without a look at its candidate", "terminal::a_lap_with_terminal_recovery",
        (CANDIDATES, "([[self.sequences[hint] == sequence =>> true]]).then_some(hint)");
    "until-relaxed": "the reader loads the next number without acquire", "order::two_shards_merged",
        (SEQUENCE, "self.next.load([[Ordering::Acquire =>> Ordering::Relaxed]]).min(MAX_SEQUENCE + 1)");
    "tails-before-number": "the reader loads the tails before the next number", "order::two_shards_merged",
        (SUBSCRIPTION, "[[ =>> if $on { merge.load_tails(0); } ]] let Some(until) = merge.lanes().core().published_below() else { return Err"),
        (TAILS, "for (tail, cursor) in self.tails.iter_mut().zip(lanes.cursors()) [[ =>> .take(if $on && below > 0 { 0 } else { usize::MAX })]] {");
    "batch-tails-before-number": "a batch relies on tails that were loaded before the next number", "order::two_shards_in_batches",
        (TAILS, "[[sequence < self.cover =>> true]] }");
    "no-proof": "the lowest candidate is given without a look at the other lanes", "order::two_shards_merged",
        (MERGE, "match [[self.prove(sequence) =>> Proof::Holds]] {");
    "caught-up-too-early": "a reader is not behind although an index it has not passed is claimed", "wait::a_frame_held_back_by_another_key",
        (LANES, "!cursor.is_past([[self.core.lane(cursor.lane()).tail() =>> 0]])");

    // Index numbering.
    "indexed-number-acquire-only": "a terminal frame takes its number from the index-numbered lane without release", "indexed::a_terminal_frame_claimed",
        (SEQUENCES, "self.claim_with(|| pins, [[NUMBERED =>> crate::sync::Ordering::Acquire]])");
    "indexed-number-release-only": "a terminal frame takes its number from the index-numbered lane without acquire", "indexed::a_terminal_frame_overtaken",
        (SEQUENCES, "self.claim_with(|| pins, [[NUMBERED =>> crate::sync::Ordering::Release]])");
    "indexed-tail-relaxed": "the reader loads the tail of the index-numbered lane without acquire", "indexed::a_terminal_frame_claimed",
        (TAIL, "// E9: acquire. self.0.load([[Ordering::Acquire =>> Ordering::Relaxed]])");
    "indexed-undecided": "indices of chunks that are not open count as numbers", "indexed::the_next_number_beside_a_claim",
        (SEQUENCES, "while end > 0 && [[!self.gates.is_open_for(end - 1) =>> false]] {");
    "voids-uncounted": "the voids of the chunk itself are not counted", "overwrite::a_publisher_asleep_on_its_slot_indexed",
        (COUNT, "[[Some(self.voids_below_chunk(start, gates)? + u64::from(here)) =>> self.voids_below_chunk(start, gates)]] }");
    "passed-by-unnoted": "an owner that was passed by does not find its number", "indexed::late_over_a_sleeping_reader_alone",
        (COUNT, "[[self.passed_by[self.geometry.slot(index)].load(Ordering::Relaxed) =>> 0]]");
    "reader-voids-uncounted": "a reader does not count the voids that it passes", "indexed::late_over_a_sleeping_reader_in_chunks",
        (CURSOR, "[[self.voids += 1; =>> ]]");
    "chunks-out-of-order": "a chunk is opened although the one before it is not", "overwrite::a_claimer_that_comes_late_alone_indexed",
        (OPEN, "while start > 0 && [[!self.gates.is_open_for(start - chunk) =>> false]] {");
    "clear-over-voids": "a chunk with a void slot becomes part of the clear run", "indexed::late_over_a_sleeping_reader_in_chunks",
        (OPEN, "if [[void == 0 =>> true]] { self.extend_clear_run");
    "clear-end-relaxed": "the end of the clear run is read without acquire", "overwrite::a_clear_run_extended_by_another",
        (CLEAR, "if end > self.end.load([[Ordering::Acquire =>> Ordering::Relaxed]]) {");
    "void-in-an-indexed-batch": "a batch in the index-numbered lane takes void indices for granted", "overwrite::batches_over_a_sleeping_reader_indexed",
        (CLAIMING, "if [[gate.voids(end..to) != 0 =>> false]] {");

    "batch-number-acquire-only": "a batch with a terminal frame takes its numbers without release", "indexed::a_terminal_batch_beside_a_lap",
        (TAIL, "compare_exchange(first, end, [[NUMBERED =>> Ordering::Acquire]], Ordering::Relaxed)");
    "batch-number-release-only": "a batch with a terminal frame takes its numbers without acquire", "indexed::a_terminal_batch_overtaken",
        (TAIL, "compare_exchange(first, end, [[NUMBERED =>> Ordering::Release]], Ordering::Relaxed)");
    "clear-start-raised-late": "the start of the clear run is raised after its voids", "indexed::a_claim_below_a_new_clear_run",
        (CLEAR, "[[raise(&self.start, start, Ordering::Relaxed); =>> ]] // E7"),
        (CLEAR, "raise(&self.voids, voids, Ordering::Release); [[ =>> if $on { raise(&self.start, start, Ordering::Relaxed); } ]] }");
    "clear-voids-store-relaxed": "the voids below the clear run are raised without release", "indexed::a_claim_below_a_new_clear_run",
        (CLEAR, "raise(&self.voids, voids, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "clear-voids-load-relaxed": "the voids below the clear run are read without acquire", "indexed::a_claim_below_a_new_clear_run",
        (CLEAR, "let voids = self.voids.load([[Ordering::Acquire =>> Ordering::Relaxed]]);");
    "clear-end-store-relaxed": "the end of the clear run is raised without release", "overwrite::a_clear_run_extended_by_another",
        (CLEAR, "raise(&self.end, end, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "note-of-any-lap": "a chunk's note of voids is used whatever lap it was noted for", "indexed::the_next_number_laps_ago",
        (COUNT, "[[(generation..generation + LAPS - 1).contains(&opened).then_some(voids) =>> Some(voids)]]");
    "note-load-relaxed": "a chunk's note of voids is read without acquire", "indexed::the_next_number_laps_ago",
        (COUNT, ".load([[Ordering::Acquire =>> Ordering::Relaxed]]); // That opener");
    // Most openers run the fence of `extend` before, which carries the order too; with slack, not
    // all do.
    "note-store-relaxed": "a chunk's voids are noted without release", "indexed::the_voids_below_a_chunk_beside_a_note_of_a_later_lap",
        (COUNT, "raise(self.note(start), voids, [[Ordering::Release =>> Ordering::Relaxed]]);");

    // What was lost.
    "no-suspects": "a loss whose number may be higher is forgotten", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (SUSPECTS, "self.lapped || [[!self.unsequenced.is_empty() || last + 1 < self.lost_below =>> false]] }");
    "claimed-not-sought": "a lapped reader does not look for claimed indices that are not granted yet", "src::ring::lane::claiming::tests::an_index_that_was_claimed_is_unfinished_until_it_is_written",
        (LANE, "[[gate.generation() < generation =>> false]] || self.gates.is_granted(index, gate)");
    "granted-not-sought": "a lapped reader does not look for owners that later laps passed by", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (LANE, "gate.generation() < generation || [[self.gates.is_granted(index, gate) =>> gate.generation() == generation && self.gates.is_granted(index, gate)]]");
    "suspects-settled-early": "a lost frame counts as passed as soon as it is finished", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (SUSPECTS, "self.lost_below = [[published_at_most() =>> 0]];");
    "unfinished-not-sought": "a lapped reader does not look for owners without a number", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (SUSPECTS, "self.unsequenced = [[lane.unfinished(oldest) =>> Vec::new()]];");
    "stragglers-not-noted": "a frame that others overtook past its chunk is not noted", "overwrite::lapped_between_neighbours",
        (LAPPED, "if [[bound > (index & !(self.unit - 1)) + self.unit =>> false]] {");
    "late-stragglers-not-noted": "a frame that was overtaken by more than a lap is noted for its chunk only", "overwrite::lapped_after_a_late_publisher",
        (LAPPED, "if [[bound > index + self.geometry.span() =>> false]] {");
    "stragglers-not-sought": "a lapped reader does not ask for stragglers", "overwrite::lapped_between_neighbours",
        (SUSPECTS, "self.lost_below = [[self.lost_below.max(lane.stragglers_below(oldest)) =>> self.lost_below]];");
    "lapped-frames-kept": "a lapped reader still offers frames that it had scanned", "overwrite::lapped_while_held_back",
        (CURSOR, "[[self.held_back.retain(|held| held.index >= oldest); =>> ]]");
    "expiry-unreported": "frames that had expired before the start are not reported", "subscribe::at_a_cursor_in_one_shard_that_expires",
        (START, "if [[expired > 0 =>> false]] {");
    "lap-in-a-poll-forgotten": "a lap noticed during a poll is reported as if it were over", "terminal::terminal_frames_lap_a_reader",
        (MERGE, "if [[self.losses.times_lapped() == pending.times_lapped =>> true]] {");

    // Terminal frames.
    "terminals-among-frames": "terminal frames go where ordinary ones overwrite them", "terminal::a_lap_while_a_terminal_frame_is_published",
        (CORE, "let class = if [[route.terminal =>> false]] {");
    "lost-terminals-denied": "a gap says that no terminal frame is lost although the terminal lane was lapped", "terminal::terminal_frames_lap_a_reader",
        (LANES, "[[cursor.may_have_lost_above(last) =>> false]] && cursor.lane().class()");
    "late-terminals-denied": "a gap says so of a terminal frame that was numbered after its loss was noticed", "terminal::a_terminal_frame_numbered_late_for_all",
        (LANES, "[[cursor.may_have_lost_above(last) =>> cursor.may_have_lost_above(u64::MAX - 1)]] && cursor.lane().class()");

    // The ends.
    "refused-numbers-counted": "a number that was refused counts as used", "overwrite::an_index_that_is_abandoned_sequenced",
        (SEQUENCE, "self.next.load(Ordering::Acquire).min([[MAX_SEQUENCE + 1 =>> u64::MAX]])");

    // Rows that come and go.
    "block-without-release": "a new block is linked without release", "wait::two_first_parks_in_one_bucket",
        (REGISTRY, "head.store(block.as_ptr(), [[Ordering::Release =>> Ordering::Relaxed]]);");
    "head-load-relaxed": "a walker looks for the first block without acquire", "wait::two_first_parks_in_one_bucket",
        (WALK, "self.registry.head(self.group, list).load([[Ordering::Acquire =>> Ordering::Relaxed]]);");
    "row-given-back-relaxed": "a row is given back without release", "subscribe::a_row_goes_beside_a_publisher",
        (REGISTRY, "after all that its owner did. own.taken.store(taken, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "row-taken-relaxed": "a row is taken without release of what was given back before", "subscribe::a_row_goes_and_its_neighbour_comes_beside_a_publisher",
        (REGISTRY, "passed over by this value, too. own.taken.store(taken, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "row-passed-over-relaxed": "a walker passes over a row that was given back without acquire", "subscribe::a_row_goes_beside_a_publisher",
        (WALK, "here = Some((block, found.taken.load([[Ordering::Acquire =>> Ordering::Relaxed]])));");
    "unlink-relaxed": "a block is unlinked without release", "subscribe::a_block_of_rows_goes_beside_a_publisher",
        (REGISTRY, "link.store(next, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "unlink-loses-the-rest": "the list ends where a block was unlinked", "wait::a_waiter_leaves_beside_a_publish",
        (REGISTRY, "link.store([[next =>> std::ptr::null_mut()]], Ordering::Release);");
    "unlink-loses-the-newer": "a block's older neighbour still has it as its newer one after it is unlinked", "wait::two_waiters_leave_beside_a_publish",
        (REGISTRY, "[[older.prev.store(prev, Ordering::Relaxed); =>> ]]");
    "freed-without-fence": "a remover looks at the counters of walkers without a fence", "wait::a_waiter_leaves_beside_a_publish",
        (REGISTRY, "[[fence(Ordering::SeqCst); =>> ]]");
    "freed-under-walkers": "a block is freed although a walker is inside", "wait::a_waiter_leaves_beside_a_publish",
        (WALKERS, "*drained = *drained || counter.load(Ordering::Acquire) == [[0 =>> counter.load(Ordering::Relaxed)]];");
    "freed-by-one-counter": "a block is freed when one of the two counters is 0", "wait::a_waiter_leaves_beside_a_publish",
        (WALKERS, "if [[*drained == [true; 2] =>> *drained != [false; 2] ]] {");
    "freed-by-an-old-look": "a counter that was 0 before the block was unlinked counts", "wait::two_waiters_leave_beside_a_publish",
        (REGISTRY, "[[blocks.drained = [false; 2]; =>> ]] blocks.most");
    "freed-without-acquire": "a block is freed without acquire of what its last walker did", "wait::a_waiter_leaves_beside_a_publish",
        (WALKERS, "counter.load([[Ordering::Acquire =>> Ordering::Relaxed]]) == 0;");
    "left-without-release": "a walker leaves without release", "wait::a_waiter_leaves_beside_a_publish",
        (WALKERS, "self.0.fetch_sub(1, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "freed-with-those-before": "a block unlinked while another waits to be freed is freed with it", "wait::two_waiters_leave_beside_two_publishers",
        (REGISTRY, "[[ =>> if $on && !blocks.unlinked.is_empty() { blocks.unlinked.push(block); return; } ]] blocks.later.push(block);");

    // Waiting.
    "register-without-fence": "a waiter looks again without a fence", "wait::a_park_against_a_publish",
        (WAIT, "[[fence(Ordering::SeqCst); =>> ]] Some(waiter)");
    "wake-without-fence": "a publisher looks for waiters without a fence", "wait::a_park_against_a_publish",
        (WAIT, "[[fence(Ordering::SeqCst); =>> ]] let count");
    "end-without-fence": "the bus ends without a fence", "bus::the_last_handle_ends_a_stream",
        (WAIT, "[[fence(Ordering::SeqCst); =>> ]] for (shard, count)");
    "parked-store-relaxed": "the parked flag is raised without release", "wait::an_interest_widens_beside_a_publish",
        (WAIT, "state.parked.swap(true, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "uncounted": "a parked waiter is not counted", "wait::a_park_against_a_publish",
        (WAIT, "[[self.parked.park(target); =>> ]]");
    "end-unannounced": "the last handle wakes nobody when it is dropped", "bus::the_last_handle_ends_a_stream",
        (SHARED, "[[self.ring.wake_all(); =>> ]]");
    "closed-store-relaxed": "the end is stored without release", "bus::the_last_handle_ends_a_stream",
        (SHARED, "self.closed.store(true, [[Ordering::Release =>> Ordering::Relaxed]])");
    "closed-load-relaxed": "the end is read without acquire", "bus::the_last_handle_ends_a_stream",
        (SHARED, "self.closed.load([[Ordering::Acquire =>> Ordering::Relaxed]])");

    // What failed, and batches.
    "failed-publish-wakes-nobody": "a publish that fails wakes no reader", "tests::sleepers::a_publish_that_fails_wakes_readers_that_it_may_have_held_back",
        (BUS, "[[shared.ring.wake(route, keys); published =>> if !$on || published.is_ok() { shared.ring.wake(route, keys); } published]].map(drop)");
    "failed-batch-wakes-nobody": "a batch that failed wakes nobody", "tests::sleepers::a_publish_that_fails_wakes_readers_that_it_may_have_held_back",
        (BUS, "keys.dedup(); [[ =>> if $on && published.is_err() { keys.clear(); } ]] keys");
    "failed-batch-of-one-wakes-nobody": "a batch of one frame that failed wakes nobody", "tests::sleepers::a_publish_that_fails_wakes_readers_that_it_may_have_held_back",
        (BUS, "[[shared.ring.wake(route, keys); return =>> if !$on || published.is_ok() { shared.ring.wake(route, keys); } return]] published");
    "batch-bound-of-last-only": "only the last frame of a batch gets its order bound", "order::neighbours_of_a_batch_beside_a_publisher",
        (CLAIM, "Some(if [[index + 1 < bound =>> index + 1 < bound && !($on && sequence + 1 < end)]] {");
}
