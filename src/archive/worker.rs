//! The archive's own threads: the journal's, and the archivers'.
//!
//! They wake tasks, and a waker may do anything: drop the last handle of the bus or archiver that
//! the thread works for, finish it, or publish on it. Therefore **none of these threads waits for
//! any of them**: it could wait for itself, or in a circle. A call that would have to wait there
//! fails; a drop returns, and the thread that it would wait for ends by itself.

use super::error::Stored;
use super::process::Local;
use crate::event::{AgentError, AgentErrorKind};
use std::cell::Cell;
use std::thread::{self, JoinHandle};

thread_local! {
    /// Whether the thread is one of these. Set once, when it starts.
    static WORKS: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the calling thread may wait for one of these threads.
pub(super) fn may_wait() -> bool {
    !WORKS.get()
}

/// The error of a call on one of these threads that would have to wait for one of them.
pub(super) fn must_not_wait() -> AgentError {
    AgentError::contract_violation(
        "a thread of the archive cannot wait for one, as this call in a waker does; submit without \
         waiting for the receipt, or let a task of the waker's runtime do it",
    )
}

/// The handle of one of these threads. Dropping it does not wait.
#[derive(Debug)]
pub(super) struct Worker<T>(Local<JoinHandle<T>>);

impl<T: Send + 'static> Worker<T> {
    /// Starts a thread of this name.
    pub(super) fn start(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Stored<Self> {
        let work = move || {
            WORKS.set(true);
            work()
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(work);
        let handle = started.map_err(|error| {
            AgentError::new(
                AgentErrorKind::ArchiveUnavailable,
                format!("the thread {name} could not be started: {error}; end other threads"),
            )
        })?;
        Ok(Worker(Local::new(handle)))
    }

    /// Wakes the thread if it is parked. Does nothing in a forked child.
    pub(super) fn unpark(&self) {
        if let Ok(handle) = self.0.get() {
            handle.thread().unpark();
        }
    }

    /// Waits until the thread has ended. Returns its result. Fails at once in a forked child, and
    /// on one of these threads.
    pub(super) fn join(self) -> Stored<T> {
        let handle = self.0.into_inner()?;
        if !may_wait() {
            return Err(must_not_wait());
        }
        handle.join().map_err(|_| {
            AgentError::contract_violation(
                "a thread of the archive panicked; that is a defect of this library",
            )
        })
    }
}
