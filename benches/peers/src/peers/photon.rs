//! photon-ring: rings that overwrite and carry plain words, and one that gates and owns its
//! events.
//!
//! A publisher of many waits, spinning, until the one before it has written its payload, so one
//! that loses its processor stops the others until it has it back.

use crate::payload::Payload;
use crate::peer::{Contract, Ends, Peer, Publish, READ, Read, Size};
use photon_ring::{EventPublisher, EventSubscriber, MpPublisher, Pod, Publisher, Subscriber};

/// `channel_mpmc`: many publishers.
pub struct PhotonMany;

/// `channel`: one publisher, plain stores.
pub struct PhotonOne;

/// `event_channel`: one publisher, payloads that are read where they are, each reader gates.
pub struct PhotonOwned;

impl<T: Payload + Pod> Peer<T> for PhotonMany {
    const NAME: &'static str = "photon-ring, many producers";
    const CONTRACT: Contract = Contract::Overwrites;
    type Publisher = MpPublisher<T>;
    type Subscriber = Subscriber<T>;

    fn open(size: Size) -> Ends<MpPublisher<T>, Subscriber<T>> {
        let (publisher, subscribers) = photon_ring::channel_mpmc(size.capacity);
        let ends = (0..size.subscribers).map(|_| subscribers.subscribe());
        (vec![publisher; size.publishers], ends.collect())
    }
}

impl<T: Payload + Pod> Publish<T> for MpPublisher<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        MpPublisher::publish(self, item);
    }
}

impl<T: Payload + Pod> Peer<T> for PhotonOne {
    const NAME: &'static str = "photon-ring, one producer";
    const CONTRACT: Contract = Contract::Overwrites;
    const MANY_PUBLISHERS: bool = false;
    type Publisher = Publisher<T>;
    type Subscriber = Subscriber<T>;

    fn open(size: Size) -> Ends<Publisher<T>, Subscriber<T>> {
        let (publisher, subscribers) = photon_ring::channel(size.capacity);
        let ends = (0..size.subscribers).map(|_| subscribers.subscribe());
        (vec![publisher], ends.collect())
    }
}

/// Singly: its call for batches is a loop around this one.
impl<T: Payload + Pod> Publish<T> for Publisher<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        Publisher::publish(self, item);
    }
}

impl<T: Payload + Pod> Read for Subscriber<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let mut count = 0;
        for item in self.drain().take(READ) {
            visit(item.word());
            count += 1;
        }
        count
    }

    fn lost(&self) -> u64 {
        self.total_lagged()
    }
}

impl<T: Payload> Peer<T> for PhotonOwned {
    const NAME: &'static str = "photon-ring, owned events";
    const CONTRACT: Contract = Contract::Gates;
    const MANY_PUBLISHERS: bool = false;
    type Publisher = EventPublisher<T>;
    type Subscriber = EventSubscriber<T>;

    fn open(size: Size) -> Ends<EventPublisher<T>, EventSubscriber<T>> {
        let mut make = T::maker(0);
        let (publisher, subscribers) = photon_ring::event_channel(size.capacity, || make(0));
        let ends = (0..size.subscribers).map(|_| subscribers.subscribe());
        (vec![publisher], ends.collect())
    }
}

impl<T: Payload> Publish<T> for EventPublisher<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        // What is replaced is dropped here, by the publisher. Without room it would spin for ever.
        assert!(self.try_publish(|slot| *slot = item));
    }
}

impl<T: Payload> Read for EventSubscriber<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        for count in 0..READ {
            match self.process(T::word) {
                Some(word) => visit(word),
                None => return count,
            }
        }
        READ
    }
}
