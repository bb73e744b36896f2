//! The mutations: each weakens one step that a proof rests on.
//!
//! An edit is `context [[old =>> new]] context`. `$on` in `new` is the switch itself, for
//! an edit that is no plain replacement.

/// A weakening of the crate.
pub struct Mutation {
    /// What it is called in reports.
    pub name: &'static str,
    /// What it takes away.
    pub what: &'static str,
    /// The test that is known to fail, or [`NOT_SHOWN`]: `file::name` is a model of
    /// `loom-tests/tests`, `src::module::tests::name` a unit test, `tests::file::name` a test of
    /// the public interface.
    pub caught_by: &'static str,
    /// Files and places.
    pub edits: &'static [(&'static str, &'static str)],
}

/// For a mutation that nothing is known to catch yet: it is named in each run and not tried, but
/// with `--search`.
pub const NOT_SHOWN: &str = "";

/// All models, the cheapest first.
pub const MODELS: &[&str] = &[
    "counted::a_terminal_frame_overtaken",
    "counted::a_terminal_batch_overtaken",
    "counted::a_terminal_frame_beside_a_lap",
    "counted::a_terminal_batch_beside_a_lap",
    "counted::a_terminal_frame_claimed",
    "counted::a_gate_opened_by_another",
    "overwrite::a_clear_stretch_made_longer_by_another",
    "counted::a_claim_below_a_new_clear_stretch",
    "counted::the_next_number_laps_ago",
    "counted::late_over_a_sleeping_reader",
    "counted::late_over_a_sleeping_reader_alone",
    "counted::late_over_a_sleeping_reader_in_chunks",
    "counted::the_next_number_beside_a_claim",
    "order::neighbours_of_a_batch_beside_a_publisher",
    "counted::the_voids_below_a_chunk_beside_a_note_of_a_later_lap",
    "subscribe::a_clone_of_a_reader_that_holds_a_frame_back",
    "overwrite::a_reader_asleep_in_its_batch_of_another_shard",
    "order::two_shards_in_batches",
    "order::two_publishers_and_a_reader_counted",
    "order::two_terminal_frames_counted",
    "order::one_after_another_in_two_lanes_counted",
    "order::a_batch_beside_a_publisher_counted",
    "overwrite::one_publisher_laps_a_reader_twice_counted",
    "overwrite::two_publishers_lap_a_reader_in_chunks_of_two_counted",
    "overwrite::a_claimer_that_comes_late_alone_counted",
    "overwrite::batches_over_a_sleeping_reader_counted",
    "overwrite::a_publisher_asleep_on_its_slot_counted",
    "subscribe::at_a_cursor_that_expires_counted",
    "overwrite::an_index_that_is_given_up",
    "overwrite::an_index_that_is_given_up_apart",
    "wait::a_park_against_a_publish",
    "wait::a_wide_park_against_a_publish",
    "wait::two_publishers_wake_once",
    "wait::a_seat_changes_hands_beside_a_publish",
    "wait::a_seat_leaves_beside_a_publish",
    "wait::two_seats_leave_beside_a_publish",
    "wait::two_first_parks_in_one_room",
    "wait::a_wish_widens_beside_a_publish",
    "wait::a_frame_held_back_by_another_key",
    "wait::others_sleep_on",
    "terminal::a_lap_while_a_terminal_frame_is_published",
    "overwrite::one_publisher_laps_a_reader_twice",
    "overwrite::lapped_between_neighbours",
    "overwrite::lapped_behind_a_late_publisher",
    "overwrite::lapped_while_held_back",
    "subscribe::a_clone_beside_a_publisher",
    "order::two_publishers_and_a_reader",
    "overwrite::two_publishers_lap_a_reader_in_four_places",
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
    "wait::two_seats_leave_beside_two_publishers",
    "overwrite::a_publisher_asleep_on_its_slot",
    "overwrite::three_publishers_in_two_places",
    "terminal::a_terminal_frame_numbered_late_for_all",
    "terminal::a_terminal_frame_granted_late",
    "terminal::a_terminal_frame_numbered_late_for_a_shard",
];

const SLOTS: &str = "src/ring/slots.rs";
const LANE: &str = "src/ring/lane.rs";
const CLEAR: &str = "src/ring/lane/clear.rs";
const COUNT: &str = "src/ring/lane/count.rs";
const BATCH: &str = "src/ring/batch.rs";
const CLAIM: &str = "src/ring/lane/claim.rs";
const OPEN: &str = "src/ring/lane/open.rs";
const LAPPED: &str = "src/ring/lane/lapped.rs";
const PINS: &str = "src/ring/pins.rs";
const CURSOR: &str = "src/ring/cursor.rs";
const HEADS: &str = "src/ring/subscription/heads.rs";
const SUBSCRIPTION: &str = "src/ring/subscription.rs";
const MERGE: &str = "src/ring/subscription/merge.rs";
const ASLEEP: &str = "src/ring/subscription/asleep.rs";
const LOSS: &str = "src/ring/subscription/loss.rs";
const START: &str = "src/ring/subscription/start.rs";
const PUBLISH: &str = "src/ring/publish.rs";
const CORE: &str = "src/ring/core.rs";
const WAIT: &str = "src/ring/wait.rs";
const REGISTRY: &str = "src/ring/registry.rs";
const WALK: &str = "src/ring/registry/walk.rs";
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

/// All mutations.
pub fn mutations() -> Vec<&'static Mutation> {
    MODELLED.iter().chain(edges::EDGES).collect()
}

mutations! {
    /// What loom models show.
    MODELLED
    // A slot's stamp.
    "stamp-store-relaxed": "the frame is published without release", "order::two_publishers_and_a_reader_counted",
        (SLOTS, "self.stamp.store(done.0, [[Ordering::Release =>> Ordering::Relaxed]])");
    "stamp-load-relaxed": "the stamp is read without acquire", "order::two_publishers_and_a_reader_counted",
        (SLOTS, "Stamp(self.at(&self.stamps, index).load([[Ordering::Acquire =>> Ordering::Relaxed]]))"),
        (SLOTS, "Stamp(word.load([[Ordering::Acquire =>> Ordering::Relaxed]])).odd(laps).0;");
    "block-store-relaxed": "the frames of a batch are published without release", "order::a_batch_beside_a_publisher_counted",
        (SLOTS, "// Release: as in `Slot::write`. stamp.store(done.0, [[Ordering::Release =>> Ordering::Relaxed]])");
    "left-is-done": "an index that was left counts as a frame", "order::one_after_another_in_two_lanes_counted",
        (LANE, "if [[stamp.is_done(laps) =>> stamp.laps() == laps]] {"),
        (SLOTS, "Ok(block) if [[odd(block, laps).is_tag() =>> odd(block, laps).laps() == 0]] => BLOCK,"),
        (SLOTS, "take_while(|&word| [[odd(std::slice::from_ref(word), laps).is_tag() =>> odd(std::slice::from_ref(word), laps).laps() == 0]])");

    // Gates.
    "gate-store-relaxed": "the decision on a chunk is published without release", "counted::a_gate_opened_by_another",
        (OPEN, "gates.compare_exchange(gate, next, [[Ordering::Release =>> Ordering::Relaxed]], Ordering::Relaxed)");
    "gate-load-relaxed": "the decision is read without acquire", "overwrite::three_publishers_in_two_places",
        (LANE, "self.gates[self.geometry.gate(index)].load([[Ordering::Acquire =>> Ordering::Relaxed]])");
    "gate-store-blind": "an opener overwrites another's decision", "terminal::terminal_frames_lap_a_reader",
        (OPEN, "[[ =>> if $on { gates.store(next, Ordering::Release); return true; } ]] let decided = gates.compare_exchange(gate");
    "unfinished-is-free": "a slot whose owner is unfinished is granted again", "overwrite::two_publishers_lap_a_reader_in_four_places",
        (OPEN, "if [[self.slots.stamp(index).laps() != last_granted =>> self.slots.stamp(index).laps() > last_granted]] {"),
        (SLOTS, "[[Stamp(blocks.iter().fold(odd(rest, laps).0, all)).laps() == 0 =>> true]] }");
    "granted-not-raised": "a place is made void and its owner forgotten", "overwrite::a_reader_asleep_in_its_batch",
        (OPEN, "[[raise(granted, last_granted, Ordering::Relaxed); =>> ]]");
    "late-claim-forgotten": "a late claimer does not take the slot that was granted to it", "overwrite::a_claimer_that_comes_late_to_a_chunk",
        (LANE, "false => [[self.granted[self.geometry.place(index)].load(Ordering::Relaxed) == laps =>> false]], })");
    "late-claim-written": "a claimer of an earlier lap takes its index for granted", "counted::late_over_a_sleeping_reader",
        (LANE, "false => [[self.granted[self.geometry.place(index)].load(Ordering::Relaxed) == laps =>> true]], })");
    "void-is-granted": "a void index is granted", "overwrite::a_reader_asleep_in_its_batch",
        (LANE, "true => [[self.is_open(gate, index) =>> true]],");
    "void-is-granted-to-a-batch": "a batch is granted its range whatever is void in it", "overwrite::batches_over_a_sleeping_reader",
        (LANE, "if self.gate_laps(gate) != self.geometry.laps(from) || [[self.voids(gate, from..to) != 0 =>> false]] {");
    "voids-not-noted": "readers are not told that there are void places", "overwrite::two_publishers_lap_a_reader_in_four_places",
        (OPEN, "[[self.bounds.voids.store(1, Ordering::Relaxed); =>> ]]");

    // Pins, horizon and limit.
    "extender-without-fence": "an extender scans the pins without a fence", "overwrite::one_publisher_laps_a_reader_twice",
        (WALK, "// SeqCst: PAIR: the fence in `collect`, and those of the owners of rows. See the module. [[fence(Ordering::SeqCst); =>> ]]");
    "reader-without-fence": "a reader checks the horizon without a fence", "overwrite::one_publisher_laps_a_reader_twice",
        (SUBSCRIPTION, "// SeqCst: PAIR: the fence in `Lane::extend`, between horizon and pins. [[fence(Ordering::SeqCst); =>> ]]");
    "seek-loss-uncounted": "what a new subscription loses while it looks for its start is not counted", "subscribe::at_a_cursor_in_one_shard_that_expires",
        (START, "self.lost += [[lapped.err().unwrap_or(0) =>> 0]];");
    "seek-without-fence": "a new subscription checks the horizon without a fence", "subscribe::at_a_cursor_that_expires",
        (START, "// SeqCst: as in `pin`. [[fence(Ordering::SeqCst); =>> ]]");
    "horizon-raised-late": "the horizon is raised after the pins were scanned", "overwrite::one_publisher_laps_a_reader_twice",
        (OPEN, "[[raise(&self.bounds.horizon, target, Ordering::Relaxed); =>> ]] }); let ranges"),
        (OPEN, "// Release: PAIR: `open_next`. Chunks behind this one were opened. [[ =>> if $on { raise(&self.bounds.horizon, target, Ordering::Relaxed); } ]] raise(&self.bounds.limit, free, Ordering::Release);");
    "reader-checks-limit": "a reader checks the limit and not the horizon", "overwrite::one_publisher_laps_a_reader_twice",
        (LANE, "[[self.bounds.horizon.load(Ordering::Relaxed) =>> self.bounds.limit.load(Ordering::Relaxed)]] - self.geometry.span()");
    "reader-checks-nothing": "a reader trusts every pin", "overwrite::one_publisher_laps_a_reader_twice",
        (CURSOR, "if [[oldest <= self.pinned.start =>> true]] {");
    "limit-store-relaxed": "the limit is raised without release", "overwrite::a_limit_raised_by_another_far_enough",
        (OPEN, "raise(&self.bounds.limit, free, [[Ordering::Release =>> Ordering::Relaxed]])");
    "limit-load-relaxed": "a claimer goes by another's limit without acquire", "overwrite::a_limit_raised_by_another_far_enough",
        (OPEN, "match self.bounds.limit.load([[Ordering::Acquire =>> Ordering::Relaxed]]) <"),
        (OPEN, "let limit = self.bounds.limit.load([[Ordering::Acquire =>> Ordering::Relaxed]]);");
    "pins-not-scanned": "the limit is raised whatever is pinned", "overwrite::one_publisher_laps_a_reader_twice",
        (OPEN, "Some(index) if [[index < target =>> false]] =>");
    "pinned-not-void": "a chunk with a pin in it is opened as a whole", "overwrite::a_reader_asleep_in_its_batch",
        (OPEN, "ranges().any(|range| [[self.next_conflict(index, range) == index =>> false]])");
    "pin-set-relaxed": "a pin is moved without release", "overwrite::one_publisher_laps_a_reader_twice",
        (PINS, "self.0[lane].store(lowest << WIDTH_BITS | u64::from(width), [[Ordering::Release =>> Ordering::Relaxed]])");
    "pin-clear-relaxed": "a pin is cleared without release", "overwrite::one_publisher_laps_a_reader_twice",
        (PINS, "self.0[lane].store(IDLE, [[Ordering::Release =>> Ordering::Relaxed]])");
    "pin-load-relaxed": "pins are scanned without acquire", "overwrite::one_publisher_laps_a_reader_twice",
        (PINS, "row.0[lane].load([[Ordering::Acquire =>> Ordering::Relaxed]])");
    "pin-cleared-early": "the pins are cleared before the merge", "overwrite::one_publisher_laps_a_reader_twice",
        (SUBSCRIPTION, "let round = Round(self); [[ =>> if $on { drop(Round(&mut *round.0)); } ]] let this");
    "pin-too-narrow": "a pin covers one index less than is read", "overwrite::one_publisher_laps_a_reader_twice",
        (CURSOR, "row.set(lane.number(), [[lowest =>> lowest + 1]], count.trailing_zeros())");
    "pins-of-new-rows-unseen": "a scan misses the row that was taken last", "overwrite::one_publisher_laps_a_reader_twice",
        (WALK, "here.as_mut().filter(|(_, taken)| [[*taken != 0 =>> *taken & taken.wrapping_sub(1) != 0]])");

    // The order.
    "number-before-claim": "the number is taken before the index", "order::two_publishers_and_a_reader",
        (PUBLISH, "[[let at = self.lane_of(route); =>> let early = if $on { self.take_numbers(1) } else { 0 }; let at = self.lane_of(route);]]"),
        (PUBLISH, "let sequence = [[self.take_number()? =>> early]];");
    "number-acquire-only": "numbers are taken without release", "order::two_publishers_and_a_reader",
        (CORE, "self.counter.fetch_add(count, [[Ordering::AcqRel =>> Ordering::Acquire]])");
    "number-release-only": "numbers are taken without acquire", "order::two_publishers_and_a_reader",
        (CORE, "self.counter.fetch_add(count, [[Ordering::AcqRel =>> Ordering::Release]])");
    "no-fence": "a frame is offered without a look for smaller numbers", "order::two_publishers_and_a_reader",
        (PUBLISH, "lane.numbering(claim.index(), sequence, [[lane.tail() =>> claim.index() + 1]]);");
    "batch-fence-once": "only a batch's first frame bears its fence", "order::a_batch_read_through_a_filter",
        (CLAIM, "false if [[index + 1 < fence =>> index + 1 < fence && number == sequence]] =>");
    "no-batch-fence": "so is a batch's first frame", "order::a_batch_beside_a_publisher",
        (BATCH, "if self.block.contiguous_end() == Some(tail) { 0 } else { [[tail =>> 0]] }");
    "fence-ignored": "a reader does not scan up to the fence", "order::two_publishers_and_a_reader",
        (CURSOR, "&& [[first.fence <= self.next =>> true]] {");
    "fence-ignored-in-place": "a frame is offered where it is without a look at its fence", "order::two_publishers_and_a_reader",
        (CURSOR, "if self.waiting.is_empty() && [[numbered.fence <= self.next + 1 =>> true]] {");
    "run-skips-numbers": "frames are lent one after another whatever numbers they bear", "order::two_publishers_and_a_reader",
        (CURSOR, "match [[is_next =>> true]] && filter.is_none_or(");
    "hint-believed": "the lane that was noted for a number is taken without a look at what it offers", "terminal::a_lap_with_terminal_recovery",
        (HEADS, "if [[self.numbers[hint] == number =>> true]] {");
    "until-relaxed": "the reader loads the next number without acquire", "order::two_shards_merged",
        (CORE, "None => Some(self.counter.load([[Ordering::Acquire =>> Ordering::Relaxed]]).min(MAX_SEQUENCE + 1))");
    "tails-before-number": "the reader loads the tails before the number", "order::two_shards_merged",
        (SUBSCRIPTION, "[[ =>> if $on { self.know(0); } ]] let Some(until) = self.core.numbered() else { return Err"),
        (SUBSCRIPTION, "[[self.know(until); =>> self.known_below = until;]] if !self.approach()");
    "batch-tails-before-number": "a batch trusts tails of an earlier look", "order::two_shards_in_batches",
        (MERGE, "return Proof::Lacking; }; [[self.know(below); =>> self.known_below = below;]]");
    "no-proof": "the lowest head is given without a look at the other lanes", "order::two_shards_merged",
        (MERGE, "match [[self.prove_or_refresh(number, until) =>> Proof::Holds]] {");
    "caught-up-too-early": "a poll that sees nothing says caught up, whatever is claimed", "wait::a_frame_held_back_by_another_key",
        (ASLEEP, "!cursor.is_past([[self.core.lanes[cursor.lane].tail() =>> 0]])");

    // Counting.
    "counted-number-acquire-only": "a terminal frame takes its number from the other lane without release", "counted::a_terminal_frame_claimed",
        (COUNT, "self.claim_as(|| pins, [[Ordering::AcqRel =>> Ordering::Acquire]])");
    "counted-number-release-only": "a terminal frame takes its number from the other lane without acquire", "counted::a_terminal_frame_overtaken",
        (COUNT, "self.claim_as(|| pins, [[Ordering::AcqRel =>> Ordering::Release]])");
    "counted-tail-relaxed": "the reader looks at the tail that counts without acquire", "counted::a_terminal_frame_claimed",
        (COUNT, "let mut end = self.tail.load([[Ordering::Acquire =>> Ordering::Relaxed]])");
    "counted-undecided": "numbers of chunks that nobody opened yet are taken for given", "counted::the_next_number_beside_a_claim",
        (COUNT, "while end > 0 && [[!self.was_opened(end - 1) =>> false]] {");
    "voids-uncounted": "voids of the chunk itself are not counted", "overwrite::a_publisher_asleep_on_its_slot_counted",
        (COUNT, "[[Some(self.voids_below_chunk(start)? + u64::from(here)) =>> self.voids_below_chunk(start)]] }");
    "passed-by-unnoted": "an owner that was passed by does not find its number", "counted::late_over_a_sleeping_reader_alone",
        (COUNT, "[[count.passed_by[self.geometry.place(index)].load(Ordering::Relaxed) =>> 0]]");
    "reader-voids-uncounted": "a reader does not count the voids that it passes", "counted::late_over_a_sleeping_reader_in_chunks",
        (CURSOR, "[[self.voids += 1; =>> ]]");
    "chunks-out-of-order": "a chunk is opened whatever is behind it", "overwrite::a_claimer_that_comes_late_alone_counted",
        (OPEN, "while start > 0 && [[!self.was_opened(start - chunk) =>> false]] {");
    "clear-over-voids": "a chunk with a void place is taken for clear", "counted::late_over_a_sleeping_reader_in_chunks",
        (OPEN, "if [[void == 0 =>> true]] { self.lengthen");
    "clear-end-relaxed": "the end of a clear stretch is read without acquire", "overwrite::a_clear_stretch_made_longer_by_another",
        (CLEAR, "if end > self.end.load([[Ordering::Acquire =>> Ordering::Relaxed]]) {");
    "void-in-a-counted-batch": "a batch takes void places for granted", "overwrite::batches_over_a_sleeping_reader_counted",
        (COUNT, "if [[self.voids(gate, end..to) != 0 =>> false]] {");

    "batch-number-acquire-only": "a batch with a terminal frame takes its numbers without release", "counted::a_terminal_batch_beside_a_lap",
        (COUNT, "let (new, old) = ([[Ordering::AcqRel =>> Ordering::Acquire]], Ordering::Relaxed); match self.tail");
    "batch-number-release-only": "a batch with a terminal frame takes its numbers without acquire", "counted::a_terminal_batch_overtaken",
        (COUNT, "let (new, old) = ([[Ordering::AcqRel =>> Ordering::Release]], Ordering::Relaxed); match self.tail");
    "clear-start-raised-late": "the start of a clear stretch is raised after its voids", "counted::a_claim_below_a_new_clear_stretch",
        (CLEAR, "[[raise(&clear.start, start, Ordering::Relaxed); =>> ]] // Release"),
        (CLEAR, "raise(&clear.voids, voids, Ordering::Release); [[ =>> if $on { raise(&clear.start, start, Ordering::Relaxed); } ]] }");
    "clear-voids-store-relaxed": "the voids below a clear stretch are raised without release", "counted::a_claim_below_a_new_clear_stretch",
        (CLEAR, "raise(&clear.voids, voids, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "clear-voids-load-relaxed": "the voids below a clear stretch are read without acquire", "counted::a_claim_below_a_new_clear_stretch",
        (CLEAR, "let voids = self.voids.load([[Ordering::Acquire =>> Ordering::Relaxed]]);");
    "clear-end-store-relaxed": "the end of a clear stretch is raised without release", "overwrite::a_clear_stretch_made_longer_by_another",
        (CLEAR, "raise(&clear.end, end, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "note-of-any-lap": "a chunk's voids are taken as they are noted, whatever lap they were noted for", "counted::the_next_number_laps_ago",
        (COUNT, "[[(laps..laps + LAPS - 1).contains(&opened).then_some(voids) =>> Some(voids)]]");
    "note-load-relaxed": "a chunk's voids are read without acquire", "counted::the_next_number_laps_ago",
        (COUNT, ".load([[Ordering::Acquire =>> Ordering::Relaxed]]); // That opener");
    // Most openers run the fence of `extend` before, which carries the order too; with slack, not
    // all do.
    "note-store-relaxed": "a chunk's voids are noted without release", "counted::the_voids_below_a_chunk_beside_a_note_of_a_later_lap",
        (COUNT, "raise(note, voids, [[Ordering::Release =>> Ordering::Relaxed]]);");

    // What was lost.
    "no-suspects": "a loss whose number may be higher is forgotten", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (CURSOR, "pub(crate) fn is_suspect(&self, last: u64) -> bool { [[!self.unnumbered.is_empty() || last + 1 < self.lost_below =>> false]] }");
    "claimed-not-sought": "a lapped reader does not look for owners that nobody granted their index yet", "src::ring::lane::lapped::tests::an_index_that_was_claimed_is_unfinished_until_it_is_written",
        (LAPPED, "std::cmp::Ordering::Less => [[true =>> false]],");
    "granted-not-sought": "a lapped reader does not look for owners that later laps passed over", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (LAPPED, "[[self.granted[self.geometry.place(index)].load(Ordering::Relaxed) == laps =>> false]]");
    "suspects-settled-early": "a lost frame is taken for passed once it is finished", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (CURSOR, "self.lost_below = [[next_number() =>> 0]];");
    "unfinished-not-sought": "a lapped reader does not look for owners without a number", "terminal::a_terminal_frame_numbered_late_for_a_shard",
        (CURSOR, "self.unnumbered = [[lane.unfinished(oldest) =>> Vec::new()]];");
    "straddlers-not-noted": "a frame that others overtook past its chunk is not noted", "overwrite::lapped_between_neighbours",
        (LAPPED, "if [[fence > self.geometry.chunk_end(index) =>> false]] {");
    "late-straddlers-not-noted": "a frame that was overtaken by more than a lap is noted like others", "overwrite::lapped_behind_a_late_publisher",
        (LAPPED, "if [[fence > index + self.geometry.span() =>> false]] {");
    "straddlers-not-sought": "a lapped reader does not ask which numbers were overtaken", "overwrite::lapped_between_neighbours",
        (CURSOR, "self.lost_below = [[self.lost_below.max(lane.straddled_below(oldest)) =>> self.lost_below]];");
    "lapped-frames-kept": "a lapped reader still offers what it had seen", "overwrite::lapped_while_held_back",
        (CURSOR, "[[self.waiting.retain(|seen| seen.index >= oldest); =>> ]]");
    "expiry-untold": "what had expired before the start is not told", "subscribe::at_a_cursor_in_one_shard_that_expires",
        (START, "if [[expired > 0 =>> false]] {");
    "lap-in-a-poll-forgotten": "a lap noticed during a poll is told of as if it were over", "terminal::terminal_frames_lap_a_reader",
        (LOSS, "if [[self.laps == owed.laps =>> true]] {");

    // Terminal frames.
    "terminals-among-frames": "terminal frames go where ordinary ones overwrite them", "terminal::a_lap_while_a_terminal_frame_is_published",
        (CORE, "+ if [[route.terminal =>> false]] {");
    "lost-terminals-denied": "a lapped terminal lane is not told", "terminal::terminal_frames_lap_a_reader",
        (LOSS, "[[self.may_have_lost(cursor) =>> false]] && self.core.lanes");
    "late-terminals-denied": "a terminal frame numbered after its loss was noticed is denied", "terminal::a_terminal_frame_numbered_late_for_all",
        (LOSS, "[[self.may_have_lost(cursor) =>> cursor.lapped]] && self.core.lanes");

    // The ends.
    "refused-numbers-counted": "a number that was refused counts as given", "overwrite::an_index_that_is_given_up_apart",
        (CORE, "// Higher numbers were refused. None => Some(self.counter.load(Ordering::Acquire).min([[MAX_SEQUENCE + 1 =>> u64::MAX]]))");

    // Rows that come and go.
    "block-without-release": "a new block is linked without release", "wait::two_first_parks_in_one_room",
        (REGISTRY, "head.store(block.as_ptr(), [[Ordering::Release =>> Ordering::Relaxed]]);");
    "head-load-relaxed": "a walker looks for the first block without acquire", "wait::two_first_parks_in_one_room",
        (WALK, "self.registry.head(self.group, list).load([[Ordering::Acquire =>> Ordering::Relaxed]]);");
    "row-given-back-relaxed": "a row is given back without release", "subscribe::a_row_goes_beside_a_publisher",
        (REGISTRY, "own.taken.store(taken, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "row-passed-over-relaxed": "a walker passes over a row that was given back without acquire", "subscribe::a_row_goes_beside_a_publisher",
        (WALK, "here = Some((block, found.taken.load([[Ordering::Acquire =>> Ordering::Relaxed]])));");
    "unlink-relaxed": "a block is unlinked without release", "subscribe::a_block_of_rows_goes_beside_a_publisher",
        (REGISTRY, "link.store(next, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "unlink-loses-the-rest": "the list ends where a block was unlinked", "wait::a_seat_leaves_beside_a_publish",
        (REGISTRY, "link.store([[next =>> std::ptr::null_mut()]], Ordering::Release);");
    "unlink-loses-the-newer": "a block's older neighbour does not learn that it goes", "wait::two_seats_leave_beside_a_publish",
        (REGISTRY, "[[older.prev.store(prev, Ordering::Relaxed); =>> ]]");
    "freed-without-fence": "a remover looks at the walkers without a fence", "wait::a_seat_leaves_beside_a_publish",
        (REGISTRY, "// SeqCst: PAIR: the fence in `enter`. See the module. [[fence(Ordering::SeqCst); =>> ]]");
    "freed-under-walkers": "a block is freed whoever walks", "wait::a_seat_leaves_beside_a_publish",
        (REGISTRY, "*drained = *drained || walkers.load(Ordering::Acquire) == [[0 =>> walkers.load(Ordering::Relaxed)]];");
    "freed-by-one-counter": "a block is freed when one of the counters is empty", "wait::a_seat_leaves_beside_a_publish",
        (REGISTRY, "if [[blocks.drained != [true; 2] =>> blocks.drained == [false; 2] ]] {");
    "freed-by-an-old-look": "what was seen of the counters before a block was unlinked counts", "wait::two_seats_leave_beside_a_publish",
        (REGISTRY, "[[blocks.drained = [false; 2]; =>> ]] blocks.most");
    "freed-without-acquire": "a block is freed beside what its last walker did", "wait::a_seat_leaves_beside_a_publish",
        (REGISTRY, "walkers.load([[Ordering::Acquire =>> Ordering::Relaxed]]) == 0;");
    "left-without-release": "a walker leaves without release", "wait::a_seat_leaves_beside_a_publish",
        (WALK, "self.counter.fetch_sub(1, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "freed-with-those-before": "a block unlinked while another waits to be freed is freed with it", "wait::two_seats_leave_beside_two_publishers",
        (REGISTRY, "[[ =>> if $on && !blocks.unlinked.is_empty() { blocks.unlinked.push(block); return; } ]] blocks.later.push(block);");

    // Sleeping.
    "sleeper-without-fence": "a sleeper looks again without a fence", "wait::a_park_against_a_publish",
        (WAIT, "// SeqCst: PAIR: the fence in `wake`. See the module. [[fence(Ordering::SeqCst); =>> ]]");
    "waker-without-fence": "a publisher looks for sleepers without a fence", "wait::a_park_against_a_publish",
        (WAIT, "[[fence(Ordering::SeqCst); =>> ]] // Relaxed: ordered by the fences. let watch");
    "end-without-fence": "the bus ends without a fence", "bus::the_last_handle_ends_a_stream",
        (WAIT, "// SeqCst: as in `wake`. [[fence(Ordering::SeqCst); =>> ]]");
    "asleep-relaxed": "the sleeper's flag is raised without release", "wait::a_wish_widens_beside_a_publish",
        (WAIT, "sleeper.asleep.swap(true, [[Ordering::Release =>> Ordering::Relaxed]])");
    "uncounted": "a sleeper is not counted", "wait::a_park_against_a_publish",
        (WAIT, "[[self.count(place, 1); =>> ]]");
    "end-unannounced": "no reader is woken when the last handle is dropped", "bus::the_last_handle_ends_a_stream",
        (SHARED, "[[self.ring.wake_all(); =>> ]]");
    "closed-store-relaxed": "the end is stored without release", "bus::the_last_handle_ends_a_stream",
        (SHARED, "self.closed.store(true, [[Ordering::Release =>> Ordering::Relaxed]])");
    "closed-load-relaxed": "the end is read without acquire", "bus::the_last_handle_ends_a_stream",
        (SHARED, "self.closed.load([[Ordering::Acquire =>> Ordering::Relaxed]])");

    // What failed, and batches.
    "failed-publish-wakes-nobody": "a publish that fails wakes no reader", "tests::sleepers::a_publish_that_fails_wakes_readers_that_it_may_have_held_back",
        (BUS, "[[shared.ring.wake(route, keys); published =>> if !$on || published.is_ok() { shared.ring.wake(route, keys); } published]].map(drop)");
    "failed-batch-wakes-nobody": "a batch that fails wakes no reader", "tests::sleepers::a_publish_that_fails_wakes_readers_that_it_may_have_held_back",
        (BUS, "keys.dedup(); [[ =>> if $on && published.is_err() { keys.clear(); } ]] keys");
    "failed-batch-of-one-wakes-nobody": "a batch of one frame that fails wakes no reader", "tests::sleepers::a_publish_that_fails_wakes_readers_that_it_may_have_held_back",
        (BUS, "[[shared.ring.wake(route, keys); return =>> if !$on || published.is_ok() { shared.ring.wake(route, keys); } return]] published");
    "batch-last-fence": "only a batch's last frame bears its fence", "order::neighbours_of_a_batch_beside_a_publisher",
        (CLAIM, "[[true => None, =>> true => None, false if $on && number + 1 < sequence + count => Some(Numbered { sequence: number, fence: index + 1 }),]]");
}
