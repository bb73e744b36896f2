//! A grant that the host changes while clients are connected.

use super::grant::FeedGrant;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// A grant that its host can change or withdraw while clients are connected under it. Clones are of
/// the same grant: the host keeps one, for instance by user, and `access` returns another.
///
/// When [`set`](Self::set) has returned, no connection begins a message under an earlier grant:
/// what its subscription had queued is dropped, and it reads on from its position under the new
/// grant. If that does not cover what the client asked for by name, or is
/// [nothing](FeedGrant::nothing), the client gets `end` with the reason `withdrawn`. What was
/// handed to the server before is on its way and is not called back.
///
/// A client that may see more sees that from its position on; to see what the bus still holds of
/// it, it connects without a position.
///
/// Connections look at the grant through one atomic pointer, without a lock.
///
/// ```
/// use framebus::sse::{EventFeed, FeedGrant, LiveGrant};
/// use framebus::{EventFilter, InMemoryAgentEventBus};
///
/// let bus = InMemoryAgentEventBus::default();
/// let ann = LiveGrant::new(FeedGrant::to(EventFilter::run("run-1")));
/// let granted = ann.clone();
/// let feed = EventFeed::new(&bus, move |request| match request.headers.get("x-user") {
///     Some(user) if user == "ann" => granted.clone(),
///     _ => FeedGrant::nothing().into(),
/// });
/// // Ann's connections see another run from now on, and later nothing at all.
/// ann.set(FeedGrant::to(EventFilter::run("run-2")));
/// ann.withdraw();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a grant counts when the feed's `access` returns it"]
pub struct LiveGrant {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The grant as it is now.
    now: ArcSwap<FeedGrant>,
    /// Wakes connections that wait for frames.
    changed: watch::Sender<()>,
}

impl LiveGrant {
    /// A grant that begins as this one.
    pub fn new(grant: FeedGrant) -> Self {
        LiveGrant {
            shared: Arc::new(Shared {
                now: ArcSwap::from_pointee(grant),
                changed: watch::Sender::new(()),
            }),
        }
    }

    /// Changes the grant, for the connections that there are and for further ones.
    pub fn set(&self, grant: FeedGrant) {
        self.shared.now.store(Arc::new(grant));
        self.shared.changed.send_replace(());
    }

    /// Grants nothing from now on: ends the connections under this grant, and refuses further ones.
    pub fn withdraw(&self) {
        self.set(FeedGrant::nothing());
    }

    /// Returns the grant as it is now.
    pub(super) fn now(&self) -> Arc<FeedGrant> {
        self.shared.now.load_full()
    }

    /// Returns the grant as it is now if it is another one than `seen`.
    pub(super) fn other_than(&self, seen: &Arc<FeedGrant>) -> Option<Arc<FeedGrant>> {
        let now = self.shared.now.load();
        (!Arc::ptr_eq(&now, seen)).then(|| Arc::clone(&now))
    }

    /// Returns a receiver that sees each change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }
}

impl From<FeedGrant> for LiveGrant {
    fn from(grant: FeedGrant) -> Self {
        LiveGrant::new(grant)
    }
}
