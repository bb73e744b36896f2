//! The peers: framebus, and what else could carry a runtime's events.

mod broadcast;
mod disruptor;
pub mod event_bus;
mod locked;
mod photon;
mod queues;
pub mod replaced;
pub mod ring;

pub use broadcast::{AsyncBroadcast, Bus, Multiqueue, Tokio};
pub use disruptor::{DisruptorMany, DisruptorOne};
pub use event_bus::EventBus;
pub use locked::{DequeInRwLock, VecInMutex};
pub use photon::{PhotonMany, PhotonOne, PhotonOwned};
pub use queues::{Crossbeam, Crossfire, CrossfireAsync, Flume, Kanal, Rtrb};
pub use ring::Shards;

use crate::payload::{Event300, Payload};
use crate::peer::Peer;
use framebus::EventFrame;
use std::sync::Arc;

/// A payload that framebus carries.
pub trait Carried: Payload {
    /// The part of framebus that carries it.
    type Framebus: Peer<Self>;

    /// Visits the peers that carry it, but not any payload.
    fn each_of_its_own(_visit: &mut impl Visit<Self>) {}
}

impl Carried for u64 {
    type Framebus = Shards<1>;

    fn each_of_its_own(visit: &mut impl Visit<Self>) {
        visit.visit::<PhotonMany>();
        visit.visit::<PhotonOne>();
    }
}

impl Carried for Arc<Event300> {
    type Framebus = Shards<1>;
}

impl Carried for EventFrame {
    type Framebus = EventBus;
}

/// What is done with each peer.
pub trait Visit<T: Payload> {
    /// Called with each peer in turn.
    fn visit<P: Peer<T>>(&mut self);
}

/// Visits framebus, then every peer that carries this payload.
pub fn each<T: Carried>(visit: &mut impl Visit<T>) {
    visit.visit::<T::Framebus>();
    visit.visit::<DequeInRwLock>();
    visit.visit::<Tokio>();
    visit.visit::<AsyncBroadcast>();
    visit.visit::<VecInMutex>();
    visit.visit::<DisruptorMany>();
    visit.visit::<DisruptorOne>();
    T::each_of_its_own(visit);
    visit.visit::<PhotonOwned>();
    visit.visit::<Multiqueue>();
    visit.visit::<Bus>();
    visit.visit::<Crossbeam>();
    visit.visit::<Crossfire>();
    visit.visit::<Flume>();
    visit.visit::<Kanal>();
    visit.visit::<Rtrb>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{CAPACITY, Contract, Publish, Read, Size};

    /// Every subscriber gets every word, in order, published singly and in batches.
    struct Delivers;

    impl<T: Payload> Visit<T> for Delivers {
        fn visit<P: Peer<T>>(&mut self) {
            for subscribers in [1, 3] {
                let (mut publishers, mut readers) = P::open(Size::new(1, subscribers));
                assert_eq!((publishers.len(), readers.len()), (1, subscribers));
                let mut make = T::maker(0);
                (0..500).for_each(|word| publishers[0].publish(make(word)));
                for first in (500..1_012).step_by(64) {
                    publishers[0].publish_batch((0..64u32).map(|n| make(first + u64::from(n))));
                }
                for reader in &mut readers {
                    let mut words = Vec::new();
                    while reader.read(|word| words.push(word)) > 0 {}
                    assert!(words.iter().copied().eq(0..1_012), "{}: {words:?}", P::NAME);
                    assert_eq!(reader.lost(), 0, "{}", P::NAME);
                }
            }
        }
    }

    #[test]
    fn every_peer_delivers_all_to_all() {
        each::<u64>(&mut Delivers);
        each::<EventFrame>(&mut Delivers);
    }

    /// A peer that overwrites reports how much a subscriber lost.
    struct Reports;

    impl Visit<u64> for Reports {
        fn visit<P: Peer<u64>>(&mut self) {
            if P::CONTRACT != Contract::Overwrites {
                return;
            }
            let (mut publishers, mut readers) = P::open(Size::new(1, 1));
            let published = 3 * CAPACITY as u64;
            (0..published).for_each(|word| publishers[0].publish(word));
            let mut read = 0;
            // A read that reports a loss may give nothing else.
            for _ in 0..2 {
                while readers[0].read(|_| read += 1) > 0 {}
            }
            assert!(readers[0].lost() > 0, "{}", P::NAME);
            assert_eq!(read + readers[0].lost(), published, "{}", P::NAME);
        }
    }

    #[test]
    fn a_peer_that_overwrites_reports_what_was_lost() {
        each::<u64>(&mut Reports);
    }
}
