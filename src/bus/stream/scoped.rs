//! The frames of one scope, as the rings give them.

use crate::bound::Loss;
use crate::bus::scope::Scope;
use crate::bus::shared::{Event, Shared, subscribe_error};
use crate::event::AgentError;
use crate::ring::{Delivery, Polled, SubscribeError, Subscription};
use crate::sync::Arc;
use std::ops::ControlFlow;
use std::task::Waker;

/// A subscription to the rings whose frames are compared with their scope exactly.
pub(super) struct ScopedReader {
    /// The bus that is read.
    pub(super) shared: Arc<Shared>,
    /// The rings' subscription. Its tags sort out most of what is not of the scope.
    pub(super) subscription: Subscription<Event>,
    /// What is read.
    pub(super) scope: Scope,
    /// Whether the last poll stopped at a publish that had begun and not finished: what was
    /// published after it may be waiting there.
    pub(super) unfinished: bool,
}

/// What a reader finds in the rings.
pub(super) enum Found<'a> {
    /// A frame of the scope.
    Frame(&'a Event),
    /// Frames that the rings lost before the next one.
    Lost(&'a Loss),
}

impl ScopedReader {
    /// A reader of a subscription that nothing was read of yet.
    pub(super) fn new(
        shared: Arc<Shared>,
        subscription: Subscription<Event>,
        scope: Scope,
    ) -> Self {
        ScopedReader {
            shared,
            subscription,
            scope,
            unfinished: false,
        }
    }

    /// Returns whether it is known without a look at the rings that nothing is there.
    #[inline]
    pub(super) fn is_caught_up(&self) -> bool {
        self.subscription.is_caught_up()
    }

    /// Gives `visit` all that was published when the call began, until it breaks.
    #[inline]
    pub(super) fn poll(&mut self, visit: impl FnMut(Found<'_>) -> ControlFlow<()>) {
        let sift = sift(&self.scope, visit);
        self.unfinished = self.subscription.poll(sift) == Polled::Unfinished;
    }

    /// Gives `visit` what one pin of the rings holds, until it breaks: the cheapest way to keep up.
    ///
    /// Returns whether it looked at all that was published when the call began. If not, and
    /// nothing was found, a [poll](Self::poll) knows whether something is there: other frames may
    /// stand before those of the scope.
    #[inline]
    pub(super) fn batch(&mut self, visit: impl FnMut(Found<'_>) -> ControlFlow<()>) -> bool {
        let sift = sift(&self.scope, visit);
        let deliveries = self.subscription.batch(sift);
        deliveries == 0 && self.subscription.reads_everything()
    }

    /// Registers `waker` to be woken by a publish for this scope; by any publish if `any`.
    ///
    /// # Errors
    /// If more wait than the rings can count.
    pub(super) fn register_waker(&mut self, any: bool, waker: &Waker) -> Result<(), AgentError> {
        let key = (!any).then(|| self.scope.key());
        let registered = self.subscription.register_waker(key, waker);
        registered.map_err(subscribe_error)
    }

    /// Registers no waker any more.
    pub(super) fn deregister_waker(&mut self) {
        self.subscription.deregister_waker();
    }

    /// Returns an independent reader at the same position.
    ///
    /// # Errors
    /// If the rings have no room for another subscription.
    pub(super) fn try_clone(&self) -> Result<Self, SubscribeError> {
        Ok(ScopedReader {
            shared: self.shared.clone(),
            subscription: self.subscription.try_clone()?,
            scope: self.scope.clone(),
            unfinished: self.unfinished,
        })
    }
}

/// Returns a visitor of the rings that gives `visit` what is of the scope.
///
/// `visit` is called at one place, so that it is inlined into the rings' loop.
#[inline]
fn sift(
    scope: &Scope,
    mut visit: impl FnMut(Found<'_>) -> ControlFlow<()>,
) -> impl FnMut(Delivery<'_, Event>) -> ControlFlow<()> {
    move |delivery| {
        let loss;
        let found = match delivery {
            Delivery::Frame(_, event) if scope.matches(event.envelope()) => Found::Frame(event),
            Delivery::Frame(..) => return ControlFlow::Continue(()),
            Delivery::Gap(gap) => {
                loss = scope.loss(gap);
                Found::Lost(&loss)
            }
        };
        visit(found)
    }
}
