//! The peers: framebus and what else could carry a runtime's events, behind one small trait.
//!
//! Every peer is opened for so many publishers and subscribers and holds [`CAPACITY`] payloads. What
//! its contract does not have is not made up for it: a channel that is read by one subscriber
//! becomes one channel a subscriber, and stands in the tables as that.

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
pub use queues::{Crossbeam, Crossfire, Flume, Kanal, Rtrb};
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
            Contract::Gates => "gates its producers",
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
    /// Gives the words of what is there, or of a part of it, in the way that the peer reads fastest;
    /// returns how many. 0 says that nothing is there now.
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
