//! Short pauses, and how many processors there are.

use std::hint::spin_loop;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, yield_now};
use std::time::Instant;

/// In nanoseconds: a pause from here on is longer than a switch to another thread and back.
const LONGER_THAN_A_SWITCH: u64 = 600;

/// Spins for `nanos` nanoseconds by the clock: the instruction for a pause takes three cycles on
/// one processor and a hundred on another. Yields instead in a long pause if `crowded` returns
/// true.
pub(super) fn pause(nanos: u64, crowded: impl FnOnce() -> bool) {
    let begin = Instant::now();
    let yields = nanos >= LONGER_THAN_A_SWITCH && crowded();
    while (begin.elapsed().as_nanos() as u64) < nanos {
        if yields {
            yield_now();
        } else {
            spin_loop();
        }
    }
}

/// How many threads run at once. Asks the system until one answer is kept, since it is slow to
/// answer. Each answer is as good as another, so the number orders nothing.
pub(crate) fn processors() -> usize {
    static PROCESSORS: AtomicUsize = AtomicUsize::new(0);
    match PROCESSORS.load(Ordering::Relaxed) {
        0 => {
            let processors = available_parallelism().map_or(1, NonZero::get);
            PROCESSORS.store(processors, Ordering::Relaxed);
            processors
        }
        processors => processors,
    }
}
