//! The peers: framebus and what else could carry a runtime's events, behind one small trait.
//!
//! Every peer is opened for so many publishers and subscribers and holds [`CAPACITY`] payloads, or
//! so many a shard. What its contract does not have is not made up for it: a channel that is read
//! by one subscriber becomes one channel a subscriber, and stands in the tables as that.

mod broadcast;
mod disruptor;
pub mod event_bus;
mod locked;
mod queues;
pub mod ring;

pub use broadcast::{AsyncBroadcast, Bus, Multiqueue, Tokio};
pub use disruptor::{DisruptorMany, DisruptorOne};
pub use event_bus::EventBus;
pub use locked::{DequeInRwLock, VecInMutex};
pub use queues::{Crossbeam, Crossfire, CrossfireAsync, Flume, Kanal, Rtrb};
pub use ring::Shards;

use crate::payload::Payload;

/// How many payloads a peer holds.
pub const CAPACITY: usize = 65_536;

/// What a read takes at most at once where the peer leaves the choice.
pub const READ: usize = 256;

/// What happens to a publisher when a subscriber does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// It goes on; the subscriber loses the oldest.
    Overwrites,
    /// It waits for the slowest subscriber.
    Gates,
    /// One channel a subscriber; what finds a full one is refused.
    PointToPoint,
}

impl Contract {
    /// As it stands in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Contract::Overwrites => "overwrites",
            Contract::Gates => "gates",
            Contract::PointToPoint => "point to point",
        }
    }
}

/// A way to get payloads from publishers to subscribers, each to all.
pub trait Peer<T: Payload>: 'static {
    /// As it stands in the tables.
    const NAME: &'static str;
    /// What it does about slow subscribers.
    const CONTRACT: Contract;
    /// Whether several threads can publish.
    const MANY_PUBLISHERS: bool = true;
    /// Whether it has a call that publishes several at once.
    const BATCHES: bool = false;
    /// How many payloads it holds: so many warm it up.
    const HOLDS: usize = CAPACITY;
    /// Its publishing end.
    type Publisher: Publish<T>;
    /// Its reading end.
    type Subscriber: Read;

    /// A new one with these ends; every subscriber gets all.
    fn open(publishers: usize, subscribers: usize) -> Ends<Self::Publisher, Self::Subscriber>;
}

/// Publishing ends and reading ends.
pub type Ends<P, S> = (Vec<P>, Vec<S>);

/// A publishing end.
pub trait Publish<T>: Send {
    /// Publishes one. There is room: cases see to it.
    fn publish(&mut self, item: T);

    /// Publishes several, by the peer's own call for that if it has one.
    fn publish_batch(&mut self, items: impl ExactSizeIterator<Item = T>) {
        items.for_each(|item| self.publish(item));
    }
}

/// A reading end.
pub trait Read: Send {
    /// Gives the words of what is there, or of a part of it, in the way that the peer reads
    /// fastest; returns how many. 0 says that nothing is there now.
    fn read(&mut self, visit: impl FnMut(u64)) -> usize;

    /// How many payloads this subscriber lost.
    fn lost(&self) -> u64 {
        0
    }
}

/// A reading end that can put its thread to sleep.
pub trait Wait: Read {
    /// The word of the next payload, once there is one.
    fn wait(&mut self) -> u64;
}

/// A reading end that can be awaited.
pub trait Await: Read {
    /// The word of the next payload, once there is one.
    fn next(&mut self) -> impl Future<Output = u64> + Send;
}

/// Something to be done for each peer.
pub trait Visit<T: Payload> {
    /// Does it for this one.
    fn visit<P: Peer<T>>(&mut self);
}

/// Visits framebus, then every peer that carries any payload.
pub fn each<T: Payload>(visit: &mut impl Visit<T>) {
    visit.visit::<T::Framebus>();
    visit.visit::<DequeInRwLock>();
    visit.visit::<Tokio>();
    visit.visit::<AsyncBroadcast>();
    visit.visit::<VecInMutex>();
    visit.visit::<DisruptorMany>();
    visit.visit::<DisruptorOne>();
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
    use framebus::EventFrame;

    /// Every subscriber gets every word, in order, published singly and in batches.
    struct Delivers;

    impl<T: Payload> Visit<T> for Delivers {
        fn visit<P: Peer<T>>(&mut self) {
            for subscribers in [1, 3] {
                let (mut publishers, mut readers) = P::open(1, subscribers);
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

    /// What overwrites tells how much a subscriber lost.
    struct Tells;

    impl Visit<u64> for Tells {
        fn visit<P: Peer<u64>>(&mut self) {
            if P::CONTRACT != Contract::Overwrites {
                return;
            }
            let (mut publishers, mut readers) = P::open(1, 1);
            let published = 3 * CAPACITY as u64;
            (0..published).for_each(|word| publishers[0].publish(word));
            let mut read = 0;
            // One that was told of a loss may have nothing for this once.
            for _ in 0..2 {
                while readers[0].read(|_| read += 1) > 0 {}
            }
            assert!(readers[0].lost() > 0, "{}", P::NAME);
            assert_eq!(read + readers[0].lost(), published, "{}", P::NAME);
        }
    }

    #[test]
    fn what_overwrites_tells_what_was_lost() {
        each::<u64>(&mut Tells);
    }
}
