//! Processor time of one thread: what other programs take of the processor is no part of it.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Measures what the thread that started it has run since. A look at it takes a system call.
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// Starts from zero.
    pub fn start() -> Self {
        Stopwatch(ran())
    }

    /// The processor time since the start.
    pub fn elapsed(&self) -> Duration {
        ran().saturating_sub(self.0)
    }
}

/// How long this thread has run so far.
fn ran() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_thread_that_sleeps_takes_no_time() {
        let (watch, begin) = (Stopwatch::start(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        assert!(watch.elapsed() < begin.elapsed() / 2);
    }
}
