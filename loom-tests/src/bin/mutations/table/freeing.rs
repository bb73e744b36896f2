//! Weakenings of freeing what was read.

use super::Mutation;

const FREE: &str = "src/ring/lane/pass.rs";
const WORDS: &str = "src/ring/lane/freeing.rs";
const PINS: &str = "src/ring/lane/pins.rs";
const CORE: &str = "src/ring/core.rs";
const LANES: &str = "src/ring/read/lanes.rs";
const CURSOR: &str = "src/ring/read/cursor.rs";
const SUBSCRIPTION: &str = "src/ring/read/subscription.rs";
const LEND: &str = "src/ring/slot/slots/lend.rs";
const PUBLISH: &str = "src/ring/write/publish.rs";

mutations! {
    /// What models of freeing show.
    FREEING
    // Positions.
    "free-position-relaxed": "a reader says without release where it stands", "free::the_last_of_two_readers_drops",
        (PINS, "self.0.pins[class as usize].store(at << WIDTH_BITS | STANDS, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "free-position-load-relaxed": "a passer looks at positions without acquire", "free::a_reader_joins_beside_another",
        (PINS, "let word = row.0.pins[class as usize].load([[Ordering::Acquire =>> Ordering::Relaxed]]);");
    "free-leaver-does-not-pass": "a subscription leaves without a look at what it held back", "free::a_reader_leaves_beside_another",
        (LANES, "[[self.pass_all(); =>> ]] } } } /// A row of pins");
    "free-leaver-stays": "a subscription that is gone still stands in its lanes", "free::a_reader_leaves_beside_another",
        (LANES, "[[self.rows[cursor.row()].clear(cursor.lane().class()); =>> ]]");
    "free-reader-does-not-pass": "a reader goes on without a look at what it held back", "free::the_last_of_two_readers_drops",
        (LANES, "[[self.active.iter().for_each(|&at| self.pass(at)); =>> ]]");

    // The pass.
    "free-no-second-look": "a passer does not look at the positions again when it has announced how far it frees", "free::a_reader_joins_beside_another",
        (FREE, "let end = [[self.passed(scan, from, to).all =>> to]];");
    "free-second-fence": "a passer has no fence between what it announces and its second look", "free::a_reader_joins_beside_another",
        (FREE, "[[scan.again(); =>> ]] let oldest = self.oldest();");
    "free-not-announced": "a passer does not announce how far it frees", "free::a_reader_joins_beside_another",
        (FREE, "raise(&freeing.bounds.announced, [[to =>> from]], Ordering::Release);");
    "free-announced-too-far": "a passer announces more than it found passed", "free::a_clone_beside_another_reader",
        (FREE, "while to < [[found.all =>> from + self.geometry.span()]] && self.peek(to) != Peek::Pending {");
    "free-announced-relaxed": "a passer announces without release", "",
        (FREE, "raise(&freeing.bounds.announced, to, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "free-twice": "two passers may get one index", "free::the_last_of_two_readers_drops",
        (FREE, "let before = [[raise(&freeing.bounds.freed, end, Ordering::Relaxed) =>> { let before = freeing.bounds.freed.load(Ordering::Relaxed); freeing.bounds.freed.store(before.max(end), Ordering::Relaxed); before }]];");
    "free-unfinished": "a passer goes beyond an unfinished index", "free::the_last_reader_leaves_beside_two_publishers",
        (FREE, "while to < found.all && [[self.peek(to) != Peek::Pending =>> to < self.tail() ]] {");

    // The pin of what is freed.
    "free-no-pin": "a passer pins nothing", "free::a_pass_beside_a_lap_sequenced",
        (FREE, "[[own.pin_freeing(self.class, from, to - from); =>> ]]");
    "free-pin-not-looked-at": "openers do not look at what is being freed", "free::a_pass_beside_a_lap_sequenced",
        (PINS, "[&row.0.pins, [[&row.0.freeing =>> &row.0.pins]]].map(");
    "free-pin-clear-relaxed": "a passer ends its pin without release", "free::a_pass_beside_a_lap_sequenced",
        (PINS, "self.0.freeing[class as usize].store(IDLE, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "free-pin-not-checked": "a passer does not look at the horizon when it has its pin", "free::a_pass_beside_a_lap_sequenced",
        (FREE, "for index in [[from.max(oldest) =>> from]].max(before)..end {");

    // Subscriptions that come.
    "free-joiner-fence": "a subscription that is made has no fence before it looks at what is announced", "free::a_reader_joins_beside_another",
        (FREE, "[[fence(Ordering::SeqCst); =>> ]] let now = announced();");
    "free-joiner-does-not-look": "a subscription that is made does not look again at what is announced", "free::a_reader_joins_beside_another",
        (FREE, "if [[now <= start =>> true]] { return start; }");
    "free-joiner-does-not-pass": "a subscription that is made does not look at what others left to it", "free::a_reader_joins_beside_another",
        (SUBSCRIPTION, "[[merge.lanes().pass_all(); =>> ]]");
    "free-clone-stands-nowhere": "a clone does not say where it stands", "free::a_clone_beside_another_reader",
        (LANES, "[[self.stand_beside(&rows); =>> ]]");

    // What publishers do.
    "free-not-wanted": "a passer that stops at an unfinished index asks nobody to come back", "free::the_last_reader_leaves_beside_a_publisher",
        (FREE, "freeing.wanted.store([[WANTED =>> NOT_WANTED]], Ordering::Relaxed);");
    "free-no-second-turn": "a passer does not look again when it has asked publishers", "free::the_last_reader_leaves_beside_a_publisher",
        (FREE, "scan.again(); [[self.pass_once(freeing, own, &scan); =>> ]] }");
    "free-wanted-fence": "a passer has no fence between asking publishers and its second look", "free::the_last_reader_leaves_beside_a_publisher",
        (FREE, "[[scan.again(); =>> ]] self.pass_once(freeing, own, &scan);");
    "free-publisher-fence": "a publisher has no fence between its stamp and its look at what is asked", "free::the_last_reader_leaves_beside_a_publisher",
        (CORE, "[[fence(Ordering::SeqCst); =>> ]] let lanes = &self.lanes[shard * LANES..]");
    "free-publisher-does-not-look": "a publisher does not look at what is asked", "free::the_last_reader_leaves_beside_a_publisher",
        (FREE, "if [[freeing.wanted.load(Ordering::Relaxed) == NOT_WANTED =>> true]] { return; }");
    "free-terminals-only-of-one": "a publisher looks after the first lane of its shard only", "free::a_terminal_frame_beside_a_leaver",
        (CORE, "&self.lanes[shard * LANES..][..[[LANES =>> 1]]];");
    "free-stopped-asked-again": "a passer asks again if it stopped at an unfinished index", "free::sleepers_are_left_alone_beside_a_publisher",
        (FREE, "[[found.awake <= to =>> found.awake <= to || self.peek(to) != Peek::Pending]] }");
    "free-row-not-tried-again": "a publisher leaves its frame to one that may be done", "free::two_publishers_and_nobody",
        (FREE, "fence(Ordering::SeqCst); if [[!freeing.take_row() =>> true]] { return; }");
    "free-left-fence": "a publisher has no fence between leaving its frame to another and trying again", "free::two_publishers_and_nobody",
        (FREE, "// E26: SeqCst fence, between `wanted` and the row. [[fence(Ordering::SeqCst); =>> ]]");
    "free-last-look": "a publisher does not look whether another left its frame to it", "free::two_publishers_and_nobody",
        (FREE, "if [[freeing.wanted.load(Ordering::Relaxed) != LEFT_TO_OTHER =>> true]] { return; }");
    "free-last-look-fence": "a publisher has no fence before it looks whether another left its frame to it", "free::two_publishers_and_nobody",
        (FREE, "// E26: SeqCst fence, between the row and `wanted`. [[fence(Ordering::SeqCst); =>> ]]");
    "free-row-given-back-relaxed": "publishers hand their row on without release", "",
        (FREE, "freeing.bounds.helping.store(false, [[Ordering::Release =>> Ordering::Relaxed]]);");
    "free-row-taken-relaxed": "publishers take their row without acquire", "",
        (WORDS, ".compare_exchange(false, true, [[Ordering::Acquire =>> Ordering::Relaxed]], Ordering::Relaxed)");
    "free-panic-forgotten": "a publisher that panics does not look at what is asked", "free::a_publish_that_panics_beside_another",
        (PUBLISH, "[[self.core.free_unseen(self.shard); =>> if !std::thread::panicking() { self.core.free_unseen(self.shard); }]]");

    // Filters.
    "free-sleeper-goes-on": "a sleeper at an unfinished index is taken for one that goes on by itself", "free::sleepers_are_left_alone_beside_a_publisher",
        (FREE, "Peek::Pending => return (at, [[false =>> true]]),");
    "free-second-sleeper-goes-on": "a sleeper that stands where another stopped is taken for one that goes on by itself", "free::sleepers_are_left_alone_beside_a_publisher",
        (FREE, "Peek::Void | Peek::Abandoned | Peek::Lapped => at += 1, } } (at, [[false =>> true]]) }");
    "free-sleeper-holds": "a sleeper holds back what it does not want", "free::sleepers_are_left_alone_beside_a_publisher",
        (FREE, "let skipped = [[self.slots.skip_unwanted(at, end, filter) =>> at]];"),
        (FREE, "Some(tag) if [[filter.matches(tag) =>> true]] => return (at, true),");
    "free-unwanted-lent": "a reader borrows a frame before it asks whether it wants it", "free::a_filter_beside_the_publisher_of_an_unwanted_frame",
        (LEND, "match [[self.tag(index) =>> self.tag(index).inspect(|_| unsafe { self.read(index, |_| ()) })]] {");
    "unwanted-finished-late": "a reader is given an unwanted frame that was finished after its look at the tag", "free::a_filter_beside_the_publisher_of_another_frame",
        (CURSOR, "Ok(_) if [[!self.next_is_wanted(lane, filter) =>> false]] => self.next += 1,");
}
