//! Locks, and one that is handed over: whoever waits for it gets it before whoever just had it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic: what the lock guards is whole, since a transaction that did not
/// finish is rolled back.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock in two steps. A thread first takes the turn, then waits for the value, and gives the turn
/// up when it has the value. A thread that gives the value back and wants it again has to take the
/// turn, which the thread that waits for the value holds. So upkeep, which takes the lock again and
/// again, lets an append between any two of its steps.
#[derive(Debug)]
pub(super) struct Turns<T> {
    turn: Mutex<()>,
    value: Mutex<T>,
}

impl<T> Turns<T> {
    pub(super) fn new(value: T) -> Self {
        Turns {
            turn: Mutex::new(()),
            value: Mutex::new(value),
        }
    }

    /// Locks, also after a panic: a transaction that did not finish is rolled back.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        let _turn = lock(&self.turn);
        lock(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A thread takes the lock again as soon as it gave it back, and another one gets it all the
    /// same: after each step at most.
    #[test]
    fn a_thread_that_waits_is_next() {
        let turns = Turns::new(Vec::new());
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    turns.lock().push(0);
                }
            });
            for _ in 0..1_000 {
                turns.lock().push(1);
            }
            done.store(true, Ordering::SeqCst);
        });
        assert_eq!(turns.lock().iter().sum::<i32>(), 1_000);
        // While another thread holds the value, one that came for it holds the turn.
        let value = lock(&turns.value);
        std::thread::scope(|threads| {
            threads.spawn(|| turns.lock().push(2));
            while turns.turn.try_lock().is_ok() {
                std::thread::yield_now();
            }
            drop(value);
            let next = turns.lock();
            assert_eq!(next.last(), Some(&2), "it came first");
        });
    }
}
