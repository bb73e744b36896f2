//! The host's handle on a running feed: how many clients there are, and their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// A feed that runs, as its host sees it. Clones are of the same feed.
///
/// A server that shuts down gracefully waits for its connections, and a feed's connections have no
/// end of their own. So its host closes the feed when the shutdown begins:
///
/// ```no_run
/// # use framebus::sse::{EventFeed, FeedGrant};
/// # async fn serve(feed: EventFeed, listener: tokio::net::TcpListener,
/// #     stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
/// let handle = feed.handle();
/// axum::serve(listener, feed.into_router())
///     .with_graceful_shutdown(async move {
///         stop.await; // Such as tokio::signal::ctrl_c().
///         handle.close();
///     })
///     .await
/// # }
/// ```
///
/// A client that has stopped reading holds its socket, and so such a shutdown, until the system
/// gives the socket up; the [module](super#slow-clients) says how to bound that.
#[derive(Clone, Debug)]
pub struct FeedHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How many places are taken.
    clients: AtomicUsize,
    /// Becomes true once, and stays so.
    closing: watch::Sender<bool>,
}

impl FeedHandle {
    pub(super) fn new() -> Self {
        FeedHandle {
            shared: Arc::new(Shared {
                clients: AtomicUsize::new(0),
                closing: watch::Sender::new(false),
            }),
        }
    }

    /// Returns how many clients are connected. One that stopped reading counts until the feed's
    /// [`write_timeout`](super::EventFeed::write_timeout), one that vanished until its
    /// [`max_age`](super::EventFeed::max_age) at the latest.
    pub fn clients(&self) -> usize {
        // Relaxed: a figure by itself.
        self.shared.clients.load(Ordering::Relaxed)
    }

    /// Ends the feed for good: each client gets `end` with the reason `closing`, without the frames
    /// that it has not got yet, and further ones are refused. Returns at once.
    pub fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Returns whether the feed was closed.
    pub(super) fn is_closed(&self) -> bool {
        *self.shared.closing.borrow()
    }

    /// Returns a receiver that sees whether the feed is closed.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.shared.closing.subscribe()
    }

    /// Takes a place among `most`; `None` if there is none.
    pub(super) fn take_place(&self, most: usize) -> Option<Place> {
        let one_more = |taken| (taken < most).then_some(taken + 1);
        let clients = &self.shared.clients;
        // Relaxed: the count orders nothing.
        clients
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Place(self.clone()))
    }
}

/// A client's place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(FeedHandle);

impl Drop for Place {
    fn drop(&mut self) {
        // Relaxed: as above.
        self.0.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let feed = FeedHandle::new();
        let first = feed.take_place(2).unwrap();
        let second = feed.take_place(2).unwrap();
        assert!(feed.take_place(2).is_none());
        drop(first);
        assert_eq!(feed.clients(), 1);
        assert!(feed.take_place(2).is_some());
        drop(second);
        assert_eq!(feed.clients(), 0);
    }
}
