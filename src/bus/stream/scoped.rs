//! The frames of one scope, as the rings give them.

use crate::bound::Loss;
use crate::bus::scope::Scope;
use crate::bus::shared::{Event, Shared, subscribe_error};
use crate::event::{AgentError, BusEpoch};
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
    Lost(Loss),
}

impl<'a> Found<'a> {
    /// Returns what a delivery is to the scope; `None` for a frame of another scope.
    #[inline]
    fn of(delivery: Delivery<'a, Event>, scope: &Scope, epoch: BusEpoch) -> Option<Self> {
        match delivery {
            Delivery::Frame(_, event) => scope
                .matches(event.envelope())
                .then_some(Found::Frame(event)),
            Delivery::Gap(gap) => Some(Found::Lost(scope.loss(gap, epoch))),
        }
    }
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

    /// Gives `visit` all that was published when the call began, until it breaks.
    #[inline]
    pub(super) fn poll(&mut self, mut visit: impl FnMut(Found<'_>) -> ControlFlow<()>) {
        let (scope, epoch) = (&self.scope, self.shared.epoch);
        let polled = self.subscription.poll(|delivery| {
            Found::of(delivery, scope, epoch).map_or(ControlFlow::Continue(()), &mut visit)
        });
        self.unfinished = polled == Polled::Unfinished;
    }

    /// Gives `visit` what one pin of the rings holds, until it breaks: the cheapest way to keep up.
    ///
    /// Returns whether it looked at all that was published when the call began. If not, and
    /// nothing was found, a [poll](Self::poll) knows whether something is there: other frames may
    /// stand before those of the scope.
    #[inline]
    pub(super) fn batch(&mut self, mut visit: impl FnMut(Found<'_>) -> ControlFlow<()>) -> bool {
        let (scope, epoch) = (&self.scope, self.shared.epoch);
        let deliveries = self.subscription.batch(|delivery| {
            Found::of(delivery, scope, epoch).map_or(ControlFlow::Continue(()), &mut visit)
        });
        deliveries == 0 && self.subscription.reads_everything()
    }

    /// Registers `waker` to be woken by a publish for this scope; by any publish if `any`.
    ///
    /// # Errors
    /// If more wait than the rings can count.
    pub(super) fn register_waker(&mut self, any: bool, waker: &Waker) -> Result<(), AgentError> {
        let key = (!any).then(|| self.scope.key());
        let registered = self.subscription.lie_down(key, waker);
        registered.map_err(subscribe_error)
    }

    /// Registers no waker any more.
    pub(super) fn deregister_waker(&mut self) {
        self.subscription.rise();
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
