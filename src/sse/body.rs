//! A connection as the server reads it, and a task that watches it.
//!
//! A server reads the body of a response while the client takes it, and not at all once the buffers
//! on the way are full. So a connection whose client has stopped reading can't notice that itself.
//! A task beside it does, ends it, and gives its place back. The same task wakes the connection
//! when it has to end or its grant has changed.
//!
//! The body and the task share the connection by taking it out of a cell and putting it back, which
//! is one atomic exchange and no lock. Who finds the cell empty leaves the connection to the other:
//! the body ends then, for the task puts nothing back; the task looks again, for a body that is
//! polled has not stopped.

use super::connection::{Connection, Message, Wish};
use super::handle::FeedHandle;
use super::settings::later;
use atomic_waker::AtomicWaker;
use crossbeam_utils::atomic::AtomicCell;
use futures_core::Stream;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// A client's messages, as a stream for axum.
pub(super) struct Body {
    line: Arc<Line>,
    /// Its drop ends the task.
    _alive: oneshot::Sender<Infallible>,
}

/// What the body and its task share.
struct Line {
    /// Taken out while it is polled; empty for good once it has ended.
    connection: AtomicCell<Option<Box<Connection>>>,
    /// Wakes the body. Registered whenever it waits.
    waker: AtomicWaker,
    /// When the body gave a message that the server has not come back from, in milliseconds since
    /// `opened`, plus 1; 0 while the server has nothing in hand. The body alone writes it.
    given_at: AtomicCell<u64>,
    opened: Instant,
    /// The task alone writes it.
    wish: AtomicCell<Wish>,
}

impl Body {
    /// Starts a connection, and the task that watches it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn start(connection: Connection, limits: Limits, feed: &FeedHandle) -> Self {
        let (alive, gone) = oneshot::channel();
        // Subscribed to before the first look at the grant and the feed.
        let (changes, closing) = (connection.changes(), feed.closing());
        let line = Arc::new(Line {
            connection: AtomicCell::new(Some(Box::new(connection))),
            waker: AtomicWaker::new(),
            given_at: AtomicCell::new(0),
            opened: Instant::now(),
            wish: AtomicCell::new(Wish::GoOn),
        });
        tokio::spawn(watch(line.clone(), limits, gone, changes, closing));
        Body {
            line,
            _alive: alive,
        }
    }
}

impl Stream for Body {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let line = &self.line;
        line.given_at.store(0);
        // Before the connection looks at anything: what changes later wakes it.
        line.waker.register(context.waker());
        let Some(mut connection) = line.connection.take() else {
            return Poll::Ready(None);
        };
        let next = connection.poll(context, line.wish.load());
        match &next {
            Poll::Ready(None) => return next,
            Poll::Ready(Some(_)) => line.given_at.store(line.now()),
            Poll::Pending => {}
        }
        line.connection.store(Some(connection));
        next
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Not later, when the task has found out.
        drop(self.line.connection.take());
    }
}

impl Line {
    /// Returns the milliseconds since it was opened, plus 1.
    fn now(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64 + 1
    }

    /// Returns since when the server has not come back for more; `None` if it waits for more.
    fn stopped_since(&self) -> Option<Instant> {
        let given_at = self.given_at.load().checked_sub(1)?;
        Some(self.opened + Duration::from_millis(given_at))
    }

    fn wish(&self, wish: Wish) {
        self.wish.store(wish);
        self.waker.wake();
    }
}

/// How long a connection may last.
pub(super) struct Limits {
    /// How long its client may take nothing while there is something for it.
    pub(super) write_timeout: Duration,
    /// When it is to end at the latest.
    pub(super) retires_at: Instant,
}

/// Watches a connection until its body is gone, or its client takes nothing any more.
async fn watch(
    line: Arc<Line>,
    limits: Limits,
    mut gone: oneshot::Receiver<Infallible>,
    mut changes: watch::Receiver<()>,
    mut closing: watch::Receiver<bool>,
) {
    let mut look_at = later(limits.write_timeout);
    loop {
        // The senders of both live as long as the connection: without one, `gone` is next.
        tokio::select! {
            biased;
            _ = &mut gone => return,
            Ok(_) = closing.wait_for(|&it| it), if line.wish.load() != Wish::Close => {
                line.wish(Wish::Close);
            }
            () = sleep_until(limits.retires_at), if line.wish.load() == Wish::GoOn => {
                line.wish(Wish::Retire);
            }
            () = sleep_until(look_at) => {
                let Some(since) = line.stopped_since() else {
                    look_at = later(limits.write_timeout);
                    continue;
                };
                look_at = since + limits.write_timeout;
                if look_at <= Instant::now() && let Some(stopped) = line.connection.take() {
                    drop(stopped);
                    return;
                }
            }
            Ok(()) = changes.changed() => line.waker.wake(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lock_is_on_the_way() {
        assert!(AtomicCell::<Option<Box<Connection>>>::is_lock_free());
        assert!(AtomicCell::<u64>::is_lock_free());
        assert!(AtomicCell::<Wish>::is_lock_free());
    }
}
